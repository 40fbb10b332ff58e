"""A search query as a tree of frozen dataclasses: what :mod:`moodreel.runtime.query_parser` reads.

A :data:`Value` is a number or a text, a :data:`Condition` is true, false or neither (null): as in SQL, what
is said of a missing value is neither, and so is its opposite; only rows of which the query is true are found.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

from moodreel.runtime.table import Column


@dataclass(frozen=True)
class Number:
    """A number that stands in the query."""

    value: float


@dataclass(frozen=True)
class Text:
    """A text that stands in the query."""

    value: str


@dataclass(frozen=True)
class Name:
    """A column of the table."""

    column: Column


@dataclass(frozen=True)
class Negate:
    """Minus a number."""

    operand: Value


@dataclass(frozen=True)
class Arithmetic:
    """Two numbers and one of ``+ - * /``; a division by 0 gives nothing (null)."""

    operator: str
    left: Value
    right: Value


@dataclass(frozen=True)
class Compare:
    """Two numbers and one of ``< <= > >= = !=``, or two texts and one of ``= !=``."""

    operator: str
    left: Value
    right: Value


@dataclass(frozen=True)
class Between:
    """Whether a number is at least ``low`` and at most ``high``."""

    operand: Value
    low: Value
    high: Value


@dataclass(frozen=True)
class In:
    """Whether a number or a text is one of some."""

    operand: Value
    values: tuple[float, ...] | tuple[str, ...]


@dataclass(frozen=True)
class IsNull:
    """Whether there is no value."""

    operand: Value


@dataclass(frozen=True)
class Like:
    """Whether a text fits a pattern, upper and lower case alike.

    Attributes:
        operand: the text.
        pieces: what must follow one another, with anything between them: the whole text, from the first
            piece at its start (empty: anywhere) to the last at its end. ``None`` in a piece is any character.
    """

    operand: Value
    pieces: tuple[tuple[str | None, ...], ...]


@dataclass(frozen=True)
class Not:
    """The opposite; of what is neither true nor false, neither."""

    operand: Condition


@dataclass(frozen=True)
class And:
    """All of two or more."""

    operands: tuple[Condition, ...]


@dataclass(frozen=True)
class Or:
    """At least one of two or more."""

    operands: tuple[Condition, ...]


Value: TypeAlias = Number | Text | Name | Negate | Arithmetic
Condition: TypeAlias = Compare | Between | In | IsNull | Like | Not | And | Or


def find_kind(node: Value | Condition) -> str:
    """``number``, ``text`` or ``condition``."""
    match node:
        case Number() | Negate() | Arithmetic():
            return "number"
        case Text():
            return "text"
        case Name(column):
            return "text" if column.kind == "text" else "number"
        case _:
            return "condition"


def list_names(node: Value | Condition) -> Iterator[str]:
    """Yields the columns that a query names, as often as it does."""
    match node:
        case Name(column):
            yield column.name
        case Number() | Text():
            pass
        case Negate(operand) | In(operand) | IsNull(operand) | Like(operand) | Not(operand):
            yield from list_names(operand)
        case Arithmetic(_, left, right) | Compare(_, left, right):
            yield from list_names(left)
            yield from list_names(right)
        case Between(operand, low, high):
            for part in (operand, low, high):
                yield from list_names(part)
        case And(operands) | Or(operands):
            for each in operands:
                yield from list_names(each)
