"""The API: predict, overlay, models, and the jobs of the page Look."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from fastapi import APIRouter, Query, Request
from fastapi.responses import JSONResponse, Response

from moodreel.errors import MoodreelError
from moodreel.media.pool import DecoderPool
from moodreel.report.overlay import name_overlay, write_overlay
from moodreel.runtime.table import SCHEMA_VERSION
from moodreel.types import Result
from moodreel.web.jobs import Jobs, run
from moodreel.web.pool import Pool
from moodreel.web.problems import Problem, explain_error
from moodreel.web.reading import (
    LARGE_BYTES,
    Served,
    Watch,
    WatchedMedia,
    choose_models,
    describe,
    fail,
    is_long,
    open_clip,
)
from moodreel.web.requests import Watches, stop_when_gone
from moodreel.web.settings import WebSettings
from moodreel.web.uploads import Intake, Upload

EXAMPLE_ROW: dict[str, Any] = {
    "path": "party.gif",
    "status": "ok",
    "error": None,
    "model": "face",
    "model_version": "0.1.0",
    "width": 320,
    "height": 240,
    "frames": 24,
    "duration_s": 2.4,
    "category": "happiness",
    "confidence": 0.91,
    "valence": None,
    "arousal": None,
    "faces": None,
    "attention_x": None,
    "attention_y": None,
    "p_happiness": 0.91,
    "frame_times": [0.0, 0.25],
    "frame_p_happiness": [0.89, 0.93],
    "attention": None,
}
"""Of the documentation; a real row has all columns of its system (docs/formats.md)."""


def _answers(*codes: int) -> dict[int | str, dict[str, Any]]:
    """Errors for OpenAPI."""
    told = {
        401: ("token", "the server's token is needed"),
        404: ("no_job", "no such job; results are kept for a short time only"),
        408: ("slow", "no byte came for 10 seconds"),
        413: ("limit", "party.gif: larger than 67108864 bytes (file_bytes)"),
        415: ("unsupported_media", "not a GIF, PNG, WebP, JPEG, BMP, MP4, MOV, WebM, Matroska or AVI file"),
        422: ("corrupt_media", "the file is empty"),
        429: ("rate", "too many requests; try again in a moment"),
        503: ("busy", "64 clips are waiting already; try again in a moment"),
    }
    shape = {"$ref": "#/components/schemas/Problem"}
    return {
        code: {
            "description": told[code][0],
            "content": {
                "application/json": {
                    "schema": shape,
                    "example": {"error": told[code][0], "reason": told[code][1]},
                }
            },
        }
        for code in codes
    }


def _takes_files(field: str, is_several: bool) -> dict[str, Any]:
    one = {"type": "string", "format": "binary"}
    many = {"type": "array", "items": one, "minItems": 1}
    return {
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "required": [field],
                        "properties": {field: many if is_several else one},
                    }
                }
            },
        }
    }


@dataclass(frozen=True, eq=False)
class Kitchen:
    """What the routes share.

    Attributes:
        settings: limits.
        models: name -> model, the default first.
        pool: threads that read clips.
        decoders: processes that decode them, one a thread.
        intake: takes uploads in.
        jobs: of the page Look.
    """

    settings: WebSettings
    models: Mapping[str, Served]
    pool: Pool
    decoders: DecoderPool
    intake: Intake
    jobs: Jobs


def make_api(kitchen: Kitchen) -> APIRouter:
    """The routes of the API."""
    api = APIRouter()
    one_model = Query(
        default_factory=list, description="Name of a model, as /api/models lists them; may repeat."
    )

    @api.get("/healthz", tags=["state"], summary="Whether the server is up")
    async def check_health() -> dict[str, str]:
        return {"status": "ok"}

    @api.get("/api/models", tags=["models"], summary="The models that are served", responses=_answers(401))
    async def list_models() -> list[dict[str, Any]]:
        return [tell_model(served) for served in kitchen.models.values()]

    @api.post(
        "/api/predict",
        tags=["predict"],
        summary="Read one or several clips",
        description=(
            "A row a file and model, as in the result table, with the scores along time (`frame_...`) "
            "and the attention [t][h x w]. Of one file that cannot be read the answer is the error; of "
            "several, each has its row and a failed one says why."
        ),
        responses={
            200: {
                "description": "rows",
                "content": {"application/json": {"example": {"schema": 1, "results": [EXAMPLE_ROW]}}},
            },
            **_answers(401, 408, 413, 415, 422, 429, 503),
        },
        openapi_extra=_takes_files("files", True),
    )
    async def predict(request: Request, model: list[str] = one_model) -> Response:
        chosen = choose_models(kitchen.models, model)
        async with kitchen.intake.receive(request) as form, stop_when_gone(request) as watches:
            if not form.files:
                raise Problem(422, "no_files", 'expected one or several files in the field "files"')
            turn = asyncio.Semaphore(kitchen.settings.workers)  # many files must not fill the queue
            tasks = [
                asyncio.create_task(_read_upload(kitchen, upload, chosen, watches, turn))
                for upload in form.files
            ]
            try:
                found = await asyncio.gather(*tasks)
            finally:
                for task in tasks:
                    task.cancel()
            if len(found) == 1 and isinstance(found[0], MoodreelError):
                raise explain_error(found[0])
            rows: list[dict[str, Any]] = []
            for upload, read in zip(form.files, found, strict=True):
                if isinstance(read, MoodreelError):
                    read = [fail(served.info, upload.name, read) for served in chosen]
                rows += [describe(result, served.info) for result, served in zip(read, chosen, strict=True)]
        return JSONResponse({"schema": SCHEMA_VERSION, "results": rows})

    @api.post(
        "/api/overlay",
        tags=["predict"],
        summary="A clip with its attention and strongest scores, as GIF",
        response_class=Response,
        responses={
            200: {"description": "a GIF", "content": {"image/gif": {}}},
            **_answers(401, 408, 413, 415, 422, 429, 503),
        },
        openapi_extra=_takes_files("files", False),
    )
    async def draw(request: Request, model: list[str] = one_model) -> Response:
        served = choose_models(kitchen.models, model[:1])[0]
        async with kitchen.intake.receive(request) as form, stop_when_gone(request) as watches:
            if len(form.files) != 1:
                raise Problem(422, "no_files", 'expected one file in the field "files"')
            upload = form.files[0]
            watch = watches.add(Watch())
            media = await _open(kitchen, upload, watch)
            work = lambda: _draw_overlay(media, served)  # noqa: E731
            content = await run(kitchen.pool, work, is_long(media, served.info.system))
            name = name_overlay(upload.name, "gif")
        shown = name.encode("ascii", "replace").decode().replace('"', "").replace("?", "_")
        return Response(content, media_type="image/gif", headers={"X-Filename": shown})

    @api.post(
        "/api/jobs",
        tags=["jobs"],
        summary="Begin to read a clip, and ask how far it is",
        description="Used by the page Look; needs its CSRF token, or the server's token as a bearer.",
        status_code=202,
        responses=_answers(401, 408, 413, 415, 422, 429, 503),
        openapi_extra=_takes_files("files", False),
    )
    async def start_job(request: Request, model: list[str] = one_model, draw: bool = True) -> dict[str, Any]:
        chosen = choose_models(kitchen.models, model)
        async with kitchen.intake.receive(request) as form:
            if len(form.files) != 1:
                raise Problem(422, "no_files", 'expected one file in the field "files"')
            job = kitchen.jobs.start(form.files[0], chosen, draw)
            form.files.clear()  # from now on it is the job's to delete
        return job.tell()

    @api.get("/api/jobs/{key}", tags=["jobs"], summary="How far a job is", responses=_answers(401, 404))
    async def tell_job(key: str) -> dict[str, Any]:
        return kitchen.jobs.find(key).tell()

    @api.get(
        "/api/jobs/{key}/frames",
        tags=["jobs"],
        summary="The pictures of a job, WebP after WebP, as `preview.sizes` says",
        response_class=Response,
        responses={200: {"content": {"application/octet-stream": {}}}, **_answers(401, 404)},
    )
    async def send_frames(key: str) -> Response:
        return Response(kitchen.jobs.find(key).frames, media_type="application/octet-stream")

    @api.get(
        "/api/jobs/{key}/results/{model}",
        tags=["jobs"],
        summary="What a model of a job says: a row as of /api/predict, and a part of a page",
        responses=_answers(401, 404),
    )
    async def send_result(key: str, model: str) -> Response:
        results = kitchen.jobs.find(key).results
        if model not in results:
            raise Problem(404, "no_result", "this model has not read the clip, or not yet")
        return Response(results[model], media_type="application/json")

    @api.delete("/api/jobs/{key}", tags=["jobs"], summary="Forget a job, and end its work", status_code=204)
    async def drop_job(key: str) -> Response:
        kitchen.jobs.drop(key)
        return Response(status_code=204)

    return api


def tell_model(served: Served) -> dict[str, Any]:
    """A model as JSON."""
    info = served.info
    headline = info.scores.get("headline", {})
    return {
        "name": info.name,
        "system": info.system,
        "version": info.version,
        "size_bytes": served.size,
        "emotions": list(info.labels.emotions),
        "categories": list(info.labels.categories),
        "supervised": {
            "emotions": list(info.supervised.emotions),
            "categories": list(info.supervised.categories),
        },
        "scores": {name: value for name, value in headline.items() if isinstance(value, int | float)},
        "available": served.problem is None,
        "reason": served.problem,
    }


async def _open(kitchen: Kitchen, upload: Upload, watch: Watch) -> WatchedMedia:
    work = partial(open_clip, upload.path, upload.name, kitchen.decoders, watch)
    return await run(kitchen.pool, work, upload.size > LARGE_BYTES)


async def _read_upload(
    kitchen: Kitchen, upload: Upload, chosen: list[Served], watches: Watches, turn: asyncio.Semaphore
) -> list[Result] | MoodreelError:
    """A result a model; or why the file cannot be read."""
    async with turn:
        return await _read_in_turn(kitchen, upload, chosen, watches)


async def _read_in_turn(
    kitchen: Kitchen, upload: Upload, chosen: list[Served], watches: Watches
) -> list[Result] | MoodreelError:
    watch = watches.add(Watch())
    try:
        media = await _open(kitchen, upload, watch)
        results = []
        for served in chosen:
            work = partial(served.read, media)
            results.append(await run(kitchen.pool, work, is_long(media, served.info.system)))
        return results
    except MoodreelError as error:
        return error
    except Problem:
        raise
    except Exception as error:
        raise explain_error(error) from error


def _draw_overlay(media: WatchedMedia, served: Served) -> bytes:
    result = served.read(media)
    if not result.ok:
        raise Problem(500, "failed", result.error or "the model failed")
    media.begin()
    with tempfile.TemporaryDirectory(prefix="moodreel-overlay-") as folder:
        path = Path(folder) / "overlay.gif"
        write_overlay(result, path, media)
        return path.read_bytes()
