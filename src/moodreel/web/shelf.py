"""The folder of the library's clips: what lies in it, and pictures drawn of it.

A path leads to a file only inside the folder, links resolved. What a browser gets is never the file itself
but pictures that we have drawn of it.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from pathlib import Path
from threading import Lock

from moodreel.errors import require
from moodreel.media import encode_webp
from moodreel.media.pool import DecoderPool
from moodreel.report.overlay import OverlaySettings, plan_frames
from moodreel.web.problems import Problem
from moodreel.web.reading import Watch, open_clip

SMALL = OverlaySettings(side=208, seconds=4, frames=20, quality=50, effort=1)
"""Of a thumbnail."""

LARGE = OverlaySettings(side=400, seconds=12, frames=120, quality=60, effort=1)
"""Of a clip to vote on."""

SHORTEST = 0.05
"""Seconds of a drawn picture, at least."""

KEPT_BYTES = 64 << 20
"""Drawn animations held in memory."""


class Shelf:
    """Clips of a folder.

    Args:
        root: nothing outside it is read.
        decoders: at least one for each thread that draws; their limits are what a clip may cost.

    Raises:
        SettingsError: the root is no folder.
    """

    def __init__(self, root: Path, decoders: DecoderPool) -> None:
        require(root.is_dir(), "media", str(root), "a folder")
        self.root = Path(os.path.realpath(root))
        self.decoders = decoders
        self._drawn: OrderedDict[tuple[str, int, OverlaySettings, bool], bytes] = OrderedDict()
        self._held = 0
        self._lock = Lock()

    def locate(self, path: str) -> Path:
        """The file of a path, as a table has it.

        A relative path is tried from the working directory, the folder, and the one above it, as tables are
        written from any of them.

        Raises:
            Problem: there is no such file in the folder (404).
        """
        for start in (Path.cwd(), self.root, self.root.parent):
            try:
                real = Path(os.path.realpath(start / path))
                if real.is_relative_to(self.root) and real.is_file():
                    return real
            except (OSError, ValueError):  # a name that is none: too long, a NUL in it
                continue
        raise Problem(404, "no_file", "the clip is not in the library's folder")

    def draw(self, path: str, settings: OverlaySettings, watch: Watch, is_still: bool = False) -> bytes:
        """A clip as WebP, kept for the next time.

        Args:
            path: as of :meth:`locate`.
            settings: its size.
            watch: of the work.
            is_still: whether only its first picture is wanted.

        Raises:
            Problem: there is no such file (404).
            MediaError: it cannot be read, or nobody waits for it any more.
        """
        file = self.locate(path)
        key = (str(file), file.stat().st_mtime_ns, settings, is_still)
        with self._lock:
            if (kept := self._drawn.get(key)) is not None:
                self._drawn.move_to_end(key)
                return kept
        drawn = self._draw(file, settings, watch, is_still)
        with self._lock:
            if key not in self._drawn:
                self._drawn[key] = drawn
                self._held += len(drawn)
            while self._held > KEPT_BYTES and len(self._drawn) > 1:
                self._held -= len(self._drawn.popitem(last=False)[1])
        return drawn

    def _draw(self, file: Path, settings: OverlaySettings, watch: Watch, is_still: bool) -> bytes:
        media = open_clip(file, file.name, self.decoders, watch)
        plan = plan_frames(media, settings, SHORTEST)
        longer = max(media.height, media.width)
        scale = min(1.0, (settings.side or longer) / longer)
        size = (max(1, round(media.height * scale)), max(1, round(media.width * scale)))
        count = 1 if is_still else len(plan.indices)
        frames = (frame for _, frame in media.read_resized(plan.indices[:count], size))
        return encode_webp(frames, plan.durations[:count], 0, settings.quality, settings.effort)


def list_clips(root: Path) -> list[str]:
    """Paths of the clips in a folder, relative to it, sorted; links that lead out of it are left out."""
    from moodreel.runtime.batch import Inputs, list_roots, stream_inputs

    found = stream_inputs(list_roots([str(root)], None, Inputs()), Inputs())
    inside = (entry for entry in found if Path(os.path.realpath(entry.path)).is_relative_to(root))
    return [entry.relative for entry in inside if not entry.closed]
