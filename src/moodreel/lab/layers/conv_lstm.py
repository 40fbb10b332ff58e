"""The convolutional LSTM of STA's decoder (Lee et al., ICASSP 2018, Eq. 1; after Shi et al., NIPS 2015)."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional


class ConvLSTM(nn.Module):
    """A 3x3 ConvLSTM over a sequence of maps, from h_0 = c_0 = 0.

    Gates lie in the order i, f, c, o, in weights as in biases. The forget gate starts open (bias 1), the
    peepholes shut (0).

    Args:
        inputs: channels of X_t.
        hidden: channels of h_t and c_t.
        size: (height, width) of all maps, which Hadamard peepholes are weights of.
        peepholes: how c enters the gates: "hadamard" (W ⊙ c, a weight for each channel and cell, as in Shi et
            al.), "convolution" (for i and f a 3x3 convolution of c_{t-1}, for o Hadamard, as STA prints) or
            "none".
        kernel: side of the convolutions, odd.
    """

    def __init__(
        self, inputs: int, hidden: int, size: tuple[int, int], peepholes: str = "hadamard", kernel: int = 3
    ) -> None:
        super().__init__()
        self.hidden = hidden
        self.peepholes = peepholes
        self.pad = kernel // 2
        self.weight_x = nn.Parameter(torch.empty(4 * hidden, inputs, kernel, kernel))
        self.weight_h = nn.Parameter(torch.empty(4 * hidden, hidden, kernel, kernel))
        self.bias = nn.Parameter(torch.zeros(4 * hidden))
        for weight in (self.weight_x, self.weight_h):
            for gate in weight.data.chunk(4):
                nn.init.xavier_uniform_(gate)
        self.bias.data[hidden : 2 * hidden] = 1.0
        if peepholes == "hadamard":
            self.peep_i = nn.Parameter(torch.zeros(hidden, *size))
            self.peep_f = nn.Parameter(torch.zeros(hidden, *size))
        elif peepholes == "convolution":
            self.peep = nn.Parameter(torch.zeros(2 * hidden, hidden, kernel, kernel))  # of i, then of f
        if peepholes != "none":
            self.peep_o = nn.Parameter(torch.zeros(hidden, *size))

    def forward(self, x: Tensor) -> Tensor:
        """Runs the sequence: X [N, T, inputs, H, W] -> h [N, T, hidden, H, W]."""
        count, length = x.shape[:2]
        # W_x * X_t + b does not depend on the state: one convolution for all frames.
        projected = functional.conv2d(x.flatten(0, 1), self.weight_x, self.bias, padding=self.pad)
        projected = projected.reshape(count, length, *projected.shape[1:])
        h = c = projected.new_zeros(count, self.hidden, *x.shape[-2:])
        states = []
        for now in projected.unbind(1):  # slices would each get a gradient as large as the whole
            h, c = self.step(now, h, c)
            states.append(h)
        return torch.stack(states, dim=1)

    def step(self, projected: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor]:
        """One step of Eq. 1.

        Args:
            projected: W_x * X_t + b of all gates, [N, 4 hidden, H, W].
            h, c: h_{t-1} and c_{t-1}, [N, hidden, H, W].

        Returns:
            h_t and c_t.
        """
        # Eq. 1
        gates = projected + functional.conv2d(h, self.weight_h, padding=self.pad)
        i, f, g, o = gates.chunk(4, dim=1)
        if self.peepholes == "hadamard":
            i, f = i + self.peep_i * c, f + self.peep_f * c
        elif self.peepholes == "convolution":
            peep_i, peep_f = functional.conv2d(c, self.peep, padding=self.pad).chunk(2, dim=1)
            i, f = i + peep_i, f + peep_f
        c = torch.sigmoid(f) * c + torch.sigmoid(i) * torch.tanh(g)
        if self.peepholes != "none":
            o = o + self.peep_o * c
        return torch.sigmoid(o) * torch.tanh(c), c
