"""Decoders in processes of their own: a crash in one costs the file it was reading, and nothing else.

Libraries in C decode what strangers made. In this process a fault of theirs would take the whole run along;
in a :class:`Decoder` it becomes a MediaError with the signal's name, and the next file finds a new process.
Frames come through a pipe while the following ones are decoded; a pipe that is full makes the decoder wait,
so that no more is held than that.
"""

from __future__ import annotations

import io
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO, Any, cast

import numpy as np

from moodreel import errors
from moodreel.errors import CorruptMedia, LimitExceeded, MediaError, MoodreelError
from moodreel.media.base import (
    Media,
    Mode,
    NoDecoderError,
    Timeline,
    check_canvas,
    check_frames,
    tell_overtime,
)
from moodreel.media.decode import Source, open_media
from moodreel.media.limits import Limits
from moodreel.types import UInt8Array

START = "import sys; sys.path[:] = sys.argv[1:]; from moodreel.media.worker import main; main()"
"""What such a process runs; this one's search path stands behind it."""

MARGIN = 5.0
"""Seconds past :attr:`Limits.seconds` after which a decoder that has not given up by itself is ended."""

START_SECONDS = 60.0
"""How long a process may take to start."""

PIPE_BYTES = 1 << 20
"""Size of the pipe for frames, where the platform lets it be chosen."""

_LINE = 1 << 16


class DecoderPool:
    """Some decoders, each lent to one thread at a time.

    Args:
        limits: of each input; a decoder that takes longer is ended.
        workers: processes.
        at_once: whether they are started now, to be ready when they are; else each when it is first wanted.

    Raises:
        NoDecoderError: no process can be started.
    """

    def __init__(self, limits: Limits, workers: int, at_once: bool = True) -> None:
        self.limits = limits
        self._idle: queue.LifoQueue[Decoder | None] = queue.LifoQueue()
        self._all: set[Decoder] = set()
        self._lock = threading.Lock()
        self._closed = threading.Event()
        try:
            for _ in range(workers):
                self._idle.put(self._start() if at_once else None)
        except NoDecoderError:
            self.close()
            raise
        threading.Thread(target=self._guard, name="moodreel-decoders", daemon=True).start()

    def __enter__(self) -> DecoderPool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @contextmanager
    def opened(self, source: Source) -> Iterator[Media]:
        """An input, opened and decoded elsewhere; of what is in memory already, here.

        Args:
            source: as in :func:`moodreel.media.open_media`.

        Raises:
            MediaError: as :func:`moodreel.media.open_media`, also while frames are read; CorruptMedia where
                the decoder crashed.
            NoDecoderError: no decoder can be started.
        """
        if not isinstance(source, str | os.PathLike | bytes | bytearray | memoryview):
            yield open_media(source, self.limits)
            return
        decoder = self._idle.get()
        try:
            if decoder is not None and not decoder.is_alive:
                self._forget(decoder)
                decoder = None
            decoder = decoder or self._start()
            yield decoder.open(source)
        finally:
            if decoder is not None:
                decoder.rest()
            self._idle.put(decoder)

    def keep(self, source: str | os.PathLike[str]) -> Media:
        """An opened file that holds no decoder: each reading borrows one, which opens the file anew.

        For clips that are looked at again and again, with time between: more of them may be open than there
        are decoders, but no reading may begin within another one of the same thread.

        Args:
            source: a path.

        Raises:
            MediaError, NoDecoderError: as :meth:`opened`; CorruptMedia while reading, where the file has
                changed since.
        """
        with self.opened(source) as media:
            return _KeptMedia(self, os.fspath(source), media)

    def close(self) -> None:
        """Ends the processes, at work or not. What is being read elsewhere fails."""
        self._closed.set()
        with self._lock:
            decoders, self._all = self._all, set()
        for decoder in decoders:
            decoder.kill()

    def _start(self) -> Decoder:
        try:
            decoder = Decoder(self.limits)
        except OSError as error:  # no memory, too many processes, no interpreter
            raise NoDecoderError(f"no decoder can be started: {error.strerror or error}") from error
        with self._lock:
            if not self._closed.is_set():
                self._all.add(decoder)
                return decoder
        decoder.kill()
        return decoder

    def _forget(self, decoder: Decoder) -> None:
        decoder.kill()  # lets go of its pipes
        with self._lock:
            self._all.discard(decoder)

    def _guard(self) -> None:
        """The thread: ends decoders that take too long."""
        while not self._closed.wait(0.25):
            with self._lock:
                decoders = list(self._all)
            for decoder in decoders:
                decoder.end_overtime()


