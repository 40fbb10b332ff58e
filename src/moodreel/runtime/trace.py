"""Valence along time: a network of the system ``sta`` over windows of faces, blended into a value a tick.

One engine, :class:`Tracer`, takes frames and gives points. A file is read through it as a stream is, and the
network sees one window at a time, so that both give the same numbers to the last bit. What it holds does not
grow with the clip, but for ticks without a face: they wait for the next one, without pictures.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from moodreel.errors import BundleError, require
from moodreel.faces.align import Alignment
from moodreel.faces.video import FaceStream, FaceTick, pick_frames
from moodreel.media import Media
from moodreel.runtime.engine import Engine
from moodreel.runtime.postprocess import PostProcess, PostStream
from moodreel.types import Float32Array, FloatArray, UInt8Array

WINDOW = 16
"""Ticks that the network sees at once: 4 s (STA, Sec. 3.1)."""

OK, INTERPOLATED, NO_FACE = "ok", "interpolated", "no_face"
"""What ``status`` of a point may be."""


@dataclass(frozen=True)
class TraceSettings:
    """How windows are laid.

    Attributes:
        window: ticks that the network sees at once.
        stride: ticks from the start of one window to that of the next; fewer are smoother and cost more.

    Raises:
        SettingsError: a field has a value that is not allowed.
    """

    window: int = WINDOW
    stride: int = 8

    def __post_init__(self) -> None:
        require(self.window >= 1, "window", self.window, "ticks, at least 1")
        ok = 1 <= self.stride <= self.window
        require(ok, "stride", self.stride, f"ticks from 1 to {self.window}, the length of a window")

    @classmethod
    def of_window(cls, window: int, stride: int | None = None) -> TraceSettings:
        """Windows of a length that start, if nothing else is said, every half of it."""
        return cls(window, max(1, window // 2) if stride is None else stride)


DEFAULT = TraceSettings()


@dataclass(frozen=True, eq=False)
class TracePoint:
    """One row of a trace.

    Attributes:
        time: seconds: k / 4.
        valence: in [-1, 1]; None where the whole clip has no face.
        face: number of the face that was read, 1, 2 ...; 0 where none was found at this tick.
        status: :data:`OK`, :data:`INTERPOLATED` (no face here, but elsewhere) or :data:`NO_FACE`.
        picture: [S, S, 3] uint8 RGB, the aligned face; None without one.
        place: of the picture in its frame; None without one, or where the frame was taken whole.
        attention: [h, w] over the picture, sums to 1; None without a picture, or a network without attention.
    """

    time: float
    valence: float | None
    face: int
    status: str
    picture: UInt8Array | None = None
    place: Alignment | None = None
    attention: Float32Array | None = None


class Tracer:
    """Frames in, points out.

    The face that is followed (see :class:`moodreel.faces.video.FaceStream`) is read in stretches: a stretch
    is one face's turn. Windows start every ``stride`` ticks from its beginning; a last one ends where it
    ends. A stretch shorter than a window repeats its last picture, a tick inside one without the face shows
    the picture before. A tick's value is the mean over the windows that show it, each weighted by how far the
    tick is from the window's nearer edge (1 at the edge, then 2, 3 ...). The last window counts only for
    ticks that no earlier one has settled, since those may have been given already.

    A tick is given when no later window can show it and, without a face, when the next value is known. So a
    tick waits for up to ``window`` ticks after it, and those of a face that has gone until it is given up.
    Post-processing then goes over the points in order, those without a face filled in; a median adds half its
    width to the wait.

    Args:
        engine: runs the network: ``frames`` [1, window, S, S, 3] -> ``valence`` [1, window] and, if it has
            any, ``attention`` [1, window, h, w].
        faces: a new stream.
        settings: how windows are laid.
        keep_attention: whether points have their attention; where nobody looks at it, it costs time.
        post: what is done to the values; None: nothing.

    Raises:
        SettingsError: the post-processing has a shift.
    """

    def __init__(
        self,
        engine: Engine,
        faces: FaceStream,
        settings: TraceSettings = DEFAULT,
        keep_attention: bool = False,
        post: PostProcess | None = None,
    ) -> None:
        self.faces = faces
        self._post = None if post is None else PostStream(post)
        self._unprocessed: deque[TracePoint] = deque()
        self._engine, self._settings, self._keep = engine, settings, keep_attention
        ramp = np.arange(settings.window, dtype=np.float64)
        self._weights: list[float] = np.minimum(ramp + 1, settings.window - ramp).tolist()
        self._waiting: deque[_Tick] = deque()  # not given yet, in order
        self._anchor: tuple[float, float] | None = None  # time and value of the last tick with a face
        self._turn = 0  # the face of the stretch
        self._stretch: list[_Tick] = []  # its last ticks, a window's length
        self._length = 0  # its ticks so far

    def push(self, frame: UInt8Array, time: float) -> list[TracePoint]:
        """Takes the next frame; see :meth:`moodreel.faces.video.FaceStream.push`.

        Returns:
            The points that are known now, in order; often none.

        Raises:
            SettingsError: the frame or the time is not allowed.
            BundleError: the network fails, or gives what is not finite.
        """
        return self._process(self._take(self.faces.push(frame, time)))

    def finish(self, duration: float | None = None) -> list[TracePoint]:
        """Says that no frame follows; see :meth:`moodreel.faces.video.FaceStream.finish`.

        Returns:
            The points that are left.

        Raises:
            SettingsError: the duration is not allowed.
            BundleError: the network fails, or gives what is not finite.
        """
        points = self._take(self.faces.finish(duration))
        self._close()
        return self._process(points + self._give(True), is_end=True)

    def _process(self, points: list[TracePoint], is_end: bool = False) -> list[TracePoint]:
        """Puts values through the post-processing, which may hold some back."""
        if self._post is None:
            return points
        done: list[float] = []
        for point in points:
            if point.valence is None:  # then no tick of the clip has a face
                return points
            self._unprocessed.append(point)
            done += self._post.push(point.time, point.valence)
        if is_end:
            done += self._post.finish()
        return [replace(self._unprocessed.popleft(), valence=value) for value in done]

    def _take(self, ticks: Iterable[FaceTick]) -> list[TracePoint]:
        points = []
        for seen in ticks:
            settled = False
            if seen.face != self._turn:
                settled = self._close()
                self._turn = seen.face
            tick = _Tick(seen)
            self._waiting.append(tick)
            if seen.face:
                settled |= self._extend(tick)
            if settled:
                points += self._give(False)
        return points

    def _extend(self, tick: _Tick) -> bool:
        """Adds a tick to the stretch; whether a window was run."""
        window, stride = self._settings.window, self._settings.stride
        if tick.shown is None:  # a turn begins with a picture, so there is one before
            tick.shown = self._stretch[-1].shown
        self._stretch = [*self._stretch, tick][-window:]
        self._length += 1
        if self._length < window or (self._length - window) % stride:
            return False
        self._run()
        for done in self._stretch[:stride]:
            done.is_settled = True
        return True

    def _close(self) -> bool:
        """Ends the stretch; whether there was one."""
        stretch, window, stride = self._stretch, self._settings.window, self._settings.stride
        if stretch and (self._length < window or (self._length - window) % stride):
            self._run()
        for done in stretch:
            done.is_settled = True
        self._stretch, self._length, self._turn = [], 0, 0
        return bool(stretch)

    def _run(self) -> None:
        """Runs the network on the last window of the stretch; a short stretch repeats its last picture."""
        ticks = self._stretch
        pictures = [tick.shown for tick in ticks]
        pictures += pictures[-1:] * (self._settings.window - len(pictures))
        outputs = self._engine.run(np.stack(pictures)[None])  # type: ignore[arg-type]
        valence = outputs["valence"][0].astype(np.float64)
        attention = outputs["attention"][0] if self._keep and "attention" in outputs else None
        if not np.isfinite(valence).all() or (attention is not None and not np.isfinite(attention).all()):
            raise BundleError("the model gave scores that are not finite")
        for place, tick in enumerate(ticks):
            weight = self._weights[place]
            if tick.is_settled:
                continue
            tick.weight += weight
            tick.value += weight * float(valence[place])
            if attention is not None and tick.seen.found:
                share = np.float32(weight) * attention[place]
                tick.attention = share if tick.attention is None else tick.attention + share

    def _give(self, is_end: bool) -> list[TracePoint]:
        """The points whose values are known."""
        points: list[TracePoint] = []
        while self._waiting:
            following = next((k for k, tick in enumerate(self._waiting) if tick.seen.found), None)
            if following is None and not is_end:
                break
            if following is not None and not self._waiting[following].is_settled:
                break
            points += self._bridge(following)
            if following is not None:
                tick = self._waiting.popleft()
                points.append(tick.make_point())
                self._anchor = (tick.seen.time, tick.mean)
        return points

    def _bridge(self, following: int | None) -> list[TracePoint]:
        """The points of the ticks without a face before the one at ``following``, None for all that wait."""
        count = len(self._waiting) if following is None else following
        if count == 0:
            return []
        lost = [self._waiting.popleft().seen.time for _ in range(count)]
        known = [self._anchor] if self._anchor else []
        known += [(self._waiting[0].seen.time, self._waiting[0].mean)] if following is not None else []
        times = np.array(lost + [time for time, _ in known])
        values = np.array([math.nan] * count + [value for _, value in known])
        filled, status = fill_gaps(times, values, np.arange(len(times)) >= count)
        return [
            TracePoint(time, None if status[k] == NO_FACE else float(filled[k]), 0, status[k])
            for k, time in enumerate(lost)
        ]


@dataclass(eq=False)
class _Tick:
    """A tick that waits for its value.

    Attributes:
        seen: what the face stream gave.
        shown: the picture that windows show; where the face is missing, the one before.
        weight, value, attention: weighted sums over the windows so far.
        is_settled: whether no other window counts.
    """

    seen: FaceTick
    weight: float = 0.0
    value: float = 0.0
    attention: Float32Array | None = None
    is_settled: bool = False

    def __post_init__(self) -> None:
        self.shown = self.seen.picture

    @property
    def mean(self) -> float:
        """The value, in [-1, 1]: the network's output is linear and may go beyond."""
        return min(max(self.value / self.weight, -1.0), 1.0)

    def make_point(self) -> TracePoint:
        seen, attention = self.seen, self.attention
        if attention is not None:
            attention = (attention / np.float32(self.weight)).astype(np.float32)
        return TracePoint(seen.time, self.mean, seen.face, OK, seen.picture, seen.place, attention)


