"""Faces of single frames joined along time: one id a face."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from moodreel.errors import SettingsError
from moodreel.faces.detect import Detector
from moodreel.media import Media, frames_nearest, rate_times
from moodreel.types import ClipFaces, Face, FaceTrack, FloatArray


@dataclass(frozen=True)
class TrackSettings:
    """How faces are joined.

    Attributes:
        gap: seconds between two sights of a face that keeps its id though frames between them lack it. From
            one frame that is looked at to the next it may always go on, however far apart they are.
        overlap: intersection over union from which two boxes are one face.
        reach: boxes that overlap less are one face when their centres are at most this many sides apart (a
            side is the root of an area, averaged over the two) ...
        resize: ... and the longer side is at most so many times the other.
        window: seconds before its last sight over which a face's motion is measured.

    Raises:
        SettingsError: a field has a value that is not allowed.
    """

    gap: float = 0.5
    overlap: float = 0.2
    reach: float = 0.75
    resize: float = 1.6
    window: float = 0.3

    def __post_init__(self) -> None:
        for name, least, most in [
            ("gap", 0, None), ("overlap", 0, 1), ("reach", 0, None), ("resize", 1, None), ("window", 0, None)
        ]:  # fmt: skip
            value = getattr(self, name)
            if not np.isfinite(value) or value < least or (most is not None and value > most):
                allowed = f"from {least} to {most}" if most is not None else f"finite, at least {least}"
                raise SettingsError(f"TrackSettings.{name}", value, allowed)


DEFAULT = TrackSettings()


def find_faces(
    media: Media, detector: Detector, fps: float | None = None, settings: TrackSettings = DEFAULT
) -> ClipFaces:
    """Finds the faces of a clip and joins them along time.

    Args:
        media: from :func:`moodreel.media.open_media`.
        detector: who finds them.
        fps: look only at the frames that start nearest to the ticks of a clock, so many a second; None looks
            at every frame. Times stay those of the file.
        settings: of the joining.

    Raises:
        MediaError: the content is broken.
        SettingsError: fps is not allowed.
        DataError: the detector reads files, and they are wrong.
    """
    starts = media.timeline.starts
    indices = np.arange(len(media))
    if fps is not None:
        indices = np.unique(frames_nearest(starts, rate_times(media.duration, fps)))
    faces = list(detector.detect(media, indices.tolist()))
    return ClipFaces(
        source=media.source,
        detector=detector.name,
        width=media.width,
        height=media.height,
        frames=indices.astype(np.int64),
        times=starts[indices],
        tracks=track_faces(indices, starts[indices], faces, settings),
    )


def track_faces(
    frames: npt.ArrayLike,
    times: npt.ArrayLike,
    faces: Sequence[Sequence[Face]],
    settings: TrackSettings = DEFAULT,
) -> tuple[FaceTrack, ...]:
    """Joins the faces of single frames along time.

    Where a face is expected follows from its motion: a straight line through its centres over the last
    moments (``window``), in true seconds, so that it holds for uneven frames and faces that pass each other.
    The expected box is compared with those found: pairs that overlap first, the largest intersection over
    union first; then pairs that do not, the nearest first. Weak faces come last: each may go on with a track
    that has no other and overlaps it, and is else forgotten (Zhang et al., ByteTrack, 2022, Sec. 3). What is
    left of the others begins a new track: the largest face first, then from the left. The order in which a
    detector names the faces of a frame changes nothing.

    A cut in the film is not looked for: a face that takes another's place keeps its id.

    Args:
        frames: [F] which pictures of the clip.
        times: [F] seconds, non-decreasing.
        faces: F lists.
        settings: see there.

    Returns:
        The tracks, in the order of their ids: that of their first frames.

    Raises:
        SettingsError: the three do not agree in length, or the times go back.
    """
    index, when = np.asarray(frames, dtype=np.int64), np.asarray(times, dtype=np.float64)
    if index.shape != (len(faces),) or when.shape != index.shape:
        raise SettingsError("frames, times, faces", [len(index), len(when), len(faces)], "of one length")
    if (np.diff(when) < 0).any():
        raise SettingsError("times", when.tolist()[:8], "non-decreasing seconds")
    tracker = Tracker(settings)
    tracks: dict[int, list[tuple[int, float, Face]]] = {}
    for number, time, found in zip(index.tolist(), when.tolist(), faces, strict=True):
        for id_, face in tracker.add(time, found):
            tracks.setdefault(id_, []).append((number, time, face))
    joined = []
    for id_ in sorted(tracks):
        numbers, seen, own = zip(*tracks[id_], strict=True)
        joined.append(FaceTrack(id_, np.array(numbers), np.array(seen), own))
    return tuple(joined)


class Tracker:
    """Joins faces frame by frame, as :func:`track_faces` says; what it holds does not grow with the clip.

    Args:
        settings: see there.

    Attributes:
        settings: as given.
        count: tracks so far; their ids are 0, 1, 2 ...
    """

    def __init__(self, settings: TrackSettings = DEFAULT) -> None:
        self.settings = settings
        self.count = 0
        self._live: list[_Track] = []
        self._looked = 0

    def add(self, time: float, faces: Sequence[Face]) -> list[tuple[int, Face]]:
        """Joins the faces of the next frame.

        Args:
            time: seconds, not before that of the last frame.
            faces: in any order.

        Returns:
            (id, face) of each, new tracks last.
        """
        settings, before = self.settings, self._looked
        self._looked += 1
        self._live = [
            track
            for track in self._live
            if track.frame == before or time - track.times[-1] <= settings.gap + 1e-9
        ]
        expected = [(track, track.predict(time)) for track in self._live]
        sure = sorted((face for face in faces if not face.is_weak), key=_rank)
        weak = sorted((face for face in faces if face.is_weak), key=_rank)
        joined = _join(expected, sure, settings)
        seen = {id(part) for pair in joined for part in pair}
        lost = [(track, box) for track, box in expected if id(track) not in seen]
        joined += _join(lost, weak, replace(settings, reach=0.0))  # nearness is not enough
        for face in sure:
            if id(face) not in seen:
                joined.append((_Track(self.count), face))
                self._live.append(joined[-1][0])
                self.count += 1
        for track, face in joined:
            track.add(self._looked, time, face, settings.window)
        return [(track.id, face) for track, face in joined]


@dataclass(eq=False)
class _Track:
    """A track while it grows: the sights of its last moments.

    Attributes:
        id: of the track.
        frame: the last that shows it, counted from 1 among those looked at.
        times: [n] seconds, the last ``window`` of the track.
        faces: n.
    """

    id: int
    frame: int = 0
    times: list[float] = field(default_factory=list)
    faces: list[Face] = field(default_factory=list)

    def add(self, frame: int, time: float, face: Face, window: float) -> None:
        self.frame = frame
        self.times.append(time)
        self.faces.append(face)
        begin = next(k for k, seen in enumerate(self.times) if seen >= time - window - 1e-9)
        del self.times[:begin], self.faces[:begin]

    def predict(self, time: float) -> FloatArray:
        """[4] the last box, moved as the centres of the last moments moved.

        The motion holds on for as long as it was seen, at most: after two frames nobody knows where a face is
        half a second later.
        """
        last: FloatArray = self.faces[-1].box
        seen = np.array(self.times, dtype=np.float64)
        seen -= seen.mean()
        spread = float((seen**2).sum())
        if spread <= 0:
            return last
        centres = np.array([(face.box[:2] + face.box[2:]) / 2 for face in self.faces])
        slope: FloatArray = seen @ (centres - centres.mean(axis=0)) / spread
        ahead = min(time - self.times[-1], self.times[-1] - self.times[0])
        return last + np.tile(slope * ahead, 2)


def _join(
    expected: Sequence[tuple[_Track, FloatArray]], faces: Sequence[Face], settings: TrackSettings
) -> list[tuple[_Track, Face]]:
    """Tracks with the faces that go on with them, the most alike first; the earlier of two alike."""
    pairs = [
        (likeness, -track.id, -place, track, face)
        for track, box in expected
        for place, face in enumerate(faces)
        if (likeness := _compare(box, face.box, settings)) is not None
    ]
    joined: list[tuple[_Track, Face]] = []
    taken: set[int] = set()
    for _, _, _, track, face in sorted(pairs, key=lambda pair: pair[:3], reverse=True):
        if id(track) not in taken and id(face) not in taken:
            taken |= {id(track), id(face)}
            joined.append((track, face))
    return joined


def _rank(face: Face) -> tuple[float, ...]:
    """Large before small, then from the left; the rest only makes the order whole."""
    return (-face.area, *face.box.tolist(), -(face.score or 0.0), *face.points.ravel().tolist())


def _compare(a: FloatArray, b: FloatArray, settings: TrackSettings) -> float | None:
    """How much two boxes are alike: 1 to 2 where they overlap, 0 to 1 where they are near, else None."""
    areas = [max((box[2] - box[0]) * (box[3] - box[1]), 1e-12) for box in (a, b)]
    shared = np.clip(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0, None).prod()
    union = sum(areas) - shared
    if shared > 0 and shared >= settings.overlap * union:
        return float(1 + shared / union)
    sides = np.sqrt(areas)
    reach = settings.reach * float(sides.mean())
    distance = float(np.hypot(*((a[:2] + a[2:]) / 2 - (b[:2] + b[2:]) / 2)))
    if distance > reach or sides.max() > settings.resize * sides.min():
        return None
    return 1 - distance / reach if reach else 0.0
