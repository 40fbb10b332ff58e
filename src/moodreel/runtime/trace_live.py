"""A trace of a stream, point by point as it comes, with how late each point was."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

import numpy as np

from moodreel.media.stream import StreamFrame
from moodreel.runtime.trace import TracePoint, Tracer


@dataclass
class Latency:
    """How late points were: from the arrival of the first frame at or after a tick to the tick's value.

    Most of it is waiting for the rest of the tick's windows; ``work`` is what was computed.

    Attributes:
        seconds: one a tick with a face. (One without waits until the face is back.)
        work: seconds spent on finding faces and in the network, in all.
    """

    seconds: list[float] = field(default_factory=list)
    work: float = 0.0

    def __str__(self) -> str:
        if not self.seconds:
            return "no tick with a face"
        median, most = np.quantile(self.seconds, [0.5, 0.95])
        each = 1000 * self.work / len(self.seconds)
        return (
            f"latency a tick: median {median:.2f} s, 95 % {most:.2f} s, most {max(self.seconds):.2f} s; "
            f"computing {each:.0f} ms a tick"
        )


def trace_stream(
    frames: Iterable[StreamFrame],
    tracer: Tracer,
    latency: Latency | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[TracePoint]:
    """The points of a stream, as they become known; those that are left when the frames end.

    Args:
        frames: from :meth:`moodreel.media.stream.Stream.read`.
        tracer: a new one.
        latency: takes note of how late points are.
        clock: seconds, the same clock as that of ``StreamFrame.arrived``.

    Raises:
        MediaError: the stream breaks off. What was known before was given; ``tracer.finish()`` gives the
            rest.
        BundleError: the network fails, or gives what is not finite.
    """
    latency = Latency() if latency is None else latency
    arrivals: deque[tuple[float, float]] = deque()

    def note(points: list[TracePoint], began: float) -> list[TracePoint]:
        now = clock()
        latency.work += now - began
        for point in points:
            while len(arrivals) > 1 and arrivals[0][0] < point.time:
                arrivals.popleft()
            if point.status == "ok":
                latency.seconds.append(max(0.0, now - arrivals[0][1]))
        return points

    for frame in frames:
        arrivals.append((frame.time, frame.arrived))
        began = clock()
        yield from note(tracer.push(frame.pixels, frame.time), began)
    began = clock()
    yield from note(tracer.finish(), began)
