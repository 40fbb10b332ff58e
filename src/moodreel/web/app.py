"""The web app: look at clips, search a library, vote, and an API."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from starlette.exceptions import HTTPException

from moodreel.errors import MoodreelError, require
from moodreel.media import Limits
from moodreel.media.pool import DecoderPool
from moodreel.web.api import Kitchen, make_api
from moodreel.web.guard import Gate, Guard
from moodreel.web.jobs import Jobs
from moodreel.web.library import Library
from moodreel.web.library_routes import make_library_routes
from moodreel.web.pages import HERE, Pages, Static, make_pages, show_problem
from moodreel.web.pool import Pool
from moodreel.web.problems import Problem, explain_error
from moodreel.web.reading import Served
from moodreel.web.settings import WebSettings
from moodreel.web.shelf import Shelf, list_clips
from moodreel.web.uploads import Intake
from moodreel.web.vote_routes import Booth, make_vote_routes

SECTIONS = (("/", "Look"), ("/library", "Library"), ("/vote", "Vote"), ("/api", "API"))
"""Path and title of each page."""

SEARCHERS, WAITING_SEARCHES = 3, 256
"""Threads that search and draw thumbnails, and how many of each may wait."""

VOTE_THREADS = 2

THUMB_SECONDS = 20.0
"""That reading a clip of the library for a picture may take."""

SWEEP_SECONDS = 15.0
"""How often results that nobody asks for are looked for."""


def create_app(settings: WebSettings, models: Mapping[str, Served]) -> FastAPI:
    """Makes the app.

    Args:
        settings: hosts, token, limits, library and votes.
        models: name -> model, the default first. Recognisers are passed in, so that a test needs no weights.

    Raises:
        SettingsError: there is no model.
        DataError: the library's table or the votes' database cannot be read.
        MissingExtra: a part for the library or for votes is not installed.
    """
    from importlib.metadata import version

    require(len(models) > 0, "models", len(models), "at least one")
    gate = Gate(settings)
    pages = Pages(gate, SECTIONS)
    pool = Pool(settings.workers, settings.waiting)
    intake = Intake(settings)
    decoders = DecoderPool(settings.limits, settings.workers, at_once=False)
    jobs = Jobs(settings, pool, decoders, intake, pages.render_result)
    kitchen = Kitchen(settings, models, pool, decoders, intake, jobs)
    searchers = Pool(SEARCHERS, WAITING_SEARCHES)
    shelf = _find_shelf(settings)
    library = _open_library(settings, shelf)
    booth = _open_booth(settings, shelf, library, searchers)

    @asynccontextmanager
    async def live(_: FastAPI) -> AsyncIterator[None]:
        async def sweep() -> None:
            while True:
                await asyncio.sleep(SWEEP_SECONDS)
                jobs.sweep()

        task = asyncio.create_task(sweep())
        try:
            yield
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
            await jobs.close()
            pool.close()
            searchers.close()
            decoders.close()
            if shelf is not None:
                shelf.decoders.close()
            intake.close()
            if library is not None:
                library.table.close()
            if booth is not None:
                booth.pool.close()
                booth.store.close()

    app = FastAPI(
        title="moodreel",
        version=version("moodreel"),
        summary="Emotion in animated GIFs and short videos.",
        docs_url=None,  # they load scripts from elsewhere; /api says the same
        redoc_url=None,
        lifespan=live,
    )

    async def answer(request: Request, error: Exception) -> Response:
        return show_problem(pages, request, _name_problem(error))

    for kind in (HTTPException, RequestValidationError, MoodreelError):
        app.add_exception_handler(kind, answer)
    app.add_exception_handler(Exception, answer)
    app.include_router(make_api(kitchen))
    app.include_router(make_pages(pages, kitchen, gate))
    app.include_router(make_library_routes(library, pages, searchers))
    app.include_router(make_vote_routes(booth, pages, gate))
    app.mount("/static", Static(directory=HERE / "static"))
    app.state.kitchen = kitchen
    app.add_middleware(Guard, settings=settings, gate=gate)
    app.openapi = lambda: _describe(app)  # type: ignore[method-assign]  # FastAPI's own way to change it
    return app


def _find_shelf(settings: WebSettings) -> Shelf | None:
    root = settings.media
    if root is None and settings.table is not None:
        root = settings.table.resolve().parent
    # our own files: any that predict reads
    if root is None:
        return None
    return Shelf(root, DecoderPool(Limits(seconds=THUMB_SECONDS), SEARCHERS, at_once=False))


def _open_library(settings: WebSettings, shelf: Shelf | None) -> Library | None:
    if settings.table is None or shelf is None:
        return None
    from moodreel.runtime.search import open_table

    return Library(open_table(settings.table), shelf)


def _open_booth(
    settings: WebSettings, shelf: Shelf | None, library: Library | None, painters: Pool
) -> Booth | None:
    """Where votes are cast: on the clips of the table that could be read, else on those of the folder."""
    if settings.votes is None or shelf is None:
        return None
    from moodreel.web.votes import VoteStore

    items = list_clips(shelf.root) if library is None else library.list_paths()
    require(
        len(items) >= 2, "votes", settings.votes, f"at least two clips to vote on; there are {len(items)}"
    )
    store = VoteStore(settings.votes)
    store.offer(items, settings.emotions)
    return Booth(store, shelf, Pool(VOTE_THREADS, WAITING_SEARCHES), painters)


def _name_problem(error: Exception) -> Problem:
    """Whatever was raised, as an answer of ours."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        return Problem(422, "invalid", f"{where}: {first['msg']}")
    if isinstance(error, HTTPException):
        words = {404: ("not_found", "nothing is here"), 405: ("method", "this method is not allowed here")}
        word, reason = words.get(error.status_code, ("failed", str(error.detail)))
        return Problem(error.status_code, word, reason, error.headers)
    return explain_error(error)


def _describe(app: FastAPI) -> dict[str, Any]:
    """OpenAPI, made when it is asked for, with the shape of our errors in place of FastAPI's own."""
    if app.openapi_schema is not None:
        return app.openapi_schema
    made: dict[str, Any] = FastAPI.openapi(app)
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    schemas["Problem"] = {
        "type": "object",
        "required": ["error", "reason"],
        "properties": {
            "error": {"type": "string", "description": "a word for programs"},
            "reason": {"type": "string", "description": "one line for people"},
        },
    }
    for methods in made["paths"].values():
        for facts in methods.values():
            wrong = facts["responses"].get("422", {}).get("content", {}).get("application/json", {})
            if "HTTPValidationError" in str(wrong.get("schema")):
                wrong["schema"] = {"$ref": "#/components/schemas/Problem"}
    return made
