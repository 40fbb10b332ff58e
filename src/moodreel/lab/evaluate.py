"""Scores of a bundle on manifests, through the runtime: what is measured is what ships."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Container, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from moodreel.emotions import EKMAN_7, EKMAN_TO_GIFGIF, GIFGIF_17, MEC_8, QUADRANTS, VOCABULARIES
from moodreel.errors import DataError
from moodreel.faces.detect import DetectorSettings
from moodreel.faces.openpose import read_keypoints
from moodreel.lab import metrics
from moodreel.lab.data.labels import class_of, label_arrays
from moodreel.lab.data.manifest import Manifest, Row, read_manifest
from moodreel.lab.evaluate_sta import score_sta
from moodreel.lab.losses import ranking_errors
from moodreel.lab.pointing import score_pointing
from moodreel.lab.slices import slice_rows
from moodreel.media import frames_showing, open_media
from moodreel.runtime.recognizer import Recognizer, load
from moodreel.runtime.schema import BundleInfo
from moodreel.types import Result

Indices = NDArray[np.int64]

ENOUGH_OTHER = 5
"""Labels that must differ from an emotion's most common one before it counts in an average."""

LOOK_FOR_FACES = ("caca-rnn",)
"""Systems of :data:`SCORERS` that find and follow faces themselves."""

SMALL = 0.25
"""A face whose box fills at most this share of the frame is small."""

INTERVAL_ROUNDS = 200
"""Resamplings behind an interval; five times as many for accuracy, which costs little."""

SLICE_SCORES = ("mean_spearman", "accuracy", "map", "quadrant_accuracy", "pointing", "pointing_chance")
"""Scores that are given for parts of a split."""

ENOUGH = 30
"""A class with fewer rows than this is listed, but not part of the macro-F1."""


def evaluate(target: str, data: Sequence[Path], split: str = "test") -> dict[str, Any]:
    """Scores a run or a bundle on one split of each manifest.

    Args:
        target: run folder, bundle folder or zip, or the name of a bundle that ships.
        data: manifests.
        split: which rows; "all" takes every one, labelled as of a split or not.

    A system that looks for faces is scored twice where rows name keypoints: as it ships, and, under the
    manifest's name and ", faces known", on those rows with the keypoints in place of its detector.

    Returns:
        manifest name -> score name -> number, list or nested dict. Rows that cannot be read are counted as
        ``failed``; they are in no score.

    Raises:
        DataError, BundleError: a manifest or the target is wrong.
    """
    recognizer = open_target(target)
    if recognizer.info.system == "sta":
        return _evaluate_traces(recognizer, data, split)
    scores: dict[str, Any] = {}
    for manifest in map(read_manifest, data):
        rows = list(manifest.rows) if split == "all" else manifest.select(split)
        name = name_manifest(manifest, scores)
        pairs = predict_rows(recognizer, rows)
        if not pairs:
            raise DataError(f"{manifest.path}: none of the {len(rows)} clips could be read")
        scores[name] = _count(rows, pairs) | _score(recognizer.info, manifest, pairs)
        known = [row for row in rows if row.keypoints is not None]
        if known and recognizer.info.system in LOOK_FOR_FACES:
            pairs = predict_known(recognizer, known)
            scores[f"{name}, faces known"] = _count(known, pairs) | _score(recognizer.info, manifest, pairs)
    return scores


def _evaluate_traces(recognizer: Recognizer, data: Sequence[Path], split: str) -> dict[str, Any]:
    """As :func:`evaluate`, of the system that is scored along time, not by a Result a clip."""
    scores: dict[str, Any] = {}
    for manifest in map(read_manifest, data):
        rows = list(manifest.rows) if split == "all" else manifest.select(split)
        name = name_manifest(manifest, scores)
        scores[name] = score_sta(recognizer, rows, known=False)
        if any(row.keypoints is not None and row.trace is not None for row in rows):
            scores[f"{name}, faces known"] = score_sta(recognizer, rows, known=True)
    return scores


