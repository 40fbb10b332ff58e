"""Clips as CACA-RNN reads them: a face found and followed, its scene beside it, features, one RNN a face.

Frames go through the extractors in small batches while they are decoded, and the RNN reads a clip before the
next one is looked at: of a clip that waits for its row, some numbers an instant are held.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from threading import Lock
from typing import Any, Protocol
from weakref import finalize

import numpy as np

from moodreel.errors import BundleError
from moodreel.faces.detect import Detector, DetectorSettings, choose_detector, open_detector
from moodreel.faces.streams import FacePath, Look, Ticks, choose_ticks, find_paths, read_looks
from moodreel.media import Limits, Media, open_media
from moodreel.runtime.bundle import Bundle
from moodreel.runtime.engine import EngineSettings, Graph, Signature, check_shape, open_graph
from moodreel.runtime.readout import read_classes
from moodreel.runtime.schema import SYSTEMS, BundleInfo
from moodreel.types import Float32Array, FloatArray, Sample, SceneReading, UInt8Array

LOOKS_PER_RUN = 32
"""Pictures that are held until they go through the extractors together, at most."""

FACES_PER_RUN = 128
"""Faces that go through their extractor together, at most; of several pictures, no more are held."""

MOST = 1024
"""Instants of a clip where its bundle states no limit."""

INPUTS = {
    "frames": ("tensor(uint8)", SYSTEMS["caca-rnn"].axes),
    "face": ("tensor(float)", "TF"),
    "context": ("tensor(float)", "SF"),
}
"""Inputs of a bundle's graphs: type and axes."""

NO_FACE = "no face was found: read from the scene alone"
"""Why Context-RNN spoke."""


class SceneEngine(Protocol):
    """The networks of a ``caca-rnn`` bundle: the seam at which tests put a fake.

    Called from several threads at once.
    """

    def read_faces(self, pixels: UInt8Array) -> Float32Array:
        """Features [N, F] of faces, uint8 [N, S, S, 3]."""
        ...

    def read_context(self, pixels: UInt8Array) -> Float32Array:
        """Features [N, G] of whole frames, uint8 [N, S, S, 3]."""
        ...

    def read_streams(self, face: Float32Array, context: Float32Array) -> Mapping[str, Float32Array]:
        """``probabilities`` [8] and, of a cascade, ``attention`` [T2, T1], from [T, F] and [S, G]."""
        ...

    def read_scene(self, context: Float32Array) -> Mapping[str, Float32Array]:
        """``probabilities`` [8] from [S, G] alone (Context-RNN)."""
        ...


class OnnxSceneEngine:
    """Those networks, ONNX files all; the recurrent ones always in ONNX Runtime: OpenVINO refuses their scan.

    Args:
        bundle: of the system ``caca-rnn``.
        settings: what runs the extractors, and the threads and device of all.

    Raises:
        BundleError: a graph is missing, altered, or not the system's.
        MissingExtra, SettingsError: as of :func:`moodreel.runtime.engine.open_graph`.
    """

    def __init__(self, bundle: Bundle, settings: EngineSettings = EngineSettings()) -> None:  # noqa: B008
        def open_one(
            file: str, streams: Sequence[str], outputs: Mapping[str, int | None], chosen: EngineSettings
        ) -> Graph:
            signature = Signature({name: INPUTS[name] for name in streams}, outputs, system.optional)
            source = f"{bundle.source}: {file}"
            return open_graph(bundle.read_checked(file), signature, source, chosen, bundle.info.system)

        system = SYSTEMS["caca-rnn"]
        self._source, self._system = bundle.source, system
        scores = {name: size for name, size in system.outputs.items() if name not in system.optional}
        recurrent = replace(settings, engine="onnx")
        self._face = open_one("face.onnx", ["frames"], {"features": None}, settings)
        self._context = open_one("context.onnx", ["frames"], {"features": None}, settings)
        self._main = open_one("model.onnx", ["face", "context"], system.outputs, recurrent)
        self._fallback = open_one("fallback.onnx", ["context"], scores, recurrent)
        self.graph = self._face

    def read_faces(self, pixels: UInt8Array) -> Float32Array:
        """See :class:`SceneEngine`."""
        return self._check("face.onnx", self._face.run({"frames": pixels}), len(pixels))["features"]

    def read_context(self, pixels: UInt8Array) -> Float32Array:
        """See :class:`SceneEngine`."""
        return self._check("context.onnx", self._context.run({"frames": pixels}), len(pixels))["features"]

    def read_streams(self, face: Float32Array, context: Float32Array) -> Mapping[str, Float32Array]:
        """See :class:`SceneEngine`."""
        outputs = self._check("model.onnx", self._main.run({"face": face, "context": context}))
        if "attention" in outputs:  # over the moments of the LSTM that came first
            count = outputs["attention"].shape[1]
            if count not in (len(face), len(context)):
                raise BundleError(
                    f"{self._source}: model.onnx: output attention is over {count} moments of "
                    f"{len(face)} of the face, {len(context)} of the scene"
                )
        return outputs

    def read_scene(self, context: Float32Array) -> Mapping[str, Float32Array]:
        """See :class:`SceneEngine`."""
        return self._check("fallback.onnx", self._fallback.run({"context": context}))

    def _check(
        self, file: str, outputs: dict[str, Float32Array], count: int | None = None
    ) -> dict[str, Float32Array]:
        """The same outputs, if their shapes are those that were agreed."""
        shapes = {"features": "NF", **self._system.shapes}
        for name, array in outputs.items():
            sizes = {"N": count, "C": self._system.outputs.get(name)}
            check_shape(f"{self._source}: {file}", name, array, shapes[name], sizes)
        return outputs


