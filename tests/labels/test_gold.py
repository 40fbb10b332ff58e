"""Gold standards: weights and moments by their definitions, gaps, constant raters, and known truths."""

import io
import json
import math

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17
from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.toon import write_toon
from moodreel.lab.data.toon_clip import draw_acting
from moodreel.lab.data.toon_face import INDEX
from moodreel.lab.data.toon_raters import TRACE_STEP, draw_lags, rate_valence
from moodreel.labels.gold import (
    GoldSettings,
    compare_raters,
    fuse_raters,
    make_gold,
    measure_agreement,
    weigh_raters,
)
from moodreel.labels.gold_table import describe_gold, write_gold
from moodreel.labels.lags import Lags, LagSettings, estimate_lags
from moodreel.labels.traces import Clock, Traces, read_traces

NAN = math.nan


def make(*columns, step=1.0, **known):
    values = np.array(columns, float).T
    names = tuple(f"r{k + 1}" for k in range(len(columns)))
    return Traces("t.csv", np.arange(len(values)) * step, names, values, **known)


class TestMoments:
    def test_by_hand(self):
        cc, ccc = measure_agreement(np.array([1.0, 2, 3]), np.array([2.0, 4, 6]))
        # variances 2/3 and 8/3, covariance 4/3, means 2 and 4
        assert cc == pytest.approx(1)
        assert ccc == pytest.approx(2 * 4 / 3 / (2 / 3 + 8 / 3 + 4))

    def test_masked(self):
        one, other = np.array([1, NAN, 2, 3, 9]), np.array([2, 5, 4, 6, NAN])
        assert measure_agreement(one, other) == measure_agreement(one[[0, 2, 3]], other[[0, 2, 3]])

    def test_constants_are_0(self):
        rising = np.array([1.0, 2, 3])
        for constant in (np.ones(3), np.full(3, 0.1), np.full(3, NAN), np.array([5, NAN, NAN])):
            assert measure_agreement(rising, constant) == (0, 0)
            assert measure_agreement(constant, constant) == (0, 0)

    def test_pairs(self):
        values = np.random.default_rng(0).normal(size=(50, 3))
        found = compare_raters(values)
        np.testing.assert_allclose(found.cc, np.corrcoef(values.T), atol=1e-12)
        assert found.mean_cc == pytest.approx(np.corrcoef(values.T)[np.triu_indices(3, 1)].mean())
        assert (found.ccc == found.ccc.T).all()
        assert (np.abs(found.ccc) <= np.abs(found.cc) + 1e-12).all()
        assert math.isnan(compare_raters(values[:, :1]).mean_cc)


class TestWeights:
    def test_by_definition(self):
        rng = np.random.default_rng(1)
        truth = np.sin(np.arange(80) / 5)
        values = np.stack([truth + rng.normal(0, s, 80) for s in (0.1, 0.5, 1.0)] + [-truth], axis=1)
        correlations = np.array(
            [np.corrcoef(values[:, k], np.delete(values, k, 1).mean(axis=1))[0, 1] for k in range(4)]
        )
        assert correlations[3] < 0
        expected = correlations.clip(0) / correlations.clip(0).sum()
        np.testing.assert_allclose(weigh_raters(values), expected, atol=1e-12)

    def test_where_nobody_agrees_all_weigh_the_same(self):
        rising = np.arange(9.0)
        assert weigh_raters(np.stack([rising, -rising], axis=1)).tolist() == [0.5, 0.5]
        assert weigh_raters(rising[:, None]).tolist() == [1]

    def test_who_said_nothing_weighs_nothing(self):
        silent = np.full(9, NAN)
        assert weigh_raters(np.stack([np.ones(9), silent, np.ones(9)], axis=1)).tolist() == [0.5, 0, 0.5]


class TestFusing:
    def test_weighted_mean(self):
        values = np.array([[1.0, 3], [2, 6]])
        np.testing.assert_allclose(fuse_raters(values, np.array([0.25, 0.75])), [2.5, 5])

    def test_who_drops_out_leaves_no_step(self):
        """Raters of levels 1 apart: the mean keeps its level while one is away."""
        curve = np.sin(np.arange(60) / 4)
        values = np.stack([curve, curve + 1, curve + 2], axis=1)
        values[20:30, 2] = NAN
        values[50:, 0] = NAN
        np.testing.assert_allclose(fuse_raters(values, np.full(3, 1 / 3)), curve + 1, atol=1e-6)
        np.testing.assert_allclose(
            fuse_raters(values, np.array([0.5, 0.5, 0.0]))[:50], curve[:50] + 0.5, atol=1e-6
        )

    def test_where_nobody_counts(self):
        values = np.array([[NAN, 1], [2, NAN], [NAN, NAN]])
        np.testing.assert_array_equal(fuse_raters(values, np.array([1.0, 0])), [NAN, 2, NAN])
        assert np.isnan(fuse_raters(values, np.zeros(2))).all()


