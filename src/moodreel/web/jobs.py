"""Jobs of the page Look: one clip through several models, while the page asks how far it is.

First the clip is drawn small for the player, then each model reads it; the upload is deleted after the last.
What came out waits in memory for a while, bounded in all.
"""

from __future__ import annotations

import asyncio
import io
import json
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

import numpy as np
from PIL import Image

from moodreel.media import Media
from moodreel.media.pool import DecoderPool
from moodreel.report.overlay import OverlaySettings, Plan, fit_size, plan_frames
from moodreel.types import UInt8Array
from moodreel.web.pool import Pool
from moodreel.web.problems import Problem, busy, explain_error
from moodreel.web.reading import (
    LARGE_BYTES,
    Served,
    Watch,
    WatchedMedia,
    describe,
    is_long,
    list_boxes,
    open_clip,
    try_read,
)
from moodreel.web.settings import WebSettings
from moodreel.web.uploads import Intake, Upload

T = TypeVar("T")

PREVIEW = OverlaySettings(side=420, seconds=3600, frames=240)
"""Of the pictures in the player."""

QUALITY = 72
"""Of their WebP."""

MOST_JOBS = 64


@dataclass(eq=False)
class Job:
    """One clip on its way.

    Attributes:
        id: nobody can guess it.
        models: that read it, in order.
        upload: its file, until it is read.
        watch: of its work.
        state: ``waiting``, ``working``, ``done`` or ``failed``.
        step: what is being done: ``open``, ``draw`` or a model's name.
        problem: why it failed.
        preview: what the player needs; ``frames`` has the pictures, one WebP after another.
        results: model -> JSON of what :func:`moodreel.web.reading.describe` gives, and ``html``.
        touched: when it was last asked for.
    """

    id: str
    models: Sequence[Served]
    upload: Upload
    watch: Watch
    is_drawn: bool
    state: str = "waiting"
    step: str = "open"
    problem: Problem | None = None
    preview: dict[str, Any] | None = None
    frames: bytes = b""
    results: dict[str, bytes] = field(default_factory=dict)
    touched: float = field(default_factory=time.monotonic)

    @property
    def is_over(self) -> bool:
        """Whether nothing more will come."""
        return self.state in ("done", "failed")

    @property
    def size(self) -> int:
        """Bytes it holds in memory."""
        return len(self.frames) + sum(map(len, self.results.values()))

    def tell(self) -> dict[str, Any]:
        """Its state, as JSON."""
        told: dict[str, Any] = {
            "id": self.id,
            "state": self.state,
            "step": self.step,
            "progress": round(self.watch.progress, 4),
            "preview": self.preview,
            "models": [served.info.name for served in self.models],
            "results": list(self.results),
        }
        if self.problem is not None:
            told |= {"error": self.problem.error, "reason": self.problem.reason}
        return told


