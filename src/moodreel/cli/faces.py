"""The verb that looks for faces: keypoints; and how other verbs are told to look for them."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodreel.cli.console import FAILED, LIMIT_HELP, NoIsolateOption, collect, complain, stop, write
from moodreel.faces import DETECTORS

if TYPE_CHECKING:
    from moodreel.faces.detect import DetectorSettings
    from moodreel.runtime.keypoints import KeypointRow

CHOICES = f"auto ({', else '.join(DETECTORS)}), {', '.join(DETECTORS)}"
DETECTOR_HELP = f"{CHOICES}, keypoints:PATH, or frame (the whole frame)."
"""Of ``--detector``, as :func:`parse_detector` reads it."""


def keypoints(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH", help="Files, folders, globs, or - for a list on stdin."),
    ],
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder to write to: NAME.json for each clip.")],
    detector: Annotated[str, typer.Option(metavar="KIND", help=f"{CHOICES} or openpose.")] = "auto",
    openpose: Annotated[
        Path | None,
        typer.Option(metavar="DIR|FILE", help="Take faces from files: OpenPose's, or of this verb."),
    ] = None,
    model_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="dlib: a predictor of 68 points (.dat); mediapipe: a .task file."),
    ] = None,
    upsample: Annotated[
        int, typer.Option(metavar="N", help="dlib: double the frame N times; it sees faces from 80 px on.")
    ] = 1,
    largest: Annotated[
        int, typer.Option(metavar="PX", help="dlib: the longer side is at most so long while it looks.")
    ] = 1280,
    threshold: Annotated[
        float | None,
        typer.Option(
            metavar="X", help="From where on it is a face: dlib 0 (more is stricter), mediapipe 0.5."
        ),
    ] = None,
    fps: Annotated[
        float | None, typer.Option(metavar="R", help="Look at R frames a second; default: every frame.")
    ] = None,
    gap: Annotated[
        float, typer.Option(metavar="S", help="A face that frames lack for up to S seconds stays the same.")
    ] = 0.5,
    workers: Annotated[
        int | None, typer.Option(metavar="N", help="Processes; default: one a core, at most 8.")
    ] = None,
    limit: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help=LIMIT_HELP)] = None,
    no_isolate: NoIsolateOption = False,
) -> None:
    """Find faces and their 70 keypoints: a JSON file a clip (needs the "faces" or "mediapipe" extra)."""
    if out.exists() and not out.is_dir():
        stop(f"--out {out}: is no folder")
    if not out.exists() and not out.parent.is_dir():
        stop(f"--out {out}: no folder {out.parent}")
    if workers is not None and workers < 1:
        stop(f"--workers {workers}: expected at least 1")
    if openpose is None and detector == "openpose":
        stop("--detector openpose: needs --openpose DIR")
    if openpose is not None and detector not in ("auto", "openpose"):
        stop(f"--openpose {openpose}: not with --detector {detector}")
    if openpose is not None and not openpose.exists():
        stop(f"--openpose {openpose}: no such file or folder")
    if openpose is not None and model_file is not None:
        stop("--model-file: not with --openpose")
    from moodreel.faces.detect import DetectorSettings
    from moodreel.faces.track import TrackSettings
    from moodreel.media.limits import parse_limits
    from moodreel.runtime.engine import count_cores
    from moodreel.runtime.keypoints import write_keypoints

    settings = DetectorSettings(
        kind="openpose" if openpose is not None else detector,
        files=openpose,
        model=model_file,
        upsample=upsample,
        largest=largest,
        threshold=threshold,
    )
    tracking = TrackSettings(gap=gap)
    bounds = parse_limits(limit or ())
    inputs = collect(paths)
    workers = workers or min(8, count_cores())
    isolate = not no_isolate and len(inputs) > 1  # one alone starts as fast as ever
    rows = write_keypoints(inputs, out, settings, fps, tracking, workers, bounds, isolate)
    out.mkdir(exist_ok=True)
    with closing(rows):
        counts = _print_rows(rows, inputs)
    complain(
        f"{len(inputs)} clips, {counts['clips']} with faces, {counts['faces']} faces"
        f"{', {} failed'.format(counts['failed']) if counts['failed'] else ''}: {out}"
    )
    if counts["failed"]:
        raise typer.Exit(FAILED)


def _print_rows(rows: Iterable[KeypointRow], inputs: list[str]) -> Counter[str]:
    """Prints a line an input. Returns the number of clips with faces, of faces and of failed inputs."""
    from moodreel.report.terminal import Progress, Style, clean, fit, measure, pad

    style = Style(sys.stdout)
    width = max(measure(clean(path)) for path in inputs)
    if style.is_terminal:
        width = min(width, style.width - 40)
    progress = Progress(sys.stderr, len(inputs), quiet=style.is_terminal and sys.stderr.isatty())
    write(style.paint(f"{pad('path', width)}  frames  with faces  faces", "bold") + "\n")
    counts: Counter[str] = Counter()
    for done, row in enumerate(rows, 1):
        if row.error is None:
            rest = f"{row.frames:>6}  {row.found:>10}  {row.faces:>5}"
        else:
            rest = style.paint(f"error: {clean(row.error)}", "error")
        progress.clear()
        write(f"{pad(fit(clean(row.source), width, style.cut), width)}  {rest}\n")
        counts["failed"] += row.error is not None
        counts["clips"] += bool(row.faces)
        counts["faces"] += row.faces or 0
        progress.update(done, counts["failed"])
    progress.clear()
    return counts


def parse_detector(text: str) -> DetectorSettings | None:
    """What ``--detector`` stands for; None is the whole frame.

    Raises:
        SettingsError: no such detector.
    """
    from moodreel.errors import SettingsError
    from moodreel.faces.detect import DetectorSettings

    kind, _, path = text.partition(":")
    if kind == "keypoints" and path:
        if not Path(path).exists():
            stop(f"--detector {text}: no such file or folder")
        return DetectorSettings("openpose", Path(path))
    if text == "frame":
        return None
    if text not in ("auto", *DETECTORS):
        raise SettingsError("detector", text, f"auto, {', '.join(DETECTORS)}, keypoints:PATH or frame")
    return DetectorSettings(text)


def check_faces(model: str, detector: str | None, every_face: bool) -> None:
    """Stops where ``--detector`` or ``--every-face`` was given to a model that looks for no faces.

    Raises:
        BundleError: there is no such model.
    """
    from moodreel.runtime.bundle import read_bundle

    system = read_bundle(model).info.system
    if every_face and system != "caca-rnn":
        stop(f"--every-face: only with a model of the system caca-rnn; {model} is of {system}")
    if detector is not None and system not in ("caca-rnn", "sta"):
        stop(f"--detector {detector}: {model} is of the system {system}, which looks for no faces")