def _score(info: BundleInfo, manifest: Manifest, pairs: Sequence[tuple[Row, Result]]) -> dict[str, Any]:
    """Scores of the rows, and the main ones of their parts."""
    score = SCORERS[info.system]
    scores = score(info, pairs, INTERVAL_ROUNDS)
    slices: dict[str, dict[str, Any]] = {}
    for kind, parts in slice_rows(manifest.path, [row for row, _ in pairs]).items():
        for part, places in parts.items():
            try:
                some = score(info, [pairs[k] for k in places], 0)
            except DataError:  # none of these rows is labelled
                continue
            main = {key: some[key] for key in SLICE_SCORES if key in some}
            slices.setdefault(kind, {})[part] = {"clips": len(places)} | main
    return scores | ({"slices": slices} if slices else {})


def _count(rows: Sequence[Row], pairs: Sequence[tuple[Row, Result]]) -> dict[str, Any]:
    return {"clips": len(pairs), "failed": len(rows) - len(pairs)}


def open_target(target: str) -> Recognizer:
    """The recogniser of a run (as it would be exported) or a bundle.

    Raises:
        DataError, BundleError: it is neither.
    """
    if not (Path(target) / "recipe.json").is_file():
        return load(target)
    from moodreel.lab.export import export

    with tempfile.TemporaryDirectory() as folder:
        export(Path(target), Path(folder) / "run", score=False)
        return load(str(Path(folder) / "run"))


def predict_rows(recognizer: Recognizer, rows: Sequence[Row]) -> list[tuple[Row, Result]]:
    """Rows with their results, in order; rows that cannot be read are left out."""
    results = recognizer.map(row.clip for row in rows)
    return [(row, r) for row, r in zip(rows, results, strict=True) if r.ok]


def predict_known(recognizer: Recognizer, rows: Sequence[Row]) -> list[tuple[Row, Result]]:
    """As :func:`predict_rows`, with faces from the keypoint files of rows, named as their clips are."""
    folders: dict[Path, list[Row]] = {}
    for row in rows:
        assert row.keypoints is not None
        folders.setdefault(row.keypoints.parent, []).append(row)
    pairs = []
    for folder, members in folders.items():
        detector = DetectorSettings("openpose", files=folder)
        pairs += predict_rows(Recognizer(recognizer.info, recognizer.engine, detector=detector), members)
    return pairs


def name_manifest(manifest: Manifest, taken: Container[str]) -> str:
    """Short name of a manifest among others: its path where two folders have one name."""
    return str(manifest.path) if manifest.name in taken else manifest.name


def _score_face(info: BundleInfo, pairs: Sequence[tuple[Row, Result]], rounds: int) -> dict[str, Any]:
    pairs = [(row, r) for row, r in pairs if "ekman" in row.labels]
    if not pairs:
        raise DataError("no row with label_ekman to score a face bundle on")
    predicted = np.array([EKMAN_7.index(str(r.category)) for _, r in pairs])
    confidence = [r.confidence or 0.0 for _, r in pairs]
    right = predicted == [EKMAN_7.index(row.labels["ekman"]) for row, _ in pairs]
    return _score_classes(predicted, pairs, rounds) | _score_confidence(confidence, right)


def _score_confidence(confidence: ArrayLike, right: ArrayLike) -> dict[str, float]:
    return {
        "calibration_error": metrics.expected_calibration_error(confidence, right),
        "calibration_error_by_chance": metrics.calibration_floor(confidence),
    }


