"""The verb ``models``."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from moodreel.cli.console import write


def models(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the models that ship with this version."""
    import json

    from moodreel.runtime.bundle import list_bundles, read_bundle

    bundles = [read_bundle(name) for name in list_bundles()]
    if as_json:
        facts = [{**json.loads(b.info.to_json()), "size_bytes": b.size} for b in bundles]
        write(json.dumps(facts, indent=2) + "\n")
        return
    from moodreel.report.terminal import Style, format_columns

    rows = []
    for bundle in bundles:
        info = bundle.info
        counts = (
            (len(getattr(info.supervised, kind)), len(getattr(info.labels, kind)), kind)
            for kind in ("emotions", "categories")
        )
        labels = ", ".join(f"{had} of {total} {kind}" for had, total, kind in counts if total)
        scores = ", ".join(f"{name} {value:.3g}" for name, value in _list_headline(info.scores))
        rows.append(
            (info.name, info.system, info.version, f"{bundle.size / 1e6:.1f} MB", labels, scores or "-")
        )
    header = ("name", "system", "version", "size", "labels", "scores")
    write(format_columns(header, rows, Style(sys.stdout)))


def _list_headline(scores: Any) -> list[tuple[str, float]]:
    """The scores to show of a bundle: those under "headline", else the first three numbers at the top."""
    chosen, most = (scores["headline"], None) if "headline" in scores else (scores, 3)
    return [(name, value) for name, value in chosen.items() if isinstance(value, int | float)][:most]
