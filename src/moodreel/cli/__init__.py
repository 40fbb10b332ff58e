"""The command line: one function a verb.

What a verb needs is imported inside it, so that ``moodreel --help`` and a cold ``moodreel predict one.gif``
stay quick. Exit codes: 0 all done; 1 some inputs failed; 2 the command was wrong; 130 interrupted.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import typer

from moodreel.cli import (
    bench,
    cluster,
    doctor,
    faces,
    hub,
    lab,
    large,
    models,
    ratings,
    search,
    serve,
    study,
    trace,
    votes,
)
from moodreel.cli.console import (
    FAILED,
    LIMIT_HELP,
    PIPE_CLOSED,
    TERMINATED,
    WRONG,
    DeviceOption,
    EngineOption,
    NoIsolateOption,
    close_after,
    collect,
    complain,
    complete_bundles,
    drop_stdout,
    settle_engine,
    stop,
    write,
)
from moodreel.errors import MoodreelError

if TYPE_CHECKING:
    from moodreel.media.pool import DecoderPool
    from moodreel.runtime.recognizer import Recognizer
    from moodreel.types import Result

Draw: TypeAlias = "Callable[[Result], list[str]]"

app = typer.Typer(
    name="moodreel",
    help="Emotion in animated GIFs and short videos: what is felt, when, and where in the frame.",
    rich_markup_mode=None,  # plain help: quicker, and the same in every terminal
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main() -> None:
    """Runs the command line. Errors are one line on standard error, never a traceback."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))  # so that temporary files are removed
    try:
        code = app(prog_name="moodreel", standalone_mode=False)
        sys.stdout.flush()
    except MoodreelError as error:
        complain(str(error))
        code = WRONG
    except (KeyboardInterrupt, typer.Abort):
        code = 130
    except BrokenPipeError:
        drop_stdout()
        code = PIPE_CLOSED
    except Exception as error:
        code = 130 if _was_interrupted(error) else _explain(error)
    sys.exit(code if isinstance(code, int) else 0)


def _was_interrupted(error: BaseException) -> bool:
    """Whether Ctrl-C is behind an error: in the midst of an import Python dresses it up as another."""
    link: BaseException | None = error
    while link is not None and not isinstance(link, KeyboardInterrupt):
        link = link.__cause__ or link.__context__
    return link is not None


def _explain(error: Exception) -> int:
    """Says what went wrong: a wrong command, a file that cannot be written, or a fault of ours."""
    if hasattr(error, "format_message"):  # click's, or of the copy of click inside typer
        context = getattr(error, "ctx", None)
        command = context.command_path if context else "moodreel"
        complain(f"{' '.join(error.format_message().split())} (see '{command} --help')")
    elif isinstance(error, OSError):
        where = f"{os.fsdecode(error.filename)}: " if error.filename else ""
        complain(f"{where}{error.strerror or error}")
    elif os.environ.get("MOODREEL_TRACEBACK"):
        raise error
    else:
        what = " ".join(f"{type(error).__name__}: {error}".split())
        complain(f"a fault in moodreel: {what} (MOODREEL_TRACEBACK=1 shows where)")
    return WRONG


def _print_version(asked: bool) -> None:
    if asked:
        import moodreel

        write(f"moodreel {moodreel.__version__}\n")
        raise typer.Exit()


