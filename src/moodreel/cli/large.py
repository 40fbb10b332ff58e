"""``predict`` into a folder, for inputs without number, and the verb that makes one table of it: merge."""

from __future__ import annotations

import hashlib
import os
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from threading import Event, Thread
from typing import TYPE_CHECKING, Annotated

import typer

from moodreel.cli.console import close_after, complain, stop, tell_inputs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from moodreel.faces.detect import DetectorSettings
    from moodreel.media.pool import DecoderPool
    from moodreel.report.terminal import Progress
    from moodreel.runtime.batch import Input, Inputs, Root
    from moodreel.runtime.large import RunFolder
    from moodreel.runtime.parts import RunSettings
    from moodreel.runtime.recognizer import Recognizer

SUFFIXES = (".parquet", ".jsonl", ".csv")
"""Those of runtime.table, which is not imported for one chart."""


def check_out(path: Path, or_folder: bool = False) -> bool:
    """Finds what is wrong with --out before any work is done.

    Args:
        path: of a table.
        or_folder: whether it may be the folder of a run: one that is there, or a name without a suffix.

    Returns:
        Whether it is such a folder.
    """
    is_table = path.suffix.lower() in SUFFIXES
    is_folder = or_folder and not is_table and (path.is_dir() or not path.suffix)
    if not is_table and not is_folder:
        also = "; or a folder: one that is there, or a name without a dot" if or_folder else ""
        stop(f"--out {path}: expected a name that ends in {', '.join(SUFFIXES)}{also}")
    if is_folder and path.exists() and not path.is_dir():
        stop(f"--out {path}: is no folder")
    if is_table and path.is_dir():
        stop(f"--out {path}: is a folder")
    if not path.parent.is_dir():
        stop(f"--out {path}: no folder {path.parent}")
    return is_folder


def predict_large(
    recognizer: Recognizer,
    paths: Sequence[str],
    out: Path,
    *,
    resume: bool,
    retry_failed: bool,
    shard: tuple[int, int],
    detector: DetectorSettings | None,
    workers: int,
    decoders: DecoderPool | None,
    per_frame: bool,
    abstain: float | None,
) -> int:
    """Reads what is new, changed or not yet done into the folder ``out``. Returns how many inputs failed."""
    from moodreel.runtime.batch import Inputs, list_roots
    from moodreel.runtime.large import open_run

    notes = Inputs()
    roots = list_roots(paths, sys.stdin.buffer if "-" in paths else None, notes)
    settings = describe_run(recognizer, paths, roots, shard, detector, per_frame, abstain)
    with open_run(out, settings, resume) as run:
        try:
            _pass(recognizer, run, roots, notes, retry_failed, workers, decoders)
        except BaseException:
            tell_unfinished(run)
            raise
    return tell_run(run, notes)


def describe_run(
    recognizer: Recognizer,
    paths: Sequence[str],
    roots: Sequence[Root],
    shard: tuple[int, int],
    detector: DetectorSettings | None,
    per_frame: bool,
    abstain: float | None,
) -> RunSettings:
    """What all rows of a run have in common."""
    from moodreel.runtime.parts import RunSettings

    info = recognizer.info
    listed = b"\0".join(os.fsencode(root.path) for root in roots if paths[root.key.position] == "-")
    return RunSettings(
        system=info.system,
        model=info.name,
        model_version=info.version,
        bundle=hashlib.sha256(info.to_json().encode()).hexdigest(),
        per_frame=per_frame,
        abstain=abstain,
        every_face=recognizer.every_face,
        detector=_name_detector(detector) if info.system in ("caca-rnn", "sta") else None,
        paths=tuple(paths),
        list_sha256=hashlib.sha256(listed).hexdigest() if "-" in paths else None,
        shard=shard[0],
        shards=shard[1],
    )


def tell_unfinished(run: RunFolder) -> None:
    """Says how to go on, where something was written."""
    if run.counts.parts:
        complain(f"{run.folder}: not finished: the same command with --resume goes on")


def tell_run(run: RunFolder, notes: Inputs) -> int:
    """Says how a pass went. Returns how many inputs failed."""
    tell_inputs(notes)
    counts = run.counts
    if not counts.met:
        stop("the list on stdin is empty" if not notes.notes else "no inputs")
    facts = [f"{counts.done} inputs", f"{counts.done - counts.kept} read", f"{counts.kept} unchanged"]
    facts += [f"{counts.failed} failed"] if counts.failed else []
    facts += [f"{counts.gone} gone"] if counts.gone else []
    complain(f"{', '.join(facts)}: {run.folder} (moodreel merge makes one table of it)")
    if counts.failed_before:
        complain(f"{counts.failed_before} had failed before and have not changed: --retry-failed reads them")
    return counts.failed


def _name_detector(settings: DetectorSettings | None) -> str:
    from moodreel.faces.detect import choose_detector

    if settings is None:
        return "frame"
    return f"keypoints:{settings.files}" if settings.files is not None else choose_detector(settings).kind


def _pass(
    recognizer: Recognizer,
    run: RunFolder,
    roots: Sequence[Root],
    notes: Inputs,
    retry_failed: bool,
    workers: int,
    decoders: DecoderPool | None,
) -> None:
    """Passes over all inputs once."""
    from moodreel.report.terminal import Progress
    from moodreel.runtime.batch import stream_inputs

    settings, counts = run.settings, run.counts
    with ExitStack() as stack:
        progress = Progress(sys.stderr, None)
        stack.callback(progress.clear)
        ended = Event()
        stack.callback(ended.set)
        Thread(target=_count, args=(roots, run, progress, ended), daemon=True).start()

        def inputs() -> Iterator[Input]:
            for found in stream_inputs(roots, notes):
                progress.update(counts.done, counts.failed, counts.kept)  # also while all are skipped
                yield found

        results = recognizer.map(
            run.choose(inputs(), retry_failed),
            workers=workers,
            per_frame=settings.per_frame,
            abstain=settings.abstain,
            isolate=decoders or False,
        )
        rows = run.record(close_after(results, stack))
        for _ in close_after(rows, stack):
            progress.update(counts.done, counts.failed, counts.kept)


def _count(roots: Sequence[Root], run: RunFolder, progress: Progress, ended: Event) -> None:
    """Counts the inputs of the shard beside the work, so that the time left can be told."""
    from moodreel.runtime.batch import Inputs, stream_inputs
    from moodreel.runtime.large import find_shard

    total = 0
    shard, shards = run.settings.shard, run.settings.shards
    with suppress(OSError):
        for found in stream_inputs(roots, Inputs()):
            if ended.is_set():
                return
            total += shards == 1 or find_shard(found.relative, shards) == shard
        progress.total = total


def merge(
    runs: Annotated[
        list[str],
        typer.Argument(metavar="DIR", help="Folders or URLs that predict --out DIR wrote, or its shards."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The table: .parquet, .jsonl or .csv.")],
    partial: Annotated[
        bool, typer.Option("--partial", help="Also what is not finished, or without some of the shards.")
    ] = False,
) -> None:
    """Make one table of a run's folder, or of all its shards: a row an input, in the inputs' order."""
    check_out(out)
    from moodreel.runtime.parts import merge_runs
    from moodreel.runtime.stores import open_folder
    from moodreel.runtime.table import SCHEMA_VERSION

    merged = merge_runs([open_folder(run) for run in runs], out, partial)
    of = f" of {merged.inputs} inputs" if merged.rows > merged.inputs else ""
    told = f", {merged.failed} failed" if merged.failed else ""
    complain(f"{merged.rows} rows{of}{told}: {out} (schema {SCHEMA_VERSION})")
