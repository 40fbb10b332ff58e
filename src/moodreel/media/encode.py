"""Frames to GIF and WebP files with exact times; MP4 is next door.

All write an image of its own for every frame, equal neighbours too, and take frames one by one, so that a
generator of frames never has more than one of them in memory (a GIF then needs its palette in advance).
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import numpy as np
import numpy.typing as npt

from moodreel.errors import MediaError, SettingsError
from moodreel.types import UInt8Array

#: Frames that a shared palette is drawn from, and pixels a side that each is thinned to.
_PALETTE_FRAMES = 16
_PALETTE_SIDE = 128

_Colours = npt.NDArray[np.uint32]


def write_gif(
    path: str | os.PathLike[str],
    frames: Iterable[UInt8Array],
    durations: Sequence[float] | npt.NDArray[np.float64],
    loop: int | None = 0,
    palette: Literal["shared", "frame"] | UInt8Array = "shared",
) -> None:
    """Writes an animated GIF; every frame becomes an image of its own, equal neighbours too.

    Pictures of at most 256 colours (255 with transparency) are kept exactly; others are quantised with
    dithering. Delays are whole hundredths of a second: each end is rounded, so that errors do not add up.
    Players show a delay of 0 or 1 hundredths for 0.1 s.

    Args:
        path: of the file; written beside it and then moved, so that no half file is ever seen.
        frames: T arrays [H, W, 3 or 4] uint8 of one size; alpha below 128 is transparent.
        durations: [T] seconds, each in [0, 655.35].
        loop: 0 for ever, n times, None to not say (plays once).
        palette: "shared" draws one from all frames (smaller, no flicker) and holds them all meanwhile,
            "frame" one for each; or the colours themselves, as :func:`draw_palette` gives them.

    Raises:
        SettingsError: frames, durations, loop or palette are not allowed.
        MediaError: the file cannot be written.
    """
    from PIL import Image

    seconds = check_times(durations, 655.35, loop)
    if isinstance(palette, str) and palette == "shared":
        frames = [np.asarray(frame) for frame in frames]
        palette = draw_palette(list(check_frames(frames, len(seconds))))
    if isinstance(palette, str) and palette != "frame":
        raise SettingsError("palette", palette, '"shared", "frame" or colours [K, 3] uint8')
    shared = None if isinstance(palette, str) else _pack(palette)
    parts: list[bytes] = []
    for picture, delay in zip(check_frames(frames, len(seconds)), round_times(seconds, 100), strict=True):
        height, width = picture.shape[:2]
        if not parts:
            flags = 0xF7 if shared is not None else 0x70
            parts.append(b"GIF89a" + struct.pack("<HHBBB", width, height, flags, 0, 0))
            if shared is not None:
                parts.append(_table(shared))
            if loop is not None:
                parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loop) + b"\0")
        colours = _palette_of([picture]) if shared is None else shared
        indices, holes = _index(picture, colours)
        # Disposal 2 with transparency: what shone through must not show the frame before.
        parts.append(struct.pack("<BBBBHBB", 0x21, 0xF9, 4, 9 if holes else 4, delay, 255, 0))
        parts.append(struct.pack("<BHHHHB", 0x2C, 0, 0, width, height, 0x87 if shared is None else 0))
        if shared is None:
            parts.append(_table(colours))
        image = Image.fromarray(indices)
        parts.append(b"\x08" + image.tobytes("gif", "L", 8, 0) + b"\0")
    parts.append(b";")
    with replacing(path) as draft:
        draft.write_bytes(b"".join(parts))


def draw_palette(frames: Sequence[UInt8Array]) -> UInt8Array:
    """The colours that stand for some frames best: exact where they have few.

    Args:
        frames: arrays [H, W, 3 or 4] uint8, of any sizes, at least one.

    Returns:
        [K, 3] uint8, K at most 256, or 255 where a frame has transparency.
    """
    packed = _palette_of([np.asarray(frame) for frame in frames])
    return np.stack([packed >> 16, packed >> 8 & 255, packed & 255], axis=1).astype(np.uint8)


def encode_webp(
    frames: Iterable[UInt8Array],
    durations: Sequence[float] | npt.NDArray[np.float64],
    loop: int | None = 0,
    quality: int = 75,
    effort: int = 4,
) -> bytes:
    """The content of an animated WebP file, lossy; of each frame only what changed is stored.

    Pillow encodes the pictures; the container is written here, since libwebp's own writer joins equal
    neighbours and needs all frames at once. Delays are whole milliseconds: each end is rounded, so that
    errors do not add up. Players show a delay of 10 ms or less for 0.1 s.

    Args:
        frames: T arrays [H, W, 3 or 4] uint8 of one size, at most 16,383 pixels a side.
        durations: [T] seconds, each in [0, 16777].
        loop: 0 for ever, n times, None plays once.
        quality: 0 to 100.
        effort: 0 (quick) to 6 (small).

    Raises:
        SettingsError: frames, durations, loop or quality are not allowed.
    """
    seconds = check_times(durations, 16777.0, loop)
    if not 0 <= quality <= 100:
        raise SettingsError("quality", quality, "0 to 100")
    parts: list[bytes] = []
    before: UInt8Array | None = None
    is_clear = False
    for picture, delay in zip(
        check_frames(frames, len(seconds), 16383), round_times(seconds, 1000), strict=True
    ):
        top, left, bottom, right = _find_change(before, picture)
        chunks = _encode_still(picture[top:bottom, left:right], quality, effort)
        is_clear |= picture.shape[2] == 4
        # Offsets are stored halved, sizes less one. Flag 2: put over the frame before without blending.
        numbers = (left // 2, top // 2, right - left - 1, bottom - top - 1, delay)
        header = b"".join(number.to_bytes(3, "little") for number in numbers)
        parts.append(_chunk(b"ANMF", header + b"\x02" + chunks))
        before = picture
    assert before is not None
    height, width = before.shape[:2]
    flags = 0x02 | (0x10 if is_clear else 0)
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    head = _chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)
    head += _chunk(b"ANIM", struct.pack("<IH", 0, 1 if loop is None else loop))
    body = b"WEBP" + head + b"".join(parts)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def write_webp(
    path: str | os.PathLike[str],
    frames: Iterable[UInt8Array],
    durations: Sequence[float] | npt.NDArray[np.float64],
    loop: int | None = 0,
    quality: int = 75,
    effort: int = 4,
) -> None:
    """Writes an animated WebP: :func:`encode_webp` into a file that appears whole or not at all.

    Raises:
        SettingsError: as :func:`encode_webp`.
        MediaError: the file cannot be written.
    """
    content = encode_webp(frames, durations, loop, quality, effort)
    with replacing(path) as draft:
        draft.write_bytes(content)


def _find_change(before: UInt8Array | None, picture: UInt8Array) -> tuple[int, int, int, int]:
    """(top, left, bottom, right) of what differs, from even offsets; a corner where nothing does."""
    height, width = picture.shape[:2]
    if before is None or before.shape != picture.shape:
        return 0, 0, height, width
    differs = (before != picture).any(axis=2)
    rows, columns = np.flatnonzero(differs.any(axis=1)), np.flatnonzero(differs.any(axis=0))
    if not len(rows):
        return 0, 0, min(2, height), min(2, width)
    return int(rows[0]) & ~1, int(columns[0]) & ~1, int(rows[-1]) + 1, int(columns[-1]) + 1


def _encode_still(picture: UInt8Array, quality: int, effort: int) -> bytes:
    """The image chunks of one WebP picture: VP8, or ALPH and VP8, or VP8L."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(picture)).save(stream, "WEBP", quality=quality, method=effort)
    content, position, kept = stream.getvalue(), 12, b""
    while position + 8 <= len(content):
        name, size = struct.unpack_from("<4sI", content, position)
        end = position + 8 + size + size % 2
        if name in (b"ALPH", b"VP8 ", b"VP8L"):
            kept += content[position:end]
        position = end
    return kept


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)


