"""What a set of votes is worth before it becomes labels: coverage, contradictions, and who voted.

Only votes are looked at, never who a voter is. A verdict on a voter is a reason to look, none to drop.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from moodreel.errors import SettingsError
from moodreel.labels.votes import LEFT, NEITHER, RIGHT, Slots, Votes, number_slots
from moodreel.labels.votes_trueskill import IndexArray
from moodreel.types import BoolArray, FloatArray

FEW = 6
"""Votes below which an item counts as thin: about where TrueSkill's sigma has halved."""

LEAST = 20
"""Votes of a voter that can be compared with others', below which there is no verdict."""

ALPHA = 0.01
"""Chance, over all voters together (Bonferroni), that one of them is accused wrongly."""


@dataclass(frozen=True)
class Coverage:
    """What the votes of one emotion reach.

    Attributes:
        emotion: its name.
        votes: how many.
        neither: share of "neither", 0 to 1.
        items: how many are named.
        fewest, median, most: votes an item.
        thin: items with fewer than :data:`FEW` votes.
        parts: groups of items that no vote connects with each other; their ratings cannot be compared.
        largest: items in the largest of these.
    """

    emotion: str
    votes: int
    neither: float
    items: int
    fewest: int
    median: float
    most: int
    thin: int
    parts: int
    largest: int


@dataclass(frozen=True)
class Pair:
    """Two items that were voted on both ways.

    Attributes:
        emotion, one, other: names; ``one`` comes first in the alphabet.
        for_one, for_other, neither: votes.
    """

    emotion: str
    one: str
    other: str
    for_one: int
    for_other: int
    neither: int


@dataclass(frozen=True)
class Contradictions:
    """Pairs of items (of one emotion) with votes both ways.

    Attributes:
        pairs: different pairs that were voted on.
        repeated: those with two votes or more that name a winner.
        contradicted: those of them with votes for either.
        by_one_voter: times that a voter voted both ways on a pair; None where voters are unknown.
        worst: contradicted pairs, those with most votes for the weaker side first.
    """

    pairs: int
    repeated: int
    contradicted: int
    by_one_voter: int | None
    worst: tuple[Pair, ...]


@dataclass(frozen=True)
class Voter:
    """How one voter's choices compare with everybody else's.

    Attributes:
        voter: name.
        votes: how many.
        neither: share of "neither", 0 to 1.
        left: share of "left" among the choices; None without any.
        compared: choices between two items that others rate differently.
        agreed: those for the item that others rate higher.
        others: share that all other voters agree with; None where there is nothing to compare.
        p_chance: probability of so few agreements from blind guessing.
        p_others: probability of so few from somebody who agrees as often as the others.
        verdict: "against", "guessing", "ok", or "few" (see :func:`judge_voters`).
    """

    voter: str
    votes: int
    neither: float
    left: float | None
    compared: int
    agreed: int
    others: float | None
    p_chance: float | None
    p_others: float | None
    verdict: str


@dataclass(frozen=True)
class VoteCheck:
    """Everything that :func:`check_votes` finds.

    Attributes:
        votes: how many.
        coverage: one an emotion, by name.
        contradictions: of all emotions together.
        voters: worst first; None where voters are unknown.
    """

    votes: int
    coverage: tuple[Coverage, ...]
    contradictions: Contradictions
    voters: tuple[Voter, ...] | None


def check_votes(votes: Votes, worst: int = 100) -> VoteCheck:
    """Looks at coverage, contradictions and voters.

    Args:
        votes: in any order.
        worst: contradicted pairs to list, at most.
    """
    slots = number_slots(votes)
    return VoteCheck(
        len(votes),
        measure_coverage(votes, slots),
        find_contradictions(votes, slots, worst),
        judge_voters(votes, slots),
    )


