"""Bundles of the system ``sta``: opened for a trace, and read as any other clip is, one Result an input."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock
from typing import Any
from weakref import finalize

import numpy as np

from moodreel.errors import BundleError
from moodreel.faces.detect import Detector, DetectorSettings, choose_detector, open_detector
from moodreel.faces.video import FaceStream, bind_detector
from moodreel.media import Limits, Media, open_media
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.engine import Engine, EngineSettings, OnnxEngine
from moodreel.runtime.postprocess import PostProcess
from moodreel.runtime.schema import SYSTEMS, BundleInfo
from moodreel.runtime.trace import WINDOW, TracePoint, Tracer, TraceSettings, trace_media
from moodreel.types import Float32Array, FloatArray, Sample

GRID = 32
"""Cells of the longer side of the frame, on which a Result's attention is laid."""

MOST_MAPS = 256
"""Instants of a clip whose attention a Result holds, at most."""


@dataclass(frozen=True, eq=False)
class TracedSample(Sample):
    """A clip that the network has read already, window by window; ``frames`` is empty.

    Attributes:
        outputs: ``valence`` [n], of the ticks that have a value, and, with attention, ``attention`` [k, h, w]
            over the full frame, each summing to 1.
        value_times, attention_times: [n] and [k] seconds.
        faces: different faces seen; None where the whole frame was taken as the face.
    """

    outputs: Mapping[str, Float32Array] = field(default_factory=dict)
    value_times: FloatArray = field(default_factory=lambda: np.zeros(0))
    attention_times: FloatArray = field(default_factory=lambda: np.zeros(0))
    faces: int | None = None


class TraceReader:
    """Makes traces with one network and one way to find faces.

    Args:
        info: of the bundle; its input size, ``sampling.fps`` and ``sampling.limit`` (ticks of a window)
            count.
        engine: runs its network.
        detector: who finds faces; None takes the whole frame as the face. What it leaves open is settled
            here.
        settings: None lays windows as the bundle says.
        raw: leaves out the bundle's post-processing.

    Raises:
        BundleError: the bundle's input is not square, or it states no rate.
        MissingExtra: the detector is not installed.
    """

    def __init__(
        self,
        info: BundleInfo,
        engine: Engine,
        detector: DetectorSettings | None = None,
        settings: TraceSettings | None = None,
        raw: bool = False,
    ) -> None:
        sampling, spec = info.sampling, info.input
        if sampling.fps is None or spec.height != spec.width:
            raise BundleError(f"bundle {info.name!r}: sta needs a square input and sampling by rate")
        self.info, self.engine = info, engine
        self.detector = None if detector is None else choose_detector(detector)
        self.fps = sampling.fps
        self.settings = settings or TraceSettings.of_window(sampling.limit or WINDOW)
        self.post = None if raw or info.post is None else PostProcess(**vars(info.post))
        self._opened: Detector | None = None
        self._lock = Lock()  # a detector has state: one clip at a time

    def make_tracer(self, media: Media | None = None, keep_attention: bool = False) -> Tracer:
        """A tracer for one clip or stream. Tracers share the detector: use one at a time.

        Args:
            media: the clip; None for a stream.
            keep_attention: as in :class:`moodreel.runtime.trace.Tracer`.

        Raises:
            BundleError: the detector's model is wrong.
            DataError: faces come from files, and they are wrong or of another clip.
        """
        finder = None
        if self.detector is not None:
            if self._opened is None:
                stack = ExitStack()
                self._opened = stack.enter_context(open_detector(self.detector))
                finalize(self, stack.close)  # before the interpreter ends
            finder = bind_detector(self._opened, media, self.fps)
        faces = FaceStream(finder, self.info.input.height, self.fps)
        return Tracer(self.engine, faces, self.settings, keep_attention, self.post)

    def sample(self, source: Any, limits: Limits) -> list[TracedSample]:
        """Reads a whole clip.

        Args:
            source: as in :func:`moodreel.media.open_media`.
            limits: what may be decoded.

        Raises:
            MediaError: the input cannot be read.
            BundleError: the network fails on it.
        """
        media = open_media(source, limits)
        step = max(1, int(np.ceil(media.duration * self.fps / MOST_MAPS)))
        valence: list[float] = []
        times: list[float] = []
        maps: list[Float32Array] = []
        map_times: list[float] = []
        with self._lock:
            tracer = self.make_tracer(media, keep_attention=True)
            for row, point in enumerate(trace_media(media, tracer)):
                if point.valence is not None:
                    valence.append(point.valence)
                    times.append(point.time)
                if row % step == 0 and point.attention is not None:
                    spread = spread_attention(point, (media.height, media.width))
                    if spread is not None:
                        maps.append(spread)
                        map_times.append(point.time)
            faces = tracer.faces.faces
        outputs = {"valence": np.array(valence, np.float32)}
        if maps:
            outputs["attention"] = np.stack(maps)
        size = self.info.input.height
        sample = TracedSample(
            frames=np.empty((0, size, size, 3), np.uint8),
            times=np.array(times),
            width=media.width,
            height=media.height,
            frame_count=len(media),
            duration=media.duration,
            source=media.source,
            outputs=outputs,
            value_times=np.array(times),
            attention_times=np.array(map_times),
            faces=faces,
        )
        return [sample]

    def run(self, samples: Sequence[TracedSample]) -> list[Mapping[str, Float32Array]]:
        """What the network said when the clips were read."""
        return [sample.outputs for sample in samples]


