"""What a frozen backbone says of each clip, computed once and kept on disk.

An :class:`ArrayStore` keeps arrays of clips in a folder: memory-mapped ``.npy`` parts and one ``index.json``.
A clip is known by the sha256 of its content (and of its keypoint file), so a changed file is a new clip; what
else the arrays depend on (weights, sizes, version) is hashed into the folder's name. Parts and index appear
whole or not at all: a killed run loses the clips of one part.
"""

from __future__ import annotations

import copy
import hashlib
import json
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from moodreel import __version__
from moodreel.errors import DataError, MoodreelError
from moodreel.faces.openpose import read_keypoints
from moodreel.lab.data.clips import Batch, ClipDataset
from moodreel.lab.data.labels import label_arrays
from moodreel.lab.data.manifest import Row
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.settings import KavanSettings
from moodreel.lab.weights import hash_tensors
from moodreel.media import frames_showing, open_media, segment_times
from moodreel.runtime.files import replace_file
from moodreel.types import FloatArray, IntArray

T = TypeVar("T")
Array = NDArray[Any]

FORMAT = 1
CHUNK = 32
"""Clips that are read and encoded together."""
PART = 4
"""Chunks of one part on disk."""


@dataclass(frozen=True)
class Failure:
    """A clip that could not be read.

    Attributes:
        clip: its path.
        reason: one line.
    """

    clip: Path
    reason: str