def round_times(seconds: npt.NDArray[np.float64], per_second: int) -> list[int]:
    """Durations in whole ticks; each end is rounded, so that errors do not add up."""
    ends = [round(end * per_second) for end in np.cumsum(seconds).tolist()]
    return [end - begin for begin, end in zip([0, *ends], ends, strict=False)]


def check_times(
    durations: Sequence[float] | npt.NDArray[np.float64], longest: float, loop: int | None
) -> npt.NDArray[np.float64]:
    """[T] seconds, T >= 1, each in [0, longest]; refuses others, and a loop count that is none."""
    seconds = np.asarray(durations, dtype=np.float64)
    if seconds.ndim != 1:
        raise SettingsError("durations", list(seconds.shape), "[T] seconds")
    if len(seconds) == 0:
        raise SettingsError("frames and durations", [], "at least one frame")
    if not (np.isfinite(seconds).all() and (seconds >= 0).all() and (seconds <= longest).all()):
        raise SettingsError("durations", seconds.tolist()[:8], f"seconds in [0, {longest:g}]")
    if loop is not None and not 0 <= loop <= 65535:
        raise SettingsError("loop", loop, "None, or 0 to 65535")
    return seconds


def check_frames(frames: Iterable[UInt8Array], count: int, longest: int = 65535) -> Iterator[UInt8Array]:
    """Passes frames on one by one; refuses one of another kind or size, and another number than ``count``."""
    size = None
    done = 0
    for frame in frames:
        picture = np.asarray(frame)
        shape = picture.shape
        size = size or shape[:2]
        good = picture.dtype == np.uint8 and len(shape) == 3 and shape[2] in (3, 4) and 0 not in shape
        if not good or shape[:2] != size or max(size) > longest:
            got = f"{picture.dtype} {list(shape)}"
            raise SettingsError("frames", got, f"uint8 [H, W, 3 or 4], one size, at most {longest} a side")
        done += 1
        if done > count:
            break
        yield picture
    if done != count:
        raise SettingsError("frames", f"{done} or more" if done > count else done, f"{count}, as durations")


