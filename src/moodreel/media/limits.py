"""What reading one input may cost at most."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any

from moodreel.errors import SettingsError, require


@dataclass(frozen=True)
class Limits:
    """Bounds on one input, each checked before what it stands for is taken.

    The defaults let an hour of 60 fps video and a 65,535 x 1 GIF through and stop what no clip library
    holds. Breaking one raises :class:`moodreel.errors.LimitExceeded`.

    Attributes:
        file_bytes: size of the file. GIF, PNG, WebP, JPEG and BMP files are held in memory while they
            are read, so ``decoded_bytes`` bounds their file size as well.
        canvas_pixels: width x height of the picture (and of any one image inside a GIF).
        frames: pictures in the file.
        decoded_bytes: what :func:`moodreel.media.read_clip` would hold: T x H x W x 3 (or 4).
        seconds: of wall time that reading and decoding takes; the time that is spent on the frames in
            between (faces, a network) does not count. Looked at between pictures, packets and blocks; a
            decoder in a process of its own (:mod:`moodreel.media.pool`) is ended in the midst of one, too.
        process_bytes: address space of such a process, where the platform can bound it.

    Raises:
        SettingsError: a field is no positive whole number, ``seconds`` no positive number.
    """

    file_bytes: int = 4 << 30
    canvas_pixels: int = 1 << 26
    frames: int = 1_000_000
    decoded_bytes: int = 2 << 30
    seconds: float = 600.0
    process_bytes: int = 8 << 30

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            kinds = int | float if entry.name == "seconds" else int
            is_number = isinstance(value, kinds) and not isinstance(value, bool) and math.isfinite(value)
            if entry.name == "seconds":
                require(is_number and value > 0, "Limits.seconds", value, "seconds, above 0")
            else:
                require(
                    is_number and value >= 1, f"Limits.{entry.name}", value, "a whole number of at least 1"
                )


def parse_limits(texts: Sequence[str]) -> Limits:
    """Limits of ``NAME=VALUE`` each; a name that is left out has its default.

    Raises:
        SettingsError: no such name, a value that is not allowed, or a name twice.
    """
    values: dict[str, Any] = {}
    names = [entry.name for entry in fields(Limits)]
    for text in texts:
        name, _, value = text.partition("=")
        require(name in names, "limit", text, f"NAME=VALUE with NAME one of {', '.join(names)}")
        require(name not in values, "limit", text, f"{name} once")
        try:
            values[name] = float(value) if name == "seconds" else int(value)
        except ValueError:
            kind = "a number of seconds" if name == "seconds" else "a whole number"
            raise SettingsError("limit", text, f"{name}= and {kind}") from None
    return Limits(**values)
