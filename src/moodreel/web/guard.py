"""What every request passes before any of our own code sees it.

In this order: the Host header (DNS rebinding), the token, where a request that changes something comes from
(Origin, Sec-Fetch-Site, CSRF token), how many a client makes, and how large and how slow its body is. Every
answer gets the security headers.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import secrets
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any
from urllib.parse import quote, urlsplit

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from moodreel.web.problems import Problem
from moodreel.web.settings import WebSettings

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
"""Content-Security-Policy: nothing from elsewhere, nothing inline."""

HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",  # with "no-referrer" a form's own Origin would be "null"
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
}

UPLOADS = frozenset({"/api/predict", "/api/overlay", "/api/jobs"})
"""Where large bodies may go."""

STATELESS = frozenset({"/api/predict", "/api/overlay", "/token"})
"""Requests with a body that change nothing of what is kept: programs may make them without a CSRF token."""

OPEN = frozenset({"/healthz", "/token"})
"""What may be seen without the token, beside ``/static/``."""

SMALL_BODY = 64 * 1024
"""Bytes of any other request's body."""

GRACE_SECONDS = 5.0
"""Age of an upload from which it must not be slow."""

TRIES = 10
"""Tokens that one client may try a minute."""

COOKIE_SECONDS = 30 * 24 * 3600


class Bucket:
    """A rate a client: tokens that fill up with time.

    Args:
        rate: a minute; 0 is without bound.
        burst: at once.
    """

    MOST = 10_000

    def __init__(self, rate: int, burst: int) -> None:
        self._rate, self._burst = rate / 60, float(burst)
        self._clients: dict[str, tuple[float, float]] = {}

    def take(self, client: str) -> float:
        """Takes one. Returns 0, or after how many seconds there is one."""
        if not self._rate:
            return 0.0
        now = time.monotonic()
        if len(self._clients) >= self.MOST:
            full = self._burst / self._rate
            self._clients = {key: entry for key, entry in self._clients.items() if now - entry[1] < full}
        left, then = self._clients.get(client, (self._burst, now))
        left = min(self._burst, left + (now - then) * self._rate)
        if left < 1:
            self._clients[client] = (left, now)
            return (1 - left) / self._rate
        self._clients[client] = (left - 1, now)
        return 0.0


