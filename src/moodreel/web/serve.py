"""Runs the app: models, a socket, uvicorn."""

from __future__ import annotations

import asyncio
import socket
import webbrowser
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import h11
import uvicorn
from fastapi import FastAPI
from uvicorn.protocols.http.h11_impl import H11Protocol

from moodreel.errors import MissingExtra
from moodreel.faces.detect import DetectorSettings, choose_detector
from moodreel.runtime.bundle import list_bundles, read_bundle
from moodreel.runtime.engine import count_cores
from moodreel.runtime.recognizer import load
from moodreel.web.reading import FOLLOWS_FACES, Served
from moodreel.web.settings import WebSettings, is_loopback

FIRST = ("kavan", "caca-rnn", "sta", "face")
"""Order of the models that ship."""

HEADER_SECONDS = 10.0
"""Time in which a connection must have sent the header of its first request."""

BACKLOG = 512
"""Connections that wait to be taken."""

CONNECTIONS = 512
"""Connections at once; one more is told to come again."""


def list_models(names: Sequence[str], workers: int) -> dict[str, Served]:
    """The models to serve; each is loaded when it is first wanted.

    Args:
        names: of bundles, folders or .zips; none is all that ship.
        workers: clips that are read at once: the cores are shared out among them.

    Raises:
        BundleError: there is no such bundle, or it is broken.
    """
    shipped = list_bundles()
    known = [*(name for name in FIRST if name in shipped), *(name for name in shipped if name not in FIRST)]
    threads = max(1, count_cores() // workers)
    models: dict[str, Served] = {}
    for name in names or known:
        bundle = read_bundle(name)
        problem = None
        if bundle.info.system in FOLLOWS_FACES:
            try:
                choose_detector(DetectorSettings())
            except MissingExtra as error:
                problem = str(error)
        models[bundle.info.name] = Served(
            bundle.info, bundle.size, partial(load, name, threads=threads), problem
        )
    return models


def open_socket(host: str, port: int) -> socket.socket:
    """A socket that listens.

    Raises:
        OSError: the address is taken, or is none of this machine.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(BACKLOG)  # whoever is told the address may come
    except OSError as error:
        sock.close()
        raise OSError(error.errno, error.strerror, f"{host}:{port}") from None
    return sock


LINGER_SECONDS = 3.0
"""Time for which the rest of a refused upload is still read, and dropped: a connection that is shut on a
sender may lose the answer."""


class PatientProtocol(H11Protocol):
    """Drops a connection that has not sent the header of a request in time, or never ends a refused one."""

    _linger: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Starts the clock."""
        super().connection_made(transport)
        self._patience = self.loop.call_later(HEADER_SECONDS, self._drop_if_silent)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stops the clock."""
        self._patience.cancel()
        if self._linger is not None:
            self._linger.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """Starts the clock again where the request goes on after its answer."""
        super().on_response_complete()
        if self.conn.their_state is h11.SEND_BODY and not self.transport.is_closing():
            self._linger = self.loop.call_later(LINGER_SECONDS, self.transport.close)

    def _drop_if_silent(self) -> None:
        if self.cycle is None:
            self.transport.close()


def make_server(app: FastAPI) -> uvicorn.Server:
    """A server for an app, which says nothing of itself and follows no proxy's headers."""
    config = uvicorn.Config(
        app,
        http=PatientProtocol,
        ws="none",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=CONNECTIONS,
        timeout_keep_alive=10,
        timeout_graceful_shutdown=5,
    )
    return uvicorn.Server(config)


def serve_app(
    make_app: Callable[[WebSettings], FastAPI],
    settings: WebSettings,
    say: Callable[[str], None],
    in_browser: bool = False,
) -> None:
    """Serves until Ctrl-C or SIGTERM.

    Args:
        make_app: makes the app for the settings, with the port that was found.
        settings: where to bind.
        say: takes lines for the person who started it.
        in_browser: whether to open the page.

    Raises:
        OSError: the address cannot be bound to.
    """
    with open_socket(settings.host, settings.port) as sock:
        port = sock.getsockname()[1]
        settings = replace(settings, port=port)
        server = make_server(make_app(settings))
        shown = f"[{settings.host}]" if ":" in settings.host else settings.host
        address = f"http://{shown}:{port}/"
        if settings.token is not None:
            address += f"?token={settings.token}"
        say(f"serving {address} (Ctrl-C ends)")
        if not is_loopback(settings.host):
            say("the connection is not encrypted: put a proxy with TLS before it, or trust the network")
        if in_browser:
            webbrowser.open(address)
        asyncio.run(server.serve(sockets=[sock]))
