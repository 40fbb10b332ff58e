"""Threads that read clips: a bounded number, with one kept for what is short.

Work waits in two lanes, short and long. A worker takes from the short lane first, and long work never holds
the last worker, so that a quick request does not wait behind ten slow ones.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from threading import Condition, Thread
from typing import Any, TypeVar

from moodreel.errors import require
from moodreel.web.problems import busy

T = TypeVar("T")


class Pool:
    """Workers.

    Args:
        workers: threads; with one there is none to keep.
        waiting: pieces of work that may wait, in each lane.

    Raises:
        SettingsError: one of them is below 1.
    """

    def __init__(self, workers: int, waiting: int) -> None:
        require(workers >= 1, "workers", workers, "at least 1")
        require(waiting >= 1, "waiting", waiting, "at least 1")
        self._most, self._most_long = waiting, max(1, workers - 1)
        self._lanes: dict[bool, deque[tuple[Future[Any], Callable[[], Any]]]] = {
            False: deque(),
            True: deque(),
        }
        self._changed = Condition()
        self._long_running = 0
        self._is_closed = False
        self._threads = [
            Thread(target=self._run, name=f"moodreel-web-{k}", daemon=True) for k in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], T], is_long: bool) -> Future[T]:
        """Puts work into a lane. A future that is cancelled before it runs is passed over.

        Raises:
            Problem: the lane is full, or the pool is closed (503).
        """
        future: Future[T] = Future()
        with self._changed:
            lane = self._lanes[is_long]
            if self._is_closed:
                raise busy("the server is shutting down")
            if len(lane) >= self._most:
                raise busy(f"{len(lane)} clips are waiting already; try again in a moment")
            lane.append((future, work))
            self._changed.notify()
        return future

    def close(self) -> None:
        """Drops what waits and ends the threads once their work is done."""
        with self._changed:
            self._is_closed = True
            for lane in self._lanes.values():
                for future, _ in lane:
                    future.cancel()
                lane.clear()
            self._changed.notify_all()

    def _take(self) -> tuple[bool, Future[Any], Callable[[], Any]] | None:
        """The next piece of work; None when the pool is closed."""
        with self._changed:
            while True:
                if self._lanes[False]:
                    return False, *self._lanes[False].popleft()
                if self._lanes[True] and self._long_running < self._most_long:
                    self._long_running += 1
                    return True, *self._lanes[True].popleft()
                if self._is_closed:
                    return None
                self._changed.wait()

    def _run(self) -> None:
        while (taken := self._take()) is not None:
            is_long, future, work = taken
            try:
                if future.set_running_or_notify_cancel():
                    try:
                        future.set_result(work())
                    except BaseException as error:
                        future.set_exception(error)
            finally:
                if is_long:
                    with self._changed:
                        self._long_running -= 1
                        self._changed.notify()
            del taken, future, work  # an upload and its frames must not outlive their request