@app.callback(invoke_without_command=True)
def root(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Emotion in animated GIFs and short videos: what is felt, when, and where in the frame."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(WRONG)


@app.command()
def predict(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, folders, globs, or - for a list on stdin."),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|BUNDLE",
            help="A name of 'moodreel models', or a bundle's folder or .zip.",
            autocompletion=complete_bundles,
        ),
    ] = "kavan",
    out: Annotated[
        str | None,
        typer.Option(metavar="FILE|DIR", help="Write a table: .parquet, .jsonl or .csv; or a run's folder."),
    ] = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Of --out DIR: go on with the run that is there, if any.")
    ] = False,
    retry_failed: Annotated[
        bool, typer.Option("--retry-failed", help="Of --resume: read again what failed, too.")
    ] = False,
    shard: Annotated[
        str | None, typer.Option(metavar="i/n", help="Of --out DIR: only part i (from 1) of n of the inputs.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON an input.")] = False,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="How many decode at once; default: one a core, at most 8.")
    ] = None,
    limit: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help=LIMIT_HELP),
    ] = None,
    no_isolate: NoIsolateOption = False,
    per_frame: Annotated[
        bool, typer.Option("--per-frame", help="Add every score at each sampled instant (--out, --json).")
    ] = False,
    abstain: Annotated[
        float | None, typer.Option(metavar="P", help="Below confidence P the category is left empty.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write a page to look at: DIR/index.html.")
    ] = None,
    overlay: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each animation with its attention and scores.")
    ] = None,
    overlay_format: Annotated[
        str | None, typer.Option(metavar="KIND", help="Of --overlay: gif (default), webp or mp4.")
    ] = None,
    detector: Annotated[
        str | None, typer.Option(metavar="KIND", help="Of caca-rnn and sta: " + faces.DETECTOR_HELP)
    ] = None,
    every_face: Annotated[
        bool, typer.Option("--every-face", help="Of caca-rnn: a row for each face, not for the main one.")
    ] = False,
    on_cluster: Annotated[
        str | None,
        typer.Option(
            "--cluster", metavar="ADDRESS|local", help="Of --out DIR: by --workers actors on a Ray cluster."
        ),
    ] = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
) -> None:
    """Read emotion in clips: one row a clip (a face, with --every-face).

    One file prints a chart, several print a table; --out writes all scores of all of them.
    """
    if workers is not None and workers < 1:
        stop(f"--workers {workers}: expected at least 1")
    if abstain is not None and not 0 <= abstain <= 1:
        stop(f"--abstain {abstain:g}: expected a probability from 0 to 1")
    is_drawn = (report, overlay, overlay_format) != (None, None, None)
    if on_cluster is not None:
        cluster.check_folder(out)
    table = None if out is None else Path(out)
    is_run = on_cluster is not None or (table is not None and large.check_out(table, or_folder=True))
    part = _check_run(is_run, resume, retry_failed, shard, as_json, is_drawn)
    if is_drawn:
        from moodreel.report.outputs import find_fault, open_outputs

        if fault := find_fault(report, overlay, overlay_format):
            stop(fault)
    from moodreel.media.limits import parse_limits
    from moodreel.runtime.engine import count_cores
    from moodreel.runtime.recognizer import load

    bounds = parse_limits(limit or ())
    settings = faces.parse_detector(detector or "auto")
    if detector is not None or every_face:
        faces.check_faces(model, detector, every_face)
    if on_cluster is not None:
        assert out is not None
        if cluster.predict_cluster(
            paths, out, on_cluster, model=model, resume=resume, retry_failed=retry_failed, shard=part,
            detector=settings, every_face=every_face, actors=workers, per_frame=per_frame, abstain=abstain,
            limits=bounds, engine=engine, device=device,
        ):  # fmt: skip
            raise typer.Exit(FAILED)
        return
    inputs = [] if is_run else collect(paths)
    if not is_run:
        engine = settle_engine(engine, len(inputs))
    with ExitStack() as stack:
        count = workers or min(8, count_cores())
        decoders: DecoderPool | None = None
        if not no_isolate and (is_run or len(inputs) > 1):
            from moodreel.media.pool import DecoderPool

            # Before the network is read, beside which they start. A start takes as long as some clips.
            few = count if is_run else min(count, 1 + len(inputs) // 16)
            decoders = stack.enter_context(DecoderPool(bounds, few))
        recognizer = load(
            model, limits=bounds, detector=settings, every_face=every_face, engine=engine, device=device
        )
        if is_run:
            assert table is not None
            if large.predict_large(
                recognizer, paths, table, resume=resume, retry_failed=retry_failed, shard=part,
                detector=settings, workers=count, decoders=decoders, per_frame=per_frame, abstain=abstain,
            ):  # fmt: skip
                raise typer.Exit(FAILED)
            return
        draw: Draw = lambda _: []  # noqa: E731
        if is_drawn:
            draw = stack.enter_context(open_outputs(report, overlay, overlay_format, abstain, decoders))
        if as_json or table is not None or len(inputs) > 1:
            failed = _predict_many(
                recognizer, inputs, table, as_json, count, decoders, per_frame, abstain, draw
            )
        else:
            if per_frame:
                complain("--per-frame shows in --out and --json only")
            failed = _predict_one(recognizer, inputs[0], abstain, draw)
    for name, place in [("report", report and report / "index.html"), ("overlays", overlay)]:
        if place is not None:
            complain(f"{name}: {place}")
    if failed:
        raise typer.Exit(FAILED)


def _check_run(
    is_run: bool, resume: bool, retry_failed: bool, shard: str | None, as_json: bool, is_drawn: bool
) -> tuple[int, int]:
    """Finds what does not go with --out DIR, or only with it. Returns the shard: which one, of how many."""
    if not is_run:
        for option, given in [
            ("--resume", resume),
            ("--retry-failed", retry_failed),
            (f"--shard {shard}", shard),
        ]:
            if given:
                stop(f"{option}: needs --out DIR, a folder for the parts of a table")
        return 1, 1
    for option, given in [("--json", as_json), ("--report, --overlay", is_drawn)]:
        if given:
            stop(f"{option}: not with --out DIR")
    if retry_failed and not resume:
        stop("--retry-failed: needs --resume")
    if shard is None:
        return 1, 1
    from moodreel.runtime.large import parse_shard

    return parse_shard(shard)


def _predict_one(recognizer: Recognizer, path: str, abstain: float | None, draw: Draw) -> int:
    """Prints a chart, with --every-face one a face. Returns how many of them failed, or a picture of them."""
    from moodreel.report.terminal import Style, format_chart

    failed = 0
    # as among many, so that it fails alike; a trace is drawn wherever there is one
    results = recognizer.map([path], workers=1, per_frame=recognizer.info.system == "sta", abstain=abstain)
    for place, result in enumerate(results):
        problems = draw(result)
        if result.error is None:
            write(("\n" if place else "") + format_chart(result, Style(sys.stdout), abstain))
        for problem in problems if result.error is None else [result.error]:
            complain(f"{result.source}: {problem}")
            failed += 1
    return failed


def _predict_many(
    recognizer: Recognizer,
    paths: list[str],
    out: Path | None,
    as_json: bool,
    workers: int,
    decoders: DecoderPool | None,
    per_frame: bool,
    abstain: float | None,
    draw: Draw,
) -> int:
    """Prints or writes a row an input, or several. Returns how many failed, or a picture of them."""
    from moodreel.report.terminal import Progress, ResultTable, Style
    from moodreel.runtime.table import SCHEMA_VERSION, format_json, list_columns, make_row, open_table

    info = recognizer.info
    columns = list_columns(info.system, per_frame)
    style = Style(sys.stdout)
    printed = None
    if not as_json and out is None:
        printed = ResultTable(paths, info.labels.categories, style, recognizer.every_face)
    rows = done = failed = undrawn = 0
    before: str | None = None
    with ExitStack() as stack:
        writer = None
        if out is not None:
            facts = {"moodreel.model": info.name, "moodreel.model_version": info.version}
            writer = stack.enter_context(open_table(out, columns, facts))
        is_shown_anyway = out is None and style.is_terminal and sys.stderr.isatty()
        progress = Progress(sys.stderr, len(paths), quiet=is_shown_anyway)
        stack.callback(progress.clear)
        if printed is not None:
            write(printed.format_header() + "\n")
        is_traced = per_frame or info.system == "sta"  # a report draws the trace
        results = recognizer.map(
            paths, workers=workers, per_frame=is_traced, abstain=abstain, isolate=decoders or False
        )
        for result in close_after(results, stack):
            row = make_row(result, columns)
            if writer is not None:
                writer.write(row)
            if as_json:
                write(format_json(row) + "\n")
            elif printed is not None:
                write(printed.format_result(result) + "\n")
            for problem in draw(result):
                progress.clear()
                complain(f"{result.source}: {problem}")
                undrawn += 1
            rows += 1
            done += result.source != before  # a clip of several faces has as many rows, one after another
            before = result.source
            failed += not result.ok
            progress.update(done, failed)
    if out is not None:
        of = f" of {done} inputs" if rows > done else ""
        told = f", {failed} failed" if failed else ""
        complain(f"{rows} rows{of}{told}: {out} (schema {SCHEMA_VERSION})")
    return failed + undrawn


for verb in (
    models.models,
    large.merge,
    search.search,
    trace.trace,
    faces.keypoints,
    lab.synth,
    lab.train,
    lab.evaluate,
    study.ablate,
    lab.export,
    hub.push,
    serve.serve,
    bench.bench,
    doctor.doctor,
):
    app.command()(verb)
app.add_typer(votes.app)
app.add_typer(ratings.app)
