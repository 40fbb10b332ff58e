"""The pages, and the files they load: all of them from here."""

from __future__ import annotations

import secrets
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from moodreel.media import MEDIA_SUFFIXES
from moodreel.report.describe import describe_result
from moodreel.report.heat import list_heat
from moodreel.report.html import load_templates, read_style
from moodreel.types import Result
from moodreel.web.api import Kitchen, tell_model
from moodreel.web.guard import Gate
from moodreel.web.problems import Problem
from moodreel.web.reading import Served

HERE = Path(__file__).parent

SHARED_FACTS = ("size", "frames", "duration", "model")
"""Of a result: what the player says, and the panel's heading."""


class Static(StaticFiles):
    """Files that a browser may keep, but asks about each time."""

    async def get_response(self, path: str, scope: Scope) -> Response:
        """The file, or that it has not changed."""
        response = await super().get_response(path, scope)
        response.headers["Cache-Control"] = "no-cache"
        return response


class Pages:
    """Makes pages from templates.

    Args:
        gate: makes sessions and CSRF tokens.
        sections: (path, title) of each page in the navigation.
    """

    def __init__(self, gate: Gate, sections: tuple[tuple[str, str], ...]) -> None:
        self._gate, self._sections = gate, sections
        self._templates = load_templates(HERE / "templates")

    def render(self, name: str, **facts: Any) -> str:
        """A template as text."""
        return self._templates.get_template(name).render(**facts)

    def show(self, request: Request, name: str, title: str, status: int = 200, **facts: Any) -> HTMLResponse:
        """A page, with the session's CSRF token in it."""
        session = request.cookies.get(self._gate.session_name) or secrets.token_urlsafe(24)
        text = self.render(
            name,
            title=title,
            sections=self._sections if self._gate.admits(request) else (),
            here=request.url.path,
            csrf=self._gate.make_csrf(session),
            **facts,
        )
        response = HTMLResponse(text, status)
        self._gate.set_cookie(response, self._gate.session_name, session, request.url.scheme == "https")
        return response

    def render_result(self, result: Result, served: Served) -> str:
        """A model's panel on the page Look; what is the same of all models stands beside the player."""
        clip = describe_result(result, 1)
        clip["facts"] = [fact for fact in clip["facts"] if fact[0] not in SHARED_FACTS]
        return self.render("result.html", clip=clip, info=served.info)


def make_pages(pages: Pages, kitchen: Kitchen, gate: Gate) -> APIRouter:
    """The routes of Look, of the API's description, of the token's page, and of style sheet and heat."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    async def look(request: Request) -> Response:
        settings = kitchen.settings
        return pages.show(
            request,
            "look.html",
            "Look",
            models=[tell_model(served) for served in kitchen.models.values()],
            limits={"files": settings.files, "bytes": settings.file_bytes},
            suffixes=",".join(sorted(MEDIA_SUFFIXES)),
        )

    @router.get("/api")
    async def describe_api(request: Request) -> Response:
        spec = request.app.openapi()
        return pages.show(request, "api.html", "API", routes=list_routes(spec), settings=kitchen.settings)

    @router.get("/token")
    async def ask_token(request: Request) -> Response:
        if gate.admits(request):
            return RedirectResponse("/", 303)
        return pages.show(request, "token.html", "Token", is_wrong=False)

    @router.post("/token")
    async def take_token(request: Request) -> Response:
        content = (await request.body()).decode("utf-8", "replace")
        shown = _read_field(content, "token")
        if not gate.is_token(shown):
            return pages.show(request, "token.html", "Token", 401, is_wrong=True)
        response = RedirectResponse("/", 303)
        gate.set_cookie(response, gate.pass_name, gate.pass_value, request.url.scheme == "https")
        return response

    @router.get("/static/report.css")
    async def send_style() -> Response:
        return Response(read_style(), media_type="text/css", headers={"Cache-Control": "no-cache"})

    @router.get("/static/heat.json")
    async def send_heat() -> Response:
        return JSONResponse(tell_heat(), headers={"Cache-Control": "no-cache"})

    return router


def show_problem(pages: Pages, request: Request, problem: Problem) -> Response:
    """An error as a page where a person asked for one, else as JSON."""
    wants_page = request.method == "GET" and "text/html" in request.headers.get("accept", "")
    if request.url.path.startswith("/api/") or not wants_page:
        return problem.respond()
    return pages.show(request, "problem.html", "Error", problem.status_code, problem=problem)


@cache
def tell_heat() -> dict[str, list[Any]]:
    """Colours and opacities of attention, weakest first, as the overlay draws it."""
    tint, cover = list_heat()
    return {"tint": tint.tolist(), "cover": [round(float(value) / 256, 4) for value in cover]}


def list_routes(spec: dict[str, Any]) -> list[dict[str, Any]]:
    """What OpenAPI says, for people: a route each with its parameters and errors."""
    routes = []
    for path, methods in spec["paths"].items():
        for method, facts in methods.items():
            codes = {
                code: answer.get("description", "")
                for code, answer in facts["responses"].items()
                if code[0] in "45" and answer.get("description") != "Validation Error"
            }
            routes.append(
                {
                    "path": path,
                    "method": method.upper(),
                    "summary": facts.get("summary", ""),
                    "description": facts.get("description", "").replace("`", ""),
                    "parameters": [
                        {"name": p["name"], "text": p.get("description", "")}
                        for p in facts.get("parameters", [])
                    ],
                    "codes": codes,
                }
            )
    return routes


def _read_field(content: str, name: str) -> str:
    from urllib.parse import parse_qs

    return (parse_qs(content).get(name) or [""])[0]
