"""Lags between raters: known shifts must come back, and what is no lag must stay unknown."""

import math

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.labels.lags import (
    BASES,
    Lags,
    LagSettings,
    correlate_shifted,
    estimate_lags,
    mean_present,
)
from moodreel.labels.traces import Clock, Traces

NAN = math.nan
LATE = np.array([0.3, 1.0, 0.62, 0.1])


def say(times):
    """Something that happens along time: bumps without a period."""
    centres, heights = [3, 7.5, 9, 14, 17.3, 22, 26.4], [1, -0.7, 0.5, 0.9, -1, 0.6, -0.4]
    return sum(h * np.exp(-((times - c) ** 2) / 0.8) for c, h in zip(centres, heights, strict=True))


def make(late=LATE, step=0.1, noise=0.02, seed=0, names="abcd", duration=30.0):
    times = np.arange(round(duration / step) + 1) * step
    rng = np.random.default_rng(seed)
    columns = [
        g * say(times - lag) + o + rng.normal(0, noise, len(times))
        for lag, g, o in zip(late, (1.0, 0.7, 1.2, 0.9), (0, 0.2, -0.1, 0.05), strict=True)
    ]
    return Traces("t.csv", times, tuple(names), np.stack(columns, axis=1))


@pytest.mark.parametrize("basis", BASES)
class TestKnownLags:
    def test_they_come_back(self, basis):
        lags = estimate_lags([make()], LagSettings(basis=basis))
        assert lags.known == (True,) * 4
        np.testing.assert_allclose(lags.seconds, LATE - LATE.mean(), atol=0.03)  # a third of a step
        np.testing.assert_allclose(lags.from_earliest(), LATE - LATE.min(), atol=0.04)
        assert lags.seconds.sum() == pytest.approx(0, abs=1e-9)
        assert (lags.peak > 0.5).all()

    def test_without_lags(self, basis):
        lags = estimate_lags([make(np.zeros(4))], LagSettings(basis=basis))
        np.testing.assert_allclose(lags.seconds, 0, atol=0.03)

    def test_with_missing_values_and_other_instants(self, basis):
        """Two raters sampled at their own instants, one silent for a third of the time."""
        traces = make()
        values = traces.values.copy()
        values[::2, 0] = NAN
        values[1::2, 1] = NAN
        values[100:200, 3] = NAN
        holed = Traces("t.csv", traces.times, traces.raters, values)
        lags = estimate_lags([holed], LagSettings(basis=basis))
        np.testing.assert_allclose(lags.seconds, LATE - LATE.mean(), atol=0.06)

    def test_uneven_instants(self, basis):
        traces = make(step=0.02)
        kept = np.sort(np.random.default_rng(3).choice(len(traces), 500, replace=False))
        thin = Traces("t.csv", traces.times[kept], traces.raters, traces.values[kept])
        lags = estimate_lags([thin], LagSettings(basis=basis), Clock(step=0.1))
        np.testing.assert_allclose(lags.seconds, LATE - LATE.mean(), atol=0.05)

    def test_files_together(self, basis):
        """Short files tell little each, and the order of their columns may differ."""
        whole = make(noise=0.05)
        parts = []
        for k in range(5):
            part = slice(60 * k, 60 * k + 60)
            order = [0, 1, 2, 3] if k % 2 == 0 else [2, 0, 3, 1]
            names = tuple(whole.raters[c] for c in order)
            parts.append(Traces(f"{k}.csv", whole.times[part], names, whole.values[part][:, order]))
        lags = estimate_lags(parts, LagSettings(longest=1.5, basis=basis))
        assert (lags.raters, lags.files) == (("a", "b", "c", "d"), 5)
        np.testing.assert_allclose(lags.seconds, LATE - LATE.mean(), atol=0.05)


class TestUnknownLags:
    def test_a_constant_rater(self):
        traces = make()
        values = traces.values.copy()
        values[:, 1] = 0.4
        lags = estimate_lags([Traces("t.csv", traces.times, traces.raters, values)])
        assert lags.known == (True, False, True, True)
        assert (lags.seconds[1], lags.peak[1]) == (0, 0)
        rest = LATE[[0, 2, 3]]
        np.testing.assert_allclose(lags.seconds[[0, 2, 3]], rest - rest.mean(), atol=0.04)
        assert lags.from_earliest()[1] == pytest.approx(rest.mean() - rest.min(), abs=0.04)

    def test_noise_has_no_lag(self):
        times = np.arange(600) * 0.5
        values = np.random.default_rng(0).normal(size=(600, 3))
        lags = estimate_lags([Traces("t.csv", times, ("a", "b", "c"), values)])
        assert lags.known == (False,) * 3
        assert lags.seconds.tolist() == [0, 0, 0]
        assert lags.from_earliest().tolist() == [0, 0, 0]

    def test_a_peak_outside_the_range_is_none(self):
        """Two raters 0.9 s apart, searched 0.3 s to either side."""
        traces = make()
        two = Traces("t.csv", traces.times, ("b", "d"), traces.values[:, [1, 3]])
        lags = estimate_lags([two], LagSettings(longest=0.3))
        assert lags.known == (False, False)
        lags = estimate_lags([two])
        assert lags.seconds == pytest.approx([0.45, -0.45], abs=0.03)

    def test_one_rater_and_one_instant(self):
        lags = estimate_lags([Traces("t.csv", np.arange(9.0), ("a",), np.ones((9, 1)))])
        assert (lags.known, lags.from_earliest().tolist()) == ((False,), [0])
        lags = estimate_lags([Traces("t.csv", np.zeros(1), ("a", "b"), np.ones((1, 2)))])
        assert lags.known == (False, False)


def test_correlations_by_numpy():
    rng = np.random.default_rng(0)
    late, reference = rng.normal(size=40), rng.normal(size=40)
    late[5], reference[20] = NAN, NAN
    got = correlate_shifted(late, reference, np.array([-4, 0, 7, 39, 60]))
    for row, shift in zip(got, (-4, 0, 7), strict=False):
        pairs = [
            (late[t + shift], reference[t])
            for t in range(40)
            if 0 <= t + shift < 40 and np.isfinite(late[t + shift]) and np.isfinite(reference[t])
        ]
        one, other = np.array(pairs).T
        assert row[0] / np.sqrt(row[1] * row[2]) == pytest.approx(np.corrcoef(one, other)[0, 1])
        assert row[1:] == pytest.approx([one.var() * len(one), other.var() * len(one)])
    assert got[3:].tolist() == [[0, 0, 0]] * 2  # too little is left


def test_mean_of_those_present():
    np.testing.assert_array_equal(mean_present(np.array([[1, 3], [NAN, 3], [NAN, NAN]])), [2, 3, NAN])


def test_settings_and_files():
    for field, value in (("longest", 0.0), ("longest", NAN), ("basis", "curve"), ("least", 1.0)):
        with pytest.raises(SettingsError, match=field):
            LagSettings(**{field: value})
    with pytest.raises(SettingsError, match="files"):
        estimate_lags([])
    with pytest.raises(SettingsError, match="the same raters in all: a, b, c, d"):
        estimate_lags([make(), make(names="abce")])


def test_from_the_earliest():
    lags = Lags(("a", "b", "c"), np.array([0.2, 0.0, -0.2]), (True, False, True), np.zeros(3), 1)
    assert lags.from_earliest().tolist() == [0.4, 0.2, 0.0]
