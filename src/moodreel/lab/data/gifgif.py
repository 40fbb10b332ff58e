"""A folder of GIFs with pairwise ratings as a manifest: GIFGIF's layout, as KAVAN Sec. 4.1 describes it.

``python -m moodreel.lab.data.gifgif GIFS --votes VOTES.csv | --scores SCORES.csv [--openpose DIR] --out DIR``
writes ``manifest.csv`` and, from OpenPose's output, ``keypoints/NAME.json`` under the last. The GIFs stay
where they are. What is missing is listed, the rest is done.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from moodreel.emotions import GIFGIF_17
from moodreel.errors import DataError, MoodreelError
from moodreel.faces.detect import DetectorSettings
from moodreel.lab.data.imports import Imported, list_some
from moodreel.lab.data.manifest import Row, write_manifest
from moodreel.labels.rows import unmark_text
from moodreel.labels.votes import score_mu, score_votes
from moodreel.labels.votes_table import read_votes
from moodreel.runtime.keypoints import write_keypoints


def read_scores(path: Path) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Reads ``item,emotion,mu,sigma,score,votes``, as ``votes score`` writes it.

    Needed are ``item``, ``emotion`` and one of ``score`` in [-1, 1] and ``mu``, from which the score is
    clip(mu, 0, 50) / 25 - 1 (KAVAN Sec. 4.1). Emotions are those of GIFGIF.

    Returns:
        item -> emotion -> score, and a line on each row that was left out.

    Raises:
        DataError: the file cannot be read, or lacks a column.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot read the scores: {error}") from error
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = reader.fieldnames or []
    source = "score" if "score" in columns else "mu"
    missing = [name for name in ("item", "emotion", source) if name not in columns]
    if missing:
        wanted = "score or mu" if "mu" in missing else missing[0]
        raise DataError(f"{path}: column {wanted} is missing (got {', '.join(columns) or 'none'})")
    scores: dict[str, dict[str, float]] = {}
    problems = []
    for record in _read_records(reader, path):
        where = f"{path}:{reader.line_num}"
        item, emotion, cell = (str(record.get(name) or "") for name in ("item", "emotion", source))
        item = unmark_text(item)
        try:
            value = float(cell)
        except ValueError:
            value = math.nan
        if source == "mu" and math.isfinite(value):
            value = float(score_mu(np.array(value)))
        if not item:
            problems.append(f"{where}: no item")
        elif emotion not in GIFGIF_17:
            problems.append(f"{where}: emotion {emotion!r}: none of the 17 of GIFGIF")
        elif not -1 <= value <= 1:
            problems.append(
                f"{where}: {source} {cell!r}: expected a number{' in [-1, 1]' * (source == 'score')}"
            )
        elif emotion in scores.get(item, {}):
            problems.append(f"{where}: {item} has a score of {emotion} already")
        else:
            scores.setdefault(item, {})[emotion] = value
    return scores, problems


def _read_records(reader: csv.DictReader[str], path: Path) -> Iterator[dict[str, str]]:
    try:
        yield from reader
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: cannot be read: {error}") from error


def rate_items(path: Path) -> tuple[dict[str, dict[str, float]], list[str]]:
    """Reads ``emotion,left,right,choice`` votes and rates the items by TrueSkill (KAVAN Sec. 4.1).

    Returns:
        as :func:`read_scores`; an emotion that GIFGIF does not have is left out, one line for all its votes.

    Raises:
        DataError: the file cannot be read, or is no file of votes.
    """
    file = read_votes(path)
    problems = [f"{path}:{row.line}: {row.reason}" for row in file.bad]
    ratings = score_votes(file.votes)
    scores: dict[str, dict[str, float]] = {}
    for emotion, item, score in zip(ratings.emotion, ratings.item, ratings.score, strict=True):
        name = ratings.emotions[emotion]
        if name in GIFGIF_17:
            scores.setdefault(ratings.items[item], {})[name] = float(score)
    for name in sorted(set(ratings.emotions) - set(GIFGIF_17)):
        problems.append(f"{path}: emotion {name!r}: none of the 17 of GIFGIF")
    return scores, problems


def import_gifgif(
    gifs: Path, scores: Mapping[str, Mapping[str, float]], out: Path, openpose: Path | None = None
) -> Imported:
    """Joins GIFs, scores and keypoints. An item is the name of a GIF, with or without ``.gif``.

    The group of a GIF is a hash of its content, so copies under several names never cross a split; no split
    is stated.

    Args:
        gifs: folder of ``NAME.gif``.
        scores: item -> emotion -> [-1, 1].
        out: folder for ``keypoints/``; made if absent.
        openpose: folder with OpenPose's JSON files, as :class:`moodreel.faces.openpose.OpenPoseFiles` takes.

    Raises:
        DataError: there is no GIF, no GIF with a score, or no folder of keypoints.
    """
    if openpose is not None and not openpose.is_dir():
        raise DataError(f"{openpose}: no such folder of keypoints")
    files = {path.stem: path for path in sorted(gifs.glob("*.gif"))}
    if not files:
        raise DataError(f"{gifs}: no .gif in this folder")
    rated = {item.removesuffix(".gif"): values for item, values in scores.items()}
    problems = [
        *list_some(f"with scores have no GIF in {gifs}", rated.keys() - files.keys(), "items"),
        *list_some("have no score", files.keys() - rated.keys(), "GIFs"),
    ]
    chosen = [name for name in files if name in rated]
    if not chosen:
        raise DataError(f"{gifs}: no GIF has a score; {'; '.join(problems)}")
    keypoints: dict[str, Path] = {}
    if openpose is not None:
        folder = out / "keypoints"
        folder.mkdir(parents=True, exist_ok=True)
        settings = DetectorSettings(kind="openpose", files=openpose)
        written = write_keypoints([str(files[name]) for name in chosen], folder, settings, isolate=True)
        for name, result in zip(chosen, written, strict=True):
            if result.file is None:
                problems.append(f"{files[name]}: no keypoints: {result.error}")
            else:
                keypoints[name] = result.file
    rows = []
    for name in chosen:
        group = f"gif:{hashlib.sha256(files[name].read_bytes()).hexdigest()[:16]}"
        given = dict(rated[name])
        rows.append(Row(files[name].resolve(), group, None, given, {}, keypoints.get(name)))
    return Imported(tuple(rows), tuple(problems))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m moodreel.lab.data.gifgif", description=__doc__)
    parser.add_argument("gifs", type=Path, help="folder of NAME.gif")
    source = parser.add_mutually_exclusive_group(required=True)
    source.add_argument("--votes", type=Path, help="CSV: emotion,left,right,choice")
    source.add_argument("--scores", type=Path, help="CSV: item,emotion,mu,sigma,score,votes")
    parser.add_argument("--openpose", type=Path, help="folder with OpenPose's JSON files")
    parser.add_argument("--out", type=Path, required=True, help="folder for manifest.csv and keypoints")
    options = parser.parse_args(arguments)
    try:
        scores, problems = rate_items(options.votes) if options.votes else read_scores(options.scores)
        found = import_gifgif(options.gifs, scores, options.out, options.openpose)
    except MoodreelError as error:
        print(f"moodreel: {error}", file=sys.stderr)
        return 2
    for line in (*problems, *found.problems):
        print(f"moodreel: {line}", file=sys.stderr)
    write_manifest(options.out / "manifest.csv", found.rows)
    pointed = sum(row.keypoints is not None for row in found.rows)
    emotions = np.mean([len(row.scores) for row in found.rows])
    print(
        f"{options.out / 'manifest.csv'}: {len(found.rows)} GIFs, {emotions:.1f} emotions each, "
        f"{pointed} with keypoints"
    )
    return 1 if problems or found.problems else 0


if __name__ == "__main__":
    sys.exit(main())
