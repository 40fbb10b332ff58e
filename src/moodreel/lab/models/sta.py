"""STA: 3D-CNN with spatiotemporal attention (Lee, Kim, Kim, Sohn; ICASSP 2018)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.lab.layers.conv_lstm import ConvLSTM
from moodreel.lab.models.face_cnn import PIXEL_MEAN, PIXEL_STD
from moodreel.lab.settings_sta import StaSettings


class StaOutput(NamedTuple):
    """What STA or a peer says of a batch of clips.

    Attributes:
        valence: [N, T], one value a frame; with head "clip" the clip's value in every frame. A linear output
            may leave [-1, 1].
        attention: A, [N, T, H, W], sums to 1 over H x W; None for a network without attention.
    """

    valence: Tensor
    attention: Tensor | None


class TraceNetwork(nn.Module, ABC):
    """A network from clips of faces to valence along time.

    Args:
        settings: its sizes.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, settings: StaSettings) -> None:
        super().__init__()
        self.settings = settings
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """RGB [..., H, W, 3] in 0-255 -> normalised [..., 3, H, W]."""
        return ((pixels.float() / 255 - self.mean) / self.std).movedim(-1, -3)

    @abstractmethod
    def forward(self, frames: Tensor) -> StaOutput:
        """Normalised frames [N, T, 3, H, W] -> :class:`StaOutput`."""


class Head(nn.Module):
    """Two fully-connected layers with dropout between them (Sec. 2.3, 3.1).

    Args:
        inputs: features.
        outputs: values.
        settings: sizes, dropout, output.
    """

    def __init__(self, inputs: int, outputs: int, settings: StaSettings) -> None:
        super().__init__()
        self.first = nn.Linear(inputs, settings.hidden)
        self.dropout = nn.Dropout(settings.dropout)
        self.last = nn.Linear(settings.hidden, outputs)
        self.bounded = settings.output == "tanh"

    def forward(self, x: Tensor) -> Tensor:
        """[..., inputs] -> [..., outputs], float32 under autocast too."""
        value = widen(self.last(self.dropout(functional.relu(self.first(x)))))
        return torch.tanh(value) if self.bounded else value


class DecoderStage(nn.Module):
    """Deconvolution by 2, 3x3 ConvLSTM, tanh (Sec. 2.2.2)."""

    def __init__(self, inputs: int, outputs: int, size: int, peepholes: str) -> None:
        super().__init__()
        self.enlarge = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.recur = ConvLSTM(outputs, outputs, (size, size), peepholes)

    def forward(self, x: Tensor) -> Tensor:
        """[N, T, inputs, size / 2, size / 2] -> [N, T, outputs, size, size]."""
        larger: Tensor = self.enlarge(x.flatten(0, 1))
        return torch.tanh(self.recur(larger.reshape(*x.shape[:2], *larger.shape[1:])))