def _pack(colours: UInt8Array) -> _Colours:
    """[K, 3] uint8 -> [K] packed and sorted."""
    if colours.dtype != np.uint8 or colours.ndim != 2 or colours.shape[1] != 3 or not 0 < len(colours) <= 256:
        got = f"{colours.dtype} {list(colours.shape)}"
        raise SettingsError("palette", got, '"shared", "frame" or colours [K, 3] uint8, K at most 256')
    wide = colours.astype(np.uint32)
    return np.unique(wide[:, 0] << 16 | wide[:, 1] << 8 | wide[:, 2])


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A file beside ``path`` to write, moved over it when the block ends well and gone when not."""
    place = Path(path)
    draft = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        try:
            yield draft
            draft.replace(place)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise MediaError(str(path), f"cannot be written: {error.strerror or error}") from None


def _palette_of(pictures: list[UInt8Array]) -> _Colours:
    """Up to 256 packed colours, sorted; 255 where a picture has transparency (index 255 is for it)."""
    from PIL import Image

    room = 255 if any(_holes(picture) is not None for picture in pictures) else 256
    exact: set[tuple[int, int, int]] = set()
    for picture in pictures:
        counted = Image.fromarray(_solid(picture)).getcolors(room)
        if counted is None:
            break
        exact.update(colour for _, colour in counted)  # type: ignore[misc]  # RGB pixels are 3-tuples
        if len(exact) > room:
            break
    else:
        return np.array(sorted(r << 16 | g << 8 | b for r, g, b in exact), dtype=np.uint32)
    chosen = pictures[:: max(1, len(pictures) // _PALETTE_FRAMES)]
    thinned = []
    for picture in chosen:
        rows = max(1, picture.shape[0] // _PALETTE_SIDE)
        columns = max(1, picture.shape[1] // _PALETTE_SIDE)
        if len(pictures) == 1:
            rows = columns = 1
        thinned.append(_solid(picture)[::rows, ::columns].reshape(-1, 3))
    sheet = Image.fromarray(np.concatenate(thinned)[None])
    flat = sheet.quantize(room, Image.Quantize.MEDIANCUT).getpalette() or [0, 0, 0]
    table = np.array(flat[: 3 * room], dtype=np.uint32).reshape(-1, 3)
    return np.unique(table[:, 0] << 16 | table[:, 1] << 8 | table[:, 2])


def _index(picture: UInt8Array, colours: _Colours) -> tuple[UInt8Array, bool]:
    """Palette indices [H, W] of a picture, and whether 255 marks transparent pixels."""
    from PIL import Image

    solid = _solid(picture)
    wide = solid.astype(np.uint32)
    packed = wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]
    found = np.minimum(np.searchsorted(colours, packed), len(colours) - 1)
    if (colours[found] == packed).all():
        indices = found.astype(np.uint8)
    else:
        host = Image.new("P", (1, 1))
        table = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1).astype(np.uint8)
        # Filled up with the last colour: Pillow would take missing entries for black.
        rows = np.concatenate([table, np.repeat(table[-1:], 256 - len(table), axis=0)])
        host.putpalette(rows.tobytes())
        quantised = Image.fromarray(solid).quantize(palette=host, dither=Image.Dither.FLOYDSTEINBERG)
        indices = np.minimum(np.asarray(quantised), len(colours) - 1).astype(np.uint8)
    holes = _holes(picture)
    if holes is not None:
        indices[holes] = 255
    return indices, holes is not None


def _solid(picture: UInt8Array) -> UInt8Array:
    """[H, W, 3]: without alpha, transparent pixels black so that they cost one colour at most."""
    holes = _holes(picture)
    solid = np.ascontiguousarray(picture[..., :3])
    if holes is not None:
        solid = np.where(holes[..., None], np.uint8(0), solid)
    return solid


def _holes(picture: UInt8Array) -> npt.NDArray[np.bool_] | None:
    if picture.shape[2] == 3:
        return None
    holes: npt.NDArray[np.bool_] = picture[..., 3] < 128
    return holes if holes.any() else None


def _table(colours: _Colours) -> bytes:
    table = np.zeros((256, 3), dtype=np.uint8)
    table[: len(colours)] = np.stack([colours >> 16, colours >> 8 & 255, colours & 255], axis=1)
    return table.tobytes()
