"""Sharpness-aware minimisation: weights whose neighbours are good too, for twice the work a step."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class SharpnessAwareAdamW(torch.optim.AdamW):
    """AdamW whose gradient is taken where the loss is worst nearby (Foret et al., ICLR 2021, Eq. 2 and 3).

    The weights move by ``radius`` along the gradient of the batch, the gradient is taken anew there, and
    from where they were AdamW steps with it. Both times the batch, its dropout and its mixup are the same;
    batch norms count the batch once, by the weights as they are.

    Args:
        groups: parameters, as AdamW takes them.
        radius: Euclidean norm of the move over all parameters, rho; above 0.
        net: the network, for its batch norms.
    """

    def __init__(self, groups: list[dict[str, Any]], radius: float, net: nn.Module) -> None:
        super().__init__(groups)
        self.radius = radius
        self.net = net

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. Returns the loss at the weights as they were.

        Args:
            closure: clears the gradients, works them out anew and returns the loss; called twice.
        """
        assert closure is not None, "two gradients a step are needed, and only the closure takes them"
        weights = [weight for group in self.param_groups for weight in group["params"]]
        graphics = {weight.device for weight in weights if weight.is_cuda}
        with torch.random.fork_rng(graphics), torch.enable_grad():
            loss = closure()
        weights = [weight for weight in weights if weight.grad is not None]
        moves = [weight.grad.clone() for weight in weights]
        length = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(moves)))
        torch._foreach_mul_(moves, self.radius / (length + 1e-12))
        kept = [weight.clone() for weight in weights]
        torch._foreach_add_(weights, moves)
        with self._hold_norms(), torch.enable_grad():
            closure()
        torch._foreach_copy_(weights, kept)
        super().step()
        return loss

    @contextmanager
    def _hold_norms(self) -> Iterator[None]:
        norms = [(part, part.momentum) for part in self.net.modules() if isinstance(part, BATCH_NORMS)]
        for norm, _ in norms:
            norm.momentum = 0.0
        try:
            yield
        finally:
            for norm, momentum in norms:
                norm.momentum = momentum