@dataclass(frozen=True, eq=False)
class SceneSample(Sample):
    """A clip that the networks have read, for one face in it; ``frames`` is empty.

    Attributes:
        outputs: ``probabilities`` [8] and, of a cascade, ``attention`` [T1]: its mean over the moments of the
            second LSTM.
        path: the face; None without one.
        people: different faces found; None where the whole frame was taken as the face.
    """

    outputs: Mapping[str, Float32Array]
    path: FacePath | None
    people: int | None


class SceneReader:
    """Reads clips with the networks of one bundle.

    Args:
        info: of the bundle.
        engine: its networks.
        detector: who finds faces; None takes the whole frame as the face. What it leaves open is settled
            here.
        every_face: whether each face gives a sample; else the main one does (seen at most instants, then
            largest).

    Raises:
        MissingExtra: the detector is not installed.
    """

    def __init__(
        self,
        info: BundleInfo,
        engine: SceneEngine,
        detector: DetectorSettings | None,
        every_face: bool = False,
    ) -> None:
        self.info, self.engine, self.every_face = info, engine, every_face
        self.detector = None if detector is None else choose_detector(detector)
        self._opened: Detector | None = None
        self._lock = Lock()  # a detector has state: one clip at a time

    def sample(self, source: Any, limits: Limits) -> list[SceneSample]:
        """Looks at a clip: one sample a face that is read, one without a face where there is none.

        Args:
            source: as in :func:`moodreel.media.open_media`.
            limits: what may be decoded.

        Raises:
            MediaError: the input cannot be read.
            DataError: faces come from files, and they are wrong or of another clip.
            BundleError: a network or the detector's model is wrong, or fails on this input.
        """
        media, sampling = open_media(source, limits), self.info.sampling
        assert sampling.fps is not None
        starts = media.timeline.starts
        ticks = choose_ticks(starts, media.duration, sampling.fps, sampling.limit or MOST)
        paths = self._find(media, ticks)
        read = paths if self.every_face else paths[:1]
        context, faces = self._extract(media, ticks, read)
        said: list[tuple[FacePath | None, Mapping[str, Float32Array]]] = [
            (path, self._read(context, face, path)) for path, face in zip(read, faces, strict=True)
        ]
        if not said:
            said = [(None, self.engine.read_scene(context))]
        return [
            SceneSample(
                frames=np.empty((0, 1, 1, 3), np.uint8),
                times=ticks.times,
                width=media.width,
                height=media.height,
                frame_count=len(media),
                duration=media.duration,
                source=media.source,
                outputs=outputs,
                path=path,
                people=None if self.detector is None else len(paths),
            )
            for path, outputs in said
        ]

    def _find(self, media: Media, ticks: Ticks) -> tuple[FacePath, ...]:
        if self.detector is None:
            whole = np.tile([0.0, 0.0, 1.0, 1.0], (len(ticks), 1))
            return (FacePath(0, np.arange(len(ticks)), whole),)
        with self._lock:
            if self._opened is None:
                stack = ExitStack()
                self._opened = stack.enter_context(open_detector(self.detector))
                finalize(self, stack.close)
            return find_paths(media, self._opened, ticks)

    def _extract(
        self, media: Media, ticks: Ticks, paths: Sequence[FacePath]
    ) -> tuple[Float32Array, list[Float32Array]]:
        """Features of the context at every tick, [S, G], and of each path at its own, [M, F]."""
        wanted: dict[int, dict[int, FloatArray]] = {int(picture): {} for picture in ticks.pictures}
        for place, path in enumerate(paths):
            for tick, box in zip(path.ticks.tolist(), path.boxes, strict=True):
                wanted[int(ticks.pictures[tick])][place] = box
        assert self.info.input.face is not None
        boxes = {picture: list(held.values()) for picture, held in wanted.items()}
        looks = read_looks(media, boxes, self.info.input.face, self.info.input.height)
        context: dict[int, Float32Array] = {}
        faces: dict[tuple[int, int], Float32Array] = {}  # picture, path -> features
        for group in _group(looks):
            features = self.engine.read_context(np.stack([look.context for look in group]))
            context |= {look.picture: row for look, row in zip(group, features, strict=True)}
            keys = [(look.picture, place) for look in group for place in wanted[look.picture]]
            pixels = np.concatenate([look.faces for look in group])
            for start in range(0, len(keys), FACES_PER_RUN):
                part = slice(start, start + FACES_PER_RUN)
                faces |= dict(zip(keys[part], self.engine.read_faces(pixels[part]), strict=True))
        pictures = ticks.pictures.tolist()
        return np.stack([context[picture] for picture in pictures]), [
            np.stack([faces[pictures[tick], place] for tick in path.ticks.tolist()])
            for place, path in enumerate(paths)
        ]

    def _read(self, context: Float32Array, face: Float32Array, path: FacePath) -> Mapping[str, Float32Array]:
        """What the RNN says of one face: [S, G] of every tick, [M, F] of the face's own."""
        paired = self.info.input.pairing == "paired"
        outputs = dict(self.engine.read_streams(face, context[path.ticks] if paired else context))
        if "attention" in outputs:  # of an hour with many faces, whole maps would fill the memory
            outputs["attention"] = outputs["attention"].mean(axis=0)
        return outputs

    def run(self, samples: Sequence[SceneSample]) -> list[Mapping[str, Float32Array]]:
        """The outputs of samples, which were read as soon as they were looked at."""
        return [sample.outputs for sample in samples]


