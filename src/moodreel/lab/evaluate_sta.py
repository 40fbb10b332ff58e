"""Scores of a bundle of the system ``sta``: its traces beside those that the manifest names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np

from moodreel.errors import DataError, MoodreelError
from moodreel.faces.detect import DetectorSettings
from moodreel.lab import metrics
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.traces import read_trace
from moodreel.lab.trace_metrics import join_traces, score_traces
from moodreel.lab.trace_regions import (
    RegionScores,
    find_faces,
    mask_regions,
    mean_regions,
    score_regions,
)
from moodreel.media import open_media
from moodreel.runtime.engine import Engine
from moodreel.runtime.postprocess import PostProcess
from moodreel.runtime.recognizer import DEFAULT_DETECTOR, Recognizer
from moodreel.runtime.schema import Post
from moodreel.runtime.trace import OK, TracePoint, trace_media
from moodreel.runtime.trace_reader import TraceReader
from moodreel.types import BoolArray, FloatArray, IntArray

MOVES = 0.3
"""A gold standard that spans at least this moves: whether the trace moves along is asked of such clips."""

ROUNDS = 200
"""Resamplings of the groups."""


@dataclass(frozen=True, eq=False)
class _Traced:
    """One clip that was read.

    Attributes:
        row: of the manifest.
        raw, shipped: [n] values without and with the bundle's post-processing; NaN without a face.
        gold: [n] gold standard, NaN where there is none.
        found: [n] whether the tick has a face of its own.
        regions: of the ticks with attention and known eyes and mouth.
    """

    row: Row
    raw: FloatArray
    shipped: FloatArray
    gold: FloatArray
    found: BoolArray
    regions: list[RegionScores]


def score_sta(recognizer: Recognizer, rows: Sequence[Row], known: bool) -> dict[str, Any]:
    """RMSE, CC and CCC over concatenated sequences, on ticks with a face and a gold standard.

    The paper scores interpolated ticks as well: ``..._interpolated``.

    Args:
        recognizer: of the bundle.
        rows: of a manifest; those without a trace are left out.
        known: takes faces from the rows' keypoints, and scores the attention on eyes and mouth.

    Returns:
        score name -> value; ``..._raw``: without the bundle's post-processing; ``..._interpolated``: on all
        ticks that have a value, as the paper scores (Sec. 3.1), of which ``face_share`` have a face of their
        own. ``follows`` is the share of clips whose gold standard moves in which the trace moves the same
        way, ``smile_rises`` that of those among them whose ``label_ekman`` is happiness. Clips that cannot be
        read are counted as ``failed``; without a tick with a face, counts are all there is.

    Raises:
        DataError: no row has a trace, or none can be read (with the reason of the first).
    """
    rows = [row for row in rows if row.trace is not None and (not known or row.keypoints is not None)]
    if not rows:
        raise DataError("no row of this split names a trace: nothing to score sta on")
    info, engine = recognizer.info, cast(Engine, recognizer.engine)
    target = info.training.get("recipe", {}).get("model", {}).get("target", "auto")
    finding = None if known else TraceReader(info, engine, DEFAULT_DETECTOR, raw=True)
    done: list[_Traced] = []
    failures: list[str] = []
    for row in rows:
        reader = finding
        if reader is None:  # of the file that is named, which need not be called as the clip is
            detector = DetectorSettings("openpose", files=row.keypoints)
            reader = TraceReader(info, engine, detector, raw=True)
        try:
            done.append(_trace(reader, row, info.post, target, known))
        except MoodreelError as error:
            failures.append(str(error))
    if not done:
        raise DataError(f"none of the {len(rows)} clips with a trace could be read: {failures[0]}")
    counts = {"clips": len(done), "failed": len(rows) - len(done)}
    return counts | _score(done, recognizer.info.training.get("target_mean"))


def _trace(reader: TraceReader, row: Row, post: Post | None, target: str, known: bool) -> _Traced:
    assert row.trace is not None
    media = open_media(row.clip)
    points = list(trace_media(media, reader.make_tracer(media, keep_attention=known)))
    times = np.array([point.time for point in points])
    raw = np.array([np.nan if point.valence is None else point.valence for point in points])
    chain = PostProcess() if post is None else PostProcess(**vars(post))
    gold = read_trace(row.trace, target).at(times, 0.5 / reader.fps)
    found = np.array([point.status == OK for point in points])
    regions = _score_attention(reader, row, points) if known else []
    return _Traced(row, raw, chain.apply(times, raw), gold, found, regions)


def _score_attention(reader: TraceReader, row: Row, points: Sequence[TracePoint]) -> list[RegionScores]:
    faces = find_faces(row, reader.fps)
    scores = []
    for point, there in zip(points, faces, strict=True):
        if point.attention is None or point.place is None:
            continue
        masks = mask_regions(there, point.place, point.attention.shape[0])
        if masks is not None and np.ptp(point.attention) > 0:  # even by construction at the first tick
            scores.append(score_regions(point.attention, masks))
    return scores


def _score(done: Sequence[_Traced], mean: float | None) -> dict[str, Any]:
    counts = [each.found & ~np.isnan(each.gold) for each in done]
    gold = [each.gold for each in done]
    x, y = join_traces([each.shipped for each in done], gold, counts)
    raw, _ = join_traces([each.raw for each in done], gold, counts)
    groups = [each.row.group for each, m in zip(done, counts, strict=True) for _ in range(int(m.sum()))]
    out: dict[str, Any] = {"ticks": len(y)}
    out["clips_without_a_face"] = sum(not each.found.any() for each in done)
    if not len(y):
        return out
    scores, plain = score_traces([x], [y]), score_traces([raw], [y])
    for name in ("ccc", "cc", "rmse"):

        def statistic(rows: IntArray, name: str = name) -> float:
            return float(getattr(score_traces([x[rows]], [y[rows]]), name))

        out[name] = getattr(scores, name)
        out[f"{name}_interval"] = metrics.bootstrap_interval(statistic, groups, rounds=ROUNDS)
        out[f"{name}_raw"] = getattr(plain, name)
    stated = [~np.isnan(each.gold) & ~np.isnan(each.raw) for each in done]  # interpolated ticks too
    everything = score_traces([each.shipped for each in done], gold, stated)
    out["face_share"] = len(y) / everything.count
    out |= {f"{name}_interpolated": getattr(everything, name) for name in ("ccc", "cc", "rmse")}
    if mean is not None:
        out["rmse_of_training_mean"] = float(np.sqrt(((y - mean) ** 2).mean()))
    moved = [
        (each, told) for each, m in zip(done, counts, strict=True) if (told := _follows(each, m)) is not None
    ]
    for name, chosen in (
        ("follows", moved),
        ("smile_rises", [pair for pair in moved if pair[0].row.labels.get("ekman") == "happiness"]),
    ):
        if chosen:
            out[name] = float(np.mean([told for _, told in chosen]))
            out[f"{name}_clips"] = len(chosen)
    regions = [mean_regions(each.regions) for each in done if each.regions]
    if regions:
        out |= {f"attention_{name}": value for name, value in vars(mean_regions(regions)).items()}
        out["attention_clips"] = len(regions)
    return out


def _follows(each: _Traced, counts: BoolArray) -> bool | None:
    """Whether the trace is higher where the gold standard is; None where the latter does not move."""
    gold, shipped = each.gold[counts], each.shipped[counts]
    if not len(gold) or np.ptp(gold) < MOVES:
        return None
    low, high = gold.min() + np.ptp(gold) / 3, gold.max() - np.ptp(gold) / 3
    return bool(shipped[gold >= high].mean() > shipped[gold <= low].mean())