class TestGold:
    def test_lags_and_delay_are_taken_off(self):
        curve = np.sin(np.arange(40) / 3)
        late = np.concatenate([np.full(4, curve[0]), curve])[:40]
        lags = Lags(("r2", "r1"), np.array([1.0, -1.0]), (True, True), np.ones(2), 1)
        gold = make_gold(make(late, np.roll(late, 2)), lags, GoldSettings(delay=2))
        assert gold.late.tolist() == [2, 4]
        np.testing.assert_allclose(gold.aligned[:30, 0], late[2:32])
        np.testing.assert_allclose(gold.aligned[:30, 1], late[2:32])
        np.testing.assert_allclose(gold.values[2:30], curve[:28])
        assert np.isnan(gold.values[38:]).all()  # nobody has said anything of the last 2 s
        assert gold.agreement.mean_ccc == pytest.approx(1)
        assert gold.agreement_before.mean_ccc < 0.9

    def test_constant_and_silent_raters(self):
        curve = np.sin(np.arange(40) / 3)
        gold = make_gold(make(curve, np.full(40, 0.3), curve + 0.2, np.full(40, NAN)))
        assert gold.constant == ("r2", "r4")
        assert gold.weights.tolist() == pytest.approx([0.5, 0, 0.5, 0])
        assert gold.missing.tolist() == [0, 0, 0, 1]
        np.testing.assert_allclose(gold.values, curve + 0.1)
        assert gold.agreement.cc[0].tolist() == pytest.approx([1, 0, 1, 0])
        plain = make_gold(make(curve, np.full(40, 0.3), curve), None, GoldSettings("mean"))
        np.testing.assert_allclose(plain.values, (2 * curve + 0.3) / 3)

    def test_errors_against_the_truth(self):
        truth = np.arange(6.0)
        gold = make_gold(make(truth + 1, truth + 2, truth=np.where(truth < 5, truth, NAN)))
        assert gold.fits["plain_mean"].instants == 5
        assert gold.fits["gold"].rmse == pytest.approx(1.5)
        assert gold.fits["gold"].cc == pytest.approx(1)
        assert gold.fits["gold"].ccc == pytest.approx(4 / (2 + 2 + 2.25))

    def test_another_step(self):
        gold = make_gold(make([0, 2, 4], [0, 2, 4]), None, GoldSettings(clock=Clock(step=0.5)))
        assert gold.times.tolist() == [0, 0.5, 1, 1.5, 2]
        np.testing.assert_allclose(gold.values, [0, 1, 2, 3, 4])

    def test_what_cannot_be(self):
        with pytest.raises(DataError, match=r"t\.csv: no raters"):
            make_gold(Traces("t.csv", np.arange(2.0), (), np.empty((2, 0)), gold=np.ones(2)))
        with pytest.raises(DataError, match=r"t\.csv: no values"):
            make_gold(make([NAN, NAN]))
        with pytest.raises(DataError, match="behind the delay"):
            make_gold(make([1, 2]), None, GoldSettings(delay=5))
        with pytest.raises(SettingsError, match=r"lags\.raters"):
            make_gold(make([1, 2]), Lags(("x",), np.zeros(1), (True,), np.ones(1), 1))
        for field, value in (("method", "median"), ("delay", -1.0), ("delay", NAN)):
            with pytest.raises(SettingsError, match=field):
                GoldSettings(**{field: value})


