"""Who finds faces: the protocol, the choice between its sources, and dlib."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from moodreel.errors import BundleError, MissingExtra, SettingsError
from moodreel.faces import DETECTORS
from moodreel.types import BoolArray, Face, FloatArray

if TYPE_CHECKING:
    from moodreel.media import Media
    from moodreel.types import UInt8Array

KINDS = ("auto", *DETECTORS, "openpose")

EYES = (slice(36, 42), slice(42, 48))
"""Contours of the two eyes in the 68- and 70-point order; their pupils are points 68 and 69."""

CLOSE_UP = 200
"""Most pixels of the longer side when dlib looks for close-ups: faces of two fifths of it and more."""

BORDER = 0.3
"""Width of the border there on each side, of the frame's longer side."""

SLACK = 0.35
"""How far below dlib's threshold the margin of a weak face may lie."""


class Detector(Protocol):
    """Something that finds faces: the seam at which tests put a fake.

    Attributes:
        name: what the files say of who found the faces.
    """

    name: str

    def detect(self, media: Media, indices: Sequence[int]) -> Iterator[list[Face]]:
        """Finds the faces of some frames.

        Args:
            media: from :func:`moodreel.media.open_media`.
            indices: ascending, each at most once, in [0, T).

        Returns:
            An iterator over the faces of each frame, in any order; as many lists as indices. Places are
            pixels of the full frame, whole hundredths. Weak faces are among them: what counts faces of single
            frames leaves them out.

        Raises:
            MediaError: while iterating, when the content is broken.
        """
        ...


@dataclass(frozen=True)
class DetectorSettings:
    """Which detector, and how it looks. Small enough to send to another process.

    Attributes:
        kind: one of :data:`KINDS`.
        files: of ``openpose``: the folder or file with the keypoints.
        model: of ``dlib``, a shape predictor of 68 points (.dat); of ``mediapipe``, a Face Landmarker bundle
            (.task); None takes the one that is installed, or in the cache.
        upsample: of ``dlib``: how often the frame is doubled before the search. Its detector sees faces from
            80 pixels on, with one doubling from 40.
        largest: of ``dlib``: pixels that the longer side has at most while it is searched.
        threshold: of ``dlib``, the margin from which something is a face (0; higher is stricter); of
            ``mediapipe``, the confidence (0.5). None takes those.

    Raises:
        SettingsError: a field has a value that is not allowed.
    """

    kind: str = "auto"
    files: Path | None = None
    model: Path | None = None
    upsample: int = 1
    largest: int = 1280
    threshold: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise SettingsError("detector", self.kind, f"one of {', '.join(KINDS)}")
        if (self.kind == "openpose") != (self.files is not None):
            raise SettingsError("openpose", str(self.files), "the files, with detector openpose and no other")
        if self.kind == "openpose" and self.model is not None:
            raise SettingsError("model", str(self.model), "no model with detector openpose")
        if not 0 <= self.upsample <= 4:
            raise SettingsError("upsample", self.upsample, "a whole number from 0 to 4")
        if self.largest < 80:
            raise SettingsError("largest", self.largest, "at least 80 pixels")
        if self.threshold is not None and not np.isfinite(self.threshold):
            raise SettingsError("threshold", self.threshold, "a finite number")
        if self.kind == "mediapipe" and self.threshold is not None and not 0 <= self.threshold <= 1:
            raise SettingsError("threshold", self.threshold, "from 0 to 1 with detector mediapipe")


def choose_detector(settings: DetectorSettings) -> DetectorSettings:
    """Settles what is open: "auto" becomes the first detector that is installed; the model gets a path.

    MediaPipe's model is fetched where it is not in the cache yet and MediaPipe was asked for by name; nothing
    else asks the network.

    Raises:
        MissingExtra: what is needed is not installed.
        BundleError: there is no model, or it could not be fetched.
    """
    kind = settings.kind
    if kind == "auto":
        there = (name for name, needs in DETECTORS.items() if _is_installed(needs.module))
        kind = next(there, next(iter(DETECTORS)))
    if kind in DETECTORS and not _is_installed(DETECTORS[kind].module):
        raise MissingExtra(DETECTORS[kind].extra, f"finding faces with {kind}")
    model = settings.model
    if model is not None and not model.is_file():
        raise BundleError(f"{model}: no such file")
    if kind == "dlib":
        model = model or _find_predictor()
    elif kind == "mediapipe":
        from moodreel.faces.mediapipe import fetch_model, find_model

        if settings.kind == "auto":
            model = model or find_model()
            if model is None:
                raise BundleError(
                    "the MediaPipe model is not in the cache: --detector mediapipe fetches it, 3.8 MB"
                )
        model = model or fetch_model()
    return replace(settings, kind=kind, model=model)


@contextmanager
def open_detector(settings: DetectorSettings) -> Iterator[Detector]:
    """Opens the detector of some settings, and closes it when the block ends.

    Raises:
        MissingExtra: what is needed is not installed.
        BundleError: there is no model, or it is wrong.
    """
    chosen = choose_detector(settings)
    if chosen.files is not None:
        from moodreel.faces.openpose import OpenPoseFiles

        yield OpenPoseFiles(chosen.files)
        return
    assert chosen.model is not None
    if chosen.kind == "dlib":
        yield Dlib(chosen.model, chosen.upsample, chosen.largest, chosen.threshold or 0.0)
    else:
        from moodreel.faces.mediapipe import MediaPipe, open_landmarker

        threshold = 0.5 if chosen.threshold is None else chosen.threshold
        with open_landmarker(chosen.model, threshold) as find:
            yield MediaPipe(find)


