"""What a benchmark says of where it ran: machine, versions, commit."""

from __future__ import annotations

from pathlib import Path

from moodreel.runtime.machine import describe_machine
from moodreel.runtime.machine import name_commit as name_commit_of

ROOT = Path(__file__).resolve().parents[1]

__all__ = ["ROOT", "describe_machine", "name_commit"]


def name_commit() -> str:
    return name_commit_of(ROOT)
