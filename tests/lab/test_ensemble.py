"""mAP, average recall and the weights of an ensemble, by hand and against independent definitions."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodreel.errors import DataError
from moodreel.lab.ensemble import fit_ensemble
from moodreel.lab.metrics import average_precision, mean_average_precision, war_uar


def slow_average_precision(score, positive):
    """Threshold by threshold, over plain lists."""
    total, before = 0.0, 0.0
    for threshold in sorted(set(score), reverse=True):
        taken = [p for s, p in zip(score, positive, strict=True) if s >= threshold]
        recall = sum(taken) / sum(positive)
        total += (recall - before) * sum(taken) / len(taken)
        before = recall
    return total


class TestAveragePrecision:
    def test_by_hand(self):
        # ranks of the positives 1 and 3: (1/1 + 2/3) / 2
        assert average_precision([0.9, 0.8, 0.7, 0.1], [True, False, True, False]) == pytest.approx(5 / 6)
        # 0.8 twice, one of them positive: both fall at once, precision 1/2; then 2/3
        for positive in ([True, False, True], [False, True, True]):
            assert average_precision([0.8, 0.8, 0.3], positive) == pytest.approx((1 / 2 + 2 / 3) / 2)
        assert average_precision([0.5] * 4, [True, False, False, False]) == 0.25
        assert average_precision([0.1, 0.2], [True, True]) == 1
        assert np.isnan(average_precision([0.1, 0.2], [False, False]))
        assert np.isnan(average_precision([], []))

    @given(st.lists(st.tuples(st.integers(0, 5), st.booleans()), min_size=1, max_size=20))
    def test_is_its_definition(self, rows):
        score, positive = zip(*rows, strict=True)
        if any(positive):
            expected = slow_average_precision(score, positive)
            assert average_precision(score, positive) == pytest.approx(expected, abs=1e-12)
            assert average_precision(score[::-1], positive[::-1]) == pytest.approx(expected, abs=1e-12)

    def test_mean_leaves_out_classes_that_do_not_occur(self):
        probabilities = [[0.7, 0.2, 0.1], [0.2, 0.7, 0.1], [0.6, 0.3, 0.1]]
        # class 0 (rows 0, 1): ranks 1 and 3, 5/6; class 1 (row 2): rank 2, 1/2; class 2 does not occur
        assert mean_average_precision(probabilities, [0, 0, 1]) == pytest.approx((5 / 6 + 1 / 2) / 2)
        assert mean_average_precision(probabilities, [2, 2, 2]) == 1
        assert np.isnan(mean_average_precision(np.zeros((0, 3)), []))

    def test_recall_by_hand(self):
        # recalls 1/2, 2/3 and, of the class that does not occur, none
        war, uar = war_uar([0, 1, 1, 1, 2], [0, 0, 1, 1, 1], 4)
        assert (war, uar) == (pytest.approx(3 / 5), pytest.approx((1 / 2 + 2 / 3) / 2))
        assert np.isnan(war_uar([], [], 3)).all()


class TestEnsemble:
    def test_by_hand(self):
        # Of three rows each network ranks two classes rightly; the truth needs both, and more of the second:
        # row 0 is right where w0 0.8 + w1 0.4 > 0.5, row 1 where w0 0.9 + w1 0.2 < 0.5.
        first = [[0.8, 0.2], [0.9, 0.1], [0.3, 0.7]]
        second = [[0.4, 0.6], [0.2, 0.8], [0.1, 0.9]]
        labels = [0, 1, 1]
        # With w0 = 1 row 1 outranks row 0 for class 0; they are level at w0 0.1 = w1 0.2, i.e. w0 = 2/3, so
        # mAP is 1 below. Accuracy is 1 for 1/4 < w0 < 3/7: on the grid 0.3, 0.35, 0.4; 0.4 is nearest 1/2.
        np.testing.assert_allclose(fit_ensemble([first, second], labels), [0.4, 0.6])

    def test_a_network_that_knows_gets_the_weight_it_needs(self):
        rng = np.random.default_rng(0)
        labels = rng.integers(0, 8, 60)
        right = np.eye(8)[labels] * 0.5 + 0.5 / 8
        noise = rng.dirichlet(np.ones(8) * 0.05, 60)
        weights = fit_ensemble([noise, right], labels)
        joined = weights[0] * noise + weights[1] * right
        assert mean_average_precision(joined, labels) == 1
        assert weights[1] > 0.5

    @given(st.integers(0, 2**31))
    def test_no_point_of_the_grid_is_better(self, seed):
        rng = np.random.default_rng(seed)
        labels = rng.integers(0, 3, 9)
        tables = rng.dirichlet(np.ones(3), (3, 9))
        weights = fit_ensemble(list(tables), labels, steps=5)
        assert weights.sum() == pytest.approx(1)
        assert (weights >= 0).all()

        def score(w):
            joined = sum(part * table for part, table in zip(w, tables, strict=True))
            aps = [slow_average_precision(joined[:, k].tolist(), (labels == k).tolist()) for k in set(labels)]
            return round(float(np.mean(aps)), 9), float((joined.argmax(1) == labels).mean())

        grid = [w for w in itertools.product(np.arange(6) / 5, repeat=3) if abs(sum(w) - 1) < 1e-9]
        assert len(grid) == 21
        assert score(weights) >= max(score(w) for w in grid)

    def test_degenerate(self):
        table = np.full((4, 2), 0.5)
        np.testing.assert_allclose(fit_ensemble([table], [0, 1, 0, 1]), [1])
        np.testing.assert_allclose(fit_ensemble([table, table], [0, 1, 0, 1]), [0.5, 0.5])
        np.testing.assert_allclose(fit_ensemble([table] * 3, [0, 1, 0, 1]), [0.35, 0.35, 0.3])
        np.testing.assert_allclose(fit_ensemble([table[:0]] * 3, []), [1 / 3] * 3)
        np.testing.assert_allclose(fit_ensemble([table] * 40, [0, 0, 0, 0]).sum(), 1)

    @pytest.mark.parametrize(
        ("tables", "message"),
        [
            ([], "at least one network"),
            ([np.ones((3, 2)), np.ones((3, 4))], r"network 1 .*expected \[3, 2\], got \[3, 4\]"),
            ([np.ones((2, 2))], r"network 0 .*expected \[3, 2\], got \[2, 2\]"),
            ([np.ones((3, 2)), np.full((3, 2), np.nan)], r"network 1 .*not finite"),
        ],
    )
    def test_what_is_refused(self, tables, message):
        with pytest.raises(DataError, match=message):
            fit_ensemble(tables, [0, 1, 1])
