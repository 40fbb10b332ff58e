"""How much of STA's attention lies on eyes and mouth (its Fig. 5 shows it; here it is measured).

Eyes and mouth are boxes around the points that are known of them, in the aligned picture that the network
saw, a little larger than the points reach.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from moodreel.faces.align import Alignment, align_faces
from moodreel.faces.openpose import OpenPoseFiles
from moodreel.faces.video import FaceStream, bind_detector, pick_frames, read_face_ticks
from moodreel.lab.data.manifest import Row
from moodreel.media import frames_nearest, open_media, rate_times
from moodreel.types import BoolArray, Face

EYES = (slice(36, 42), slice(42, 48))
MOUTH = slice(48, 68)

MARGIN = 0.04
"""By how much a region reaches beyond its points, in sides of the picture."""


@dataclass(frozen=True, eq=False)
class Regions:
    """Cells of a picture: [S, S] bool each.

    Attributes:
        eyes, mouth: whether the cell's middle lies in the region.
    """

    eyes: BoolArray
    mouth: BoolArray


@dataclass(frozen=True)
class RegionScores:
    """Attention of one picture, 0 to 1.

    Attributes:
        mass: share on eyes and mouth together.
        mass_chance: the share of even attention: their area.
        eyes, mouth: share on each.
        eyes_chance, mouth_chance: their areas.
        pointing: 1 where the strongest cell lies in one of them.
    """

    mass: float
    mass_chance: float
    eyes: float
    eyes_chance: float
    mouth: float
    mouth_chance: float
    pointing: float


def find_faces(row: Row, fps: float) -> list[Sequence[Face]]:
    """The faces that a row's keypoints state at each tick.

    Raises:
        DataError, MediaError: keypoints or clip are wrong.
    """
    assert row.keypoints is not None
    media = open_media(row.clip)
    finder = bind_detector(OpenPoseFiles(row.keypoints), media, fps)
    starts = media.timeline.starts
    known = {time: finder(frame, time) for frame, time in pick_frames(media, fps)}
    nearest = frames_nearest(starts, rate_times(media.duration, fps))
    return [known[float(starts[index])] for index in nearest.tolist()]


def mask_clip(row: Row, fps: float, size: int) -> list[Regions | None]:
    """Regions at each tick of a clip, in the pictures that training sees; None where they are not known.

    Raises:
        DataError, MediaError: keypoints or clip are wrong.
    """
    assert row.keypoints is not None
    media = open_media(row.clip)
    stream = FaceStream(bind_detector(OpenPoseFiles(row.keypoints), media, fps), size, fps)
    return [
        None if tick.place is None else mask_regions(faces, tick.place, size)
        for tick, faces in zip(read_face_ticks(media, stream), find_faces(row, fps), strict=True)
    ]


def mask_regions(faces: Sequence[Face], place: Alignment, size: int) -> Regions | None:
    """Regions of the face that a picture shows.

    Args:
        faces: of the frame.
        place: of the picture in it, one cut-out.
        size: cells a side.

    Returns:
        None where no face lies there, or its eyes or its mouth are not known (two points each).
    """
    whole = align_faces(faces, np.zeros(len(faces)), 0.0)
    if not whole.found.any():
        return None
    far = np.where(whole.found, np.hypot(*(whole.centres - place.centres[0]).T), np.inf)
    nearest = int(far.argmin())
    if far[nearest] > np.hypot(*place.sides[0]) / 2:
        return None
    face = faces[nearest]
    boxes = [_box(face, part, place, size) for part in (*EYES, MOUTH)]
    left, right, mouth = boxes
    if left is None or right is None or mouth is None:
        return None
    return Regions(left | right, mouth)


def _box(face: Face, part: slice, place: Alignment, size: int) -> BoolArray | None:
    sure = face.confidence[part] > 0
    if sure.sum() < 2:
        return None
    points = place.place(0, face.points[part][sure])
    low, high = points.min(axis=0) - MARGIN, points.max(axis=0) + MARGIN
    middles = (np.arange(size) + 0.5) / size
    x, y = ((middles >= low[axis]) & (middles <= high[axis]) for axis in (0, 1))
    return np.asarray(y[:, None] & x[None, :])


def score_regions(attention: ArrayLike, regions: Regions) -> RegionScores:
    """Compares one map with the regions.

    Args:
        attention: [S, S], sums to 1. Of equal peaks the first counts.
        regions: of as many cells.
    """
    weight = np.asarray(attention, np.float64)
    both = regions.eyes | regions.mouth
    peak = np.unravel_index(int(weight.argmax()), weight.shape)
    return RegionScores(
        mass=float(weight[both].sum()),
        mass_chance=float(both.mean()),
        eyes=float(weight[regions.eyes].sum()),
        eyes_chance=float(regions.eyes.mean()),
        mouth=float(weight[regions.mouth].sum()),
        mouth_chance=float(regions.mouth.mean()),
        pointing=float(both[peak]),
    )


def mean_regions(scores: Sequence[RegionScores]) -> RegionScores:
    """The mean of each, of at least one."""
    return RegionScores(*np.mean([list(vars(each).values()) for each in scores], axis=0).tolist())