def _score_classes(
    predicted: np.ndarray, pairs: Sequence[tuple[Row, Result]], rounds: int, vocabulary: str = "ekman"
) -> dict[str, Any]:
    """Classes of a vocabulary: accuracy with an interval over groups, F1, confusion matrix."""
    names = VOCABULARIES[vocabulary]
    label = np.array([class_of(row, vocabulary) for row, _ in pairs])
    groups = [row.group for row, _ in pairs]
    right = predicted == label
    count = len(names)
    matrix = metrics.confusion_matrix(predicted, label, count)
    f1 = metrics.class_f1(predicted, label, count)
    recall = matrix.diagonal() / np.maximum(matrix.sum(axis=1), 1)
    return {
        "accuracy": metrics.accuracy(predicted, label),
        **_bootstrap("accuracy", lambda i: float(right[i].mean()), groups, 5 * rounds),
        "macro_f1": metrics.macro_f1(predicted, label, count, ENOUGH),
        "mean_recall": float(recall[matrix.sum(axis=1) > 0].mean()),
        "f1": {name: _number(f1[k]) for k, name in enumerate(names)},
        "rows": {name: int(matrix[k].sum()) for k, name in enumerate(names)},
        "confusion": matrix.tolist(),
    }


def _bootstrap(
    name: str, statistic: Callable[[Indices], float], groups: Sequence[str], rounds: int
) -> dict[str, tuple[float, float]]:
    """``name_interval``; nothing where no rounds are asked for."""
    if not rounds:
        return {}
    return {f"{name}_interval": metrics.bootstrap_interval(statistic, groups, rounds=rounds)}


def _score_caca_rnn(info: BundleInfo, pairs: Sequence[tuple[Row, Result]], rounds: int) -> dict[str, Any]:
    """mAP, accuracy and UAR over the classes of MEC, and how far faces were found.

    Of clips whose class nothing supervised, none is scored.
    """
    pairs = [(row, r) for row, r in pairs if class_of(row, "mec") >= 0 and r.category is not None]
    if not pairs:
        raise DataError("no row with label_mec, or an Ekman label that has a MEC class")
    label = np.array([class_of(row, "mec") for row, _ in pairs])
    given = np.array([[r.probabilities[name] or 0.0 for name in MEC_8] for _, r in pairs])
    scenes = [r.scene for _, r in pairs if r.scene is not None]
    right = given.argmax(axis=1) == label
    groups = [row.group for row, _ in pairs]
    return {
        "map": metrics.mean_average_precision(given, label),
        **_bootstrap("map", lambda i: metrics.mean_average_precision(given[i], label[i]), groups, rounds),
        **_score_classes(given.argmax(axis=1), pairs, rounds, "mec"),
        **_score_confidence(given.max(axis=1), right),
        "clips_with_a_face": sum(scene.face is not None for scene in scenes),
        "face_share": float(np.mean([scene.share for scene in scenes])),
    }


