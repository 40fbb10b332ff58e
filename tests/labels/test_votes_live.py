"""Live ratings: the numbers of ``votes score``, whatever was added and taken back on the way."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodreel.labels.votes import Votes, score_votes
from moodreel.labels.votes_live import LiveRatings, LiveVotes
from moodreel.labels.votes_trueskill import TrueSkill

ITEMS = 7

pairs = st.tuples(st.integers(0, ITEMS - 1), st.integers(0, ITEMS - 1)).filter(
    lambda pair: pair[0] != pair[1]
)
votes = st.tuples(pairs, st.integers(0, 2))
acts = st.lists(st.one_of(votes, st.sets(st.integers(1, 60), max_size=3)), max_size=60)


def rate(kept, settings=None):
    """Item -> (mu, sigma, votes) by the batch way over (left, right, choice)."""
    choices = ("left", "right", "neither")
    rows = [("joy", str(left), str(right), choices[choice]) for left, right, choice in kept]
    found = score_votes(Votes.from_rows(rows), settings, compiled=False)
    names = [int(found.items[item]) for item in found.item]
    return dict(zip(names, zip(found.mu, found.sigma, found.votes, strict=True), strict=True))


@given(acts)
def test_as_if_only_what_is_left_had_been_cast(doings):
    live = LiveRatings()
    kept, number = {}, 0
    for act in doings:
        if isinstance(act, set):
            live.remove(act)
            for gone in act:
                kept.pop(gone, None)
        else:
            (left, right), choice = act
            number += 2  # numbers may have gaps
            live.add(number, left, right, choice)
            kept[number] = (left, right, choice)
    wanted = rate(kept.values())
    mu, variance, counts = live.get(ITEMS)
    assert len(live) == len(kept)
    assert live.size >= max(wanted, default=-1) + 1
    assert set(np.flatnonzero(counts).tolist()) == set(wanted)
    for item in range(ITEMS):
        start = (25.0, 25.0 / 3, 0)
        assert (mu[item], variance[item] ** 0.5, counts[item]) == pytest.approx(
            wanted.get(item, start), abs=1e-10
        )


def test_other_settings_and_many_items():
    settings = TrueSkill(mu=0.0, sigma=1.0, beta=0.5, tau=0.01, draw_probability=0.3)
    live = LiveRatings(settings)
    kept = [(k, k + 900, k % 3) for k in range(40)] + [(k, k + 1, 0) for k in range(40)]
    for number, vote in enumerate(kept):
        live.add(number, *vote)
    mu, variance, counts = live.get(1000)
    wanted = rate(kept, settings)
    for item, (mean, sigma, count) in wanted.items():
        assert (mu[item], variance[item] ** 0.5, counts[item]) == pytest.approx(
            (mean, sigma, count), abs=1e-10
        )
    assert (mu[500], variance[500]) == (0.0, 1.0)


def test_by_hand():
    """One win between equals: c^2 = 2 beta^2 + 2 (sigma^2 + tau^2), mu moves by var / c V(-margin / c)."""
    live = LiveRatings()
    live.add(1, 0, 1, 1)  # the right one shows more
    mu, variance, _ = live.get(2)
    assert mu.tolist() == pytest.approx([20.604168307008482, 29.395831692991518], abs=1e-12)
    assert variance[0] ** 0.5 == variance[1] ** 0.5 == pytest.approx(7.171475807, abs=1e-9)


def test_who_answered_what():
    live = LiveVotes(TrueSkill())
    live.add(1, 0, 1, 0, "ann")
    live.add(2, 0, 2, 0, "ann")
    live.add(3, 0, 1, 2, "bob")
    assert live.answered == {"ann": {0: {1, 2}, 1: {0}, 2: {0}}, "bob": {0: {1}, 1: {0}}}
    live.remove([(1, 0, 1, "ann"), (9, 0, 1, "cy")])
    assert live.answered["ann"] == {0: {2}, 1: set(), 2: {0}}
    assert live.answered["bob"] == {0: {1}, 1: {0}}
    assert len(live.ratings) == 2
