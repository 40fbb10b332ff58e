"""Keypoints from JSON files: the house's own layout (one file a clip), which follows OpenPose's.

The layout is described in ``docs/formats.md``. ``moodreel synth`` and ``moodreel keypoints`` write it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from moodreel.errors import DataError
from moodreel.types import ClipKeypoints, FloatArray

POINTS = 70
"""Points of a face in OpenPose's order: 0-67 as iBUG 68, then the pupils."""

CONFIDENT = 0.4
"""Points from this confidence on make the box of a face that states none: what OpenPose draws by default."""


@dataclass(frozen=True, eq=False)
class Person:
    """One face as a file states it.

    Attributes:
        keypoints: [70, 3] x, y in pixels and confidence.
        box: [4] left, top, right, bottom in pixels.
        track: id of the face along the clip, None where the file has none.
    """

    keypoints: FloatArray
    box: FloatArray
    track: int | None

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        return float((self.box[2] - self.box[0]) * (self.box[3] - self.box[1]))


@dataclass(frozen=True)
class FramePeople:
    """The faces of one frame.

    Attributes:
        index: which picture of the clip.
        time: seconds, NaN where the file does not say.
        people: in the order of the file; those without a single found point are left out.
    """

    index: int
    time: float
    people: tuple[Person, ...]


def read_keypoints(path: str | Path, track: int | None = None) -> ClipKeypoints:
    """Reads a clip's keypoint file and keeps one face a frame.

    Args:
        path: JSON file, one a clip, as ``moodreel synth`` and ``moodreel keypoints`` write.
        track: keep the face with this id; None keeps the largest box of each frame (of equal ones the first).

    Returns:
        A ClipKeypoints with a row for every frame of the file, those without a face included.

    Raises:
        DataError: the file cannot be read, is no such JSON, or holds values that are not allowed.
    """
    width, height, frames = read_people(path)
    keypoints, boxes = np.zeros((len(frames), POINTS, 3)), np.zeros((len(frames), 4))
    for row, frame in enumerate(frames):
        people = [person for person in frame.people if track is None or person.track == track]
        if people:
            largest = max(people, key=lambda person: person.area)
            keypoints[row], boxes[row] = largest.keypoints, largest.box
    return ClipKeypoints(
        frames=np.array([frame.index for frame in frames], dtype=np.int64),
        times=np.array([frame.time for frame in frames], dtype=np.float64),
        points=keypoints[..., :2] / (width, height),
        confidence=keypoints[..., 2],
        boxes=boxes / (width, height, width, height),
        width=width,
        height=height,
    )


def read_people(path: str | Path) -> tuple[int, int, list[FramePeople]]:
    """Reads a clip's keypoint file as it is: (width, height, frames).

    Raises:
        DataError: the file cannot be read, is no such JSON, or holds values that are not allowed.
    """
    content = load_json(path)
    width, height = (_whole(path, content.get(name), name, 1) for name in ("width", "height"))
    listed = content.get("frames")
    if not isinstance(listed, list):
        raise DataError(f"{path}: no list of frames")
    frames: list[FramePeople] = []
    for place, entry in enumerate(listed):
        where = f"frame {place}"
        if not isinstance(entry, dict):
            raise DataError(f"{path}: {where}: not an object")
        index = _whole(path, entry.get("index", place), f"{where}: index", 0)
        if frames and index <= frames[-1].index:
            raise DataError(f"{path}: {where}: index {index} is not above the one before")
        time = entry.get("time")
        if time is not None and (not _is_number(time) or time < 0):
            raise DataError(f"{path}: {where}: time {time!r} is no number of seconds")
        people = parse_people(path, entry, where)
        frames.append(FramePeople(index, math.nan if time is None else float(time), people))
    return width, height, frames


def load_json(path: str | Path) -> dict[str, Any]:
    """Reads a JSON object; NaN and infinity, which JSON does not have, are refused.

    Raises:
        DataError: the file cannot be read, or is none.
    """

    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is no number")

    try:
        content = json.loads(Path(path).read_bytes(), parse_constant=refuse)
    except OSError as error:
        raise DataError(f"{path}: {error.strerror or error}") from None
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise DataError(f"{path}: not JSON: {' '.join(str(error).split())}") from None
    if not isinstance(content, dict):
        raise DataError(f"{path}: not a JSON object")
    return content


def parse_people(path: str | Path, entry: dict[str, Any], where: str) -> tuple[Person, ...]:
    """The faces of one frame: ``people[].face_keypoints_2d``.

    A person with an empty list (OpenPose run without ``--face``) or without a single found point has no
    face. Confidence above 1, which OpenPose's peaks reach, counts as 1.

    Args:
        path: for messages.
        entry: the frame's object.
        where: for messages; "" for a file of one frame.

    Raises:
        DataError: there is no such list, or it holds other than 70 x 3 finite numbers.
    """
    place = f"{path}: {where}: " if where else f"{path}: "
    people = entry.get("people")
    if not isinstance(people, list):
        raise DataError(f"{place}no list of people")
    found = []
    for number, person in enumerate(people):
        label = f"{place}person {number}: "
        flat = person.get("face_keypoints_2d") if isinstance(person, dict) else None
        if not isinstance(flat, list):
            raise DataError(f"{label}no list face_keypoints_2d")
        if not flat:
            continue
        if len(flat) != POINTS * 3:
            raise DataError(
                f"{label}{len(flat)} numbers in face_keypoints_2d, expected {POINTS * 3} (x, y, confidence "
                f"of {POINTS} points)"
            )
        keypoints = _numbers(flat)
        if keypoints is None:
            raise DataError(f"{label}face_keypoints_2d holds what is no finite number")
        keypoints = keypoints.reshape(POINTS, 3)
        if (keypoints[:, 2] < 0).any():
            raise DataError(f"{label}a negative confidence")
        keypoints[:, 2] = np.minimum(keypoints[:, 2], 1)
        keypoints[keypoints[:, 2] == 0] = 0
        if not keypoints[:, 2].any():
            continue
        box = person.get("box")
        if box is None:
            corners: FloatArray | None = box_of(keypoints)
        else:
            corners = _numbers(box) if isinstance(box, list) and len(box) == 4 else None
        if corners is None or (corners[2:] < corners[:2]).any():
            raise DataError(f"{label}box {box!r} is not [left, top, right, bottom]")
        track = person.get("track")
        if track is not None:
            track = _whole(path, track, f"{label.removeprefix(f'{path}: ')}track", 0)
        found.append(Person(keypoints, corners, track))
    return tuple(found)


def box_of(keypoints: FloatArray) -> FloatArray:
    """[4] left, top, right, bottom around the confident points of [70, 3]; all found ones if < 3."""
    confident = keypoints[:, 2] >= CONFIDENT
    if confident.sum() < 3:
        confident = keypoints[:, 2] > 0
    places = keypoints[confident, :2]
    return np.concatenate([places.min(axis=0), places.max(axis=0)])


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


def _numbers(values: list[Any]) -> FloatArray | None:
    """[n] float64, or None where one is no finite number."""
    if any(type(value) is not float and type(value) is not int for value in values):
        return None
    try:
        array = np.array(values, dtype=np.float64)
    except OverflowError:  # a whole number of 400 digits
        return None
    return array if np.isfinite(array).all() else None


def _whole(path: str | Path, value: object, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 31:
        raise DataError(f"{path}: {name} {value!r}: expected a whole number of at least {least}")
    return value