def _score_kavan(info: BundleInfo, pairs: Sequence[tuple[Row, Result]], rounds: int) -> dict[str, Any]:
    """Intensities per emotion and on average, Eq. 11, quadrants; seven classes where rows have them.

    An emotion is part of the averages when at least ``ENOUGH_OTHER`` of its targets differ from the most
    common one: a single positive among thousands says nothing.
    """
    labels = [label_arrays(row) for row, _ in pairs]
    target = np.stack([values for values, _, _ in labels]).astype(float)
    known = np.stack([mask for _, mask, _ in labels])
    given = [[r.emotions[e] for e in GIFGIF_17] for _, r in pairs]
    predicted = np.array(given, float)  # None becomes NaN
    known &= ~np.isnan(predicted)
    predicted = np.nan_to_num(predicted)
    means = info.training.get("target_mean", {})
    constant = np.tile([float(means.get(name, 0.0)) for name in GIFGIF_17], (len(pairs), 1))
    each, plain = metrics.nmse(predicted, target, known), metrics.nmse(constant, target, known)
    scores: dict[str, Any] = {}
    for e, name in enumerate(GIFGIF_17):
        a, b = predicted[known[:, e], e], target[known[:, e], e]
        if len(b) == 0:
            continue
        others = len(b) - int(np.unique(b, return_counts=True)[1].max())
        scores[name] = {
            "spearman": metrics.spearman(a, b) if others else None,
            "concordance": _number(metrics.concordance(a, b)),
            "nmse": _number(each[e]),
            "nmse_of_training_mean": _number(plain[e]) if name in means else None,
            "clips": len(b),
            "others": others,
        }
    if not scores:
        raise DataError("no row with a score or label that this bundle predicts")
    chosen = [name for name, row in scores.items() if row["others"] >= ENOUGH_OTHER]
    columns = [GIFGIF_17.index(name) for name in chosen]

    def mean_spearman(rows: Indices) -> float:
        drawn = [(predicted[rows, e][known[rows, e]], target[rows, e][known[rows, e]]) for e in columns]
        each = [metrics.spearman(a, b) for a, b in drawn if len(b) > 1 and np.ptp(b) > 0]
        return float(np.mean(each)) if each else float("nan")

    groups = [row.group for row, _ in pairs]
    tensors = [torch.from_numpy(a) for a in (predicted, target, known)]
    out: dict[str, Any] = {"mean_over": chosen}
    if chosen:
        out["mean_spearman"] = mean_spearman(np.arange(len(pairs)))
        out |= _bootstrap("mean_spearman", mean_spearman, groups, rounds)
    for key in ("concordance", "nmse", "nmse_of_training_mean"):
        values = [scores[name][key] for name in chosen]
        if values and None not in values:
            out[f"mean_{key}"] = float(np.mean(values))
    out["ranking_errors"] = float(ranking_errors(*tensors).nanmean())
    labelled = [(c, r) for (_, _, c), (_, r) in zip(labels, pairs, strict=True) if c >= 0]
    if labelled:
        right = np.array([QUADRANTS[c] == r.category for c, r in labelled])
        confidence = [r.confidence or 0.0 for _, r in labelled]
        out["quadrant_accuracy"] = float(right.mean())
        out["quadrant_clips"] = len(labelled)
        out |= _score_confidence(confidence, right)
    faces = [(row, r) for row, r in pairs if "ekman" in row.labels]
    if faces:
        out |= _score_classes(np.array([strongest_class(r) for _, r in faces]), faces, rounds)
    return out | _score_attention(pairs) | {"emotions": scores}


def _score_attention(pairs: Sequence[tuple[Row, Result]]) -> dict[str, Any]:
    """Pointing game and mass on the face, where rows name keypoints; ``_small``: boxes up to ``SMALL``.

    Means over clips of the means over their frames that show a face.
    """
    each: dict[str, list[float]] = {}
    for row, result in pairs:
        if row.keypoints is None or result.attention is None or result.attention_times is None:
            continue
        found = read_keypoints(row.keypoints).at(
            frames_showing(open_media(row.clip).timeline.starts, result.attention_times)
        )
        if not found.found.any():
            continue
        boxes = found.boxes[found.found]
        pointing = score_pointing(result.attention[found.found], boxes)
        kinds = [""] if np.mean(pointing.mass_chance) > SMALL else ["", "_small"]
        for kind in kinds:
            for name, values in (
                ("pointing", pointing.hits),
                ("pointing_chance", pointing.hit_chance),
                ("attention_on_face", pointing.mass),
                ("attention_on_face_chance", pointing.mass_chance),
            ):
                each.setdefault(name + kind, []).append(float(values.mean()))
    out: dict[str, Any] = {name: float(np.mean(values)) for name, values in each.items()}
    for kind in ("", "_small"):
        if "pointing" + kind in each:
            out["pointing_clips" + kind] = len(each["pointing" + kind])
    return out


SCORERS = {"kavan": _score_kavan, "face": _score_face, "caca-rnn": _score_caca_rnn}
"""What is measured of the systems that classify or rate whole clips."""


def strongest_class(result: Result) -> int:
    """Ekman class of the strongest mapped emotion; neutral when none is above 0."""
    values = {ours: result.emotions[theirs] for ours, theirs in EKMAN_TO_GIFGIF.items()}
    strongest = max(values, key=lambda name: -2.0 if values[name] is None else float(values[name] or 0.0))
    return EKMAN_7.index(strongest if (values[strongest] or 0.0) > 0 else "neutral")


def _number(value: float) -> float | None:
    return None if np.isnan(value) else float(value)
