"""Writes the line numbers into the equation tables of docs/kavan.md, docs/caca_rnn.md and docs/sta.md.

    python tools/equations.py [--check]

A table's second column names code as ``file.py:LINE: symbol``. The symbol is written by hand; the line is
that of the comment with the equation's number inside the symbol (of several numbers, the first), or of the
symbol itself where the row has none. A row whose code does not say its equation's numbers is an error.
``--check`` writes nothing and ends with 1 where a line is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from pathlib import Path

from pages import ROOT, write_pages

HOUSE = ROOT / "src" / "moodreel"
PAGES = [ROOT / "docs" / name for name in ("kavan.md", "caca_rnn.md", "sta.md")]

CODE = re.compile(r"`([\w./-]+\.py):(?:\d+:)? ([\w.]+)`")
SAID = re.compile(r"Eq\. (\d+(?:(?:, |-| and |, and )\d+)*)")


def read_numbers(text: str) -> set[int]:
    """Numbers of the equations that a text names: ``Eq. 1-3``, ``Eq. 5, 10``, ``Eq. 12 and 9``."""
    numbers: set[int] = set()
    for said in SAID.findall(text):
        for part in re.split(r", and |, | and ", said):
            low, _, high = part.partition("-")
            numbers |= set(range(int(low), int(high or low) + 1))
    return numbers


def find_span(path: Path, symbol: str) -> tuple[int, int]:
    """First and last line of a top-level name or of ``Class.member``."""
    body: list[ast.stmt] = ast.parse(path.read_text("utf-8")).body
    for part in symbol.split("."):
        for node in body:
            targets = getattr(node, "targets", [getattr(node, "target", node)])
            if part in {getattr(target, "id", getattr(target, "name", None)) for target in targets}:
                break
        else:
            raise LookupError(f"{path.name}: no {symbol}")
        body = getattr(node, "body", [])
    assert node.end_lineno is not None
    return node.lineno, node.end_lineno


def find_line(path: Path, symbol: str, numbers: set[int]) -> int:
    """Line of the first of these equations inside a symbol; without any, of the symbol."""
    start, end = find_span(path, symbol)
    if not numbers:
        return start
    lines = list(enumerate(path.read_text("utf-8").splitlines(), 1))[start - 1 : end]
    said: dict[int, int] = {}  # number -> first line
    for at, text in lines:
        for number in read_numbers(text.partition("#")[2]):
            said.setdefault(number, at)
    if missing := numbers - said.keys():
        raise LookupError(f"{path.name}: no comment in {symbol} says Eq. {min(missing)}")
    return said[min(numbers)]


def number_lines(page: str) -> str:
    """A page with the lines in its tables of code as they are now."""
    done = []
    for line in page.splitlines(keepends=True):
        cells = line.split("|")
        if len(cells) > 4:
            numbers = read_numbers(cells[1].partition(":")[0])
            cells[2] = CODE.sub(
                lambda found, numbers=numbers: (  # type: ignore[misc]
                    f"`{found[1]}:{find_line(HOUSE / found[1], found[2], numbers)}: {found[2]}`"
                ),
                cells[2],
            )
        done.append("|".join(cells))
    return "".join(done)


if __name__ == "__main__":
    sys.exit(write_pages(__doc__, PAGES, number_lines))
