"""The verbs about raters: agreement, gold."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moodreel.cli.console import FAILED, WRONG, complain, stop, write
from moodreel.errors import MoodreelError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from matplotlib.figure import Figure

    from moodreel.labels.gold import GoldSettings
    from moodreel.labels.lags import Lags, LagSettings
    from moodreel.labels.rows import BadRow
    from moodreel.labels.traces import Traces

app = typer.Typer(
    name="ratings",
    help="How far raters agree, and what several of them say together.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

PLOTS = (".png", ".svg", ".pdf")
"""Suffixes of --plot."""


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """How far raters agree, and what several of them say together."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(WRONG)


@app.command()
def agreement(
    table: Annotated[
        Path,
        typer.Argument(
            metavar="RATINGS.csv",
            help="Columns clip, rater, emotion, intensity, condition if any; or CREMA-D's votes.",
        ),
    ],
    out: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Write a row a mean and a row a difference.")
    ] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE.png", help="Draw the means as bars; also .svg and .pdf.")
    ] = None,
    counts: Annotated[
        str | None,
        typer.Option(metavar="A,B,...", help="The file has vote counts, an emotion a column: these."),
    ] = None,
    rounds: Annotated[
        int | None, typer.Option(metavar="N", help="Resamplings of the clips; default: 2000.")
    ] = None,
    level: Annotated[float | None, typer.Option(metavar="P", help="Of the intervals; default: 0.95.")] = None,
    seed: Annotated[int | None, typer.Option(metavar="N", help="Of the resampling; default: 0.")] = None,
    by_group: Annotated[
        bool, typer.Option("--by-group", help="Resample groups of clips: the column group; CREMA-D's actors.")
    ] = False,
) -> None:
    """Rater disagreement: the variance of intensity among a clip's raters, per emotion and condition.

    Conditions (raters saw the face alone, or the whole scene) are compared over the clips that have both. Bad
    rows are left out and named on standard error.
    """
    _check_file(out, "--out", (".csv",), [table])
    _check_file(plot, "--plot", PLOTS, [table])
    from moodreel.labels.agreement import Bootstrap, estimate_disagreement
    from moodreel.labels.agreement_table import read_ratings, write_agreement
    from moodreel.report.ratings_text import format_agreement
    from moodreel.report.terminal import Style
    from moodreel.runtime.files import replace_file

    asked = {"rounds": rounds, "level": level, "seed": seed}
    chosen: dict[str, Any] = {name: value for name, value in asked.items() if value is not None}
    bootstrap = Bootstrap(**chosen, grouped=by_group)
    columns = [name.strip() for name in counts.split(",") if name.strip()] if counts is not None else []
    if counts is not None and not columns:
        stop("--counts: expected names of columns")
    held = read_ratings(table, columns)
    _complain_of_rows(table, held.bad)
    found = estimate_disagreement(held.spread, bootstrap)
    if held.spread.alone:
        complain(f"{held.spread.alone} cells of clip, condition and emotion have one rater: no variance")
    if out is not None:
        with replace_file(out) as file:
            write_agreement(found, file)
    if plot is not None:
        from moodreel.report.ratings import plot_disagreement

        _save(plot_disagreement(found), plot)
    write(format_agreement(found, Style(sys.stdout)))
    if held.bad:
        complain(f"{held.rows} rows counted{_count_bad(held.bad)}: {table}")
        raise typer.Exit(FAILED)


@app.command()
def gold(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="TRACES.csv", help="Files or folders; columns time_s, then one a rater."),
    ],
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE.csv|DIR", help="Write time_s, gold; a folder for several files."),
    ] = None,
    aligned: Annotated[
        bool, typer.Option("--aligned", help="Add the raters to --out, their lags taken off.")
    ] = False,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png|DIR", help="Draw raters and gold; a folder for several files."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON a file.")] = False,
    method: Annotated[
        str, typer.Option(metavar="ewe|mean", help="Evaluator weighted estimator, or the plain mean.")
    ] = "ewe",
    lags: Annotated[
        str,
        typer.Option(
            metavar="each|together|none",
            help="Look for raters' lags in each file, in all files of the same raters together, or not.",
        ),
    ] = "each",
    max_lag: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds searched to either side; default: 4, or a quarter."),
    ] = None,
    lag_basis: Annotated[
        str, typer.Option(metavar="slope|level", help="Correlate how fast traces change, or the traces.")
    ] = "slope",
    min_peak: Annotated[
        float | None,
        typer.Option(metavar="R", help="Lower correlations give no lag; default: 0.5."),
    ] = None,
    delay: Annotated[
        float, typer.Option(metavar="S", help="Take so many seconds off all raters as well.")
    ] = 0.0,
    step: Annotated[
        float | None, typer.Option(metavar="S", help="Seconds between instants; default: the file's own.")
    ] = None,
    max_gap: Annotated[
        float | None, typer.Option(metavar="S", help="Longest gap that is bridged; default: 4 steps.")
    ] = None,
) -> None:
    """One trace from those of several raters: lags taken off, raters weighted by how they agree.

    Bad rows are left out and named on standard error.
    """
    files, several = _list_files(paths)
    if lags not in ("each", "together", "none"):
        stop(f"--lags {lags}: expected each, together or none")
    for place, option, suffixes in ((out, "--out", (".csv",)), (plot, "--plot", PLOTS)):
        if several:
            _check_folder(place, option, files)
        else:
            _check_file(place, option, suffixes, files)
    from moodreel.labels.gold import GoldSettings
    from moodreel.labels.lags import LagSettings
    from moodreel.labels.traces import Clock

    settings = GoldSettings(method, delay, Clock(step, max_gap))
    search = LagSettings(max_lag, lag_basis, LagSettings.least if min_peak is None else min_peak)
    run = _Run(settings, search, several, out, plot, aligned, as_json)
    run.go(files, lags)
    if run.failed:
        raise typer.Exit(FAILED)


