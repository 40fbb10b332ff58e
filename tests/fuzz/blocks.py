"""Files as trees of blocks, of six formats, and back to bytes, with lengths and checksums that may lie."""

from __future__ import annotations

import random
import struct
import zlib
from dataclasses import dataclass, field

BOXES = {b"moov", b"trak", b"mdia", b"minf", b"stbl", b"edts", b"udta", b"dinf", b"mvex", b"moof", b"traf"}
"""Boxes of MP4 and MOV that hold boxes."""

MASTERS = {
    b"\x1aE\xdf\xa3", b"\x18S\x80g", b"\x15I\xa9f", b"\x16T\xaek", b"\xae", b"\xe0", b"\x1fC\xb6u", b"\xa0",
    b"\x1cS\xbbk", b"\xbb", b"\xb7", b"\x11M\x9bt", b"M\xbb",
}  # fmt: skip
"""Elements of Matroska that hold elements."""


@dataclass
class Block:
    """A name, a body, and the blocks inside it."""

    name: bytes
    body: bytes = b""
    inner: list[Block] | None = None
    lie: int | None = field(default=None)  # what to state as the length

    def copy(self) -> Block:
        inner = None if self.inner is None else [block.copy() for block in self.inner]
        return Block(self.name, self.body, inner, self.lie)


def split(kind: str, data: bytes) -> list[Block]:
    """The blocks of a whole, valid file."""
    return _SPLITS[kind](data)


def join(kind: str, blocks: list[Block], rng: random.Random) -> bytes:
    """The file of blocks; of a PNG, now and then a checksum is wrong."""
    if kind == "gif":
        return b"".join(block.body for block in blocks)
    if kind == "png":
        return b"\x89PNG\r\n\x1a\n" + b"".join(_join_chunk(block, rng) for block in blocks)
    return b"".join(_JOINS[kind](block) for block in blocks)


def walk(blocks: list[Block]) -> list[tuple[list[Block], int]]:
    """Where every block stands: (list, place)."""
    found = []
    for place, block in enumerate(blocks):
        found.append((blocks, place))
        if block.inner is not None:
            found += walk(block.inner)
    return found


def _split_gif(data: bytes) -> list[Block]:
    place = 13 + (3 * (2 << (data[10] & 7)) if data[10] & 0x80 else 0)
    blocks = [Block(b"head", data[:place])]
    while place < len(data):
        begin = place
        if data[place] == 0x21:
            place += 2
        elif data[place] == 0x2C:
            flags = data[place + 9]
            place += 11 + (3 * (2 << (flags & 7)) if flags & 0x80 else 0)
        else:
            blocks.append(Block(b"end", data[place:]))
            break
        while data[place]:
            place += data[place] + 1
        place += 1
        blocks.append(Block(data[begin : begin + 1], data[begin:place]))
    return blocks


def _split_png(data: bytes) -> list[Block]:
    blocks, place = [], 8
    while place < len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        blocks.append(Block(name, data[place + 8 : place + 8 + size]))
        place += 12 + size
    return blocks


def _join_chunk(block: Block, rng: random.Random) -> bytes:
    size = len(block.body) if block.lie is None else block.lie
    checksum = zlib.crc32(block.name + block.body)
    if rng.random() < 0.03:
        checksum ^= 1
    return struct.pack(">I", size & 0xFFFFFFFF) + block.name + block.body + struct.pack(">I", checksum)


def _split_riff(data: bytes) -> list[Block]:
    blocks, place = [], 0
    while place + 8 <= len(data):
        name, size = struct.unpack_from("<4sI", data, place)
        body = data[place + 8 : place + 8 + size]
        place += 8 + size + (size & 1)
        if name in (b"RIFF", b"LIST"):
            blocks.append(Block(name, body[:4], _split_riff(body[4:])))
        elif name == b"ANMF":
            blocks.append(Block(name, body[:16], _split_riff(body[16:])))
        else:
            blocks.append(Block(name, body))
    return blocks


def _join_riff(block: Block) -> bytes:
    body = block.body + b"".join(_join_riff(inner) for inner in block.inner or ())
    size = len(body) if block.lie is None else block.lie
    return block.name + struct.pack("<I", size & 0xFFFFFFFF) + body + b"\0" * (len(body) & 1)


def _split_boxes(data: bytes) -> list[Block]:
    blocks, place = [], 0
    while place + 8 <= len(data):
        size, name = struct.unpack_from(">I4s", data, place)
        size = size or len(data) - place
        body = data[place + 8 : place + size]
        blocks.append(Block(name, b"", _split_boxes(body)) if name in BOXES else Block(name, body))
        place += max(8, size)
    return blocks


def _join_box(block: Block) -> bytes:
    body = block.body + b"".join(_join_box(inner) for inner in block.inner or ())
    size = 8 + len(body) if block.lie is None else block.lie
    return struct.pack(">I", size & 0xFFFFFFFF) + block.name + body


def _split_ebml(data: bytes) -> list[Block]:
    blocks, place = [], 0
    while place < len(data):
        width = 9 - data[place].bit_length()
        name = data[place : place + width]
        place += width
        if width > 4 or place >= len(data):
            break
        width = 9 - data[place].bit_length()
        size = int.from_bytes(data[place : place + width], "big") & (1 << 7 * width) - 1
        place += width
        if size == (1 << 7 * width) - 1:  # unknown: to the end
            size = len(data) - place
        body = data[place : place + size]
        blocks.append(Block(name, b"", _split_ebml(body)) if name in MASTERS else Block(name, body))
        place += size
    return blocks


def _join_ebml(block: Block) -> bytes:
    body = block.body + b"".join(_join_ebml(inner) for inner in block.inner or ())
    size = len(body) if block.lie is None else block.lie
    return block.name + struct.pack(">I", 0x10000000 | size & 0x0FFFFFFF) + body


_JOINS = {"webp": _join_riff, "avi": _join_riff, "mov": _join_box, "matroska": _join_ebml}
_SPLITS = {
    "gif": _split_gif,
    "png": _split_png,
    "webp": _split_riff,
    "avi": _split_riff,
    "mov": _split_boxes,
    "matroska": _split_ebml,
}
