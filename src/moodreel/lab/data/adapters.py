"""Public data sets as manifests, one function a data set.

``python -m moodreel.lab.data.adapters NAME SOURCE --out DIR`` writes the media files and ``manifest.csv``
under DIR. Splits are made by group with a fixed seed and never moved afterwards: a group's split depends on
its name alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from moodreel.emotions import EMOTAG_TO_GIFGIF
from moodreel.errors import DataError, MissingExtra, MoodreelError
from moodreel.lab.data.manifest import Row, write_manifest

EMOJI_FRAMES = 24
EMOJI_PIXELS = 160


def split_by_group(group: str, val: float, test: float) -> str:
    """Split of a group, from a hash of its name: stable when other groups come or go.

    Args:
        group: name of the group.
        val, test: shares in [0, 1].
    """
    digest = hashlib.sha256(f"moodreel split\0{group}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    if place < test:
        return "test"
    return "val" if place < test + val else "train"


def export_fer2013(source: Path, out: Path) -> list[Row]:
    """FER2013 (Goodfellow et al. 2013) from ``fer2013_{train,public_test}.parquet``.

    The public test is the test split; 6 % of the training pictures are validation. Persons are not known:
    the group is the picture.
    """
    rows = []
    for part, held in (("fer2013_train", False), ("fer2013_public_test", True)):
        for record in _read_records(source / f"{part}.parquet", ("name", "emotion", "image")):
            group = f"fer:{Path(record['name']).stem}"
            split = "test" if held else split_by_group(group, val=0.06, test=0.0)
            clip = _write(out / part / record["name"], record["image"])
            rows.append(Row(clip, group, split, labels={"ekman": record["emotion"]}))
    return rows


def export_stills(source: Path, out: Path) -> list[Row]:
    """Stills with person ids from ``stills_train.parquet``; 15 % of the persons test, 7 % validation.

    Six pictures labelled contempt are left out: too few to learn or to score.
    """
    rows = []
    for record in _read_records(source / "stills_train.parquet", ("name", "person", "emotion", "image")):
        if record["emotion"] == "contempt":
            continue
        group = f"person:{record['person']}"
        clip = _write(out / "stills" / record["name"], record["image"])
        split = split_by_group(group, val=0.07, test=0.15)
        rows.append(Row(clip, group, split, labels={"ekman": record["emotion"]}))
    return rows


def export_emoji(source: Path, out: Path) -> list[Row]:
    """Animated emoji drawn from Lottie files, rated by EmoTag (Shoeb & de Melo 2020).

    Each is an animated WebP with alpha, 24 frames evenly in time, 160 px. EmoTag's 0-1 becomes 2 x - 1 on
    the six emotions that GIFGIF has; emoji without ratings have no scores. The group is the code point
    without skin tone: 30 % test, 10 % validation.
    """
    ratings = {}
    with (source / "ratings.csv").open(newline="", encoding="utf-8") as stream:
        for record in csv.DictReader(stream):
            ratings[record["codepoint"]] = {
                ours: 2 * float(record[theirs]) - 1
                for theirs, ours in EMOTAG_TO_GIFGIF.items()
                if record[theirs] != ""
            }
    rows = []
    for lottie in sorted((source / "lottie").glob("*.json")):
        base = re.sub(r"_1f3f[b-f]", "", lottie.stem)
        clip = out / "emoji" / f"{lottie.stem}.webp"
        _render_lottie(lottie, clip)
        group = f"emoji:{base.removesuffix('_fe0f')}"
        scores = ratings.get(lottie.stem) or ratings.get(base) or {}
        rows.append(Row(clip, group, split_by_group(group, val=0.10, test=0.30), scores=scores))
    return rows


def _render_lottie(lottie: Path, out: Path) -> None:
    try:
        from rlottie_python.rlottie_wrapper import LottieAnimation
    except ImportError as error:
        raise MissingExtra("lab", "drawing Lottie files") from error
    animation = LottieAnimation.from_file(str(lottie))
    total = animation.lottie_animation_get_totalframe()
    duration = animation.lottie_animation_get_duration()
    frames = [
        animation.render_pillow_frame(
            frame_num=int((i + 0.5) * total / EMOJI_FRAMES), width=EMOJI_PIXELS, height=EMOJI_PIXELS
        )
        for i in range(EMOJI_FRAMES)
    ]
    out.parent.mkdir(parents=True, exist_ok=True)
    step = max(20, round(1000 * duration / EMOJI_FRAMES))
    frames[0].save(
        out, save_all=True, append_images=frames[1:], duration=step, loop=0, lossless=True, method=0
    )


def _read_records(path: Path, columns: Sequence[str]) -> list[dict[str, Any]]:
    import pyarrow.parquet as pq

    if not path.is_file():
        raise DataError(f"{path}: no such file")
    table = pq.read_table(path)
    missing = [c for c in columns if c not in table.column_names]
    if missing:
        raise DataError(f"{path}: column {missing[0]!r} is missing")
    records: list[dict[str, Any]] = table.to_pylist()
    return records


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


ADAPTERS: Mapping[str, Callable[[Path, Path], list[Row]]] = {
    "emoji": export_emoji,
    "fer2013": export_fer2013,
    "stills": export_stills,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m moodreel.lab.data.adapters", description=__doc__)
    parser.add_argument("name", choices=sorted(ADAPTERS))
    parser.add_argument("source", type=Path, help="folder with the data set's files")
    parser.add_argument("--out", type=Path, required=True, help="folder to write media and manifest.csv to")
    options = parser.parse_args(arguments)
    try:
        rows = ADAPTERS[options.name](options.source, options.out)
    except MoodreelError as error:
        print(f"moodreel: {error}", file=sys.stderr)
        return 2
    write_manifest(options.out / "manifest.csv", rows)
    counts = {split: sum(row.split == split for row in rows) for split in ("train", "val", "test")}
    print(f"{options.out / 'manifest.csv'}: {len(rows)} clips, {counts}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
