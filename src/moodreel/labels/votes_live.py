"""TrueSkill while votes come in: one vote at a time, and back again when one is taken back.

TrueSkill depends on the order of the votes. A vote that is taken back must leave the ratings that the others
alone would have given, so each vote's two ratings from before it are kept: the votes from the one taken back
on are undone, and those behind it are rated again. The last votes cost next to nothing, and no other order is
ever computed: the numbers are those of :func:`moodreel.labels.votes.score_votes` over the same votes.
"""

from __future__ import annotations

import array
import bisect
from collections.abc import Iterable

import numpy as np

from moodreel.labels.votes import NEITHER, RIGHT
from moodreel.labels.votes_trueskill import PLAIN, IndexArray, TrueSkill
from moodreel.types import FloatArray


class LiveRatings:
    """Ratings of the items of one emotion.

    Args:
        settings: what TrueSkill assumes; None for the defaults.

    Attributes:
        size: one more than the highest item that a vote named.
    """

    def __init__(self, settings: TrueSkill | None = None) -> None:
        self.settings = settings or TrueSkill()
        self._margin = self.settings.margin
        self._mu: FloatArray = np.empty(0)
        self._variance: FloatArray = np.empty(0)
        self._votes = np.empty(0, np.int64)
        self._numbers = array.array("q")  # of the votes; 45 bytes a vote, with what follows
        self._items = array.array("i")  # two a vote, the winner first
        self._drawn = array.array("b")
        self._before = array.array("d")  # four a vote: mu and variance of the one and the other
        self.size = 0
        self._grow(64)

    def __len__(self) -> int:
        return len(self._numbers)

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
        highest = max(first, second)
        if highest >= len(self._mu):
            self._grow(highest + 1)
        self.size = max(self.size, highest + 1)
        mu, variance = self._mu.data, self._variance.data
        self._numbers.append(number)
        self._items.extend((first, second))
        self._drawn.append(drawn)
        self._before.extend((mu[first], variance[first], mu[second], variance[second]))
        settings = self.settings
        noise, drift = 2 * settings.beta**2, settings.tau**2
        PLAIN.rate(mu, variance, [first], [second], [drawn], self._margin, noise, drift)
        self._votes[first] += 1
        self._votes[second] += 1

    def remove(self, numbers: Iterable[int]) -> None:
        """Takes votes back; numbers of votes that are not there are passed over."""
        gone = set(numbers)
        if not gone:
            return
        start = bisect.bisect_left(self._numbers, min(gone))
        numbers, items, drawn = self._numbers[start:], self._items[2 * start :], self._drawn[start:]
        for k in range(len(self._numbers) - 1, start - 1, -1):
            first, second = self._items[2 * k], self._items[2 * k + 1]
            before = self._before[4 * k : 4 * k + 4]
            self._mu[first], self._variance[first], self._mu[second], self._variance[second] = before
            self._votes[first] -= 1
            self._votes[second] -= 1
        del self._numbers[start:], self._items[2 * start :], self._drawn[start:], self._before[4 * start :]
        for k, number in enumerate(numbers):
            if number not in gone:
                self._rate(number, items[2 * k], items[2 * k + 1], bool(drawn[k]))


class LiveVotes:
    """The votes of one emotion as far as they were seen: ratings, and who was asked what.

    Args:
        settings: what TrueSkill assumes.

    Attributes:
        ratings: of the items.
        last: number of the last vote that was seen.
        undos: how many votes had been taken back when they were last looked for.
        answered: voter -> item -> the items it stood against.
    """

    def __init__(self, settings: TrueSkill) -> None:
        self.ratings = LiveRatings(settings)
        self.last = 0
        self.undos = 0
        self.answered: dict[str, dict[int, set[int]]] = {}

    def add(self, number: int, left: int, right: int, choice: int, voter: str) -> None:
        """Adds a vote; arguments as of :meth:`LiveRatings.add`, and who cast it."""
        self.ratings.add(number, left, right, choice)
        own = self.answered.setdefault(voter, {})
        own.setdefault(left, set()).add(right)
        own.setdefault(right, set()).add(left)

    def remove(self, votes: Iterable[tuple[int, int, int, str]]) -> None:
        """Takes votes back, (number, left, right, voter) each; those that were not seen are passed over."""
        gone = list(votes)
        self.ratings.remove(number for number, *_ in gone)
        for _, left, right, voter in gone:
            own = self.answered.get(voter, {})
            for one, other in ((left, right), (right, left)):
                own.get(one, set()).discard(other)
