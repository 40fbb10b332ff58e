"""What KAVAN is compared with: colour histograms and facial expression under linear models (KAVAN Sec. 4.3).

Both stem from Jou, Bhattacharya, Chang: *Predicting viewer perceived emotions in animated GIFs*, ACM MM 2014,
as KAVAN's authors rebuilt them: features of a clip, ordinary least squares per emotion.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt
import torch
from numpy.typing import NDArray
from scipy import optimize

from moodreel.errors import BundleError, DataError
from moodreel.faces.crop import MARGIN, crop_faces
from moodreel.faces.detect import Detector
from moodreel.lab.data.cached import ArrayStore, Failure, fill_store, pick_boxes
from moodreel.lab.data.manifest import Row
from moodreel.lab.models.face_cnn import FaceCNN
from moodreel.lab.networks import load_bundle
from moodreel.lab.settings import FaceSettings
from moodreel.lab.weights import hash_tensors
from moodreel.media import Media, frames_showing, open_media, sample_media, segment_times
from moodreel.runtime.bundle import read_bundle
from moodreel.types import BoolArray, FloatArray, IntArray, UInt8Array

BINS = 4
"""Bins of each of R, G and B: 64 in all. The paper states none; 512 would be near the number of clips."""


def colour_histogram(frames: UInt8Array, bins: int = BINS) -> FloatArray:
    """Joint RGB histogram of all pixels of all frames.

    Args:
        frames: [T, H, W, 3] uint8.
        bins: equal bins a channel.

    Returns:
        [bins^3], sums to 1; red changes slowest, blue fastest.
    """
    level = frames.astype(np.int64) * bins // 256
    place = (level[..., 0] * bins + level[..., 1]) * bins + level[..., 2]
    counts = np.bincount(place.ravel(), minlength=bins**3)
    histogram: FloatArray = counts / counts.sum()
    return histogram


@dataclass(frozen=True, eq=False)
class LinearModel:
    """y = x W + b.

    Attributes:
        weights: [F, E].
        bias: [E].
    """

    weights: FloatArray
    bias: FloatArray

    def predict(self, x: npt.ArrayLike) -> FloatArray:
        """[N, F] -> [N, E]."""
        result: FloatArray = np.asarray(x, float) @ self.weights + self.bias
        return result


def fit_ols(x: npt.ArrayLike, y: npt.ArrayLike, mask: npt.ArrayLike) -> LinearModel:
    """Ordinary least squares with an intercept, emotion by emotion over the rows that know it.

    Of the solutions of a problem that has several (histogram bins sum to 1), the one with the smallest
    weights after centring.

    Args:
        x: [N, F] features.
        y: [N, E] targets.
        mask: [N, E] bool, True where the target is known; an emotion nobody knows gets 0.
    """
    x, y, mask = np.asarray(x, float), np.asarray(y, float), np.asarray(mask, bool)
    weights, bias = np.zeros((x.shape[1], y.shape[1])), np.zeros(y.shape[1])
    for e in range(y.shape[1]):
        rows = mask[:, e]
        if not rows.any():
            continue
        centre, level = x[rows].mean(axis=0), y[rows, e].mean()
        weights[:, e] = np.linalg.lstsq(x[rows] - centre, y[rows, e] - level, rcond=None)[0]
        bias[e] = level - centre @ weights[:, e]
    return LinearModel(weights, bias)


def fit_svm(x: npt.ArrayLike, label: npt.ArrayLike, classes: int, cost: float = 1.0) -> LinearModel:
    """Linear L2-SVM, one class against the rest (as in Tang: Deep learning using linear SVMs, 2013).

    Minimises |w|^2 / 2 + cost * sum max(0, 1 - t (w x + b))^2 for each class, t = 1 for its rows, -1 for the
    others; the class with the largest value is the prediction. The intercept is not penalised.

    Args:
        x: [N, F] features, best of similar scale.
        label: [N] int in [0, classes).
        classes: how many; one without a row is never predicted.
        cost: of errors.
    """
    x, label = np.asarray(x, float), np.asarray(label)
    weights, bias = np.zeros((x.shape[1], classes)), np.full(classes, -np.inf)
    for k in range(classes):
        sign = np.where(label == k, 1.0, -1.0)
        if (sign < 0).all():
            continue

        def objective(theta: FloatArray, sign: FloatArray = sign) -> tuple[float, FloatArray]:
            short = np.maximum(0.0, 1 - sign * (x @ theta[:-1] + theta[-1]))
            slope = -2 * cost * short * sign
            value = theta[:-1] @ theta[:-1] / 2 + cost * short @ short
            return float(value), np.append(theta[:-1] + x.T @ slope, slope.sum())

        found = optimize.minimize(objective, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B")
        weights[:, k], bias[k] = found.x[:-1], found.x[-1]
    return LinearModel(weights, bias)


class FaceFinder(Protocol):
    """Something that says where the face is: a detector, or a file that one wrote."""

    @property
    def name(self) -> str:
        """Tells it from other finders, its version included: part of what stored features depend on."""
        ...

    def find(self, row: Row, media: Media, shown: IntArray) -> FloatArray:
        """Finds the largest face of each picture.

        Args:
            row: of the clip.
            media: the clip, opened.
            shown: [T] which of its pictures, ascending; one may stand twice.

        Returns:
            [T, 4] left, top, right, bottom, 0-1 of the frame; zeros where no face was found.
        """
        ...


class KeypointFaces:
    """Faces from the manifest's keypoint files; a clip without one has no face."""

    name = "keypoints"

    def find(self, row: Row, media: Media, shown: IntArray) -> FloatArray:
        """See :class:`FaceFinder`."""
        return pick_boxes(row, shown)


