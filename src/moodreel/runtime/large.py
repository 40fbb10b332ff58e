"""A run over a folder of any size: what is to be read, what is done, and where it is written.

Inputs and the rows of earlier passes both come as streams in the order of the inputs, and are joined as
they come: nothing is held for each input. :mod:`moodreel.runtime.parts` says why a kill does no harm.
"""

from __future__ import annotations

import hashlib
import os
import re
import stat
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from moodreel.errors import DataError, SettingsError
from moodreel.runtime.batch import Input, Key
from moodreel.runtime.parts import (
    PART_NAME,
    SHARD_NAME,
    Entry,
    Folder,
    Part,
    RunSettings,
    Stamp,
    list_parts,
    read_entries,
    write_part,
)
from moodreel.runtime.table import make_row
from moodreel.types import Result

PART_ROWS = 1024
"""Rows from which on a part is written."""

PART_SECONDS = 30.0
"""Age of the oldest row that is not written yet from which on a part is written: what a kill may cost."""


def parse_shard(text: str) -> tuple[int, int]:
    """Reads ``i/n``: shard i of n, counted from 1.

    Raises:
        SettingsError: it is not that.
    """
    match = re.fullmatch(r"([1-9]\d{0,5})/([1-9]\d{0,5})", text)
    if match is None or int(match[1]) > int(match[2]):
        raise SettingsError("shard", text, "i/n with i from 1 to n")
    return int(match[1]), int(match[2])


def find_shard(relative: str, shards: int) -> int:
    """The shard of an input, counted from 1: a hash of its path, the same on every machine.

    Args:
        relative: path inside the folder that was named, with ``/``.
        shards: how many there are.
    """
    digest = hashlib.blake2b(os.fsencode(relative), digest_size=8).digest()
    return int.from_bytes(digest, "big") % shards + 1


@dataclass
class RunCounts:
    """How a pass over the inputs went, so far.

    Attributes:
        met: inputs of any shard.
        done: inputs of this shard that are through: read or kept.
        kept: of these, inputs whose rows of an earlier pass hold.
        failed: of these, inputs with an error.
        failed_before: of these, kept.
        gone: inputs of earlier passes that are no longer there.
        parts: written.
    """

    met: int = 0
    done: int = 0
    kept: int = 0
    failed: int = 0
    failed_before: int = 0
    gone: int = 0
    parts: int = 0


