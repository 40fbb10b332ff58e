"""The query language of ``moodreel search``: text in, a tree of frozen dataclasses out.

::

    query      = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | condition
    condition  = sum [ comparison sum
                     | ["not"] "between" sum "and" sum
                     | ["not"] "in" "(" literal { "," literal } ")"
                     | ["not"] ("like" | "contains") text
                     | "is" ["not"] "null" ]
    sum        = product { ("+" | "-") product }
    product    = factor { ("*" | "/") factor }
    factor     = ("-" | "+") factor | number | text | column | "(" query ")"

A parenthesis may hold a condition or a value; each place says which of the two it takes. Names are those of
the table's columns and nothing else; keywords and columns are read in any case. Nothing of the text goes any
further than into this tree: :mod:`moodreel.runtime.query_sql` makes SQL of the tree.
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from moodreel.errors import QueryError
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
    find_kind,
)
from moodreel.runtime.table import Column

LONGEST = 2000
"""Characters of a query, at most."""

DEEPEST = 64
"""How deep a query may be nested; a sum of n numbers is n deep."""

KEYWORDS = frozenset({"and", "or", "not", "between", "in", "is", "null", "like", "contains"})
"""Words that name no column unless in double quotes."""


def parse_query(text: str, columns: Sequence[Column]) -> Condition:
    """Reads a query.

    Args:
        text: as a person wrote it.
        columns: that may be named.

    Raises:
        QueryError: it cannot be understood, or names no column of these.
    """
    return _Parser(text, columns).parse_condition()


def parse_value(text: str, columns: Sequence[Column]) -> Value:
    """Reads a column, or a sum of columns and numbers: what rows may be sorted by.

    Raises:
        QueryError: it is none.
    """
    try:
        return _Parser(text, columns).parse_value()
    except QueryError as error:
        raise QueryError(error.reason, error.position, error.found, "sort") from None


def find_column(name: str, columns: Sequence[Column]) -> Column | None:
    """The column of that name, in any case where only one fits; None where there is none."""
    alike = [column for column in columns if column.name.casefold() == name.casefold()]
    exact = [column for column in alike if column.name == name]
    return exact[0] if exact else alike[0] if len(alike) == 1 else None


def tell_near(name: str, columns: Sequence[Column]) -> str:
    """What to say of a name that no column has: those that come near, or some of those that there are."""
    names = [column.name for column in columns]
    folded = {each.casefold(): each for each in names}
    near = difflib.get_close_matches(name.casefold(), folded, 3, 0.5)
    near += [each for each in folded if each == f"p_{name.casefold()}" and each not in near]
    if near:
        return "did you mean " + " or ".join(folded[each] for each in near) + "?"
    more = ", ..." if len(names) > 12 else ""
    return f"the table has {', '.join(names[:12])}{more}"


class _Token(NamedTuple):
    kind: str  # number, text, name, quoted, word, operator, end
    text: str  # as it stands; of a text or a quoted name, what is inside; of a word, in lower case
    position: int
    source: str


TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)
    | (?P<name>[^\W\d]\w*)
    | (?P<text>'(?:[^']|'')*')
    | (?P<quoted>"(?:[^"]|"")*")
    | (?P<operator><=|>=|<>|!=|==|[-+*/<>=(),])""",
    re.VERBOSE,
)

HINTS = {
    "'": "a text is opened and never closed; a quote inside a text is doubled",
    '"': "a name is opened and never closed",
    "&": "write 'and'",
    "|": "write 'or'",
    "!": "write 'not', or != for 'differs from'",
    "%": "there is no such operation; in a pattern it stands inside the quotes",
    **dict.fromkeys("\u2018\u2019\u201c\u201d", "quotes are straight: 'text'"),
    ";": "one query at a time",
}
"""What to say of a character that begins nothing."""


def _split(text: str) -> Iterator[_Token]:
    if len(text) > LONGEST:
        raise QueryError(f"longer than {LONGEST} characters", LONGEST, text[LONGEST : LONGEST + 10])
    for place, character in enumerate(text):
        is_space = character in "\t\n\r "
        if not is_space and (ord(character) < 32 or "\ud800" <= character <= "\udfff"):
            raise QueryError("no character of a text", place, character)
    place = 0
    while place < len(text):
        found = TOKEN.match(text, place)
        if found is None:
            reason = HINTS.get(text[place], "this character has no meaning here")
            raise QueryError(reason, place, text[place])
        kind, source = found.lastgroup or "", found.group()
        inside = source
        if kind in ("text", "quoted"):
            inside = source[1:-1].replace(source[0] * 2, source[0])
        elif kind == "name" and source.lower() in KEYWORDS:
            kind, inside = "word", source.lower()
        if kind != "space":
            yield _Token(kind, inside, place, source)
        place = found.end()
    yield _Token("end", "", len(text), "")


