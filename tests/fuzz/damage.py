"""Damages files: block by block where the format is known, and byte by byte."""

from __future__ import annotations

import json
import random
from copy import deepcopy
from typing import Any

from fuzz.blocks import Block, join, split, walk

NUMBERS = (0, 1, 2, 3, 4, 7, 8, 11, 12, 13, 15, 16, 31, 127, 128, 129, 254, 255, 256, 511, 512, 4095, 4096,
           16383, 32767, 32768, 65534, 65535, 65536, 2**24 - 1, 2**24, 2**28, 2**30, 2**31 - 1, 2**31,
           2**32 - 2, 2**32 - 1)  # fmt: skip
"""Numbers at which programs go wrong."""


def damage(kind: str, seeds: tuple[bytes, ...], rng: random.Random) -> bytes:
    """One damaged file of a format."""
    data = rng.choice(seeds)
    if kind in ("gif", "png", "webp", "avi", "mov", "matroska") and rng.random() < 0.7:
        other = split(kind, rng.choice(seeds))
        blocks = split(kind, data)
        for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
            _change_blocks(blocks, other, rng)
        data = join(kind, blocks, rng)
        if rng.random() < 0.7:
            return data
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        data = change_bytes(data, seeds, rng)
    return data


def _change_blocks(blocks: list[Block], others: list[Block], rng: random.Random) -> None:
    places = walk(blocks)
    if not places:
        return
    inside, place = rng.choice(places)
    what = rng.randrange(8)
    if what == 0:
        del inside[place]
    elif what == 1:
        for _ in range(rng.choice((1, 1, 2, 40))):
            inside.insert(place, inside[place].copy())
    elif what == 2:
        to, where = rng.choice(places)
        to.insert(where, inside[place].copy())
    elif what == 3:
        found = walk(others)
        if found:
            source, where = rng.choice(found)
            inside.insert(place, source[where].copy())
    elif what == 4:
        inside[place].lie = rng.choice(NUMBERS)
    elif what == 5 and inside[place].inner:
        rng.shuffle(inside[place].inner or [])
    else:  # its body: where most parsers take it apart
        body = inside[place].body
        for _ in range(rng.choice((1, 1, 2, 4))):
            body = change_bytes(body, (body,), rng)
        inside[place].body = body


def change_bytes(data: bytes, others: tuple[bytes, ...], rng: random.Random) -> bytes:
    """One change that knows nothing of formats."""
    if not data:
        return rng.randbytes(rng.randrange(9))
    out = bytearray(data)
    # The head of a file or of a block is where its facts are.
    place = rng.randrange(min(len(out), 64)) if rng.random() < 0.4 else rng.randrange(len(out))
    what = rng.randrange(9)
    if what == 0:
        out[place] ^= 1 << rng.randrange(8)
    elif what == 1:
        out[place] = rng.randrange(256)
    elif what in (2, 3):
        width, order = rng.choice((1, 2, 2, 3, 4, 4, 8)), rng.choice(("little", "big"))
        number = rng.choice(NUMBERS) % (1 << 8 * width)
        out[place : place + width] = number.to_bytes(width, order)  # type: ignore[arg-type]
    elif what == 4:
        del out[place:]
    elif what == 5:
        del out[place : place + rng.choice((1, 2, 4, 16, 200))]
    elif what == 6:
        part = out[place : place + rng.choice((1, 4, 16, 200))]
        out[place:place] = part * rng.choice((1, 1, 2, 50))
    elif what == 7:
        other = rng.choice(others)
        start = rng.randrange(len(other) or 1)
        out[place : place + rng.choice((0, 4, 64))] = other[start : start + rng.choice((4, 64, 1000))]
    else:
        out[place:place] = rng.randbytes(rng.choice((1, 2, 8, 300)))
    return bytes(out)


VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2**31, 2**63, 10**400, 0.5, -0.0, 1e308, float("nan"), float("inf"), "", "a",
    "../../etc/passwd", "\0", "\ud800", "é" * 500, [], [[]], {}, {"a": {}}, [0] * 1000, "kavan", "face",
    "sta", "caca-rnn",
)  # fmt: skip
"""Values for a field that expects another."""


def damage_json(text: str, rng: random.Random) -> bytes:
    """One damaged JSON file: still JSON most of the time."""
    content = json.loads(text)
    for _ in range(rng.choice((1, 1, 2, 4))):
        _change_value(content, rng)
    data = json.dumps(content).encode("utf-8", "surrogatepass")
    what = rng.random()
    if what < 0.05:
        return b"[" * 100_000
    if what < 0.1:
        return ('{"format": 1, ' + '"a": {' * 5000).encode()
    return change_bytes(data, (data,), rng) if what < 0.3 else data


def _change_value(content: Any, rng: random.Random) -> None:
    spots: list[tuple[Any, Any]] = []

    def collect(value: Any) -> None:
        pairs = value.items() if isinstance(value, dict) else enumerate(value)
        for key, inner in list(pairs):
            spots.append((value, key))
            if isinstance(inner, dict | list):
                collect(inner)

    collect(content)
    if not spots:
        return
    owner, key = rng.choice(spots)
    what = rng.randrange(4)
    if what == 0:
        del owner[key]
    elif what == 1 and isinstance(owner, dict):
        owner[rng.choice(("", "a", "sha256", "../x", "model.onnx"))] = deepcopy(rng.choice(VALUES))
    else:
        owner[key] = deepcopy(rng.choice(VALUES))
