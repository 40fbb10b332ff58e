"""The verb that searches in a result table."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moodreel.cli.console import complain, stop, write
from moodreel.cli.large import check_out

if TYPE_CHECKING:
    from moodreel.report.terminal import Style
    from moodreel.runtime.search import Hit, Page, Table

SHOWN = 20
"""Rows that a terminal gets unless --limit says otherwise."""

CHUNK = 2048
"""Rows that are held at once."""

Fetch = Callable[[int, int], "Page"]


def search(
    table: Annotated[
        Path, typer.Argument(metavar="TABLE", help="A table of predict or merge, or the folder of a run.")
    ],
    query: Annotated[
        str | None, typer.Argument(metavar="QUERY", help="Such as: happiness > 0.5 and anger < 0")
    ] = None,
    sort: Annotated[
        str | None, typer.Option(metavar="COLUMN", help="Order by a column, or a sum of columns.")
    ] = None,
    descending: Annotated[
        bool | None,
        typer.Option("--descending/--ascending", help="Of --sort; default: highest first, texts from A."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="Rows at most; default: 20, with --json and --out all.")
    ] = None,
    like: Annotated[
        str | None, typer.Option(metavar="PATH", help="More like this clip of the table, nearest first.")
    ] = None,
    near: Annotated[
        str | None,
        typer.Option(metavar="VALENCE,AROUSAL", help="Nearest first to a place on the circumplex."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON a row.")] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a table: .parquet, .jsonl or .csv.")
    ] = None,
) -> None:
    """Find rows of a result table: by a query, by likeness to a clip, by a place on the circumplex.

    Scores, category, path and all other columns can be named; docs/search.md has the language.
    """
    if limit is not None and limit < 1:
        stop(f"--limit {limit}: expected at least 1")
    if like is not None and near is not None:
        stop("--like, --near: one of the two")
    if (sort, descending) != (None, None) and (like, near) != (None, None):
        stop("--sort, --ascending, --descending: not with --like or --near, which order by distance")
    if sort is None and descending is not None:
        stop("--ascending, --descending: need --sort")
    if out is not None:
        check_out(out)
        if out.exists() and table.exists() and out.samefile(table):
            stop(f"--out {out}: is the table itself")
    place = None if near is None else _parse_place(near)
    from moodreel.runtime.search import open_table

    with open_table(table) as opened:
        if not opened.is_complete:
            complain(f"{table}: not finished: what is there is searched")
        fetch: Fetch
        if like is not None:
            row = opened.find(like)
            if row is None:
                stop(f"--like {like}: no row of {table} has that path")
            fetch = lambda offset, most: opened.similar(row, most, query=query, offset=offset)  # noqa: E731
        elif place is not None:
            fetch = lambda offset, most: opened.near(*place, most, query=query, offset=offset)  # noqa: E731
        else:
            fetch = lambda offset, most: opened.search(  # noqa: E731
                query, sort=sort, descending=descending, offset=offset, limit=most
            )
        if as_json or out is not None:
            _put_out(opened, fetch, limit, as_json, out)
        else:
            named = opened.list_columns(query)
            named += [sort] if sort is not None and sort in {column.name for column in opened.columns} else []
            _print(opened, fetch(0, limit or SHOWN), named)


def _parse_place(text: str) -> tuple[float, float]:
    try:
        valence, arousal = map(float, text.split(","))
    except ValueError:
        stop(f"--near {text}: expected two numbers from -1 to 1, such as 0.6,-0.2")
    return valence, arousal


def _tell_none(table: Table) -> None:
    complain(f"nothing found among {table.count} rows: {table.path}")


def _put_out(table: Table, fetch: Fetch, limit: int | None, as_json: bool, out: Path | None) -> None:
    """Writes all rows, or as many as asked for, to a file or as lines of JSON."""
    from contextlib import ExitStack

    from moodreel.runtime.table import format_json, open_table

    written = 0
    with ExitStack() as stack:
        hits = _list_hits(fetch, table.count if limit is None else limit)
        first = next(hits, None)  # what is wrong with the query is said before a file is begun
        writer = None if out is None else stack.enter_context(open_table(out, table.columns))
        while first is not None:
            if writer is not None:
                writer.write(first.values)
            if as_json:
                also = {} if first.distance is None else {"distance": round(first.distance, 6)}
                write(format_json({**first.values, **also}) + "\n")
            written += 1
            first = next(hits, None)
    if not written:
        _tell_none(table)
    if out is not None:
        complain(f"{written} of {table.count} rows: {out}")


def _list_hits(fetch: Fetch, most: int) -> Iterator[Hit]:
    for offset in range(0, most, CHUNK):
        page = fetch(offset, min(CHUNK, most - offset))
        yield from page.rows
        if len(page.rows) < CHUNK:
            return


def _print(table: Table, page: Page, named: Sequence[str]) -> None:
    from moodreel.report.terminal import Style

    if not page.rows:
        _tell_none(table)
        return
    write(_format(table, page.rows, named, Style(sys.stdout)))
    shown = f", the first {len(page.rows)} shown (--limit)" if page.total > len(page.rows) else ""
    complain(f"{page.total} of {table.count} rows{shown}: {table.path}")


def _format(table: Table, hits: Sequence[Hit], named: Sequence[str], style: Style) -> str:
    """Path, category, what was asked for and the strongest scores of each row."""
    from moodreel.report.terminal import clean, fit, format_columns

    usual = ("path", "category")
    columns = [name for name in dict.fromkeys(named) if name not in usual]
    has_distance = hits[0].distance is not None
    header = [*usual, *(["distance"] if has_distance else []), *columns, "strongest"]
    rows = []
    for hit in hits:
        values = hit.values
        cells = [_format_value(values[name]) for name in usual]
        cells += [_format_value(hit.distance)] if has_distance else []
        cells += [_format_value(values[name]) for name in columns]
        error = values["error"]
        cells.append(f"error: {error}" if error else _list_strongest(table, hit))
        rows.append(cells)
    if style.is_terminal:
        others = [max(len(row[k]) for row in [header, *rows]) + 2 for k in range(1, len(header))]
        room = max(20, style.width - sum(others))
        for row in rows:
            row[0] = fit(clean(row[0]), room, style.cut)
    return format_columns(header, rows, style)


def _list_strongest(table: Table, hit: Hit) -> str:
    known = sorted((-hit.values[name], name) for name in table.scores if hit.values[name] is not None)
    return ", ".join(f"{name} {-value:.2f}" for value, name in known[:3])


def _format_value(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}" if isinstance(value, float) else str(value)
