"""``predict --cluster``: the same run, by many machines, from and to any store."""

from __future__ import annotations

import os
import sys
from contextlib import closing, redirect_stdout
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodreel.cli.console import stop
from moodreel.cli.large import SUFFIXES, check_out, describe_run, tell_run, tell_unfinished

if TYPE_CHECKING:
    from collections.abc import Sequence

    from moodreel.faces.detect import DetectorSettings


def check_folder(out: str | None) -> None:
    """Finds what is wrong with --out before any work is done: it must name the folder of a run."""
    from moodreel.runtime.stores import is_url, strip_local

    if out is None:
        stop("--cluster: needs --out DIR, a folder or URL for the parts of a table")
    if is_url(strip_local(out)):
        if out.lower().endswith(SUFFIXES):
            stop(f"--out {out}: expected a folder: a name without a dot")
    elif not check_out(Path(strip_local(out)), or_folder=True):
        stop(f"--out {out}: with --cluster, a folder: one that is there, or a name without a dot")


def predict_cluster(
    paths: Sequence[str],
    out: str,
    address: str,
    *,
    model: str,
    resume: bool,
    retry_failed: bool,
    shard: tuple[int, int],
    detector: DetectorSettings | None,
    every_face: bool,
    actors: int | None,
    per_frame: bool,
    abstain: float | None,
    **options: Any,
) -> int:
    """Reads what is new, changed or not yet done into the folder ``out``. Returns how many inputs failed.

    Args:
        model, every_face, detector, options: as :func:`moodreel.runtime.recognizer.load` takes them, in each
            actor.
    """
    from moodreel.report.terminal import Progress
    from moodreel.runtime.batch import Inputs
    from moodreel.runtime.cluster import ClusterSettings, run_on_cluster
    from moodreel.runtime.large import open_run
    from moodreel.runtime.listing import list_all_roots, stream_all
    from moodreel.runtime.recognizer import load
    from moodreel.runtime.stores import open_folder

    settings = ClusterSettings(address, actors)
    folder = open_folder(out)
    if isinstance(folder, Path):
        folder = Path(os.path.abspath(folder))  # noqa: PTH100 (links stay)
    if detector is not None and detector.files is not None:
        detector = replace(detector, files=detector.files.absolute())
    if Path(model).exists():
        model = str(Path(model).absolute())
    make = partial(load, model, threads=1, detector=detector, every_face=every_face, **options)
    notes = Inputs()
    roots = list_all_roots(paths, sys.stdin.buffer if "-" in paths else None, notes)
    run_settings = describe_run(make(), paths, roots, shard, detector, per_frame, abstain)
    with open_run(folder, run_settings, resume) as run, redirect_stdout(sys.stderr):  # Ray writes to it
        progress = Progress(sys.stderr, None)
        try:
            with closing(
                run_on_cluster(run, stream_all(roots, notes), make, settings, retry_failed)
            ) as going:
                for _ in going:
                    progress.update(run.counts.done, run.counts.failed, run.counts.kept)
        except BaseException:
            progress.clear()
            tell_unfinished(run)
            raise
        progress.clear()
    return tell_run(run, notes)
