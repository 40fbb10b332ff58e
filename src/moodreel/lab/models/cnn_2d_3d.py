"""The 2D-3D-CNN that CACA-RNN was submitted together with (Sun et al., Sec. VI, Fig. 4)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.emotions import MEC_8
from moodreel.errors import DataError
from moodreel.lab.layers.dot_attention import clear_padding, mask_padding, widen

WIDTHS = (64, 128)
"""Channels of the 3D convolutions. The paper states no size: with these the network has 0.66 M parameters,
near the 0.79 M of CACA-RNN."""


class Block3d(nn.Module):
    """A 3x3x3 convolution, a layer norm over the channels of each place, ReLU.

    Not a batch norm: that would count padding, or clips by their length.

    Args:
        channels_in, channels_out: of the convolution.
        stride: in space; time keeps its length.
    """

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv = nn.Conv3d(channels_in, channels_out, 3, (1, stride, stride), 1, bias=False)
        self.norm = nn.LayerNorm(channels_out)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """[N, T, in, h, w], mask [N, T] -> [N, T, out, h / stride, w / stride], zero where padded."""
        y = self.conv(x.transpose(1, 2))  # [N, out, T, h', w']
        y = torch.relu(self.norm(y.movedim(1, -1)))  # [N, T, h', w', out]
        return clear_padding(y, mask).movedim(-1, 2)


class Cnn2d3d(nn.Module):
    """Feature maps of faces -> 3D convolutions -> adaptive pooling over time and space -> classes (Fig. 4).

    The 2D part is the face network's backbone, fixed: its maps are the input. Beyond the ends of a clip the
    convolutions see zeros, be there padding or nothing.

    Args:
        channels: C of the feature maps.
        classes: how many.
        dropout: before the classifier.
    """

    def __init__(self, channels: int = 256, classes: int = len(MEC_8), dropout: float = 0.0) -> None:
        super().__init__()
        self.channels = channels
        self.block1 = Block3d(channels, WIDTHS[0], stride=1)
        self.block2 = Block3d(WIDTHS[0], WIDTHS[1], stride=2)
        self.dropout = nn.Dropout(dropout)
        self.classify = nn.Linear(WIDTHS[1], classes)

    def forward(self, maps: Tensor, lengths: Tensor) -> Tensor:
        """Reads a batch of clips.

        Args:
            maps: [N, T, C, h, w] of the face network's backbone; anything where padded.
            lengths: [N] int64, 1 to T.

        Returns:
            logits [N, classes].

        Raises:
            DataError: a clip is empty, or the maps have another shape.
        """
        if maps.dim() != 5 or maps.shape[2] != self.channels or tuple(lengths.shape) != (len(maps),):
            came = f"{list(maps.shape)} and {list(lengths.shape)}"
            raise DataError(f"maps: expected [N, T, {self.channels}, h, w] and N lengths, got {came}")
        count, size = maps.shape[:2]
        if ((lengths < 1) | (lengths > size)).any():
            raise DataError(f"maps: lengths {lengths.tolist()}, expected each from 1 to {size}")
        mask = mask_padding(lengths, size)
        x = clear_padding(maps, mask)
        x = self.block2(self.block1(x, mask), mask)
        x = functional.adaptive_avg_pool2d(x.flatten(0, 1), 1).reshape(count, size, -1)
        pooled = x.sum(dim=1) / lengths.unsqueeze(1)  # padding is zero: the mean over each clip's own time
        return widen(self.classify(self.dropout(pooled)))