class _Run:
    """What ``gold`` does with its files; ``failed`` counts those with something wrong."""

    def __init__(
        self,
        settings: GoldSettings,
        search: LagSettings,
        several: bool,
        out: Path | None,
        plot: Path | None,
        aligned: bool,
        as_json: bool,
    ) -> None:
        self._settings, self._search, self._several = settings, search, several
        self._out, self._plot, self._aligned, self._as_json = out, plot, aligned, as_json
        self._rows: list[tuple[str, ...]] = []
        self.failed = 0

    def go(self, files: Sequence[Path], lags: str) -> None:
        from moodreel.labels.lags import estimate_lags
        from moodreel.report.ratings_text import LINE
        from moodreel.report.terminal import Style, format_columns

        held = [traces for path in files for traces in self._read(path)]
        groups: dict[tuple[str, ...], list[Traces]] = {}
        for traces in held:
            groups.setdefault(tuple(sorted(traces.raters)), []).append(traces)
        found: dict[tuple[str, ...], Lags] = {}
        if lags == "together":
            found = {
                raters: estimate_lags(group, self._search, self._settings.clock)
                for raters, group in groups.items()
            }
        for traces in held:
            with self._guard():
                known = found.get(tuple(sorted(traces.raters)))
                if lags == "each":
                    known = estimate_lags([traces], self._search, self._settings.clock)
                self._make(traces, known)
        if self._rows:
            write(format_columns(LINE, self._rows, Style(sys.stdout)))

    @contextmanager
    def _guard(self) -> Iterator[None]:
        """One of several files may fail; the only one ends the command."""
        try:
            yield
        except MoodreelError as error:
            if not self._several:
                raise
            complain(str(error))
            self.failed += 1

    def _read(self, path: Path) -> Iterator[Traces]:
        from moodreel.labels.traces import read_traces

        bad: list[BadRow] = []
        with self._guard():
            try:
                traces = read_traces(path, bad)
            finally:
                _complain_of_rows(path, bad)
            self.failed += bool(bad)
            yield traces

    def _make(self, traces: Traces, lags: Lags | None) -> None:
        """One file: what it gives is written, drawn and told."""
        from moodreel.labels.gold import make_gold
        from moodreel.labels.gold_table import describe_gold, write_gold
        from moodreel.runtime.files import replace_file

        made = make_gold(traces, lags, self._settings)
        name = Path(traces.source).stem
        if self._out is not None:
            place = self._out / f"{name}.csv" if self._several else self._out
            place.parent.mkdir(parents=True, exist_ok=True)
            with replace_file(place) as file:
                write_gold(made, file, self._aligned)
        if self._plot is not None:
            from moodreel.report.ratings import plot_gold

            place = self._plot / f"{name}.png" if self._several else self._plot
            place.parent.mkdir(parents=True, exist_ok=True)
            _save(plot_gold(made), place)
        facts = describe_gold(made, lags)
        if self._as_json:
            import json

            write(json.dumps(facts, ensure_ascii=False, allow_nan=False) + "\n")
        elif self._several:
            from moodreel.report.ratings_text import format_line

            self._rows.append(format_line(made, facts))
        else:
            from moodreel.report.ratings_text import format_gold
            from moodreel.report.terminal import Style

            write(format_gold(made, facts, Style(sys.stdout)))


def _list_files(paths: Sequence[Path]) -> tuple[list[Path], bool]:
    """(trace files, whether they are several: more than one path, or a folder)."""
    files: list[Path] = []
    for path in paths:
        inside = sorted(path.glob("*.csv")) if path.is_dir() else [path]
        if not inside:
            stop(f"{path}: no .csv files in the folder")
        files += inside
    files = list(dict.fromkeys(files))
    several = len(files) > 1 or any(path.is_dir() for path in paths)
    return files, several


def _check_file(place: Path | None, option: str, suffixes: Sequence[str], inputs: Sequence[Path]) -> None:
    """Finds what is wrong with an output file before any work is done."""
    if place is None:
        return
    if place.suffix.lower() not in suffixes:
        stop(f"{option} {place}: expected a name that ends in {' or '.join(suffixes)}")
    if place.is_dir():
        stop(f"{option} {place}: is a folder")
    if not place.parent.is_dir():
        stop(f"{option} {place}: no folder {place.parent}")
    if place.exists() and any(path.exists() and place.samefile(path) for path in inputs):
        stop(f"{option} {place}: is an input itself")


def _check_folder(place: Path | None, option: str, inputs: Sequence[Path]) -> None:
    """The same for the folder that several files need."""
    if place is None:
        return
    if place.exists() and not place.is_dir():
        stop(f"{option} {place}: is a file; several trace files need a folder")
    names = [path.stem for path in inputs]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        stop(f"{option} {place}: two trace files are called {twice}")
    if place.is_dir() and any(path.parent.exists() and place.samefile(path.parent) for path in inputs):
        stop(f"{option} {place}: is the folder of the trace files itself")


def _save(figure: Figure, place: Path) -> None:
    from moodreel.runtime.files import replace_file

    with replace_file(place) as file:
        figure.savefig(file, format=place.suffix[1:].lower())


def _complain_of_rows(path: Path, bad: Sequence[BadRow]) -> None:
    for row in bad:
        complain(f"{path}:{row.line}: {row.reason}")


def _count_bad(bad: Sequence[BadRow]) -> str:
    return f", {len(bad)} bad {'row' if len(bad) == 1 else 'rows'} left out" if bad else ""
