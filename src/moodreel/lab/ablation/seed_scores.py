"""What runs over several seeds say: medians, paired differences, and both on parts of the test items."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moodreel.errors import DataError, SettingsError, require
from moodreel.lab import metrics
from moodreel.lab.protocols import Interval, t_interval
from moodreel.lab.seed_study import LABELS, PROBABILITIES, Arrays, Run, SeedStudy
from moodreel.types import BoolArray, FloatArray, IntArray

Statistic = Callable[[Arrays, IntArray], float]
"""(arrays of a run, indices [n] of test items, with repeats) -> score; NaN where it is not defined."""

ROUNDS = 1000
"""Resamplings of the test groups."""

SAME = 1e-4
"""How far the score of a run may be from that of its stored arrays, which may be of half the bits."""


@dataclass(frozen=True)
class Metric:
    """A score in the tables.

    Attributes:
        key: its name in :attr:`~moodreel.lab.seed_study.Outcome.scores`.
        title: head of its column, without unit.
        percent: whether it is told as a percentage; its values are fractions.
        better: "more" or "less".
        digits: after the point, as told.
        statistic: of stored arrays; without it, no intervals over test groups and no parts of the test items.
    """

    key: str
    title: str
    percent: bool
    better: str = "more"
    digits: int = 2
    statistic: Statistic | None = None

    def __post_init__(self) -> None:
        require(self.better in ("more", "less"), "Metric.better", self.better, "'more' or 'less'")

    @property
    def scale(self) -> float:
        """From a value to the number that is told."""
        return 100.0 if self.percent else 1.0

    @property
    def sign(self) -> int:
        """1 where more is better, -1 where less is."""
        return 1 if self.better == "more" else -1


def on_rows(measure: Callable[..., float], *names: str) -> Statistic:
    """The statistic that gives the chosen items of these arrays to a measure.

    Args:
        measure: of as many arrays as there are names, say ``metrics.spearman``.
        names: of arrays.
    """
    return lambda arrays, chosen: float(measure(*(arrays[name][chosen] for name in names)))


def rate_accuracy(probabilities: FloatArray, labels: IntArray) -> float:
    """Share of items [n] whose most probable class of [n, classes] is the label; NaN for none."""
    return metrics.accuracy(probabilities.argmax(axis=1), labels) if len(labels) else float("nan")


@dataclass(frozen=True)
class Ordering:
    """What a paper says: one row is better than another.

    Attributes:
        better, worse: keys of rows.
        metric: key.
        source: where it says so, say "Table I".
        part: name of a part of the test items that it is tried on; "" for all.
    """

    better: str
    worse: str
    metric: str
    source: str = ""
    part: str = ""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """The test items, in the order of the runs' arrays.

    Attributes:
        groups: [n] texts; what belongs together is resampled together.
        parts: name -> [n] bool, parts on which metrics are told apart; they may overlap.
        classes: names of the columns of probabilities; () where there are none.
    """

    groups: Sequence[str]
    parts: Mapping[str, BoolArray] = field(default_factory=dict)
    classes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        require(len(self.groups) > 0, "HeldOut.groups", 0, "at least one test item")
        for name, mask in self.parts.items():
            shape = np.shape(mask)
            require(bool(name), "HeldOut.parts", name, "parts with a name")
            require(shape == (len(self.groups),), f"HeldOut.parts[{name!r}]", shape, f"[{len(self.groups)}]")


@dataclass(frozen=True)
class Spread:
    """Values over seeds: their median (of an even number the mean of the middle two), least and most.

    Attributes:
        median, low, high: of the values.
        values: by seed.
    """

    median: float
    low: float
    high: float
    values: tuple[float, ...]


@dataclass(frozen=True)
class Difference:
    """One row minus another, seed by seed.

    Attributes:
        interval: mean of the paired differences, and Student's interval over the seeds.
        groups: 95 % percentile interval of the same mean over resampled test groups: what other clips would
            change. None for a metric without a statistic.
    """

    interval: Interval
    groups: tuple[float, float] | None

    @property
    def bounds(self) -> list[tuple[float, float]]:
        """All intervals there are."""
        own = (self.interval.low, self.interval.high)
        return [own] if self.groups is None else [own, self.groups]


class SeedScores:
    """Scores of a study's runs.

    Args:
        study: the runs.
        metrics: of the tables.
        held_out: the test items; None where no metric has a statistic.
        rounds: resamplings of the test groups.

    Raises:
        SettingsError: a metric has a statistic, and there are no test items.
        DataError: arrays of a run are not of these items, or do not give its scores.
    """

    def __init__(
        self,
        study: SeedStudy,
        metrics: Sequence[Metric],
        held_out: HeldOut | None = None,
        rounds: int = ROUNDS,
    ) -> None:
        self.study, self.metrics, self.held_out, self.rounds = study, tuple(metrics), held_out, rounds
        self.by_key = {metric.key: metric for metric in metrics}
        self._resampled: dict[tuple[str, int, str, str], FloatArray] = {}
        for metric in self.metrics:
            if metric.statistic is not None and held_out is None:
                raise SettingsError("held_out", None, f"the test items: {metric.key} is computed on them")
        for run in study.runs:
            self._check(run)

    def _check(self, run: Run) -> None:
        if self.held_out is None:
            return
        n = len(self.held_out.groups)
        for name, array in run.arrays.items():
            if len(array) != n:
                raise DataError(f"{run.path}: {name} is of {len(array)} test items, expected {n}")
        for metric in self.metrics:
            if metric.statistic is None or metric.key not in run.scores:
                continue
            value = self._compute(run, metric, "")
            if not abs(value - run.scores[metric.key]) <= SAME:
                told = f"{metric.key} is {run.scores[metric.key]}, but {value} by its arrays"
                raise DataError(f"{run.path}: {told}")

    def list_values(self, row: str, metric: str, part: str = "") -> dict[int, float]:
        """Seed -> value of a row; without runs that have none.

        Args:
            row, metric: keys.
            part: of the test items; "" for all.
        """
        runs = self.study.list_runs(row)
        if not part:
            return {run.seed: run.scores[metric] for run in runs if metric in run.scores}
        values = {run.seed: self._compute(run, self.by_key[metric], part) for run in runs}
        return {seed: value for seed, value in values.items() if np.isfinite(value)}

    def summarise(self, row: str, metric: str, part: str = "") -> Spread | None:
        """Median and extremes over the seeds; None where a row has no value."""
        values = tuple(self.list_values(row, metric, part).values())
        return Spread(float(np.median(values)), min(values), max(values), values) if values else None

    def find_median_run(self, row: str, metric: str) -> Run | None:
        """The run whose value is the median (of an even number, the lower of the middle two).

        Of equal values, that of the first seed. None where a row has no value.
        """
        values = self.list_values(row, metric)
        if not values:
            return None
        seeds = sorted(values, key=lambda seed: (values[seed], seed))
        median = values[seeds[(len(seeds) - 1) // 2]]
        return next(run for run in self.study.list_runs(row) if values.get(run.seed) == median)

    def compare(self, row: str, other: str, metric: str, part: str = "") -> Difference | None:
        """A row minus another, over the seeds that both have; None without such a seed."""
        values, others = (self.list_values(key, metric, part) for key in (row, other))
        seeds = sorted(values.keys() & others.keys())
        if not seeds:
            return None
        interval = t_interval([values[seed] - others[seed] for seed in seeds])
        if self.by_key[metric].statistic is None:
            return Difference(interval, None)
        runs = {(run.row, run.seed): run for run in self.study.runs}
        sides = [
            np.mean([self._resample(runs[key, seed], metric, part) for seed in seeds], axis=0)
            for key in (row, other)
        ]
        drawn = sides[0] - sides[1]
        if np.isnan(drawn).all():
            return Difference(interval, None)
        low, high = np.nanquantile(drawn, [0.025, 0.975])
        return Difference(interval, (float(low), float(high)))

    def count_confusions(self, run: Run) -> IntArray | None:
        """[classes, classes] counts, row: true class; None for runs without probabilities and labels.

        Raises:
            DataError: these are not of the classes of the test items.
        """
        if self.held_out is None or not {PROBABILITIES, LABELS} <= run.arrays.keys():
            return None
        classes = len(self.held_out.classes)
        probabilities, labels = run.arrays[PROBABILITIES], run.arrays[LABELS]
        if probabilities.shape[1:] != (classes,) or not ((labels >= 0) & (labels < classes)).all():
            raise DataError(f"{run.path}: probabilities or labels are not of {classes} classes")
        return metrics.confusion_matrix(probabilities.argmax(axis=1), labels, classes)

    def _choose(self, part: str) -> IntArray:
        """Indices of a part."""
        assert self.held_out is not None
        if not part:
            return np.arange(len(self.held_out.groups))
        if part not in self.held_out.parts:
            raise SettingsError("part", part, f"one of {', '.join(self.held_out.parts)}")
        return np.flatnonzero(self.held_out.parts[part])

    def _compute(self, run: Run, metric: Metric, part: str) -> float:
        if metric.statistic is None:
            raise SettingsError("part", part, f"a metric with a statistic, which {metric.key} has not")
        chosen = self._choose(part)
        return self._apply(metric.statistic, run, chosen) if len(chosen) else float("nan")

    def _apply(self, statistic: Statistic, run: Run, chosen: IntArray) -> float:
        try:
            return float(statistic(run.arrays, chosen))
        except KeyError as error:
            raise DataError(f"{run.path}: holds no array {error.args[0]!r}") from error

    def _resample(self, run: Run, metric: str, part: str) -> FloatArray:
        """[rounds] values of a run; the same draws for all runs, so that differences of them are paired."""
        key = run.row, run.seed, metric, part
        if key not in self._resampled:
            statistic = self.by_key[metric].statistic
            assert statistic is not None
            assert self.held_out is not None
            chosen = self._choose(part)
            groups: NDArray[Any] = np.asarray(self.held_out.groups)[chosen]
            draws = metrics.resample_groups(groups, self.rounds)
            self._resampled[key] = np.array([self._apply(statistic, run, chosen[d]) for d in draws])
        return self._resampled[key]
