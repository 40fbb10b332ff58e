"""What reading one input may cost at most."""

from __future__ import annotations

from dataclasses import dataclass, fields

from moodreel.errors import SettingsError


@dataclass(frozen=True)
class Limits:
    """Bounds on one input, each checked before the memory it stands for is taken.

    The defaults let an hour of 60 fps video and a 65,535 x 1 GIF through and stop what no clip library
    holds. Breaking one raises :class:`moodreel.errors.LimitExceeded`.

    Attributes:
        file_bytes: size of the file. GIF, PNG, WebP, JPEG and BMP files are held in memory while they
            are read, so ``decoded_bytes`` bounds their file size as well.
        canvas_pixels: width x height of the picture (and of any one image inside a GIF).
        frames: pictures in the file.
        decoded_bytes: what :func:`moodreel.media.read_clip` would hold: T x H x W x 3 (or 4).

    Raises:
        SettingsError: a field is no positive whole number.
    """

    file_bytes: int = 4 << 30
    canvas_pixels: int = 1 << 26
    frames: int = 1_000_000
    decoded_bytes: int = 2 << 30

    def __post_init__(self) -> None:
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise SettingsError(f"Limits.{entry.name}", value, "a whole number of at least 1")
