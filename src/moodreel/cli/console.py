"""What every verb says to the terminal: lines on standard error, text on standard output, exit codes."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Annotated, NoReturn, TypeAlias

import typer

from moodreel.errors import MissingExtra

if TYPE_CHECKING:
    from moodreel.runtime.batch import Inputs
    from moodreel.types import Result

FAILED = 1
WRONG = 2
PIPE_CLOSED = 141
TERMINATED = 143

LIMIT_HELP = (
    "Of what one file may cost: file_bytes, canvas_pixels, frames, decoded_bytes, seconds, process_bytes."
)
"""Of ``--limit``; may be given again for another."""

EngineOption: TypeAlias = Annotated[
    str, typer.Option("--engine", metavar="KIND", help="What runs the network: auto, onnx or openvino.")
]
DeviceOption: TypeAlias = Annotated[
    str, typer.Option("--device", metavar="KIND", help="What it runs on: auto, cpu or cuda.")
]

NoIsolateOption: TypeAlias = Annotated[
    bool,
    typer.Option(
        "--no-isolate", help="Decode several files in this process: one that crashes a decoder ends all."
    ),
]

FEW = 100
"""Inputs below which OpenVINO does not earn back its longer start: docs/performance.md."""


def complain(text: str) -> None:
    """Writes one line to standard error."""
    line = "".join(c if c.isprintable() else "?" for c in text)
    print(f"moodreel: {line}", file=sys.stderr)


def stop(text: str) -> NoReturn:
    """Ends a command that was wrong."""
    complain(text)
    raise typer.Exit(WRONG)


def drop_stdout() -> None:
    """After the reader of a pipe has left: lets Python's own flush at exit find an open file."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def write(text: str) -> None:
    """Writes to standard output; what its encoding lacks stands as ``?``."""
    try:
        encoding = sys.stdout.encoding or "utf-8"
        sys.stdout.write(text.encode(encoding, "replace").decode(encoding))
        sys.stdout.flush()
    except BrokenPipeError:
        drop_stdout()
        raise typer.Exit(PIPE_CLOSED) from None


def collect(paths: Sequence[str]) -> list[str]:
    """The inputs that PATH arguments stand for, notes on standard error. None at all: a wrong command."""
    from moodreel.runtime.batch import collect_paths

    inputs = collect_paths(paths, sys.stdin.buffer if "-" in paths else None)
    if not inputs.paths:
        others = f" ({inputs.skipped} other files)" if inputs.skipped else ""
        stop("; ".join(inputs.notes or ["the list on stdin is empty"]) + others)
    tell_inputs(inputs)
    return inputs.paths


def settle_engine(engine: str, inputs: int) -> str:
    """What ``--engine auto`` means for so many inputs; any other engine is what it is."""
    return "onnx" if engine == "auto" and inputs < FEW else engine


def tell_inputs(inputs: Inputs) -> None:
    """Says on standard error what of the PATH arguments is no input, or one only once."""
    for note in inputs.notes:
        complain(note)
    if inputs.skipped:
        complain(f"{inputs.skipped} files in folders skipped: no known media suffix")
    if inputs.repeated:
        complain(f"{inputs.repeated} inputs named twice, read once")


def complete_bundles(incomplete: str) -> list[str]:
    """For the shell: bundles that ship and begin so; where none does, it goes on with files."""
    from moodreel.runtime.bundle import list_bundles

    return [name for name in list_bundles() if name.startswith(incomplete)]


@contextmanager
def needs_lab(verb: str) -> Iterator[None]:
    """Turns the absence of a training library into the line that installs it."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("moodreel"):
            raise
        raise MissingExtra("lab", f"moodreel {verb} ({error.name})") from error


@contextmanager
def needs_extra(extra: str, need: str, modules: Sequence[str]) -> Iterator[None]:
    """Turns the absence of a module of an extra into the line that installs it.

    Args:
        extra: name of the extra.
        need: what needs it.
        modules: top-level names that belong to it.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in modules:
            raise
        raise MissingExtra(extra, f"{need} ({error.name})") from error


def close_after(results: Iterator[Result], stack: ExitStack) -> Iterator[Result]:
    """The same iterator, stopped (its threads ended) when the stack unwinds."""
    close = getattr(results, "close", None)
    if close is not None:
        stack.callback(close)
    return results
