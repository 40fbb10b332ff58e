"""Clips of aligned faces at a fixed rate with valence along time: what STA learns from.

A clip is cut into windows of T ticks that do not overlap (Sec. 3.1: 16 at 4 fps); the last is padded. Faces
are cut out once, by :class:`FaceCutter`, and kept as pixels.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from moodreel import __version__
from moodreel.errors import DataError, MoodreelError
from moodreel.faces.detect import Detector, DetectorSettings, open_detector
from moodreel.faces.openpose import OpenPoseFiles
from moodreel.faces.video import FaceStream, bind_detector, read_face_ticks
from moodreel.lab.data.cached import ArrayStore, Failure, key_of
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.surroundings import change_light
from moodreel.lab.data.traces import read_trace
from moodreel.lab.settings_sta import StaSettings
from moodreel.media import Media, open_media
from moodreel.types import BoolArray, FloatArray, UInt8Array

PART = 64
"""Clips of one part on disk."""


@dataclass(frozen=True, eq=False)
class Windows:
    """The faces of one clip.

    Attributes:
        faces: [W, T, S, S, 3] uint8 RGB; a tick without a face shows the last one of its window before it, or
            else the first one after it: black would look like a cut. A window without any is black.
        found: [W, T] whether the tick has a face of its own.
        inside: [W, T] whether the tick lies in the clip; the others are padding.
    """

    faces: UInt8Array
    found: BoolArray
    inside: BoolArray


def cut_windows(media: Media, stream: FaceStream, frames: int, size: int) -> Windows:
    """Cuts the faces of a clip out, as a trace does, and lays them into windows from its first tick on.

    Args:
        media: the clip.
        stream: a new one; says where the face is.
        frames: T, ticks of a window.
        size: S, of the stream's pictures.

    Raises:
        MediaError: the content is broken.
        DataError: faces come from files, and they are wrong.
    """
    ticks = list(read_face_ticks(media, stream))
    count = -(-len(ticks) // frames)
    found, inside = np.zeros(count * frames, bool), np.zeros(count * frames, bool)
    inside[: len(ticks)] = True
    found[: len(ticks)] = [tick.found for tick in ticks]
    faces = np.zeros((count * frames, size, size, 3), np.uint8)
    for first in range(0, len(faces), frames):
        window = slice(first, first + frames)
        if found[window].any():
            for place, shown in enumerate(_hold(found[window])):
                picture = ticks[first + shown].picture
                assert picture is not None
                faces[first + place] = picture
    shape = (count, frames)
    return Windows(faces.reshape(*shape, *faces.shape[1:]), found.reshape(shape), inside.reshape(shape))


def _hold(found: BoolArray) -> list[int]:
    """For each place of a window with a face, that of the face it shows."""
    latest = np.maximum.accumulate(np.where(found, np.arange(len(found)), -1))
    shown: list[int] = np.where(latest < 0, int(found.argmax()), latest).tolist()
    return shown


class FaceCutter:
    """Windows of clips, cut once and kept in a store of arrays.

    Args:
        folder: where stores lie.
        settings: frames, rate, size.
        detector: for rows without keypoints, which cannot be read without one.
    """

    def __init__(self, folder: Path, settings: StaSettings, detector: Detector | None = None) -> None:
        self.settings, self.detector = settings, detector
        self.store = ArrayStore(
            folder,
            {
                "what": "aligned faces",
                "moodreel": __version__,
                "frames": settings.frames,
                "fps": settings.fps,
                "size": settings.input_size,
                **({} if detector is None else {"detector": detector.name}),
            },
        )

    def fill(self, rows: Sequence[Row], progress: Callable[[int], None] = lambda done: None) -> list[Failure]:
        """Cuts what the store lacks.

        Args:
            rows: the clips.
            progress: called with the number of clips that are through.

        Returns:
            clips that cannot be read, in order; they are tried again next time.
        """
        failures: list[Failure] = []
        kept: dict[str, Windows] = {}
        for done, row in enumerate(rows, start=1):
            try:
                key = key_of(row)
                if f"{key}-0" not in self.store and key not in kept:
                    kept[key] = self._read(row)
            except MoodreelError as error:
                failures.append(Failure(row.clip, str(error)))
            if len(kept) == PART:
                self._write(kept)
            progress(done)
        self._write(kept)
        return failures

    def list_windows(self, row: Row) -> list[str]:
        """Keys of a clip's windows in the store, in the order of time; none where it could not be read."""
        try:
            key = key_of(row)
        except DataError:
            return []
        numbered = (f"{key}-{number}" for number in itertools.count())
        return list(itertools.takewhile(lambda name: name in self.store, numbered))

    def _read(self, row: Row) -> Windows:
        detector = self.detector if row.keypoints is None else OpenPoseFiles(row.keypoints)
        if detector is None:
            raise DataError(f"{row.clip}: the manifest names no keypoints, which say where its face is")
        media, fps = open_media(row.clip), self.settings.fps
        finder = bind_detector(detector, media, fps)
        size = self.settings.input_size
        return cut_windows(media, FaceStream(finder, size, fps), self.settings.frames, size)

    def _write(self, kept: dict[str, Windows]) -> None:
        if kept:
            names = [f"{key}-{n}" for key, windows in kept.items() for n in range(len(windows.found))]
            arrays = {
                name: np.concatenate([getattr(windows, name) for windows in kept.values()])
                for name in ("faces", "found", "inside")
            }
            self.store.add(names, arrays)
            kept.clear()


