"""The verb that runs a paper's comparisons: ablate."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moodreel.cli.console import FAILED, complain, complete_bundles, needs_lab, stop, write
from moodreel.cli.faces import CHOICES
from moodreel.faces import DETECTORS

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_SYSTEMS = ("kavan", "caca-rnn", "sta")
_DETECTORS = ("keypoints", "frame", "auto", *DETECTORS)


def ablate(
    system: Annotated[str, typer.Argument(metavar="SYSTEM", help="kavan, caca-rnn or sta.")],
    data: Annotated[Path, typer.Option(metavar="MANIFEST", help="CSV or Parquet.")],
    out: Annotated[
        Path, typer.Option(metavar="DIR", help="Folder of the study; one that was cut off goes on.")
    ],
    recipe: Annotated[Path | None, typer.Option(metavar="FILE", help="Settings, a TOML file.")] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="BUNDLE",
            help="Backbone of all rows; default: face or kavan, if it has not seen the data.",
            autocompletion=complete_bundles,
        ),
    ] = None,
    splits: Annotated[int, typer.Option(metavar="N", help="kavan: random splits.")] = 5,
    seed: Annotated[int, typer.Option(metavar="N", help="kavan: of splits and training.")] = 0,
    seeds: Annotated[int, typer.Option(metavar="N", help="caca-rnn, sta: trainings of each row.")] = 5,
    end_to_end: Annotated[
        bool, typer.Option("--end-to-end", help="kavan: train the backbones too, not on stored features.")
    ] = False,
    rates: Annotated[
        str,
        typer.Option(
            metavar="X,...",
            help="Learning rates that validation chooses from; default: 1e-3,5e-3, or the recipe's.",
        ),
    ] = "",
    rows: Annotated[
        str, typer.Option(metavar="ROW,...", help="Only these, say lstm,mtl; default: all.")
    ] = "",
    withhold: Annotated[
        str,
        typer.Option(
            metavar="WHAT", help="One more row that sees no keypoints of, say, style=cat,bear or groups=0.3."
        ),
    ] = "",
    detector: Annotated[
        str,
        typer.Option(
            metavar="KIND",
            help="Faces of the Face Expression rows: keypoints (the manifest's), frame (all of it), or "
            f"{CHOICES}.",
        ),
    ] = "keypoints",
    cache: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Stored features; default: DIR/features of --out.")
    ] = None,
) -> None:
    """Run every row of a paper's tables: kavan on random splits, the others with seeds (needs "lab")."""
    if system not in _SYSTEMS:
        stop(f"ablate {system}: expected one of {', '.join(_SYSTEMS)}")
    if not out.parent.is_dir():
        stop(f"--out {out}: no folder {out.parent}")
    if detector not in _DETECTORS:
        stop(f"--detector {detector}: expected one of {', '.join(_DETECTORS)}")
    if system != "kavan":
        kavan_only = {"--init": init, "--end-to-end": end_to_end, "--withhold": withhold}
        for option, value in kavan_only.items():
            if value:
                stop(f"{option}: not with ablate {system}")
        keys = tuple(key for key in rows.split(",") if key)
        _ablate_seeds(system, data, out, recipe, seeds, _read_rates(rates), keys, cache)
        return
    from moodreel.report.terminal import Progress

    with needs_lab("ablate"):
        from moodreel.lab.ablate import ablate as run
        from moodreel.lab.ablation.folder import AblationOptions
        from moodreel.lab.ablation.report import write_report

        options = AblationOptions(
            data=data,
            out=out,
            recipe=recipe,
            init=init,
            splits=splits,
            seed=seed,
            end_to_end=end_to_end,
            rates=_read_rates(rates),
            rows=tuple(key for key in rows.split(",") if key),
            withhold=withhold,
            cache=cache,
        )
        bars: dict[int, Progress] = {}

        def advance(done: int, total: int) -> None:
            bars.setdefault(total, Progress(sys.stderr, total)).update(done, 0)
            if done == total:
                bars.pop(total).clear()

        with _open_finder(detector) as finder:
            study = run(options, finder, complain, advance)
        written = write_report(study)
        for name, figure in _draw(study):
            figure.savefig(out / name)
            written.append(out / name)
    table = out / "report.md"
    write(table.read_text("utf-8"))
    for failure in study.failures:
        complain(failure.reason)
    told = f", {len(study.failures)} clips could not be read" if study.failures else ""
    complain(f"{len(study.results)} rows of splits, {len(written)} files{told}: {table}")
    if study.failures:
        raise typer.Exit(FAILED)