class Decoder:
    """One such process.

    Args:
        limits: of each input.

    Raises:
        OSError: it cannot be started.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        command = [sys.executable, "-S", "-c", START, *_list_search_path()]
        silent = None if os.environ.get("MOODREEL_TRACEBACK") else subprocess.DEVNULL
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=silent,
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._to: IO[bytes] = self._process.stdin
        self._from = cast(io.BufferedReader, self._process.stdout)
        _widen(self._from)
        self._started = False
        self._settled = True  # whether an answer has come to its end
        self._overtime = False
        self._spent = 0.0  # seconds of waiting for the input that is open
        self._deadline: float | None = None  # of the waiting that goes on
        self._name = ""
        with suppress(OSError):  # it is gone already: the first input says why
            self._write(asdict(limits))

    @property
    def is_alive(self) -> bool:
        """Whether the process runs."""
        return self._process.poll() is None

    def open(self, source: str | os.PathLike[str] | bytes | bytearray | memoryview) -> Media:
        """Opens an input there; see :meth:`DecoderPool.opened`."""
        if not self._started:
            self._receive()  # its first line: it has read its limits
        self._spent, self._overtime = 0.0, False
        if isinstance(source, str | os.PathLike):
            self._name = os.fspath(source)
            # A NUL in the name is refused there, as any wrong name is.
            path = self._name if "\0" in self._name else os.path.abspath(self._name)  # noqa: PTH100 (links stay)
            facts = self._ask({"path": path})
        else:
            self._name, content = "<bytes>", bytes(source)
            facts = self._ask({"bytes": len(content)}, content)
        count, width, height = (facts[key] for key in ("frames", "width", "height"))
        check_frames(self._name, count, self._limits)
        check_canvas(self._name, width, height, self._limits)
        times = np.empty((3, count))
        self._fill(times)
        self._settled = True
        if count < 1 or not np.isfinite(times).all():
            raise CorruptMedia(self._name, "the decoder gave times that are none")
        timeline = Timeline(times[0], times[1], times[2], facts["loop"])
        return _RemoteMedia(self, timeline, self._name, width, height)

    def read(
        self, indices: Sequence[int], how: dict[str, Any], shape: tuple[int, int, int]
    ) -> Iterator[tuple[int, UInt8Array]]:
        """Frames of the input that is open, each of ``shape``."""
        try:
            answer = self._ask({"indices": list(indices), **how})
            for index in indices:
                if answer.get("index") != index or answer.get("shape") != list(shape):
                    raise CorruptMedia(self._name, "the decoder gave another frame than it was asked for")
                frame: UInt8Array = np.empty(shape, np.uint8)
                self._fill(frame)
                yield index, frame
                answer = self._receive()
            self._settled = True
        finally:
            self.rest()

    def rest(self) -> None:
        """Ends a process that is still at an answer which nobody wants any more."""
        if not self._settled:
            self.kill()

    def kill(self) -> None:
        """Ends the process."""
        self._process.kill()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        for pipe in (self._to, self._from):
            with suppress(OSError, ValueError):  # what could not be written; in use by another thread
                pipe.close()

    def end_overtime(self) -> None:
        """Ends the process if it has been waited for too long."""
        deadline = self._deadline
        if deadline is not None and time.monotonic() > deadline:
            self._overtime = True
            self._process.kill()

    def _ask(self, request: dict[str, Any], content: bytes = b"") -> dict[str, Any]:
        if not self.is_alive:
            raise self._explain()
        if not self._settled:
            raise RuntimeError("a decoder reads one run of frames at a time")
        self._settled = False
        try:
            with self._waiting():
                self._write(request, content)
        except (OSError, ValueError):
            raise self._explain() from None
        return self._receive()

    def _write(self, request: dict[str, Any], content: bytes = b"") -> None:
        self._to.write(json.dumps(request).encode() + b"\n" + content)
        self._to.flush()

    def _receive(self) -> dict[str, Any]:
        """The next answer's line. An error that it tells of is raised."""
        try:
            with self._waiting():
                line = self._from.readline(_LINE)
            answer = json.loads(line) if line.endswith(b"\n") else None
        except (OSError, ValueError):
            answer = None
        if not isinstance(answer, dict):
            raise self._explain()
        self._started = True
        if "error" in answer or "fault" in answer:
            self._settled = True
            kind = getattr(errors, str(answer.get("error")), None)
            if isinstance(kind, type) and issubclass(kind, MediaError):
                raise kind(self._name, str(answer.get("reason")))
            raise RuntimeError(str(answer.get("fault")))
        return answer

    def _fill(self, array: np.ndarray[Any, Any]) -> None:
        with self._waiting():
            view = array.data.cast("B")
            try:
                count = self._from.readinto(view)
            except (OSError, ValueError):
                count = 0
        if count != len(view):
            raise self._explain()

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        begin = time.monotonic()
        patience = self._limits.seconds + MARGIN if self._started else START_SECONDS
        self._deadline = begin + patience - self._spent
        try:
            yield
        finally:
            self._deadline = None
            self._spent += time.monotonic() - begin

    def _explain(self) -> MoodreelError:
        """Why the process is gone."""
        self._process.kill()  # alive it would be one that talks nonsense
        code = self._process.wait()
        if not self._started:
            return NoDecoderError(
                f"no decoder can be started ({_name_end(code)}): MOODREEL_TRACEBACK=1 shows why, "
                "--no-isolate does without"
            )
        if self._overtime:
            return LimitExceeded(self._name, tell_overtime(self._limits.seconds))
        return CorruptMedia(self._name, f"the decoder crashed: {_name_end(code)}")


