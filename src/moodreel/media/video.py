"""Video through PyAV: the timeline from packets, without decoding; frames told apart by their PTS.

A packet is one picture in every container read here. Sampling decodes from the last keyframe at or before
each target; packets in between are read and dropped, which gives the same pictures as a full decode.
"""

from __future__ import annotations

import io
import os
from bisect import bisect_right
from collections.abc import Callable, Container, Iterator
from fractions import Fraction
from functools import cache
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from moodreel.errors import CorruptMedia, MediaError, UnsupportedMedia
from moodreel.media.base import Media, Mode, Stopwatch, Timeline, check_canvas, check_frames, convert, guard
from moodreel.media.limits import Limits
from moodreel.types import UInt8Array

#: Packets worth a seek in the file rather than reading and dropping them.
SEEK_PACKETS = 600

#: libav's AV_LOG_QUIET.
_QUIET = -8


class _Key(NamedTuple):
    """A keyframe: presentation and decoding time, place in the order of the file."""

    pts: int
    dts: int
    number: int


class _Index(NamedTuple):
    """What the packets say.

    Attributes:
        pts: sorted presentation times of the pictures shown, in units of time_base.
        durations: of each, in the same units; 0 where the file does not say.
        numbers: place of each one's packet in the order of the file.
        keys: the keyframes, sorted by pts.
        time_base: seconds a unit.
    """

    pts: list[int]
    durations: list[int]
    numbers: list[int]
    keys: list[_Key]
    time_base: Fraction