def measure_coverage(votes: Votes, slots: Slots) -> tuple[Coverage, ...]:
    """Votes an item and what they connect, for each emotion; "neither" connects two items as well."""
    part = find_parts(slots.left, slots.right, len(slots.item))
    found = []
    for number, emotion in sorted(enumerate(votes.emotions), key=lambda pair: pair[1]):
        own = votes.emotion == number
        count = int(own.sum())
        if not count:
            continue
        here = slots.emotion == number
        each = slots.votes[here]
        sizes = np.unique(part[here], return_counts=True)[1]
        found.append(
            Coverage(
                emotion,
                count,
                float((votes.choice[own] == NEITHER).mean()),
                len(each),
                int(each.min()),
                float(np.median(each)),
                int(each.max()),
                int((each < FEW).sum()),
                len(sizes),
                int(sizes.max()),
            )
        )
    return tuple(found)


def find_parts(left: IndexArray, right: IndexArray, count: int) -> IndexArray:
    """Connected components of a graph.

    Args:
        left, right: [N] ends of its edges.
        count: number of nodes.

    Returns:
        [count] the lowest node of each node's component.
    """
    part = np.arange(count)
    while True:
        low = np.minimum(part[left], part[right])
        before = part.copy()
        # The roots of both ends learn of the lower one, then every node of its root's.
        np.minimum.at(part, before[left], low)
        np.minimum.at(part, before[right], low)
        while not np.array_equal(part, part[part]):
            part = part[part]
        if np.array_equal(part, before):
            return part


def find_contradictions(votes: Votes, slots: Slots, worst: int) -> Contradictions:
    """Pairs that were voted on both ways, by anybody and by one voter."""
    low, high = np.minimum(slots.left, slots.right), np.maximum(slots.left, slots.right)
    keys, pair = np.unique(low.astype(np.int64) * len(slots.item) + high, return_inverse=True)
    winner = np.where(votes.choice == LEFT, slots.left, slots.right)
    is_neither = votes.choice == NEITHER
    for_low, for_high = ~is_neither & (winner == low), ~is_neither & (winner == high)
    counts = [np.bincount(pair[kind], minlength=len(keys)) for kind in (for_low, for_high, is_neither)]
    weaker = np.minimum(counts[0], counts[1])
    contradicted = np.flatnonzero(weaker)
    rows = []
    for key, *tally in zip(
        keys[contradicted].tolist(), *(c[contradicted].tolist() for c in counts), strict=True
    ):
        ends = divmod(key, len(slots.item))
        names = [votes.items[slots.item[end]] for end in ends]
        if names[0] > names[1]:
            names.reverse()
            tally[:2] = tally[1::-1]
        rows.append(Pair(votes.emotions[slots.emotion[ends[0]]], *names, *tally))
    rows.sort(key=lambda row: (-min(row.for_one, row.for_other), row.emotion, row.one, row.other))
    by_one_voter = None
    if votes.voter is not None:
        by_one_voter = _count_changes(votes.voter, pair, for_low, for_high)
    repeated = int((counts[0] + counts[1] > 1).sum())
    return Contradictions(len(keys), repeated, len(contradicted), by_one_voter, tuple(rows[:worst]))


def _count_changes(voter: IndexArray, pair: IndexArray, for_low: BoolArray, for_high: BoolArray) -> int:
    """How many pairs (voter, pair of items) have votes both ways."""
    own = voter.astype(np.int64) * (int(pair.max(initial=0)) + 1) + pair
    is_known = voter >= 0
    return len(np.intersect1d(own[for_low & is_known], own[for_high & is_known]))