class TestFiles:
    def test_what_is_written_is_read_back(self, tmp_path):
        gold = make_gold(make([0, 1, 2, 4], [0, 1, 2, NAN], step=0.1))
        stream = io.BytesIO()
        write_gold(gold, stream, aligned=True)
        assert stream.getvalue().decode().splitlines()[::3] == ["time_s,gold,r1,r2", "0.2,2.0,2.0,2.0"]
        (tmp_path / "g.csv").write_bytes(stream.getvalue())
        back = read_traces(tmp_path / "g.csv")
        np.testing.assert_allclose(back.gold, gold.values, atol=1e-6)
        np.testing.assert_allclose(back.values, gold.aligned, atol=1e-6)

    def test_facts(self):
        traces = make([0.0, 1, 0, 2, 0], [0, 1, 0, 2, 0.5], np.ones(5), truth=np.ones(5))
        lags = Lags(("r1", "r2", "r3"), np.array([0.25, -0.25, 0]), (True, True, False), np.ones(3), 1)
        facts = json.loads(json.dumps(describe_gold(make_gold(traces, lags), lags), allow_nan=False))
        assert [rater["late_s"] for rater in facts["raters"]] == [0.5, 0, 0.25]
        assert [rater["lag_known"] for rater in facts["raters"]] == [True, True, False]
        assert [rater["constant"] for rater in facts["raters"]] == [False, False, True]
        assert facts["step_s"] == 1
        assert facts["truth"]["gold"]["instants"] == 5
        facts = describe_gold(make_gold(make([1, 2])), None)
        assert (facts["before"]["mean_cc"], facts["truth"], facts["raters"][0]["lag_known"]) == (None,) * 3


@pytest.fixture(scope="module")
def group():
    """[(traces, lags)] of five raters over the acting of 51 clips, not drawn."""
    base, made = draw_lags(3), []
    for n, emotion in enumerate(GIFGIF_17 * 3):
        rng = np.random.default_rng([3, n])
        acting, duration = draw_acting(emotion, rng), rng.uniform(1.5, 4)
        times = np.arange(0, duration, TRACE_STEP)
        lags = np.round(np.clip(base + rng.normal(0, 0.03, 5), 0.08, None) / TRACE_STEP) * TRACE_STEP
        truth = acting.evaluate(times / duration)[:, INDEX["valence"]]
        values = rate_valence(truth, lags.tolist(), rng)
        names = tuple(f"rater_{k + 1}" for k in range(5))
        made.append((Traces(f"{n}.csv", times, names, values, truth), lags))
    return made


class TestToon:
    """Rater models of the toon set, whose truth and lags are known."""

    def test_lags_of_all_clips_together(self, group):
        found = estimate_lags([traces for traces, _ in group])
        true = np.mean([lags for _, lags in group], axis=0)
        assert found.known == (True,) * 5
        np.testing.assert_allclose(found.seconds, true - true.mean(), atol=0.015)

    def test_lags_of_each_clip(self, group):
        """Where valence changes much, each clip tells its lags; elsewhere they mostly stay unknown."""
        errors, known = [], {True: [], False: []}
        for traces, true in group:
            found = estimate_lags([traces])
            moves = bool(traces.truth.std() > 0.1)
            known[moves] += found.known
            if moves:
                errors += np.abs(found.seconds - true + true.mean())[list(found.known)].tolist()
        assert np.mean(known[True]) > 0.85
        assert np.mean(known[False]) < 0.5
        assert np.median(errors) < 0.02
        assert np.mean(errors) < 0.04

    @pytest.mark.parametrize("together", [True, False])
    def test_gold_is_nearer_to_the_truth_than_the_mean(self, group, together):
        found = estimate_lags([traces for traces, _ in group]) if together else None
        errors = []
        for traces, _ in group:
            if traces.truth.std() > 0.1:
                gold = make_gold(traces, found or estimate_lags([traces]))
                errors.append((gold.fits["plain_mean"].rmse, gold.fits["gold"].rmse))
        plain, fused = np.array(errors).T
        assert len(plain) > 20
        assert fused.mean() < 0.85 * plain.mean()
        assert (fused < plain).mean() > 0.9

    def test_with_the_common_delay_the_truth_is_met(self, group):
        found = estimate_lags([traces for traces, _ in group])
        first = np.mean([lags for _, lags in group], axis=0).min() + 0.04  # the slider's smoothing
        errors = [
            make_gold(traces, found, GoldSettings(delay=first)).fits["gold"].rmse
            for traces, _ in group
            if traces.truth.std() > 0.1
        ]
        assert np.mean(errors) < 0.08

    def test_files_of_the_set(self, tmp_path):
        write_toon(tmp_path / "toons", clips=3, seed=3, workers=1)
        paths = sorted((tmp_path / "toons" / "traces").glob("*.csv"))
        files = [read_traces(path) for path in paths]
        assert files[0].raters == tuple(f"rater_{k + 1}" for k in range(5))
        found = estimate_lags(files, LagSettings(longest=0.5))
        true = np.mean(
            [json.loads((tmp_path / f"toons/truth/{path.stem}.json").read_text())["lags"] for path in paths],
            axis=0,
        )
        np.testing.assert_allclose(found.seconds, true - true.mean(), atol=0.06)