class _RemoteMedia(Media):
    """An input that a :class:`Decoder` has open."""

    def __init__(self, decoder: Decoder, timeline: Timeline, source: str, width: int, height: int) -> None:
        super().__init__(source, timeline, width, height)
        self._decoder = decoder

    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        shape = (self.height, self.width, 3 if mode == "rgb" else 4)
        return self._decoder.read(indices, {"mode": mode}, shape)

    def _read_resized(self, indices: list[int], size: tuple[int, int]) -> Iterator[tuple[int, UInt8Array]]:
        return self._decoder.read(indices, {"size": list(size)}, (*size, 3))


class _KeptMedia(Media):
    """What :meth:`DecoderPool.keep` gives."""

    def __init__(self, pool: DecoderPool, path: str, media: Media) -> None:
        super().__init__(media.source, media.timeline, media.width, media.height)
        self._pool, self._path = pool, path

    @contextmanager
    def _opened(self) -> Iterator[Media]:
        with self._pool.opened(self._path) as media:
            same = np.array_equal(media.timeline.starts, self.timeline.starts)
            if not same or (media.width, media.height) != (self.width, self.height):
                raise CorruptMedia(self.source, "changed while it was read")
            yield media

    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        with self._opened() as media:
            yield from media.read(indices, mode)

    def _read_resized(self, indices: list[int], size: tuple[int, int]) -> Iterator[tuple[int, UInt8Array]]:
        with self._opened() as media:
            yield from media.read_resized(indices, size)


def _list_search_path() -> list[str]:
    """Where modules are found, this package among them however it was."""
    own = str(Path(__file__).resolve().parents[2])
    return [*(path or os.getcwd() for path in sys.path), own]  # noqa: PTH109 (a text is wanted)


def _name_end(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = str(-code)
    return f"signal {name}" + (" (killed, as when memory runs out)" if name == "SIGKILL" else "")


def _widen(pipe: IO[bytes]) -> None:
    """Makes room for some frames in a pipe, where that can be done: fewer turns between the two."""
    try:
        import fcntl

        fcntl.fcntl(pipe.fileno(), fcntl.F_SETPIPE_SZ, PIPE_BYTES)
    except (ImportError, AttributeError, OSError):
        pass
