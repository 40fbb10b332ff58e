"""Clips as KAVAN and the face network read them: some frames of each, through one network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from moodreel.media import Limits, open_media, rate_times, sample_media, segment_times
from moodreel.runtime.engine import Engine
from moodreel.runtime.schema import SYSTEMS, BundleInfo, Sampling
from moodreel.types import Float32Array, FloatArray, Sample

FRAMES_PER_RUN = 128
"""Single frames that go into one run of the network, at most."""


class FrameReader:
    """Samples frames of clips, and runs the network on several clips at once.

    Args:
        info: of the bundle.
        engine: its network.
    """

    def __init__(self, info: BundleInfo, engine: Engine) -> None:
        self.info = info
        self.engine = engine

    def sample(self, source: Any, limits: Limits) -> list[Sample]:
        """Decodes what the bundle's sampling asks for: one sample a clip."""
        return [sample_clip(self.info, source, limits)]

    def run(self, samples: Sequence[Sample]) -> list[dict[str, Float32Array]]:
        """Runs the network on samples: as few runs as their lengths allow, the outputs split by sample."""
        outputs: list[dict[str, Float32Array]] = [{} for _ in samples]
        if SYSTEMS[self.info.system].axes == "NTHWC":  # clips of one length go together
            lengths: dict[int, list[int]] = {}
            for k, sample in enumerate(samples):
                lengths.setdefault(len(sample.frames), []).append(k)
            for members in lengths.values():
                whole = self.engine.run(np.stack([samples[k].frames for k in members]))
                for row, k in enumerate(members):
                    outputs[k] = {name: array[row] for name, array in whole.items()}
            return outputs
        frames = np.concatenate([sample.frames for sample in samples])
        parts = [
            self.engine.run(frames[start : start + FRAMES_PER_RUN])
            for start in range(0, len(frames), FRAMES_PER_RUN)
        ]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        ends = np.cumsum([len(sample.frames) for sample in samples]).tolist()
        for k, sample in enumerate(samples):
            outputs[k] = {
                name: array[ends[k] - len(sample.frames) : ends[k]] for name, array in joined.items()
            }
        return outputs


def sample_clip(info: BundleInfo, source: Any, limits: Limits) -> Sample:
    """Decodes of a clip what a bundle's sampling asks for.

    Raises:
        MediaError: it cannot be read.
    """
    media = open_media(source, limits)
    times, pick = choose_times(info.sampling, media.duration)
    return sample_media(media, times, (info.input.height, info.input.width), pick)


def choose_times(sampling: Sampling, duration: float) -> tuple[FloatArray, Literal["showing", "nearest"]]:
    """Instants of a clip of so many seconds, and how a frame is picked for each: see ``sample_media``."""
    count = sampling.count
    if sampling.fps is not None:
        if sampling.limit is None or duration * sampling.fps <= sampling.limit:
            return rate_times(duration, sampling.fps), "nearest"
        count = sampling.limit  # a longer clip is seen from end to end, only more sparsely
    assert count is not None
    return segment_times(duration, count), "showing"
