"""A block of inputs, read by one recogniser and written as one part.

The part's name follows from the block alone: who reads a block again writes over what the first one wrote.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import groupby, islice
from typing import Any

from moodreel.errors import MediaError, MoodreelError
from moodreel.runtime.batch import Input, Key
from moodreel.runtime.parts import Entry, Folder, RunSettings, Stamp, write_part
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.stores import is_url, read_url, try_often
from moodreel.runtime.table import make_row
from moodreel.types import Result

REMOTE_BYTES = 256 * 2**20
"""Largest remote file that is read: each is held in memory whole."""

FETCHERS = 8
"""Remote files of an actor that are fetched at once."""


@dataclass(frozen=True)
class Block:
    """Inputs that one actor reads at once; their keys ascend.

    Attributes:
        number: of its part.
        inputs: with the stamps of their listing.
    """

    number: int
    inputs: tuple[tuple[Input, Stamp], ...]

    @property
    def mark(self) -> str:
        """What keeps its part apart from others of the same number: the same for the same inputs."""
        text = repr([(entry.key, stamp) for entry, stamp in self.inputs])
        return hashlib.blake2b(text.encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()

    def to_json(self) -> str:
        """As a text for another process."""
        inputs = [(*entry, stamp.size, stamp.mtime_ns) for entry, stamp in self.inputs]  # a key is a tuple
        return json.dumps([self.number, inputs])

    @classmethod
    def from_json(cls, text: str) -> Block:
        """What :meth:`to_json` wrote."""
        number, inputs = json.loads(text)
        return cls(
            number,
            tuple(
                (Input(path, relative, Key(*key), closed), Stamp(size, mtime_ns))
                for path, relative, key, closed, size, mtime_ns in inputs
            ),
        )

    def cut(self, pieces: int) -> list[tuple[tuple[Input, Stamp], ...]]:
        """Its inputs in at most so many pieces of like size."""
        size = -(-len(self.inputs) // pieces)
        return [self.inputs[i : i + size] for i in range(0, len(self.inputs), size)]


@dataclass(frozen=True)
class Work:
    """What an actor needs to know of a run.

    Attributes:
        load: makes the recogniser, in the actor's own process.
        settings: of the run.
        folder: of the parts.
        here: working folder of the driver, where relative paths begin.
    """

    load: Callable[[], Recognizer]
    settings: RunSettings
    folder: Folder
    here: str


def read_block(recognizer: Recognizer, inputs: Sequence[tuple[Input, Stamp]], work: Work) -> list[Entry]:
    """Reads inputs: an entry each, in their order. A bad one is a row with its reason."""
    options = {"per_frame": work.settings.per_frame, "abstain": work.settings.abstain, "workers": 1}
    columns = work.settings.columns()
    entries = []
    for is_remote, members in groupby(inputs, lambda pair: is_url(pair[0].path)):
        run = list(members)
        read = _read_remote if is_remote else _read_local
        for (entry, stamp), results in zip(run, read(recognizer, run, work, options), strict=True):
            rows = [make_row(replace(result, source=entry.path), columns) for result in results]
            entries.append(Entry(entry.key, stamp, rows))
    return entries


def _read_local(
    recognizer: Recognizer, inputs: Sequence[tuple[Input, Stamp]], work: Work, options: dict[str, Any]
) -> Iterator[list[Result]]:
    places = [os.path.join(work.here, entry.path) for entry, _ in inputs]  # noqa: PTH118 ("./" stays)
    results = recognizer.map(places, **options)
    for place, (source, group) in zip(places, groupby(results, lambda result: result.source), strict=True):
        if source != place:
            raise RuntimeError(f"a row of {source!r}, where {place!r} was next")
        yield list(group)


def _read_remote(
    recognizer: Recognizer, inputs: Sequence[tuple[Input, Stamp]], work: Work, options: dict[str, Any]
) -> Iterator[list[Result]]:
    info = recognizer.info
    limit = min(recognizer.limits.file_bytes, REMOTE_BYTES)
    waiting: deque[MediaError | None] = deque()

    def contents() -> Iterator[bytes]:
        for content in _fetch(inputs, limit):
            waiting.append(content if isinstance(content, MediaError) else None)
            if not isinstance(content, MediaError):
                yield content

    def fail(error: MediaError) -> list[Result]:
        return [Result("", info.name, info.version, error=error.reason)]

    if recognizer.every_face:  # bytes have no name: rows of two inputs could not be told apart
        for content in _fetch(inputs, limit):
            if isinstance(content, MediaError):
                yield fail(content)
            else:
                yield list(recognizer.map([content], **options))
        return
    for result in recognizer.map(contents(), **options):
        while (error := waiting.popleft()) is not None:
            yield fail(error)
        yield [result]
    yield from (fail(error) for error in waiting if error is not None)


def _fetch(inputs: Sequence[tuple[Input, Stamp]], limit: int) -> Iterator[bytes | MediaError]:
    """Contents of remote files in their order, a few ahead."""

    def fetch(entry: Input, stamp: Stamp) -> bytes | MediaError:
        try:
            return read_url(entry.path, stamp.size, limit)
        except MediaError as error:
            return error
        except MoodreelError as error:
            return MediaError(entry.path, str(error))

    rest = iter(inputs)
    ahead: deque[Future[bytes | MediaError]] = deque()
    with ThreadPoolExecutor(FETCHERS, thread_name_prefix="moodreel-fetch") as pool:
        try:
            while True:
                ahead.extend(pool.submit(fetch, *pair) for pair in islice(rest, FETCHERS - len(ahead)))
                if not ahead:
                    return
                yield ahead.popleft().result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def write_block(folder: Folder, block: Block, entries: Sequence[Entry], settings: RunSettings) -> None:
    """Writes a block's part, under a name that the same block always has."""
    try_often(lambda: write_part(folder, block.number, entries, settings, completes=False, mark=block.mark))


def hash_bundle(recognizer: Recognizer) -> str:
    """What tells the bundle of a run from another: sha256 of its ``bundle.json``, which has the networks'."""
    return hashlib.sha256(recognizer.info.to_json().encode()).hexdigest()
