"""Many clips to keypoint files: one file a clip, one row an input."""

from __future__ import annotations

import hashlib
import math
import multiprocessing
import os
import signal
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial
from multiprocessing.util import Finalize
from pathlib import Path
from typing import TypeAlias

from moodreel.errors import MoodreelError, SettingsError
from moodreel.faces.detect import Detector, DetectorSettings, choose_detector, open_detector
from moodreel.faces.openpose import format_faces
from moodreel.faces.track import DEFAULT, TrackSettings, find_faces
from moodreel.media import Limits, Media, open_media
from moodreel.media.base import NoDecoderError
from moodreel.media.pool import DecoderPool
from moodreel.runtime.files import replace_file

_Job: TypeAlias = tuple[str, Path]

CRASHED = "looking for faces in it crashed the process that did"
"""Why there is no file of a clip that a detector did not survive."""


@dataclass(frozen=True)
class KeypointRow:
    """What came of one input.

    Attributes:
        source: the input as the caller named it.
        error: None, or one line on what went wrong; then there is no file, and the rest is None.
        file: what was written.
        frames: pictures that were looked at.
        found: of those, how many show a face.
        faces: different faces, as far as they could be followed.
    """

    source: str
    error: str | None = None
    file: Path | None = None
    frames: int | None = None
    found: int | None = None
    faces: int | None = None


def name_files(paths: Sequence[str]) -> list[str]:
    """The file of each input: its own name with ``.json``; where several share one, eight digits of the path
    too.

    Names that differ only in case count as shared, as some file systems see it.
    """
    stems = [Path(path).stem or "clip" for path in paths]
    shared = Counter(stem.casefold() for stem in stems)
    return [
        f"{stem}.json" if shared[stem.casefold()] == 1 else f"{stem}-{_digest(path)}.json"
        for stem, path in zip(stems, paths, strict=True)
    ]


def write_keypoints(
    paths: Sequence[str],
    out: Path,
    detector: DetectorSettings,
    fps: float | None = None,
    tracking: TrackSettings = DEFAULT,
    workers: int = 1,
    limits: Limits | None = None,
    isolate: bool = False,
) -> Generator[KeypointRow, None, None]:
    """Finds the faces of clips and writes a file a clip. A clip that cannot be read is a row with the reason.

    So is one that a detector crashes on, where there are several processes.

    Args:
        paths: inputs.
        out: folder; it must exist. A file of an older run is replaced when its clip is done.
        detector: who finds them; what it leaves open is settled once, here.
        fps: as in :func:`moodreel.faces.track.find_faces`.
        tracking: how faces are joined along time.
        workers: processes, each with a detector of its own; 1 works in this one.
        limits: of each input; None for the defaults.
        isolate: whether files are decoded in processes of their own, one for each worker: a decoder that
            crashes, hangs or takes all memory then costs a row.

    Returns:
        An iterator over the rows, in the order of the inputs.

    Raises:
        MissingExtra: the detector is not installed.
        BundleError: its model is not there, or wrong.
        SettingsError: fps or workers are not allowed.
        NoDecoderError: while iterating, with ``isolate``: no process can be started.
    """
    if workers < 1:
        raise SettingsError("workers", workers, "at least 1")
    if fps is not None and not (math.isfinite(fps) and fps > 0):
        raise SettingsError("fps", fps, "frames a second, finite and > 0")
    chosen = choose_detector(detector)
    jobs = [(path, out / name) for path, name in zip(paths, name_files(paths), strict=True)]
    workers = min(workers, len(jobs))
    stack = ExitStack()
    bounds = limits or Limits()
    own = stack.enter_context(open_detector(chosen))
    if workers <= 1:
        return _write_all(jobs, own, stack, fps, tracking, bounds, isolate)
    stack.close()  # it was opened all the same: what is wrong with it is said here, not by a broken pool
    work = partial(_write_there, settings=chosen, fps=fps, tracking=tracking, limits=bounds, isolate=isolate)
    return _share(jobs, work, workers)


def _write_all(
    jobs: Sequence[_Job],
    detector: Detector,
    stack: ExitStack,
    fps: float | None,
    tracking: TrackSettings,
    limits: Limits,
    isolate: bool,
) -> Generator[KeypointRow, None, None]:
    with stack:
        decoders = stack.enter_context(DecoderPool(limits, 1)) if isolate else None
        for job in jobs:
            yield _write(job, detector, fps, tracking, limits, decoders)


