"""Votes to ratings: against the package on real results, and every way of computing against the plain one."""

import csv
import io
import math
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodreel.errors import MissingExtra, SettingsError
from moodreel.labels import votes as room
from moodreel.labels.votes import (
    CHOICES,
    Votes,
    compile_kernel,
    find_rounds,
    number_slots,
    rate_votes,
    score_mu,
    score_votes,
)
from moodreel.labels.votes_table import write_ratings
from moodreel.labels.votes_trueskill import PLAIN, TrueSkill

SOME = 2000
"""Results rated by the package's own backend, at 0.8 ms a vote; all are rated with what that calls."""


def read_football(path):
    """(emotion, left, right, choice) of every match: a win, a loss or a draw of the home team."""
    rows = []
    with path.open(newline="", encoding="utf-8") as stream:
        for match in csv.DictReader(stream):
            if match["home_score"].isdigit() and match["away_score"].isdigit():
                home, away = int(match["home_score"]), int(match["away_score"])
                choice = "left" if home > away else "right" if home < away else "neither"
                rows.append(("football", match["home_team"], match["away_team"], choice))
    return rows


def rate_by_package(rows, env):
    """(emotion, item) -> the package's rating."""
    import trueskill

    ratings = {}
    for emotion, left, right, choice in rows:
        one, other = (ratings.setdefault((emotion, name), env.create_rating()) for name in (left, right))
        if choice == "right":
            other, one = trueskill.rate_1vs1(other, one, env=env)
        else:
            one, other = trueskill.rate_1vs1(one, other, choice == "neither", env=env)
        ratings[emotion, left], ratings[emotion, right] = one, other
    return ratings


def as_dict(ratings):
    """(emotion, item) -> (mu, sigma)."""
    columns = (ratings.emotion, ratings.item, ratings.mu, ratings.sigma)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return {(ratings.emotions[e], ratings.items[i]): (mu, sigma) for e, i, mu, sigma in rows}


def largest_difference(ratings, expected):
    got = as_dict(ratings)
    assert got.keys() == expected.keys()
    return max(
        max(abs(got[key][0] - rating.mu), abs(got[key][1] - rating.sigma)) for key, rating in expected.items()
    )


def draw_votes(rng, count, items, emotions=3):
    """Votes of random pairs, with draws."""
    left = rng.integers(items, size=count)
    right = (left + rng.integers(1, items, size=count)) % items
    return Votes(
        tuple(f"e{k}" for k in range(emotions)),
        tuple(f"i{k}" for k in range(items)),
        rng.integers(emotions, size=count),
        left,
        right,
        rng.integers(3, size=count),
    )


class TestAgainstThePackage:
    def test_its_scipy_backend(self, data):
        trueskill = pytest.importorskip("trueskill", reason="the package trueskill is not installed")
        rows = read_football(data("votes/football_to_2014.csv"))[:SOME]
        assert 0.1 < sum(row[3] == "neither" for row in rows) / len(rows) < 0.4
        expected = rate_by_package(rows, trueskill.TrueSkill(backend="scipy"))
        assert largest_difference(score_votes(Votes.from_rows(rows)), expected) < 1e-9

    def test_the_whole_file(self, data):
        """With the functions that scipy's distribution calls, without what it does around them."""
        trueskill = pytest.importorskip("trueskill", reason="the package trueskill is not installed")
        special = pytest.importorskip("scipy.special")
        stats = pytest.importorskip("scipy.stats")
        points = np.linspace(-40, 10, 101)
        assert (special.ndtr(points) == stats.norm.cdf(points)).all()
        rows = read_football(data("votes/football_to_2014.csv"))
        assert len(rows) > 38_000
        peak = 1 / math.sqrt(2 * math.pi)
        backend = (
            lambda x: float(special.ndtr(x)),
            lambda x: peak * math.exp(-x * x / 2),
            lambda x: float(special.ndtri(x)),
        )
        expected = rate_by_package(rows, trueskill.TrueSkill(backend=backend))
        assert largest_difference(score_votes(Votes.from_rows(rows)), expected) < 1e-9

    def test_other_settings_and_emotions(self):
        trueskill = pytest.importorskip("trueskill", reason="the package trueskill is not installed")
        votes = draw_votes(np.random.default_rng(1), 300, 8, emotions=2)
        rows = [
            (votes.emotions[e], votes.items[a], votes.items[b], CHOICES[c])
            for e, a, b, c in zip(votes.emotion, votes.left, votes.right, votes.choice, strict=True)
        ]
        chosen = {"mu": 10.0, "sigma": 4.0, "beta": 1.5, "tau": 0.3, "draw_probability": 0.33}
        expected = rate_by_package(rows, trueskill.TrueSkill(**chosen, backend="scipy"))
        assert largest_difference(score_votes(votes, TrueSkill(**chosen)), expected) < 1e-9


