"""A clip as CACA-RNN sees it: the frames of a clock, and one face along them.

Sun et al., Context-aware Cascade Attention-based RNN for Video Emotion Recognition (2018), Sec. V-B and V-C:
5 frames a second; each detected face, cropped and scaled, beside the whole frame, centre-cropped and scaled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from moodreel.faces.crop import crop_centre, crop_face
from moodreel.faces.detect import Detector
from moodreel.faces.track import DEFAULT, TrackSettings, track_faces
from moodreel.media import Media, frames_nearest, rate_times, segment_times
from moodreel.types import FaceTrack, FloatArray, IntArray, UInt8Array


@dataclass(frozen=True, eq=False)
class Ticks:
    """The instants at which a clip is looked at.

    Attributes:
        times: [S] seconds.
        pictures: [S] int64, the picture of the clip that starts nearest to each; one may stand twice.
    """

    times: FloatArray
    pictures: IntArray

    def __len__(self) -> int:
        return len(self.times)


@dataclass(frozen=True, eq=False)
class FacePath:
    """One face along the ticks of a clip.

    Attributes:
        id: of its track.
        ticks: [M] int64, which ticks show it, ascending.
        boxes: [M, 4] left, top, right, bottom, 0-1 of the frame; may reach beyond it.
    """

    id: int
    ticks: IntArray
    boxes: FloatArray

    def __len__(self) -> int:
        return len(self.ticks)


@dataclass(frozen=True, eq=False)
class Look:
    """One picture of a clip, cut for the two streams.

    Attributes:
        picture: its index in the clip.
        context: [S, S, 3] uint8, the frame's middle square.
        faces: [k, F, F, 3] uint8, the faces that were asked for, in their order.
    """

    picture: int
    context: UInt8Array
    faces: UInt8Array


def choose_ticks(
    starts: npt.ArrayLike, duration: float, fps: float, limit: int, offset: float = 0.0
) -> Ticks:
    """Ticks ``offset + k / fps``, each with the picture nearest to it.

    A clip that would have more than ``limit`` is cut into so many equal segments of time instead, and seen
    at their middles: end to end, only more sparsely.

    Args:
        starts: [T] seconds, of the clip's pictures.
        duration: seconds, of the clip.
        fps: ticks a second.
        limit: ticks at most.
        offset: seconds of the first tick; in a clip that ends before, the first tick is at 0.
    """
    if duration * fps > limit:
        times = segment_times(duration, limit)
    else:
        times = rate_times(duration, fps, offset if offset < duration else 0.0)
    return Ticks(times, frames_nearest(starts, times))


def find_paths(
    media: Media, detector: Detector, ticks: Ticks, settings: TrackSettings = DEFAULT
) -> tuple[FacePath, ...]:
    """Finds the faces at the ticks of a clip and joins them along time.

    Returns:
        One path a face whose boxes have an area, the main one first: seen at most ticks, then largest (mean
        area), then earliest.

    Raises:
        MediaError: the content is broken.
        DataError: the detector reads files, and they are wrong.
    """
    pictures = np.unique(ticks.pictures)
    found = detector.detect(media, pictures.tolist())
    faces = [[face for face in seen if face.area > 0] for seen in found]  # a single point cannot be cut out
    tracks = track_faces(pictures, media.timeline.starts[pictures], faces, settings)
    paths = [(_place(track, ticks, (media.width, media.height)), track) for track in tracks]
    ranked = sorted(paths, key=lambda pair: (-len(pair[0]), -_mean_area(pair[1]), pair[0].id))
    return tuple(path for path, _ in ranked)


def read_looks(
    media: Media, boxes: Mapping[int, Sequence[FloatArray]], face_size: int, context_size: int
) -> Iterator[Look]:
    """Decodes the pictures that are wanted, one after another, and cuts them.

    Args:
        media: from :func:`moodreel.media.open_media`.
        boxes: picture -> the faces to cut out of it, each [4], 0-1 of the frame; a picture without any is
            still looked at for its context.
        face_size, context_size: sides of the results, pixels.

    Raises:
        MediaError: while iterating, when the content is broken.
    """
    for picture, frame in media.read(sorted(boxes)):
        cut = [crop_face(frame, box, face_size) for box in boxes[picture]]
        faces = np.stack(cut) if cut else np.zeros((0, face_size, face_size, 3), np.uint8)
        yield Look(picture, crop_centre(frame, context_size), faces)


def _place(track: FaceTrack, ticks: Ticks, size: tuple[int, int]) -> FacePath:
    """The ticks that show a track; two ticks may fall on one picture."""
    held = dict(zip(track.frames.tolist(), track.faces, strict=True))
    seen = [tick for tick, picture in enumerate(ticks.pictures.tolist()) if picture in held]
    boxes = np.stack([held[int(ticks.pictures[tick])].box for tick in seen])
    return FacePath(track.id, np.array(seen, np.int64), boxes / np.tile(size, 2))


def _mean_area(track: FaceTrack) -> float:
    return float(np.mean([face.area for face in track.faces]))
