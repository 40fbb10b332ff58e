"""Which pair to ask next: the one that TrueSkill is least certain of, except for a share left to chance.

The first item is one of those known least (highest variance). The second is the one against which the answer
is most open: t = (mu_a - mu_b) / c is nearest to 0, with c^2 = 2 beta^2 + var_a + var_b, so that the two are
near for how little is known of them. (Asking instead for the pair whose vote is expected to lower variance or
entropy most was tried, and ranks no better: benchmarks/pairs.py.)

Pairs chosen so depend on earlier answers. They are fit for rating, which accounts for who met whom, but not
for counting ("how often do people disagree?"): the share that is drawn evenly from all pairs is.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Set
from dataclasses import dataclass

import numpy as np

from moodreel.errors import require
from moodreel.labels.votes_trueskill import IndexArray, TrueSkill
from moodreel.types import FloatArray

SHARE = 0.2
"""Share of pairs that are drawn evenly, by default."""

LEAST_KNOWN = 0.9
"""An item counts among the least known when its variance is above this share of the highest."""


@dataclass(frozen=True)
class Choice:
    """Two items to ask about, in the order in which they are shown, and whether chance alone chose them."""

    left: int
    right: int
    is_random: bool


def measure_openness(
    mu: FloatArray, variance: FloatArray, one: int, others: IndexArray, settings: TrueSkill
) -> FloatArray:
    """How far the answer of each pair is from being open: |t|, in standard deviations of what is seen.

    Args:
        mu, variance: [N] ratings.
        one: an item.
        others: [M] items to pair it with.
        settings: what TrueSkill assumes.

    Returns:
        [M], 0 where either answer is as likely.
    """
    c = np.sqrt(variance[one] + variance[others] + 2 * settings.beta**2)
    apart: FloatArray = np.abs(mu[one] - mu[others]) / c
    return apart


def choose_pair(
    mu: FloatArray,
    variance: FloatArray,
    offered: IndexArray,
    rng: np.random.Generator,
    *,
    share: float = SHARE,
    answered: Mapping[int, Set[int]] = {},
    barred: Collection[Set[int]] = (),
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
        barred: pairs that must not come, such as the voter's last.
        settings: what TrueSkill assumes.

    Returns:
        The pair, its sides at random; None where there is none: fewer than two items, or all pairs barred.
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
            without = {first, *spared.get(first, ())}
            without.update(*(pair for pair in barred if first in pair))
            others = offered[~np.isin(offered, list(without))]
            if not len(others):
                continue
            if is_random:
                second = int(rng.choice(others))
            else:
                others = rng.permutation(others)  # of several that are as open, any
                second = int(others[np.argmin(measure_openness(mu, variance, first, others, settings))])
            left, right = (first, second) if rng.random() < 0.5 else (second, first)
            return Choice(left, right, is_random)
    return None
