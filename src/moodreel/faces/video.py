"""One aligned face a tick of a clock, from a file or a stream alike: what STA looks at.

The paper of STA (Sec. 3.1) reads faces at 4 frames a second, found by dlib and mapped to fixed places. Here
an engine takes frames one after another and gives a tick as soon as it is known which frame is nearest to
it. A file goes through the same engine, so that a recording gives the numbers that were given live. What is
held does not grow with the clip: two frames, and the sights of half a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from moodreel.errors import DataError, require
from moodreel.faces.align import Alignment, align_faces, cut_face
from moodreel.faces.detect import Detector
from moodreel.faces.openpose import OpenPoseFiles
from moodreel.faces.track import DEFAULT, Tracker, TrackSettings
from moodreel.media import Media, frames_nearest, open_media, rate_times
from moodreel.types import Face, UInt8Array

FPS = 4.0
"""Ticks a second (STA, Sec. 3.1)."""

REACH = 5.0
"""Standard deviations over which an alignment is averaged; what lies further back weighs under 4e-6."""

_CLOSE = 1e-9
"""Seconds by which rounding may move a time."""

Finder: TypeAlias = "Callable[[UInt8Array, float], Sequence[Face]]"
"""A frame [H, W, 3] uint8 RGB and its seconds -> the faces in it."""


@dataclass(frozen=True, eq=False)
class FaceTick:
    """One tick of the clock.

    Attributes:
        time: seconds: k / fps.
        face: number of the face that is followed, 1, 2 ... in the order of their turns; 0 while none is.
        picture: [S, S, 3] uint8 RGB, the aligned face; None where it was not found.
        place: of the cut-out in the frame; None without a face, and where the whole frame is the face.
        width, height: of the frame, in pixels.
    """

    time: float
    face: int
    picture: UInt8Array | None
    place: Alignment | None
    width: int
    height: int

    @property
    def found(self) -> bool:
        """Whether there is a picture."""
        return self.picture is not None


class FaceStream:
    """Frames in, one aligned face a tick out.

    Ticks are k / fps seconds from 0 on while below the duration, at least one; each shows the frame that
    starts nearest to it (of two equally near, the earlier). A tick is given as soon as a frame after it has
    come.

    Which face: a stream does not know whose track will be the longest. The largest face of the first frame
    that has one is followed for as long as its track goes on: until it has been missing for more than
    ``tracking.gap`` seconds. Then the largest of the next frame that has one is. Only faces count whose eyes
    and nose are known (two of the three).

    The place of the cut-out is averaged over its past alone, with the Gaussian of
    :func:`moodreel.faces.align.align_faces`: no tick waits for later ones. (At 4 frames a second the frame
    before weighs 0.04 against 1.)

    Args:
        finder: who finds the faces of a frame; None takes the whole frame as the face, stretched to a square.
        size: S, pixels.
        fps: ticks a second.
        tracking: how faces are joined along time.
        smooth: standard deviation of the Gaussian in seconds; 0 leaves each frame to itself.

    Attributes:
        fps: as given.

    Raises:
        SettingsError: an argument is not allowed.
    """

    def __init__(
        self,
        finder: Finder | None,
        size: int = 64,
        fps: float = FPS,
        tracking: TrackSettings = DEFAULT,
        smooth: float = 0.1,
    ) -> None:
        require(size >= 1, "size", size, "at least 1")
        require(bool(np.isfinite(fps)) and fps > 0, "fps", fps, "frames a second, finite and > 0")
        require(bool(np.isfinite(smooth)) and smooth >= 0, "smooth", smooth, "seconds, finite and >= 0")
        self.fps = fps
        self._finder, self._size, self._smooth = finder, size, smooth
        self._tracker = Tracker(tracking)
        self._next = 0  # number of the next tick
        self._last: _Shot | None = None  # the latest frame
        self._before: _Shot | None = None  # the one before it
        self._is_finished = False
        self._turn = 0  # how many faces have been followed
        self._followed: int | None = None  # id of the track that is
        self._sights: list[tuple[float, Face]] = []  # of that track

    @property
    def faces(self) -> int | None:
        """Different faces seen so far, as far as they could be followed; None where none is looked for."""
        return None if self._finder is None else self._tracker.count

    def push(self, frame: UInt8Array, time: float) -> list[FaceTick]:
        """Takes the next frame.

        Args:
            frame: [H, W, 3] uint8 RGB; it is held until the next one comes, and must not change.
            time: seconds from the start: 0 for the first frame, then non-decreasing. Of several frames of one
                time the first counts, as when a file is read.

        Returns:
            The ticks that are known now, often none.

        Raises:
            SettingsError: the frame or the time is not allowed, or the stream was finished.
        """
        got = f"{frame.dtype} {list(frame.shape)}"
        is_rgb = frame.dtype == np.uint8 and frame.ndim == 3 and frame.shape[2] == 3 and 0 not in frame.shape
        require(is_rgb, "frame", got, "uint8 [H, W, 3], not empty")
        require(not self._is_finished, "push", "after finish()", "a new FaceStream")
        last = self._last
        if last is None:
            require(time == 0, "time", time, "0 for the first frame")
        else:
            require(bool(np.isfinite(time)) and time >= last.time, "time", time, f"at least {last.time}")
            if time == last.time:
                return []
        self._before, self._last = last, _Shot(frame, time)
        return self._give(time)

    def finish(self, duration: float | None = None) -> list[FaceTick]:
        """Says that no frame follows, and gives the ticks that are left.

        Args:
            duration: seconds of the whole; None lets the last frame last as long as the one before it (0
                where there is only one), as for a video that does not say.

        Returns:
            The ticks left; none where no frame was pushed, or on a second call.

        Raises:
            SettingsError: the duration ends before the last frame starts.
        """
        if self._is_finished or self._last is None:
            self._is_finished = True
            return []
        last = self._last.time
        if duration is None:
            duration = last + (last - self._before.time if self._before else 0.0)
        require(bool(np.isfinite(duration)) and duration >= last, "duration", duration, f"at least {last}")
        ticks = self._give(duration)
        if self._next == 0:
            ticks += [self._tick(self._last)]
        self._is_finished = True
        self._last = self._before = None
        return ticks

    def _give(self, end: float) -> list[FaceTick]:
        """The ticks below ``end``, from the two latest frames."""
        before, last = self._before, self._last
        assert last is not None
        ticks = []
        while (when := self._next / self.fps) < end - _CLOSE:
            # As frames_nearest: a tick halfway between two frames must not be tipped over by rounding.
            is_last = before is None or last.time - when < when - before.time - _CLOSE
            ticks.append(self._tick(last if is_last or before is None else before))
        return ticks

    def _tick(self, shot: _Shot) -> FaceTick:
        if shot.seen is None:
            shot.seen = self._look(shot.frame, shot.time)
        when = self._next / self.fps
        self._next += 1
        return replace(shot.seen, time=when)

    def _look(self, frame: UInt8Array, time: float) -> FaceTick:
        """Finds the face that is followed in a frame, once for all ticks that show it."""
        height, width = frame.shape[:2]
        if self._finder is None:
            return FaceTick(time, 1, _stretch(frame, self._size), None, width, height)
        gap = self._tracker.settings.gap
        found = self._tracker.add(time, self._finder(frame, time))
        faces = {id_: face for id_, face in found if align_faces([face], [time], 0.0).found[0]}
        if self._followed is not None and self._followed not in faces:
            if time - self._sights[-1][0] <= gap + _CLOSE:
                return FaceTick(time, self._turn, None, None, width, height)
            self._followed = None
        if self._followed is None:
            if not faces:
                return FaceTick(time, 0, None, None, width, height)
            self._followed = max(faces, key=lambda id_: (faces[id_].area, -id_))
            self._turn += 1
            self._sights = []
        oldest = time - REACH * self._smooth
        self._sights = [sight for sight in self._sights if sight[0] >= oldest]
        self._sights.append((time, faces[self._followed]))
        times, own = zip(*self._sights, strict=True)
        whole = align_faces(own, times, self._smooth)
        place = Alignment(whole.centres[-1:], whole.sides[-1:])
        return FaceTick(time, self._turn, cut_face(frame, place, 0, self._size), place, width, height)


@dataclass(eq=False)
class _Shot:
    """A frame that a tick may still show, and what was seen in it once it was looked at."""

    frame: UInt8Array
    time: float
    seen: FaceTick | None = None


def pick_frames(media: Media, fps: float = FPS) -> Iterator[tuple[UInt8Array, float]]:
    """The frames of a clip that a :class:`FaceStream` needs, with their seconds, decoded one after another.

    Pushing these alone gives the same ticks as pushing all: the nearest of all is the nearest of these.

    Raises:
        MediaError: while iterating, when the content is broken.
    """
    starts = media.timeline.starts
    for index, frame in media.read(_pick(media, fps)):
        yield frame, float(starts[index])


def _pick(media: Media, fps: float) -> list[int]:
    nearest = np.unique(frames_nearest(media.timeline.starts, rate_times(media.duration, fps)))
    picked: list[int] = nearest.tolist()
    return picked


def read_face_ticks(media: Media, stream: FaceStream) -> Iterator[FaceTick]:
    """The ticks of a whole clip.

    Args:
        media: from :func:`moodreel.media.open_media`.
        stream: a new one.

    Raises:
        MediaError: the content is broken.
        DataError: faces come from files, and they are wrong.
    """
    for frame, time in pick_frames(media, stream.fps):
        yield from stream.push(frame, time)
    yield from stream.finish(media.duration)


def bind_detector(detector: Detector, media: Media | None = None, fps: float = FPS) -> Finder:
    """A detector of clips as a finder of single frames.

    Args:
        detector: who finds the faces.
        media: the clip; None for a stream.
        fps: ticks a second; of keypoint files, only the frames at these are needed.

    Raises:
        DataError: the keypoint files are wrong, or of another clip, or there is no clip.
    """
    if not isinstance(detector, OpenPoseFiles):
        return lambda frame, time: next(detector.detect(open_media(frame), [0]))
    if media is None:
        raise DataError("keypoint files belong to a clip: a stream has none")
    picked = _pick(media, fps)
    times = media.timeline.starts[picked].tolist()
    known: dict[float, Sequence[Face]] = dict(zip(times, detector.detect(media, picked), strict=True))

    def recall(frame: UInt8Array, time: float) -> Sequence[Face]:
        return known[time]

    return recall


def _stretch(frame: UInt8Array, size: int) -> UInt8Array:
    from PIL import Image

    from moodreel.media.base import resize

    return resize(Image.fromarray(frame), (size, size))