class Jobs:
    """All jobs of a server.

    Args:
        settings: limits.
        pool: does the work.
        decoders: one for each of its threads.
        intake: deletes uploads.
        render: what makes HTML of a result.
    """

    def __init__(
        self,
        settings: WebSettings,
        pool: Pool,
        decoders: DecoderPool,
        intake: Intake,
        render: Callable[[Any, Served], str],
    ) -> None:
        self._settings, self._pool, self._decoders = settings, pool, decoders
        self._intake, self._render = intake, render
        self._jobs: dict[str, Job] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, upload: Upload, models: Sequence[Served], is_drawn: bool) -> Job:
        """Begins a job; from now on the upload is its own.

        Raises:
            Problem: there are too many (503).
        """
        self.sweep()
        if sum(not job.is_over for job in self._jobs.values()) >= MOST_JOBS:
            raise busy(f"{MOST_JOBS} clips are being read or wait for it")
        watch = Watch()
        job = Job(secrets.token_urlsafe(16), models, upload, watch, is_drawn)
        self._jobs[job.id] = job
        task = asyncio.create_task(self._run(job))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return job

    def find(self, key: str) -> Job:
        """The job of an id.

        Raises:
            Problem: there is none, or no longer (404).
        """
        job = self._jobs.get(key)
        if job is None:
            raise Problem(404, "no_job", "no such job; results are kept for a short time only")
        job.touched = time.monotonic()
        return job

    def drop(self, key: str) -> None:
        """Forgets a job, and ends its work."""
        if job := self._jobs.pop(key, None):
            job.watch.cancel()

    def sweep(self) -> None:
        """Forgets what nobody asked for in a while, and the oldest where they are too much together."""
        now = time.monotonic()
        for job in list(self._jobs.values()):
            if now - job.touched > self._settings.job_seconds:
                self.drop(job.id)
        over = [job for job in self._jobs.values() if job.is_over]
        size = sum(job.size for job in over)
        for job in sorted(over, key=lambda job: job.touched):
            if size <= self._settings.jobs_bytes and len(over) <= MOST_JOBS:
                break
            size -= job.size
            over.remove(job)
            self.drop(job.id)

    async def close(self) -> None:
        """Ends all work."""
        for key in list(self._jobs):
            self.drop(key)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _run(self, job: Job) -> None:
        try:
            await self._work(job)
            job.state = "done"
        except Exception as error:
            job.state, job.problem = "failed", explain_error(error)
        finally:
            self._intake.release(job.upload)
            job.touched = time.monotonic()

    async def _work(self, job: Job) -> None:
        media = await run(self._pool, partial(self._begin, job), job.upload.size > LARGE_BYTES)
        plan = plan_frames(media, PREVIEW)
        if job.is_drawn:
            job.step = "draw"
            await run(self._pool, lambda: self._draw(job, media, plan), is_long(media, None))
        for served in job.models:
            job.step, job.watch.progress = served.info.name, 0.0
            work = partial(self._read, job, media, plan, served)
            job.results[served.info.name] = await run(self._pool, work, is_long(media, served.info.system))

    def _begin(self, job: Job) -> WatchedMedia:
        media = open_clip(job.upload.path, job.upload.name, self._decoders, job.watch)
        job.state = "working"
        return media

    def _draw(self, job: Job, media: WatchedMedia, plan: Plan) -> None:
        media.begin()
        job.frames, job.preview = draw_preview(media, plan)

    def _read(self, job: Job, media: WatchedMedia, plan: Plan, served: Served) -> bytes:
        result = try_read(served, media)
        told = {
            **describe(result, served.info),
            "frame_boxes": list_boxes(result, media, plan) if result.ok else None,
            "html": self._render(result, served),
        }
        return json.dumps(told, ensure_ascii=False, allow_nan=False).encode()


async def run(pool: Pool, work: Callable[[], T], is_long: bool) -> T:
    """Runs work in the pool and waits for it; what is no longer waited for is not begun."""
    return await asyncio.wrap_future(pool.submit(work, is_long))


def draw_preview(media: Media, plan: Plan) -> tuple[bytes, dict[str, Any]]:
    """The pictures of a player: WebP files one after another, and their sizes and times.

    Args:
        media: opened.
        plan: which pictures.

    Raises:
        MediaError: the content is broken.
    """
    height, width, factor = fit_size(media.height, media.width, PREVIEW.side or media.width)
    out, sizes = io.BytesIO(), []
    for _, frame in media.read_resized(plan.indices, (height, width)):
        before = out.tell()
        _enlarge(frame, factor).save(out, "WEBP", quality=QUALITY, method=0)
        sizes.append(out.tell() - before)
    facts = {
        "width": width * factor,
        "height": height * factor,
        "source_width": media.width,
        "source_height": media.height,
        "starts_s": [round(float(start), 5) for start in plan.starts],
        "durations_s": [round(float(duration), 5) for duration in plan.durations],
        "duration_s": round(plan.total, 5),
        "frames": len(media),
        "indices": plan.indices,
        "sizes": sizes,
        "note": plan.note,
    }
    return out.getvalue(), facts


def _enlarge(frame: UInt8Array, factor: int) -> Image.Image:
    return Image.fromarray(
        np.repeat(np.repeat(frame, factor, axis=0), factor, axis=1) if factor > 1 else frame
    )
