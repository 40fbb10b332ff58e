"""Scores of one row on the test clips of one split."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from moodreel.emotions import GIFGIF_17
from moodreel.errors import SettingsError
from moodreel.lab import metrics
from moodreel.lab.ablation.fit import Labels, Prediction
from moodreel.lab.data.manifest import Row, split_by_group
from moodreel.lab.data.toon_programmes import ORDER_PAIRS
from moodreel.lab.data.toon_truth import ToonTruth
from moodreel.lab.evaluate import ENOUGH_OTHER
from moodreel.lab.pointing import score_pointing
from moodreel.lab.protocols import Indices
from moodreel.types import BoolArray, Float32Array, FloatArray

PAIRS = tuple((a.partition(":")[0], b.partition(":")[0]) for a, b in ORDER_PAIRS)
"""Emotions of which toon has programmes that only the order of the frames tells apart."""


def find_hidden(withhold: str, rows: Sequence[Row], truths: Sequence[ToonTruth] | None) -> BoolArray:
    """Which clips are of a kind whose keypoints training may not see.

    Args:
        withhold: "" for none; "style=cat,bear" for styles of a toon set; "groups=0.3" for that share of the
            groups, by a hash of their names.
        rows: all clips of the study.
        truths: of a toon set.

    Raises:
        SettingsError: it is neither, or hides nothing or everything.
    """
    kind, _, value = withhold.partition("=")
    if not withhold:
        return np.zeros(len(rows), bool)
    if kind == "style":
        if truths is None:
            raise SettingsError("--withhold", withhold, "groups=SHARE; only a toon set has styles")
        styles = {truth.style for truth in truths}
        chosen = set(value.split(","))
        if not chosen <= styles:
            raise SettingsError("--withhold", withhold, f"styles of this set: {', '.join(sorted(styles))}")
        hidden = np.array([truth.style in chosen for truth in truths])
    elif kind == "groups":
        try:
            share = float(value)
        except ValueError:
            share = math.nan
        if not 0 < share < 1:
            raise SettingsError("--withhold", withhold, "a share of the groups above 0 and below 1")
        hidden = np.array([split_by_group(f"withheld\0{row.group}", 0.0, share) == "test" for row in rows])
    else:
        raise SettingsError("--withhold", withhold, "style=NAME,... or groups=SHARE")
    if hidden.all() or not hidden.any():
        raise SettingsError("--withhold", withhold, "some of the clips, neither all nor none")
    return hidden


def score_labels(prediction: Prediction, labels: Labels, train: Indices, test: Indices) -> dict[str, Any]:
    """Accuracy, nMSE, Spearman and share of wrong pairs on the test clips.

    An emotion counts when training has labels of it that differ, and at least ``ENOUGH_OTHER`` of the test
    clips differ from its most common value: the same emotions for all rows of a split.

    Args:
        prediction: of the test clips.
        labels: of all clips.
        train: what was trained on, validation included.
        test: the test clips.
    """
    target, known, category = labels.scores[test], labels.known[test], labels.category[test]
    labelled = category >= 0
    out: dict[str, Any] = {
        "accuracy": metrics.accuracy(prediction.category[labelled], category[labelled]),
        "clips_with_category": int(labelled.sum()),
    }
    if prediction.intensities is None:
        return out
    nmse = metrics.nmse(prediction.intensities, target, known)
    each: dict[str, dict[str, float]] = {}
    for e, name in enumerate(GIFGIF_17):
        values, learnt = target[known[:, e], e], labels.scores[train][labels.known[train][:, e], e]
        if not len(values) or not len(learnt) or np.ptp(learnt) == 0:
            continue
        if len(values) - np.unique(values, return_counts=True)[1].max() < ENOUGH_OTHER:
            continue
        predicted = prediction.intensities[known[:, e], e]
        each[name] = {"nmse": float(nmse[e]), "spearman": metrics.spearman(predicted, values)}
    if each:
        out["nmse"] = float(np.mean([scores["nmse"] for scores in each.values()]))
        out["spearman"] = float(np.mean([scores["spearman"] for scores in each.values()]))
    return out | {"emotions": each}


def score_order(
    prediction: Prediction, labels: Labels, test: Indices, truths: Sequence[ToonTruth] | None
) -> dict[str, Any]:
    """How often the right member of a pair of emotions has the higher prediction: toon sets only.

    "all" takes every clip whose strongest emotion belongs to a pair; "reversals" those that act a programme
    of which the other member has the exact reversal, where nothing but order helps.
    """
    if truths is None or prediction.intensities is None:
        return {}
    told = metrics.tell_apart(prediction.intensities, labels.scores[test], labels.known[test], PAIRS)
    reversible = {name for pair in ORDER_PAIRS for name in pair}
    sets = {
        "all": [right for _, right in told],
        "reversals": [right for row, right in told if truths[test[row]].programme in reversible],
    }
    return {
        name: {"clips": len(rights), "accuracy": float(np.mean(rights))}
        for name, rights in sets.items()
        if rights
    }


def score_attention(
    attention: Float32Array, boxes: FloatArray, sets: Mapping[str, BoolArray]
) -> dict[str, Any]:
    """Pointing game and mass inside the face, each beside chance, over the frames that have a face.

    Args:
        attention: [n, T, h, w].
        boxes: [n, T, 4]; zeros without a face.
        sets: name -> [n] bool, which clips.

    Returns:
        set -> frames, hits, hit_chance, mass, mass_chance; sets without a face are left out.
    """
    found = ((boxes[..., 2:] - boxes[..., :2]) > 0).all(axis=-1)
    out = {}
    for name, chosen in sets.items():
        frames = found & chosen[:, None]
        if frames.any():
            scores = score_pointing(attention[frames], boxes[frames])
            out[name] = {"frames": int(frames.sum())} | {
                part: float(np.mean(getattr(scores, part)))
                for part in ("hits", "hit_chance", "mass", "mass_chance")
            }
    return out
