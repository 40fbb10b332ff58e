"""SQL of a query's tree: only what stands in this file, numbered columns and numbered parameters.

Numbers and texts of the query are parameters, columns are ``c<k>`` by their place in the table, so that
neither a query nor the names in a file can add a word to the SQL. Of a text column, ``l<k>`` holds the text
in lower case (``str.casefold``). Number columns are doubles without NaN or infinity.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from moodreel.runtime.query import (
    And,
    Arithmetic,
    Between,
    Compare,
    Condition,
    In,
    IsNull,
    Like,
    Name,
    Negate,
    Not,
    Number,
    Or,
    Text,
    Value,
)
from moodreel.runtime.table import Column


@dataclass(frozen=True)
class Sql:
    """An expression, and the values of its parameters ``$1``, ``$2`` ..."""

    text: str
    parameters: tuple[float | str, ...]


def compile_query(node: Condition | Value, columns: Sequence[Column]) -> Sql:
    """SQL of a query or a value.

    Args:
        node: of these columns.
        columns: of the table, in their order.
    """
    compiler = _Compiler(columns)
    is_value = isinstance(node, Number | Text | Name | Negate | Arithmetic)
    text = compiler.keep_finite(node) if is_value else compiler.compile(node)
    return Sql(text, tuple(compiler.parameters))


class _Compiler:
    def __init__(self, columns: Sequence[Column]) -> None:
        self._places = {column.name: place for place, column in enumerate(columns)}
        self.parameters: list[float | str] = []

    def _hold(self, value: float | str) -> str:
        self.parameters.append(value)
        kind = "VARCHAR" if isinstance(value, str) else "DOUBLE"
        return f"CAST(${len(self.parameters)} AS {kind})"

    def keep_finite(self, node: Value | Condition) -> str:
        """A value; of a sum that left the range of numbers, null."""
        text = self.compile(node)
        if isinstance(node, Arithmetic | Negate):
            return f"(CASE WHEN isfinite({text}) THEN {text} END)"
        return text

    def compile(self, node: Value | Condition) -> str:
        match node:
            case Number(value) | Text(value):
                return self._hold(value)
            case Name(column):
                return f"c{self._places[column.name]}"
            case Negate(operand):
                return f"(- {self.compile(operand)})"
            case Arithmetic("/", left, right):
                return f"({self.compile(left)} / nullif({self.compile(right)}, 0))"
            case Arithmetic(operator, left, right):
                return f"({self.compile(left)} {OPERATORS[operator]} {self.compile(right)})"
            case Compare(operator, left, right):
                return f"({self.keep_finite(left)} {OPERATORS[operator]} {self.keep_finite(right)})"
            case Between(operand, low, high):
                one, two, three = map(self.keep_finite, (operand, low, high))
                return f"({one} BETWEEN {two} AND {three})"
            case In(operand, values):
                held = ", ".join(map(self._hold, values))
                return f"({self.keep_finite(operand)} IN ({held}))"
            case IsNull(operand):
                return f"({self.keep_finite(operand)} IS NULL)"
            case Like(operand, pieces):
                return self._compile_like(operand, pieces)
            case Not(operand):
                return f"(NOT {self.compile(operand)})"
            case And(operands):
                return f"({' AND '.join(map(self.compile, operands))})"
            case Or(operands):
                return f"({' OR '.join(map(self.compile, operands))})"

    def _compile_like(self, operand: Value, pieces: Sequence[Sequence[str | None]]) -> str:
        """Plain search where that says it all; else a regular expression, which RE2 matches in linear time
        (DuckDB's own LIKE goes back and forth: a few ``%`` on a long text take minutes)."""
        if isinstance(operand, Name):
            text = f"l{self._places[operand.column.name]}"
        else:
            assert isinstance(operand, Text)
            text = self._hold(operand.value.casefold())
        plain = ["".join(c for c in piece if c is not None) for piece in pieces]
        is_plain = all(None not in piece for piece in pieces)
        if is_plain and len(pieces) == 3 and not pieces[0] and not pieces[2]:
            return f"contains({text}, {self._hold(plain[1])})"
        if is_plain and len(pieces) == 1:
            return f"({text} = {self._hold(plain[0])})"
        pattern = ".*".join("".join("." if c is None else re.escape(c) for c in piece) for piece in pieces)
        whole = [one for one, piece in zip(plain, pieces, strict=True) if None not in piece]
        longest = max(whole, key=len, default="")
        matched = f"regexp_full_match({text}, {self._hold(pattern)}, 's')"
        # the search is much quicker, and leaves few texts to match
        return f"(contains({text}, {self._hold(longest)}) AND {matched})" if longest else matched


OPERATORS = {sign: sign for sign in ("+", "-", "*", "<", "<=", ">", ">=", "=")} | {"!=": "<>"}
"""Signs of a tree -> SQL: a sign from elsewhere is a KeyError, not SQL."""