def read_caca_rnn(
    info: BundleInfo, outputs: Mapping[str, Float32Array], sample: Sample, per_frame: bool
) -> dict[str, Any]:
    """CACA-RNN: a class, the face it was read from, and the moments of the scene that were attended.

    Args:
        info: of the bundle.
        outputs: those of the sample.
        sample: a :class:`SceneSample`.
        per_frame: nothing is said of single instants.

    Returns:
        Fields of :class:`moodreel.types.Result`.
    """
    assert isinstance(sample, SceneSample)
    path, ticks = sample.path, len(sample.times)
    reading = SceneReading(share=0.0 if path is None else len(path) / ticks)
    if path is None:
        reading = replace(reading, reason=NO_FACE)
    else:
        reading = replace(reading, face=path.id, times=sample.times[path.ticks], boxes=path.boxes)
        if "attention" in outputs:
            moments = outputs["attention"].astype(np.float64)
            # of the LSTM that came first: the scene's in CACA-RNN A, the face's in B
            seen = sample.times if len(moments) == ticks else sample.times[path.ticks]
            reading = replace(reading, moments=moments, moment_times=seen)
    return {**read_classes(info, outputs["probabilities"]), "faces": sample.people, "scene": reading}


def _group(looks: Iterator[Look]) -> Iterator[list[Look]]:
    """Parts of a few pictures: of fewer, the more faces they show."""
    group: list[Look] = []
    faces = 0
    for look in looks:
        if group and (len(group) == LOOKS_PER_RUN or faces + len(look.faces) > FACES_PER_RUN):
            yield group
            group, faces = [], 0
        group.append(look)
        faces += len(look.faces)
    if group:
        yield group