class AttentionNetwork(nn.Module):
    """Where to look in each frame (Sec. 2.2): shared encoder, recurrent decoder, spatial softmax.

    Args:
        settings: sizes; which state Eq. 2 reads.
    """

    def __init__(self, settings: StaSettings) -> None:
        super().__init__()
        stages = len(settings.encoder)
        channels = (3, *settings.encoder)
        self.encoder = nn.ModuleList(
            nn.Conv2d(channels[n], channels[n + 1], 3, padding=1) for n in range(stages)
        )
        channels = (settings.encoder[-1], *settings.decoder)
        sizes = [settings.input_size // 2 ** (stages - 1 - n) for n in range(stages)]
        self.decoder = nn.ModuleList(
            DecoderStage(channels[n], channels[n + 1], sizes[n], settings.peepholes) for n in range(stages)
        )
        # W_i of Eq. 2, one vector for all locations. A bias would cancel in the softmax.
        self.locate = nn.Conv2d(channels[-1], 1, 1, bias=False)
        self.delayed = settings.attention_from == "previous"

    def forward(self, frames: Tensor) -> Tensor:
        """Normalised frames [N, T, 3, H, W] -> A [N, T, H, W], float32 under autocast too."""
        x = frames.flatten(0, 1)
        for convolution in self.encoder:
            x = functional.max_pool2d(functional.relu(convolution(x)), 2)
        states = x.reshape(*frames.shape[:2], *x.shape[1:])
        for stage in self.decoder:
            states = stage(states)  # the last: H_t, [N, T, C, H, W]
        score: Tensor = self.locate(states.flatten(0, 1))  # W^T H_t, [N T, 1, H, W]
        height, width = score.shape[2:]
        score = score.reshape(*frames.shape[:2], height * width)
        if self.delayed:  # the state read is H_{t-1}, as printed; H_0 = 0
            score = torch.cat([torch.zeros_like(score[:, :1]), score[:, :-1]], dim=1)
        attention = torch.softmax(widen(score), dim=2)  # Eq. 2
        return attention.reshape(*frames.shape[:2], height, width)


class EmotionNetwork(nn.Module):
    """Four 3D convolutions, three 3D max-pools, two fully-connected layers (Sec. 2.3).

    Head "frame" pools in space alone and reads each frame's features with the same fully-connected layers;
    head "clip" pools in time too.

    Args:
        settings: sizes and head.
    """

    def __init__(self, settings: StaSettings) -> None:
        super().__init__()
        channels = (3, *settings.filters)
        self.convolutions = nn.ModuleList(
            nn.Conv3d(channels[n], channels[n + 1], 3, padding=1) for n in range(len(settings.filters))
        )
        self.pools = settings.pools
        self.whole = settings.head == "clip"
        cells = (settings.input_size // 2**self.pools) ** 2
        steps = settings.frames // 2**self.pools if self.whole else 1
        self.head = Head(settings.filters[-1] * cells * steps, 1, settings)

    def forward(self, frames: Tensor, attention: Tensor | None) -> Tensor:
        """Frames [N, T, 3, H, W], and A [N, T, H, W] or None -> valence [N, T]."""
        x = frames.transpose(1, 2)  # [N, 3, T, H, W]
        for place, convolution in enumerate(self.convolutions):
            x = functional.relu(convolution(x))
            if place == 0 and attention is not None:
                # Eq. 3. A sums to 1 over the cells; times H W its mean is 1, and X'' is as large as X'.
                cells = attention.shape[2] * attention.shape[3]
                x = x * (attention * cells).unsqueeze(1).to(x.dtype)
            if place < self.pools:
                x = functional.max_pool3d(x, 2 if self.whole else (1, 2, 2))
        if self.whole:
            value: Tensor = self.head(x.flatten(1))  # [N, 1]
            return value.expand(-1, frames.shape[1])
        each: Tensor = self.head(x.transpose(1, 2).flatten(2))  # [N, T, 1]
        return each.squeeze(2)


class Sta(TraceNetwork):
    """The paper's network (Fig. 2), or its 3D-CNN alone (second row of Table 1).

    Args:
        settings: ``network`` "sta" or "3d-cnn".
    """

    def __init__(self, settings: StaSettings) -> None:
        super().__init__(settings)
        self.attention = AttentionNetwork(settings) if settings.network == "sta" else None
        self.emotion = EmotionNetwork(settings)
        init_xavier(self)

    def forward(self, frames: Tensor) -> StaOutput:
        """Normalised frames [N, T, 3, H, W] -> :class:`StaOutput`."""
        attention = None if self.attention is None else cast(Tensor, self.attention(frames))
        return StaOutput(self.emotion(frames, attention), attention)


def widen(x: Tensor) -> Tensor:
    """Half precision to single; what is wider stays."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def init_xavier(net: nn.Module) -> None:
    """Xavier uniform weights (Sec. 3.1; Glorot and Bengio, 2010) and biases of 0, in place.

    Recurrent layers start as they say themselves.
    """
    for part in net.modules():
        if isinstance(part, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.Linear):
            nn.init.xavier_uniform_(part.weight)
            if part.bias is not None:
                nn.init.zeros_(part.bias)