def open_trace_reader(
    name_or_path: str | os.PathLike[str],
    detector: DetectorSettings | None,
    *,
    stride: int | None = None,
    threads: int | None = None,
    raw: bool = False,
    engine: str = "auto",
    device: str = "auto",
) -> TraceReader:
    """Opens a bundle of the system ``sta``.

    Args:
        name_or_path: as in :func:`moodreel.load`.
        detector: as in :class:`TraceReader`.
        stride: ticks from window to window; None is half a window.
        threads: cores the network may use; None is all that this process may use.
        raw: leaves out the bundle's post-processing.
        engine, device: as in :func:`moodreel.load`.

    Raises:
        BundleError: there is no such bundle, it is broken, or of another system.
        MissingExtra: the detector or the engine is not installed.
        SettingsError: stride, threads, engine or device are not allowed.
    """
    chosen = EngineSettings(engine, device, threads)
    bundle = read_bundle(name_or_path)
    if bundle.info.system != "sta":
        info = bundle.info
        raise BundleError(f"bundle {info.name!r}: a trace needs system 'sta', not {info.system!r}")
    network = OnnxEngine(
        bundle.read_model(), SYSTEMS["sta"], source=bundle.source, settings=chosen, name="sta"
    )
    settings = TraceSettings.of_window(bundle.info.sampling.limit or WINDOW, stride)
    return TraceReader(bundle.info, network, detector, settings, raw)


def read_sta(
    info: BundleInfo, outputs: Mapping[str, Float32Array], sample: Sample, per_frame: bool
) -> dict[str, Any]:
    """STA: the mean of the trace; no category.

    Args:
        info: of the bundle.
        outputs: as in :class:`TracedSample`.
        sample: a :class:`TracedSample`.
        per_frame: whether to fill ``per_frame`` with the trace.

    Returns:
        Fields of :class:`moodreel.types.Result`; valence None where no face was found.
    """
    assert isinstance(sample, TracedSample)
    values = outputs["valence"].astype(np.float64)
    fields: dict[str, Any] = {"faces": sample.faces, "valence": float(values.mean()) if len(values) else None}
    if "attention" in outputs:
        fields["attention"], fields["attention_times"] = outputs["attention"], sample.attention_times
    if per_frame:
        fields["per_frame"] = {"time_s": sample.value_times, "valence": values}
    return fields


def spread_attention(point: TracePoint, size: tuple[int, int]) -> Float32Array | None:
    """The attention of a point over its full frame.

    Each cell of the face's picture gives its weight to the cell of the frame in which its middle lies; what
    lies beyond the frame is left out.

    Args:
        point: with attention.
        size: (height, width) of the frame in pixels.

    Returns:
        [h, w] float32 that sums to 1, :data:`GRID` cells along the longer side; None where the face lies
        wholly outside, or there is no attention.
    """
    if point.attention is None:
        return None
    height, width = size
    unit = max(size) / GRID
    cells = (max(1, round(height / unit)), max(1, round(width / unit)))
    rows, columns = point.attention.shape
    x, y = np.meshgrid((np.arange(columns) + 0.5) / columns, (np.arange(rows) + 0.5) / rows)
    where = np.stack([x, y], axis=-1)
    where = where * (width, height) if point.place is None else point.place.locate(0, where)
    column = np.floor(where[..., 0] / width * cells[1]).astype(int)
    row = np.floor(where[..., 1] / height * cells[0]).astype(int)
    inside = (row >= 0) & (row < cells[0]) & (column >= 0) & (column < cells[1])
    spread = np.zeros(cells)
    np.add.at(spread, (row[inside], column[inside]), point.attention[inside])
    total = spread.sum()
    return (spread / total).astype(np.float32) if total > 0 else None
