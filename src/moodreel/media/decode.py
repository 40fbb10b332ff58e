"""Opens any input: looks at the content, picks the reader, and checks what it may cost."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from moodreel.errors import CorruptMedia, LimitExceeded, MediaError, SettingsError, UnsupportedMedia
from moodreel.media.base import (
    DEFAULT_FPS,
    ArrayMedia,
    Media,
    Mode,
    Stopwatch,
    Timeline,
    check_canvas,
    check_decoded,
    check_frames,
    check_mode,
    convert,
    guard,
)
from moodreel.media.gif import GifMedia
from moodreel.media.limits import Limits
from moodreel.media.stills import open_still, to_array
from moodreel.types import Clip, UInt8Array

if TYPE_CHECKING:
    from PIL import Image

Source: TypeAlias = "str | os.PathLike[str] | bytes | Image.Image | UInt8Array | Clip | Media"

STILL_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})
MEDIA_SUFFIXES = STILL_SUFFIXES | {".gif", ".apng", ".mp4", ".m4v", ".webm", ".mov", ".mkv", ".avi"}

#: Enough of a file to tell its format.
_HEAD = 32

_DEFAULT = Limits()


def is_media_path(path: str | os.PathLike[str]) -> bool:
    """Whether the name ends as a media file's does (``MEDIA_SUFFIXES``); the file is not looked at."""
    return Path(path).suffix.lower() in MEDIA_SUFFIXES


