"""Which pair to ask next: the one that tells most, except for a share that is left to chance.

What a vote on two items can tell follows from TrueSkill itself. With t = (mu_a - mu_b) / c and
c^2 = 2 beta^2 + var_a + var_b, the vote lowers the summed variance by (var_a^2 + var_b^2) / c^2 W, where W
depends on the answer; the mean of that over the three answers, each with its probability, is what the pair is
expected to tell. The first item is one of those known least (highest variance), the second the one of which
the pair then tells most: itself little known, and near enough for the answer to be open.

Pairs chosen so depend on earlier answers. They are fit for rating, which accounts for who met whom, but not
for counting ("how often do people disagree?"): the share that is drawn evenly from all pairs is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass

import numpy as np

from moodreel.errors import require
from moodreel.labels.votes_trueskill import IndexArray, TrueSkill, correct_draws, correct_wins
from moodreel.types import FloatArray

SHARE = 0.2
"""Share of pairs that are drawn evenly, by default."""

OPPONENTS = 256
"""Items that are weighed as the second of a pair, drawn evenly: more tell hardly more."""

LEAST_KNOWN = 0.9
"""An item counts among the least known when its variance is above this share of the highest."""


@dataclass(frozen=True)
class Choice:
    """Two items to ask about, in the order in which they are shown, and whether chance alone chose them."""

    left: int
    right: int
    is_random: bool


def expect_gain(
    mu: FloatArray, variance: FloatArray, one: int, others: IndexArray, settings: TrueSkill
) -> FloatArray:
    """By how much one vote on each pair is expected to lower the summed variance of its two items.

    Args:
        mu, variance: [N] ratings.
        one: an item.
        others: [M] items to pair it with.
        settings: what TrueSkill assumes.

    Returns:
        [M], 0 or more.
    """
    var_a, var_b = variance[one] + settings.tau**2, variance[others] + settings.tau**2
    c = np.sqrt(var_a + var_b + 2 * settings.beta**2)
    t, epsilon = (mu[one] - mu[others]) / c, settings.margin / c
    won, lost = _normal_cdf(t - epsilon), _normal_cdf(-t - epsilon)
    drawn = np.maximum(1 - won - lost, 0.0)
    w = won * correct_wins(t - epsilon)[1] + lost * correct_wins(-t - epsilon)[1]
    w += drawn * correct_draws(t, epsilon)[1]
    gain: FloatArray = (var_a**2 + var_b**2) / c**2 * w
    return gain


def _normal_cdf(x: FloatArray) -> FloatArray:
    root = math.sqrt(0.5)
    return np.fromiter((0.5 * math.erfc(-value * root) for value in x.tolist()), np.float64, len(x))


def choose_pair(
    mu: FloatArray,
    variance: FloatArray,
    offered: IndexArray,
    rng: np.random.Generator,
    *,
    share: float = SHARE,
    answered: Mapping[int, Set[int]] = {},
    last: Set[int] = frozenset(),
    settings: TrueSkill | None = None,
) -> Choice | None:
    """Chooses the next pair for a voter.

    Args:
        mu, variance: [N] ratings so far.
        offered: [M] the items to choose from.
        rng: source of chance.
        share: of pairs that are drawn evenly, 0 to 1.
        answered: item -> those it has been shown with to this voter, both ways; such a pair comes again only
            when all have been answered.
        last: the two items of the voter's last pair, which never comes again at once.
        settings: what TrueSkill assumes.

    Returns:
        The pair, its sides at random; None where there is none: fewer than two items, or two of which the
        voter was asked last.
    """
    require(0 <= share <= 1, "share", share, "a share, 0 to 1")
    is_random = bool(rng.random() < share)
    if is_random:
        firsts = rng.permutation(offered)
    else:
        known = variance[offered]
        chance = rng.random(len(offered))
        # the least known in any order, then the others from the least known on
        group = np.where(known >= LEAST_KNOWN * known.max(initial=0.0), np.inf, known)
        firsts = offered[np.lexsort((chance, -group))]
    settings = settings or TrueSkill()
    for spared in (answered, {}):
        for first in firsts.tolist():
            without = {first, *spared.get(first, ()), *(last if first in last else ())}
            others = offered[~np.isin(offered, list(without))]
            if not len(others):
                continue
            if is_random:
                second = int(rng.choice(others))
            else:
                some = rng.permutation(others)[:OPPONENTS]
                second = int(some[np.argmax(expect_gain(mu, variance, first, some, settings))])
            left, right = (first, second) if rng.random() < 0.5 else (second, first)
            return Choice(left, right, is_random)
    return None