class Dlib:
    """dlib: HOG detector, which looks for frontal faces, and a shape predictor of 68 points.

    Kazemi and Sullivan, CVPR 2014, for the points. The predictor says nothing of how sure a point is, so all
    points of a face have the confidence of the face: (1 + m) / 2, at most 1, for a margin m of the detector,
    a linear SVM whose training puts faces at +1 and the rest at -1. Pupils are the means of the eyes'
    contours. A point outside the frame is missing.

    Args:
        predictor: the .dat file.
        upsample, largest, threshold: as in :class:`DetectorSettings`.

    Raises:
        MissingExtra: dlib is not installed.
        BundleError: the file is no shape predictor of 68 points.
    """

    name = "dlib"

    def __init__(
        self, predictor: Path, upsample: int = 1, largest: int = 1280, threshold: float = 0.0
    ) -> None:
        try:
            import dlib
        except ImportError as error:
            raise MissingExtra("faces", "finding faces with dlib") from error
        self._rectangle = dlib.rectangle
        self._search = dlib.get_frontal_face_detector()
        try:
            self._predict = dlib.shape_predictor(str(predictor))
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise BundleError(f"{predictor}: not a shape predictor of dlib: {reason}") from None
        blank = np.zeros((100, 100, 3), np.uint8)
        parts = self._predict(blank, dlib.rectangle(10, 10, 89, 89)).num_parts
        if parts != 68:
            raise BundleError(f"{predictor}: a shape predictor of {parts} points, expected 68")
        self._upsample, self._largest, self._threshold = upsample, largest, threshold

    def detect(self, media: Media, indices: Sequence[int]) -> Iterator[list[Face]]:
        """As :meth:`Detector.detect`."""
        for _, frame in media.read(indices):
            yield self.find(frame)

    def find(self, frame: UInt8Array) -> list[Face]:
        """Faces of one frame, [H, W, 3] uint8 RGB; those up to :data:`SLACK` below the threshold are weak.

        Where there is none but weak ones, it looks once more for a close-up: at the frame of at most
        :data:`CLOSE_UP` pixels inside a black border. A face that fills the frame, or is cut by its edge, has
        none of the background that the detector knows faces by.
        """
        faces = self._look(frame, self._largest)
        if any(not face.is_weak for face in faces):
            return faces
        closer = self._look(frame, min(CLOSE_UP, self._largest), BORDER)
        return closer if any(not face.is_weak for face in closer) else faces or closer

    def _look(self, frame: UInt8Array, largest: int, border: float = 0) -> list[Face]:
        from PIL import Image

        height, width = frame.shape[:2]
        scale = min(2.0**self._upsample, largest / max(height, width))
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        if size != (width, height):
            image = Image.fromarray(frame).resize(size, Image.Resampling.BILINEAR)
            frame = np.ascontiguousarray(image)
        edge = round(border * max(size))
        if edge:
            frame = np.pad(frame, ((edge, edge), (edge, edge), (0, 0)))
        unit = np.array(size) / (width, height)
        boxes, margins, _ = self._search.run(frame, 0, self._threshold - SLACK)
        faces = []
        for box, margin in zip(boxes, margins, strict=True):
            shape: Any = self._predict(frame, box)
            # dlib counts pixels: their centres lie half a pixel on, and a box includes its last ones.
            points = (np.array([(part.x, part.y) for part in shape.parts()], float) + 0.5 - edge) / unit
            edges = np.array([box.left(), box.top(), box.right() + 1, box.bottom() + 1])
            corners = (edges - edge) / np.tile(unit, 2)
            sure = float(np.clip((1 + margin) / 2, 0.001, 1))
            weak, score = margin < self._threshold, round(margin, 4)
            faces.append(make_face(corners, fill_pupils(points), sure, (width, height), score, weak))
        return [face for face in faces if face.confidence.any()]


def fill_pupils(points: FloatArray) -> FloatArray:
    """[70, 2] of [68, 2]: the pupils are the means of the eyes' contours."""
    pupils = [points[eye].mean(axis=0) for eye in EYES]
    return np.concatenate([points, pupils])


def make_face(
    box: FloatArray,
    points: FloatArray,
    confidence: float,
    size: tuple[int, int],
    score: float | None,
    is_weak: bool = False,
) -> Face:
    """A face of one confidence: places in hundredths of a pixel, points outside the frame missing.

    Args:
        box: [4] pixels.
        points: [70, 2] pixels.
        confidence: in (0, 1].
        size: width and height of the frame.
        score: the detector's.
        is_weak: see :class:`moodreel.types.Face`.
    """
    inside: BoolArray = np.all((points >= 0) & (points <= size), axis=1)
    return Face(
        box=box.round(2),
        points=np.where(inside[:, None], points, 0.0).round(2),
        confidence=np.where(inside, round(confidence, 4), 0.0),
        score=score,
        is_weak=is_weak,
    )


def _is_installed(module: str) -> bool:
    return importlib.util.find_spec(module) is not None


def _find_predictor() -> Path:
    """The 68-point predictor of the package face-recognition-models.

    The package is not imported: it asks for pkg_resources, which current setuptools do not have.
    """
    spec = importlib.util.find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder) / "models" / "shape_predictor_68_face_landmarks.dat"
        if path.is_file():
            return path
    raise MissingExtra("faces", "dlib's predictor of 68 points")
