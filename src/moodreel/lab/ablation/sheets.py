"""Tables of any study as text: Markdown, CSV, and the files they go to."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from moodreel.runtime.files import replace_file

Table = Sequence[Sequence[str]]
"""Cells, head first."""


def to_markdown(table: Table) -> str:
    """A table, head first, as Markdown."""
    head, *body = table
    lines = [head, ["---"] * len(head), *body]
    return "\n".join("| " + " | ".join(cell or " " for cell in line) + " |" for line in lines) + "\n"


def to_csv(table: Table) -> str:
    """A table, head first, as CSV."""
    stream = io.StringIO(newline="")
    csv.writer(stream, lineterminator="\n").writerows(table)
    return stream.getvalue()


def write_sheets(out: Path, tables: Mapping[str, Table]) -> list[Path]:
    """Writes each table that has a line below its head as ``NAME.csv`` and ``NAME.md``; returns the files."""
    written = []
    for name, table in tables.items():
        if len(table) > 1:
            written += [write_text(out / f"{name}.csv", to_csv(table))]
            written += [write_text(out / f"{name}.md", to_markdown(table))]
    return written


def write_text(path: Path, text: str) -> Path:
    """Writes a text file, whole or not at all."""
    with replace_file(path) as file:
        file.write(text.encode())
    return path


def format_bounds(low: float, high: float, digits: int, unit: str = "split") -> str:
    """An interval of a difference; infinite bounds are those of a single value."""
    return f"{low:+.{digits}f} to {high:+.{digits}f}" if math.isfinite(low) else f"one {unit}: none"


def count_verdicts(verdicts: Sequence[str]) -> str:
    """How many orderings of the paper have which verdict, as a sentence."""
    counts = {verdict: verdicts.count(verdict) for verdict in dict.fromkeys(verdicts)}
    told = "; ".join(f"{verdict}: {count}" for verdict, count in sorted(counts.items(), reverse=True))
    return f"Of {len(verdicts)} orderings of the paper, {told}."
