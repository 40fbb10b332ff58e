"""The hierarchical segment LSTM of KAVAN Sec. 3.2, of any number of tiers; one tier is the plain LSTM."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.lab.layers.attention import KeypointAttention


class LSTMNode(nn.Module):
    """One LSTM step, Eq. 1-3. Parameters are named and laid out as ``torch.nn.LSTMCell``'s.

    The paper's map T_{d+D,4d} on (h ; x) is split: the part on x can be computed for a whole sequence.

    Args:
        inputs: size of x.
        hidden: d.
    """

    def __init__(self, inputs: int, hidden: int) -> None:
        super().__init__()
        self.weight_ih = nn.Parameter(torch.empty(4 * hidden, inputs))
        self.weight_hh = nn.Parameter(torch.empty(4 * hidden, hidden))
        self.bias_ih = nn.Parameter(torch.zeros(4 * hidden))
        self.bias_hh = nn.Parameter(torch.zeros(4 * hidden))
        nn.init.xavier_uniform_(self.weight_ih)
        for gate in self.weight_hh.data.chunk(4):
            nn.init.orthogonal_(gate)
        self.bias_ih.data[hidden : 2 * hidden] = 1.0  # remember at first: forget gate open

    def project(self, x: Tensor) -> Tensor:
        """Input part of the gates, [..., inputs] -> [..., 4 d]."""
        return functional.linear(x, self.weight_ih, self.bias_ih)

    def forward(self, projected: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step.

        Args:
            projected: of :meth:`project`, [N, 4 d].
            h, c: [N, d] each.

        Returns:
            the next (h, c).
        """
        gates = projected + functional.linear(h, self.weight_hh, self.bias_hh)
        i, f, g, o = gates.chunk(4, dim=1)  # Eq. 1
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)  # Eq. 2
        h = torch.sigmoid(o) * torch.tanh(c)  # Eq. 3
        return h, c


class HSLSTM(nn.Module):
    """Segments coarse to fine, then frame by frame with attention.

    A node of a tier before the last reads the average-pooled features of its segment's frames, joined,
    and the sum of what the earlier tiers said of that segment; states run from node to node. The last
    tier reads each frame through the attention (Eq. 4) beside that sum.

    Args:
        channels: D, features a cell.
        hidden: d, one size in all tiers.
        cells: K = H W, for the start of w_res.
        tiers: frames a node sees, coarse to fine, the last 1; ``(4, 1)`` with T = 8 is the paper's two
            nodes of four, ``(1,)`` the plain LSTM.
        attention: rows of A_h, A_H and A_c; 0 replaces Eq. 4 by the mean over cells.
    """

    def __init__(
        self, channels: int, hidden: int, cells: int, tiers: tuple[int, ...], attention: int
    ) -> None:
        super().__init__()
        self.tiers = tiers
        self.hidden = hidden
        nodes = []
        for level, size in enumerate(tiers):
            inputs = size * channels + (hidden if level else 0)
            nodes.append(LSTMNode(inputs, hidden))
        self.nodes = nn.ModuleList(nodes)
        self.attention: KeypointAttention | None = None
        if attention:
            self.attention = KeypointAttention(channels, hidden, attention, segments=len(tiers) > 1)
            self.w_res = nn.Parameter(torch.tensor(1.0 / cells))  # the residual starts as average pooling

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor | None]:
        """Runs all tiers.

        Args:
            features: C, [N, T, K, D]; T a multiple of every tier's size.

        Returns:
            states of the last tier [N, T, d], and alpha [N, T, K] (None without attention).
        """
        pooled = features.mean(dim=2)  # [N, T, D]
        segments: Tensor | None = None  # sum over earlier tiers of H_l^i, per frame: [N, T, d]
        for level, size in enumerate(self.tiers[:-1]):
            states = self._run_tier(level, size, pooled, segments)
            segments = states if segments is None else segments + states
        return self._run_last(features, pooled, segments)

    def _run_tier(self, level: int, size: int, pooled: Tensor, segments: Tensor | None) -> Tensor:
        """States of one tier before the last, repeated for every frame they cover: [N, T, d]."""
        count, frames, _ = pooled.shape
        x = pooled.reshape(count, frames // size, -1)  # [N, nodes, size D]
        if segments is not None:
            x = torch.cat([x, segments[:, ::size]], dim=2)
        node = cast(LSTMNode, self.nodes[level])
        projected = node.project(x)
        h = c = x.new_zeros(count, self.hidden)
        states = []
        for i in range(frames // size):
            h, c = node(projected[:, i], h, c)
            states.append(h)
        return torch.stack(states, dim=1).repeat_interleave(size, dim=1)

    def _run_last(
        self, features: Tensor, pooled: Tensor, segments: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """The frame-by-frame tier."""
        count, frames = features.shape[:2]
        node = cast(LSTMNode, self.nodes[-1])
        h = c = features.new_zeros(count, self.hidden)
        cells = self.attention.project(features) if self.attention is not None else None
        states, weights = [], []
        for t in range(frames):
            segment = None if segments is None else segments[:, t]
            if self.attention is None or cells is None:
                x = pooled[:, t]
            else:
                alpha = self.attention(cells[:, t], h, segment)
                weights.append(alpha)
                weight = (alpha + self.w_res).unsqueeze(1).to(features.dtype)
                x = torch.bmm(weight, features[:, t]).squeeze(1)  # Eq. 4
            if segment is not None:
                x = torch.cat([x, segment], dim=1)
            h, c = node(node.project(x), h, c)
            states.append(h)
        return torch.stack(states, dim=1), torch.stack(weights, dim=1) if weights else None
