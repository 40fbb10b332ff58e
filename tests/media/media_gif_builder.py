"""GIF files byte by byte, and an independent, slow compositor to compare with."""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

import numpy as np

#: 8 well-told-apart colours, RGB.
COLOURS = [
    (0, 0, 0),
    (255, 255, 255),
    (255, 0, 0),
    (0, 255, 0),
    (0, 0, 255),
    (250, 200, 10),
    (10, 200, 250),
    (120, 60, 90),
]
LOCAL = [(9 * i + 1, 255 - 7 * i, 30 * i) for i in range(8)]


@dataclass
class Picture:
    """One image: ``indices`` [h][w] at (left, top)."""

    indices: list[list[int]]
    left: int = 0
    top: int = 0
    delay: int = 5
    disposal: int = 0
    transparent: int | None = None
    local: list[tuple[int, int, int]] | None = None
    interlaced: bool = False
    control: bool = True
    bits: int = 3
    data: bytes | None = None  # in place of the LZW sub-blocks

    @property
    def size(self) -> tuple[int, int]:
        return (len(self.indices[0]) if self.indices else 0, len(self.indices))


@dataclass
class Gif:
    width: int
    height: int
    pictures: list[Picture] = field(default_factory=list)
    loop: int | None = None
    colours: list[tuple[int, int, int]] | None = field(default_factory=lambda: list(COLOURS))
    trailer: bytes = b";"

    def to_bytes(self) -> bytes:
        out = [b"GIF89a", struct.pack("<HH", self.width, self.height)]
        out.append(bytes([table_flags(self.colours), 0, 0]))
        out.append(table(self.colours))
        if self.loop is not None:
            out.append(b"\x21\xff\x0bNETSCAPE2.0\x03\x01" + struct.pack("<H", self.loop) + b"\0")
        for picture in self.pictures:
            out.append(picture_bytes(picture))
        out.append(self.trailer)
        return b"".join(out)


def picture_bytes(picture: Picture) -> bytes:
    out = b""
    if picture.control:
        packed = picture.disposal << 2 | (picture.transparent is not None)
        out += b"\x21\xf9\x04" + struct.pack("<BHBB", packed, picture.delay, picture.transparent or 0, 0)
    width, height = picture.size
    flags = table_flags(picture.local) | (0x40 if picture.interlaced else 0)
    out += b"\x2c" + struct.pack("<HHHHB", picture.left, picture.top, width, height, flags)
    out += table(picture.local)
    rows = picture.indices
    if picture.interlaced:
        order = [y for start, step in ((0, 8), (4, 8), (2, 4), (1, 2)) for y in range(start, height, step)]
        rows = [rows[y] for y in order]
    flat = [index for row in rows for index in row]
    out += bytes([picture.bits])
    out += blocks(lzw(flat, picture.bits)) if picture.data is None else picture.data
    return out


def table_flags(colours: list[tuple[int, int, int]] | None) -> int:
    return 0 if colours is None else 0x80 | (len(colours) - 1).bit_length() - 1


def table(colours: list[tuple[int, int, int]] | None) -> bytes:
    return b"" if colours is None else bytes(value for colour in colours for value in colour)


def lzw(indices: list[int], bits: int) -> bytes:
    """Literal codes with a clear code before the table would make them wider."""
    clear, size = 1 << bits, bits + 1
    codes = []
    for place, index in enumerate(indices):
        if place % (clear - 2) == 0:
            codes.append(clear)
        codes.append(index)
    codes.append(clear + 1)
    buffer = count = 0
    out = bytearray()
    for code in codes:
        buffer |= code << count
        count += size
        while count >= 8:
            out.append(buffer & 255)
            buffer >>= 8
            count -= 8
    if count:
        out.append(buffer)
    return bytes(out)


def blocks(data: bytes, size: int = 255) -> bytes:
    parts = [data[i : i + size] for i in range(0, len(data), size)]
    return b"".join(bytes([len(part)]) + part for part in parts) + b"\0"


def fill(index: int, width: int, height: int) -> list[list[int]]:
    return [[index] * width for _ in range(height)]


def composite(gif: Gif) -> np.ndarray:
    """[T, H, W, 4] as the specification says, pixel by pixel."""
    canvas = [[(0, 0, 0, 0)] * gif.width for _ in range(gif.height)]
    frames = []
    for picture in gif.pictures:
        before = [list(row) for row in canvas]
        colours = picture.local or gif.colours
        assert colours is not None
        for y, row in enumerate(picture.indices):
            for x, index in enumerate(row):
                column, line = picture.left + x, picture.top + y
                inside = column < gif.width and line < gif.height
                if inside and index != picture.transparent and index < len(colours):
                    canvas[line][column] = (*colours[index], 255)
        frames.append([list(row) for row in canvas])
        if picture.disposal == 2:
            for y, row in enumerate(picture.indices):
                for x in range(len(row)):
                    if picture.left + x < gif.width and picture.top + y < gif.height:
                        canvas[picture.top + y][picture.left + x] = (0, 0, 0, 0)
        elif picture.disposal in (3, 4):
            canvas = before
    return np.array(frames, dtype=np.uint8)


def over_white(rgba: np.ndarray) -> np.ndarray:
    return np.where(rgba[..., 3:] == 0, 255, rgba[..., :3]).astype(np.uint8)
