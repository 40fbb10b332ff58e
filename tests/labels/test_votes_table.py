"""Vote files: what is a row, which line is wrong, and both ways of reading against each other."""

import codecs

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from moodreel.errors import DataError
from moodreel.labels import votes_table as room
from moodreel.labels.rows import BadRow
from moodreel.labels.votes import CHOICES
from moodreel.labels.votes_table import read_votes

HEADER = "emotion,left,right,choice\n"


def decode(votes):
    """(emotion, left, right, choice, voter) of every vote, as texts."""
    voters = [""] * len(votes)
    if votes.voter is not None:
        voters = [votes.voters[k] if k >= 0 else "" for k in votes.voter.tolist()]
    columns = (votes.emotion.tolist(), votes.left.tolist(), votes.right.tolist(), votes.choice.tolist())
    return [
        (votes.emotions[e], votes.items[a], votes.items[b], CHOICES[c], voter)
        for e, a, b, c, voter in zip(*columns, voters, strict=True)
    ]


@pytest.fixture
def read(tmp_path):
    def read(content, strict=False):
        path = tmp_path / "votes.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        held = read_votes(path, strict)
        return decode(held.votes), [(row.line, row.reason) for row in held.bad]

    return read


@pytest.fixture
def quick_only(monkeypatch):
    """Forbids reading row by row, so that a test shows what the quick way takes by itself."""
    monkeypatch.setattr(room, "_read_rows", lambda *_: 1 / 0)


def test_a_plain_file(read, quick_only):
    rows, bad = read(HEADER + "joy,a,b,left\njoy,b,c,right\nfear,a,b,neither\n")
    assert bad == []
    assert rows == [
        ("joy", "a", "b", "left", ""),
        ("joy", "b", "c", "right", ""),
        ("fear", "a", "b", "neither", ""),
    ]


@pytest.mark.parametrize(
    "content",
    [
        HEADER + "joy,a,b,left",  # no newline at the end
        HEADER + "joy,a,b,left\n\n\n",  # blank lines
        codecs.BOM_UTF8 + (HEADER + "joy,a,b,left\n").encode(),
        (HEADER + "joy,a,b,left\n").replace("\n", "\r\n"),
        '"emotion","left","right","choice"\n"joy","a","b","left"\n',
        "time,choice,right,left,emotion\n9,left,b,a,joy\n",  # another order, another column
        "x,emotion,x,left,right,choice,\n1,joy,2,a,b,left,\n",  # others may stand there twice
    ],
)
def test_ways_to_write_it(read, quick_only, content):
    assert read(content) == ([("joy", "a", "b", "left", "")], [])


def test_ids_are_texts(read, quick_only):
    ids = [
        "007",
        "7",
        "7.0",
        "null",
        "NA",
        "nan",
        "TRUE",
        "1e5",
        " a",
        "a ",
        "日本",
        "e\u0301",
        "é",
        '"',
        "a,b",
    ]
    content = HEADER + "".join(
        f'joy,"{id.replace(chr(34), chr(34) * 2)}",other,left\n' for id in ids
    )  # fmt: skip
    rows, bad = read(content)
    assert bad == []
    assert [row[1] for row in rows] == ids


def test_voters(read, quick_only):
    rows, bad = read(
        "voter,emotion,left,right,choice\nann,joy,a,b,left\n,joy,a,b,left\nbob,joy,b,a,neither\n"
    )
    assert bad == []
    assert [row[4] for row in rows] == ["ann", "", "bob"]


@pytest.mark.parametrize("line_end", ["\r", "\n", "\r\n"])
def test_a_cell_may_span_lines(read, line_end):
    """Its row counts with the line it begins in."""
    content = 'emotion,left,right,choice\njoy,"a\nb",c,left\n\njoy,"d\n\n",c,maybe\njoy,x,c,right'
    rows, bad = read(content.replace("\n", line_end))
    assert rows == [("joy", f"a{line_end}b", "c", "left", ""), ("joy", "x", "c", "right", "")]
    assert bad == [(5, "choice = 'maybe': expected left, right, neither")]


