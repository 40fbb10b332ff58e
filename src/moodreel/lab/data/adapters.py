"""Public data sets as manifests, one function a data set.

``python -m moodreel.lab.data.adapters NAME SOURCE --out DIR`` writes the media files and ``manifest.csv``
under DIR. Splits are made by group with a fixed seed and never moved afterwards: a group's split depends on
its name alone.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from PIL import Image

from moodreel.emotions import EMOTAG_TO_GIFGIF
from moodreel.errors import DataError, MissingExtra, MoodreelError
from moodreel.lab.data.emoji_words import guess_scores
from moodreel.lab.data.manifest import Row, split_by_group, write_manifest

HEARTS = ("1f499", "1f49a", "1f49b", "1f49c", "1f5a4", "1f90d", "1f90e", "1f9e1", "2764")
THUMBS = ("1f44d", "1f44e")
PLAIN_FACES = ("1f610", "1f611", "1f636")

LOOK_ALIKES: Mapping[str, str] = {
    **dict.fromkeys(HEARTS, "heart"),
    **dict.fromkeys(THUMBS, "thumb"),
    **dict.fromkeys(PLAIN_FACES, "plain_face"),
}
"""Emoji that differ in colour or a detail only: one group, so that no copy of a test drawing is learnt."""

EMOJI_FRAMES = 24
EMOJI_PIXELS = 160


def export_fer2013(source: Path, out: Path) -> list[Row]:
    """FER2013 (Goodfellow et al. 2013) from ``fer2013_{train,public_test}.parquet``.

    The public test is the test split; 6 % of the training pictures are validation. Persons are not known:
    the group is the picture itself (its pixels), of which the set holds many copies. Training pictures that
    the public test holds too (about 8 % of the test) are left out.
    """
    tested: set[str] = set()
    rows = []
    for part, held in (("fer2013_public_test", True), ("fer2013_train", False)):
        for number, record in enumerate(_read_records(source / f"{part}.parquet", ("emotion", "image"))):
            digest = _digest_pixels(record["image"])
            if held:
                tested.add(digest)
            elif digest in tested:
                continue
            group = f"fer:{digest[:16]}"
            split = "test" if held else split_by_group(group, val=0.06, test=0.0)
            clip = _write(out / part / f"{number:05d}.jpg", record["image"])  # names repeat, numbers do not
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
    the six emotions that GIFGIF has; emoji without ratings, and skin tones of rated ones, have no scores. The
    group is the code point without skin tone, or the family of look-alikes it belongs to: 30 % test, 10 %
    validation.
    """
    ratings = {}
    for record in _read_csv(source / "ratings.csv"):
        ratings[record["codepoint"]] = {
            ours: 2 * float(record[theirs]) - 1
            for theirs, ours in EMOTAG_TO_GIFGIF.items()
            if record[theirs] != ""
        }
    rows = []
    for lottie, group, split in _list_emoji(source):
        clip = out / "emoji" / f"{lottie.stem}.webp"
        _render_lottie(lottie, clip)
        rows.append(Row(clip, group, split, scores=ratings.get(lottie.stem, {})))
    return rows


def export_emoji_words(source: Path, out: Path) -> list[Row]:
    """Emoji that nobody rated, with what the words of their names say: weak labels, for training alone.

    Drawings and groups are those of :func:`export_emoji`; only those whose name has a known word
    (:mod:`moodreel.lab.data.emoji_words`). Those of its validation and test split stand in no split here:
    a training leaves them out, and a fold of :mod:`moodreel.lab.out_of_fold`, which deals its own, may learn
    from them.
    """
    names, rated = (
        {record["codepoint"]: record[column] for record in _read_csv(source / file)}
        for file, column in (("names.csv", "tags"), ("ratings.csv", "joy"))
    )
    rows = []
    for lottie, group, split in _list_emoji(source):
        scores = guess_scores(names.get(lottie.stem, ""))
        if scores and not rated.get(lottie.stem):
            clip = out / "emoji" / f"{lottie.stem}.webp"
            _render_lottie(lottie, clip)
            rows.append(Row(clip, group, "train" if split == "train" else None, scores=scores))
    return rows


def _list_emoji(source: Path) -> Iterator[tuple[Path, str, str]]:
    """Drawing, group and split of each emoji, in the order of their names."""
    for lottie in sorted((source / "lottie").glob("*.json")):
        base = re.sub(r"_1f3f[b-f]", "", lottie.stem).removesuffix("_fe0f")
        group = f"emoji:{LOOK_ALIKES.get(base, base)}"
        yield lottie, group, split_by_group(group, val=0.10, test=0.30)


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


def _read_csv(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        yield from csv.DictReader(stream)


def _digest_pixels(picture: bytes) -> str:
    """sha256 of the decoded pixels (hex): equal for copies that were stored anew without loss."""
    with Image.open(io.BytesIO(picture)) as image:
        return hashlib.sha256(str(image.size).encode() + image.convert("RGB").tobytes()).hexdigest()


def _write(path: Path, content: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return path


ADAPTERS: Mapping[str, Callable[[Path, Path], list[Row]]] = {
    "emoji": export_emoji,
    "emoji_words": export_emoji_words,
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
