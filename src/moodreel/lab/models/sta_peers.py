"""What STA's paper compares with (Tables 1 to 3): 2D-CNNs, and CNNs with an RNN or an LSTM."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.lab.layers.hs_lstm import LSTMNode
from moodreel.lab.models.sta import Head, Sta, StaOutput, TraceNetwork, init_xavier, widen
from moodreel.lab.settings_sta import StaSettings

RNN_SECONDS = {"cnn-rnn-1s": 1.0, "cnn-rnn-4s": 4.0}
"""How far back the RNN sees."""


def build_trace_network(settings: StaSettings) -> TraceNetwork:
    """The network that the settings name, at random."""
    if settings.network in ("sta", "3d-cnn"):
        return Sta(settings)
    if settings.network == "2d-cnn":
        return FrameNetwork(settings)
    if settings.network == "2d-cnn-channels":
        return ChannelNetwork(settings)
    if settings.network == "cnn-lstm":
        return LSTMNetwork(settings)
    return RNNNetwork(settings, RNN_SECONDS[settings.network])


class PlaneCNN(nn.Module):
    """The emotion network's convolutions and pools, in the plane: [N, inputs, H, W] -> [N, features].

    Args:
        inputs: channels.
        settings: sizes.
    """

    def __init__(self, inputs: int, settings: StaSettings) -> None:
        super().__init__()
        channels = (inputs, *settings.filters)
        self.convolutions = nn.ModuleList(
            nn.Conv2d(channels[n], channels[n + 1], 3, padding=1) for n in range(len(settings.filters))
        )
        self.pools = settings.pools
        self.features = settings.filters[-1] * (settings.input_size // 2**self.pools) ** 2

    def forward(self, x: Tensor) -> Tensor:
        """Runs the network."""
        for place, convolution in enumerate(self.convolutions):
            x = functional.relu(convolution(x))
            if place < self.pools:
                x = functional.max_pool2d(x, 2)
        return x.flatten(1)


class FrameNetwork(TraceNetwork):
    """2D-CNN: each frame alone (Khorrami et al., ICIP 2016; first row of Table 1)."""

    def __init__(self, settings: StaSettings) -> None:
        super().__init__(settings)
        self.cnn = PlaneCNN(3, settings)
        self.head = Head(self.cnn.features, 1, settings)
        init_xavier(self)

    def forward(self, frames: Tensor) -> StaOutput:
        """Normalised frames [N, T, 3, H, W] -> :class:`StaOutput`."""
        features = self.cnn(frames.flatten(0, 1)).unflatten(0, frames.shape[:2])
        return StaOutput(self.head(features).squeeze(2), None)


class ChannelNetwork(TraceNetwork):
    """2D-CNN that takes the frames for channels, as Sec. 2.3 of the paper describes such networks."""

    def __init__(self, settings: StaSettings) -> None:
        super().__init__(settings)
        self.cnn = PlaneCNN(3 * settings.frames, settings)
        self.head = Head(self.cnn.features, settings.frames if settings.head == "frame" else 1, settings)
        init_xavier(self)

    def forward(self, frames: Tensor) -> StaOutput:
        """Normalised frames [N, T, 3, H, W] -> :class:`StaOutput`."""
        value = self.head(self.cnn(frames.flatten(1, 2)))  # [N, T] or [N, 1]
        return StaOutput(value.expand(-1, frames.shape[1]), None)


class RNNNetwork(TraceNetwork):
    """CNN + RNN (Khorrami et al., ICIP 2016): each frame's value after its last seconds, from a zero state.

    Args:
        settings: sizes.
        seconds: how far back the RNN sees; where the input begins later, from there.
    """

    def __init__(self, settings: StaSettings, seconds: float) -> None:
        super().__init__(settings)
        self.window = max(1, round(seconds * settings.fps))
        self.cnn = PlaneCNN(3, settings)
        self.first = nn.Linear(self.cnn.features, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.read = nn.Linear(settings.hidden, settings.recurrent)
        self.recur = nn.Linear(settings.recurrent, settings.recurrent, bias=False)
        self.last = nn.Linear(settings.recurrent, 1)
        init_xavier(self)
        nn.init.orthogonal_(self.recur.weight)

    def forward(self, frames: Tensor) -> StaOutput:
        """Normalised frames [N, T, 3, H, W] -> :class:`StaOutput`."""
        count, length = frames.shape[:2]
        features = self.cnn(frames.flatten(0, 1)).unflatten(0, (count, length))
        inputs = self.read(self.dropout(functional.relu(self.first(features))))  # [N, T, d]
        # All windows run side by side: h[:, t] is the state of the one that ends in frame t.
        h = torch.zeros_like(inputs)
        for back in range(min(self.window, length) - 1, -1, -1):
            fresh = torch.tanh(inputs[:, : length - back] + self.recur(h[:, back:]))
            h = torch.cat([h[:, :back], fresh], dim=1)  # windows that have not begun keep their 0
        return StaOutput(_bound(self.last(h), self.settings), None)


class LSTMNetwork(TraceNetwork):
    """CNN + LSTM over the clip (Chao et al., AVEC 2015; with the epsilon-insensitive loss in Table 2)."""

    def __init__(self, settings: StaSettings) -> None:
        super().__init__(settings)
        self.cnn = PlaneCNN(3, settings)
        self.first = nn.Linear(self.cnn.features, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.node = LSTMNode(settings.hidden, settings.recurrent)
        self.last = nn.Linear(settings.recurrent, 1)
        init_xavier(self)

    def forward(self, frames: Tensor) -> StaOutput:
        """Normalised frames [N, T, 3, H, W] -> :class:`StaOutput`."""
        count, length = frames.shape[:2]
        features = self.cnn(frames.flatten(0, 1)).unflatten(0, (count, length))
        projected = self.node.project(self.dropout(functional.relu(self.first(features))))
        h = c = projected.new_zeros(count, self.settings.recurrent)
        states = []
        for now in projected.unbind(1):
            h, c = self.node(now, h, c)
            states.append(h)
        return StaOutput(_bound(self.last(torch.stack(states, dim=1)), self.settings), None)


def _bound(value: Tensor, settings: StaSettings) -> Tensor:
    """[N, T, 1] -> [N, T], through tanh where the settings say so."""
    value = widen(value.squeeze(2))
    return torch.tanh(value) if settings.output == "tanh" else value