def cut_faces(
    folder: Path,
    settings: StaSettings,
    rows: Sequence[Row],
    progress: Callable[[int], None] = lambda done: None,
) -> tuple[FaceCutter, list[Failure]]:
    """Cuts what is not cut yet; where rows have no keypoints, a detector is opened for as long as that takes.

    Returns:
        the cutter, and clips that cannot be read.

    Raises:
        MissingExtra: a detector is needed and not installed.
    """
    needed = settings.faces == "auto" and any(row.keypoints is None for row in rows)
    with open_detector(DetectorSettings()) if needed else nullcontext() as detector:
        cutter = FaceCutter(folder, settings, detector)
        return cutter, cutter.fill(rows, progress)


TraceBatch = dict[str, Tensor]
"""frames [N, T, S, S, 3] uint8, target [N, T] (0 where unknown), labelled [N, T] bool (there is a target),
found [N, T] bool (there is a face), inside [N, T] bool (no padding), clip [N] (number of the row), time
[N, T] seconds."""


class FaceVideoDataset(Dataset[TraceBatch]):
    """Windows of clips with their gold standards.

    A window counts in training where at least one tick has both a face and a target; for validation all
    windows of a clip are kept that has one such tick, so that values between faces can be interpolated.

    Args:
        rows: of one or more manifests, with ``keypoints`` and ``trace``; those without a trace are left out.
        cutter: filled with them.
        seed: of the augmentation.
        train: True mirrors and lights each window anew for each key (index, draw).

    Raises:
        DataError: a trace file is wrong, or no tick has both a face and a target.
    """

    def __init__(self, rows: Sequence[Row], cutter: FaceCutter, seed: int, train: bool) -> None:
        self.store, self.settings = cutter.store, cutter.settings
        self.seed, self.train = seed, train
        step = 1 / self.settings.fps
        span = np.arange(self.settings.frames) * step
        keys: list[str] = []
        clips: list[int] = []
        targets: list[FloatArray] = []
        times: list[FloatArray] = []
        found: list[BoolArray] = []
        insides: list[BoolArray] = []
        for number, row in enumerate(rows):
            windows = cutter.list_windows(row) if row.trace is not None else []
            if row.trace is None or not windows:
                continue
            time = np.arange(len(windows))[:, None] * (self.settings.frames * step) + span
            target = read_trace(row.trace, self.settings.target).at(time, step / 2)
            inside = self.store.gather(windows, "inside")
            target = np.where(inside, target, np.nan)
            seen = self.store.gather(windows, "found")
            usable = seen & ~np.isnan(target)
            counts = usable.any(axis=1) if train else np.repeat(usable.any(), len(windows))
            for place in np.flatnonzero(counts).tolist():
                keys.append(windows[place])
                clips.append(number)
                targets.append(target[place])
                times.append(time[place])
                found.append(seen[place])
                insides.append(inside[place])
        if not keys:
            raise DataError(f"none of {len(rows)} clips has a frame with both a face and a gold standard")
        self.keys = keys
        target = np.stack(targets)
        self.labelled = torch.from_numpy(~np.isnan(target))
        self.target = torch.from_numpy(np.nan_to_num(target).astype(np.float32))
        self.time = torch.from_numpy(np.stack(times))
        self.found = torch.from_numpy(np.stack(found))
        self.inside = torch.from_numpy(np.stack(insides))
        self.clip = torch.tensor(clips)

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, key: int | tuple[int, int]) -> TraceBatch:
        """One window, without the batch axis of :data:`TraceBatch`; ``key`` is an index, or (index, draw)."""
        index, draw = key if isinstance(key, tuple) else (key, 0)
        faces = self.store.gather([self.keys[index]], "faces")[0]
        if self.train:
            rng = np.random.default_rng([self.seed, index, draw])
            faces = augment_window(faces, rng, self.settings.mirror, self.settings.light)
        return {
            "frames": torch.from_numpy(np.ascontiguousarray(faces)),
            "target": self.target[index],
            "labelled": self.labelled[index],
            "found": self.found[index],
            "inside": self.inside[index],
            "clip": self.clip[index],
            "time": self.time[index],
        }


def augment_window(faces: UInt8Array, rng: np.random.Generator, mirror: bool, light: bool) -> UInt8Array:
    """Flip, contrast and colour, the same in all frames of a window (Sec. 3.1).

    Args:
        faces: [T, S, S, 3].
        rng: source of chance.
        mirror, light: whether to do the one and the other.

    Returns:
        of the same shape.
    """
    if mirror and rng.random() < 0.5:
        faces = faces[:, :, ::-1]
    if light:
        still = np.zeros(len(faces))  # no drift along the clip
        lit = change_light(faces.transpose(0, 3, 1, 2).astype(np.float32), still, rng)
        faces = np.rint(np.clip(lit, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)
    return faces


class ShuffleSampler(Sampler[tuple[int, int]]):
    """(index, epoch) of every item once an epoch, in an order that follows from (seed, epoch).

    Args:
        count: items.
        seed: of the orders.
    """

    def __init__(self, count: int, seed: int) -> None:
        self.count, self.seed = count, seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self.count

    def __iter__(self) -> Iterator[tuple[int, int]]:
        order: Iterable[int] = np.random.default_rng([self.seed, self.epoch]).permutation(self.count).tolist()
        yield from ((index, self.epoch) for index in order)