class VideoMedia(Media):
    """An opened video. Pixels are taken as square; rotation in the metadata is applied.

    A picture that the decoder does not deliver (broken data in the middle) is the one before it, which is
    what a player keeps on screen.

    Args:
        file: a path, or the bytes of the file.
        kind: libav's name of the container: "mov", "matroska" or "avi".
        source: for messages.
        limits: what it may cost.

    Raises:
        UnsupportedMedia: no video stream, or no decoder for it.
        CorruptMedia: broken, or without a single picture; while reading also: the file is no longer the one
            that was opened.
        LimitExceeded: the canvas or the number of frames is too large.
    """

    def __init__(self, file: Path | bytes, kind: str, source: str, limits: Limits) -> None:
        self._file = file
        self._kind = kind
        self._limits = limits
        self.source = source
        self._watch = Stopwatch(source, limits)
        self._stamp = self._look()
        with guard(source, "reading the video"):
            self._index = self._scan()
            picture = next(self._decode([0]))[1]
            self._turns = round(picture.rotation / 90) % 4
            self._size = (picture.width, picture.height)
        check_canvas(source, *self._size, limits)
        width, height = self._size if self._turns % 2 == 0 else self._size[::-1]
        super().__init__(source, self._timeline(), width, height, self._watch)

    def _look(self) -> tuple[int, int] | None:
        """What tells whether the file is still the same; it is opened anew for each reading. Bytes: None."""
        if isinstance(self._file, bytes):
            return None
        try:
            found = self._file.stat()
        except OSError as error:
            raise MediaError(self.source, f"cannot be opened: {error.strerror or error}") from None
        return found.st_size, found.st_mtime_ns

    def _check_same(self) -> None:
        """Refuses pictures of another file at the times of the one that was opened."""
        if self._look() != self._stamp:
            raise CorruptMedia(self.source, "the file changed while it was read")

    def _read(self, indices: list[int], mode: Mode) -> Iterator[tuple[int, UInt8Array]]:
        self._check_same()
        pictures = self._decode(indices)
        while True:
            with guard(self.source, "decoding the video"):
                found = next(pictures, None)
                if found is None:
                    self._check_same()
                    return
                index, picture = found
                frame = self._to_array(picture, mode)
            yield index, frame

    def _to_array(self, picture: Any, mode: Mode) -> UInt8Array:
        clear = any(component.is_alpha for component in picture.format.components)
        width, height = self._size
        frame: UInt8Array = picture.to_ndarray(
            format="rgba" if clear else "rgb24", width=width, height=height
        )
        frame = np.rot90(frame, self._turns)
        wanted = 4 if mode == "rgba" else 3
        return np.ascontiguousarray(frame) if frame.shape[2] == wanted else convert(frame, mode)

    def _open(self) -> tuple[Any, Any]:
        """Opens the container afresh: (container, video stream)."""
        av = _libav()
        # "file:" keeps a name such as "http://..." from being one; the format is fixed, so that no
        # playlist or other text format is ever tried on hostile content.
        target = io.BytesIO(self._file) if isinstance(self._file, bytes) else f"file:{self._file}"
        options = {"protocol_whitelist": "file"}
        container = av.open(target, format=self._kind, container_options=options)
        try:
            streams = [
                stream
                for stream in container.streams.video
                if not int(stream.disposition) & int(type(stream.disposition).attached_pic)
            ]
            if not streams:
                raise UnsupportedMedia(self.source, "the file has no video, only sound or other data")
            stream = streams[0]
            context = stream.codec_context
            if context is None:
                raise UnsupportedMedia(self.source, "no decoder for the video in it")
            check_canvas(self.source, context.width, context.height, self._limits)
            # The decoder itself refuses a larger picture in the middle of the stream.
            context.options = {"max_pixels": str(self._limits.canvas_pixels)}
            context.thread_type = "AUTO"
            context.thread_count = min(4, os.cpu_count() or 1)  # each frame thread holds pictures
            return container, stream
        except BaseException:
            container.close()
            raise

    def _scan(self) -> _Index:
        shown: dict[int, tuple[int, int]] = {}
        keys: list[_Key] = []
        timed = True
        container, stream = self._open()
        with container:
            time_base = Fraction(stream.time_base or 1)
            for number, packet in enumerate(_packets(container, stream)):
                self._check_time()
                if packet.pts is None:
                    timed = False
                    break
                if packet.is_keyframe:
                    keys.append(_Key(packet.pts, packet.pts if packet.dts is None else packet.dts, number))
                if not (packet.is_discard or _hidden(stream, packet)):
                    shown.setdefault(packet.pts, (packet.duration or 0, number))
                    check_frames(self.source, len(shown), self._limits)
        if not timed:
            # AVI with B-frames stores no presentation times: only decoding tells them.
            shown, keys = self._scan_decoded(), []
        if not shown:
            raise CorruptMedia(self.source, "the video holds no picture")
        pts = sorted(shown)
        return _Index(
            pts, [shown[time][0] for time in pts], [shown[time][1] for time in pts], sorted(keys), time_base
        )

    def _scan_decoded(self) -> dict[int, tuple[int, int]]:
        shown: dict[int, tuple[int, int]] = {}
        with _Feed(self._open, _Index([], [], [], [], Fraction(1))) as feed:
            while (pictures := feed.pictures()) is not None:
                self._check_time()
                for picture in pictures:
                    if picture.pts is not None:
                        shown.setdefault(picture.pts, (picture.duration or 0, 0))
                        check_frames(self.source, len(shown), self._limits)
        return shown

    def _timeline(self) -> Timeline:
        index = self._index
        up, down = index.time_base.numerator, index.time_base.denominator
        # Whole numbers up to the division: a start is the exact quotient, rounded once.
        starts = np.array([(pts - index.pts[0]) * up / down for pts in index.pts])
        raw = np.array([duration * up / down for duration in index.durations])
        durations = np.empty(len(starts))
        durations[:-1] = np.diff(starts)
        if len(starts) == 1 or raw[-1] > 0:
            durations[-1] = raw[-1]
        else:
            durations[-1] = durations[-2]
        return Timeline(starts, durations, raw)

    def _decode(self, indices: list[int]) -> Iterator[tuple[int, Any]]:
        """Yields (index, libav picture) for ascending indices."""
        try:
            yield from self._decode_from(indices, sparing=True)
        except _MissedError as missed:
            # A keyframe that cannot be started from (a recovery point), or a picture that does not come, so
            # that the one before it counts, whichever that is: decode all from the beginning.
            yield from self._decode_from(indices[missed.done :], sparing=False)

    def _decode_from(self, indices: list[int], sparing: bool) -> Iterator[tuple[int, Any]]:
        """As :meth:`_decode`; ``sparing`` leaves out what no target needs: packets before its keyframe, and
        pictures that no other refers to."""
        pts = self._index.pts
        wanted = {pts[index] for index in indices}
        held: Any = None  # the last picture before the target
        done = 0
        with _Feed(self._open, self._index) as feed:
            while done < len(indices):
                self._check_time()
                if sparing and feed.skip_to(self._key_before(indices[done])):
                    held = None
                pictures = feed.pictures(wanted if sparing else None)
                if pictures is None:
                    break
                for picture in pictures:
                    if picture.pts is None:
                        continue
                    # The decoder gives pictures in order: a target that one has passed will not come.
                    while done < len(indices) and pts[indices[done]] <= picture.pts:
                        hit = pts[indices[done]] == picture.pts
                        if not hit:
                            if sparing:
                                raise _MissedError(done)
                            held = picture if held is None else held
                        yield indices[done], picture if hit else held
                        done += 1
                    held = picture
            if done < len(indices) and sparing:
                raise _MissedError(done)
            for index in indices[done:]:
                if held is None:
                    raise CorruptMedia(self.source, "no picture in the video can be decoded")
                yield index, held

    def _key_before(self, place: int) -> _Key | None:
        """The last keyframe that both shows and is stored no later than picture ``place``."""
        index = self._index
        key = bisect_right(index.keys, index.pts[place], key=lambda entry: entry.pts) - 1
        while key >= 0 and index.keys[key].number > index.numbers[place]:
            key -= 1
        return index.keys[key] if key >= 0 else None


