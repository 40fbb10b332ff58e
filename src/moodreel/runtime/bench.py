"""Where the time of a prediction goes: each stage on its own, beside the least it could take.

A stage's floor is what the machine cannot go below: for the network its operations over the measured rate of
a large matrix product in the same precision, for the others the bytes they must touch over the measured rate
of a copy in memory. Decompression and resizing do much more than copy, so their ratios are no promise.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import numpy as np

from moodreel.errors import MediaError, require
from moodreel.media import frames_nearest, frames_showing, open_media
from moodreel.media.base import resize
from moodreel.runtime.engine import Engine
from moodreel.runtime.frame_reader import FrameReader, choose_times
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.scene_reader import SceneEngine
from moodreel.runtime.schema import BundleInfo
from moodreel.runtime.table import list_columns, make_row, open_table
from moodreel.types import Result, Sample

BATCH = 8
"""Clips that go through the network together, as :meth:`Recognizer.map` has it."""

Clock = Callable[[], float]


@dataclass(frozen=True)
class Stage:
    """One stage of the way from files to a table.

    Attributes:
        name: ``open``, ``decode``, ``resize``, ``network``, ``post``, ``write``; a system that looks for
            faces has ``look`` in place of decode and resize.
        seconds: of all inputs, one a repeat.
        floor: seconds it cannot go below on this machine; None where none is known.
    """

    name: str
    seconds: tuple[float, ...]
    floor: float | None = None

    @property
    def median(self) -> float:
        """Seconds of all inputs: the median over repeats."""
        return statistics.median(self.seconds)


@dataclass(frozen=True)
class Stages:
    """What :func:`measure_stages` found.

    Attributes:
        inputs: clips that were read.
        left_out: inputs that cannot be read.
        frames: frames that were decoded for them, and resized.
        flops: operations of the network on all inputs; None where nobody counted them.
        stages: in the order of the way.
        whole: seconds from all files to all Results, with decoders beside the network; one a repeat.
    """

    inputs: int
    left_out: int
    frames: int
    flops: int | None
    stages: tuple[Stage, ...]
    whole: tuple[float, ...]


@dataclass
class _Timed:
    """An engine that counts the seconds spent in it, and the rows that went through."""

    engine: Any
    clock: Clock
    seconds: float = 0.0
    rows: dict[str, int] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.engine, name)
        if not callable(method):
            return method

        def run(*arrays: Any) -> Any:
            begin = self.clock()
            try:
                return method(*arrays)
            finally:
                self.seconds += self.clock() - begin
                self.rows[name] = self.rows.get(name, 0) + len(arrays[0])

        return run


@dataclass
class _Counts:
    """Bytes and frames of one pass over the inputs."""

    opened: int = 0
    decoded: int = 0
    resized: int = 0
    frames: int = 0


def measure_stages(
    info: BundleInfo,
    engine: Engine | SceneEngine,
    paths: Sequence[str],
    *,
    repeats: int = 5,
    workers: int = 2,
    flops: Mapping[str, int] | None = None,
    matrix_rate: float | None = None,
    copy_rate: float | None = None,
    clock: Clock = time.perf_counter,
) -> Stages:
    """Reads the same inputs several times and times each stage; one pass before is not counted.

    Args:
        info: of a bundle of any system.
        engine: its network.
        paths: files.
        repeats: passes.
        workers: threads that decode, for ``whole``.
        flops: graph -> operations of one row, as in ``bundle.json``.
        matrix_rate: operations a second, for the network's floor.
        copy_rate: bytes a second, for the other floors.
        clock: seconds.

    Raises:
        SettingsError: ``repeats`` is below 1, or no input can be read.
        BundleError: the network fails.
    """
    require(repeats >= 1, "repeats", repeats, "at least 1")
    recognizer = Recognizer(info, engine)
    readable = [path for path in paths if _can_read(recognizer, path)]
    require(bool(readable), "paths", list(paths[:3]), "at least one file that can be read")
    timed = _Timed(engine, clock)
    twin = Recognizer(info, cast(Engine, timed))
    reader = twin._reader
    passes: list[dict[str, float]] = []
    whole: list[float] = []
    counts = _Counts()
    for turn in range(repeats + 1):
        timed.seconds, timed.rows, counts = 0.0, {}, _Counts()
        spent: dict[str, float] = {}
        samples: list[Sample] = []
        for path in readable:
            if isinstance(reader, FrameReader):
                samples.append(_read(reader, path, twin, spent, counts, clock))
            else:
                samples += _look(twin, path, timed, spent, clock)
        results: list[Result] = []
        before, begin = timed.seconds, clock()
        for start in range(0, len(samples), BATCH):
            results += twin._score(samples[start : start + BATCH], False, None)
        spent["post"] = clock() - begin - (timed.seconds - before)
        spent["network"] = timed.seconds
        begin = clock()
        _write(results, info.system)
        spent["write"] = clock() - begin
        begin = clock()
        for _ in recognizer.map(readable, workers=workers, batch=BATCH):
            pass
        if turn:
            whole.append(clock() - begin)
            passes.append(spent)
    work = _count_work(flops, timed.rows)
    floors: dict[str, float | None] = {}
    if copy_rate and counts.frames:
        floors = {
            "open": counts.opened / copy_rate,
            "decode": counts.decoded / copy_rate,
            "resize": counts.resized / copy_rate,
        }
    if work and matrix_rate:
        floors["network"] = work / matrix_rate
    names = [
        name for name in ("open", "decode", "resize", "look", "network", "post", "write") if name in passes[0]
    ]
    return Stages(
        inputs=len(readable),
        left_out=len(paths) - len(readable),
        frames=counts.frames,
        flops=work,
        stages=tuple(Stage(name, tuple(p[name] for p in passes), floors.get(name)) for name in names),
        whole=tuple(whole),
    )


def _can_read(recognizer: Recognizer, path: str) -> bool:
    try:
        media = open_media(path, recognizer.limits)
        return all(True for _ in media.read([len(media) - 1]))
    except MediaError:
        return False


def _read(
    reader: FrameReader, path: str, twin: Recognizer, spent: dict[str, float], counts: _Counts, clock: Clock
) -> Sample:
    """As ``sample_clip``, with a clock between its steps."""
    spec = reader.info.input
    begin = clock()
    media = open_media(path, twin.limits)
    opened = clock()
    times, pick = choose_times(reader.info.sampling, media.duration)
    starts = media.timeline.starts
    indices = (frames_showing if pick == "showing" else frames_nearest)(starts, times)
    found: dict[int, Any] = {}
    resizing = 0.0
    for index, picture in media.read_pictures(sorted(set(indices.tolist()))):
        ready = clock()
        found[index] = resize(picture, (spec.height, spec.width))
        resizing += clock() - ready
    frames = np.stack([found[index] for index in indices.tolist()])
    ended = clock()
    _add(spent, "open", opened - begin)
    _add(spent, "decode", ended - opened - resizing)
    _add(spent, "resize", resizing)
    picture_bytes = media.width * media.height * 3
    counts.opened += Path(path).stat().st_size if Path(path).is_file() else 0
    counts.decoded += len(found) * picture_bytes
    counts.resized += len(found) * (picture_bytes + spec.height * spec.width * 3)
    counts.frames += len(found)
    return Sample(frames, times, media.width, media.height, len(media), media.duration, media.source)


def _look(
    twin: Recognizer, path: str, timed: _Timed, spent: dict[str, float], clock: Clock
) -> Sequence[Sample]:
    """A reader that finds faces and runs networks while it decodes: what is not the network is ``look``."""
    begin = clock()
    open_media(path, twin.limits)
    opened = clock()
    before = timed.seconds
    samples = twin._reader.sample(path, twin.limits)
    _add(spent, "open", opened - begin)
    _add(spent, "look", clock() - opened - (timed.seconds - before))
    return samples


def _add(spent: dict[str, float], name: str, seconds: float) -> None:
    spent[name] = spent.get(name, 0.0) + seconds


def _write(results: Sequence[Result], system: str) -> None:
    columns = list_columns(system, False)
    with (
        tempfile.TemporaryDirectory() as folder,
        open_table(Path(folder) / "table.parquet", columns, {}) as table,
    ):
        for result in results:
            table.write(make_row(result, columns))


def _count_work(flops: Mapping[str, int] | None, rows: Mapping[str, int]) -> int | None:
    """Operations of one pass; None where not every network's are known."""
    graphs = {"run": "model.onnx", "read_faces": "face.onnx", "read_context": "context.onnx"}
    counted = {name: rows[name] for name in graphs if name in rows}
    if not flops or not counted or any(graphs[name] not in flops for name in counted):
        return None
    return sum(count * flops[graphs[name]] for name, count in counted.items())
