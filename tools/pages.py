"""What the tools that write into pages share: parts between marks, and ``--check``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def replace_part(text: str, begin: str, end: str, part: str) -> str:
    """A text with what stands between two marks written anew.

    Raises:
        LookupError: a mark is not there.
    """
    before, mark, rest = text.partition(begin)
    _, other, after = rest.partition(end)
    if not mark or not other:
        raise LookupError(f"no {end if mark else begin}")
    return f"{before}{begin}\n{part}\n{end}{after}"


def write_pages(description: str | None, pages: Iterable[Path], renew: Callable[[str], str]) -> int:
    """The command of such a tool: writes its pages, or with ``--check`` tells which are out of date.

    Args:
        description: for ``--help``.
        pages: that it writes into.
        renew: text of a page -> as it should be; raises LookupError or OSError where it cannot say.

    Returns:
        Exit code: 1 where a page is out of date or could not be renewed.
    """
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--check", action="store_true", help="write nothing")
    check = parser.parse_args().check
    code = 0
    for path in pages:
        name, text = path.relative_to(ROOT), path.read_text("utf-8")
        try:
            fresh = renew(text)
        except (LookupError, OSError) as error:
            print(f"{name}: {error}", file=sys.stderr)
            code = 1
            continue
        if fresh != text and check:
            print(f"{name} is out of date: python tools/{Path(sys.argv[0]).name}", file=sys.stderr)
            code = 1
        elif fresh != text:
            path.write_text(fresh, "utf-8")
    return code
