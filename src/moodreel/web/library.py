"""The library: a result table to search in, and thumbnails of its clips.

A row's path leads to a file only inside the library's folder, links resolved. What a browser gets is never
the file itself but pictures that we have drawn of it.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any

from moodreel.emotions import QUADRANTS
from moodreel.errors import LimitExceeded, MediaError, require
from moodreel.media import Limits, encode_webp, open_media
from moodreel.report.overlay import OverlaySettings, plan_frames
from moodreel.runtime.schema import SYSTEMS
from moodreel.types import Result
from moodreel.web.problems import Problem
from moodreel.web.reading import Watch, WatchedMedia

if TYPE_CHECKING:
    from moodreel.runtime.search import Hit, Positions, Table

THUMB = OverlaySettings(side=208, seconds=4, frames=20)
"""Of a thumbnail."""

QUALITY, EFFORT = 50, 1
"""Of its WebP."""

SHORTEST = 0.05
"""Seconds of a thumbnail's picture, at least."""

KEPT_BYTES = 48 << 20
"""Thumbnails held in memory."""

MOST_POINTS = 4000
"""Points of the map; of more, every second, third, ..."""


class Library:
    """A table and its clips.

    Args:
        table: opened.
        root: folder in which the clips lie; nothing outside it is read.
        limits: what a clip may cost.
        seconds: that a thumbnail may take.

    Raises:
        SettingsError: the root is no folder.
    """

    def __init__(self, table: Table, root: Path, limits: Limits, seconds: float) -> None:
        require(root.is_dir(), "media", str(root), "a folder")
        self.table = table
        self.root = Path(os.path.realpath(root))
        self._limits, self._seconds = limits, seconds
        self._thumbs: OrderedDict[tuple[str, int], bytes] = OrderedDict()
        self._held = 0
        self._lock = Lock()
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

    def locate(self, path: str) -> Path:
        """The file of a row.

        A relative path is tried from the working directory, the library's folder, and the one above it, as
        tables are written from either.

        Args:
            path: as the table has it.

        Raises:
            Problem: there is no such file in the library (404).
        """
        for start in (Path.cwd(), self.root, self.root.parent):
            try:
                real = Path(os.path.realpath(start / path))
                if real.is_relative_to(self.root) and real.is_file():
                    return real
            except (OSError, ValueError):  # a name that is none: too long, a NUL in it
                continue
        raise Problem(404, "no_file", "the clip is not in the library's folder")

    def draw_thumb(self, row: int, watch: Watch) -> bytes:
        """A small animation of a row's clip, as WebP.

        Raises:
            Problem: there is no such row or no such file (404).
            MediaError: it cannot be read.
        """
        path = self.locate(self.get(row).values["path"] or "")
        key = (str(path), path.stat().st_mtime_ns)
        with self._lock:
            if (kept := self._thumbs.get(key)) is not None:
                self._thumbs.move_to_end(key)
                return kept
        if watch.is_cancelled:  # scrolled past while it waited
            raise LimitExceeded(path.name, "given up: nobody waits for it any more")
        watch.start()
        drawn = self._draw(path, watch)
        with self._lock:
            if key not in self._thumbs:
                self._thumbs[key] = drawn
                self._held += len(drawn)
            while self._held > KEPT_BYTES and len(self._thumbs) > 1:
                self._held -= len(self._thumbs.popitem(last=False)[1])
        return drawn

    def _draw(self, path: Path, watch: Watch) -> bytes:
        try:
            media = WatchedMedia(open_media(path, self._limits), path.name, watch)
        except MediaError as error:
            raise type(error)(path.name, error.reason.replace(str(path), path.name)) from None
        plan = plan_frames(media, THUMB, SHORTEST)
        longer = max(media.height, media.width)
        scale = min(1.0, (THUMB.side or longer) / longer)
        size = (max(1, round(media.height * scale)), max(1, round(media.width * scale)))
        frames = (frame for _, frame in media.read_resized(plan.indices, size))
        return encode_webp(frames, plan.durations, 0, QUALITY, EFFORT)

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