class WholeFrames:
    """The whole frame as the face: for emoji, and stills cropped around one."""

    name = "frame"

    def find(self, row: Row, media: Media, shown: IntArray) -> FloatArray:
        """See :class:`FaceFinder`."""
        return np.tile([0.0, 0.0, 1.0, 1.0], (len(shown), 1))


class DetectedFaces:
    """Faces that a detector finds.

    Args:
        detector: of :func:`moodreel.faces.detect.open_detector`.
    """

    def __init__(self, detector: Detector) -> None:
        self.detector = detector
        self.name = detector.name

    def find(self, row: Row, media: Media, shown: IntArray) -> FloatArray:
        """See :class:`FaceFinder`."""
        pictures = sorted(set(shown.tolist()))
        boxes = {}
        for picture, faces in zip(pictures, self.detector.detect(media, pictures), strict=True):
            largest = max((f for f in faces if not f.is_weak), key=lambda face: face.area, default=None)
            boxes[picture] = np.zeros(4) if largest is None else largest.box
        size = [media.width, media.height, media.width, media.height]
        return np.stack([boxes[picture] for picture in shown.tolist()]) / size


def load_face(bundle: str) -> tuple[FaceCNN, FaceSettings, str]:
    """The network of a ``face`` bundle, its settings and the sha256 of its weights.

    Raises:
        BundleError: there is none, or it is of another system.
    """
    opened = read_bundle(bundle)
    if opened.info.system != "face":
        raise BundleError(f"{bundle}: a bundle of {opened.info.system}; expected one of face")
    recipe, net = load_bundle(opened)
    if not isinstance(net, FaceCNN) or not isinstance(recipe.model, FaceSettings):
        raise BundleError(f"{bundle}: its recipe is not one of face")
    return net, recipe.model, hash_tensors(net.state_dict())


class PictureCache:
    """What the baselines read of clips, computed once.

    Stored per clip: ``histogram`` [64]; ``face`` [512] and ``classes`` [7], features and log probabilities of
    the ``face`` network on the largest face, averaged over the sampled frames that have one; ``faces`` [],
    how many those are (0: the other two are zeros).

    Args:
        folder: where stores lie.
        finder: of faces.
        frames: T, sampled as KAVAN's evaluation does.
        bundle: a ``face`` bundle.
    """

    def __init__(self, folder: Path, finder: FaceFinder, frames: int, bundle: str = "face") -> None:
        self.finder, self.frames = finder, frames
        self.net, self.settings, digest = load_face(bundle)
        self.store = ArrayStore(
            folder,
            {
                "what": "pictures",
                "face": digest,
                "finder": finder.name,
                "frames": frames,
                "bins": BINS,
                "margin": MARGIN,
            },
        )

    def fill(self, rows: Sequence[Row], progress: Callable[[int], None] = lambda done: None) -> list[Failure]:
        """Computes what is missing; see :func:`fill_store`."""
        return fill_store(self.store, rows, self._read, self._encode, progress)

    def _read(self, row: Row) -> tuple[FloatArray, UInt8Array]:
        media = open_media(row.clip)
        times = segment_times(media.duration, self.frames)
        frames = sample_media(media, times).frames
        boxes = self.finder.find(row, media, frames_showing(media.timeline.starts, times))
        if boxes.shape != (self.frames, 4):
            raise DataError(
                f"{row.clip}: the face finder gave {list(boxes.shape)}, expected {[self.frames, 4]}"
            )
        found = ((boxes[:, 2:] - boxes[:, :2]) > 0).all(axis=1)
        return colour_histogram(frames), crop_faces(frames[found], boxes[found], self.settings.input_size)

    def _encode(self, clips: list[tuple[FloatArray, UInt8Array]]) -> dict[str, NDArray[np.float32]]:
        counts = np.array([len(crops) for _, crops in clips])
        place = np.repeat(np.arange(len(clips)), counts)
        face = np.zeros((len(clips), self.settings.features), np.float32)
        classes = np.zeros((len(clips), self.net.classify.out_features), np.float32)
        pixels = torch.from_numpy(np.concatenate([crops for _, crops in clips]))
        with torch.no_grad():
            for start in range(0, len(pixels), 128):
                part = slice(start, start + 128)
                logits, features = self.net(self.net.normalise(pixels[part]))
                np.add.at(face, place[part], features.numpy())
                np.add.at(classes, place[part], torch.log_softmax(logits, dim=1).numpy())
        share = np.maximum(counts, 1)[:, None]
        return {
            "histogram": np.stack([histogram for histogram, _ in clips]).astype(np.float32),
            "face": face / share,
            "classes": classes / share,
            "faces": counts.astype(np.float32),
        }


def predict_with_faces(
    x: FloatArray, found: BoolArray, y: FloatArray, mask: BoolArray, test: FloatArray, test_found: BoolArray
) -> FloatArray:
    """OLS on the clips that have a face; the others are given the mean target of all training clips.

    Args:
        x, found: [N, F] features of the training clips, and [N] whether they have a face.
        y, mask: [N, E] their targets, and which are known.
        test, test_found: [M, F] and [M] of the clips to predict.

    Returns:
        [M, E]; an emotion nobody knows gets 0.
    """
    known = np.maximum(mask.sum(axis=0), 1)
    mean = np.where(mask, y, 0.0).sum(axis=0) / known
    predicted = np.tile(mean, (len(test), 1))
    if found.any():
        predicted[test_found] = fit_ols(x[found], y[found], mask[found]).predict(test[test_found])
    return predicted
