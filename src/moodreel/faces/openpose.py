"""Keypoints from JSON files: one file a clip in the house's layout, or OpenPose's own, one file a frame.

The layouts are described in ``docs/formats.md``. The house's follows OpenPose's, so that one parser reads
both; ``moodreel synth`` and ``moodreel keypoints`` write it. Places in files and in :class:`Face` are pixels
of the full frame; :func:`read_keypoints` gives parts of it.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from moodreel.errors import DataError
from moodreel.media import Media
from moodreel.types import POINTS, ClipFaces, ClipKeypoints, Face, FloatArray

CONFIDENT = 0.4
"""Points from this confidence on make the box of a face that states none: those that OpenPose draws."""

VERSION = 1.3
"""Of OpenPose's layout, which the house's follows."""

_FRAME_FILE = re.compile(r"(.*)_(\d{12})_keypoints\.json", re.DOTALL)

_SAME_TIME = 1e-3
"""Seconds by which two statements of one time may differ."""


@dataclass(frozen=True)
class FramePeople:
    """The faces of one frame, as a file states them.

    Attributes:
        index: which picture of the clip.
        time: seconds, NaN where the file does not say.
        faces: in the order of the file; people without a single found point are left out.
        tracks: one a face: its id along the clip, None where the file has none.
    """

    index: int
    time: float
    faces: tuple[Face, ...]
    tracks: tuple[int | None, ...]


def read_keypoints(
    path: str | Path, track: int | None = None, *, size: tuple[int, int] | None = None
) -> ClipKeypoints:
    """Reads the keypoints of a clip and keeps one face a frame.

    Args:
        path: JSON file, one a clip, as ``moodreel synth`` and ``moodreel keypoints`` write; or a folder of
            OpenPose's files ``NAME_000000000000_keypoints.json`` of one clip.
        track: keep the face with this id; None keeps the largest box of each frame (of equal ones the first).
        size: (width, height) of the frame in pixels. Needed with a folder, whose files do not say; checked
            against a file that does.

    Returns:
        A ClipKeypoints with a row for every frame of the file, those without a face included.

    Raises:
        DataError: a file cannot be read, is no such JSON, or holds values that are not allowed.
    """
    if Path(path).is_dir():
        if size is None:
            raise DataError(f"{path}: OpenPose's files do not state the size of the frame: it must be given")
        (width, height), frames = size, read_frame_files(path)
    else:
        width, height, frames = read_people(path)
        _check_size(path, (width, height), size)
    points, confidence = np.zeros((len(frames), POINTS, 2)), np.zeros((len(frames), POINTS))
    boxes = np.zeros((len(frames), 4))
    for row, frame in enumerate(frames):
        faces = [f for f, own in zip(frame.faces, frame.tracks, strict=True) if track is None or own == track]
        if faces:
            face = max(faces, key=lambda face: face.area)
            points[row], confidence[row], boxes[row] = face.points, face.confidence, face.box
    return ClipKeypoints(
        frames=np.array([frame.index for frame in frames], dtype=np.int64),
        times=np.array([frame.time for frame in frames], dtype=np.float64),
        points=points / (width, height),
        confidence=confidence,
        boxes=boxes / (width, height, width, height),
        width=width,
        height=height,
    )


def read_people(path: str | Path) -> tuple[int, int, list[FramePeople]]:
    """Reads a clip's keypoint file as it is: (width, height, frames).

    Raises:
        DataError: the file cannot be read, is no such JSON, or holds values that are not allowed.
    """
    content = _load_json(path)
    width, height = (_whole(f"{path}: ", content.get(name), name, 1) for name in ("width", "height"))
    listed = content.get("frames")
    if not isinstance(listed, list):
        raise DataError(f"{path}: no list of frames")
    frames: list[FramePeople] = []
    for place, entry in enumerate(listed):
        where = f"{path}: frame {place}: "
        if not isinstance(entry, dict):
            raise DataError(f"{where}not an object")
        index = _whole(where, entry.get("index", place), "index", 0)
        if frames and index <= frames[-1].index:
            raise DataError(f"{where}index {index} is not above the one before")
        time = entry.get("time")
        if time is not None and (not _is_number(time) or time < 0):
            raise DataError(f"{where}time {time!r} is no number of seconds")
        frames.append(_parse_frame(where, entry, index, math.nan if time is None else float(time)))
    return width, height, frames


def read_frame_files(folder: str | Path, name: str | None = None) -> list[FramePeople]:
    """Reads OpenPose's own files, ``NAME_000000000000_keypoints.json``, one a frame, in the order of frames.

    Args:
        folder: with the files.
        name: of the clip; None where the folder is one clip's.

    Raises:
        DataError: there are none, those of several clips where one is expected, or one holds values that are
            not allowed.
    """
    files = _list_frame_files(folder, name)
    if not files:
        raise DataError(f"{folder}: no {name or 'NAME'}_000000000000_keypoints.json")
    return [
        _parse_frame(f"{file}: ", _load_json(file), index, math.nan) for index, file in sorted(files.items())
    ]


def _list_frame_files(folder: str | Path, name: str | None) -> dict[int, Path]:
    try:
        names = [entry.name for entry in Path(folder).iterdir()]
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror or error}") from None
    found = [match for match in map(_FRAME_FILE.fullmatch, names) if match and name in (None, match[1])]
    clips = sorted({match[1] for match in found})
    if len(clips) > 1:
        raise DataError(f"{folder}: files of {len(clips)} clips ({clips[0]!r}, {clips[1]!r} ...)")
    return {int(match[2]): Path(folder) / match[0] for match in found}


class OpenPoseFiles:
    """Faces that were found elsewhere, as a detector: it reads files instead of looking at frames.

    Of a clip ``NAME.gif`` it reads the first that is there: ``FOLDER/NAME.json`` (one file a clip),
    ``FOLDER/NAME_000000000000_keypoints.json`` and on, or the files of that kind in ``FOLDER/NAME``. The
    clip's size, where the file states one, must be the clip's. Files without times must have as many frames
    as the clip; times must be those of the clip's frames.

    Args:
        path: the folder, or one file for one clip.
    """

    name = "openpose"

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)

    def detect(self, media: Media, indices: Sequence[int]) -> Iterator[list[Face]]:
        """As :meth:`moodreel.faces.detect.Detector.detect`.

        Raises:
            DataError: there is no file for the clip, or it is wrong, or of another clip.
        """
        path, frames = self._read(media)
        faces = {}
        for frame in frames:
            if frame.index >= len(media) or (math.isnan(frame.time) and len(frames) != len(media)):
                raise DataError(f"{path}: {len(frames)} frames, the clip has {len(media)}")
            if abs(frame.time - media.timeline.starts[frame.index]) > _SAME_TIME:
                start = media.timeline.starts[frame.index]
                raise DataError(f"{path}: frame {frame.index} at {frame.time} s, in the clip at {start:g} s")
            faces[frame.index] = list(frame.faces)
        for index in indices:
            if index not in faces:
                raise DataError(f"{path}: no frame {index}")
            yield faces[index]

    def _read(self, media: Media) -> tuple[Path, list[FramePeople]]:
        stem = Path(media.source).stem
        file = self._path / f"{stem}.json" if self._path.is_dir() else self._path
        if file != self._path and not file.exists():
            if _list_frame_files(self._path, stem):
                return self._path, read_frame_files(self._path, stem)
            if (self._path / stem).is_dir():
                return self._path / stem, read_frame_files(self._path / stem)
            raise DataError(f"{self._path}: no {stem}.json and no {stem}_000000000000_keypoints.json")
        width, height, frames = read_people(file)
        _check_size(file, (width, height), (media.width, media.height))
        return file, frames


def format_faces(clip: ClipFaces) -> bytes:
    """The file of a clip's faces: UTF-8 JSON, a frame a line, places in hundredths of a pixel.

    Faces of a frame stand in the order of their ids. What :func:`read_people` reads of it is what was given,
    as long as the places are whole hundredths.
    """
    people: dict[int, list[dict[str, Any]]] = {int(index): [] for index in clip.frames}
    for track in clip.tracks:
        for index, face in zip(track.frames.tolist(), track.faces, strict=True):
            keypoints = np.column_stack([face.points.round(2), face.confidence])
            keypoints[face.confidence == 0] = 0
            people[index].append(
                {
                    "track": track.id,
                    "box": face.box.round(2).tolist(),
                    "score": face.score,
                    "face_keypoints_2d": keypoints.ravel().tolist(),
                }
            )
    head = {
        "version": VERSION,
        "source": Path(clip.source).name.encode("utf-8", "backslashreplace").decode(),
        "detector": clip.detector,
        "width": clip.width,
        "height": clip.height,
    }
    lines = ",\n".join(
        _dump({"index": index, "time": time, "people": people[index]})
        for index, time in zip(clip.frames.tolist(), clip.times.tolist(), strict=True)
    )
    return f'{_dump(head)[:-1]},"frames":[\n{lines}\n]}}\n'.encode()


def box_of(points: FloatArray, confidence: FloatArray) -> FloatArray:
    """[4] left, top, right, bottom around the confident points, or around all found if those are under 3."""
    confident = confidence >= CONFIDENT
    if confident.sum() < 3:
        confident = confidence > 0
    places = points[confident]
    return np.concatenate([places.min(axis=0), places.max(axis=0)])


def _dump(content: Mapping[str, Any]) -> str:
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"), allow_nan=False)


def _load_json(path: str | Path) -> dict[str, Any]:
    """Reads a JSON object; NaN and infinity, which JSON does not have, are refused."""

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


def _parse_frame(where: str, entry: dict[str, Any], index: int, time: float) -> FramePeople:
    """The faces of one frame: ``people[].face_keypoints_2d``.

    A person with an empty list (OpenPose run without ``--face``) or without a single found point has no face.
    """
    people = entry.get("people")
    if not isinstance(people, list):
        raise DataError(f"{where}no list of people")
    faces, tracks = [], []
    for number, person in enumerate(people):
        label = f"{where}person {number}: "
        if not isinstance(person, dict):
            raise DataError(f"{label}not an object")
        face = _parse_face(label, person)
        if face is not None:
            track = person.get("track")
            faces.append(face)
            tracks.append(None if track is None else _whole(label, track, "track", 0))
    stated = [track for track in tracks if track is not None]
    if len(set(stated)) < len(stated):
        raise DataError(f"{where}two people with one track")
    return FramePeople(index, time, tuple(faces), tuple(tracks))


def _parse_face(where: str, person: dict[str, Any]) -> Face | None:
    flat = person.get("face_keypoints_2d")
    if not isinstance(flat, list):
        raise DataError(f"{where}no list face_keypoints_2d")
    if not flat:
        return None
    if len(flat) != POINTS * 3:
        raise DataError(
            f"{where}{len(flat)} numbers in face_keypoints_2d, expected {POINTS * 3} (x, y, confidence of "
            f"{POINTS} points)"
        )
    numbers = _numbers(flat)
    if numbers is None:
        raise DataError(f"{where}face_keypoints_2d holds what is no finite number")
    confidence = np.minimum(numbers[2::3], 1.0)  # OpenPose's peaks may exceed 1
    if (confidence < 0).any():
        raise DataError(f"{where}a negative confidence")
    points = np.where(confidence[:, None] > 0, numbers.reshape(POINTS, 3)[:, :2], 0.0)
    if not confidence.any():
        return None
    box, score = person.get("box"), person.get("score")
    corners = _numbers(box) if isinstance(box, list) and len(box) == 4 else None
    if box is None:
        corners = box_of(points, confidence)
    if corners is None or (corners[2:] < corners[:2]).any():
        raise DataError(f"{where}box {box!r} is not [left, top, right, bottom]")
    if score is not None and not _is_number(score):
        raise DataError(f"{where}score {score!r} is no number")
    return Face(corners, points, confidence, None if score is None else float(score))


def _check_size(path: str | Path, stated: tuple[int, int], expected: tuple[int, int] | None) -> None:
    if expected is not None and stated != expected:
        raise DataError(
            f"{path}: of {stated[0]} x {stated[1]} pixels, the clip has {expected[0]} x {expected[1]}"
        )


def _is_number(value: Any) -> bool:
    return type(value) in (int, float) and abs(value) < 1e300


def _numbers(values: list[Any]) -> FloatArray | None:
    """[n] float64, or None where one is no finite number."""
    if not all(map(_is_number, values)):
        return None
    return np.array(values, dtype=np.float64)


def _whole(where: str, value: object, name: str, least: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 1 << 31:
        raise DataError(f"{where}{name} {value!r}: expected a whole number of at least {least}")
    return value
