"""The two streams of CACA-RNN as features, computed once a clip and kept on disk.

Every picture that a clip can be seen by, from any of its first frames (``phases``), is looked at once: the
main face, cropped, and the frame's middle. Training then draws its first frame anew each time at no cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from moodreel import __version__
from moodreel.faces.detect import Detector
from moodreel.faces.streams import Ticks, choose_ticks, find_paths, read_looks
from moodreel.lab.data.cached import Array, ArrayStore, Failure, fill_store, key_of
from moodreel.lab.data.labels import class_of
from moodreel.lab.data.manifest import Row
from moodreel.lab.models.baselines import FaceFinder, KeypointFaces
from moodreel.lab.models.caca_rnn_system import Extractors
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.weights import hash_tensors
from moodreel.media import Media, open_media
from moodreel.types import BoolArray, FloatArray, IntArray

Batch = dict[str, Tensor]
"""face [N, T, 512], context [N, S, 2048], maps [N, T, 256, h, w] (2D-3D-CNN only), face_lengths [N],
context_lengths [N], every [N, E, 2048] and every_lengths [N] (all context frames), label [N] (-1 unknown),
has_face [N] bool. Zero where padded; a clip without a face has face_lengths 0."""

FRAMES_PER_RUN = 128
"""Pictures that go through an extractor together."""


class TrackedFaces:
    """The main face of a clip by its row's keypoints, or else as a detector finds and follows it.

    Args:
        detector: for rows without keypoints; None leaves those without a face.
    """

    def __init__(self, detector: Detector | None = None) -> None:
        self.detector = detector
        self.name = "keypoints" + (f", else tracked {detector.name}" if detector is not None else "")

    def find(self, row: Row, media: Media, shown: IntArray) -> FloatArray:
        """See :class:`moodreel.lab.models.baselines.FaceFinder`."""
        if row.keypoints is not None or self.detector is None:
            return KeypointFaces().find(row, media, shown)
        boxes = np.zeros((len(shown), 4))
        paths = find_paths(media, self.detector, Ticks(media.timeline.starts[shown], shown))
        if paths:
            boxes[paths[0].ticks] = paths[0].boxes
        return boxes


@dataclass(frozen=True, eq=False)
class _Seen:
    """One clip, looked at.

    Attributes:
        starts: [P] seconds, of its pictures.
        duration: seconds, of the clip.
        found: [P] whether the picture shows the face.
        faces: [found, F, F, 3] uint8.
        context: [P, S, S, 3] uint8.
    """

    starts: FloatArray
    duration: float
    found: BoolArray
    faces: NDArray[np.uint8]
    context: NDArray[np.uint8]


class StreamCache:
    """Features of both streams, clip by clip.

    Stored per clip of P pictures: ``face`` [P, 512] (zeros without a face) and ``context`` [P, 2048] float16,
    ``found`` [P], ``starts`` [P] seconds; ``count`` [] is P, ``duration`` [] seconds. With maps also ``maps``
    [P, 256, F / 32, F / 32] float16.

    Args:
        folder: where stores lie.
        extractors: with their weights.
        settings: of the system.
        finder: of faces.
        with_maps: whether feature maps of faces are kept, for the 2D-3D-CNN.
    """

    def __init__(
        self,
        folder: Path,
        extractors: Extractors,
        settings: CacaRnnSettings,
        finder: FaceFinder,
        with_maps: bool = False,
    ) -> None:
        self.extractors = extractors.eval()
        self.extractors.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # quicker on CPUs
        self.settings = settings
        self.finder = finder
        self.with_maps = with_maps
        self.store = ArrayStore(
            folder,
            {
                "what": "streams",
                "moodreel": __version__,
                "extractors": hash_tensors(extractors.state_dict()),
                "finder": finder.name,
                "maps": with_maps and "halved",
                **{
                    name: getattr(settings, name)
                    for name in ("face_size", "context_size", "fps", "limit", "phases", "extractor")
                },
            },
        )

    def fill(self, rows: Sequence[Row], progress: Callable[[int], None] = lambda done: None) -> list[Failure]:
        """Computes what is missing; see :func:`fill_store`."""
        return fill_store(self.store, rows, self._read, self._encode, progress)

    def _read(self, row: Row) -> _Seen:
        media, settings = open_media(row.clip), self.settings
        starts, duration = media.timeline.starts, media.duration
        offsets = np.arange(settings.phases) / (settings.phases * settings.fps)
        pictures = np.unique(
            np.concatenate(
                [choose_ticks(starts, duration, settings.fps, settings.limit, o).pictures for o in offsets]
            )
        )
        boxes = self.finder.find(row, media, pictures)
        found: BoolArray = np.all(boxes[:, 2:] > boxes[:, :2], axis=1)
        wanted = {
            picture: [box] if seen else []
            for picture, box, seen in zip(pictures.tolist(), boxes, found.tolist(), strict=True)
        }
        looks = list(read_looks(media, wanted, settings.face_size, settings.context_size))
        return _Seen(
            starts[pictures],
            duration,
            found,
            np.concatenate([look.faces for look in looks]),
            np.stack([look.context for look in looks]),
        )

    def _encode(self, clips: list[_Seen]) -> dict[str, Array]:
        found = np.concatenate([clip.found for clip in clips])
        faces = np.concatenate([clip.faces for clip in clips])
        read = self.extractors
        out: dict[str, Array] = {
            "count": np.array([len(clip.starts) for clip in clips]),
            "duration": np.array([clip.duration for clip in clips]),
            "starts": np.concatenate([clip.starts for clip in clips]),
            "found": found,
            "context": _run(read.read_context, np.concatenate([clip.context for clip in clips])),
        }
        shapes: dict[str, tuple[Callable[[Tensor], Tensor], tuple[int, ...]]] = {
            "face": (read.read_faces, (self.settings.face_features,))
        }
        if self.with_maps:
            side = self.settings.face_size // 32
            shapes["maps"] = (read.read_maps, (read.face.backbone.out_channels, side, side))
        for name, (run, shape) in shapes.items():
            values = np.zeros((len(found), *shape), np.float16)
            if len(faces):
                values[found] = _run(run, faces)
            out[name] = values
        return out


def _run(read: Callable[[Tensor], Tensor], pixels: NDArray[np.uint8]) -> Array:
    parts = []
    with torch.inference_mode():
        for start in range(0, len(pixels), FRAMES_PER_RUN):
            parts.append(read(torch.from_numpy(pixels[start : start + FRAMES_PER_RUN])).half().numpy())
    return np.concatenate(parts)


@dataclass(frozen=True, eq=False)
class ClipStreams:
    """Features of one clip at the ticks of one clock.

    Attributes:
        context: [E, 2048], of every tick.
        face: [T, 512], of the ticks that show the face.
        shown: [T] int64, which ticks those are.
        maps: [T, 256, h, w]; None unless kept.
    """

    context: Array
    face: Array
    shown: IntArray
    maps: Array | None = None


class StreamClips(Dataset[Batch]):
    """Clips as batches of features: index it with a list.

    Args:
        rows: of one or more manifests; each is in the cache.
        cache: filled with them.
        settings: of the system.
        train: True draws each clip's first frame; False takes the first.
        seed: of that draw, which follows from it and the indices of a batch: a resumed run repeats.
    """

    def __init__(
        self, rows: Sequence[Row], cache: StreamCache, settings: CacaRnnSettings, train: bool, seed: int = 0
    ) -> None:
        self.rows = list(rows)
        self.settings = settings
        self.train = train
        self.seed = seed
        self.with_maps = cache.with_maps
        self.labels = torch.tensor([class_of(row, settings.vocabulary) for row in rows])
        names = ["face", "context", "found", "starts"] + (["maps"] if cache.with_maps else [])
        keys = [key_of(row) for row in rows]
        self._clips = [
            dict(zip(names, values, strict=True))
            for values in zip(*(cache.store.gather_ragged(keys, name) for name in names), strict=True)
        ]
        self._durations = cache.store.gather(keys, "duration").tolist()
        self.has_face = torch.tensor([bool(clip["found"].any()) for clip in self._clips])

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, index: int, phase: int = 0) -> ClipStreams:
        """Streams of one clip, from one of its first frames."""
        clip, settings = self._clips[index], self.settings
        offset = phase / (settings.phases * settings.fps)
        ticks = choose_ticks(clip["starts"], self._durations[index], settings.fps, settings.limit, offset)
        place = ticks.pictures
        shown = np.flatnonzero(clip["found"][place])
        maps = clip["maps"][place[shown]] if self.with_maps else None
        return ClipStreams(clip["context"][place], clip["face"][place[shown]], shown, maps)

    def __getitem__(self, index: Sequence[int]) -> Batch:
        """Batch of a list of indices."""
        chosen = list(index)
        phases = np.zeros(len(chosen), int)
        if self.train:
            rng = np.random.default_rng([self.seed, *chosen])
            phases = rng.integers(self.settings.phases, size=len(chosen))
        streams = [self.read(i, int(phase)) for i, phase in zip(chosen, phases, strict=True)]
        # A clip is paired by its face; one that never shows it is seen whole.
        paired = self.settings.context == "paired"
        context = [s.context[s.shown] if paired and len(s.shown) else s.context for s in streams]
        batch = {
            "label": self.labels[chosen],
            "has_face": torch.tensor([len(s.shown) > 0 for s in streams]),
        }
        parts = {"face": [s.face for s in streams], "context": context, "every": [s.context for s in streams]}
        if self.with_maps:
            parts["maps"] = [s.maps for s in streams if s.maps is not None]
        for name, values in parts.items():
            batch[name], lengths = pad_clips(values)
            if name != "maps":
                batch[f"{name}_lengths"] = lengths
        return batch


def pad_clips(clips: Sequence[Array]) -> tuple[Tensor, Tensor]:
    """[T_n, ...] arrays of clips -> ([N, max T, ...] float32, zero where padded; lengths [N] int64)."""
    lengths = [len(clip) for clip in clips]
    padded = np.zeros((len(clips), max(1, *lengths), *clips[0].shape[1:]), np.float32)
    for row, clip in enumerate(clips):
        padded[row, : len(clip)] = clip
    return torch.from_numpy(padded), torch.tensor(lengths)


def pick(batch: Batch, rows: Tensor) -> Batch:
    """Some clips of a batch: [N] bool."""
    return {name: value[rows] for name, value in batch.items()}
