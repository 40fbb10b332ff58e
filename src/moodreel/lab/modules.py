"""What Lightning trains: a network with its losses, its optimiser and its validation score."""

from __future__ import annotations

from typing import Any

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.emotions import EKMAN_7
from moodreel.lab import metrics
from moodreel.lab.models.face_cnn import FaceCNN
from moodreel.lab.settings import FaceSettings, TrainSettings


class TrainModule(pl.LightningModule):
    """Optimiser, schedule and the parts every system shares. Subclasses add the steps.

    Args:
        net: the network; what is kept and exported.
        settings: of the training.
        rates: learning rate of top-level parts of ``net``, relative to the rest; 0 freezes a part.
    """

    def __init__(self, net: nn.Module, settings: TrainSettings, rates: dict[str, float] | None = None) -> None:
        super().__init__()
        self.net = net
        self.settings = settings
        self.rates = rates or {}
        for part, rate in self.rates.items():
            if rate == 0:
                net.get_submodule(part).requires_grad_(False)

    def validation_scores(self) -> dict[str, float]:
        """Scores of the validation epoch just run; "score" decides which weights are kept (larger wins)."""
        raise NotImplementedError

    def configure_optimizers(self) -> Any:
        """AdamW with a one-cycle learning rate; no decay on biases, norms and scalars."""
        groups: dict[tuple[float, float], list[Tensor]] = {}
        for name, parameter in self.net.named_parameters():
            if not parameter.requires_grad:
                continue
            rate = self.rates.get(name.split(".")[0], 1.0)
            decay = self.settings.weight_decay if parameter.ndim > 1 else 0.0
            groups.setdefault((rate, decay), []).append(parameter)
        optimizer = torch.optim.AdamW(
            [
                {"params": parameters, "lr": self.settings.learning_rate * rate, "weight_decay": decay}
                for (rate, decay), parameters in groups.items()
            ]
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=[group["lr"] for group in optimizer.param_groups],
            total_steps=int(self.trainer.estimated_stepping_batches),
            pct_start=max(self.settings.warmup, 1e-6),
            cycle_momentum=False,
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class FaceModule(TrainModule):
    """Trains :class:`FaceCNN` with smoothed cross entropy; validates by accuracy plus macro-F1."""

    def __init__(self, net: FaceCNN, model: FaceSettings, settings: TrainSettings) -> None:
        super().__init__(net, settings)
        self.model_settings = model
        self._seen: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of one batch: ([N, 3, S, S], [N])."""
        pixels, labels = batch
        smoothing = self.model_settings.label_smoothing
        if self.model_settings.mixup:
            share = float(torch.distributions.Beta(*[torch.tensor(self.model_settings.mixup)] * 2).sample())
            order = torch.randperm(len(labels))
            logits, _ = self.net(share * pixels + (1 - share) * pixels[order])
            logits = logits.float()
            loss = share * functional.cross_entropy(logits, labels, label_smoothing=smoothing)
            loss += (1 - share) * functional.cross_entropy(logits, labels[order], label_smoothing=smoothing)
        else:
            logits, _ = self.net(pixels)
            loss = functional.cross_entropy(logits.float(), labels, label_smoothing=smoothing)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forgets the last epoch."""
        self._seen.clear()

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Keeps predictions and labels."""
        pixels, labels = batch
        logits, _ = self.net(pixels)
        self._seen.append((logits.float(), labels))

    def validation_scores(self) -> dict[str, float]:
        """Accuracy, macro-F1 and their mean as "score"."""
        logits = torch.cat([a for a, _ in self._seen]).numpy()
        labels = torch.cat([b for _, b in self._seen]).numpy()
        accuracy = metrics.accuracy(logits.argmax(1), labels)
        f1 = metrics.macro_f1(logits.argmax(1), labels, len(EKMAN_7))
        return {"accuracy": accuracy, "macro_f1": f1, "score": (accuracy + f1) / 2}
