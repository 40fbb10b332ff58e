"""Clips with traces of valence along time as a manifest: AVEC, RECOLA, SEWA, AFEW-VA, Aff-Wild2.

``python -m moodreel.lab.data.trace_sets avec|afewva|affwild2 ... --out DIR`` writes ``manifest.csv`` and
``traces/NAME.csv`` under DIR. What is missing is listed, the rest is done. Which sets these are, and what is
left out of each: docs/datasets.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moodreel.errors import DataError, MoodreelError, require
from moodreel.lab.data.imports import (
    ClipFinder,
    Imported,
    encode_stills,
    finish,
    keep_apart,
    list_some,
    list_stills,
    read_text,
    split_of_name,
)
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.trace_files import (
    DIMENSIONS,
    Trace,
    check_range,
    parse_cell,
    read_recording,
    write_trace,
)
from moodreel.media import MEDIA_SUFFIXES, open_media

AFEWVA_FULL = 10.0
"""AFEW-VA's annotations are whole numbers from -10 to 10 (Kossaifi et al. 2017)."""

AFFWILD2_MISSING = -5.0
"""Aff-Wild2's mark of a frame without annotation."""

SIDES = ("_left", "_right")
"""Ends of names where Aff-Wild2 rates one of two people in the picture."""

COUNTS_DIFFER = 0.01
"""Up to this share, a video may have more or fewer frames than labels; beyond, they belong not together."""

TAIL_S = 1.0
"""A trace that goes on for longer than this after its clip has ended is noted."""


@dataclass(frozen=True, eq=False)
class Rated:
    """A clip with its ratings.

    Attributes:
        row: of the manifest, without the path of the trace.
        trace: the ratings.
        source: file they were read from; its name becomes the trace's.
    """

    row: Row
    trace: Trace
    source: Path


def import_avec(labels: Path, videos: Path, dimension: str, out: Path) -> Imported:
    """A file of ratings a recording: RECOLA, SEWA and the AVEC challenges on them.

    Args:
        labels: folder with ``NAME.arff`` or ``NAME.csv``, as :func:`trace_files.read_recording` takes them;
            of folders in it that are named by a dimension, only the one asked for counts.
        videos: folder with ``NAME.mp4`` or the like, also in folders below.
        dimension: of :data:`trace_files.DIMENSIONS`.
        out: folder for the traces.

    Raises:
        DataError: a folder is missing, is of another dimension, or has no file of ratings.
    """
    others = set(DIMENSIONS) - {dimension}
    if labels.resolve().name.lower() in others:
        raise DataError(f"{labels}: the name says {labels.resolve().name}, but {dimension} is asked for")
    files = _list_files(labels, (".arff", ".csv"))
    files = [p for p in files if not others & {part.lower() for part in p.relative_to(labels).parts[:-1]}]
    if not files:
        raise DataError(f"{labels}: no .arff or .csv in it")
    finder = ClipFinder(videos)
    rated: list[Rated] = []
    problems: list[str] = []
    missing: list[str] = []
    late: list[str] = []
    for file in files:
        name = file.stem
        found = finder.find(name)
        if len(found) != 1 or not found[0].is_file():
            missing.append(f"{name} ({len(found)} found)" if found else name)
            continue
        try:
            trace = read_recording(file, dimension)
            if trace.times[-1] > open_media(found[0]).duration + TAIL_S:
                late.append(name)
        except MoodreelError as error:
            problems.append(str(error))
            continue
        rated.append(Rated(Row(found[0], f"subject:{name}", split_of_name(name)), trace, file))
    problems += list_some(f"with ratings have no video of their own in {videos}", missing, "recordings")
    notes = list_some(f"are rated for more than {TAIL_S:g} s after their video has ended", late, "recordings")
    return _finish(rated, problems, notes, out)