def _share(
    jobs: Sequence[_Job], work: Callable[[_Job], KeypointRow], workers: int
) -> Generator[KeypointRow, None, None]:
    """The rows of all jobs, in order, by several processes; a job that ends its process costs its row."""
    rows: dict[int, KeypointRow] = {}  # done before those in front of them
    given = 0
    while given < len(jobs):
        left = [k for k in range(given, len(jobs)) if k not in rows]
        with _open_workers(min(workers, len(left))) as pool:
            futures: dict[int, Future[KeypointRow]] = {}
            try:
                for k in left:
                    futures[k] = pool.submit(work, jobs[k])
            except BrokenProcessPool:  # already
                pass
            for k, future in futures.items():
                try:
                    rows[k] = future.result()
                except BrokenProcessPool:  # those behind it may be done
                    continue
                while given in rows:
                    yield rows.pop(given)
                    given += 1
        # Where a process died, nobody knows at which job; those that were being done are the first left.
        for k in [k for k in left if k >= given and k not in rows][: 2 * workers]:
            rows[k] = _try_alone(jobs[k], work)
            if rows[k].error == CRASHED:
                break
        while given in rows:
            yield rows.pop(given)
            given += 1


def _try_alone(job: _Job, work: Callable[[_Job], KeypointRow]) -> KeypointRow:
    """A job in a process of its own."""
    with _open_workers(1) as pool:
        try:
            return pool.submit(work, job).result()
        except BrokenProcessPool:
            return KeypointRow(job[0], CRASHED)


@contextmanager
def _open_workers(workers: int) -> Iterator[ProcessPoolExecutor]:
    # Spawned: detectors have threads, which do not survive a fork.
    others = multiprocessing.active_children()
    pool = ProcessPoolExecutor(workers, multiprocessing.get_context("spawn"), _end_on_interrupts)
    try:
        yield pool
    except BaseException:  # nobody waits for the clips that are being looked at
        for process in multiprocessing.active_children():
            if process not in others:
                process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _end_on_interrupts() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # without a traceback a worker


@lru_cache(maxsize=1)
def _open_once(
    settings: DetectorSettings, limits: Limits, isolate: bool
) -> tuple[Detector, DecoderPool | None]:
    stack = ExitStack()
    detector = stack.enter_context(open_detector(settings))
    decoders = stack.enter_context(DecoderPool(limits, 1)) if isolate else None
    Finalize(None, stack.close, exitpriority=1)  # when the worker ends, before its threads do
    return detector, decoders


def _write_there(
    job: _Job,
    settings: DetectorSettings,
    fps: float | None,
    tracking: TrackSettings,
    limits: Limits,
    isolate: bool,
) -> KeypointRow:
    """As :func:`_write`, in a worker."""
    detector, decoders = _open_once(settings, limits, isolate)
    return _write(job, detector, fps, tracking, limits, decoders)


def _write(
    job: _Job,
    detector: Detector,
    fps: float | None,
    tracking: TrackSettings,
    limits: Limits,
    decoders: DecoderPool | None,
) -> KeypointRow:
    source, file = job
    try:
        with _opened(source, limits, decoders) as media:
            clip = find_faces(media, detector, fps, tracking)
        with replace_file(file) as stream:
            stream.write(format_faces(clip))
    except NoDecoderError:  # no fault of the clip
        raise
    except (MoodreelError, OSError) as error:
        return KeypointRow(source, " ".join(str(getattr(error, "reason", error)).split()))
    except Exception as error:  # one clip among thousands, which a detector chokes on, must not end the run
        return KeypointRow(source, " ".join(f"{type(error).__name__}: {error}".split()))
    return KeypointRow(source, None, file, len(clip.frames), clip.found, len(clip.tracks))


@contextmanager
def _opened(source: str, limits: Limits, decoders: DecoderPool | None) -> Iterator[Media]:
    if decoders is None:
        yield open_media(source, limits)
    else:
        with decoders.opened(source) as media:
            yield media


def _digest(path: str) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:8]
