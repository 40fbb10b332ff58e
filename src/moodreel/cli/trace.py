"""The verb that follows valence along a clip or a stream: trace."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moodreel.cli.console import (
    FAILED,
    LIMIT_HELP,
    TERMINATED,
    DeviceOption,
    EngineOption,
    complain,
    complete_bundles,
    stop,
    write,
)
from moodreel.cli.faces import DETECTOR_HELP, parse_detector

if TYPE_CHECKING:
    from moodreel.media import Limits
    from moodreel.media.stream import Stream
    from moodreel.report.trace_figures import FaceStrip
    from moodreel.runtime.trace import TracePoint
    from moodreel.runtime.trace_files import Ratings
    from moodreel.runtime.trace_reader import TraceReader


def trace(
    clip: Annotated[
        str | None,
        typer.Argument(metavar="CLIP", help="A file, or the address of a stream (http, rtsp, ...)."),
    ] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE.csv", help="Write a row a tick.")] = None,
    plot: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw the curve under faces: .png, .pdf or .svg.")
    ] = None,
    overlay: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Draw the attention on the face: .gif, .webp or .mp4."),
    ] = None,
    gold: Annotated[
        Path | None, typer.Option(metavar="FILE.csv", help="Of --plot: gold standard and raters.")
    ] = None,
    model: Annotated[
        str,
        typer.Option(
            metavar="NAME|BUNDLE", help="A bundle of the system sta.", autocompletion=complete_bundles
        ),
    ] = "sta",
    detector: Annotated[
        str,
        typer.Option(metavar="KIND", help=DETECTOR_HELP),
    ] = "auto",
    camera: Annotated[
        int | None, typer.Option(metavar="N", help="Read camera N instead of a file; Ctrl-C ends.")
    ] = None,
    stride: Annotated[
        int | None, typer.Option(metavar="N", help="Ticks from window to window; default: half a window, 8.")
    ] = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Leave out the bundle's post-processing: the network's own values.")
    ] = False,
    limit: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=LIMIT_HELP)] = None,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
) -> None:
    """Follow valence along a clip, four times a second, or live from a camera or stream.

    Without --out it prints a curve and a table.
    """
    if (clip is None) == (camera is None):
        stop("expected either CLIP or --camera N")
    if camera is not None and camera < 0:
        stop(f"--camera {camera}: expected 0 or above")
    _check_file("--out", out, (".csv",))
    _check_file("--plot", plot, (".png", ".pdf", ".svg"))
    _check_file("--overlay", overlay, (".gif", ".webp", ".mp4"))
    if gold is not None and plot is None:
        stop(f"--gold {gold}: is drawn by --plot, which is missing")
    from moodreel.media.limits import parse_limits
    from moodreel.media.stream import is_address
    from moodreel.runtime.trace_reader import open_trace_reader

    bounds = parse_limits(limit or ())
    settings = parse_detector(detector)
    ratings = None
    if gold is not None:
        from moodreel.runtime.trace_files import read_ratings

        ratings = read_ratings(gold)
    is_stream = camera is not None or (clip is not None and is_address(clip))
    if is_stream and settings is not None and settings.files is not None:
        stop(f"--detector {detector}: keypoint files belong to a clip, not to a stream")
    reader = open_trace_reader(model, settings, stride=stride, raw=raw, engine=engine, device=device)
    take = _Taker(plot is not None, overlay is not None)
    failure = _trace(reader, camera if camera is not None else clip, is_stream, out, take, bounds)
    if failure is None or (is_stream and take.points):
        failures = [failure, *_draw(take, plot, overlay, ratings)]
    else:
        failures = [failure]
    for reason in failures:
        if reason is not None:
            complain(reason)
    if signal.SIGTERM in take.signals:
        raise typer.Exit(TERMINATED)
    if any(failures):
        raise typer.Exit(FAILED)


class _Taker:
    """Keeps of a trace what is drawn at its end: values of all points, faces of some.

    Args:
        with_faces: for a plot.
        with_overlay: for an overlay.
    """

    def __init__(self, with_faces: bool, with_overlay: bool) -> None:
        from moodreel.report.trace_figures import OVERLAY_TICKS, FaceStrip

        self.name = ""
        self.signals: list[int] = []  # those that ended a stream
        self.points: list[TracePoint] = []
        self.strip: FaceStrip | None = FaceStrip() if with_faces else None
        self.shown: list[TracePoint] = []
        self.needs_attention = with_overlay
        self._most = OVERLAY_TICKS if with_overlay else 0

    def add(self, point: TracePoint) -> None:
        if self.strip is not None:
            self.strip.add(point)
        if len(self.shown) < self._most:
            self.shown.append(point)
        self.points.append(replace(point, picture=None, place=None, attention=None))


def _check_file(option: str, path: Path | None, suffixes: tuple[str, ...]) -> None:
    """Finds what is wrong with a file that is to be written, before any work is done."""
    if path is None:
        return
    if path.suffix.lower() not in suffixes:
        stop(f"{option} {path}: expected a name that ends in {', '.join(suffixes)}")
    if path.is_dir():
        stop(f"{option} {path}: is a folder")
    if not path.parent.is_dir():
        stop(f"{option} {path}: no folder {path.parent}")


def _trace(
    reader: TraceReader,
    source: str | int | None,
    is_stream: bool,
    out: Path | None,
    take: _Taker,
    bounds: Limits,
) -> str | None:
    """Makes the trace, and the CSV. Returns what went wrong with the input, None where nothing did."""
    from moodreel.errors import DataError, MediaError
    from moodreel.runtime.trace_files import open_trace

    failure: str | None = None
    try:
        with ExitStack() as stack:
            put: Callable[[TracePoint], object] = lambda _: None  # noqa: E731
            if out is not None:
                put = stack.enter_context(open_trace(out))
            if is_stream:
                failure = _follow(reader, source, put, take)  # what came before it broke off is kept
            else:
                _read(reader, str(source), put, take, bounds)
            if not take.points:
                raise MediaError(take.name, failure or "not a single frame came")
    except (MediaError, DataError) as error:
        return failure or str(error)
    if out is not None:
        _report_rows(take, out)
    elif not is_stream:
        from moodreel.report.terminal import Style
        from moodreel.report.trace_text import format_trace

        write(format_trace(take.points, take.name, Style(sys.stdout)))
    return failure


def _report_rows(take: _Taker, out: Path) -> None:
    counts = dict.fromkeys(("ok", "interpolated", "no_face"), 0)
    for point in take.points:
        counts[point.status] += 1
    told = ", ".join(f"{count} {status}" for status, count in counts.items() if count)
    complain(f"{len(take.points)} rows, {told}: {out}")


def _read(
    reader: TraceReader, path: str, put: Callable[[TracePoint], object], take: _Taker, bounds: Limits
) -> None:
    """A file, with progress on standard error."""
    from moodreel.media import open_media, rate_times
    from moodreel.report.terminal import Progress
    from moodreel.runtime.trace import trace_media

    take.name = path
    media = open_media(path, bounds)
    tracer = reader.make_tracer(media, keep_attention=take.needs_attention)
    progress = Progress(sys.stderr, len(rate_times(media.duration, reader.fps)))
    try:
        for done, point in enumerate(trace_media(media, tracer), 1):
            put(point)
            take.add(point)
            progress.update(done, 0)
    finally:
        progress.clear()


def _follow(
    reader: TraceReader, source: str | int | None, put: Callable[[TracePoint], object], take: _Taker
) -> str | None:
    """A stream or a camera, a line a tick on standard output. Returns how it broke off, if it did."""
    from moodreel.errors import MediaError
    from moodreel.report.terminal import Style
    from moodreel.report.trace_text import format_point
    from moodreel.runtime.trace_live import Latency, trace_stream

    assert source is not None
    style, latency, failure = Style(sys.stdout), Latency(), None
    tracer = reader.make_tracer(None, keep_attention=take.needs_attention)

    def show(point: TracePoint) -> None:
        put(point)
        take.add(point)
        write(format_point(point, style) + "\n")

    with _catch_signals(take.signals), open_stream(source) as stream:
        take.name = stream.name
        complain(f"{stream.name}: Ctrl-C ends")
        try:
            for point in trace_stream(stream.read(lambda: bool(take.signals)), tracer, latency):
                show(point)
        except MediaError as error:
            failure = str(error)
            for point in tracer.finish():
                show(point)
        if stream.dropped:
            complain(f"{stream.dropped} frames left out: out of order, or too fast to be read")
    complain(str(latency))
    return failure


def open_stream(source: str | int) -> Stream:
    """Opens a stream or a camera: the seam at which tests put a fake."""
    from moodreel.media.stream import Stream

    return Stream(source)


@contextmanager
def _catch_signals(caught: list[int]) -> Iterator[None]:
    """Lets Ctrl-C and SIGTERM end a stream in order; a second Ctrl-C or SIGTERM is as ever.

    Args:
        caught: takes the number of the signal.
    """
    before: dict[int, Any] = {}

    def note(number: int, _: object) -> None:
        caught.append(number)
        signal.signal(number, before[number])

    for kind in (signal.SIGINT, signal.SIGTERM):
        before[kind] = signal.signal(kind, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _draw(take: _Taker, plot: Path | None, overlay: Path | None, ratings: Ratings | None) -> list[str | None]:
    """Writes the pictures that were asked for. Returns what went wrong."""
    from moodreel.errors import MoodreelError

    failures: list[str | None] = []
    if plot is not None:
        from moodreel.report.trace_figures import plot_trace
        from moodreel.runtime.files import replace_file

        assert take.strip is not None
        figure = plot_trace(take.points, take.name, take.strip.faces, ratings)
        with replace_file(plot) as file:
            figure.savefig(file, format=plot.suffix.lower().removeprefix("."))
        complain(f"plot: {plot}")
    if overlay is not None:
        from moodreel.report.trace_figures import write_face_overlay

        try:
            write_face_overlay(take.shown, overlay)
            complain(f"overlay: {overlay}")
        except MoodreelError as error:
            failures.append(f"{take.name}: no overlay: {error}")
    return failures
