"""The query language: what it means, what it refuses and where it says the fault lies."""

import math
import random
import string

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from moodreel.errors import QueryError
from moodreel.runtime import query as tree
from moodreel.runtime.query_parser import DEEPEST, LONGEST, parse_query, parse_value
from moodreel.runtime.query_sql import compile_query
from moodreel.runtime.search import open_table
from moodreel.runtime.table import FACTS, Column
from runtime.queries import conditions, values

TEXTS = ("path", "category", "Odd name")
NUMBERS = ("anger", "fear", "happiness", "p_joy", "p_sad", "or")
COLUMNS = (
    *(Column(name, "text") for name in TEXTS),
    Column("width", "integer"),
    *(Column(name, "number") for name in NUMBERS),
)


def draw_rows():
    rng = random.Random(7)
    some = [None, 0.0, -0.0, 1.0, -1.0, 0.5, 0.25, 2.0, 10.0, 1e300, 0.1, 0.2]
    texts = [
        None,
        "",
        "a",
        "A",
        "ab",
        "a/b",
        "é",
        "É'",
        "a*b",
        "a?",
        "%",
        "\\",
        "a.b-[(",
        "a\nb",
        "_a",
        "Ab aB",
    ]
    return [
        {
            **{name: rng.choice(some) for name in ("anger", "fear", "happiness", "p_joy")},
            "width": rng.choice([None, 0, 1, 2, 1000]),
            **{name: rng.choice(texts) for name in ("path", "category", "Odd name")},
        }
        for _ in range(160)
    ]


