"""CACA-RNN's attention: Eq. 2, 3 and 5 of the paper, and the LSTM that asks it."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from moodreel.lab.layers.hs_lstm import LSTMNode


def attend(query: Tensor, memory: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Dot-product attention, Eq. 2 and 3.

    Args:
        query: h_{d,i}, [N, d].
        memory: h_{e,t}, [N, T, d]; finite where padded.
        mask: [N, T] bool, True where ``memory`` is no padding; at least one in every row.

    Returns:
        c_i [N, d] and a_i [N, T], which sums to 1 over T and is 0 where padded.
    """
    score = torch.bmm(memory, query.unsqueeze(2)).squeeze(2)
    weights = torch.softmax(widen(score).masked_fill(~mask, float("-inf")), dim=1)  # Eq. 2
    context = torch.bmm(weights.unsqueeze(1).to(memory.dtype), memory).squeeze(1)  # Eq. 3
    return context, weights


def widen(x: Tensor) -> Tensor:
    """Half precision to single; single and double stay."""
    return x.float() if x.dtype in (torch.bfloat16, torch.float16) else x


def mask_padding(lengths: Tensor, size: int) -> Tensor:
    """True before each clip's end: [N] lengths -> [N, size] bool."""
    return torch.arange(size, device=lengths.device) < lengths.unsqueeze(1)


def clear_padding(x: Tensor, mask: Tensor) -> Tensor:
    """Zeros where ``mask`` [N, T] is False, whatever x [N, T, ...] holds there, NaN included."""
    return torch.where(mask.reshape(*mask.shape, *[1] * (x.dim() - 2)), x, 0)


class SequenceLSTM(nn.LSTM):
    """``torch.nn.LSTM`` over padded clips, from a zero state.

    Args:
        inputs: features a moment.
        hidden: d.
        layers: stacked LSTMs.
    """

    def __init__(self, inputs: int, hidden: int, layers: int) -> None:
        super().__init__(inputs, hidden, layers, batch_first=True)
        for name, value in self.named_parameters():  # as LSTMNode starts
            if name.startswith("weight_ih"):
                nn.init.xavier_uniform_(value)
            elif name.startswith("weight_hh"):
                for gate in value.data.chunk(4):
                    nn.init.orthogonal_(gate)
            else:
                nn.init.zeros_(value)
                if name.startswith("bias_ih"):
                    value.data[hidden : 2 * hidden] = 1.0

    def forward(self, x: Tensor, lengths: Tensor) -> tuple[Tensor, tuple[Tensor, Tensor]]:  # type: ignore[override]
        """Reads clips up to their own ends.

        Args:
            x: [N, T, inputs].
            lengths: [N] int64, 1 to T.

        Returns:
            top-layer outputs [N, T, d], zero where padded, and the top layer's (h, c) after each clip's last
            moment, [N, d] each.
        """
        packed = pack_padded_sequence(x, lengths.cpu(), batch_first=True, enforce_sorted=False)
        outputs, (h, c) = super().forward(packed)
        padded, _ = pad_packed_sequence(outputs, batch_first=True, total_length=x.shape[1])
        return padded, (h[-1], c[-1])


class AttentiveLSTM(nn.Module):
    """The second LSTM of the cascade: at every step it asks the first one's outputs (Sec. III-D, Fig. 2).

    Eq. 5 prints the query as h_i, which Eq. 4 in turn derives from c_i; as a step cannot wait for itself, the
    query is h_{i-1}, the state in which the step finds the LSTM.

    Args:
        inputs: features a moment, x_i.
        hidden: d, that of the first LSTM too.
        layers: stacked LSTMs; the lowest reads [x_i ; c_i], the top one asks.
    """

    def __init__(self, inputs: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.nodes = nn.ModuleList(
            LSTMNode(inputs + hidden if layer == 0 else hidden, hidden) for layer in range(layers)
        )

    def forward(
        self, x: Tensor, lengths: Tensor, memory: Tensor, memory_mask: Tensor, state: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Reads clips up to their own ends.

        Args:
            x: [N, T2, inputs], finite where padded.
            lengths: [N] int64, 1 to T2.
            memory: the first LSTM's outputs, [N, T1, d].
            memory_mask: [N, T1] bool, False where padded.
            state: its last (h, c), [N, d] each: where every layer of this one starts.

        Returns:
            the top layer's h after each clip's last moment [N, d], and the attention [N, T2, T1], whose rows
            sum to 1 and are 0 where padded.
        """
        steps = mask_padding(lengths, x.shape[1])
        states = [state] * len(self.nodes)
        rows = []
        for i in range(int(lengths.max())):
            context, weights = attend(states[-1][0], memory, memory_mask)  # Eq. 5
            goes_on = steps[:, i].unsqueeze(1)
            rows.append(torch.where(goes_on, weights, 0))
            below = torch.cat([x[:, i], context], dim=1)
            for layer, module in enumerate(self.nodes):
                node, (h, c) = cast(LSTMNode, module), states[layer]
                below, cell = node(node.project(below), h, c)  # h_i = f(h_{i-1}, x_i, c_i), after Eq. 4
                states[layer] = torch.where(goes_on, below, h), torch.where(goes_on, cell, c)
        attention = functional.pad(torch.stack(rows, dim=1), (0, 0, 0, x.shape[1] - len(rows)))
        return states[-1][0], attention
