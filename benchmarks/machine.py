"""What a benchmark says of where it ran: machine, versions, commit."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from moodreel.runtime.machine import describe_machine
from moodreel.runtime.machine import name_commit as name_commit_of

ROOT = Path(__file__).resolve().parents[1]

__all__ = ["ROOT", "describe_machine", "name_commit", "write_results"]


def name_commit() -> str:
    return name_commit_of(ROOT)


def write_results(facts: dict[str, Any], report: str, out: Path, kind: str = "") -> None:
    """Writes DATE-COMMIT[-kind].json and .md, prints the report, and says on standard error where it is."""
    out.mkdir(parents=True, exist_ok=True)
    name = "-".join(part for part in (facts["date"], facts["commit"], kind) if part)
    (out / f"{name}.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    (out / f"{name}.md").write_text(report, encoding="utf-8")
    print(report, end="")
    print(f"written: {name}.md, {name}.json", file=sys.stderr)
