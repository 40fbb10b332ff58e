"""TrueSkill while votes come in: one vote at a time, and back again when one is taken back.

TrueSkill depends on the order of the votes. A vote that is taken back must leave the ratings that the others
alone would have given, so each vote's two ratings from before it are kept: the votes from the one taken back
on are undone, and those behind it are rated again. The last votes cost next to nothing, and no other order is
ever computed: the numbers are those of :func:`moodreel.labels.votes.score_votes` over the same votes.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from moodreel.labels.votes import NEITHER, RIGHT
from moodreel.labels.votes_trueskill import PLAIN, IndexArray, TrueSkill
from moodreel.types import FloatArray


class _Step(NamedTuple):
    """One vote: its items, the winner first, and what they were before it."""

    number: int
    first: int
    second: int
    drawn: bool
    before: tuple[float, float, float, float]


class LiveRatings:
    """Ratings of the items of one emotion.

    Args:
        settings: what TrueSkill assumes; None for the defaults.
    """

    def __init__(self, settings: TrueSkill | None = None) -> None:
        self.settings = settings or TrueSkill()
        self._mu: FloatArray = np.empty(0)
        self._variance: FloatArray = np.empty(0)
        self._votes = np.empty(0, np.int64)
        self._steps: list[_Step] = []
        self._grow(64)

    def __len__(self) -> int:
        return len(self._steps)

    def _grow(self, size: int) -> None:
        more = max(size, 2 * len(self._mu)) - len(self._mu)
        self._mu = np.append(self._mu, np.full(more, self.settings.mu))
        self._variance = np.append(self._variance, np.full(more, self.settings.sigma**2))
        self._votes = np.append(self._votes, np.zeros(more, np.int64))

    def get(self, count: int) -> tuple[FloatArray, FloatArray, IndexArray]:
        """(mu, variance, votes) of the items 0 to ``count`` - 1, [count] each; not to be written to."""
        if count > len(self._mu):
            self._grow(count)
        return self._mu[:count], self._variance[:count], self._votes[:count]

    def add(self, number: int, left: int, right: int, choice: int) -> None:
        """Rates one vote.

        Args:
            number: of the vote, above that of every vote so far.
            left, right: different items, 0 or more.
            choice: index into :data:`moodreel.labels.votes.CHOICES`.
        """
        first, second = (right, left) if choice == RIGHT else (left, right)
        self._rate(number, first, second, choice == NEITHER)

    def _rate(self, number: int, first: int, second: int, drawn: bool) -> None:
        if max(first, second) >= len(self._mu):
            self._grow(max(first, second) + 1)
        mu, variance, settings = self._mu, self._variance, self.settings
        before = (mu[first], variance[first], mu[second], variance[second])
        self._steps.append(_Step(number, first, second, drawn, before))
        noise, drift = 2 * settings.beta**2, settings.tau**2
        PLAIN.rate(mu.data, variance.data, [first], [second], [drawn], self._margin, noise, drift)
        self._votes[first] += 1
        self._votes[second] += 1

    @property
    def _margin(self) -> float:
        return self.settings.margin

    def remove(self, numbers: Iterable[int]) -> None:
        """Takes votes back; numbers of votes that are not there are passed over."""
        gone = set(numbers)
        if not gone:
            return
        start = bisect.bisect_left(self._steps, min(gone), key=lambda step: step.number)
        behind = self._steps[start:]
        for step in reversed(behind):
            first, second = step.first, step.second
            self._mu[first], self._variance[first], self._mu[second], self._variance[second] = step.before
            self._votes[first] -= 1
            self._votes[second] -= 1
        del self._steps[start:]
        for step in behind:
            if step.number not in gone:
                self._rate(step.number, step.first, step.second, step.drawn)


class LiveVotes:
    """The votes of one emotion as far as they were seen: ratings, and who was asked what.

    Args:
        settings: what TrueSkill assumes.

    Attributes:
        ratings: of the items.
        last: number of the last vote that was seen.
        undos: how many votes had been taken back when they were last looked for.
        pairs: vote -> voter, left, right.
        answered: voter -> item -> the items it stood against.
    """

    def __init__(self, settings: TrueSkill) -> None:
        self.ratings = LiveRatings(settings)
        self.last = 0
        self.undos = 0
        self.pairs: dict[int, tuple[str, int, int]] = {}
        self.answered: dict[str, dict[int, set[int]]] = {}

    def add(self, number: int, left: int, right: int, choice: int, voter: str) -> None:
        """Adds a vote; arguments as of :meth:`LiveRatings.add`, and who cast it."""
        self.ratings.add(number, left, right, choice)
        self.pairs[number] = (voter, left, right)
        own = self.answered.setdefault(voter, {})
        own.setdefault(left, set()).add(right)
        own.setdefault(right, set()).add(left)

    def remove(self, numbers: Iterable[int]) -> None:
        """Takes votes back; numbers of votes that are not there are passed over."""
        gone = [number for number in numbers if number in self.pairs]
        self.ratings.remove(gone)
        for number in gone:
            voter, left, right = self.pairs.pop(number)
            self.answered[voter][left].discard(right)
            self.answered[voter][right].discard(left)