BAD = {
    b"joy,a,b": "4 cells expected, got 3",
    b"joy,a,b,left,x": "4 cells expected, got 5",
    b" ": "4 cells expected, got 1",
    b"joy,a,b,Left": "choice = 'Left': expected left, right, neither",
    b"joy,a,b,": "choice = '': expected left, right, neither",
    b"joy,a,b,left ": "choice = 'left ': expected left, right, neither",
    b",a,b,left": "emotion is empty",
    b"joy,,b,left": "left is empty",
    b"joy,a,\t,left": "right is empty",
    b"joy,,,left": "left is empty",
    b"joy,a,a,left": "left and right are the same ('a')",
    b"joy,a,b\xff,left": "not UTF-8",
    b"joy,\xed\xa0\x80,b,left": "not UTF-8",
    b"joy,a,b," + b"x" * 90: f"choice = {'x' * 60 + '...'!r}: expected left, right, neither",
    b"joy," + b"x" * 131_073 + b",b,left": "cannot be read: field larger than field limit (131072)",
}


@pytest.mark.parametrize(("row", "reason"), BAD.items(), ids=range(len(BAD)))
def test_a_bad_row(read, row, reason):
    """It is skipped and named; what stands around it is read."""
    content = HEADER.encode() + b"joy,a,b,left\n" + row + b"\n\njoy,c,d,right\n"
    rows, bad = read(content)
    assert rows == [("joy", "a", "b", "left", ""), ("joy", "c", "d", "right", "")]
    assert bad == [(3, reason)]
    with pytest.raises(DataError) as caught:
        read(content, strict=True)
    assert str(caught.value).endswith(f"votes.csv:3: {reason}")


def test_all_bad_rows_are_named_in_order(read):
    rows, bad = read(HEADER.encode() + b"".join(row + b"\n" for row in BAD))
    assert rows == []
    assert bad == [(line, reason) for line, reason in enumerate(BAD.values(), start=2)]


def test_a_quote_that_is_never_closed_costs_one_row(read):
    rows, bad = read(HEADER + 'joy,a,b,left\njoy,"a,c,left\njoy,a,d,left\njoy,d,e,maybe\njoy,a,f,left\n')
    assert [row[2] for row in rows] == ["b", "d", "f"]
    assert bad == [
        (3, "a quote is opened and never closed"),
        (5, "choice = 'maybe': expected left, right, neither"),
    ]


def test_two_stray_quotes_do_not_swallow_what_is_between_unseen(read):
    """They make one long cell; where the row then has the wrong length, it is named."""
    rows, bad = read(HEADER + 'joy,"a,b,left\njoy,c,d,left\njoy,e,f",left\njoy,a,b,left\n')
    assert [row[1] for row in rows] == ["a"]
    assert bad == [(2, "4 cells expected, got 3")]


def test_a_long_runaway_cell_gives_its_rows_back(read):
    many = "".join(f"joy,a,b{k},left\n" for k in range(12_000))
    rows, bad = read(HEADER + 'joy,"x,y,left\n' + many + 'joy,a,"z\n')
    assert len(rows) == 12_000
    assert bad == [
        (2, "cannot be read: field larger than field limit (131072)"),
        (12_003, "a quote is opened and never closed"),
    ]


