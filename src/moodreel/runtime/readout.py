"""From a network's outputs for one clip to the scores of a Result: one function a system."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.emotions import locate_on_circumplex
from moodreel.runtime.schema import BundleInfo
from moodreel.types import Float32Array, Sample

Outputs = Mapping[str, Float32Array]
"""Output name -> array of one clip: no batch axis for clips, the frame axis first for single frames."""


def read_kavan(info: BundleInfo, outputs: Outputs, sample: Sample, per_frame: bool) -> dict[str, Any]:
    """KAVAN: 17 intensities, a quadrant, attention.

    Args:
        info: of the bundle.
        outputs: ``intensities`` [17], ``probabilities`` [4], ``attention`` [T, h, w], ``frame_intensities``
            [T, 17], ``frame_probabilities`` [T, 4].
        sample: the frames looked at.
        per_frame: whether to fill ``per_frame``: the heads as read at each of the T steps.

    Returns:
        Fields of :class:`moodreel.types.Result`.
    """
    emotions = _name_scores(
        info.labels.emotions, info.supervised.emotions, outputs["intensities"].clip(-1, 1)
    )
    position = locate_on_circumplex(emotions)
    fields = read_classes(info, outputs["probabilities"])
    fields["emotions"] = emotions
    if position is not None:
        fields["valence"], fields["arousal"] = position
    if "attention" in outputs:
        fields["attention"] = outputs["attention"]
        fields["attention_times"] = sample.times
    if per_frame:
        fields["per_frame"] = {
            "time_s": sample.times,
            **_name_traces(
                "", info.labels.emotions, info.supervised.emotions, outputs["frame_intensities"].clip(-1, 1)
            ),
            **_trace_classes(info, outputs["frame_probabilities"]),
        }
    return fields


def read_face(info: BundleInfo, outputs: Outputs, sample: Sample, per_frame: bool) -> dict[str, Any]:
    """The still-image classifier: mean of its sampled frames' probabilities.

    Args:
        info: of the bundle.
        outputs: ``probabilities`` [N, 7], one row a sampled frame.
        sample: the frames looked at; the whole frame is the face, so ``faces`` stays None.
        per_frame: whether to fill ``per_frame`` with each frame's probabilities.

    Returns:
        Fields of :class:`moodreel.types.Result`.
    """
    fields = read_classes(info, outputs["probabilities"].mean(axis=0))
    if per_frame:
        fields["per_frame"] = {"time_s": sample.times, **_trace_classes(info, outputs["probabilities"])}
    return fields


def _name_scores(
    names: tuple[str, ...], supervised: tuple[str, ...], scores: npt.NDArray[Any]
) -> dict[str, float | None]:
    return {
        name: float(score) if name in supervised else None
        for name, score in zip(names, scores.tolist(), strict=True)
    }


def _name_traces(
    prefix: str, names: tuple[str, ...], supervised: tuple[str, ...], scores: npt.NDArray[Any]
) -> dict[str, npt.NDArray[np.float64]]:
    return {
        prefix + name: scores[:, k].astype(np.float64) for k, name in enumerate(names) if name in supervised
    }


def _weigh_supervised(info: BundleInfo, probabilities: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
    """[..., K] probabilities -> float64 that sum to 1 over the supervised classes; the others get 0.

    A class without a source has a share of the softmax that means nothing; it is taken out.
    """
    known = np.array([name in info.supervised.categories for name in info.labels.categories])
    weights = probabilities.astype(np.float64) * known
    total = weights.sum(axis=-1, keepdims=True)
    shares: npt.NDArray[np.float64] = weights / np.where(total > 0, total, 1.0)
    return shares


def read_classes(info: BundleInfo, probabilities: npt.NDArray[Any]) -> dict[str, Any]:
    """Probabilities [K] of the supervised classes, the most probable one and its probability."""
    names = info.labels.categories
    weights = _weigh_supervised(info, probabilities)
    fields: dict[str, Any] = {"probabilities": _name_scores(names, info.supervised.categories, weights)}
    if info.supervised.categories:
        best = int(weights.argmax())
        fields["category"], fields["confidence"] = names[best], float(weights[best])
    return fields


def _trace_classes(info: BundleInfo, probabilities: npt.NDArray[Any]) -> dict[str, npt.NDArray[np.float64]]:
    weights = _weigh_supervised(info, probabilities)
    return _name_traces("p_", info.labels.categories, info.supervised.categories, weights)
