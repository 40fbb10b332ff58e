"""Pairwise votes -> an intensity for every item and emotion.

KAVAN Sec. 4.1: people see clips A and B and say which of them shows an emotion, or neither; TrueSkill turns
the votes of each emotion into ratings of [0, 50], and those into intensities of [-1, 1]. "Neither" is a draw.

TrueSkill reads votes in order, but two votes without a common item may change places and nothing changes. So
votes are sorted into rounds: a vote's round is one more than the later of its two items' last rounds. All
votes of a round are rated at once, with the result that one after the other would have given.
"""

from __future__ import annotations

import array
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from moodreel.errors import MissingExtra, SettingsError
from moodreel.labels.votes_trueskill import (
    PLAIN,
    IndexArray,
    Sequential,
    TrueSkill,
    build_sequential,
    rate_batch,
)
from moodreel.types import BoolArray, FloatArray

CHOICES = ("left", "right", "neither")
"""Answers, in the order of their codes in :class:`Votes`."""

LEFT, RIGHT, NEITHER = range(3)

WIDE = 0.5
"""A rating counts as wide while its sigma is above this share of the sigma it began with."""

NARROW = 64
"""Rounds of fewer votes than this are quicker one vote after the other than as arrays."""

COMPILE_FROM = 1_000_000
"""Votes from which compiling, over a second with the import of numba, can pay."""

COMPILE_WIDE_FROM = 4_000_000
"""Votes from which it pays even where rounds are wide, which as arrays are nearly as quick."""

BROAD = 2000
"""Votes a round that count as wide in this."""

DECIMALS = 9
"""Digits after the point that ratings are sorted and written with."""


@dataclass(frozen=True, eq=False)
class Votes:
    """Answers to "which of the two shows more of this emotion?", in the order in which they count.

    Attributes:
        emotions, items: names; the arrays below hold their indices.
        emotion, left, right: [N] integers.
        choice: [N] integers, indices into :data:`CHOICES`.
        voters: names.
        voter: [N] indices into ``voters``, -1 where unknown; None where nobody kept them.

    Raises:
        SettingsError: an array has another length, an index leads nowhere, or an item stands against itself.
    """

    emotions: tuple[str, ...]
    items: tuple[str, ...]
    emotion: IndexArray
    left: IndexArray
    right: IndexArray
    choice: IndexArray
    voters: tuple[str, ...] = ()
    voter: IndexArray | None = None

    def __post_init__(self) -> None:
        count, items = len(self.emotion), len(self.items)
        sizes = {"emotion": len(self.emotions), "left": items, "right": items, "choice": len(CHOICES)}
        for name, size in {**sizes, "voter": len(self.voters)}.items():
            values = getattr(self, name)
            if values is None and name == "voter":
                continue
            if values.shape != (count,) or not np.issubdtype(values.dtype, np.integer):
                raise SettingsError(
                    f"Votes.{name}", f"{values.dtype} {list(values.shape)}", f"integers [{count}]"
                )
            low = -1 if name == "voter" else 0
            if count and not low <= int(values.min()) <= int(values.max()) < size:
                got = f"{values.min()} to {values.max()}"
                raise SettingsError(f"Votes.{name}", got, f"indices from {low} to {size - 1}")
        if (self.left == self.right).any():
            raise SettingsError("Votes.right", "the same as left", "two items in every vote")

    def __len__(self) -> int:
        return len(self.emotion)

    @classmethod
    def from_rows(cls, rows: Iterable[Sequence[str]], with_voters: bool = False) -> Votes:
        """Votes from texts.

        Args:
            rows: (emotion, left, right, choice), with voters (emotion, left, right, choice, voter); an empty
                voter is unknown.
            with_voters: whether rows have a voter.

        Raises:
            SettingsError: a choice is none of :data:`CHOICES`, or left is right.
        """
        codes = {choice: code for code, choice in enumerate(CHOICES)}
        emotions: dict[str, int] = {}
        items: dict[str, int] = {}
        voters: dict[str, int] = {}
        columns = [array.array("i") for _ in range(5)]
        add_emotion, add_left, add_right, add_choice, add_voter = (column.append for column in columns)
        for row in rows:
            choice = codes.get(row[3])
            if choice is None:
                raise SettingsError("choice", row[3], f"one of {', '.join(CHOICES)}")
            add_emotion(emotions.setdefault(row[0], len(emotions)))
            add_left(items.setdefault(row[1], len(items)))
            add_right(items.setdefault(row[2], len(items)))
            add_choice(choice)
            if with_voters:
                add_voter(voters.setdefault(row[4], len(voters)) if row[4] else -1)
        emotion, left, right, chosen, voter = (np.frombuffer(column, np.int32) for column in columns)
        return cls(
            tuple(emotions),
            tuple(items),
            emotion,
            left,
            right,
            chosen,
            tuple(voters),
            voter if with_voters else None,
        )