class ArrayStore:
    """Arrays by key, in a folder of parts.

    Args:
        folder: where stores lie; made if absent.
        facts: all that the arrays depend on beside the key; another fact is another store.

    Raises:
        DataError: the index is not ours.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        text = json.dumps({"format": FORMAT, **facts}, sort_keys=True)
        self.folder = folder / hashlib.sha256(text.encode()).hexdigest()[:16]
        self.folder.mkdir(parents=True, exist_ok=True)
        with replace_file(self.folder / "facts.json") as file:
            file.write(text.encode())
        self._open: dict[tuple[str, str], Array] = {}
        self._names: dict[str, list[str]] = {}  # part -> its arrays
        self._index: dict[str, tuple[str, int]] = {}  # key -> (part, row)
        if (self.folder / "index.json").exists():
            self._read_index(self.folder / "index.json")

    def _read_index(self, path: Path) -> None:
        try:
            listed = json.loads(path.read_text("utf-8"))
            index = {str(key): (str(part), int(row)) for key, (part, row) in listed["clips"].items()}
            names = {str(part): [str(name) for name in arrays] for part, arrays in listed["parts"].items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: no index of stored arrays ({error}); delete the folder") from error
        counts: dict[str, int] = {}
        for part, row in index.values():
            counts[part] = max(counts.get(part, 0), row + 1)
        whole = {part for part, arrays in names.items() if self._is_whole(part, arrays, counts.get(part, 0))}
        self._names = {part: names[part] for part in whole}
        self._index = {key: place for key, place in index.items() if place[0] in whole}

    def _is_whole(self, part: str, names: Sequence[str], rows: int) -> bool:
        try:
            return all(len(self._load(part, name)) >= rows for name in names)
        except (OSError, ValueError, EOFError):  # gone or cut off: its clips are computed again
            return False

    def _load(self, part: str, name: str) -> Array:
        if (part, name) not in self._open:
            path = self.folder / f"{part}.{name}.npy"
            self._open[part, name] = np.load(path, mmap_mode="r", allow_pickle=False)
        return self._open[part, name]

    def __contains__(self, key: str) -> bool:
        return key in self._index

    def __len__(self) -> int:
        return len(self._index)

    def add(self, keys: Sequence[str], arrays: Mapping[str, Array]) -> None:
        """Stores arrays [n, ...] of n clips, under names that are the same in every call.

        Raises:
            OSError: the folder cannot be written.
        """
        part = secrets.token_hex(6)
        for name, values in arrays.items():
            with replace_file(self.folder / f"{part}.{name}.npy") as file:
                np.save(file, values, allow_pickle=False)
        self._index.update({key: (part, row) for row, key in enumerate(keys)})
        self._names[part] = list(arrays)
        text = json.dumps({"format": FORMAT, "parts": self._names, "clips": self._index})
        with replace_file(self.folder / "index.json") as file:
            file.write(text.encode())

    def gather(self, keys: Iterable[str], name: str) -> Array:
        """Copies one array of each clip: [n, ...].

        Raises:
            KeyError: a clip is not stored.
        """
        return np.stack([self._load(part, name)[row] for part, row in (self._index[key] for key in keys)])

    def gather_ragged(self, keys: Iterable[str], name: str) -> list[Array]:
        """One array of each clip, [P, ...], where clips have a number of rows of their own.

        Such arrays are stored end to end; how many rows are a clip's stands under the name ``count``, [n].
        They are views of the disk, not copies.

        Raises:
            KeyError: a clip is not stored.
        """
        ends: dict[str, IntArray] = {}
        found = []
        for key in keys:
            part, row = self._index[key]
            if part not in ends:
                ends[part] = np.concatenate([[0], np.cumsum(self._load(part, "count"))])
            found.append(self._load(part, name)[ends[part][row] : ends[part][row + 1]])
        return found


def fill_store(
    store: ArrayStore,
    rows: Sequence[Row],
    read: Callable[[Row], T],
    encode: Callable[[list[T]], Mapping[str, Array]],
    progress: Callable[[int], None] = lambda done: None,
) -> list[Failure]:
    """Computes what a store lacks.

    Args:
        store: to fill.
        rows: the clips.
        read: one clip; a MoodreelError it raises makes the clip a failure.
        encode: clips that were read -> arrays, one row a clip.
        progress: called with the number of clips that are through.

    Returns:
        clips that cannot be read, in order; they are tried again next time.
    """
    failures: list[Failure] = []
    keys: list[str] = []
    chunk: list[T] = []
    kept_keys: list[str] = []
    kept: list[Mapping[str, Array]] = []
    waiting: set[str] = set()

    def finish_chunk() -> None:
        if chunk:
            kept.append(encode(chunk))
            kept_keys.extend(keys)
            chunk.clear()
            keys.clear()

    def finish_part() -> None:
        if kept:
            store.add(kept_keys, {name: np.concatenate([k[name] for k in kept]) for name in kept[0]})
            kept.clear()
            kept_keys.clear()

    for done, row in enumerate(rows, start=1):
        try:
            key = key_of(row)
            if key not in store and key not in waiting:
                chunk.append(read(row))
                keys.append(key)
                waiting.add(key)
        except MoodreelError as error:
            failures.append(Failure(row.clip, str(error)))
        if len(chunk) == CHUNK:
            finish_chunk()
        if len(kept) == PART:
            finish_part()
        progress(done)
    finish_chunk()
    finish_part()
    return failures


def key_of(row: Row) -> str:
    """sha256 (hex) of a clip's content and of its keypoint file: the same for copies, whatever their names.

    Raises:
        DataError: one of the two cannot be read.
    """
    whole = hashlib.sha256()
    for path in (row.clip, row.keypoints):
        if path is None:
            whole.update(b"none")
            continue
        files = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
        for file in files:
            try:
                with file.open("rb") as stream:
                    whole.update(hashlib.file_digest(stream, "sha256").digest())
            except OSError as error:
                raise DataError(f"{file}: {error.strerror or error}") from error
    return whole.hexdigest()


class FeatureCache:
    """A backbone's features of clips, seen without augmentation: the middle of each segment of time.

    Stored per clip: ``features`` C_t [T, K, D] float16, ``heatmap`` M_t [T, K] and ``supervised`` [T] as
    :class:`ClipDataset` gives them, and ``boxes`` [T, 4], the face as its keypoints say (left, top, right,
    bottom, 0-1 of the frame; zeros without one).

    Args:
        folder: where stores lie.
        net: the network whose backbone is asked; only its backbone matters.
        settings: of that network.
    """

    def __init__(self, folder: Path, net: Kavan, settings: KavanSettings) -> None:
        self.net = net.eval()
        self.settings = settings
        self.store = ArrayStore(
            folder,
            {
                "what": "features",
                "moodreel": __version__,
                "backbone": hash_tensors(net.backbone.state_dict()),
                "preset": settings.preset,
                "input_size": settings.input_size,
                "still_size": settings.longest_still,
                "frames": settings.frames,
                "heatmap_temperature": settings.heatmap_temperature,
            },
        )

    def fill(self, rows: Sequence[Row], progress: Callable[[int], None] = lambda done: None) -> list[Failure]:
        """Computes what is missing; see :func:`fill_store`."""
        return fill_store(self.store, rows, self._read, self._encode, progress)

    def _read(self, row: Row) -> tuple[dict[str, Tensor], FloatArray]:
        # One row at a time: what a data set makes of a still follows from the row's place in it.
        item = ClipDataset((row,), self.settings, seed=0, train=False)[0]
        return item, find_boxes(row, self.settings.frames)

    def _encode(self, clips: list[tuple[dict[str, Tensor], FloatArray]]) -> dict[str, Array]:
        with torch.no_grad():
            frames = torch.stack([item["frames"] for item, _ in clips])
            features = self.net.extract(self.net.normalise(frames))
        return {
            "features": features.half().numpy(),
            "heatmap": torch.stack([item["heatmap"] for item, _ in clips]).numpy(),
            "supervised": torch.stack([item["supervised"] for item, _ in clips]).numpy(),
            "boxes": np.stack([boxes for _, boxes in clips]).astype(np.float32),
        }


def find_boxes(row: Row, frames: int) -> FloatArray:
    """[T, 4] box of the face in each sampled frame, as the row's keypoints say; zeros without one."""
    if row.keypoints is None:
        return np.zeros((frames, 4))
    media = open_media(row.clip)
    shown = frames_showing(media.timeline.starts, segment_times(media.duration, frames))
    return pick_boxes(row, shown)


