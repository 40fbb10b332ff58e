"""What goes wrong in a request, as an HTTP status and ``{"error": ..., "reason": ...}``."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from moodreel.errors import (
    CorruptMedia,
    DataError,
    LimitExceeded,
    MediaError,
    MissingExtra,
    SettingsError,
    UnsupportedMedia,
)
from moodreel.media.base import NoDecoderError


class Problem(HTTPException):
    """An answer that is an error.

    Args:
        status: of HTTP.
        error: a word for programs.
        reason: one line for people.
        headers: further ones.
        extra: further fields of the answer.
    """

    def __init__(
        self,
        status: int,
        error: str,
        reason: str,
        headers: Mapping[str, str] | None = None,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(status, reason, dict(headers or {}))
        self.error = error
        self.extra = dict(extra or {})
        self.reason = " ".join(reason.split())

    def respond(self) -> JSONResponse:
        """The answer."""
        body = {"error": self.error, "reason": self.reason, **self.extra}
        return JSONResponse(body, self.status_code, headers=dict(self.headers or {}))


def busy(reason: str, seconds: int = 2) -> Problem:
    """Too much at once: the client may come again."""
    return Problem(503, "busy", reason, {"Retry-After": str(seconds)})


def explain_error(error: Exception) -> Problem:
    """What an error of the package, or of a library below it, means for a client."""
    reason = error.reason if isinstance(error, MediaError) else str(error)
    if isinstance(error, Problem):
        return error
    if isinstance(error, UnsupportedMedia):
        return Problem(415, "unsupported_media", reason)
    if isinstance(error, LimitExceeded):
        return Problem(413, "limit", reason)
    if isinstance(error, CorruptMedia | MediaError):
        return Problem(422, "corrupt_media", reason)
    if isinstance(error, MissingExtra):
        return Problem(503, "model_unavailable", reason)
    if isinstance(error, NoDecoderError):
        return busy(reason)
    if isinstance(error, SettingsError | DataError):
        return Problem(422, "invalid", reason)
    # its details are for whoever runs the server alone
    logging.getLogger("moodreel.web").error("a request failed", exc_info=error)
    return Problem(500, "failed", f"reading failed: {type(error).__name__}")