def _ablate_seeds(
    system: str,
    data: Path,
    out: Path,
    recipe: Path | None,
    seeds: int,
    rates: tuple[float, ...],
    rows: tuple[str, ...],
    cache: Path | None,
) -> None:
    from moodreel.report.terminal import Progress

    with needs_lab("ablate"):
        from moodreel.cli.seed_pictures import draw_seed_study
        from moodreel.lab.ablation.seed_report import write_seed_report
        from moodreel.lab.seed_study import StudyOptions

        if system == "caca-rnn":
            from moodreel.lab.ablate_caca_rnn import ablate_caca_rnn as run
        else:
            from moodreel.lab.ablate_sta import ablate_sta as run

        options = StudyOptions(data, out, recipe, seeds, rates, rows, cache)
        bars: list[Progress] = []

        def advance(done: int, total: int) -> None:
            if not bars:
                bars.append(Progress(sys.stderr, total))
            bars[0].update(done, 0)
            if done == total:
                bars[0].clear()

        scores, outline = run(options, complain, advance)
        written = write_seed_report(scores, outline)
        for name, figure in draw_seed_study(scores, outline):
            figure.savefig(out / name)
            written.append(out / name)
    table = out / "report.md"
    write(table.read_text("utf-8"))
    told = f", {outline.failed} clips could not be read" if outline.failed else ""
    complain(f"{len(scores.study.runs)} trainings, {len(written)} files{told}: {table}")
    if outline.failed:
        raise typer.Exit(FAILED)


def _read_rates(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(rate) for rate in text.split(",") if rate)
    except ValueError:
        stop(f"--rates {text}: expected numbers, say 1e-3,5e-3")


@contextmanager
def _open_finder(kind: str) -> Iterator[Any]:
    from moodreel.lab.models.baselines import DetectedFaces, KeypointFaces, WholeFrames

    if kind in ("keypoints", "frame"):
        yield KeypointFaces() if kind == "keypoints" else WholeFrames()
        return
    from moodreel.faces.detect import DetectorSettings, open_detector

    with open_detector(DetectorSettings(kind=kind)) as detector:
        yield DetectedFaces(detector)


def _draw(study: Any) -> Iterator[tuple[str, Figure]]:
    """Pictures of a study, by the names of their files."""
    from moodreel.lab.ablation.rows import WITHHELD
    from moodreel.lab.ablation.tables import list_lines
    from moodreel.report.study import Bar, plot_comparison, plot_labels, plot_masks, plot_predictions

    lines = [line for line in list_lines(study.facts, study.results) if line.row is not WITHHELD]
    note = f"{study.facts['name']}; the paper's numbers are on GIFGIF, another data set"
    for file, score, title, unit, scale, digits in (
        ("table1.png", "accuracy", "Table 1: quadrant accuracy", "%", 100.0, 2),
        ("table2.png", "nmse", "Table 2: nMSE", "nMSE, less is better", 1.0, 4),
    ):
        bars = []
        for line in lines:
            summary = line.summarise(score)
            if summary is None:
                continue
            paper: tuple[float, float | None] | None = line.row.nmse
            if score == "accuracy":
                paper = None if line.row.accuracy is None else (line.row.accuracy, None)
            spread = summary.deviation * scale if summary.count > 1 else math.nan
            bars.append(Bar(line.name, summary.mean * scale, spread, paper))
        if bars:
            yield file, plot_comparison(title, unit, bars, digits, note)
    cases = study.cases
    if cases.labels:
        yield "fig1.png", plot_labels(cases.labels[0])
    if cases.predictions:
        yield "fig5.png", plot_predictions(cases.predictions)
    if cases.supervised or cases.attended:
        yield "fig6.png", plot_masks(cases.supervised, cases.attended)
