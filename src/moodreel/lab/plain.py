"""The plain way of a prediction, to measure ours against: Pillow decodes all frames, PyTorch runs eagerly.

Both ways use the same resizer and, for Pillow's frames, the same rules on white and on short delays, so that
scores can be compared.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn

from moodreel.errors import require
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.networks import build_graph, load_bundle
from moodreel.media import Timeline, frames_showing, open_media, segment_times
from moodreel.media.base import convert, resize
from moodreel.runtime.bundle import Bundle
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.schema import BundleInfo
from moodreel.types import FloatArray, UInt8Array

SUFFIXES = frozenset({".gif", ".png", ".apng", ".webp", ".jpg", ".jpeg"})
"""What Pillow reads too."""


class PlainWay:
    """Files to scores, one clip at a time.

    Args:
        bundle: of ``kavan``, with weights.

    Raises:
        SettingsError: of another system.
        BundleError: its weights are missing or broken.
    """

    def __init__(self, bundle: Bundle) -> None:
        info = bundle.info
        require(info.system == "kavan", "model", info.name, "a kavan bundle, for the plain way")
        net = load_bundle(bundle)[1]
        assert isinstance(net, Kavan)
        self.info = info
        self.graph: nn.Module = build_graph(net).eval()

    def score(self, path: str) -> FloatArray:
        """Supervised intensities, then supervised probabilities of a file."""
        return self.score_frames(sample_plain(path, self.info))

    def score_frames(self, frames: UInt8Array) -> FloatArray:
        """The same of sampled frames, [T, H, W, 3] uint8."""
        with torch.no_grad():
            intensities, probabilities, *_ = self.graph(torch.from_numpy(frames)[None])
        known = [name in self.info.supervised.emotions for name in self.info.labels.emotions]
        classes = [name in self.info.supervised.categories for name in self.info.labels.categories]
        both = [intensities[0].numpy()[known], probabilities[0].numpy()[classes]]
        return np.concatenate(both).astype(np.float64)


def sample_plain(path: str, info: BundleInfo) -> UInt8Array:
    """All frames through Pillow, then those at the middle of equal segments, at the bundle's size."""
    frames, delays = [], []
    with Image.open(path) as image:
        count = getattr(image, "n_frames", 1)
        for index in range(count):
            image.seek(index)
            if image.has_transparency_data:
                frames.append(convert(np.asarray(image.convert("RGBA")), "rgb"))
            else:
                frames.append(np.asarray(image.convert("RGB")))
            delays.append(image.info.get("duration", 0) / 1000)
    line = Timeline.from_delays(delays, None) if count > 1 else Timeline.from_rate(1, 1.0)
    assert info.sampling.count is not None
    chosen = frames_showing(line.starts, segment_times(line.duration, info.sampling.count))
    size = (info.input.height, info.input.width)
    return np.stack([resize(Image.fromarray(frames[i]), size) for i in chosen])


def find_common(paths: Sequence[str], info: BundleInfo) -> list[str]:
    """The files that both ways read."""
    files = []
    for path in paths:
        if Path(path).suffix.lower() not in SUFFIXES:
            continue
        try:
            all(True for _ in open_media(path).read([0]))
            sample_plain(path, info)
        except Exception:  # a file that either way refuses is no part of the comparison
            continue
        files.append(path)
    return files


def score_ours(recognizer: Recognizer, paths: Sequence[str], workers: int) -> FloatArray:
    """The same numbers as :meth:`PlainWay.score`, [files, scores], by the runtime.

    Raises:
        MoodreelError: a file failed.
    """
    rows = []
    for result in recognizer.map(paths, workers=workers):
        require(result.error is None, "paths", result.source, "files that can be read")
        scores = [*result.emotions.values(), *result.probabilities.values()]
        rows.append([score for score in scores if score is not None])
    return np.array(rows)


def take_turns(
    ours: Callable[[], Any],
    plain: Callable[[], Any],
    repeats: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, list[float]]:
    """Seconds of each way, in turns (A B A B); the first turn of each is not counted."""
    seconds: dict[str, list[float]] = {"ours": [], "plain": []}
    for turn in range(repeats + 1):
        for name, run in (("ours", ours), ("plain", plain)):
            begin = clock()
            run()
            if turn:
                seconds[name].append(clock() - begin)
    return seconds


def compare_ways(
    bundle: Bundle,
    recognizer: Recognizer,
    paths: Sequence[str],
    repeats: int,
    threads: int,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Both ways over the same files, in turns.

    Args:
        bundle: of ``kavan``.
        recognizer: of the same bundle.
        paths: files; those that Pillow does not read are left out.
        repeats: turns of each way.
        threads: of PyTorch.
        clock: seconds.

    Returns:
        ``files``, ``seconds`` ({"ours", "plain"}: one a turn) and ``score_difference``, the largest;
        ``files`` alone, 0, where the two have none in common.

    Raises:
        SettingsError: a bundle of another system.
    """
    way = PlainWay(bundle)
    files = find_common(paths, bundle.info)
    if not files:
        return {"files": 0}
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    scores: dict[str, FloatArray] = {}
    try:
        seconds = take_turns(
            lambda: scores.update(ours=score_ours(recognizer, files, min(8, threads))),
            lambda: scores.update(plain=np.array([way.score(path) for path in files])),
            repeats,
            clock,
        )
    finally:
        torch.set_num_threads(before)
    gap = float(np.abs(scores["ours"] - scores["plain"]).max())
    return {"files": len(files), "seconds": seconds, "score_difference": gap}
