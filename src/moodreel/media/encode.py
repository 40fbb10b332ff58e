"""Frames to a GIF file with exact delays."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
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
    frames: Sequence[UInt8Array] | UInt8Array,
    durations: Sequence[float] | npt.NDArray[np.float64],
    loop: int | None = 0,
    palette: Literal["shared", "frame"] = "shared",
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
        palette: "shared" draws one from all frames (smaller, no flicker), "frame" one for each.

    Raises:
        SettingsError: frames, durations, loop or palette are not allowed.
        MediaError: the file cannot be written.
    """
    from PIL import Image

    pictures = [np.asarray(frame) for frame in frames]
    _check(pictures, durations, loop, palette)
    height, width = pictures[0].shape[:2]
    ends = [round(end * 100) for end in np.cumsum(np.asarray(durations, dtype=np.float64)).tolist()]
    delays = [end - begin for begin, end in zip([0, *ends], ends, strict=False)]
    shared = _palette_of(pictures) if palette == "shared" else None
    parts = [b"GIF89a", struct.pack("<HHBBB", width, height, 0xF7 if shared is not None else 0x70, 0, 0)]
    if shared is not None:
        parts.append(_table(shared))
    if loop is not None:
        parts.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", loop) + b"\0")
    for picture, delay in zip(pictures, delays, strict=True):
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
    _write(Path(path), parts)


def _check(
    pictures: list[UInt8Array],
    durations: Sequence[float] | npt.NDArray[np.float64],
    loop: int | None,
    palette: str,
) -> None:
    if not pictures:
        raise SettingsError("frames", [], "at least one frame")
    for picture in pictures:
        shape = picture.shape
        good = picture.dtype == np.uint8 and len(shape) == 3 and shape[2] in (3, 4) and 0 not in shape
        if not good or shape[:2] != pictures[0].shape[:2] or max(shape[:2]) > 65535:
            raise SettingsError("frames", f"{picture.dtype} {list(shape)}", "uint8 [H, W, 3 or 4], one size")
    seconds = np.asarray(durations, dtype=np.float64)
    if seconds.shape != (len(pictures),):
        raise SettingsError("durations", list(seconds.shape), f"[{len(pictures)}], one a frame")
    if not (np.isfinite(seconds).all() and (seconds >= 0).all() and (seconds <= 655.35).all()):
        raise SettingsError("durations", seconds.tolist()[:8], "seconds in [0, 655.35]")
    if loop is not None and not 0 <= loop <= 65535:
        raise SettingsError("loop", loop, "None, or 0 to 65535")
    if palette not in ("shared", "frame"):
        raise SettingsError("palette", palette, '"shared" or "frame"')


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


def _write(path: Path, parts: list[bytes]) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        try:
            with draft.open("wb") as stream:
                stream.writelines(parts)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)
    except OSError as error:
        raise MediaError(str(path), f"cannot be written: {error.strerror or error}") from None