class TestRounds:
    @settings(max_examples=60)
    @given(st.integers(2, 9), st.lists(st.tuples(st.integers(0, 8), st.integers(1, 8)), max_size=60))
    def test_they_keep_every_items_order(self, items, pairs):
        first = np.array([a % items for a, _ in pairs], int)
        second = np.array([(a + 1 + b % (items - 1)) % items for a, b in pairs], int)
        rounds = find_rounds(first, second, items).tolist()
        last = [-1] * items
        for number, a, b in zip(rounds, first.tolist(), second.tolist(), strict=True):
            assert number == max(last[a], last[b]) + 1  # right after the later of the two
            last[a] = last[b] = number

    @pytest.mark.parametrize("narrow", [1, 5, 64, 10**9])
    @pytest.mark.parametrize("kind", ["wide", "narrow", "star", "both"])
    def test_they_change_nothing(self, monkeypatch, narrow, kind):
        """As arrays, one by one, or both in turns: the same as the votes in their own order."""
        rng = np.random.default_rng(2)
        items, count = {"wide": (400, 3000), "narrow": (4, 300), "star": (50, 300), "both": (600, 3000)}[kind]
        first = np.zeros(count, int) if kind == "star" else rng.integers(items, size=count)
        if kind == "both":  # a wide beginning, then a few items among themselves, then all again
            first[800:1200] %= 5
        second = (first + rng.integers(1, items, size=count)) % items
        if kind == "both":
            second[800:1200] = (first[800:1200] + rng.integers(1, 5, size=400)) % 5
        drawn = rng.random(count) < 0.3
        monkeypatch.setattr(room, "NARROW", narrow)
        got = rate_votes(first, second, drawn, items, TrueSkill(), compiled=False)
        chosen = TrueSkill()
        mu, variance = [chosen.mu] * items, [chosen.sigma**2] * items
        constants = (chosen.margin, 2 * chosen.beta**2, chosen.tau**2)
        PLAIN.rate(mu, variance, first.tolist(), second.tolist(), drawn.tolist(), *constants)
        np.testing.assert_allclose(got[0], mu, rtol=0, atol=1e-10)
        np.testing.assert_allclose(got[1], np.sqrt(variance), rtol=0, atol=1e-10)

    def test_more_rounds_than_a_short_number_holds(self):
        count = 40_000
        first, second = np.zeros(count, int), np.ones(count, int)
        drawn = np.zeros(count, bool)
        drawn[-1] = True
        got = rate_votes(first, second, drawn, 2, TrueSkill(), compiled=False)
        backwards = rate_votes(second, first, drawn, 2, TrueSkill(), compiled=False)
        assert got[0].tolist() == backwards[0][::-1].tolist()
        without = rate_votes(first[:-1], second[:-1], drawn[:-1], 2, TrueSkill(), compiled=False)
        assert got[0][0] < without[0][0]  # the draw came last, and brought the two together
        assert got[0][1] > without[0][1]