@dataclass(frozen=True, eq=False)
class Slots:
    """The pairs (emotion, item) that votes name, each with a number of its own.

    Attributes:
        emotion, item: [M] indices into the names of the votes.
        left, right: [N] slot of each vote's items.
        votes: [M] how many votes name the slot.
    """

    emotion: IndexArray
    item: IndexArray
    left: IndexArray
    right: IndexArray
    votes: IndexArray


def number_slots(votes: Votes) -> Slots:
    """Gives a number to every item that an emotion has votes on, ordered by emotion and item."""
    size = len(votes.emotions) * len(votes.items)
    base: IndexArray = votes.emotion.astype(np.int32 if size < 1 << 31 else np.int64)
    base = base * len(votes.items)
    left: IndexArray = base + votes.left
    right: IndexArray = base + votes.right
    if size <= max(4 * len(votes), 1 << 20):
        named = np.zeros(size, np.bool_)
        named[left] = True
        named[right] = True
        numbers = np.cumsum(named, dtype=np.int32) - np.int32(1)
        left, right, keys = numbers[left], numbers[right], np.flatnonzero(named)
    else:  # many emotions or items of which few meet
        keys, both = np.unique(np.concatenate([left, right]), return_inverse=True)
        left, right = np.split(both.astype(np.int32), 2)
    count = np.bincount(left, minlength=len(keys)) + np.bincount(right, minlength=len(keys))
    emotion, item = np.divmod(keys, max(len(votes.items), 1))
    return Slots(emotion, item, left, right, count)


@dataclass(frozen=True, eq=False)
class Ratings:
    """A rating for every item of every emotion, sorted by emotion, mu (descending) and item.

    Attributes:
        emotions, items: names; the arrays below hold their indices.
        emotion, item: [M] integers.
        mu, sigma: [M] mean and standard deviation.
        score: [M] intensity in [-1, 1].
        votes: [M] votes that named the item.
        settings: what TrueSkill assumed.
    """

    emotions: tuple[str, ...]
    items: tuple[str, ...]
    emotion: IndexArray
    item: IndexArray
    mu: FloatArray
    sigma: FloatArray
    score: FloatArray
    votes: IndexArray
    settings: TrueSkill

    def __len__(self) -> int:
        return len(self.emotion)

    def count_wide(self) -> dict[str, tuple[int, int]]:
        """How many items have a sigma above :data:`WIDE` of the one they began with.

        Returns:
            Emotion -> (such items, all items), by name; only emotions that have such items.
        """
        size = len(self.emotions)
        total = np.bincount(self.emotion, minlength=size).tolist()
        wide = np.bincount(self.emotion[self.sigma > WIDE * self.settings.sigma], minlength=size).tolist()
        counts = zip(self.emotions, wide, total, strict=True)
        return {name: (some, every) for name, some, every in sorted(counts) if some}


def score_mu(mu: FloatArray) -> FloatArray:
    """Intensities of means: [0, 50] -> [-1, 1], linear, what lies outside clipped (KAVAN Sec. 4.1).

    Args:
        mu: of any shape.
    """
    scores: FloatArray = np.clip(mu, 0.0, 50.0) / 25.0 - 1.0
    return scores


def score_votes(votes: Votes, settings: TrueSkill | None = None, compiled: bool | None = None) -> Ratings:
    """Rates the items of each emotion by TrueSkill; the votes of one emotion say nothing of another.

    Args:
        votes: in the order in which they count.
        settings: None for the defaults.
        compiled: whether to compile with numba. None does so where it saves time and numba is there. Both
            ways give the same to rounding, about 1e-12.

    Raises:
        MissingExtra: ``compiled`` is True and numba is not there.
    """
    settings = settings or TrueSkill()
    slots = number_slots(votes)
    drawn, swapped = votes.choice == NEITHER, votes.choice == RIGHT
    first = np.where(swapped, slots.right, slots.left)
    second = np.where(swapped, slots.left, slots.right)
    mu, sigma = rate_votes(first, second, drawn, len(slots.item), settings, compiled)
    names = [np.argsort(np.argsort(np.array(names, object))) for names in (votes.emotions, votes.items)]
    order = np.lexsort((names[1][slots.item], -np.round(mu, DECIMALS), names[0][slots.emotion]))
    return Ratings(
        votes.emotions,
        votes.items,
        slots.emotion[order],
        slots.item[order],
        mu[order],
        sigma[order],
        score_mu(mu[order]),
        slots.votes[order],
        settings,
    )


