"""Random splits and intervals, and the scores of a study, against hand-made values and scipy."""

import numpy as np
import pytest
from scipy import stats

from moodreel.emotions import GIFGIF_17
from moodreel.errors import DataError, SettingsError
from moodreel.lab import metrics
from moodreel.lab.protocols import split_groups, t_interval


def test_splits_are_disjoint_whole_and_grouped():
    rng = np.random.default_rng(0)
    groups = [f"g{n}" for n in rng.integers(0, 40, 300)]
    seen = set()
    for number in range(5):
        split = split_groups(groups, number, seed=0)
        parts = [split.train, split.val, split.test]
        assert sorted(np.concatenate(parts).tolist()) == list(range(300))
        names = [{groups[i] for i in part} for part in parts]
        assert not names[0] & names[1]
        assert not names[0] & names[2]
        assert not names[1] & names[2]
        assert len(split.test) == pytest.approx(60, abs=4)
        assert len(split.val) == pytest.approx(30, abs=4)
        seen.add(tuple(split.test.tolist()))
    assert len(seen) == 5


def test_a_split_depends_on_seed_and_number_alone():
    groups = [f"g{n // 3}" for n in range(90)]
    a, b = split_groups(groups, 1, seed=7), split_groups(groups, 1, seed=7)
    assert a.test.tolist() == b.test.tolist()
    assert split_groups(groups, 1, seed=8).test.tolist() != a.test.tolist()
    turned = split_groups(groups[::-1], 1, seed=7)
    assert {groups[::-1][i] for i in turned.test} == {groups[i] for i in a.test}


def test_a_group_that_is_too_large_is_passed_over():
    groups = ["large"] * 60 + [f"g{n}" for n in range(40)]
    for number in range(6):
        split = split_groups(groups, number, seed=0, val=0.1, test=0.2)
        assert (len(split.train), len(split.val), len(split.test)) == (70, 10, 20)


def test_split_errors():
    with pytest.raises(SettingsError, match="val \\+ test"):
        split_groups(["a", "b"], 0, 0, val=0.5, test=0.5)
    with pytest.raises(SettingsError, match="test"):
        split_groups(["a", "b"], 0, 0, test=1.0)
    with pytest.raises(DataError, match="1 groups are too few"):
        split_groups(["a"] * 10, 0, 0)


def test_t_interval_is_scipys():
    values = [0.61, 0.64, 0.6, 0.66, 0.62]
    interval = t_interval(values)
    expected = stats.ttest_1samp(values, 0.0).confidence_interval(0.95)
    assert (interval.low, interval.high) == pytest.approx((expected.low, expected.high))
    assert interval.mean == pytest.approx(0.626)
    assert interval.deviation == pytest.approx(np.std(values, ddof=1))
    # 1/5 becomes 1/5 + 0.2/0.8: the half width grows by sqrt(2.25) = 1.5.
    assert interval.wide_high - interval.mean == pytest.approx(1.5 * (interval.high - interval.mean))
    assert interval.mean - interval.wide_low == pytest.approx(1.5 * (interval.mean - interval.low))


def test_t_interval_by_hand():
    interval = t_interval([1.0, 3.0], level=0.5)  # quantile 1 of one degree of freedom, s = sqrt(2)
    assert (interval.low, interval.high) == pytest.approx((1.0, 3.0))


def test_one_value_has_no_interval():
    interval = t_interval([0.5])
    assert np.isnan(interval.deviation)
    assert (interval.low, interval.high) == (-np.inf, np.inf)
    for wrong in ([], [1.0, np.nan]):
        with pytest.raises(DataError, match="finite values"):
            t_interval(wrong)


def row_of(**scores):
    return [scores.get(name, -1.0) for name in GIFGIF_17]


def test_telling_pairs_apart():
    pairs = (("relief", "fear"), ("sadness", "happiness"))
    target = np.array(
        [row_of(fear=0.5), row_of(relief=0.2), row_of(anger=0.9, fear=0.8), row_of(sadness=0.1)]
    )
    predicted = np.array(
        [
            row_of(fear=0.1, relief=0.0),
            row_of(fear=0.1, relief=0.0),
            row_of(),
            row_of(sadness=0.3, happiness=0.3),
        ]
    )
    known = np.ones((4, 17), bool)
    assert metrics.tell_apart(predicted, target, known, pairs) == [(0, True), (1, False), (3, False)]
    known[1, GIFGIF_17.index("relief")] = False  # what is left is all -1: a neutral face, which shows nothing
    told = metrics.tell_apart(predicted, target, known, (*pairs, ("amusement", "embarrassment")))
    assert [row for row, _ in told] == [0, 3]
    assert metrics.tell_apart(predicted, target, np.zeros((4, 17), bool), pairs) == []