class TestCompiled:
    def test_it_gives_the_same(self):
        pytest.importorskip("numba", reason="numba (the fast extra) is not installed")
        votes = draw_votes(np.random.default_rng(3), 4000, 90)
        plain, fast = score_votes(votes, compiled=False), score_votes(votes, compiled=True)
        np.testing.assert_allclose(fast.mu, plain.mu, rtol=0, atol=1e-9)
        np.testing.assert_allclose(fast.sigma, plain.sigma, rtol=0, atol=1e-9)
        assert fast.item.tolist() == plain.item.tolist()
        assert fast.votes.tolist() == plain.votes.tolist()

    def test_its_tails_are_the_same(self):
        pytest.importorskip("numba", reason="numba (the fast extra) is not installed")
        kernel = compile_kernel()
        for x in (-1e5, -30.0, -5.0001, -4.9, 0.0, 3.0, 50.0):
            assert kernel.correct_win(x) == pytest.approx(PLAIN.correct_win(x), rel=1e-13)
        for t, epsilon in ((0.0, 0.1), (-3.0, 1e-7), (40.0, 0.1), (-40.0, 0.1), (1e4, 1e-9), (0.5, 6.0)):
            assert kernel.correct_draw(t, epsilon) == pytest.approx(PLAIN.correct_draw(t, epsilon), rel=1e-9)

    def test_without_numba(self, monkeypatch):
        """Asked for, it is a line that says what to install; not asked for, the plain way is taken."""
        monkeypatch.setitem(sys.modules, "numba", None)
        monkeypatch.setattr(room, "COMPILE_FROM", 0)
        compile_kernel.cache_clear()
        try:
            votes = draw_votes(np.random.default_rng(4), 50, 5)
            with pytest.raises(MissingExtra, match=r'compiled scoring \(numba\) needs the "fast" extra'):
                score_votes(votes, compiled=True)
            assert as_dict(score_votes(votes)) == as_dict(score_votes(votes, compiled=False))
        finally:
            compile_kernel.cache_clear()

    def test_it_is_done_where_it_pays(self, monkeypatch):
        """Many votes on few items, or very many."""
        asked = []
        monkeypatch.setattr(room, "compile_kernel", lambda: asked.append(1))
        votes = draw_votes(np.random.default_rng(5), 500, 20, emotions=1)  # some item is in over 50 of them
        score_votes(votes)
        assert not asked
        monkeypatch.setattr(room, "COMPILE_FROM", 500)
        monkeypatch.setattr(room, "BROAD", 5)
        score_votes(votes)
        assert not asked
        monkeypatch.setattr(room, "BROAD", 10)
        score_votes(votes)
        assert len(asked) == 1
        monkeypatch.setattr(room, "BROAD", 5)
        monkeypatch.setattr(room, "COMPILE_WIDE_FROM", 500)
        score_votes(votes)
        assert len(asked) == 2


def test_emotions_do_not_touch_each_other():
    votes = draw_votes(np.random.default_rng(6), 900, 12)
    together = as_dict(score_votes(votes))
    for number, emotion in enumerate(votes.emotions):
        own = votes.emotion == number
        parts = (votes.emotion[own], votes.left[own], votes.right[own], votes.choice[own])
        alone = as_dict(score_votes(Votes(votes.emotions, votes.items, *parts)))
        assert alone == {key: pytest.approx(value) for key, value in together.items() if key[0] == emotion}


def test_the_order_of_votes_counts():
    rows = [("joy", "a", "b", "left"), ("joy", "a", "b", "right")]
    assert as_dict(score_votes(Votes.from_rows(rows))) != as_dict(score_votes(Votes.from_rows(rows[::-1])))


def test_right_is_left_turned_round():
    one = score_votes(Votes.from_rows([("joy", "a", "b", "left")]))
    other = score_votes(Votes.from_rows([("joy", "b", "a", "right")]))
    assert as_dict(one) == as_dict(other)
    assert as_dict(one)["joy", "a"] == pytest.approx((29.395832, 7.171475), abs=1e-6)