def is_frame_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder's direct files are two or more stills, named as one numbered sequence.

    All must share what stands before the number and the suffix: ``frame_001.png, frame_002.png``. Hidden
    files do not count. Anything that is no readable folder is none.
    """
    try:
        return len(_sequence(Path(path))) >= 2
    except (OSError, ValueError):
        return False


def read_clip(
    source: Source, mode: Mode = "rgb", limits: Limits = _DEFAULT, *, fps: float = DEFAULT_FPS
) -> Clip:
    """Decodes every image of an input.

    Args:
        source: as in :func:`open_media`.
        mode: "rgb" puts transparent parts over white, "rgba" keeps them.
        limits: bounds on what it may cost; ``decoded_bytes`` on T x H x W x channels.
        fps: frames a second of inputs without times (folders of frames, arrays).

    Returns:
        A Clip with frames [T, H, W, 3 or 4] uint8 and times in seconds.

    Raises:
        MediaError: no such file, or it cannot be read: UnsupportedMedia, CorruptMedia, LimitExceeded.
        SettingsError: the mode is not allowed.
    """
    check_mode(mode)
    media = open_media(source, limits, fps=fps)
    shape = (len(media), media.height, media.width, 3 if mode == "rgb" else 4)
    check_decoded(media.source, int(np.prod(shape, dtype=object)), limits)
    try:
        frames: UInt8Array = np.empty(shape, dtype=np.uint8)
        for index, frame in media.read(range(len(media)), mode):
            frames[index] = frame
    except MemoryError:
        raise LimitExceeded(media.source, "out of memory while decoding") from None
    timeline = media.timeline
    return Clip(
        frames=frames,
        starts=timeline.starts,
        durations=timeline.durations,
        raw_durations=timeline.raw_durations,
        loop=timeline.loop,
        source=media.source,
    )


def open_media(source: Source, limits: Limits = _DEFAULT, *, fps: float = DEFAULT_FPS) -> Media:
    """Opens an input: its times and size are known, no more is decoded than that takes.

    Args:
        source: a path (file, or folder of numbered stills), bytes of a file, a Pillow image, a uint8 array
            [H, W, 3 or 4] or [T, H, W, 3 or 4] (RGB or RGBA), a Clip, or a Media, which is returned as it is.
            The format of a file is told by its content, not by its name.
        limits: bounds on what it may cost.
        fps: frames a second of inputs without times (folders of frames, arrays).

    Returns:
        A Media. A still has one frame of duration 0 (a GIF of one image has its delay).

    Raises:
        UnsupportedMedia: no format that this package reads.
        CorruptMedia: the format is known, the content is broken.
        LimitExceeded: a limit would be broken.
        MediaError: there is no such file, or it may not be read.
        SettingsError: fps is not allowed.
    """
    if not (np.isfinite(fps) and fps > 0):
        raise SettingsError("fps", fps, "frames a second, finite and > 0")
    if isinstance(source, Media):
        return source
    if isinstance(source, Clip):
        timeline = Timeline(source.starts, source.durations, source.raw_durations, source.loop)
        return ArrayMedia(source.frames, timeline, source.source)
    if isinstance(source, np.ndarray):
        return _open_array(source, limits, fps)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _open_bytes(bytes(source), limits)
    if isinstance(source, (str, os.PathLike)):
        return _open_path(source, limits, fps)
    if hasattr(source, "getbands") and hasattr(source, "convert"):
        return _open_image(source, limits)
    raise UnsupportedMedia(
        f"<{type(source).__name__}>", "expected a path, bytes, a Pillow image, a numpy array or a Clip"
    )


def sniff(head: bytes) -> str | None:
    """Names the format of a file by its first bytes: "gif", "png", "webp", "jpeg", "bmp", a video
    container ("mov", "matroska", "avi"), or None."""
    if head[:6] in (b"GIF87a", b"GIF89a"):
        return "gif"
    if head[:8] == b"\x89PNG\r\n\x1a\n":
        return "png"
    if head[:3] == b"\xff\xd8\xff":
        return "jpeg"
    if head[:4] == b"RIFF" and head[8:12] in (b"WEBP", b"AVI "):
        return "webp" if head[8:12] == b"WEBP" else "avi"
    if head[:4] == b"\x1aE\xdf\xa3":
        return "matroska"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot"):
        # HEIC and AVIF stills share the container, but no decoder here reads them reliably.
        return None if head[8:12] in (b"heic", b"heix", b"mif1", b"avif", b"avis") else "mov"
    if head[:2] == b"BM" and head[6:10] == b"\0\0\0\0":
        return "bmp"
    return None


def _open_path(path: str | os.PathLike[str], limits: Limits, fps: float) -> Media:
    source = os.fspath(path)
    file = Path(source)
    try:
        status = file.stat()
        if stat.S_ISDIR(status.st_mode):
            return _FolderMedia(file, source, limits, fps)
        if not stat.S_ISREG(status.st_mode):
            raise UnsupportedMedia(source, "not a regular file")
        _check_size(source, status.st_size, limits)
        with file.open("rb") as stream:
            kind = _kind(source, stream.read(_HEAD))
            if kind in ("mov", "matroska", "avi"):
                data = b""
            else:
                check_decoded(source, status.st_size, limits)
                stream.seek(0)
                # One more than stated: a file that grows meanwhile is not read past its limit.
                data = stream.read(status.st_size + 1)
    except FileNotFoundError:
        raise MediaError(source, "no such file") from None
    except PermissionError:
        raise MediaError(source, "permission denied") from None
    except MemoryError:
        raise LimitExceeded(source, "out of memory while reading the file") from None
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        raise MediaError(source, f"cannot be opened: {getattr(error, 'strerror', None) or error}") from None
    return _dispatch(kind, data, file, source, limits)


def _open_bytes(data: bytes, limits: Limits) -> Media:
    source = "<bytes>"
    _check_size(source, len(data), limits)
    return _dispatch(_kind(source, data[:_HEAD]), data, None, source, limits)


def _dispatch(kind: str, data: bytes, file: Path | None, source: str, limits: Limits) -> Media:
    if kind == "gif":
        with guard(source, "reading the GIF"):
            return GifMedia(data, source, limits)
    if kind in ("mov", "matroska", "avi"):
        from moodreel.media.video import VideoMedia

        return VideoMedia(data if file is None else file, kind, source, limits)
    return open_still(data, kind, source, limits)


def _kind(source: str, head: bytes) -> str:
    if not head:
        raise CorruptMedia(source, "the file is empty")
    kind = sniff(head)
    if kind is None:
        raise UnsupportedMedia(
            source, "not a GIF, PNG, WebP, JPEG, BMP, MP4, MOV, WebM, Matroska or AVI file (by its content)"
        )
    return kind


def _check_size(source: str, size: int, limits: Limits) -> None:
    if size > limits.file_bytes:
        raise LimitExceeded(source, f"{size} bytes, more than the limit of {limits.file_bytes} (file_bytes)")


def _open_array(array: np.ndarray[Any, Any], limits: Limits, fps: float) -> Media:
    source = "<array>"
    frames = array[None] if array.ndim == 3 else array
    if array.dtype != np.uint8 or frames.ndim != 4 or frames.shape[3] not in (3, 4) or 0 in frames.shape:
        raise UnsupportedMedia(
            source,
            f"{array.dtype} {list(array.shape)}: expected uint8 [H, W, 3 or 4] or [T, H, W, 3 or 4]",
        )
    check_canvas(source, int(frames.shape[2]), int(frames.shape[1]), limits)
    check_frames(source, len(frames), limits)
    return ArrayMedia(frames, Timeline.from_rate(len(frames), fps), source)


def _open_image(image: Any, limits: Limits) -> Media:
    """A Pillow image: all frames of an animated one, with the times Pillow gives (whole milliseconds)."""
    source = str(getattr(image, "filename", "") or "<image>")
    check_canvas(source, image.width, image.height, limits)
    with guard(source, "reading the Pillow image"):
        count = int(getattr(image, "n_frames", 1))
        if count == 1:
            return ArrayMedia(to_array(image)[None], Timeline.from_rate(1, 1.0), source)
        check_frames(source, count, limits)
        check_decoded(source, count * image.width * image.height * 4, limits)
        here = image.tell()
        frames = np.empty((count, image.height, image.width, 4), dtype=np.uint8)
        delays: list[float] = []
        for index in range(count):
            image.seek(index)
            frames[index] = convert(to_array(image), "rgba")
            delays.append(float(image.info.get("duration", 0)) / 1000)
        loop = image.info.get("loop")
        image.seek(here)
        return ArrayMedia(frames, Timeline.from_delays(delays, loop), source)


def _sequence(folder: Path) -> list[Path]:
    """The stills of a frame folder in the order of their numbers; empty when it is none."""
    found: list[tuple[int, str, Path]] = []
    shapes: set[tuple[str, str]] = set()
    for entry in folder.iterdir():
        if entry.name.startswith(".") or entry.is_dir():
            continue
        match = re.fullmatch(r"(.*?)(\d+)", entry.stem)
        if match is None or entry.suffix.lower() not in STILL_SUFFIXES or len(match[2]) > 18:
            return []
        shapes.add((match[1], entry.suffix.lower()))
        found.append((int(match[2]), entry.name, entry))
    return [path for _, _, path in sorted(found)] if len(shapes) == 1 else []


class _FolderMedia(Media):
    """A folder of numbered stills of one size."""

    def __init__(self, folder: Path, source: str, limits: Limits, fps: float) -> None:
        self._paths = _sequence(folder)
        self._limits = limits
        if not self._paths:
            raise UnsupportedMedia(
                source, "a folder, but not of stills that are named as one numbered sequence"
            )
        check_frames(source, len(self._paths), limits)
        watch = Stopwatch(source, limits)
        first = _open_path(self._paths[0], limits, fps)
        super().__init__(source, Timeline.from_rate(len(self._paths), fps), first.width, first.height, watch)

    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        for index in indices:
            path = self._paths[index]
            still = _open_path(path, self._limits, DEFAULT_FPS)
            if (still.width, still.height) != (self.width, self.height):
                raise CorruptMedia(
                    self.source,
                    f"{path.name} is {still.width} x {still.height}, "
                    f"{self._paths[0].name} is {self.width} x {self.height}",
                )
            yield index, next(still.read([0], mode))[1]
