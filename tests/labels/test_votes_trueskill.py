"""The TrueSkill update against its definition with 60 digits, in ordinary places and in the tails."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodreel.errors import SettingsError
from moodreel.labels.votes_trueskill import (
    FAR,
    PLAIN,
    THIN,
    TrueSkill,
    correct_draws,
    correct_wins,
    rate_batch,
    tail_many,
)

reference = pytest.importorskip("reference.trueskill", reason="mpmath is not installed")

DIFFERENCES = (0.0, 1e-8, 1e-3, 0.1, 0.7, 1.0, 3.0, 4.9999, 5.0, 5.0001, 6.0, 12.0, 37.0, 39.0, 150.0, 3e3)
"""Both sides of every place where the formula changes, and where the plain one underflows."""

MARGINS = (1e-9, 1e-6, 0.99e-4, 1e-4, 1.01e-4, 1e-3, 0.0565, 0.1257, 1.0, 5.0, 9.0)
"""Likewise; 0.0565 to 0.1257 is where the defaults live."""


def rate(settings, items, votes):
    """(mu, sigma) of each item after votes (first, second, drawn), one after the other."""
    mu, variance = [m for m, _ in items], [s**2 for _, s in items]
    first, second, drawn = zip(*votes, strict=True)
    PLAIN.rate(mu, variance, first, second, drawn, settings.margin, 2 * settings.beta**2, settings.tau**2)
    return list(zip(mu, map(math.sqrt, variance), strict=True))


def test_known_numbers():
    """The example that every description of TrueSkill has: two beginners."""
    new = [(25.0, 25 / 3)] * 2
    assert rate(TrueSkill(), new, [(0, 1, False)]) == [
        pytest.approx((29.39583, 7.17148), abs=1e-5),
        pytest.approx((20.60417, 7.17148), abs=1e-5),
    ]
    assert rate(TrueSkill(), new, [(0, 1, True)]) == [pytest.approx((25.0, 6.45751), abs=1e-5)] * 2


@pytest.mark.parametrize("x", [*DIFFERENCES, *(-x for x in DIFFERENCES)])
def test_a_win(x):
    v, w = map(float, reference.correct_win(x))
    assert PLAIN.correct_win(x) == (pytest.approx(v, rel=1e-12, abs=1e-300), pytest.approx(w, rel=1e-12))
    many = correct_wins(np.array([x, 0.5, -7.0]))
    assert many[0][0] == pytest.approx(v, rel=1e-12, abs=1e-300)
    assert many[1][0] == pytest.approx(w, rel=1e-12)


@pytest.mark.parametrize("epsilon", MARGINS)
@pytest.mark.parametrize("t", DIFFERENCES)
def test_a_draw(t, epsilon):
    v, w = map(float, reference.correct_draw(t, epsilon))
    near = pytest.approx((v, w), rel=1e-10, abs=3e-10)
    assert PLAIN.correct_draw(t, epsilon) == near
    mirrored = PLAIN.correct_draw(-t, epsilon)
    assert (-mirrored[0], mirrored[1]) == near
    many = correct_draws(np.array([t, 0.5, -t]), np.array([epsilon, 0.1, epsilon]))
    assert (many[0][0], many[1][0]) == near
    assert (-many[0][2], many[1][2]) == near


def test_a_draw_without_a_margin_is_the_limit_of_small_ones():
    """The difference is then known exactly: the mean goes there, and nothing of its variance is left."""
    for t in (-3.0, 0.0, 0.2, 60.0):
        assert PLAIN.correct_draw(t, 0.0) == (pytest.approx(-t), 1.0)


def test_the_fraction_is_that_of_the_tail():
    z = np.array([FAR, 7.0, 25.0, 1e3])
    exact = [float(reference.density(x) / reference.mass(x, reference.CONTEXT.inf) - x) for x in z.tolist()]
    assert tail_many(z).tolist() == pytest.approx(exact, rel=1e-14)
    assert [PLAIN.tail(x) for x in z.tolist()] == pytest.approx(exact, rel=1e-14)
    assert THIN in MARGINS  # so that both of its sides are looked at above
    assert FAR in DIFFERENCES


@pytest.mark.parametrize("drawn", [False, True])
@pytest.mark.parametrize(
    ("first", "second", "chosen"),
    [
        ((25.0, 8.0), (25.0, 8.0), {}),
        ((10.0, 2.0), (40.0, 0.5), {}),
        ((-300.0, 1.0), (300.0, 3.0), {}),  # an upset at 100 standard deviations
        ((300.0, 1.0), (-300.0, 3.0), {}),  # nothing to learn
        ((25.0, 8.0), (24.0, 0.01), {"tau": 0.0, "beta": 0.5}),
        ((0.5, 1.0), (-0.1, 2.0), {"mu": 0.0, "sigma": 1.0, "beta": 1.0, "draw_probability": 0.9}),
    ],
)
def test_one_vote_against_the_definition(first, second, drawn, chosen):
    chosen = TrueSkill(**chosen)
    expected = reference.update(first, second, drawn, chosen.margin, chosen.beta, chosen.tau)
    got = rate(chosen, [first, second], [(0, 1, drawn)])
    for (mu, sigma), (exact_mu, exact_sigma) in zip(got, expected, strict=True):
        assert mu == pytest.approx(float(exact_mu), rel=1e-11)
        assert sigma == pytest.approx(float(exact_sigma), rel=1e-11)


@settings(max_examples=60)
@given(
    st.lists(
        st.tuples(st.floats(-200, 200), st.floats(1e-3, 50), st.floats(-200, 200), st.floats(1e-3, 50)),
        min_size=1,
        max_size=20,
    ),
    st.booleans(),
    st.sampled_from([0.0, 1e-9, 0.1, 0.5, 0.999]),
)
def test_a_batch_is_one_after_the_other(pairs, drawn, probability):
    chosen = TrueSkill(draw_probability=probability)
    items = [item for a, s, b, r in pairs for item in ((a, s), (b, r))]
    first, second = np.arange(0, len(items), 2), np.arange(1, len(items), 2)
    mu = np.array([m for m, _ in items])
    variance = np.array([s**2 for _, s in items])
    rate_batch(mu, variance, first, second, drawn, chosen.margin, 2 * chosen.beta**2, chosen.tau**2)
    votes = [(a, b, drawn) for a, b in zip(first.tolist(), second.tolist(), strict=True)]
    expected = np.array(rate(chosen, items, votes))
    np.testing.assert_allclose(mu, expected[:, 0], rtol=1e-11, atol=1e-9)
    np.testing.assert_allclose(np.sqrt(variance), expected[:, 1], rtol=1e-9)


@settings(max_examples=100)
@given(
    st.floats(-1e9, 1e9),
    st.floats(-1e9, 1e9),
    st.floats(1e-9, 1e9),
    st.floats(1e-9, 1e9),
    st.floats(0, 0.999999),
    st.booleans(),
)
def test_nothing_makes_it_infinite(mu_a, mu_b, sigma, beta, probability, drawn):
    chosen = TrueSkill(sigma=sigma, beta=beta, tau=0.0, draw_probability=probability)
    items = [(mu_a, sigma), (mu_b, sigma)]
    after = rate(chosen, items, [(0, 1, drawn)] * 5)
    assert all(math.isfinite(mu) and 0 < spread <= sigma * (1 + 1e-9) for mu, spread in after)
    mu, variance = np.array([mu_a, mu_b]), np.full(2, sigma**2)
    with np.errstate(over="raise", invalid="raise"):
        for _ in range(5):
            rate_batch(mu, variance, np.array([0]), np.array([1]), drawn, chosen.margin, 2 * beta**2, 0.0)
    assert np.isfinite(mu).all()
    assert (variance > 0).all()


def test_where_the_package_gives_up():
    """`trueskill` raises on votes that are too unlikely for its formulas; these stay finite."""
    trueskill = pytest.importorskip("trueskill", reason="the package trueskill is not installed")
    env = trueskill.TrueSkill(backend="scipy")
    strong, weak = env.create_rating(500, 1), env.create_rating(0, 1)
    for drawn in (False, True):
        with pytest.raises(FloatingPointError):
            trueskill.rate_1vs1(weak, strong, drawn, env=env)
        (low, low_sigma), (high, high_sigma) = rate(TrueSkill(), [(0.0, 1.0), (500.0, 1.0)], [(0, 1, drawn)])
        assert 0 < low < high < 500
        assert 0 < low_sigma < 1
        assert 0 < high_sigma < 1


@pytest.mark.parametrize("probability", [0.0, 1e-12, 0.1, 0.5, 0.99, 1 - 1e-9])
def test_the_margin_gives_the_draw_probability(probability):
    chosen = TrueSkill(draw_probability=probability)
    share = 1 - 2 * NormalDist().cdf(-chosen.margin / (math.sqrt(2) * chosen.beta))
    assert share == pytest.approx(probability, abs=1e-15, rel=1e-12)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("mu", math.nan), ("mu", 1e10), ("sigma", 0.0), ("sigma", -1.0), ("sigma", math.inf), ("beta", 0.0),
        ("tau", -0.1), ("draw_probability", -0.01), ("draw_probability", 1.0), ("draw_probability", math.nan),
    ],
)  # fmt: skip
def test_settings_out_of_bounds(name, value):
    with pytest.raises(SettingsError, match=f"^{name} = .*: expected a "):
        TrueSkill(**{name: value})
