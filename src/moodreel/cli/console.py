"""What every verb says to the terminal: lines on standard error, text on standard output, exit codes."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

import typer

FAILED = 1
WRONG = 2
PIPE_CLOSED = 141
TERMINATED = 143


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
