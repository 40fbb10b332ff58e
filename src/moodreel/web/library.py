"""The library: a result table to search in."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from moodreel.emotions import QUADRANTS
from moodreel.runtime.schema import SYSTEMS
from moodreel.types import Result
from moodreel.web.problems import Problem
from moodreel.web.reading import Watch
from moodreel.web.shelf import SMALL, Shelf

if TYPE_CHECKING:
    from moodreel.runtime.search import Hit, Positions, Table

ROWS_AT_ONCE = 8192

MOST_POINTS = 4000
"""Points of the map; of more, every second, third, ..."""


class Library:
    """A table and its clips.

    Args:
        table: opened.
        shelf: where the clips lie.
    """

    def __init__(self, table: Table, shelf: Shelf) -> None:
        self.table = table
        self.shelf = shelf
        stamp = f"{table.path.resolve()}:{table.count}:{table.path.stat().st_mtime_ns}"
        self.version = hashlib.sha256(os.fsencode(stamp)).hexdigest()[:12]

    def tell(self) -> dict[str, Any]:
        """What the page must know of the table."""
        return {
            "name": self.table.path.name,
            "version": self.version,
            "count": self.table.count,
            "is_complete": self.table.is_complete,
            "columns": [{"name": column.name, "kind": column.kind} for column in self.table.columns],
            "scores": list(self.table.scores),
            "bounds": {name: list(pair) for name, pair in self.table.bounds.items()},
            "quadrants": list(QUADRANTS) if self.table.has_quadrants else [],
        }

    def list_paths(self) -> list[str]:
        """Paths of the rows that could be read, each once, in the order of the table."""
        paths: dict[str, None] = {}
        for offset in range(0, self.table.count, ROWS_AT_ONCE):
            page = self.table.search("status = 'ok'", offset=offset, limit=ROWS_AT_ONCE)
            paths |= dict.fromkeys(hit.values["path"] for hit in page.rows if hit.values["path"])
        return list(paths)

    def draw_thumb(self, row: int, watch: Watch, is_still: bool = False) -> bytes:
        """A small animation of a row's clip, as WebP.

        Raises:
            Problem: there is no such row or no such file (404).
            MediaError: it cannot be read.
        """
        return self.shelf.draw(self.get(row).values["path"] or "", SMALL, watch, is_still)

    def get(self, row: int) -> Hit:
        """A row.

        Raises:
            Problem: there is none of this number (404).
        """
        if not 0 <= row < self.table.count:
            raise Problem(404, "no_row", f"the table has rows 0 to {self.table.count - 1}")
        return self.table.get(row)


def tell_hit(hit: Hit) -> dict[str, Any]:
    """A row as JSON; what is no number there is null."""
    values = {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in hit.values.items()
    }
    return {"row": hit.row, "distance": hit.distance, "values": values}


def tell_positions(positions: Positions) -> dict[str, Any]:
    """Places on the circumplex as JSON, thinned evenly."""
    step = max(1, -(-len(positions.row) // MOST_POINTS))
    return {
        "total": len(positions.row),
        "row": positions.row[::step].tolist(),
        "valence": [round(value, 3) for value in positions.valence[::step].tolist()],
        "arousal": [round(value, 3) for value in positions.arousal[::step].tolist()],
    }


def make_result(values: Mapping[str, Any]) -> Result:
    """A row of a table as the Result that it was made of, without what a table does not keep."""
    emotions = next((s.emotions for s in SYSTEMS.values() if s.emotions and s.emotions[0] in values), ())
    classes = next(
        (s.categories for s in SYSTEMS.values() if s.categories and _has_all(values, s.categories)), ()
    )
    error = None if values.get("status") == "ok" else (values.get("error") or "failed")
    return Result(
        source=values.get("path") or "",
        model=values.get("model") or "",
        model_version=values.get("model_version") or "",
        error=error,
        width=values.get("width"),
        height=values.get("height"),
        frames=values.get("frames"),
        duration=values.get("duration_s"),
        category=values.get("category"),
        confidence=values.get("confidence"),
        emotions={} if error else {name: values.get(name) for name in emotions},
        probabilities={} if error else {name: values.get(f"p_{name}") for name in classes},
        valence=values.get("valence"),
        arousal=values.get("arousal"),
        faces=values.get("faces"),
    )


def _has_all(values: Mapping[str, Any], names: tuple[str, ...]) -> bool:
    return all(f"p_{name}" in values for name in names)
