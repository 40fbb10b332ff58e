"""What passes between stages: one frozen, validated dataclass per boundary."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import SettingsError

UInt8Array = npt.NDArray[np.uint8]
FloatArray = npt.NDArray[np.float64]
Float32Array = npt.NDArray[np.float32]
IntArray = npt.NDArray[np.int64]
BoolArray = npt.NDArray[np.bool_]

POINTS = 70
"""Points of a face: OpenPose's order."""


@dataclass(frozen=True, eq=False)
class Clip:
    """A decoded animation, video or still: pictures with exact times.

    Attributes:
        frames: [T, H, W, 3] uint8 RGB, or [T, H, W, 4] RGBA; T >= 1.
        starts: [T] seconds, non-decreasing, the first is 0.
        durations: [T] seconds, >= 0, as they play (a GIF delay of 0 or 0.01 s plays as 0.1 s).
        raw_durations: [T] seconds, as the file stores them (0 stays 0).
        loop: None when the file does not say, 0 for ever, otherwise the count as the file stores it.
        source: the path or a name for the input.

    Raises:
        SettingsError: an array has another shape or type than stated.
    """

    frames: UInt8Array
    starts: FloatArray
    durations: FloatArray
    raw_durations: FloatArray
    loop: int | None = None
    source: str = "<memory>"

    def __post_init__(self) -> None:
        shape = self.frames.shape
        if self.frames.dtype != np.uint8 or len(shape) != 4 or shape[3] not in (3, 4) or 0 in shape:
            got = f"{self.frames.dtype} {list(shape)}"
            raise SettingsError("Clip.frames", got, "uint8 [T, H, W, 3 or 4], nothing empty")
        for name in ("starts", "durations", "raw_durations"):
            times = getattr(self, name)
            if times.shape != (shape[0],):
                raise SettingsError(f"Clip.{name}", list(times.shape), f"[{shape[0]}], one a frame")

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.frames.shape[2])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.frames.shape[1])

    @property
    def duration(self) -> float:
        """Length in seconds: end of the last frame. 0 for a still."""
        return float(self.starts[-1] + self.durations[-1])

    def __len__(self) -> int:
        return int(self.frames.shape[0])