@contextmanager
def open_run(out: Folder, settings: RunSettings, resume: bool) -> Iterator[RunFolder]:
    """Opens the folder of a run for writing: ``out``, or with several shards the shard's folder inside it.

    Args:
        out: its parent must exist.
        settings: of the run.
        resume: goes on with a run that is there; without it the folder must have none.

    Raises:
        DataError: there is a run and ``resume`` was not asked for, or it has other settings, is of another
            version, or another process is at work in it.
        OSError: the folder cannot be written.
    """
    _check_neighbours(out, settings)
    folder = out if settings.shards == 1 else out / f"shard-{settings.shard}-of-{settings.shards}"
    made = [path for path in (out, folder) if not path.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with _locked(folder):
            parts = list_parts(folder)
            if parts and not resume:
                raise DataError(f"{folder}: has a run already: --resume goes on with it")
            if parts and (difference := settings.find_difference(parts[0].settings)):
                raise DataError(f"{folder}: begun with {difference}")
            for left in folder.glob(".part-*.tmp") if isinstance(folder, Path) else ():
                left.unlink()  # of a pass that was killed
            yield RunFolder(folder, settings, parts)
    finally:
        for path in reversed(made):
            with suppress(OSError):  # goes only where nothing was written
                path.rmdir()


def _check_neighbours(out: Folder, settings: RunSettings) -> None:
    """Refuses to mix a run with shards, or shards of different numbers, in one folder."""
    if not out.is_dir():
        return
    inside: list[Folder] = sorted(out.iterdir(), key=str)
    for path in inside:
        if match := SHARD_NAME.fullmatch(path.name):
            if int(match[2]) != settings.shards:
                raise DataError(f"{out}: begun with shards = {match[2]}, here {settings.shards}")
        elif settings.shards > 1 and PART_NAME.fullmatch(path.name):
            raise DataError(f"{out}: begun with shards = 1, here {settings.shards}")


@contextmanager
def _locked(folder: Folder) -> Iterator[None]:
    """Keeps a second process out; the system takes the lock back however it ends.

    Stores have none, nor has Windows for folders: names of parts do not collide, only work is doubled.
    """
    try:
        import fcntl
    except ImportError:
        fcntl = None  # type: ignore[assignment]
    if fcntl is None or not isinstance(folder, Path):
        yield
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise DataError(f"{folder}: another process is at work in it") from None
        except OSError:  # a file system without locks
            pass
        yield
    finally:
        os.close(handle)


class RunFolder:
    """One pass over the inputs of a run, under its lock (:func:`open_run`).

    Args:
        folder: of the parts.
        settings: of the run.
        parts: of earlier passes.
        clock: seconds.

    Attributes:
        counts: how it goes.
        number: of the newest part.
    """

    def __init__(
        self,
        folder: Folder,
        settings: RunSettings,
        parts: Sequence[Part],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.folder, self.settings, self._parts, self._clock = folder, settings, parts, clock
        self.counts = RunCounts()
        self.number = self._parts[-1].number if self._parts else 0
        self._columns = settings.columns()
        self._waiting: deque[Entry | tuple[Input, Stamp]] = deque()  # in order: gone, or given to be read
        self._ready: list[Entry] = []
        self._ready_rows = 0
        self._since = 0.0

    def choose(self, inputs: Iterable[Input], retry_failed: bool = False) -> Iterator[str]:
        """Yields the paths that must be read: new, changed, or failed where that was asked for.

        Args:
            inputs: all of them, of every shard; keys ascending.
            retry_failed: whether failed inputs that have not changed are read again.
        """
        for chosen in self.compare(inputs, retry_failed):
            self._waiting.append(chosen)
            if not isinstance(chosen, Entry):
                yield chosen[0].path

    def compare(
        self,
        inputs: Iterable[Input],
        retry_failed: bool = False,
        stamp: Callable[[Input], Stamp] | None = None,
    ) -> Iterator[Entry | tuple[Input, Stamp]]:
        """What must be read, and entries of what is gone, in the order of the inputs; counts the rest.

        Args:
            inputs, retry_failed: as in :meth:`choose`.
            stamp: size and time of change of the input that was taken last; None looks at its file.
        """
        counts, shards = self.counts, self.settings.shards
        entries = (entry for entry in read_entries(self._parts, ()) if not entry.is_gone)
        entry = next(entries, None)
        before = cover = None
        for found in inputs:
            if before is not None and found.key <= before:
                raise RuntimeError(f"{found.path!r} is out of order")
            before = found.key
            counts.met += 1
            if found.closed:
                cover = found.key
            if shards > 1 and find_shard(found.relative, shards) != self.settings.shard:
                continue
            while entry is not None and entry.key < found.key:
                yield from _bury(entry, cover)
                entry = next(entries, None)
            now = take_stamp(found.path) if stamp is None else stamp(found)
            known = None
            if entry is not None and entry.key == found.key:
                known, entry = entry, next(entries, None)
            failed = known is not None and known.failed
            if known is None or known.stamp != now or (failed and retry_failed):
                yield found, now
            else:
                counts.done += 1
                counts.kept += 1
                counts.failed += failed
                counts.failed_before += failed
        while entry is not None and counts.met:  # without any input a disk is missing rather than all files
            yield from _bury(entry, cover)
            entry = next(entries, None)

    def record(self, results: Iterable[Result]) -> Iterator[Result]:
        """Writes the rows of what :meth:`choose` yielded, part by part; yields the results that came.

        However this ends, interrupted too, the inputs whose rows are complete are written.

        Args:
            results: those of one input (one, or one a face) after another, in the order in which they were
                chosen.
        """
        rows: list[Result] = []
        try:
            for result in results:
                if rows and rows[0].source != result.source:
                    group, rows = rows, []
                    self._finish(group)
                rows.append(result)
                yield result
            if rows:
                group, rows = rows, []
                self._finish(group)
            while self._waiting:
                self._pass_gone()
        except BaseException:
            with suppress(OSError):  # a full disk, say, which is what has been raised
                self._write(completes=False)
            raise
        if self.counts.met and (self._ready or not self.is_told):
            self._write(completes=True)

    @property
    def is_told(self) -> bool:
        """Whether the newest part says that all inputs had been passed."""
        return not self.counts.parts and bool(self._parts) and self._parts[-1].completes

    def _finish(self, results: Sequence[Result]) -> None:
        """Takes in all rows of one input."""
        while isinstance(self._waiting[0], Entry):
            self._pass_gone()
        found, stamp = self._waiting[0]
        if found.path != results[0].source:
            raise RuntimeError(f"a row of {results[0].source!r}, where {found.path!r} was next")
        self._waiting.popleft()
        entry = Entry(found.key, stamp, [make_row(result, self._columns) for result in results])
        self.counts.done += 1
        self.counts.failed += entry.failed
        self._add(entry)

    def _pass_gone(self) -> None:
        entry = self._waiting.popleft()
        if not isinstance(entry, Entry):
            raise RuntimeError(f"no row of {entry[0].path!r}")
        self.counts.gone += 1
        self._add(entry)

    def _add(self, entry: Entry) -> None:
        if not self._ready:
            self._since = self._clock()
        self._ready.append(entry)
        self._ready_rows += max(1, len(entry.rows))
        if self._ready_rows >= PART_ROWS or self._clock() - self._since >= PART_SECONDS:
            self._write(completes=False)

    def _write(self, completes: bool) -> None:
        """Writes what is ready. Interrupted after that and before it is forgotten, it is written twice, which
        counts once."""
        if self._ready or completes:
            self.number += 1
            write_part(self.folder, self.number, self._ready, self.settings, completes)
            self.counts.parts += 1
            self._ready, self._ready_rows = [], 0


def _bury(entry: Entry, cover: Key | None) -> Iterator[Entry]:
    """Says that an input is no longer there, unless the folder it is in could not be looked into."""
    if cover is None or not cover.covers(entry.key):
        yield Entry(entry.key, entry.stamp, ())


def take_stamp(path: str) -> Stamp:
    """Size and time of change of a file. Of what is none, or cannot be seen, both are None."""
    try:
        facts = os.stat(path)  # noqa: PTH116 (half the time, a million times)
    except (OSError, ValueError):
        return Stamp(None, None)
    if stat.S_ISDIR(facts.st_mode):
        return Stamp(None, None)
    return Stamp(facts.st_size, facts.st_mtime_ns)