ROWS = draw_rows()


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A result table with all columns of ROWS, among others that are always null."""
    names = [column.name for column in FACTS] + ["Odd name", "anger", "fear", "happiness", "p_joy"]
    kinds = {"text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}
    known = {column.name: kinds[column.kind] for column in FACTS} | {"Odd name": pyarrow.string()}
    schema = pyarrow.schema([(name, known.get(name, pyarrow.float64())) for name in names])
    path = tmp_path_factory.mktemp("query") / "t.parquet"
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS, schema), path)
    with open_table(path) as opened:
        yield opened


@settings(max_examples=400)
@given(said=conditions)
def test_a_query_means_what_it_says(table, said):
    wanted = [number for number, row in enumerate(ROWS) if said.of(row) is True]
    page = table.search(said.text, limit=len(ROWS))
    assert [hit.row for hit in page.rows] == wanted, said.text
    assert page.total == len(wanted)


@settings(max_examples=150)
@given(said=values, descending=st.booleans())
def test_a_sum_orders(table, said, descending):
    try:
        first = table.search(sort=said.text, descending=descending, offset=3, limit=12)  # without sorting all
        page = table.search(sort=said.text, descending=descending, limit=len(ROWS))
    except QueryError as error:
        if "expected a column" in error.reason:  # a number alone orders nothing
            return
        raise
    keys = [said.of(row) for row in ROWS]
    keys = [None if key is None or not math.isfinite(key) else key for key in keys]
    known = [number for number, key in enumerate(keys) if key is not None]
    known.sort(key=lambda number: -keys[number] if descending else keys[number])
    rest = [number for number, key in enumerate(keys) if key is None]
    assert [hit.row for hit in page.rows] == known + rest, said.text
    assert first.rows == page.rows[3:15]


def test_the_tree():
    found = parse_query("Anger > 0.5 AND not (fear - 1) * 2 <= -happiness or path like '*.gif'", COLUMNS)
    anger, fear, happiness, path = (
        tree.Name(column)
        for name in ("anger", "fear", "happiness", "path")
        for column in COLUMNS
        if column.name == name
    )
    product = tree.Arithmetic("*", tree.Arithmetic("-", fear, tree.Number(1.0)), tree.Number(2.0))
    assert found == tree.Or(
        (
            tree.And(
                (
                    tree.Compare(">", anger, tree.Number(0.5)),
                    tree.Not(tree.Compare("<=", product, tree.Negate(happiness))),
                )
            ),
            tree.Like(path, ((), tuple(".gif"))),
        )
    )
    assert list(tree.list_names(found)) == ["anger", "fear", "happiness", "path"]


@pytest.mark.parametrize(
    ("text", "position", "reason"),
    [
        ("hapiness > 1", 0, "no such column; did you mean happiness?"),
        ("1 < ANGRE", 4, "no such column; did you mean anger?"),
        ("joy > 0", 0, "no such column; did you mean p_joy?"),
        ("xyzzy > 0", 0, "no such column; the table has path, category, Odd name, width, anger"),
        ('path = "a"', 7, "(a text stands in single quotes)"),
        ("category = happy", 11, "a text stands in single quotes: 'happy'"),
        ("anger", 0, "expected a condition, such as anger > 0.5"),
        ("path", 0, "expected a condition, such as path is null"),
        ("not anger", 4, "expected a condition"),
        ("anger > 1 and fear", 14, "expected a condition"),
        ("anger >", 7, "expected a column, a number or a text"),
        ("", 0, "expected a column"),
        ("()", 1, "expected a column"),
        ("(anger > 0", 10, "expected ')'"),
        ("anger > 0)", 9, "expected 'and', 'or' or the end"),
        ("anger > 0 fear > 0", 10, "expected 'and', 'or' or the end"),
        ("0 < anger < 1", 10, "comparisons do not chain"),
        ("anger > 'a'", 6, "a number does not compare with a text"),
        ("path = 3", 5, "a text does not compare with a number"),
        ("path < 'a'", 5, "texts compare with = and != only"),
        ("path + 1 > 0", 0, "expected a number, got a text"),
        ("-path = 'a'", 1, "expected a number, got a text"),
        ("(anger > 0) + 1 > 0", 0, "expected a value, got a condition"),
        ("(anger > 0) = (fear > 0)", 0, "expected a value, got a condition"),
        ("anger = null", 8, "write 'is null' or 'is not null'"),
        ("anger is 0", 9, "expected 'null' or 'not null'"),
        ("anger between 0", 15, "expected 'and' and the upper end"),
        ("path between 'a' and 'b'", 0, "expected a number, got a text"),
        ("anger in 1", 9, "expected '('"),
        ("anger in ()", 10, "expected a number of the list"),
        ("anger in (1, 'a')", 13, "expected a number of the list"),
        ("category in ('a', 2)", 18, "expected a text of the list in single quotes"),
        ("anger in (1 2)", 12, "expected ',' or ')'"),
        ("anger like '1'", 0, "expected a text, got a number"),
        ("path like anger", 10, "expected a text in single quotes after 'like'"),
        ("path not anger", 5, "expected 'between', 'in', 'like' or 'contains' after 'not'"),
        ("and > 1", 0, "expected a column"),
        ("anger > 1e999", 8, "too large a number"),
        ("anger > 'a", 8, "a text is opened and never closed"),
        ('"anger > 1', 0, "a name is opened and never closed"),
        ("anger > 0 & fear > 0", 10, "write 'and'"),
        ("anger > 0 || fear > 0", 10, "write 'or'"),
        ("!anger > 0", 0, "write 'not'"),
        ("path = \u2018a\u2019", 7, "quotes are straight"),
        ("anger > 0; drop table t", 9, "one query at a time"),
        ("anger > 0 -- x", 13, "no such column"),
        ("anger > $1", 8, "this character has no meaning here"),
        ("anger > \x00", 8, "no character of a text"),
        ("path = '\ud800'", 8, "no character of a text"),
        ("path = '\x1b[2J'", 8, "no character of a text"),
        ("anger > 0 " + "x" * LONGEST, LONGEST, "longer than 2000 characters"),
        ("(" * 100, DEEPEST + 1, "nested deeper than 64"),
        ("-" * 100, DEEPEST + 1, "nested deeper than 64"),
        ("not " * 100 + "anger > 0", 4 * (DEEPEST + 1), "nested deeper than 64"),
        ("anger" + "+anger" * 100 + "> 0", 0, "nested deeper than 64"),
    ],
)
def test_faults_say_where_and_what(text, position, reason):
    with pytest.raises(QueryError) as caught:
        parse_query(text, COLUMNS)
    error = caught.value
    assert (error.position, reason in error.reason) == (position, True), str(error)
    assert "\n" not in str(error)
    assert str(error).startswith(
        "query, " + (f"character {position + 1}, at " if error.found else "at its end")
    )


def test_names_in_quotes_and_in_any_case():
    for text in ('"or" > 1', '"OR" > 1', "\"Odd name\" = 'a'", "\"odd NAME\" = 'a'"):
        assert next(tree.list_names(parse_query(text, COLUMNS))) in ("or", "Odd name")
    twins = (Column("A", "number"), Column("a", "number"))
    assert list(tree.list_names(parse_query("a > A", twins))) == ["a", "A"]


def test_what_orders():
    assert parse_value("anger - fear", COLUMNS).operator == "-"
    for text, position in (("anger > 1", 6), ("1 + ", 4), ("'a'", 0), ("1", 0), ("(anger > 0)", 0)):
        with pytest.raises(QueryError, match=r"^sort, ") as caught:
            parse_value(text, COLUMNS)
        assert caught.value.position == position


WORDS = [
    *("and", "or", "not", "between", "in", "is", "null", "like", "contains", "anger", "path", "'a'", '"or"'),
    *("1", ".5", "(", ")", ",", "+", "-", "*", "/", "<", ">=", "!=", "="),
]


@settings(max_examples=600)
@given(
    st.one_of(
        st.lists(st.sampled_from(WORDS), max_size=14).map(" ".join),
        st.text(max_size=40),
        st.text(string.printable, max_size=40),
    )
)
def test_any_text_is_a_query_or_a_fault_in_it(table, text):
    """No other exception, and the position lies in the text."""
    fault = found = None
    try:
        found = parse_query(text, COLUMNS)
    except QueryError as error:
        fault = error
    if fault is not None:
        assert 0 <= fault.position <= len(text)
        assert text[fault.position :].startswith(fault.found)
        return
    check_sql(compile_query(found, COLUMNS), [])
    if not {"or", "p_sad"} & set(tree.list_names(found)):  # the table has no such columns
        assert 0 <= table.search(text).total <= len(ROWS)


SQL_WORDS = {
    *("CAST", "AS", "DOUBLE", "VARCHAR", "CASE", "WHEN", "THEN", "END", "BETWEEN", "AND", "IN", "IS", "NULL"),
    *("NOT", "OR", "contains", "nullif", "isfinite", "regexp_full_match", "s"),
}
"""All words of compiled SQL."""


def check_sql(sql, secrets):
    """Nothing but words and signs of ours, columns and parameters by number."""
    rest = sql.text
    for text in secrets:
        assert text not in rest
    for sign in "(),$<>=+-*/'":
        rest = rest.replace(sign, " ")
    for word in rest.split():
        is_numbered = word[0] in "cl" and word[1:].isdigit()
        assert word in SQL_WORDS or is_numbered or word.isdigit(), sql.text
    assert sql.text.count("'") == 2 * sql.text.count("'s'")


@given(
    st.text(st.characters(exclude_categories=["Cs", "Cc"]), min_size=1, max_size=30),
    st.sampled_from(
        ["path = {}", "path in ({}, 'b')", "path like {}", "path contains {}", "not category != {}"]
    ),
)
def test_a_text_stays_a_parameter(text, query):
    text = "zq;" + text
    found = compile_query(parse_query(query.format("'" + text.replace("'", "''") + "'"), COLUMNS), COLUMNS)
    check_sql(found, ["zq"])
    assert any("zq" in str(value) for value in found.parameters)


@pytest.mark.parametrize(
    "text",
    [
        "' or 1=1 --", "'; DROP TABLE t; --", "x' UNION SELECT * FROM t --", "'||(SELECT 1)||'",
        "\\'; SELECT 1",
        "$1", "?;", "%s", "{0}", "c0", "/*", "*/", "\u00bc' OR ''='", "';ATTACH '/tmp/x' AS y;--",
    ],
)  # fmt: skip
def test_hostile_texts_are_texts(table, text):
    before = table.search().total
    quoted = "'" + text.replace("'", "''") + "'"
    assert table.search(f"path = {quoted}").total == 0
    assert table.search(f"path contains {quoted} or path in ({quoted})").total == 0
    for raw in (text, f"path = {text}", f"path = '{text}'", f"path like '{text}' and anger > 0"):
        try:
            table.search(raw)
        except QueryError:
            continue
    with pytest.raises(QueryError):
        table.search(sort=text)
    assert table.search().total == before


def test_a_column_of_a_file_stays_a_number():
    name = 'x"; DROP TABLE t; --'
    columns = (Column("path", "text"), Column(name, "number"))
    quoted = name.replace('"', '""')
    found = compile_query(parse_query(f'"{quoted}" > 1', columns), columns)
    assert (found.text, found.parameters) == ("(c1 > CAST($1 AS DOUBLE))", (1.0,))


def test_patterns_of_many_stars_are_quick(tmp_path):
    """Backtracking over this text would not end; a regular expression of RE2 does."""
    row = {column.name: None for column in FACTS} | {"path": "a" * 4000, "status": "ok"}
    kinds = {"text": pyarrow.string(), "integer": pyarrow.int64(), "number": pyarrow.float64()}
    schema = pyarrow.schema([(column.name, kinds[column.kind]) for column in FACTS])
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist([row] * 20, schema), tmp_path / "t.parquet")
    with open_table(tmp_path / "t.parquet") as table:
        assert table.search("path like '" + "*a" * 200 + "*b'").total == 0
        assert table.search("path like '" + "*a?" * 200 + "*'").total == 20