class Gate:
    """Who may come in: token, session and CSRF token.

    The token's cookie is derived from the token, so it holds over a restart; CSRF tokens are derived from a
    session cookie and a key of this process.

    Args:
        settings: host, port, token.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._token = None if settings.token is None else settings.token.encode()
        self._key = secrets.token_bytes(32)
        # cookies know no ports: two servers on one machine must not take each other's
        self.pass_name, self.session_name = f"moodreel_pass_{settings.port}", f"moodreel_{settings.port}"

    @property
    def pass_value(self) -> str:
        """What the cookie of someone with the token holds."""
        return hmac.new(self._token or b"", b"moodreel pass", hashlib.sha256).hexdigest()

    def is_token(self, text: str) -> bool:
        """Whether a text is the token, compared in constant time."""
        return self._token is not None and hmac.compare_digest(text.encode("utf-8", "replace"), self._token)

    def has_bearer(self, request: Request) -> bool:
        """Whether a program has shown the token."""
        kind, _, value = request.headers.get("authorization", "").partition(" ")
        return kind.lower() == "bearer" and self.is_token(value.strip())

    def admits(self, request: Request) -> bool:
        """Whether the client has the token, where there is one."""
        if self._token is None or self.has_bearer(request):
            return True
        return hmac.compare_digest(request.cookies.get(self.pass_name, "").encode(), self.pass_value.encode())

    def make_csrf(self, session: str) -> str:
        """The CSRF token of a session."""
        return hmac.new(self._key, session.encode(), hashlib.sha256).hexdigest()

    def has_csrf(self, request: Request) -> bool:
        """Whether a request has the CSRF token of its session."""
        session, shown = request.cookies.get(self.session_name, ""), request.headers.get("x-csrf-token", "")
        return bool(session) and hmac.compare_digest(shown.encode(), self.make_csrf(session).encode())

    def set_cookie(self, response: Response, name: str, value: str, is_secure: bool) -> None:
        """Sets a cookie that no script and no other site sees."""
        response.set_cookie(
            name, value, max_age=COOKIE_SECONDS, path="/", secure=is_secure, httponly=True, samesite="strict"
        )


class Guard:
    """ASGI middleware.

    Args:
        app: what lies behind.
        settings: hosts, rates and limits.
        gate: shared with the pages.
    """

    def __init__(self, app: App, settings: WebSettings, gate: Gate) -> None:
        self._app, self._settings, self._gate = app, settings, gate
        self._bucket = Bucket(settings.rate, settings.burst)
        self._tries = Bucket(TRIES, TRIES)

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Lets a request through, or answers it."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1008})
            return
        request = Request(scope)
        is_upload = request.url.path in UPLOADS
        body = _Body(receive, self._settings, self._settings.request_bytes if is_upload else SMALL_BODY)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                names = {name.lower() for name, _ in message["headers"]}
                extra = [(k.lower().encode(), v.encode()) for k, v in HEADERS.items()]
                if b"cache-control" not in names:
                    extra.append((b"cache-control", b"no-store"))
                message["headers"] = [*message["headers"], *extra]
            await send(message)

        try:
            response = self._admit(request)
            body.check_length(request)
        except Problem as problem:
            response = problem.respond()
        if response is not None:
            await response(scope, body.receive, answer)
        else:
            await self._app(scope, body.receive, answer)

    def _admit(self, request: Request) -> Response | None:
        """Raises a Problem for what may not pass; an answer where a browser is led elsewhere."""
        path, client = request.url.path, request.client.host if request.client else ""
        if not self._settings.allows_host(request.headers.get("host", "")):
            raise Problem(421, "host", "this Host name is not served here (see --allow-host)")
        if not self._gate.admits(request) and path not in OPEN and not path.startswith("/static/"):
            return self._ask_token(request, client)
        if request.method in ("GET", "HEAD", "OPTIONS"):
            return None
        self._check_origin(request)
        wants_csrf = path not in STATELESS and not self._gate.has_bearer(request)
        if wants_csrf and not self._gate.has_csrf(request):
            raise Problem(403, "csrf", "the page is out of date: reload it (no valid CSRF token)")
        self._charge(self._tries if path == "/token" else self._bucket, client)
        return None

    def _ask_token(self, request: Request, client: str) -> Response:
        """Lets in who brings the token in the address; leads a browser to the page that asks for it."""
        shown = request.query_params.get("token")
        if shown is not None or "authorization" in request.headers:
            self._charge(self._tries, client)
        if shown is not None and request.method == "GET" and self._gate.is_token(shown):
            kept = "&".join(
                f"{quote(k)}={quote(v)}" for k, v in request.query_params.multi_items() if k != "token"
            )
            place = "/" + request.url.path.lstrip("/\\") + (f"?{kept}" if kept else "")
            response = RedirectResponse(quote(place, safe="/?&=%"), 303)
            self._gate.set_cookie(
                response, self._gate.pass_name, self._gate.pass_value, request.url.scheme == "https"
            )
            return response
        if request.method == "GET" and not request.url.path.startswith("/api/"):
            return RedirectResponse("/token", 303)
        raise Problem(401, "token", "the server's token is needed", {"WWW-Authenticate": "Bearer"})

    @staticmethod
    def _check_origin(request: Request) -> None:
        origin, site = request.headers.get("origin"), request.headers.get("sec-fetch-site")
        if origin is not None and urlsplit(origin).netloc != request.headers.get("host"):
            raise Problem(403, "origin", "requests from another site are refused")
        if site not in (None, "same-origin", "none"):
            raise Problem(403, "origin", "requests from another site are refused")

    @staticmethod
    def _charge(bucket: Bucket, client: str) -> None:
        if wait := bucket.take(client):
            seconds = str(max(1, round(wait + 0.5)))
            raise Problem(429, "rate", "too many requests; try again in a moment", {"Retry-After": seconds})


class _Body:
    """A request's body, bounded in size and in time."""

    def __init__(self, receive: Receive, settings: WebSettings, most: int) -> None:
        self._receive, self._settings, self._most = receive, settings, most
        self._begin = time.monotonic()
        self._size = 0
        self._is_read = False

    def check_length(self, request: Request) -> None:
        """Refuses what says itself that it is too large, before a byte of it is read."""
        length = request.headers.get("content-length", "0")
        if not (length.isascii() and length.isdigit()):
            raise Problem(400, "length", "Content-Length is no number")
        if int(length) > self._most:
            raise self._find_too_large()

    def _find_too_large(self) -> Problem:
        return Problem(413, "limit", f"the request is larger than {self._most} bytes")

    async def receive(self) -> Message:
        if self._is_read:  # what follows is only the news that the client has gone
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), self._settings.stall_seconds)
        except TimeoutError:
            raise Problem(
                408,
                "slow",
                f"no byte came for {self._settings.stall_seconds:g} seconds",
                {"Connection": "close"},
            ) from None
        self._is_read = message["type"] != "http.request" or not message.get("more_body")
        self._size += len(message.get("body", b""))
        if self._size > self._most:
            raise self._find_too_large()
        age = time.monotonic() - self._begin
        if not self._is_read and age > GRACE_SECONDS and self._size < self._settings.slowest * age:
            raise Problem(
                408, "slow", f"slower than {self._settings.slowest} bytes a second", {"Connection": "close"}
            )
        return message
