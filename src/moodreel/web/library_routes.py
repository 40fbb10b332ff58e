"""Routes of the library: the page, rows, places on the circumplex, thumbnails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from moodreel.errors import LimitExceeded, QueryError, SettingsError
from moodreel.report.describe import describe_result, key_of
from moodreel.runtime.search import Page
from moodreel.web.jobs import run
from moodreel.web.library import Library, make_result, tell_hit, tell_positions
from moodreel.web.pages import Pages
from moodreel.web.pool import Pool
from moodreel.web.problems import Problem
from moodreel.web.reading import Watch
from moodreel.web.requests import stop_when_gone

MOST_ROWS = 500
"""Rows of one answer."""

Text = Annotated[str | None, Query(max_length=4000)]


def make_library_routes(library: Library | None, pages: Pages, pool: Pool) -> APIRouter:
    """The routes.

    Args:
        library: None where no table was given: the page then says how to.
        pages: makes pages.
        pool: searches are its short work, thumbnails its long.
    """
    router = APIRouter(tags=["library"])

    @router.get("/library", include_in_schema=False)
    async def show_page(request: Request) -> Response:
        told = None if library is None else library.tell()
        names = [name.removeprefix("p_") for name in (*told["scores"], *told["quadrants"])] if told else []
        keys = {name: key_of(name) for name in names}
        return pages.show(request, "library.html", "Library", library=told, keys=keys)

    if library is None:
        return router

    @router.get("/api/library", summary="The table: columns, scores, bounds")
    async def tell_table() -> dict[str, Any]:
        return library.tell()

    @router.get(
        "/api/library/rows",
        summary="Search",
        description=(
            "Rows that fulfil all conditions; nearest first with `like` (a row) or `near` (valence,arousal)."
        ),
    )
    async def list_rows(
        query: Text = None,
        sort: Text = None,
        descending: bool | None = None,
        quadrant: Text = None,
        ranges: Annotated[list[str], Query(alias="range", max_length=64, description="COLUMN:LOW:HIGH")] = [],  # noqa: B006
        like: Annotated[int | None, Query(ge=0)] = None,
        near: Text = None,
        offset: Annotated[int, Query(ge=0)] = 0,
        limit: Annotated[int, Query(ge=0, le=MOST_ROWS)] = 60,
    ) -> Response:
        def find() -> Page:
            bounds: dict[str, Any] = {
                "query": query,
                "quadrant": quadrant or None,
                "ranges": _read_ranges(ranges),
            }
            if like is not None:
                library.get(like)
                return library.table.similar(like, limit, offset=offset, **bounds)
            if near is not None:
                return library.table.near(*_read_place(near), limit, offset=offset, **bounds)
            return library.table.search(
                sort=sort or None, descending=descending, offset=offset, limit=limit, **bounds
            )

        page = await run(pool, lambda: _refuse_queries(find), False)
        rows = [tell_hit(hit) for hit in page.rows]
        return JSONResponse({"total": page.total, "offset": page.offset, "rows": rows})

    @router.get("/api/library/positions", summary="Where the rows found lie on the circumplex")
    async def list_positions(
        query: Text = None,
        quadrant: Text = None,
        ranges: Annotated[list[str], Query(alias="range", max_length=64)] = [],  # noqa: B006
    ) -> Response:
        def find() -> dict[str, Any]:
            bounds = _read_ranges(ranges)
            return tell_positions(library.table.positions(query, quadrant=quadrant or None, ranges=bounds))

        return JSONResponse(await run(pool, lambda: _refuse_queries(find), False))

    @router.get("/api/library/rows/{row}", summary="One row, and a part of a page")
    async def tell_row(row: int) -> dict[str, Any]:
        hit = library.get(row)
        clip = describe_result(make_result(hit.values), 1)
        return {**tell_hit(hit), "html": pages.render("row.html", clip=clip)}

    @router.get(
        "/api/library/thumbs/{row}",
        summary="A small animation of a row's clip",
        response_class=Response,
        responses={200: {"content": {"image/webp": {}}}},
    )
    async def send_thumb(request: Request, row: int, still: bool = False) -> Response:
        return await send_picture(request, pool, lambda watch: library.draw_thumb(row, watch, still))

    return router


async def send_picture(request: Request, pool: Pool, draw: Callable[[Watch], bytes]) -> Response:
    """A picture that is drawn when there is time, unless nobody waits for it any more.

    Its address must change with what it shows: a browser keeps it for a day.
    """
    async with stop_when_gone(request) as watches:
        watch = watches.add(Watch())
        try:
            content = await run(pool, lambda: draw(watch), True)
        except LimitExceeded as error:
            if watch.is_cancelled:
                raise Problem(499, "gone", "nobody waits for it") from error
            raise
    return Response(content, media_type="image/webp", headers={"Cache-Control": "private, max-age=86400"})


def _refuse_queries(find: Any) -> Any:
    """What a query lacks, as an answer that says where."""
    try:
        return find()
    except QueryError as error:
        where = {"position": error.position, "found": error.found}
        raise Problem(422, "query", str(error).removeprefix("query, "), extra=where) from None


def _read_ranges(texts: list[str]) -> dict[str, tuple[float, float]]:
    ranges = {}
    for text in texts:
        name, *bounds = text.split(":")
        if len(bounds) != 2:
            raise SettingsError("range", text[:80], "COLUMN:LOW:HIGH")
        ranges[name] = (_read_number("range", bounds[0]), _read_number("range", bounds[1]))
    return ranges


def _read_place(text: str) -> tuple[float, float]:
    parts = text.split(",")
    if len(parts) != 2:
        raise SettingsError("near", text[:80], "VALENCE,AROUSAL")
    return _read_number("near", parts[0]), _read_number("near", parts[1])


def _read_number(field: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise SettingsError(field, text[:80], "numbers") from None