class _MissedError(Exception):
    """A picture did not come after starting at its keyframe; ``done`` targets were delivered before."""

    def __init__(self, done: int) -> None:
        self.done = done
        super().__init__(done)


class _Feed:
    """Packets of one opened file into its decoder, with steps over those that no target needs."""

    def __init__(self, opener: Callable[[], tuple[Any, Any]], index: _Index) -> None:
        self._opener = opener
        self._index = index
        self._start()

    def __enter__(self) -> _Feed:
        return self

    def __exit__(self, *_: object) -> None:
        self._container.close()

    def _start(self) -> None:
        self._container, self._stream = self._opener()
        self._packets = _packets(self._container, self._stream)
        self._next = 0  # number of the next packet
        self._ended = False

    def skip_to(self, key: _Key | None) -> bool:
        """Goes ahead to a keyframe if it is still ahead; whether it did."""
        if key is None or key.number <= self._next:
            return False
        if key.number - self._next > SEEK_PACKETS:
            self._seek(key)
        while self._next < key.number:
            if next(self._packets, None) is None:
                break
            self._next += 1
        self._stream.codec_context.flush_buffers()
        return True

    def pictures(self, wanted: Container[int] | None = None) -> list[Any] | None:
        """What the decoder gives for the next packet; None after the last.

        Args:
            wanted: presentation times; other pictures are not decoded where no picture refers to them.
        """
        if self._ended:
            return None
        packet = next(self._packets, None)
        self._next += 1
        self._ended = packet is None
        if wanted is not None and packet is not None:
            needed = packet.pts is None or packet.pts in wanted
            self._stream.codec_context.skip_frame = "DEFAULT" if needed else "NONREF"
        return _pictures(self._stream, packet)

    def _seek(self, key: _Key) -> None:
        av = _libav()
        try:
            self._container.seek(key.dts, stream=self._stream)
            self._packets = _packets(self._container, self._stream)
            packet = next(self._packets, None)
        except av.FFmpegError:
            packet = None
        for landed in self._index.keys:
            if packet is not None and landed.pts == packet.pts and landed.number <= key.number:
                self._next = landed.number
                self._packets = chain([packet], self._packets)
                return
        # It landed on nothing known, or past the keyframe: read from the start.
        self._container.close()
        self._start()


@cache
def _libav() -> Any:
    import av

    # Broken files are reported as CorruptMedia; libav must not also print on stderr.
    av.logging.set_level(None)
    av.logging.set_libav_level(_QUIET)
    return av


def _packets(container: Any, stream: Any) -> Iterator[Any]:
    """The whole packets of a stream in the order of the file, up to its end or to where it is cut off."""
    av = _libav()
    try:
        for packet in container.demux(stream):
            if packet.size and not packet.is_corrupt:
                yield packet
    except av.FFmpegError:
        return


def _pictures(stream: Any, packet: Any | None) -> list[Any]:
    """What the decoder gives for a packet (None: for the end); nothing for one that is broken."""
    av = _libav()
    try:
        found: list[Any] = stream.codec_context.decode(packet)
    except av.FFmpegError:
        return []
    return found


def _hidden(stream: Any, packet: Any) -> bool:
    """Whether a packet is a VP8 picture that is only referred to, never shown (RFC 6386, 9.1)."""
    return stream.codec_context.name == "vp8" and not memoryview(packet)[0] >> 4 & 1