def import_afewva(root: Path, fps: float | None, dimension: str, out: Path) -> Imported:
    """AFEW-VA (Kossaifi et al. 2017): ``NNN/NNN.json`` beside the clip's frames, group by actor, no splits.

    A frame's value is x / 10; its time is that of the frame of the same name. Frames without a value are
    missing. Stills become ``clips/NNN.mp4``; a video of that name beside the JSON is taken as it is.

    Args:
        root: folder with the clips' folders, at any depth.
        fps: frames a second of the stills.
        dimension: "valence" or "arousal".
        out: folder for clips and traces.

    Raises:
        DataError: there is no such folder, or no JSON in it.
        SettingsError: the rate is none.
    """
    require(fps is None or 0 < fps <= 1000, "--fps", fps, "above 0, at most 1000")
    files = _list_files(root, (".json",))
    if not files:
        raise DataError(f"{root}: no .json in it")
    rated: list[Rated] = []
    problems: list[str] = []
    timeless: list[str] = []
    nameless: list[str] = []
    for file in files:
        name = file.stem
        try:
            actor, values = _read_afewva(file, dimension)
            video = _video_beside(file)
            stills = [] if video else list_stills(file.parent)
            if not video and not stills:
                raise DataError(f"{file}: neither a video {name} nor numbered frames beside it")
            if video is None:
                if fps is None:
                    timeless.append(name)
                    continue
                video = out / "clips" / f"{name}.mp4"
                encode_stills(stills, fps, video)
            starts = open_media(video).timeline.starts
            numbers = _number_frames(stills, len(starts))
            lost = [str(number) for number in values if number not in numbers]
            problems += [f"{file}: {line}" for line in list_some("are no frames of the clip", lost, "labels")]
            at_frame = np.full(len(starts), np.nan)
            for number, value in values.items():
                if number in numbers:
                    at_frame[numbers[number]] = value / AFEWVA_FULL
            trace = Trace(starts, {dimension: at_frame})
            check_range(str(file), trace)
        except MoodreelError as error:
            problems.append(str(error))
            continue
        if not actor:
            nameless.append(name)
        group = f"actor:{actor}" if actor else f"afewva:{name}"
        rated.append(Rated(Row(video.resolve(), group), trace, file))
    problems += list_some("are folders of frames, without times: state their --fps", timeless, "clips")
    notes = list_some("name no actor: each is a group of its own", nameless, "clips")
    return _finish(rated, problems, notes, out)


def _read_afewva(file: Path, dimension: str) -> tuple[str, dict[int, float]]:
    """(actor, frame number -> value in -10 to 10)."""
    try:
        content = json.loads(read_text(file))
        frames = {int(key): float(frame[dimension]) for key, frame in content["frames"].items()}
        return str(content.get("actor") or "").strip(), frames
    except json.JSONDecodeError as error:
        raise DataError(f"{file}: not JSON: {error}") from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{file}: expected frames -> number -> {dimension} ({error!r})") from error


def _video_beside(file: Path) -> Path | None:
    found = [p for p in sorted(file.parent.glob(f"{file.stem}.*")) if p.suffix.lower() in MEDIA_SUFFIXES]
    return found[0] if found else None


def _number_frames(stills: Sequence[Path], count: int) -> dict[int, int]:
    """Number that a label names -> index of the frame; a video's frames are numbered from 0."""
    if not stills:
        return {index: index for index in range(count)}
    digits = [path.stem[len(path.stem.rstrip("0123456789")) :] for path in stills]
    return {int(text): index for index, text in enumerate(digits)}


def import_affwild2(labels: Path, videos: Path, dimension: str, out: Path) -> Imported:
    """Aff-Wild2's valence and arousal (Kollias & Zafeiriou 2019): a text a video, a line a frame.

    Line n after the header belongs to frame n of the video, at the time the video's own timeline gives it;
    -5 is missing. Texts that rate one of two people (``_left``, ``_right``) are left out.

    Args:
        labels: folder with ``Train_Set/NAME.txt`` and ``Validation_Set/NAME.txt``.
        videos: folder with ``NAME.mp4`` or ``NAME.avi``, also in folders below.
        dimension: "valence" or "arousal".
        out: folder for the traces.

    Raises:
        DataError: a folder is missing, or there is no text in it.
    """
    files = _list_files(labels, (".txt",))
    if not files:
        raise DataError(f"{labels}: no .txt in it")
    finder = ClipFinder(videos)
    rated: list[Rated] = []
    problems: list[str] = []
    missing: list[str] = []
    uneven: list[str] = []
    for file in files:
        name = file.stem
        if name.endswith(SIDES):
            continue
        found = finder.find(name)
        if len(found) != 1 or not found[0].is_file():
            missing.append(f"{name} ({len(found)} found)" if found else name)
            continue
        try:
            values = _read_affwild2(file, dimension)
            starts = open_media(found[0]).timeline.starts
            off = len(values) - len(starts)
            if abs(off) > COUNTS_DIFFER * len(starts):
                raise DataError(f"{file}: {len(values)} labels, but {len(starts)} frames in {found[0]}")
            if off:
                uneven.append(f"{name} ({off:+d})")
            at_frame = np.full(len(starts), np.nan)
            at_frame[: len(values)] = values[: len(starts)]
            trace = Trace(starts, {dimension: at_frame})
            check_range(str(file), trace)
        except MoodreelError as error:
            problems.append(str(error))
            continue
        row = Row(found[0], f"affwild2:{name}", split_of_name(file.parent.name))
        rated.append(Rated(row, trace, file))
    problems += list_some(f"with labels have no video of their own in {videos}", missing, "recordings")
    notes = list_some("differ in labels and frames: cut, or left missing at the end", uneven, "recordings")
    sides = [file.stem for file in files if file.stem.endswith(SIDES)]
    notes += list_some("rate one of two people in the picture: left out", sides, "texts")
    return _finish(rated, problems, notes, out)