@dataclass(frozen=True, eq=False)
class Sample:
    """The frames a model looks at, picked from a clip by time, with facts on the whole clip.

    Attributes:
        frames: [N, H, W, 3] uint8 RGB at the size that was asked for; one frame may stand twice.
        times: [N] seconds: the instants that were asked for.
        width, height: of the full frame, in pixels.
        frame_count: pictures in the whole file.
        duration: seconds, of the whole file.
        source: the path or a name for the input.
    """

    frames: UInt8Array
    times: FloatArray
    width: int
    height: int
    frame_count: int
    duration: float
    source: str


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame, in pixels of the full frame: its left and top edge are 0.

    Attributes:
        box: [4] left, top, right, bottom; may reach beyond the frame.
        points: [70, 2] (x, y) in OpenPose order (0-67 as iBUG 68, then the pupils: 68 of the eye 36-41, 69 of
            the eye 42-47); (0, 0) where missing.
        confidence: [70] in [0, 1]; 0 is a missing point.
        score: what the detector says of the face, on its own scale; None where it says nothing.
        is_weak: whether the detector is too unsure of it for it to count alone: it may only go on with a face
            that was seen before.

    Raises:
        SettingsError: an array has another shape than stated.
    """

    box: FloatArray
    points: FloatArray
    confidence: FloatArray
    score: float | None = None
    is_weak: bool = False

    def __post_init__(self) -> None:
        for name, shape in {"box": (4,), "points": (POINTS, 2), "confidence": (POINTS,)}.items():
            _check_shape("Face", name, getattr(self, name), shape)

    @property
    def area(self) -> float:
        """Of the box, in square pixels."""
        left, top, right, bottom = self.box.tolist()
        return float((right - left) * (bottom - top))


@dataclass(frozen=True, eq=False)
class FaceTrack:
    """One face along a clip.

    Attributes:
        id: 0, 1, 2 ... in the order in which faces appear.
        frames: [n] int64, which pictures of the clip show it, ascending.
        times: [n] seconds from the start of the clip.
        faces: n faces.

    Raises:
        SettingsError: the three do not agree in length.
    """

    id: int
    frames: IntArray
    times: FloatArray
    faces: tuple[Face, ...]

    def __post_init__(self) -> None:
        for name in ("frames", "times"):
            _check_shape("FaceTrack", name, getattr(self, name), (len(self.faces),))

    def __len__(self) -> int:
        return len(self.faces)


@dataclass(frozen=True, eq=False)
class ClipFaces:
    """All faces of a clip.

    Attributes:
        source: the path or a name for the input.
        detector: who found them.
        width, height: of the full frame, in pixels.
        frames: [F] int64, which pictures of the clip were looked at, ascending.
        times: [F] seconds: their starts.
        tracks: in the order of their ids.

    Raises:
        SettingsError: frames and times do not agree in length.
    """

    source: str
    detector: str
    width: int
    height: int
    frames: IntArray
    times: FloatArray
    tracks: tuple[FaceTrack, ...]

    def __post_init__(self) -> None:
        _check_shape("ClipFaces", "times", self.times, (len(self.frames),))

    @property
    def found(self) -> int:
        """Frames that show at least one face."""
        return len({index for track in self.tracks for index in track.frames.tolist()})


@dataclass(frozen=True, eq=False)
class ClipKeypoints:
    """The keypoints of one face along a clip: what training and alignment read.

    Attributes:
        frames: [F] int64, which pictures of the clip (0 is the first); ascending in a file.
        times: [F] seconds from the start of the clip; NaN where the file does not say.
        points: [F, 70, 2] (x, y), 0-1 of the frame from the left and the top, in OpenPose order (0-67 as
            iBUG 68, then the pupils: 68 of the eye 36-41, 69 of the eye 42-47). (0, 0) where missing.
        confidence: [F, 70] in [0, 1]; 0 is a missing point, a row of zeros a frame without a face.
        boxes: [F, 4] left, top, right, bottom, 0-1 of the frame; may reach beyond it; zeros without a face.
        width, height: of the full frame, in pixels.

    Raises:
        SettingsError: an array has another shape than stated.
    """

    frames: IntArray
    times: FloatArray
    points: FloatArray
    confidence: FloatArray
    boxes: FloatArray
    width: int
    height: int

    def __post_init__(self) -> None:
        count = len(self.frames)
        for name, shape in {
            "times": (count,),
            "points": (count, POINTS, 2),
            "confidence": (count, POINTS),
            "boxes": (count, 4),
        }.items():
            _check_shape("ClipKeypoints", name, getattr(self, name), shape)

    @property
    def found(self) -> BoolArray:
        """[F] whether the frame has a face."""
        return np.asarray((self.confidence > 0).any(axis=1))

    def at(self, shown: npt.ArrayLike) -> ClipKeypoints:
        """Those of the pictures ``shown`` [n], in that order; no face in one that is not listed."""
        wanted = np.asarray(shown, dtype=np.int64)
        place = np.searchsorted(self.frames, wanted).clip(max=max(0, len(self) - 1))
        listed = self.frames[place] == wanted if len(self) else np.zeros(len(wanted), bool)

        def pick(values: FloatArray, absent: float) -> FloatArray:
            out = np.full((len(wanted), *values.shape[1:]), absent)
            out[listed] = values[place[listed]]
            return out

        return ClipKeypoints(
            frames=wanted,
            times=pick(self.times, np.nan),
            points=pick(self.points, 0.0),
            confidence=pick(self.confidence, 0.0),
            boxes=pick(self.boxes, 0.0),
            width=self.width,
            height=self.height,
        )

    def __len__(self) -> int:
        return len(self.frames)


@dataclass(frozen=True, eq=False)
class SceneReading:
    """What a face was read from, and its scene (CACA-RNN).

    Attributes:
        share: of the sampled instants, how many show the face, 0 to 1.
        face: id of the face, in the order in which faces appear; None where none was found.
        times: [M] seconds: the instants that show it.
        boxes: [M, 4] left, top, right, bottom, 0-1 of the frame; may reach beyond it.
        reason: why the scene alone was read; None where it was not.
        moment_times: [k] seconds of the moments that were attended to; None without attention.
        moments: [k] how much each was, mean over the face's moments; sums to 1.
    """

    share: float
    face: int | None = None
    times: FloatArray = field(default_factory=lambda: np.zeros(0))
    boxes: FloatArray = field(default_factory=lambda: np.zeros((0, 4)))
    reason: str | None = None
    moment_times: FloatArray | None = None
    moments: FloatArray | None = None


@dataclass(frozen=True, eq=False)
class Result:
    """What a recogniser says of one input. A failed input is a Result with ``error`` set.

    Attributes:
        source: the input as the caller named it.
        model, model_version: name and version of the bundle.
        error: None, or one line on what went wrong; then every score is None.
        width, height: of the full frame, in pixels.
        frames: pictures in the file.
        duration: seconds.
        category: most probable class, None where the system has none or the confidence fell below
            the abstention threshold.
        confidence: probability of the most probable class.
        emotions: intensity per emotion in [-1, 1]; None where no training source supervised it.
        probabilities: probability per class, None where no source supervised it.
        valence, arousal: in [-1, 1].
        faces: number of faces found; None where no detector ran.
        attention: [t, h, w], each frame sums to 1; None where a system has none.
        attention_times: [t] seconds.
        per_frame: scores per sampled instant, where asked for: name -> [t].
        scene: the face that was read and its scene; None where a system reads none.
    """

    source: str
    model: str
    model_version: str
    error: str | None = None
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    duration: float | None = None
    category: str | None = None
    confidence: float | None = None
    emotions: dict[str, float | None] = field(default_factory=dict)
    probabilities: dict[str, float | None] = field(default_factory=dict)
    valence: float | None = None
    arousal: float | None = None
    faces: int | None = None
    attention: Float32Array | None = None
    attention_times: FloatArray | None = None
    per_frame: dict[str, FloatArray] = field(default_factory=dict)
    scene: SceneReading | None = None

    @property
    def ok(self) -> bool:
        """Whether the input was read and scored."""
        return self.error is None

    @property
    def attention_peak(self) -> tuple[float, float] | None:
        """(x, y) of the time-averaged attention's largest cell, 0-1 of the full frame."""
        if self.attention is None:
            return None
        mean = self.attention.mean(axis=0)
        row, column = np.unravel_index(int(mean.argmax()), mean.shape)
        height, width = mean.shape
        return (float(column) + 0.5) / width, (float(row) + 0.5) / height


@dataclass(frozen=True, eq=False)
class StudyCase:
    """A clip of a study with its labels and what was predicted for it.

    Attributes:
        source: its path.
        times: [T] seconds of the sampled frames.
        target: emotion -> intensity; those without a label are absent.
        category: quadrant by the labels, None where unknown.
        predicted: emotion -> intensity, None without a prediction.
        predicted_category: quadrant, None without a prediction.
        heatmap: [T, h, w] M_t, made from keypoints; None without any.
        attention: [T, h, w] predicted; None without any.
    """

    source: str
    times: FloatArray
    target: dict[str, float]
    category: str | None
    predicted: dict[str, float] | None = None
    predicted_category: str | None = None
    heatmap: Float32Array | None = None
    attention: Float32Array | None = None


def _check_shape(owner: str, name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise SettingsError(f"{owner}.{name}", list(array.shape), str(list(shape)))