class _Part(NamedTuple):
    """A piece of the tree: its node, where it begins, and how deep it is."""

    node: Value | Condition
    token: _Token
    depth: int


COMPARISONS = {"<": "<", "<=": "<=", ">": ">", ">=": ">=", "=": "=", "==": "=", "!=": "!=", "<>": "!="}


class _Parser:
    """Recursive descent, one token ahead."""

    def __init__(self, text: str, columns: Sequence[Column]) -> None:
        self._columns = columns
        self._tokens = list(_split(text))
        self._place = 0
        self._nested = 0

    def parse_condition(self) -> Condition:
        part = self._parse_or()
        self._finish()
        return self._need_condition(part)

    def parse_value(self) -> Value:
        part = self._parse_sum()
        self._finish()
        value = self._need_value(part)
        if isinstance(value, Text | Number):
            raise QueryError("expected a column, or a sum of columns", part.token.position, part.token.source)
        return value

    def _finish(self) -> None:
        token = self._token
        if token.kind != "end":
            if token.text in COMPARISONS:
                raise self._fault("comparisons do not chain: join two with 'and', or write 'between'")
            raise self._fault("expected 'and', 'or' or the end")

    @property
    def _token(self) -> _Token:
        return self._tokens[self._place]

    def _fault(self, reason: str, token: _Token | None = None) -> QueryError:
        token = token or self._token
        return QueryError(reason, token.position, token.source[:40])

    def _accept(self, kind: str, *texts: str) -> _Token | None:
        """Takes the next token, where it is of the kind and one of the texts (any, where none is given)."""
        token = self._token
        if token.kind != kind or (texts and token.text not in texts):
            return None
        self._place += 1
        return token

    def _expect(self, kind: str, text: str, reason: str) -> None:
        if self._accept(kind, text) is None:
            raise self._fault(reason)

    def _build(self, node: Value | Condition, token: _Token, *below: _Part) -> _Part:
        depth = 1 + max((part.depth for part in below), default=0)
        if depth > DEEPEST:
            raise self._fault(f"nested deeper than {DEEPEST}", token)
        return _Part(node, token, depth)

    def _descend(self, parse: Callable[[], _Part]) -> _Part:
        """Parses what is inside something; bounded, so that no query exhausts the stack."""
        self._nested += 1
        if self._nested > DEEPEST:
            raise self._fault(f"nested deeper than {DEEPEST}")
        part = parse()
        self._nested -= 1
        return part

    def _need_condition(self, part: _Part) -> Condition:
        node = part.node
        if isinstance(node, Number | Text | Name | Negate | Arithmetic):
            name = part.token.source if isinstance(node, Name) else "happiness"
            what = "is null" if isinstance(node, Name) and node.column.kind == "text" else "> 0.5"
            raise self._fault(f"expected a condition, such as {name} {what}", part.token)
        return node

    def _need_value(self, part: _Part, kind: str | None = None) -> Value:
        node = part.node
        if not isinstance(node, Number | Text | Name | Negate | Arithmetic):
            raise self._fault("expected a value, got a condition", part.token)
        if kind is not None and find_kind(node) != kind:
            raise self._fault(f"expected a {kind}, got a {find_kind(node)}", part.token)
        return node

    def _parse_or(self) -> _Part:
        return self._parse_joined("or", Or, lambda: self._parse_joined("and", And, self._parse_one))

    def _parse_joined(self, word: str, kind: type[And] | type[Or], parse: Callable[[], _Part]) -> _Part:
        parts = [parse()]
        while self._accept("word", word):
            parts.append(parse())
        if len(parts) == 1:
            return parts[0]
        return self._build(kind(tuple(map(self._need_condition, parts))), parts[0].token, *parts)

    def _parse_one(self) -> _Part:
        token = self._accept("word", "not")
        if token is None:
            return self._parse_comparison()
        part = self._descend(self._parse_one)
        return self._build(Not(self._need_condition(part)), token, part)

    def _parse_comparison(self) -> _Part:
        left = self._parse_sum()
        if operator := self._accept("operator", *COMPARISONS):
            return self._compare(left, operator)
        token = self._token
        if self._accept("word", "is"):
            is_not = self._accept("word", "not")
            self._expect("word", "null", "expected 'null' or 'not null' after 'is'")
            return self._negate(Not if is_not else None, IsNull(self._need_value(left)), left)
        is_not = self._accept("word", "not")
        if self._accept("word", "between"):
            low = self._parse_sum()
            self._expect("word", "and", "expected 'and' and the upper end after 'between' and the lower")
            high = self._parse_sum()
            ends = [self._need_value(part, "number") for part in (left, low, high)]
            return self._negate(Not if is_not else None, Between(*ends), left, low, high)
        if self._accept("word", "in"):
            return self._negate(Not if is_not else None, self._parse_in(left), left)
        if word := self._accept("word", "like", "contains"):
            return self._negate(Not if is_not else None, self._parse_like(left, word.text), left)
        if is_not:
            raise self._fault("expected 'between', 'in', 'like' or 'contains' after 'not'", token)
        return left

    def _negate(self, kind: type[Not] | None, node: Condition, *below: _Part) -> _Part:
        return self._build(kind(node) if kind else node, below[0].token, *below)

    def _compare(self, left: _Part, operator: _Token) -> _Part:
        one = self._need_value(left)
        token = self._token
        if token.kind == "word" and token.text == "null":
            raise self._fault("nothing equals null: write 'is null' or 'is not null'")
        if find_kind(one) == "text" and token.kind == "name" and not self._knows(token.text):
            raise self._fault(f"a text stands in single quotes: '{token.source}'")
        right = self._parse_sum()
        other = self._need_value(right)
        if find_kind(one) != find_kind(other):
            what = f"a {find_kind(one)} does not compare with a {find_kind(other)}"
            raise self._fault(what, operator)
        sign = COMPARISONS[operator.text]
        if find_kind(one) == "text" and sign not in ("=", "!="):
            raise self._fault("texts compare with = and != only", operator)
        return self._build(Compare(sign, one, other), left.token, left, right)

    def _parse_in(self, left: _Part) -> In:
        kind = find_kind(self._need_value(left))
        self._expect("operator", "(", "expected '(' after 'in'")
        numbers: list[float] = []
        texts: list[str] = []
        while True:
            sign = self._accept("operator", "-")
            token = self._token
            if kind == "number" and self._accept("number"):
                numbers.append(-self._read_number(token) if sign else self._read_number(token))
            elif kind == "text" and not sign and self._accept("text"):
                texts.append(token.text)
            else:
                raise self._fault(f"expected a {kind} of the list" + " in single quotes" * (kind == "text"))
            if not self._accept("operator", ","):
                break
        self._expect("operator", ")", "expected ',' or ')'")
        return In(self._need_value(left), tuple(numbers) if kind == "number" else tuple(texts))

    def _parse_like(self, left: _Part, word: str) -> Like:
        operand = self._need_value(left, "text")
        token = self._accept("text")
        if token is None:
            raise self._fault(f"expected a text in single quotes after '{word}'")
        folded = token.text.casefold()
        if word == "contains":
            return Like(operand, ((), tuple(folded), ()))
        pieces = re.split(r"[*%]+", folded)
        return Like(operand, tuple(tuple(None if c == "?" else c for c in piece) for piece in pieces))

    def _parse_sum(self) -> _Part:
        return self._parse_chain(("+", "-"), lambda: self._parse_chain(("*", "/"), self._parse_factor))

    def _parse_chain(self, signs: tuple[str, ...], parse: Callable[[], _Part]) -> _Part:
        left = parse()
        while operator := self._accept("operator", *signs):
            right = parse()
            one, other = (self._need_value(part, "number") for part in (left, right))
            left = self._build(Arithmetic(operator.text, one, other), left.token, left, right)
        return left

    def _parse_factor(self) -> _Part:
        token = self._token
        if self._accept("operator", "-", "+"):
            part = self._descend(self._parse_factor)
            node = self._need_value(part, "number")
            return self._build(Negate(node) if token.text == "-" else node, token, part)
        if self._accept("operator", "("):
            part = self._descend(self._parse_or)
            self._expect("operator", ")", "expected ')'")
            return _Part(part.node, token, part.depth)
        if self._accept("number"):
            return self._build(Number(self._read_number(token)), token)
        if self._accept("text"):
            return self._build(Text(token.text), token)
        if self._accept("name") or self._accept("quoted"):
            column = find_column(token.text, self._columns)
            if column is None:
                text = " (a text stands in single quotes)" if token.kind == "quoted" else ""
                raise self._fault(f"no such column{text}; {tell_near(token.text, self._columns)}", token)
            return self._build(Name(column), token)
        raise self._fault("expected a column, a number or a text")

    def _knows(self, name: str) -> bool:
        return find_column(name, self._columns) is not None

    def _read_number(self, token: _Token) -> float:
        value = float(token.source)
        if not math.isfinite(value):
            raise self._fault("too large a number", token)
        return value
