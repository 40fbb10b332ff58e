"""The verb ``doctor``."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from moodreel.cli.console import FAILED, write


def doctor(
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON a check.")] = False,
) -> None:
    """Examine this installation: packages, extras, engines, decoders, a prediction of every model."""
    import json
    from dataclasses import asdict

    from moodreel.report.terminal import Style, clean, format_columns
    from moodreel.runtime.doctor import examine

    checks = []
    for check in examine():
        checks.append(check)
        if as_json:
            write(json.dumps(asdict(check), ensure_ascii=False) + "\n")
    if not as_json:
        signs = {True: "ok", False: "FAULT", None: "-"}
        rows = [(c.part, c.name, signs[c.ok], clean(c.detail)) for c in checks]
        write(format_columns(("part", "name", "", "detail"), rows, Style(sys.stdout)))
    if any(check.ok is False for check in checks):
        raise typer.Exit(FAILED)
