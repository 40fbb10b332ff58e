"""What people and detectors would have said of toon clips: votes, valence traces and found keypoints.

All of it is drawn from the truth by models that are written down here; nobody was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from moodreel.emotions import GIFGIF_17
from moodreel.types import FloatArray

VOTES_A_CLIP = 6
"""Votes cast per clip and emotion; as each names two clips, a clip is seen twice as often."""

VOTERS = 40
RATERS = 5
TRACE_STEP = 0.04
"""Seconds between two values of a trace."""

MISSING, WRONG = 0.12, 0.05
"""Shares of keypoints that the detector lacks, and that it puts somewhere else."""

_SEEN, _APART = 0.2, 0.08
_CARELESS = 0.04


@dataclass(frozen=True)
class Vote:
    """One answer to "which of the two shows more of this emotion?".

    Attributes:
        emotion: of the GIFGIF 17.
        left, right: names of clips.
        choice: "left", "right" or "neither".
        voter: name.
        time: ISO 8601, UTC.
    """

    emotion: str
    left: str
    right: str
    choice: str
    voter: str
    time: str


def cast_votes(scores: Mapping[str, Mapping[str, float]], rng: np.random.Generator) -> list[Vote]:
    """Pairwise votes of noisy raters, in the order of their times.

    A Thurstone model: a voter sees strength (score + 1) / 2 of each clip with normal noise of the voter's own
    size (0.08 to 0.25) and names the larger one; "neither" when both stay below 0.2 or they differ by less
    than 0.08. 4 % of the votes are blind.

    Args:
        scores: clip -> emotion -> [-1, 1].
        rng: source of chance.
    """
    names = list(scores)
    if len(names) < 2:
        return []
    strength = (np.array([[scores[name][emotion] for emotion in GIFGIF_17] for name in names]) + 1) / 2
    count = VOTES_A_CLIP * len(names) * len(GIFGIF_17)
    emotion = rng.permutation(np.arange(count) % len(GIFGIF_17))
    left = rng.integers(len(names), size=count)
    right = (left + rng.integers(1, len(names), size=count)) % len(names)
    voter = np.minimum(rng.exponential(VOTERS / 4, count).astype(int), VOTERS - 1)  # few people vote much
    unsure = rng.uniform(0.08, 0.25, VOTERS)[voter]
    seen_left = strength[left, emotion] + rng.normal(0, 1, count) * unsure
    seen_right = strength[right, emotion] + rng.normal(0, 1, count) * unsure
    choice = np.where(seen_left > seen_right, 0, 1)
    choice[np.maximum(seen_left, seen_right) < _SEEN] = 2
    choice[np.abs(seen_left - seen_right) < _APART] = 2
    blind = rng.random(count) < _CARELESS
    choice[blind] = rng.integers(0, 3, int(blind.sum()))
    seconds = np.floor(np.cumsum(rng.exponential(40, count))).tolist()
    begin = datetime(2024, 1, 1, tzinfo=UTC)
    times = [(begin + timedelta(seconds=s)).strftime("%Y-%m-%dT%H:%M:%SZ") for s in seconds]
    columns = np.stack([emotion, left, right, choice, voter], axis=1).tolist()
    return [
        Vote(GIFGIF_17[e], names[a], names[b], ("left", "right", "neither")[c], f"voter_{v:02d}", time)
        for (e, a, b, c, v), time in zip(columns, times, strict=True)
    ]


def draw_lags(seed: int) -> FloatArray:
    """[RATERS] seconds by which each rater of a data set reacts late, on average."""
    lags: FloatArray = np.random.default_rng([seed, 7]).uniform(0.15, 0.6, RATERS)
    return lags


def rate_valence(truth: FloatArray, lags: Sequence[float], rng: np.random.Generator) -> FloatArray:
    """Traces that raters would have drawn with a slider.

    Each rater follows the truth late, smoothed over 0.12 s, with a gain (0.75 to 1.2), an offset and slow
    noise of their own. Before the lag has passed the slider stands where the clip begins.

    Args:
        truth: [N] valence every :data:`TRACE_STEP` seconds.
        lags: seconds, one a rater.
        rng: source of chance.

    Returns:
        [N, raters] in [-1, 1].
    """
    columns = []
    for lag in lags:
        late = np.maximum(np.arange(len(truth)) - round(lag / TRACE_STEP), 0)
        window = np.stack([truth[np.maximum(late - k, 0)] for k in range(3)])
        noise, level = rng.normal(0, 0.02, len(truth)), 0.0
        for i, step in enumerate(noise.tolist()):
            level = 0.9 * level + step
            noise[i] = level
        columns.append(
            np.clip(rng.uniform(0.75, 1.2) * window.mean(axis=0) + rng.normal(0, 0.06) + noise, -1, 1)
        )
    return np.stack(columns, axis=1)


def detect_keypoints(points: FloatArray, size: tuple[int, int], rng: np.random.Generator) -> FloatArray:
    """What a keypoint detector would have found.

    Points jitter by 1 % of the face's height with confidence 0.6 to 1; 12 % are missing, (0, 0) with
    confidence 0, as are all outside the frame; 5 % lie somewhere else near the face, with confidence
    0.05 to 0.45.

    Args:
        points: [T, 70, 2] exact, pixels.
        size: width and height of the frame.
        rng: source of chance.

    Returns:
        [T, 70, 3] x, y, confidence.
    """
    extent = points.max(axis=1, keepdims=True) - points.min(axis=1, keepdims=True)
    found = np.empty((*points.shape[:2], 3))
    found[..., :2] = points + rng.normal(0, 0.01, points.shape) * extent[..., 1:]
    found[..., 2] = rng.uniform(0.6, 1.0, points.shape[:2])
    kind = rng.random(points.shape[:2])
    wrong = kind < WRONG
    found[wrong, :2] += (rng.uniform(-0.5, 0.5, points.shape) * extent)[wrong]
    found[wrong, 2] = rng.uniform(0.05, 0.45, int(wrong.sum()))
    outside = ((found[..., :2] < 0) | (found[..., :2] >= np.array(size))).any(axis=-1)
    found[outside | (kind > 1 - MISSING)] = 0
    return found
