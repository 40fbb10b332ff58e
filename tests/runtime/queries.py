"""Queries with their meaning, drawn at random: text as a person may write it, and what it says of a row.

The meaning is worked out here in plain Python, without the tree, the parser or the SQL of the package: a
value is a number, a text or None; a condition is True, False or None, as in SQL.
"""

import fnmatch
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

NUMBERS = ("anger", "fear", "happiness", "width", "p_joy")
TEXTS = ("path", "category", "Odd name")


@dataclass(frozen=True)
class Said:
    """A piece of a query, how tightly it binds (1 or ... 7 atom), and its meaning."""

    text: str
    level: int
    of: Callable[[dict[str, Any]], Any]


def wrap(said, level):
    return said.text if said.level >= level else f"({said.text})"


def check(number):
    return None if number is None or not math.isfinite(number) else number


def calculate(sign, left, right):
    def of(row):
        one, other = left.of(row), right.of(row)
        if one is None or other is None:
            return None
        if sign == "/":
            return None if other == 0 else one / other
        return one + other if sign == "+" else one - other if sign == "-" else one * other

    return of


def compare(sign, one, other):
    if one is None or other is None:
        return None
    return {
        "<": one < other, "<=": one <= other, ">": one > other, ">=": one >= other,
        "=": one == other, "==": one == other, "!=": one != other, "<>": one != other,
    }[sign]  # fmt: skip


def negate(truth):
    return None if truth is None else not truth


def join_and(truths):
    return False if False in truths else None if None in truths else True


def join_or(truths):
    return True if True in truths else None if None in truths else False


space = st.sampled_from(["", " ", "  ", "\n"])


def word(text):
    return st.sampled_from([text, text.upper(), text.capitalize()])


def quote(text):
    return "'" + text.replace("'", "''") + "'"


literals = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, 0.25, 2.0, 1e3, 1e300]), st.floats(0, 10, allow_nan=False).map(abs)
)
letters = st.text("abAB/.'-_*?%\\[(é ", max_size=5)


@st.composite
def columns(draw, names):
    name = draw(st.sampled_from(names))
    shown = f'"{name}"' if name == "Odd name" or draw(st.integers(0, 5)) == 0 else name
    return Said(draw(st.sampled_from([shown, shown.upper()])), 7, lambda row: row[name])


@st.composite
def literal_numbers(draw):
    value = draw(literals)
    text = repr(value)
    if value.is_integer() and value < 1e6 and draw(st.booleans()):
        text = str(int(value))
    return Said(text, 7, lambda row: value)


@st.composite
def sums(draw, inner):
    left, right, sign = draw(inner), draw(inner), draw(st.sampled_from("+-*/"))
    level = 5 if sign in "+-" else 6
    gap = draw(space)
    # to the right of a sign a piece must bind tighter than the sign: a - (b - c)
    text = f"{wrap(left, level)}{gap}{sign}{draw(space)}{wrap(right, level + 1)}"
    return Said(text, level, calculate(sign, left, right))


@st.composite
def minuses(draw, inner):
    operand = draw(inner)

    def of(row):
        value = operand.of(row)
        return None if value is None else -value

    return Said(f"-{draw(space)}{wrap(operand, 7)}", 7, of)


values = st.recursive(
    st.one_of(columns(NUMBERS), columns(NUMBERS), literal_numbers()),
    lambda inner: st.one_of(sums(inner), sums(inner), minuses(inner)),
    max_leaves=5,
)


@st.composite
def comparisons(draw):
    left, right = draw(values), draw(values)
    sign = draw(st.sampled_from(["<", "<=", ">", ">=", "=", "==", "!=", "<>"]))
    text = f"{wrap(left, 5)}{draw(space)}{sign}{draw(space)}{wrap(right, 5)}"
    return Said(text, 4, lambda row: compare(sign, check(left.of(row)), check(right.of(row))))


@st.composite
def text_comparisons(draw):
    left, literal = draw(columns(TEXTS)), draw(letters)
    sign = draw(st.sampled_from(["=", "!="]))
    return Said(f"{left.text} {sign} {quote(literal)}", 4, lambda row: compare(sign, left.of(row), literal))


def negated(draw, text, of):
    """(text of a word before, meaning), with ``not`` before it or without."""
    if not draw(st.booleans()):
        return text, of
    return f"{draw(word('not'))} {text}", lambda row: negate(of(row))


@st.composite
def betweens(draw):
    operand, low, high = draw(values), draw(values), draw(values)

    def of(row):
        value, one, two = (check(part.of(row)) for part in (operand, low, high))
        return join_and([compare(">=", value, one), compare("<=", value, two)])

    middle, meaning = negated(draw, draw(word("between")), of)
    ends = f"{wrap(low, 5)} {draw(word('and'))} {wrap(high, 5)}"
    return Said(f"{wrap(operand, 5)} {middle} {ends}", 4, meaning)


@st.composite
def members(draw):
    if draw(st.booleans()):
        operand = draw(values)
        held = draw(st.lists(literals, min_size=1, max_size=3))
        held = [-value if draw(st.booleans()) else value for value in held]
        shown = [repr(value) for value in held]
    else:
        operand = draw(columns(TEXTS))
        held = draw(st.lists(letters, min_size=1, max_size=3))
        shown = [quote(value) for value in held]

    def of(row):
        value = operand.of(row)
        value = check(value) if isinstance(value, float) else value
        return None if value is None else value in held

    middle, meaning = negated(draw, draw(word("in")), of)
    return Said(f"{wrap(operand, 5)} {middle} ({', '.join(shown)})", 4, meaning)


@st.composite
def nulls(draw):
    operand = draw(st.one_of(values, columns(TEXTS)))

    def of(row):
        value = operand.of(row)
        return (check(value) if isinstance(value, float | int) else value) is None

    if draw(st.booleans()):
        return Said(f"{wrap(operand, 5)} {draw(word('is'))} {draw(word('null'))}", 4, of)
    return Said(f"{wrap(operand, 5)} is not null", 4, lambda row: not of(row))


@st.composite
def patterns(draw):
    operand, literal = draw(columns(TEXTS)), draw(letters)
    if draw(st.booleans()):
        name = "contains"

        def of(row):
            value = operand.of(row)
            return None if value is None else literal.casefold() in value.casefold()
    else:
        name = "like"
        # the shell's patterns, by Python's own matcher; it knows sets in brackets, the query does not
        pattern = literal.casefold().replace("[", "[[]").replace("%", "*")

        def of(row):
            value = operand.of(row)
            return None if value is None else fnmatch.fnmatchcase(value.casefold(), pattern)

    middle, meaning = negated(draw, draw(word(name)), of)
    return Said(f"{operand.text} {middle} {quote(literal)}", 4, meaning)


@st.composite
def nots(draw, inner):
    operand = draw(inner)
    return Said(f"{draw(word('not'))} {wrap(operand, 3)}", 3, lambda row: negate(operand.of(row)))


@st.composite
def joints(draw, inner):
    name, level, join = draw(st.sampled_from([("and", 2, join_and), ("or", 1, join_or)]))
    parts = draw(st.lists(inner, min_size=2, max_size=3))
    text = f" {draw(word(name))} ".join(wrap(part, level + 1) for part in parts)
    return Said(text, level, lambda row: join([part.of(row) for part in parts]))


conditions = st.recursive(
    st.one_of(comparisons(), comparisons(), text_comparisons(), betweens(), members(), nulls(), patterns()),
    lambda inner: st.one_of(nots(inner), joints(inner), joints(inner)),
    max_leaves=5,
)
"""Whole queries."""
