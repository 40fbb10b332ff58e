"""What a benchmark says of where it ran: machine, versions, commit."""

from __future__ import annotations

import argparse
import datetime
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from moodreel.errors import MoodreelError
from moodreel.runtime.machine import describe_machine
from moodreel.runtime.machine import name_commit as name_commit_of

ROOT = Path(__file__).resolve().parents[1]

RESULTS = ROOT / "benchmarks" / "results"

__all__ = [
    "RESULTS",
    "ROOT",
    "describe_machine",
    "name_commit",
    "run_benchmark",
    "stamp",
    "write_report",
    "write_results",
]


def name_commit() -> str:
    return name_commit_of(ROOT)


def stamp() -> dict[str, str]:
    """Today and the commit: what a file of results is named after."""
    return {"date": datetime.date.today().isoformat(), "commit": name_commit()}


def write_report(stamp: dict[str, str], report: str, kind: str, out: Path = RESULTS) -> None:
    """Writes DATE-COMMIT[-KIND].md, prints it, and says on standard error where it is."""
    out.mkdir(parents=True, exist_ok=True)
    path = out / f"{_name(stamp, kind)}.md"
    path.write_text(report, encoding="utf-8")
    print(report, end="")
    print(f"written: {path.name}", file=sys.stderr)


def write_results(facts: dict[str, Any], report: str, out: Path, kind: str = "") -> None:
    """As :func:`write_report`, with the facts as JSON beside it."""
    write_report(facts, report, kind, out)
    path = out / f"{_name(facts, kind)}.json"
    path.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"written: {path.name}", file=sys.stderr)


def run_benchmark(
    measure: Callable[[argparse.Namespace], dict[str, Any]],
    tell: Callable[[dict[str, Any]], str],
    options: argparse.Namespace,
    kind: str = "",
) -> None:
    """The command of a benchmark: measures and writes; an error of ours is one line."""
    try:
        facts = measure(options)
    except MoodreelError as error:
        raise SystemExit(str(error)) from error
    write_results(facts, tell(facts), options.out, kind)


def _name(stamp: dict[str, Any], kind: str) -> str:
    return "-".join(part for part in (stamp["date"], stamp["commit"], kind) if part)
