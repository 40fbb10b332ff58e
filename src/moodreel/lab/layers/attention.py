"""KAVAN's facial attention: Eq. 4, 5, 6 and 10 of the paper."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class KeypointAttention(nn.Module):
    """Where to look in a frame, given what was seen so far.

    Args:
        channels: D, features a cell.
        hidden: d, size of the LSTM states.
        size: rows of A_h, A_H and A_c (32 in the paper).
        segments: whether earlier tiers give a segment state, i.e. Eq. 10 rather than Eq. 5.
    """

    def __init__(self, channels: int, hidden: int, size: int, segments: bool) -> None:
        super().__init__()
        self.A_c = nn.Linear(channels, size)  # carries b of Eq. 5
        self.A_h = nn.Linear(hidden, size, bias=False)
        self.A_H = nn.Linear(hidden, size, bias=False) if segments else None
        self.v = nn.Linear(size, 1, bias=False)

    def project(self, features: Tensor) -> Tensor:
        """A_c C_t(k) + b: does not depend on h, so it is computed once for all frames.

        Args:
            features: C, [N, T, K, D].

        Returns:
            [N, T, K, size].
        """
        projected: Tensor = self.A_c(features)
        return projected

    def forward(self, projected: Tensor, h: Tensor, segment: Tensor | None) -> Tensor:
        """Attention of one frame.

        Args:
            projected: A_c C_t(k) + b, [N, K, size].
            h: h_{t-1}, [N, d].
            segment: sum of the earlier tiers' H_l^i, [N, d]; None for Eq. 5.

        Returns:
            alpha_t, [N, K]; sums to 1 over K.
        """
        state = self.A_h(h)
        if self.A_H is not None and segment is not None:
            state = state + self.A_H(segment)
        score = self.v(torch.tanh(state.unsqueeze(1) + projected)).squeeze(-1)  # Eq. 5, 10
        return torch.softmax(score.float(), dim=1)  # Eq. 6
