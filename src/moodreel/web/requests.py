"""Requests whose client may go away while we work for it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from moodreel.web.reading import Watch


class Watches:
    """Those of a request; they end together."""

    def __init__(self) -> None:
        self._all: list[Watch] = []
        self._is_gone = False

    def add(self, watch: Watch) -> Watch:
        """Takes one more."""
        self._all.append(watch)
        if self._is_gone:
            watch.cancel()
        return watch

    def cancel(self) -> None:
        """Ends all work, also what is added later."""
        self._is_gone = True
        for watch in self._all:
            watch.cancel()


@asynccontextmanager
async def stop_when_gone(request: Request) -> AsyncIterator[Watches]:
    """Ends the work of a request whose client has gone, so that it does not go on for nobody.

    The body must have been read: what follows it is only the news that the client has left.
    """
    watches = Watches()

    async def listen() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass
        watches.cancel()

    task = asyncio.create_task(listen())
    try:
        yield watches
    finally:
        task.cancel()
        watches.cancel()