def _read_affwild2(file: Path, dimension: str) -> list[float]:
    lines = read_text(file).splitlines()
    header = [cell.strip().lower() for cell in lines[0].split(",")] if lines else []
    if dimension not in header:
        raise DataError(f"{file}:1: expected the header valence,arousal, got {','.join(header)[:60]!r}")
    column = header.index(dimension)
    values = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        cells = line.split(",")
        if len(cells) != len(header):
            raise DataError(f"{file}:{number}: {len(header)} values expected, got {line.strip()[:60]!r}")
        value = parse_cell(f"{file}:{number}", cells[column])
        values.append(float("nan") if value == AFFWILD2_MISSING else value)
    return values


def _list_files(folder: Path, suffixes: tuple[str, ...]) -> list[Path]:
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder")
    return sorted(
        path
        for path in folder.rglob("*")
        if path.suffix.lower() in suffixes and path.is_file() and not path.name.startswith(".")
    )


def _finish(rated: Sequence[Rated], problems: Sequence[str], notes: Sequence[str], out: Path) -> Imported:
    """Keeps groups apart, then writes the traces of the rows that stay, once each.

    What was never rated is left out first: challenges ship their test part with empty labels.
    """
    empty = [each.source.stem for each in rated if _is_empty(each.trace)]
    rated = [each for each in rated if not _is_empty(each.trace)]
    kept, shared = keep_apart([each.row for each in rated])
    stayed = {id(row) for row in kept}
    rows: list[Row] = []
    written: dict[Path, Path] = {}
    repeated: list[str] = []
    for each in rated:
        if id(each.row) not in stayed:
            continue
        file = out / "traces" / f"{each.source.stem}.csv"
        if file in written:
            repeated.append(f"{each.source}: {written[file]} is named alike: left out")
            continue
        written[file] = each.source
        write_trace(file, each.trace)
        rows.append(replace(each.row, trace=file))
    unrated = list_some("are rated at no time", empty, "clips")
    return Imported(tuple(rows), (*problems, *repeated, *unrated), (*notes, *shared))


def _is_empty(trace: Trace) -> bool:
    return all(np.isnan(values).all() for values in trace.columns.values())


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--out", type=Path, required=True, help="folder for manifest.csv and traces")
    shared.add_argument("--dimension", default="valence", choices=DIMENSIONS, help="default: valence")
    parser = argparse.ArgumentParser(prog="python -m moodreel.lab.data.trace_sets", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    avec = kinds.add_parser("avec", parents=[shared], help="RECOLA, SEWA, AVEC: ARFF or CSV a recording")
    avec.add_argument("labels", type=Path, help="folder with NAME.arff or NAME.csv")
    avec.add_argument("videos", type=Path, help="folder with NAME.mp4 or the like")
    afewva = kinds.add_parser("afewva", parents=[shared], help="AFEW-VA: JSON beside frames")
    afewva.add_argument("root", type=Path, help="folder with NNN/NNN.json")
    afewva.add_argument("--fps", type=float, help="frames a second of the frames")
    affwild2 = kinds.add_parser("affwild2", parents=[shared], help="Aff-Wild2: a text a video")
    affwild2.add_argument("labels", type=Path, help="folder with Train_Set and Validation_Set")
    affwild2.add_argument("videos", type=Path, help="folder with the videos")
    options = parser.parse_args(arguments)
    out = options.out.resolve()  # what lies under it is then named relative to the manifest
    try:
        if options.kind == "avec":
            found = import_avec(options.labels, options.videos, options.dimension, out)
        elif options.kind == "afewva":
            found = import_afewva(options.root, options.fps, options.dimension, out)
        else:
            found = import_affwild2(options.labels, options.videos, options.dimension, out)
        return finish(found, out)
    except MoodreelError as error:
        print(f"moodreel: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
