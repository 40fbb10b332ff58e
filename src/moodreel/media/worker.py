"""The process behind a :class:`moodreel.media.pool.Decoder`: it decodes for another one, and may crash.

Requests come on standard input, answers leave on what was standard output: a line of JSON each, raw bytes
behind it where the line says so. Nothing is unpickled on either side: were this process taken over by a
hostile file, it could hand over wrong pictures and no more.
"""

from __future__ import annotations

import json
import os
import queue
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import numpy as np

from moodreel.errors import MediaError
from moodreel.media.base import Media
from moodreel.media.decode import open_media
from moodreel.media.limits import Limits


def main() -> None:
    """Serves until standard input ends: then the other process is gone, however it ended."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that decides
    out = os.dup(1)
    os.dup2(2, 1)  # what a decoder prints must not end up among the answers
    stdin = sys.stdin.buffer
    limits = Limits(**json.loads(stdin.readline()))
    _bound(limits.process_bytes)
    requests: queue.Queue[tuple[dict[str, Any], bytes]] = queue.Queue()
    threading.Thread(target=_listen, args=(stdin, requests), daemon=True).start()
    _send(out, {"ready": True})
    media: Media | None = None
    while True:
        request, content = requests.get()
        try:
            if "indices" in request:
                assert media is not None
                _send_frames(out, media, request)
            else:
                media = None  # before the next one takes memory
                media = open_media(content if "bytes" in request else request["path"], limits)
                _send_facts(out, media)
        except MediaError as error:
            _send(out, {"error": type(error).__name__, "reason": error.reason})
        except MemoryError:
            _send(out, {"error": "LimitExceeded", "reason": "out of memory while decoding"})
        except Exception as error:  # a fault of ours: the row says it, as it does without a process
            _send(out, {"fault": f"{type(error).__name__}: {error}"})


def _listen(stdin: IO[bytes], requests: queue.Queue[tuple[dict[str, Any], bytes]]) -> None:
    while line := stdin.readline():
        request = json.loads(line)
        requests.put((request, stdin.read(request.get("bytes", 0))))
    os._exit(0)  # also in the midst of a picture


def _bound(process_bytes: int) -> None:
    """What the platform can bound: memory, no core dumps (a crash is expected), no files."""
    with suppress(OSError):  # Linux: when memory runs out, this process goes first
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")
    try:
        import resource
    except ImportError:
        return
    wanted = {"RLIMIT_AS": process_bytes, "RLIMIT_CORE": 0, "RLIMIT_FSIZE": 0}
    for name, value in wanted.items():
        with suppress(AttributeError, ValueError, OSError):
            kind = getattr(resource, name)
            hard = resource.getrlimit(kind)[1]
            if hard != resource.RLIM_INFINITY:
                value = min(value, hard)
            resource.setrlimit(kind, (value, value))


def _send(out: int, answer: dict[str, Any], content: Any = b"") -> None:
    """Writes an answer; the other process gone, this one ends."""
    try:
        for part in (json.dumps(answer).encode() + b"\n", content):
            view = memoryview(part).cast("B")
            while len(view):
                view = view[os.write(out, view) :]
    except OSError:
        os._exit(0)


def _send_facts(out: int, media: Media) -> None:
    line = media.timeline
    facts = {"width": media.width, "height": media.height, "frames": len(line), "loop": line.loop}
    _send(out, facts, np.stack([line.starts, line.durations, line.raw_durations]))


def _send_frames(out: int, media: Media, request: dict[str, Any]) -> None:
    indices = request["indices"]
    if "size" in request:
        height, width = request["size"]
        frames = media.read_resized(indices, (height, width))
    else:
        frames = media.read(indices, request["mode"])
    for index, frame in frames:
        _send(out, {"index": index, "shape": frame.shape}, np.ascontiguousarray(frame))
    _send(out, {"end": True})
