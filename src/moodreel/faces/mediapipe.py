"""MediaPipe's Face Landmarker as a detector: 478 points of a face mesh, of which 70 are kept."""

from __future__ import annotations

import hashlib
import http.client
import os
import secrets
import sys
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from moodreel.errors import BundleError, MissingExtra
from moodreel.faces.detect import make_face
from moodreel.types import Face, FloatArray, UInt8Array

if TYPE_CHECKING:
    from moodreel.media import Media

MODEL_URL = (
    "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
    "face_landmarker.task"
)
MODEL_SHA256 = "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff"

MOST_FACES = 16
"""Faces that are looked for in a frame."""

INDICES = np.array([
    127, 234, 93, 132, 58, 136, 150, 176, 152, 400, 379, 365, 288, 361, 323, 454, 356,  # jaw
    70, 63, 105, 66, 107, 336, 296, 334, 293, 300,  # brows
    168, 197, 5, 4, 240, 97, 2, 326, 460,  # nose
    33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380,  # eyes
    61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181,  # lips, outside
    78, 82, 13, 312, 308, 317, 14, 87,  # lips, inside
    468, 473,  # centres of the irises
])  # fmt: skip
"""[70] point of the mesh for each point of OpenPose's order: on the mesh's own contours of jaw, brows, eyes
and lips, the same on both sides, each the one nearest to where dlib's predictor puts it on real faces."""


class MediaPipe:
    """MediaPipe's Face Landmarker.

    It gives no confidence: each point inside the frame has 1, one outside is missing. The box goes around the
    points. Its finder looks at the whole frame in 128 x 128 pixels, so a face under about a tenth of the
    frame is often missed.

    Args:
        find: frame [H, W, 3] uint8 RGB -> a list of [478, 2] places, 0-1 of the frame;
            :func:`open_landmarker`.
    """

    name = "mediapipe"

    def __init__(self, find: Callable[[UInt8Array], Sequence[FloatArray]]) -> None:
        self._find = find

    def detect(self, media: Media, indices: Sequence[int]) -> Iterator[list[Face]]:
        """As :meth:`moodreel.faces.detect.Detector.detect`."""
        size = (media.width, media.height)
        for _, frame in media.read(indices):
            meshes = [mesh[INDICES] * size for mesh in self._find(frame)]
            faces = [make_face(_surround(points), points, 1.0, size, None) for points in meshes]
            yield [face for face in faces if face.confidence.any()]


def _surround(points: FloatArray) -> FloatArray:
    return np.concatenate([points.min(axis=0), points.max(axis=0)])


@contextmanager
def open_landmarker(
    model: Path, threshold: float = 0.5
) -> Iterator[Callable[[UInt8Array], list[FloatArray]]]:
    """Opens a Face Landmarker bundle, and closes it when the block ends.

    Args:
        model: the .task file.
        threshold: confidence from which something is a face, 0 to 1.

    Yields:
        A function of a frame, as :class:`MediaPipe` wants it.

    Raises:
        MissingExtra: mediapipe is not installed.
        BundleError: the file is no such bundle.
    """
    try:
        import mediapipe
        from mediapipe.tasks.python import BaseOptions, vision
    except ImportError as error:
        raise MissingExtra("mediapipe", "finding faces with mediapipe") from error
    options = vision.FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(model)),
        num_faces=MOST_FACES,
        min_face_detection_confidence=threshold,
        min_face_presence_confidence=threshold,
    )
    try:
        with _hush():
            landmarker = vision.FaceLandmarker.create_from_options(options)
    except Exception as error:  # ValueError, RuntimeError or worse, by version
        reason = (" ".join(str(error).split()) or type(error).__name__)[:200]
        raise BundleError(f"{model}: not a Face Landmarker bundle: {reason}") from None

    def find(frame: UInt8Array) -> list[FloatArray]:
        image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(frame))
        faces = landmarker.detect(image).face_landmarks
        return [np.array([(point.x, point.y) for point in face], dtype=np.float64) for face in faces]

    try:
        with _hush():
            find(np.zeros((64, 64, 3), np.uint8))
        yield find
    finally:
        landmarker.close()  # left to the interpreter's end it fails, loudly


@contextmanager
def _hush() -> Iterator[None]:
    """Keeps off standard error what MediaPipe's C++ parts write there on opening and on the first frame.

    They know no setting for it.
    """
    try:
        sys.stderr.flush()
        kept = os.dup(2)
    except (OSError, ValueError, AttributeError):  # there is none, or it is closed
        yield
        return
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def cache_folder() -> Path:
    """Where fetched models are kept: ``MOODREEL_CACHE``, else the user's cache folder."""
    if own := os.environ.get("MOODREEL_CACHE"):
        return Path(own)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "moodreel"


def find_model(url: str = MODEL_URL, sha256: str = MODEL_SHA256, folder: Path | None = None) -> Path | None:
    """The Face Landmarker bundle in the cache; None where it is not there, or broken.

    Args:
        url, sha256, folder: as of :func:`fetch_model`.
    """
    path = _name_model(url, sha256, folder)
    with suppress(OSError):
        if hashlib.sha256(path.read_bytes()).hexdigest() == sha256:
            return path
    return None


def _name_model(url: str, sha256: str, folder: Path | None) -> Path:
    return (cache_folder() if folder is None else folder) / f"{sha256[:12]}-{url.rpartition('/')[2]}"


def fetch_model(url: str = MODEL_URL, sha256: str = MODEL_SHA256, folder: Path | None = None) -> Path:
    """The Face Landmarker bundle (Apache-2.0, 3.8 MB), fetched where it is not in the cache yet.

    Args:
        url: where it lies.
        sha256: what it must be, in hexadecimal digits; the name in the cache begins with them, so that
            another version never takes its place.
        folder: None is :func:`cache_folder`.

    Returns:
        Its path in the cache.

    Raises:
        BundleError: it could not be fetched or kept, or it is another file than expected.
    """
    if (kept := find_model(url, sha256, folder)) is not None:
        return kept
    path = _name_model(url, sha256, folder)
    folder = path.parent
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            content = answer.read()
    except (OSError, ValueError, http.client.HTTPException) as error:  # URLError and time-outs are OSErrors
        reason = " ".join(str(getattr(error, "reason", error)).split()) or type(error).__name__
        raise BundleError(
            f"the MediaPipe model could not be fetched ({reason}): get {url} elsewhere and name the file "
            "(--model-file)"
        ) from None
    got = hashlib.sha256(content).hexdigest()
    if got != sha256:
        raise BundleError(f"{url}: sha256 {got}, expected {sha256}: not kept")
    beside = folder / f".{path.name}.{secrets.token_hex(4)}.tmp"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(path)
    except OSError as error:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise BundleError(f"{folder}: the model cannot be kept: {error.strerror or error}") from None
    return path
