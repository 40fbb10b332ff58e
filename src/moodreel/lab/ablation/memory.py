"""Short trainings on stored features: nothing is written, the best weights are kept in memory."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, EMAWeightAveraging
from torch import Tensor, nn

from moodreel.lab.modules import TrainModule
from moodreel.lab.settings import TrainSettings


class KeepBestInMemory(Callback):
    """Keeps the weights that validate best.

    Args:
        frozen: start of the names of weights that never change, and are not kept; "" keeps all.

    Attributes:
        best: the score of those weights, larger is better.
        epoch: they are of, counted from 0.
        weights: by name.
    """

    def __init__(self, frozen: str = "") -> None:
        self.frozen = frozen
        self.best, self.epoch = float("-inf"), 0
        self.weights: dict[str, Tensor] = {}

    def on_validation_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Scores the epoch."""
        assert isinstance(pl_module, TrainModule)
        score = pl_module.validation_scores()["score"]
        if score > self.best:
            self.best, self.epoch = score, trainer.current_epoch
            state = pl_module.net.state_dict()
            kept = {k: v for k, v in state.items() if not (self.frozen and k.startswith(self.frozen))}
            self.weights = {k: v.clone() for k, v in kept.items()}


def train_in_memory(
    module: TrainModule, training: Any, validation: Any, frozen: str = ""
) -> KeepBestInMemory:
    """Trains a module, and leaves its network with the weights that validated best, in evaluation mode.

    Args:
        module: its settings say for how long and how.
        training, validation: loaders.
        frozen: as in :class:`KeepBestInMemory`.
    """
    settings = module.settings
    keep = KeepBestInMemory(frozen)
    callbacks: list[Callback] = [keep]
    if settings.ema:
        callbacks.append(EMAWeightAveraging(decay=settings.ema))
    quiet_lightning()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=settings.epochs,
        precision="bf16-mixed" if settings.precision == "bf16" else "32-true",
        callbacks=callbacks,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        gradient_clip_val=5.0,
    )
    trainer.fit(module, training, validation)
    module.net.load_state_dict(keep.weights, strict=False)
    module.net.eval()
    return keep


def train_at_rates(
    build: Callable[[TrainSettings], TrainModule],
    load: Callable[[TrainSettings], tuple[Any, Any]],
    settings: TrainSettings,
    rates: Sequence[float],
) -> tuple[nn.Module, dict[str, Any]]:
    """Trains once for each learning rate, and keeps what validates best (of equals, the first rate's).

    Args:
        build: a module at random; chance is seeded before with the settings' seed.
        load: loaders of training and validation.
        settings: of all trainings, their rate apart.
        rates: peak learning rates, at least one.

    Returns:
        the network in evaluation mode, and its facts: ``epoch``, ``learning_rate``.
    """
    best: tuple[float, nn.Module, dict[str, Any]] | None = None
    for rate in rates:
        chosen = replace(settings, learning_rate=rate)
        pl.seed_everything(chosen.seed, verbose=False)
        module = build(chosen)
        keep = train_in_memory(module, *load(chosen))
        if best is None or keep.best > best[0]:
            best = keep.best, module.net, {"epoch": keep.epoch, "learning_rate": rate}
    assert best is not None
    return best[1:]


def tell_rates(rates: Sequence[float]) -> str:
    """The rates as a report says them."""
    chosen = ", as validation chooses" if len(rates) > 1 else ""
    return " or ".join(f"{rate:g}" for rate in rates) + chosen


def quiet_lightning() -> None:
    """What Lightning warns about here is meant: stored features need no workers."""
    for known in (
        "does not have many workers",
        "in eval mode",
        "LeafSpec",
        "smaller than the logging interval",
    ):
        warnings.filterwarnings("ignore", message=f".*{known}.*")
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
