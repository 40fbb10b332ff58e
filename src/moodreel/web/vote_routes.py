"""Routes of the page Vote: pairs, votes, counts, ranking, export.

Who votes is told by the session's cookie, so that nobody takes back what another one has said.
"""

from __future__ import annotations

import hashlib
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from moodreel.web.guard import Gate
from moodreel.web.jobs import run
from moodreel.web.library_routes import send_picture
from moodreel.web.pages import Pages
from moodreel.web.pool import Pool
from moodreel.web.problems import Problem
from moodreel.web.shelf import LARGE, SMALL, Shelf
from moodreel.web.votes import VoteStore

T = TypeVar("T")

LONGEST = 4096

MOST_RANKS = 500

Name = Annotated[str, Query(max_length=LONGEST)]


@dataclass(frozen=True, eq=False)
class Booth:
    """Where votes are cast.

    Attributes:
        store: of the votes.
        shelf: of the clips.
        pool: asks the store.
        painters: draw the clips.
    """

    store: VoteStore
    shelf: Shelf
    pool: Pool
    painters: Pool


class Cast(BaseModel):
    """A vote: which of two clips shows more of an emotion."""

    emotion: str = Field(max_length=LONGEST, examples=["happiness"])
    left: str = Field(max_length=LONGEST, examples=["clips/a.gif"])
    right: str = Field(max_length=LONGEST, examples=["clips/b.gif"])
    choice: str = Field(max_length=16, examples=["left"], description="left, right or neither")
    token: str = Field(
        max_length=100, description="The client's own name for the vote: sent twice, it counts once."
    )


class Undo(BaseModel):
    """A vote to take back."""

    number: int | None = Field(None, description="Of the vote; none is the last one.")


def make_vote_routes(booth: Booth | None, pages: Pages, gate: Gate) -> APIRouter:
    """The routes.

    Args:
        booth: None where no votes are collected: the page then says how to.
        pages: makes pages.
        gate: tells sessions.
    """
    router = APIRouter(tags=["votes"])

    @router.get("/vote", include_in_schema=False)
    async def show_page(request: Request) -> Response:
        if booth is None:
            return pages.show(request, "vote.html", "Vote", emotions=None)
        emotions = await run(booth.pool, lambda: booth.store.emotions, False)
        return pages.show(request, "vote.html", "Vote", emotions=emotions)

    if booth is None:
        return router
    store = booth.store

    @router.get("/api/votes/next", summary="The next pair to ask about; null where there is none")
    async def find_next(request: Request, emotion: Name) -> dict[str, Any] | None:
        voter = _name_voter(request, gate)
        pair = await run(booth.pool, lambda: store.next_pair(emotion, voter), False)
        return None if pair is None else {"emotion": pair.emotion, "left": pair.left, "right": pair.right}

    @router.post("/api/votes", summary="Cast a vote", status_code=201)
    async def cast(request: Request, vote: Cast) -> dict[str, Any]:
        voter = _name_voter(request, gate)
        kept = await run(
            booth.pool,
            lambda: store.cast(vote.emotion, vote.left, vote.right, vote.choice, voter, vote.token),
            False,
        )
        return asdict(kept)

    @router.post("/api/votes/undo", summary="Take a vote back")
    async def undo(request: Request, vote: Undo) -> dict[str, Any] | None:
        voter = _name_voter(request, gate)
        taken = await run(booth.pool, lambda: store.undo(voter, vote.number), False)
        return None if taken is None else asdict(taken)

    @router.get("/api/votes/counts", summary="How many votes there are, and how many of them are one's own")
    async def count(request: Request) -> dict[str, Any]:
        voter = _name_voter(request, gate)
        return asdict(await run(booth.pool, lambda: store.counts(voter), False))

    @router.get("/api/votes/ranking", summary="The clips by an emotion, most of it first")
    async def rank(
        emotion: Name, limit: Annotated[int, Query(ge=1, le=MOST_RANKS)] = 50
    ) -> list[dict[str, Any]]:
        return [asdict(one) for one in await run(booth.pool, lambda: store.ranking(emotion, limit), False)]

    @router.get(
        "/api/votes/export",
        summary="The votes as CSV, for moodreel votes score",
        response_class=Response,
        responses={200: {"content": {"text/csv": {}}}},
    )
    async def export() -> Response:
        content = await run(booth.pool, lambda: _export(store), False)
        headers = {"Content-Disposition": 'attachment; filename="votes.csv"'}
        return Response(content, media_type="text/csv; charset=utf-8", headers=headers)

    @router.get(
        "/api/votes/picture",
        summary="A clip that is voted on",
        response_class=Response,
        responses={200: {"content": {"image/webp": {}}}},
    )
    async def send_clip(request: Request, item: Name, small: bool = False, still: bool = False) -> Response:
        size = SMALL if small else LARGE
        draw = lambda watch: booth.shelf.draw(item, size, watch, still)  # noqa: E731
        return await send_picture(request, booth.painters, draw)

    return router


def _name_voter(request: Request, gate: Gate) -> str:
    """The voter of a session: the same for as long as the browser keeps its cookie."""
    session = request.cookies.get(gate.session_name)
    if not session:
        raise Problem(403, "session", "votes need the page's cookie: open /vote first")
    return "v-" + hashlib.sha256(session.encode()).hexdigest()[:16]


def _export(store: VoteStore) -> bytes:
    with tempfile.TemporaryDirectory(prefix="moodreel-votes-") as folder:
        path = Path(folder) / "votes.csv"
        store.export(path)
        return path.read_bytes()