def test_rows_are_sorted_and_counted():
    rows = [
        ("joy", "b", "a", "neither"),
        ("anger", "x", "b", "right"),
        ("joy", "a", "b", "neither"),
        ("joy", "Z", "é", "left"),
    ]
    file = io.BytesIO()
    write_ratings(score_votes(Votes.from_rows(rows)), file)
    lines = file.getvalue().decode().splitlines()
    assert lines[0] == "item,emotion,mu,sigma,score,votes"
    assert [line.split(",")[:2] for line in lines[1:]] == [
        ["b", "anger"], ["x", "anger"], ["Z", "joy"], ["a", "joy"], ["b", "joy"], ["é", "joy"],
    ]  # fmt: skip
    assert [line.split(",")[-1] for line in lines[1:]] == ["1", "1", "1", "2", "2", "1"]
    assert lines[1] == "b,anger,29.395831693,7.171475807,0.175833268,1"
    assert lines[4].split(",")[2:5:2] == ["25.0", "0.0"]


def test_scores_are_clipped():
    assert score_mu(np.array([-3.0, 0.0, 12.5, 25.0, 50.0, 51.0])).tolist() == [-1, -1, -0.5, 0, 1, 1]


def test_wide_ratings_are_counted():
    rows = [("joy", "a", f"b{k % 2}", "neither") for k in range(40)] + [("anger", "a", "c", "left")]
    rows += [("joy", "a", "seldom", "left")]
    ratings = score_votes(Votes.from_rows(rows))
    sigma = {key: value[1] for key, value in as_dict(ratings).items()}
    assert [key for key, value in sorted(sigma.items()) if value > 25 / 6] == [
        ("anger", "a"), ("anger", "c"), ("joy", "seldom"),
    ]  # fmt: skip
    assert list(ratings.count_wide().items()) == [("anger", (2, 2)), ("joy", (1, 4))]


class TestSlots:
    @pytest.mark.parametrize("items", [7, 2_000_000])
    def test_both_ways_number_alike(self, items):
        """Seven items in use; where the names are many, numbers are found by sorting."""
        votes = draw_votes(np.random.default_rng(7), 40, 7)
        names = tuple(str(k) for k in range(items))
        votes = Votes(votes.emotions, names, votes.emotion, votes.left, votes.right, votes.choice)
        slots = number_slots(votes)
        expected = sorted(
            {*zip(votes.emotion.tolist(), votes.left.tolist(), strict=True)}
            | {*zip(votes.emotion.tolist(), votes.right.tolist(), strict=True)}
        )
        assert list(zip(slots.emotion.tolist(), slots.item.tolist(), strict=True)) == expected
        assert (slots.item[slots.left] == votes.left).all()
        assert (slots.item[slots.right] == votes.right).all()
        assert (slots.emotion[slots.right] == votes.emotion).all()
        assert slots.votes.sum() == 80

    def test_no_votes(self):
        ratings = score_votes(Votes.from_rows([]))
        assert (len(ratings), ratings.count_wide()) == (0, {})
        file = io.BytesIO()
        write_ratings(ratings, file)
        assert file.getvalue() == b"item,emotion,mu,sigma,score,votes\n"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"left": np.array([0, 1])}, "Votes.left = 'int64 [2]': expected integers [1]"),
        ({"left": np.array([0.0])}, "Votes.left = 'float64 [1]'"),
        ({"right": np.array([2])}, "Votes.right = '2 to 2': expected indices from 0 to 1"),
        ({"choice": np.array([3])}, "Votes.choice = '3 to 3': expected indices from 0 to 2"),
        ({"emotion": np.array([-1])}, "Votes.emotion = '-1 to -1'"),
        ({"voter": np.array([0])}, "Votes.voter = '0 to 0': expected indices from -1 to -1"),
        ({"right": np.array([0])}, "Votes.right = 'the same as left'"),
    ],
)
def test_votes_that_cannot_be(change, said):
    parts = {"emotion": np.array([0]), "left": np.array([0]), "right": np.array([1]), "choice": np.array([0])}
    with pytest.raises(SettingsError) as caught:
        Votes(("joy",), ("a", "b"), **{**parts, **change})
    assert str(caught.value).startswith(said)


def test_a_choice_that_cannot_be():
    with pytest.raises(SettingsError, match="choice = 'both': expected one of left, right, neither"):
        Votes.from_rows([("joy", "a", "b", "both")])