def pick_boxes(row: Row, shown: IntArray) -> FloatArray:
    """[n, 4] box of the face in pictures [n] of a clip, as its keypoints say; zeros without one.

    Raises:
        DataError: the keypoint file is wrong.
    """
    boxes = np.zeros((len(shown), 4))
    if row.keypoints is None:
        return boxes
    keypoints = read_keypoints(row.keypoints)
    held = dict(zip(keypoints.frames.tolist(), keypoints.boxes, strict=True))
    for place, picture in enumerate(shown.tolist()):
        boxes[place] = held.get(picture, 0.0)
    return boxes


class CachedClips(Dataset[Batch]):
    """Stored features with their labels, as whole batches: index it with a list.

    A batch is a :data:`moodreel.lab.data.clips.Batch` with ``features`` [N, T, K, D] float16 for ``frames``.

    Args:
        rows: of one or more manifests; each is in the cache.
        cache: filled with them.
    """

    def __init__(self, rows: Sequence[Row], cache: FeatureCache) -> None:
        self.rows = list(rows)
        self.store = cache.store
        self.keys = [key_of(row) for row in rows]
        labels = [label_arrays(row) for row in rows]
        self.scores = torch.from_numpy(np.stack([scores for scores, _, _ in labels]))
        self.known = torch.from_numpy(np.stack([known for _, known, _ in labels]))
        self.category = torch.tensor([category for _, _, category in labels])
        self.heatmap = torch.from_numpy(self.store.gather(self.keys, "heatmap"))
        self.supervised = torch.from_numpy(self.store.gather(self.keys, "supervised"))

    def select(self, index: Sequence[int], withheld: Iterable[int] = ()) -> CachedClips:
        """Some of the clips.

        Args:
            index: of the clips, in their new order.
            withheld: indices (into this data set) of clips whose keypoints are not shown.
        """
        chosen, hidden = list(index), set(withheld)
        part = copy.copy(self)
        part.rows, part.keys = [self.rows[i] for i in chosen], [self.keys[i] for i in chosen]
        part.scores, part.known = self.scores[chosen], self.known[chosen]
        part.category, part.heatmap = self.category[chosen], self.heatmap[chosen]
        part.supervised = self.supervised[chosen] & torch.tensor([[i not in hidden] for i in chosen])
        return part

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: Sequence[int]) -> Batch:
        """Batch of a list of indices."""
        chosen = list(index)
        return {
            "features": torch.from_numpy(self.store.gather([self.keys[i] for i in chosen], "features")),
            "scores": self.scores[chosen],
            "known": self.known[chosen],
            "category": self.category[chosen],
            "heatmap": self.heatmap[chosen],
            "supervised": self.supervised[chosen],
        }