def rate_votes(
    first: IndexArray,
    second: IndexArray,
    drawn: BoolArray,
    count: int,
    settings: TrueSkill,
    compiled: bool | None = None,
) -> tuple[FloatArray, FloatArray]:
    """TrueSkill over votes in their order.

    Args:
        first: [N] the item that won, or one of the two.
        second: [N] the other, never the same.
        drawn: [N] whether neither won.
        count: number of items; all start alike.
        settings: what TrueSkill assumes.
        compiled: as in :func:`score_votes`.

    Returns:
        (mu [count], sigma [count]).

    Raises:
        MissingExtra: ``compiled`` is True and numba is not there.
    """
    mu = np.full(count, settings.mu)
    variance = np.full(count, settings.sigma**2)
    constants = (settings.margin, 2 * settings.beta**2, settings.tau**2)
    kernel = None
    if compiled or (compiled is None and _compiling_pays(first, second)):
        kernel = compile_kernel()
        if compiled and kernel is None:
            raise MissingExtra("fast", "compiled scoring (numba)")
    if kernel is not None:
        kernel.rate(mu, variance, first, second, drawn, *constants)
    else:
        _rate_rounds(mu, variance, first, second, drawn, constants)
    return mu, np.sqrt(variance)


def _compiling_pays(first: IndexArray, second: IndexArray) -> bool:
    """Whether compiling is quicker in all: many votes, in rounds that are many for their number."""
    count = len(first)
    if not COMPILE_FROM <= count < COMPILE_WIDE_FROM:
        return count >= COMPILE_FROM
    longest = np.bincount(np.concatenate([first, second])).max()  # as many rounds as this at least
    return bool(count < BROAD * longest)


@cache
def compile_kernel() -> Sequential | None:
    """The update compiled by numba; None where numba is not there or does not fit the numpy that is."""
    try:
        from numba import njit
    except ImportError:
        return None
    return build_sequential(njit)


def _rate_rounds(
    mu: FloatArray,
    variance: FloatArray,
    first: IndexArray,
    second: IndexArray,
    drawn: BoolArray,
    constants: tuple[float, float, float],
) -> None:
    if not len(first):
        return
    key = 2 * find_rounds(first, second, len(mu)) + drawn  # wins and draws of a round apart
    if int(key.max()) < 1 << 16:
        key = key.astype(np.uint16)  # which numpy sorts much quicker
    order = np.argsort(key, kind="stable")
    key, first, second = key[order], first[order], second[order]
    # Views of the same memory: a single value is read and written quicker than through numpy.
    mu_values, variance_values = mu.data, variance.data
    for start, end, is_narrow in _list_runs(key):
        one, two = first[start:end], second[start:end]
        if is_narrow:
            ties = (key[start:end] & 1).tolist()
            PLAIN.rate(mu_values, variance_values, one.tolist(), two.tolist(), ties, *constants)
        else:
            rate_batch(mu, variance, one, two, bool(key[start] & 1), *constants)


def find_rounds(first: IndexArray, second: IndexArray, count: int) -> IndexArray:
    """Round of each vote: the number of votes in the longest chain of shared items before it.

    Args:
        first, second: [N] items.
        count: number of items.

    Returns:
        [N] from 0. Votes of one round share no item, and an item's votes are in rounds that rise.
    """
    free = [0] * count  # the first round in which an item has not been used
    rounds = np.empty(len(first), np.int32)
    step = 1 << 16  # so that few numbers are Python's at once
    for start in range(0, len(first), step):
        part = []
        for a, b in zip(
            first[start : start + step].tolist(), second[start : start + step].tolist(), strict=True
        ):
            here, there = free[a], free[b]
            if here < there:
                here = there
            part.append(here)
            free[a] = free[b] = here + 1
        rounds[start : start + step] = part
    return rounds


def _list_runs(key: IndexArray) -> Iterator[tuple[int, int, bool]]:
    """Yields (start, end, whether narrow): each wide stretch of equal keys, and all between two of them."""
    ends = np.append(np.flatnonzero(np.diff(key.astype(np.int64))) + 1, len(key))
    starts = np.append(0, ends[:-1])
    wide = np.flatnonzero(ends - starts >= NARROW)
    done = 0
    for start, end in zip(starts[wide].tolist(), ends[wide].tolist(), strict=True):
        if done < start:
            yield done, start, True
        yield start, end, False
        done = end
    if done < len(key):
        yield done, len(key), True
