"""One clip through one model, watched: how far it is, whether it takes too long, whether anyone waits."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.errors import LimitExceeded, MediaError, MoodreelError
from moodreel.media import Limits, Media
from moodreel.media.base import Mode, Stopwatch
from moodreel.media.pool import DecoderPool
from moodreel.report.overlay import Plan
from moodreel.report.scene import place_boxes
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.schema import BundleInfo
from moodreel.runtime.table import list_columns, make_row
from moodreel.types import Result, UInt8Array
from moodreel.web.problems import Problem

LARGE_BYTES = 8 << 20
"""A larger file is long work from its opening on."""

LONG_PIXELS = 500_000_000
"""Pixels of all pictures, from which a clip is long work."""

LONG_SECONDS = 10.0
"""Of a clip, from which it is long work for a model that looks for faces."""

FOLLOWS_FACES = frozenset({"caca-rnn", "sta"})
"""Systems that look for a face four or five times a second."""


class Watch:
    """Follows work on a clip: its progress, and whether anyone waits for it."""

    def __init__(self) -> None:
        self._is_cancelled = threading.Event()
        self.progress = 0.0

    def cancel(self) -> None:
        """Ends the work at its next picture."""
        self._is_cancelled.set()

    @property
    def is_cancelled(self) -> bool:
        """Whether nobody waits any more."""
        return self._is_cancelled.is_set()

    def step(self, source: str, share: float) -> None:
        """Takes note of progress.

        Raises:
            LimitExceeded: nobody waits any more.
        """
        self.progress = share
        if self.is_cancelled:
            raise LimitExceeded(source, "given up: nobody waits for it any more")


class WatchedMedia(Media):
    """An opened clip whose reading is watched.

    What is done with its pictures counts as time, too, so that a model that takes long is given up.

    Args:
        media: opened; its time is counted here from now on.
        name: to be shown.
        limits: ``seconds`` is what it may take, from :meth:`begin`.
        work: is told of each picture.
    """

    def __init__(self, media: Media, name: str, limits: Limits, work: Watch) -> None:
        clock = Stopwatch(name, limits, runs_on=True)
        super().__init__(name, media.timeline, media.width, media.height, clock)
        media.time_by(clock)
        self._media, self._clock, self.work = media, clock, work

    def begin(self) -> None:
        """Begins a piece of work: nothing is done, all the time is left."""
        self.work.progress = 0.0
        self._clock.restart()

    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        return self._follow(self._media.read(indices, mode))

    def _read_resized(self, indices: list[int], size: tuple[int, int]) -> Iterator[tuple[int, UInt8Array]]:
        return self._follow(self._media.read_resized(indices, size))

    def _follow(self, frames: Iterator[tuple[int, UInt8Array]]) -> Iterator[tuple[int, UInt8Array]]:
        try:
            for index, frame in frames:
                self.work.step(self.source, index / len(self))
                yield index, frame
        except MediaError as error:
            raise _rename(error, self._media.source, self.source) from None


def open_clip(path: Path, name: str, decoders: DecoderPool, watch: Watch) -> WatchedMedia:
    """Opens a clip in a process of its own: whatever it does to a decoder, the server stays.

    Args:
        path: of the file.
        name: to be shown.
        decoders: at least one for each thread that reads.
        watch: of the work.

    Raises:
        MediaError: it cannot be read, or nobody waits any more; the message has the name, not the path.
        NoDecoderError: no decoder can be started.
    """
    watch.step(name, 0.0)  # whoever wanted it may have gone while it waited
    try:
        return WatchedMedia(decoders.keep(path), name, decoders.limits, watch)
    except MediaError as error:
        raise _rename(error, str(path), name) from None


def _rename(error: MediaError, path: str, name: str) -> MediaError:
    """The same error under the client's name: where the server keeps its files is nobody's business."""
    return type(error)(name, error.reason.replace(path, name))


def is_long(media: Media, system: str | None) -> bool:
    """Whether reading a clip is long work.

    Args:
        media: opened.
        system: that reads it; None only draws it.
    """
    if len(media) * media.width * media.height > LONG_PIXELS:
        return True
    return system in FOLLOWS_FACES and media.duration > LONG_SECONDS


@dataclass(frozen=True, eq=False)
class Served:
    """A model that is served.

    Attributes:
        info: what its bundle says.
        size: bytes of the bundle.
        open: makes its recogniser; called once, when it is first wanted.
        problem: why it cannot be used here; None where it can.
    """

    info: BundleInfo
    size: int
    open: Callable[[], Recognizer]
    problem: str | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)

    @cached_property
    def _recognizer(self) -> Recognizer:
        return self.open()

    def read(self, media: WatchedMedia) -> Result:
        """Reads a clip, with its scores along time.

        Raises:
            MediaError: the clip cannot be read, or it takes too long.
            MoodreelError: the model cannot be used, or fails.
        """
        if self.problem is not None:
            raise Problem(503, "model_unavailable", self.problem)
        with self._lock:  # once, not by two threads at a time
            recognizer = self._recognizer
        media.begin()
        result = recognizer(media, per_frame=True)
        media.work.progress = 1.0
        return replace(result, source=media.source)


def try_read(served: Served, media: WatchedMedia) -> Result:
    """As :meth:`Served.read`, but a clip that cannot be read is a Result with ``error`` set."""
    try:
        return served.read(media)
    except MoodreelError as error:
        return fail(served.info, media.source, error)


def fail(info: BundleInfo, name: str, error: MoodreelError) -> Result:
    """The Result of a clip that could not be read."""
    reason = error.reason if isinstance(error, MediaError) else str(error)
    return Result(name, info.name, info.version, error=reason)


def describe(result: Result, info: BundleInfo) -> dict[str, Any]:
    """A result as JSON: its row of the result table with the scores along time, attention, and what of a
    scene was read.

    Args:
        result: of one clip.
        info: of its model.
    """
    described: dict[str, Any] = dict(make_row(result, list_columns(info.system, per_frame=True)))
    described["attention"] = None
    if result.attention is not None:
        count, height, width = result.attention.shape
        times = np.zeros(count) if result.attention_times is None else result.attention_times
        described["attention"] = {
            "times_s": _round(times),
            "height": height,
            "width": width,
            "maps": [_round(one.ravel()) for one in result.attention],
        }
    if result.scene is not None:
        scene = result.scene
        moments = None
        if scene.moments is not None and scene.moment_times is not None:
            moments = {"times_s": _round(scene.moment_times), "attention": _round(scene.moments)}
        described["face_boxes"] = {"times_s": _round(scene.times), "boxes": [_round(b) for b in scene.boxes]}
        described["moments"] = moments
    return described


def list_boxes(result: Result, media: Media, plan: Plan) -> list[list[float] | None] | None:
    """The box of the face that was read in each planned picture; None where no face was boxed."""
    if result.scene is None or result.faces is None or not len(result.scene.boxes):
        return None
    boxes = place_boxes(result.scene, media.timeline.starts, plan.indices)
    return [None if np.isnan(box).any() else _round(box) for box in boxes]


def choose_models(models: Mapping[str, Served], names: list[str]) -> list[Served]:
    """The models of some names, each once; without a name the first one.

    Raises:
        Problem: there is no such model (422), or it cannot be used here (503).
    """
    chosen = []
    for name in dict.fromkeys(names or [next(iter(models))]):
        if name not in models:
            raise Problem(422, "unknown_model", f"no model {name[:80]!r}; known: {', '.join(models)}")
        problem = models[name].problem
        if problem is not None:
            raise Problem(503, "model_unavailable", problem)
        chosen.append(models[name])
    return chosen


def _round(values: Any) -> list[float]:
    return [round(float(value), 5) + 0.0 for value in values]
