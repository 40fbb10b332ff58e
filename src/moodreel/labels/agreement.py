"""Rater disagreement, with and without context (CACA-RNN, Sec. III-A and Fig. 1).

The paper asks: do raters agree more when they see the whole picture than when they see only the face? Per
emotion it takes the variance of the intensities that the raters of a clip gave, and averages it over clips.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from moodreel.errors import SettingsError, require
from moodreel.types import BoolArray, FloatArray, IntArray

CHUNK = 64
"""Resamplings at once: bounds the memory."""


@dataclass(frozen=True, eq=False)
class RaterSpread:
    """How far the raters of each clip are apart: N clips, C conditions, E emotions.

    Attributes:
        clips, conditions, emotions: names.
        variance: [N, C, E] unbiased variance among the raters; NaN for fewer than two of them.
        raters: [N, C, E] how many there are.
        group: [N] numbers from 0: which clips belong together (of one person, one show); None: unknown.

    Raises:
        SettingsError: an array has another shape.
    """

    clips: tuple[str, ...]
    conditions: tuple[str, ...]
    emotions: tuple[str, ...]
    variance: FloatArray
    raters: IntArray
    group: IntArray | None = None

    def __post_init__(self) -> None:
        shape = (len(self.clips), len(self.conditions), len(self.emotions))
        for name in ("variance", "raters"):
            got = getattr(self, name).shape
            require(got == shape, f"RaterSpread.{name}", list(got), str(list(shape)))
        if self.group is not None:
            got = self.group.shape
            require(got == shape[:1], "RaterSpread.group", list(got), str(list(shape[:1])))

    @property
    def alone(self) -> int:
        """Cells of clip, condition and emotion with one rater: they have no variance."""
        return int((self.raters == 1).sum())


@dataclass(frozen=True)
class Bootstrap:
    """How intervals are made: percentiles over resampled clips, or groups of clips.

    Attributes:
        rounds: resamplings.
        level: of the interval.
        seed: of the resampling.
        grouped: whether whole groups are drawn: for what is said of other persons, not only of other clips
            of the same ones.

    Raises:
        SettingsError: a field has a value that is not allowed.
    """

    rounds: int = 2000
    level: float = 0.95
    seed: int = 0
    grouped: bool = False

    def __post_init__(self) -> None:
        require(1 <= self.rounds <= 1_000_000, "rounds", self.rounds, "a number from 1 to 1000000")
        require(0 < self.level < 1, "level", self.level, "a share between 0 and 1")
        require(self.seed >= 0, "seed", self.seed, "0 or more")


@dataclass(frozen=True)
class Disagreement:
    """One number with its interval.

    Attributes:
        emotion: None for the mean over emotions.
        condition: of the raters.
        other: the condition that is subtracted; None where it is no difference.
        clips: with at least two raters (of a difference: in both conditions).
        raters: mean number of raters of these clips; of a difference, of both conditions.
        value: mean over clips of the variance, or of its difference. NaN without clips.
        low, high: ends of its interval; NaN for fewer than two clips.
    """

    emotion: str | None
    condition: str
    other: str | None
    clips: int
    raters: float
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Agreement:
    """What was found.

    Attributes:
        conditions, emotions: names.
        means: of each emotion (and last of all emotions together) and condition.
        differences: likewise, of each two conditions, over clips that have both.
        bootstrap: how the intervals were made.
    """

    conditions: tuple[str, ...]
    emotions: tuple[str, ...]
    means: tuple[Disagreement, ...]
    differences: tuple[Disagreement, ...]
    bootstrap: Bootstrap


def find_variance(squares: FloatArray, count: IntArray) -> FloatArray:
    """Unbiased variance; NaN for fewer than two values.

    Args:
        squares: sums of the squared distances from the mean.
        count: of values.
    """
    return np.where(count > 1, squares / np.maximum(count - 1, 1), np.nan)


def estimate_disagreement(
    spread: RaterSpread,
    bootstrap: Bootstrap = Bootstrap(),
) -> Agreement:
    """Mean variance among raters, per emotion and condition, and differences between conditions.

    Each resampling draws as many clips (or groups) as there are, with replacement, and serves all emotions
    and conditions, so that the mean over emotions and the paired differences keep what belongs together.

    Args:
        spread: of at least one clip, condition and emotion.
        bootstrap: how intervals are made.

    Raises:
        SettingsError: there is none of one of these, or groups are asked for that are not known.
    """
    for name in ("clips", "conditions", "emotions"):
        require(bool(getattr(spread, name)), f"spread.{name}", 0, "at least one")
    group = spread.group if bootstrap.grouped else np.arange(len(spread.clips))
    if group is None:
        raise SettingsError("grouped", True, "a file that names the groups")
    columns: list[FloatArray] = []
    counts: list[FloatArray] = []
    heads: list[tuple[str, str | None]] = []
    places = range(len(spread.conditions))
    for one in places:
        columns.append(spread.variance[:, one])
        counts.append(spread.raters[:, one].astype(np.float64))
        heads.append((spread.conditions[one], None))
    for one, two in combinations(places, 2):
        columns.append(spread.variance[:, one] - spread.variance[:, two])
        counts.append((spread.raters[:, one] + spread.raters[:, two]) / 2)
        heads.append((spread.conditions[one], spread.conditions[two]))
    values = np.stack(columns, axis=1)  # [N, comparisons, E]
    found = np.isfinite(values)
    clips = found.sum(axis=0)
    raters = _divide(np.where(found, np.stack(counts, axis=1), 0.0).sum(axis=0), clips)
    value = _divide(np.where(found, values, 0.0).sum(axis=0), clips)
    drawn = np.concatenate(list(_resample(values, found, group, bootstrap)))
    tails = [(1 - bootstrap.level) / 2, (1 + bootstrap.level) / 2]
    low, high = _find_quantiles(drawn, tails)
    mean_low, mean_high = _find_quantiles(_mean_known(drawn), tails)
    some = found.any(axis=2).sum(axis=0)
    entries: list[Disagreement] = []
    for k, (condition, other) in enumerate(heads):
        for e, emotion in enumerate((*spread.emotions, None)):
            if emotion is None:
                count, ends = int(some[k]), (mean_low[k], mean_high[k])
                crowd, mean = _mean_known(raters[k]), _mean_known(value[k])
            else:
                count, ends = int(clips[k, e]), (low[k, e], high[k, e])
                crowd, mean = raters[k, e], value[k, e]
            down, up = (float(end) if count > 1 else math.nan for end in ends)
            entries.append(
                Disagreement(emotion, condition, other, count, float(crowd), float(mean), down, up)
            )
    means = tuple(entry for entry in entries if entry.other is None)
    differences = tuple(entry for entry in entries if entry.other is not None)
    return Agreement(spread.conditions, spread.emotions, means, differences, bootstrap)


def _resample(
    values: FloatArray, found: BoolArray, group: IntArray, bootstrap: Bootstrap
) -> Iterator[FloatArray]:
    """Yields [rounds of a chunk, K, E] means of resampled groups of clips, NaN where none had a value."""
    count, groups = len(values), int(group.max()) + 1
    flat = np.where(found, values, 0.0).reshape(count, -1)
    there = found.reshape(count, -1).astype(np.float64)
    rng = np.random.default_rng(bootstrap.seed)
    for start in range(0, bootstrap.rounds, CHUNK):
        rounds = min(CHUNK, bootstrap.rounds - start)
        weights = np.stack(
            [np.bincount(rng.integers(groups, size=groups), minlength=groups)[group] for _ in range(rounds)]
        ).astype(np.float64)
        yield _divide(weights @ flat, weights @ there).reshape(rounds, *values.shape[1:])


def _divide(total: FloatArray, count: FloatArray | IntArray) -> FloatArray:
    return np.where(count > 0, total / np.where(count > 0, count, 1), np.nan)


def _mean_known(values: FloatArray) -> FloatArray:
    """Mean over the last axis of what is not NaN."""
    known = np.isfinite(values)
    return _divide(np.where(known, values, 0.0).sum(axis=-1), known.sum(axis=-1))


def _find_quantiles(drawn: FloatArray, tails: list[float]) -> tuple[FloatArray, FloatArray]:
    """Quantiles over the first axis, NaN where nothing is known."""
    known = np.isfinite(drawn).any(axis=0)
    low, high = np.nanquantile(np.where(known, drawn, 0.0), tails, axis=0)
    return np.where(known, low, np.nan), np.where(known, high, np.nan)