def fill_gaps(
    times: npt.ArrayLike, values: npt.ArrayLike, found: npt.ArrayLike
) -> tuple[FloatArray, list[str]]:
    """Values of dropped ticks, linear in time between their neighbours (STA, Sec. 3.1).

    Before the first known value and after the last one, the nearest holds.

    Args:
        times: [n] seconds, in any order.
        values: [n]; where nothing was found, anything.
        found: [n] whether the value is known.

    Returns:
        ([n] values, n statuses); without any known value all are NaN.
    """
    when, known = np.asarray(times, np.float64), np.asarray(found, bool)
    value = np.asarray(values, np.float64)
    if not known.any():
        return np.full(len(when), np.nan), [NO_FACE] * len(when)
    order = np.argsort(when[known], kind="stable")
    filled = np.where(known, value, np.interp(when, when[known][order], value[known][order]))
    return filled, [OK if is_known else INTERPOLATED for is_known in known.tolist()]


def trace_media(media: Media, tracer: Tracer) -> Iterator[TracePoint]:
    """The points of a whole clip, as they become known.

    Args:
        media: from :func:`moodreel.media.open_media`.
        tracer: a new one.

    Raises:
        MediaError: the content is broken.
        DataError: faces come from files, and they are wrong.
        BundleError: the network fails, or gives what is not finite.
    """
    for frame, time in pick_frames(media, tracer.faces.fps):
        yield from tracer.push(frame, time)
    yield from tracer.finish(media.duration)
