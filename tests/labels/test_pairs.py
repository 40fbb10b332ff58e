"""Which pair is asked next."""

from collections import Counter
from statistics import NormalDist

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.labels.pairs import SHARE, choose_pair, measure_openness
from moodreel.labels.votes_live import LiveRatings
from moodreel.labels.votes_trueskill import TrueSkill


def rng(seed=0):
    return np.random.default_rng(seed)


def fresh(count):
    return np.full(count, 25.0), np.full(count, (25 / 3) ** 2)


def test_openness_is_how_surely_one_is_seen_stronger():
    """Against showings: strengths drawn from the ratings, each seen with noise beta."""
    settings = TrueSkill()
    mu = np.array([25.0, 25.0, 32.0, 18.0, 26.0])
    variance = np.array([30.0, 69.0, 30.0, 4.0, 1.0])
    others = np.arange(1, 5)
    apart = measure_openness(mu, variance, 0, others, settings)
    draws = rng(1)
    spread = np.sqrt(variance + settings.beta**2)
    for other, t in zip(others.tolist(), apart.tolist(), strict=True):
        seen = [draws.normal(mu[k], spread[k], 400_000) for k in (0, other)]
        stronger = max(np.mean(seen[0] > seen[1]), np.mean(seen[0] < seen[1]))
        assert NormalDist().cdf(t) == pytest.approx(stronger, abs=0.003)


def test_the_least_known_item_and_an_open_question():
    mu, variance = fresh(40)
    variance[:] = 4.0
    variance[7] = 60.0
    mu[:] = np.linspace(5, 45, 40)
    mu[7] = 25.0
    for seed in range(30):
        chosen = choose_pair(mu, variance, np.arange(40), rng(seed), share=0.0)
        other = {chosen.left, chosen.right} - {7}
        assert len(other) == 1
        assert abs(mu[other.pop()] - 25.0) < 3.5
        assert not chosen.is_random


def test_of_two_as_near_the_less_known():
    mu, variance = np.array([25.0, 27.0, 23.0]), np.array([60.0, 2.0, 20.0])
    for seed in range(10):
        chosen = choose_pair(mu, variance, np.arange(3), rng(seed), share=0.0)
        assert {chosen.left, chosen.right} == {0, 2}


def test_of_equals_any():
    mu, variance = fresh(6)
    asked = {choose_pair(mu, variance, np.arange(6), rng(seed), share=0.0) for seed in range(200)}
    assert len({(pair.left, pair.right) for pair in asked}) == 30


def test_the_share_of_chance_and_its_evenness():
    mu, variance = fresh(5)
    variance[0] = 100.0
    source = rng(2)
    asked = [choose_pair(mu, variance, np.arange(5), source) for _ in range(5000)]
    assert np.mean([pair.is_random for pair in asked]) == pytest.approx(SHARE, abs=0.02)
    even = Counter(frozenset((pair.left, pair.right)) for pair in asked if pair.is_random)
    expected = sum(even.values()) / 10
    assert len(even) == 10
    # chi-squared of 9 degrees of freedom: above 27.9 once in a thousand
    assert sum((count - expected) ** 2 / expected for count in even.values()) < 27.9
    assert {0 in (pair.left, pair.right) for pair in asked if not pair.is_random} == {True}
    left = np.mean([pair.left == 0 for pair in asked if not pair.is_random])
    assert left == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_answered_pairs_wait_until_all_are(share):
    mu, variance = fresh(4)
    answered = {}
    seen = []
    for seed in range(6):
        chosen = choose_pair(mu, variance, np.arange(4), rng(seed), share=share, answered=answered)
        pair = frozenset((chosen.left, chosen.right))
        seen.append(pair)
        for item in pair:
            answered.setdefault(item, set()).update(pair - {item})
    assert len(set(seen)) == 6
    again = choose_pair(mu, variance, np.arange(4), rng(9), share=share, answered=answered, barred=[seen[-1]])
    assert frozenset((again.left, again.right)) in set(seen[:-1])


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_never_a_barred_pair(share):
    mu, variance = fresh(3)
    for seed in range(50):
        chosen = choose_pair(mu, variance, np.arange(3), rng(seed), share=share, barred=[frozenset((0, 1))])
        assert {chosen.left, chosen.right} != {0, 1}
        two_barred = [frozenset((0, 1)), frozenset((1, 2))]
        chosen = choose_pair(mu, variance, np.arange(3), rng(seed), share=share, barred=two_barred)
        assert {chosen.left, chosen.right} == {0, 2}
    two = np.array([0, 2])
    assert choose_pair(mu, variance, two, rng(), share=share, barred=[frozenset((0, 2))]) is None
    assert choose_pair(mu, variance, two, rng(), share=share) is not None
    for few in ([], [1]):
        assert choose_pair(mu, variance, np.array(few, int), rng(), share=share) is None


def test_only_what_is_offered_and_the_same_from_a_seed():
    mu, variance = fresh(1000)
    offered = np.arange(100, 1000, 7)
    chosen = [choose_pair(mu, variance, offered, rng(5)) for _ in range(2)]
    assert chosen[0] == chosen[1]
    assert {chosen[0].left, chosen[0].right} <= set(offered.tolist())


@pytest.mark.parametrize("share", [-0.1, 1.1])
def test_a_share_is_one(share):
    with pytest.raises(SettingsError, match="share"):
        choose_pair(*fresh(3), np.arange(3), rng(), share=share)


def spearman(one, other):
    ranks = [np.argsort(np.argsort(values)) for values in (one, other)]
    return np.corrcoef(*ranks)[0, 1]


def test_chosen_pairs_rank_with_fewer_votes():
    """Eight votes an item on 40 items of known strength: benchmarks/pairs.py has the whole measurement."""
    found = {0.2: [], 1.0: []}
    for seed in range(12):
        for share, scores in found.items():
            source = rng(seed)
            truth = source.permutation(np.linspace(0, 1, 40))
            live = LiveRatings()
            for number in range(160):
                mu, variance, _ = live.get(40)
                pair = choose_pair(mu, variance, np.arange(40), source, share=share)
                seen = truth[[pair.left, pair.right]] + source.normal(0, 0.15, 2)
                live.add(number, pair.left, pair.right, 0 if seen[0] > seen[1] else 1)
            scores.append(spearman(live.get(40)[0], truth))
    assert np.mean(found[0.2]) > np.mean(found[1.0]) + 0.01