def test_columns_that_are_not_read_spoil_a_row_too(read):
    header = HEADER.encode().replace(b"choice", b"choice,note")
    rows, bad = read(header + b"joy,a,b,left,\xff\njoy,a,c,left,x\n")
    assert ([row[2] for row in rows], bad) == (["c"], [(2, "not UTF-8")])
    many = b"".join(b"joy,a,b%d,left,x\n" % k for k in range(12_000))
    rows, bad = read(header + b'joy,a,c,left,"x\n' + many + b'joy,a,c,left,x"\n')
    assert len(rows) == 12_001
    assert bad == [(2, "cannot be read: field larger than field limit (131072)")]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ": the file is empty"),
        (b"\n\n", ": the file is empty"),
        (codecs.BOM_UTF8, ": the file is empty"),
        (HEADER.encode(), ": no votes, only a header"),
        (HEADER.encode() + b"\n\n", ": no votes, only a header"),
        (HEADER.encode("utf-16"), ": UTF-16 text, expected UTF-8"),
        (b"emotion,left,right\n", ":1: column 'choice' is missing (got emotion, left, right)"),
        (b"\nemotion;left;right;choice\n", ":2: column 'emotion' is missing (got emotion;left;right;choice)"),
        (b"joy,a,b,left\n", ":1: column 'emotion' is missing (got joy, a, b, left)"),
        (b"emotion,left,right,choice,left\n", ":1: column 'left' stands there twice"),
        (b"emotion,left,right,choice,voter,voter\n", ":1: column 'voter' stands there twice"),
        (b"emotion,left,right,choice,\xff\n", ":1: the header is not UTF-8"),
        (b'"emotion,left\n', ":1: a quote is opened and never closed"),
    ],
)
def test_no_file_of_votes(read, content, said):
    with pytest.raises(DataError) as caught:
        read(content)
    assert str(caught.value).endswith(f"votes.csv{said}")


def test_a_file_that_cannot_be_read(tmp_path):
    with pytest.raises(DataError, match=r"absent.csv: cannot read the votes: No such file"):
        read_votes(tmp_path / "absent.csv")
    with pytest.raises(DataError, match=r"cannot read the votes: Is a directory"):
        read_votes(tmp_path)


RAW = st.text(st.sampled_from('ab "é\u2028\x0b'), max_size=4)
QUOTED = st.text(st.sampled_from('ab ,"é\u2028\x0b\n\r'), max_size=4).map(
    lambda text: text.replace('"', '""')
)


def write_cell(start):
    """A cell that begins with ``start``: as it is, quoted, quoted in part, or with a quote too many."""
    return st.one_of(
        RAW.map(lambda text: start + text),
        QUOTED.map(lambda text: f'"{start}{text}"'),
        st.tuples(QUOTED, RAW).map(lambda texts: f'"{start}{texts[0]}"{texts[1]}'),
        RAW.map(lambda text: f'"{start}{text}'),
    )


ROWS = st.tuples(
    st.sampled_from(["joy", "fear", '"joy"']),
    write_cell("l"),
    write_cell("r"),
    st.sampled_from([*CHOICES, '"left"']),
).map(",".join)
LINES = st.lists(st.one_of(ROWS, ROWS, ROWS, st.just("")), min_size=1, max_size=4)


@settings(max_examples=400)
@given(LINES, st.sampled_from(["\n", "\r\n", "\r"]), st.booleans(), st.booleans(), st.booleans())
@example(['joy,a"b,c,left', 'joy,"a"b,c,left', 'joy, "a",c,left'], "\n", True, False, False)
@example(['joy,"a', 'b",c,left'], "\n", True, False, False)
@example(["joy,a,b,left", "", "joy,\u2028,\x0b\x0c.,right"], "\r\n", False, True, True)
def test_what_the_quick_way_takes_it_reads_alike(tmp_path_factory, lines, end, closes, marks, votes):
    header = "emotion,left,right,choice" + ",voter" * votes
    lines = [header, *(line + ",v" * votes for line in lines)]
    data = codecs.BOM_UTF8 * marks + (end.join(lines) + end * closes).encode()
    quick = room._read_columns(data, header.split(","))
    if quick is None:
        return
    bad: list[BadRow] = []
    slow = list(room._read_rows("f", data, header.split(","), bad, False))
    assert bad == []
    assert decode(quick) == [(*row[:4], row[4] if votes else "") for row in slow]


def test_the_quick_way_over_many_blocks(read, quick_only):
    """Several blocks, each with names of its own."""
    count = 250_000
    content = HEADER + "".join(
        f"e{k // 70_000},{k // 3:x},r{k // 4:x},{CHOICES[k % 3]}\n" for k in range(count)
    )
    assert len(content) > 1 << 22
    rows, bad = read(content)
    assert (len(rows), bad) == (count, [])
    for k in np.linspace(0, count - 1, 50).astype(int).tolist():
        assert rows[k] == (f"e{k // 70_000}", f"{k // 3:x}", f"r{k // 4:x}", CHOICES[k % 3], "")