def judge_voters(votes: Votes, slots: Slots) -> tuple[Voter, ...] | None:
    """Compares each voter's choices with what all others say, the voter's own votes left out.

    An item's strength to others is (won - lost) / (votes + 2) over their votes on it in that emotion. A
    choice is compared where the two items differ in it, and agrees when it names the stronger one. The number
    of agreements is held against two binomial distributions: blind guessing (1/2), and the share of all other
    voters. A tail below :data:`ALPHA` over the number of voters that are judged counts.

    Verdicts: "against" when there are fewer agreements than guessing gives; "guessing" when there are fewer
    than the others have, and no more than guessing gives (at :data:`ALPHA`); "few" below :data:`LEAST`
    comparisons; else "ok".

    Returns:
        Worst first: by verdict, then by share of agreements. None where voters are unknown.
    """
    if votes.voter is None:
        return None
    voter, size = votes.voter, len(votes.voters)
    compared, agreed = _compare_choices(votes, slots, voter)
    is_known = voter >= 0
    total, neither, left, right = (
        np.bincount(voter[is_known & kind], minlength=size)
        for kind in (np.True_, votes.choice == NEITHER, votes.choice == LEFT, votes.choice == RIGHT)
    )
    is_judged = compared >= LEAST
    level = ALPHA / max(int(is_judged.sum()), 1)
    all_compared, all_agreed = int(compared.sum()), int(agreed.sum())
    found = []
    for k, name in enumerate(votes.voters):
        n, hits = int(compared[k]), int(agreed[k])
        rest = all_compared - n
        others = (all_agreed - hits) / rest if rest else None
        p_chance = sum_binomial(hits, n, 0.5) if n else None
        p_others = sum_binomial(hits, n, others) if n and others is not None else None
        verdict = "ok"
        if not is_judged[k]:
            verdict = "few"
        elif p_chance is not None and p_chance < level:
            verdict = "against"
        elif p_others is not None and p_others < level and sum_binomial(n - hits, n, 0.5) >= ALPHA:
            verdict = "guessing"
        choices = int(left[k] + right[k])
        found.append(
            Voter(
                name,
                int(total[k]),
                float(neither[k] / total[k]) if total[k] else 0.0,
                float(left[k] / choices) if choices else None,
                n,
                hits,
                others,
                p_chance,
                p_others,
                verdict,
            )
        )
    order = ("against", "guessing", "ok", "few")
    found.sort(key=lambda v: (order.index(v.verdict), v.agreed / v.compared if v.compared else 2, v.voter))
    return tuple(found)


def _compare_choices(votes: Votes, slots: Slots, voter: IndexArray) -> tuple[IndexArray, IndexArray]:
    """([V] choices of each voter that can be compared, [V] those that agree with the others')."""
    count, size = len(slots.item), len(votes.voters)
    sign = np.where(votes.choice == LEFT, 1.0, np.where(votes.choice == RIGHT, -1.0, 0.0))
    ends = np.concatenate([slots.left, slots.right])
    gains = np.concatenate([sign, -sign])
    net = np.bincount(ends, gains, minlength=count)
    # What each voter added to each item: voters without a name (-1) share one place, and get no verdict.
    own_keys, own = np.unique((np.tile(voter, 2) + 1).astype(np.int64) * count + ends, return_inverse=True)
    own_net = np.bincount(own, gains, minlength=len(own_keys))
    own_votes = np.bincount(own, minlength=len(own_keys))
    others_votes = (slots.votes[ends] - own_votes[own]).reshape(2, -1)
    strength: FloatArray = (net[ends] - own_net[own]).reshape(2, -1) / (others_votes + 2)
    step = strength[0] - strength[1]
    is_compared = (others_votes > 0).all(axis=0) & (np.abs(step) > 1e-12) & (sign != 0) & (voter >= 0)
    agrees = is_compared & (step * sign > 0)
    return np.bincount(voter[is_compared], minlength=size), np.bincount(voter[agrees], minlength=size)


def sum_binomial(hits: int, n: int, p: float) -> float:
    """P(X <= hits) of a binomial distribution, to about 1e-8 of its value (1e-12 while n is below 1,000).

    Args:
        hits: -1 to n.
        n: trials, at least 0.
        p: chance of a hit.

    Raises:
        SettingsError: p is no probability.
    """
    if not 0 <= p <= 1:
        raise SettingsError("p", p, "a probability")
    if hits >= n or p == 0:
        return 1.0 if hits >= 0 else 0.0
    if hits < 0 or p == 1:
        return 0.0
    if hits > n * p:  # the other tail is the short one
        return 1.0 - sum_binomial(n - hits - 1, n, 1 - p)
    log = math.lgamma(n + 1) - math.lgamma(hits + 1) - math.lgamma(n - hits + 1)
    log += hits * math.log(p) + (n - hits) * math.log1p(-p)
    total = term = 1.0  # relative to P(X = hits); terms fall from there on
    for k in range(hits, 0, -1):
        term *= k / (n - k + 1) * (1 - p) / p
        total += term
        if term < 1e-16 * total:
            break
    return math.exp(log) * total
