"""What a study was started with, and that it goes on with the same."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from moodreel import __version__
from moodreel.errors import DataError
from moodreel.lab.data.manifest import Manifest
from moodreel.lab.settings import Recipe

FEATURES = "features"
"""Folder of stored features inside a study's: it may be there before the study is."""


def list_facts(manifest: Manifest, path: Path, recipe: Recipe, rates: Sequence[float]) -> dict[str, Any]:
    """What every number of a study over seeds depends on, but row and seed.

    Args:
        manifest: its data.
        path: of the manifest, as it was named.
        recipe: of all rows.
        rates: learning rates that validation chooses from.
    """
    return {
        "moodreel": __version__,
        "system": recipe.system,
        "name": manifest.name,
        "manifest": str(path),
        "sha256": manifest.digest,
        "recipe": recipe.to_dict(),
        "rates": list(rates),
    }


def refuse_change(
    out: Path, stored: Mapping[str, Any], facts: Mapping[str, Any], free: Collection[str] = ()
) -> None:
    """Compares what a study was started with and what it is asked to go on with.

    Args:
        out: folder of the study.
        stored, facts: of JSON's types.
        free: facts that may differ, say the path of a manifest whose hash is another fact.

    Raises:
        DataError: a fact differs, was added or is gone; names it, say ``recipe.train.epochs``.
    """
    before, now = ({k: v for k, v in side.items() if k not in free} for side in (stored, facts))
    change = _find_change(before, now)
    if change is not None:
        name, old, new = change
        raise DataError(
            f"{out}: holds a study with another {name} ({_short(old)}; now {_short(new)}); "
            "choose another folder"
        )


def refuse_others(out: Path) -> None:
    """Refuses a folder that holds something, but no study.

    Raises:
        DataError: it does.
    """
    if out.is_dir() and any(entry.name != FEATURES for entry in out.iterdir()):
        raise DataError(f"{out}: is not empty and holds no study")


def read_json(path: Path) -> dict[str, Any]:
    """An object from a file.

    Raises:
        DataError: it is not readable, or no object.
    """
    try:
        content = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: not readable: {error}") from error
    if not isinstance(content, dict):
        raise DataError(f"{path}: expected an object, got {_short(content)}")
    return content


def _find_change(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[str, Any, Any] | None:
    """The first fact that differs, by its dotted name, and both values; None for no such fact."""
    for name in [*now, *(name for name in before if name not in now)]:
        old, new = before.get(name), now.get(name)
        if isinstance(old, dict) and isinstance(new, dict):
            change = _find_change(old, new)
            if change is not None:
                return f"{name}.{change[0]}", *change[1:]
        elif old != new or (name in before) != (name in now):
            return name, old, new
    return None


def _short(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
