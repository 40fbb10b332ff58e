"""Frames as they come: cameras and network streams, through PyAV.

A stream has no index and may have no end, so it is no :class:`moodreel.media.Media`: it gives frames with
times, one after another. A thread reads it, so that a stalled network never holds up who waits for frames.
"""

from __future__ import annotations

import queue
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from moodreel.errors import CorruptMedia, MediaError, MoodreelError, UnsupportedMedia
from moodreel.media.base import check_canvas
from moodreel.media.limits import Limits
from moodreel.types import UInt8Array

LIVE = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt"})
"""Schemes of streams that do not wait: of those, and of cameras, frames are dropped when reading falls
behind."""

SCHEMES = LIVE | {"http", "https", "tcp"}
"""Schemes that an address may have."""

PATIENCE = 10.0
"""Seconds without an answer after which a stream counts as broken."""

HELD = 32
"""Frames that wait to be taken, at most."""

_PROTOCOLS = "http,https,httpproxy,tcp,tls,udp,rtp,rtsp,rtsps,rtmp,rtmps,srt,crypto,data"
"""What libav may open for an address: a playlist from the network must not name local files."""

_JUMP = 1.0
"""Seconds back from which times have begun anew, rather than come out of order."""

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")


@dataclass(frozen=True, eq=False)
class StreamFrame:
    """One frame of a stream.

    Attributes:
        pixels: [H, W, 3] uint8 RGB.
        time: seconds from the first frame that was given, ascending.
        arrived: when it was decoded, in seconds of ``time.monotonic``.
    """

    pixels: UInt8Array
    time: float
    arrived: float


def is_address(text: str) -> bool:
    """Whether a text is the address of a stream, such as ``rtsp://camera/1``, and no path."""
    match = _SCHEME.match(text)
    return match is not None and match[1].lower() in SCHEMES


def name_address(address: str) -> str:
    """An address without user, password and query, to be shown."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


class Stream:
    """An opened camera or stream.

    Times are those of the source, from 0 on; a source without any gets those of arrival. A frame that comes
    out of order is left out. Where the times begin anew, they go on from the last.

    Args:
        address: of a stream, or the number of a camera.
        limits: what may be decoded.

    Attributes:
        name: to be shown; no password is in it.
        dropped: frames left out so far.

    Raises:
        MediaError: it cannot be opened.
        UnsupportedMedia: there is no video in it, or no way to open a camera here.
    """

    def __init__(self, address: str | int, limits: Limits | None = None) -> None:
        self._limits = limits or Limits()
        self.dropped = 0
        if isinstance(address, int):
            self.name = f"camera {address}"
            self._waits = False
        else:
            self.name = name_address(address)
            self._waits = urlsplit(address).scheme.lower() not in LIVE
        self._container = _open(address, self.name)
        if not self._container.streams.video:
            self._container.close()
            raise UnsupportedMedia(self.name, "there is no video in it")
        self._frames: queue.Queue[StreamFrame | MoodreelError | None] = queue.Queue(HELD)
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._read, name="moodreel-stream", daemon=True)
        self._thread.start()

    def __enter__(self) -> Stream:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join(1.0)  # one that waits for the network ends when that answers, or with the process

    def read(self, is_over: Callable[[], bool] = lambda: False) -> Iterator[StreamFrame]:
        """The frames, as they come.

        Args:
            is_over: asked several times a second; once it says so, no more frames are waited for.

        Raises:
            MediaError: the stream broke off.
        """
        begin: float | None = None
        while not is_over():
            try:
                entry = self._frames.get(timeout=0.2)
            except queue.Empty:
                continue
            if entry is None:
                return
            if isinstance(entry, MoodreelError):
                raise entry
            begin = entry.time if begin is None else begin
            yield replace(entry, time=entry.time - begin)

    def _read(self) -> None:
        """The thread: decodes until the end, and says how it came."""
        ending: MoodreelError | None = None
        try:
            for frame in self._decode():
                self._hand_over(frame)
                if self._stopped.is_set():
                    break
        except MoodreelError as error:
            ending = error
        except Exception as error:  # whatever a decoder throws at broken content
            ending = CorruptMedia(
                self.name, f"the stream broke off: {getattr(error, 'strerror', None) or error}"
            )
        finally:
            self._container.close()
        while not self._stopped.is_set():
            try:
                self._frames.put(ending, timeout=0.2)
                return
            except queue.Full:
                continue

    def _hand_over(self, frame: StreamFrame) -> None:
        while not self._stopped.is_set():
            try:
                self._frames.put(frame, timeout=0.2 if self._waits else 0)
                return
            except queue.Full:
                if self._waits:
                    continue
                try:
                    self._frames.get_nowait()
                    self.dropped += 1
                except queue.Empty:
                    continue

    def _decode(self) -> Iterator[StreamFrame]:
        begin = time.monotonic()
        first = last = step = 0.0
        is_first, has_times = True, True
        stream = self._container.streams.video[0]
        for packet in self._container.demux(stream):
            for picture in _pictures(packet):
                arrived = time.monotonic()
                if is_first:
                    has_times = picture.time is not None
                now = picture.time if has_times else arrived - begin
                if now is None:
                    self.dropped += 1
                    continue
                if is_first:
                    first, is_first = now, False
                elif now - first <= last:
                    if last - (now - first) <= _JUMP:
                        self.dropped += 1
                        continue
                    first = now - last - step
                step, last = (now - first) - last, now - first
                check_canvas(self.name, picture.width, picture.height, self._limits)
                yield StreamFrame(picture.to_ndarray(format="rgb24"), last, arrived)


def _open(address: str | int, name: str) -> Any:
    import av

    file, kind = _find_camera(address) if isinstance(address, int) else (address, None)
    options = {"rtsp_transport": "tcp"} if isinstance(address, str) else {}
    if kind == "avfoundation":
        options["framerate"] = "30"  # its default, 29.97, is one that Apple's cameras refuse
    whitelist = {} if isinstance(address, int) else {"protocol_whitelist": _PROTOCOLS}
    try:
        return av.open(
            file, format=kind, options=options, container_options=whitelist, timeout=(PATIENCE, PATIENCE)
        )
    except (av.FFmpegError, OSError, ValueError) as error:
        # Not the whole text: it repeats the address, with a password if there is one.
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise MediaError(name, f"cannot be opened: {reason}") from None


def _find_camera(number: int) -> tuple[str, str]:
    """What libav calls a camera: (file, format)."""
    if sys.platform.startswith("linux"):
        return f"/dev/video{number}", "v4l2"
    if sys.platform == "darwin":
        return f"{number}:none", "avfoundation"
    if sys.platform == "win32":
        return str(number), "vfwcap"
    raise UnsupportedMedia(f"camera {number}", f"no way to open a camera on {sys.platform}")


def _pictures(packet: Any) -> list[Any]:
    """What the decoder gives for a packet; nothing for one that is broken."""
    import av

    try:
        found: list[Any] = packet.decode()
    except av.FFmpegError:
        return []
    return found
