"""The verbs that need the lab: synth, train, evaluate, export."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli.console import FAILED, complain, complete_bundles, needs_lab, stop, write

Manifests = Annotated[list[Path], typer.Option(metavar="MANIFEST", help="CSV or Parquet; may be repeated.")]


def synth(
    out: Annotated[Path, typer.Argument(metavar="DIR", help="Folder: new, empty, or an older toon set.")],
    clips: Annotated[int, typer.Option(metavar="N", help="Clips to draw.")] = 600,
    seed: Annotated[int, typer.Option(metavar="N", help="The same seed gives the same bytes.")] = 0,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes that draw; default: one a core.")
    ] = None,
    context: Annotated[
        bool, typer.Option("--context", help="The set in which face, scene or both decide, in 8 classes.")
    ] = False,
) -> None:
    """Draw the toon data set: cartoon clips with known emotions (needs the "lab" extra)."""
    from moodreel.report.terminal import Progress

    with needs_lab("synth"):
        from moodreel.lab.data.toon import write_toon
        from moodreel.lab.data.toon_context import write_context

        draw = write_context if context else write_toon
        progress = Progress(sys.stderr, clips)
        try:
            rows = draw(out, clips, seed, workers, lambda done: progress.update(done, 0))
        finally:
            progress.clear()
    splits = [row.split for row in rows]
    told = ", ".join(f"{splits.count(name)} {name}" for name in ("train", "val", "test"))
    complain(f"{len(rows)} clips ({told}): {out / 'manifest.csv'}")


def train(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="kavan, face, caca-rnn or sta.")],
    data: Manifests,
    out: Annotated[Path, typer.Option(metavar="RUN", help="Folder for checkpoints and logs.")],
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, a TOML file.")] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE", help="Start from a bundle's weights.", autocompletion=complete_bundles
        ),
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last checkpoint in RUN.")] = False,
    cache: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="caca-rnn, sta: stored features or faces; default: RUN/features."),
    ] = None,
    devices: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="GPUs, or processes on the CPU, in place of the recipe's (face, kavan)."
        ),
    ] = None,
    teacher: Annotated[
        list[str] | None,
        typer.Option(
            metavar="RUN|BUNDLE",
            help="face: learn from its probabilities; may be repeated.",
            autocompletion=complete_bundles,
        ),
    ] = None,
) -> None:
    """Train a system (needs the "lab" extra)."""
    with needs_lab("train"):
        from moodreel.lab.train import train as run

        run(system, data, out, recipe, init, resume, cache, devices, teacher or ())


def evaluate(
    target: Annotated[
        str,
        typer.Argument(
            metavar="RUN|BUNDLE", help="A training run or a bundle.", autocompletion=complete_bundles
        ),
    ],
    data: Manifests,
    split: Annotated[str, typer.Option(metavar="NAME", help="Split of the manifest, or all.")] = "test",
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the scores: .json.")] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="RUN|BUNDLE",
            help="Paired differences from another one instead.",
            autocompletion=complete_bundles,
        ),
    ] = None,
) -> None:
    """Measure a run or a bundle (needs the "lab" extra)."""
    if out is not None and not out.parent.is_dir():
        stop(f"--out {out}: no folder {out.parent}")
    with needs_lab("evaluate"):
        if against is None:
            from moodreel.lab.evaluate import evaluate as run

            scores = run(target, data, split)
        else:
            from moodreel.lab.compare import compare

            scores = compare(target, against, data, split)
    from moodreel.report.terminal import Style, format_differences, format_scores

    if out is not None:
        import json

        from moodreel.runtime.files import replace_file

        with replace_file(out) as file:
            file.write(json.dumps(scores, indent=2, ensure_ascii=False).encode() + b"\n")
    write((format_scores if against is None else format_differences)(scores, Style(sys.stdout)))
    if any(entry["failed"] for entry in scores.values()):
        raise typer.Exit(FAILED)


def export(
    run: Annotated[
        str, typer.Argument(metavar="RUN", help="A training run; with --int8 also a bundle, or its name.")
    ],
    out: Annotated[Path, typer.Option(metavar="BUNDLE", help="Folder to write.")],
    int8: Annotated[
        bool, typer.Option("--int8", help="In 8 bits: faster, less exact on rare classes; of kavan and face.")
    ] = False,
    data: Annotated[
        list[Path] | None,
        typer.Option(metavar="MANIFEST", help="Of --int8: calibrate with this; default: the run's."),
    ] = None,
) -> None:
    """Turn a training run into a bundle (needs the "lab" extra)."""
    if data and not int8:
        stop("--data: only with --int8")
    with needs_lab("export"):
        from moodreel.lab.export import export as make_bundle
        from moodreel.lab.export import export_int8

        if int8:
            export_int8(run, out, data or ())
        else:
            make_bundle(Path(run), out)
