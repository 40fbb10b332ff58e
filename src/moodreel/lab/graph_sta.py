"""What an ``sta`` bundle computes, as :mod:`moodreel.lab.networks` has it for the other systems."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moodreel.lab.models.sta import TraceNetwork
from moodreel.lab.settings_sta import StaSettings

STA_OUTPUTS = ("valence", "attention")
"""Names of the graph's outputs, in order; a network without attention has the first alone."""


class StaGraph(nn.Module):
    """From uint8 clips of aligned faces [N, T, H, W, 3] to valence [N, T] and attention [N, T, H, W].

    T is the settings' number of frames: loops over time are unrolled when the graph is exported, so only
    the batch axis is free. Valence is cut to [-1, 1], which a linear output may leave. A network without
    attention gives valence alone.
    """

    def __init__(self, net: TraceNetwork) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Runs the network on pixels."""
        out = self.net(self.net.normalise(frames))
        valence = out.valence.clamp(-1, 1)
        return (valence,) if out.attention is None else (valence, out.attention)


def example_clips(settings: StaSettings, count: int = 2) -> Tensor:
    """Random uint8 pixels of the shape that the network takes."""
    generator = torch.Generator().manual_seed(0)
    shape = (count, settings.frames, settings.input_size, settings.input_size, 3)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
