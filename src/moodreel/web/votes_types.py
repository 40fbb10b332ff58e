"""What the store of votes takes and gives: pairs, votes, counts, ranks, and the names in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from moodreel.errors import SettingsError, require

LONGEST = 4096
"""Characters of an item, an emotion, a voter or a token, at most."""


@dataclass(frozen=True)
class Pair:
    """The next question: which of the two shows more of the emotion?

    Attributes:
        emotion: that is asked about.
        left, right: items, in the order in which to show them.
        is_random: whether chance alone chose the pair.
    """

    emotion: str
    left: str
    right: str
    is_random: bool


@dataclass(frozen=True)
class Vote:
    """A vote that is kept.

    Attributes:
        number: of the vote; later ones have higher numbers.
        emotion, left, right, choice, voter: as it was cast.
        time: when, ISO 8601 in UTC.
        is_undone: whether it was taken back.
        is_new: whether this call cast it, or took it back; False where it was so already.
    """

    number: int
    emotion: str
    left: str
    right: str
    choice: str
    voter: str
    time: str
    is_undone: bool = False
    is_new: bool = True


@dataclass(frozen=True)
class Counts:
    """How many votes there are, without those taken back.

    Attributes:
        votes: in all.
        voters: who cast them.
        emotions: emotion -> votes, of every emotion that is asked about or has any.
        own: the same of one voter; empty where none was asked for.
    """

    votes: int
    voters: int
    emotions: Mapping[str, int]
    own: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Rank:
    """An item in the ranking of an emotion: the columns of a score file."""

    item: str
    mu: float
    sigma: float
    score: float
    votes: int


def check_name(kind: str, name: str) -> str:
    """A name that databases and files of votes take; raises SettingsError for another."""
    ok = isinstance(name, str) and bool(name.strip()) and len(name) <= LONGEST and "\0" not in name
    require(ok, kind, name if isinstance(name, str) and len(name) < 80 else "...",
            f"a text of 1 to {LONGEST} characters")  # fmt: skip
    try:
        name.encode()
    except UnicodeEncodeError:
        raise SettingsError(kind, name, "text that UTF-8 can hold") from None
    return name
