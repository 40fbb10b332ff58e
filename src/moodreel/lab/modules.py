"""What Lightning trains: a network with its losses, its optimiser and its validation score."""

from __future__ import annotations

import math
from typing import Any, Self

import lightning.pytorch as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.emotions import EKMAN_7, GIFGIF_17
from moodreel.lab import metrics
from moodreel.lab.calibrate import fit_temperature
from moodreel.lab.data.clips import Batch
from moodreel.lab.devices import find_rank, gather
from moodreel.lab.distill import Teachers, distillation_loss
from moodreel.lab.losses import (
    category_loss,
    keypoint_loss,
    nmse_loss,
    ranking_errors,
    ranking_loss,
    total_loss,
)
from moodreel.lab.models.face_cnn import FaceCNN
from moodreel.lab.models.kavan import Kavan, KavanOutput
from moodreel.lab.settings import FaceSettings, KavanSettings, TrainSettings


def scale_rate(step: int, total: int, warmup: float) -> float:
    """Learning rate at a step, relative to its peak: linear warm-up, then a cosine down to 0.

    Args:
        step: 0 to ``total``.
        total: steps of the whole training.
        warmup: share of them spent warming up.
    """
    rising = warmup * total
    if step < rising:
        return (step + 1) / (rising + 1)
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rising) / max(1.0, total - rising))))


class TrainModule(pl.LightningModule):
    """Optimiser, schedule and the parts every system shares. Subclasses add the steps.

    Args:
        net: the network; what is kept and exported.
        settings: of the training.
        rates: learning rate of top-level parts of ``net``, relative to the rest; 0 freezes a part.
    """

    def __init__(
        self, net: nn.Module, settings: TrainSettings, rates: dict[str, float] | None = None
    ) -> None:
        super().__init__()
        self.net = net
        self.settings = settings
        self.rates = rates or {}
        self._seen: list[Any] = []
        for part, rate in self.rates.items():
            if rate == 0:
                net.get_submodule(part).requires_grad_(False)
        self.train()  # Lightning keeps the modes it finds

    def train(self, mode: bool = True) -> Self:
        """As torch's; frozen parts stay in evaluation mode, so that their batch norms stay too."""
        super().train(mode)
        for part, rate in self.rates.items():
            if rate == 0:
                self.net.get_submodule(part).eval()
        return self

    def arrange_memory(self) -> None:
        """Lays the weights out for the training: channels last, 1.3 times as fast on CPUs."""
        self.net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def gather_seen(self) -> None:
        """Brings together what the processes of a training have validated, each its share."""
        self._seen = gather(self._seen)

    def validation_scores(self) -> dict[str, float]:
        """Scores of the validation epoch just run; "score" decides which weights are kept (larger wins)."""
        raise NotImplementedError

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        """Seeds dropout by step, so that a resumed run goes on as an uninterrupted one would."""
        torch.manual_seed(self.settings.seed * 1_000_003 + self.global_step + (find_rank() << 40))

    def facts(self) -> dict[str, Any]:
        """What a bundle should know of the training beside its settings; goes into ``best.json``."""
        return {}

    def configure_optimizers(self) -> Any:
        """AdamW; the rate warms up and decays; no weight decay on biases, norms and scalars."""
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
        total = int(self.trainer.estimated_stepping_batches)
        schedule = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: scale_rate(step, total, self.settings.warmup)
        )
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


class FaceModule(TrainModule):
    """Trains :class:`FaceCNN` with smoothed cross entropy; validates by accuracy plus macro-F1."""

    net: FaceCNN

    def __init__(
        self, net: FaceCNN, model: FaceSettings, settings: TrainSettings, teachers: Teachers | None = None
    ) -> None:
        super().__init__(net, settings)
        self.model_settings = model
        self.teachers = teachers
        self._seen: list[tuple[Tensor, Tensor]] = []

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        """Loss of one batch: ([N, 3, S, S], [N])."""
        pixels, labels = batch
        model = self.model_settings
        wanted = functional.one_hot(labels, len(EKMAN_7)).float()
        if model.mixup:
            alpha = torch.tensor(model.mixup)
            share = float(torch.distributions.Beta(alpha, alpha).sample())
            order = torch.randperm(len(labels))
            pixels = share * pixels + (1 - share) * pixels[order]
            wanted = share * wanted + (1 - share) * wanted[order]
        logits = self.net(pixels)[0].float()
        loss = functional.cross_entropy(logits, wanted, label_smoothing=model.label_smoothing)
        if self.teachers is not None:
            told = self.teachers.read(pixels, model.teacher_temperature)
            learnt = distillation_loss(logits, told, model.teacher_temperature)
            loss = (1 - model.teacher_weight) * loss + model.teacher_weight * learnt
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def on_validation_epoch_start(self) -> None:
        """Forgets the last epoch."""
        self._seen.clear()

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> None:
        """Keeps predictions and labels."""
        pixels, labels = batch
        logits, _ = self.net(pixels)
        self._seen.append((logits.float().cpu(), labels.cpu()))

    def validation_scores(self) -> dict[str, float]:
        """Accuracy, macro-F1 and their mean as "score"."""
        logits = torch.cat([a for a, _ in self._seen]).numpy()
        labels = torch.cat([b for _, b in self._seen]).numpy()
        accuracy = metrics.accuracy(logits.argmax(1), labels)
        f1 = metrics.macro_f1(logits.argmax(1), labels, len(EKMAN_7))
        return {"accuracy": accuracy, "macro_f1": f1, "score": (accuracy + f1) / 2}

    def facts(self) -> dict[str, Any]:
        """The temperature of the classes, fitted on validation (layer -> T), and the teachers."""
        logits, labels = (torch.cat(parts) for parts in zip(*self._seen, strict=True))
        found: dict[str, Any] = {"temperature": {"classify": round(fit_temperature(logits, labels), 4)}}
        return found if self.teachers is None else found | {"teachers": self.teachers.notes}


class KavanModule(TrainModule):
    """Trains :class:`Kavan` with Eq. 9 and 12; each loss is logged alone.

    Args:
        net: the network.
        model: its settings, with the loss weights.
        settings: of the training.
        mean, variance: [17] each, of the targets as training draws them; the variance is L_RG's.
    """

    net: Kavan
    mean: Tensor
    variance: Tensor

    def __init__(
        self, net: Kavan, model: KavanSettings, settings: TrainSettings, mean: Tensor, variance: Tensor
    ) -> None:
        super().__init__(net, settings, {"backbone": model.backbone_rate})
        self.model_settings = model
        self.register_buffer("mean", mean)
        self.register_buffer("variance", variance)
        self._seen: list[dict[str, Tensor]] = []

    def look(self, batch: Batch) -> KavanOutput:
        """What the network says of a batch: of its frames, or of stored features of its backbone."""
        if "features" in batch:
            return self.net.read(batch["features"].float())
        out: KavanOutput = self.net(self.net.normalise(batch["frames"]))
        return out

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        model = self.model_settings
        out = self.look(batch)
        intensities, logits = out.intensities[:, -1], out.logits[:, -1]
        scores, known = batch["scores"], batch["known"]
        parts = {"nmse": nmse_loss(intensities, scores, known, self.variance)}
        if model.weight_category:
            parts["category"] = category_loss(logits, batch["category"])
        if model.weight_ranking:
            parts["ranking"] = ranking_loss(intensities, scores, known, model.ranking_margin)
        if model.weight_keypoints and out.attention is not None:
            parts["keypoints"] = keypoint_loss(batch["heatmap"], out.attention, batch["supervised"])
        loss = total_loss(parts, model)
        parts_by_name = {f"train/{name}": value for name, value in parts.items()}
        self.log_dict(parts_by_name, on_step=False, on_epoch=True, batch_size=len(scores))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(scores))
        return loss

    def facts(self) -> dict[str, Any]:
        """Mean target of each supervised emotion (what a model that learnt nothing else would say), and the
        temperature of the quadrants, fitted on validation; layer -> T.
        """
        known = self.net.supervised_emotions.tolist()
        means = zip(GIFGIF_17, self.mean.tolist(), known, strict=True)
        logits, category = (torch.cat([kept[name] for kept in self._seen]) for name in ("logits", "category"))
        labelled = category >= 0
        temperature = fit_temperature(logits[labelled], category[labelled])
        return {
            "target_mean": {name: round(mean, 4) for name, mean, is_known in means if is_known},
            "temperature": {"classify": round(temperature, 4)},
        }

    def on_validation_epoch_start(self) -> None:
        """Forgets the last epoch."""
        self._seen.clear()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Keeps predictions and labels."""
        out = self.look(batch)
        kept = {name: batch[name] for name in ("scores", "known", "category", "supervised", "heatmap")}
        kept |= {"intensities": out.intensities[:, -1], "logits": out.logits[:, -1]}
        kept["attention"] = batch["heatmap"] if out.attention is None else out.attention
        self._seen.append({name: value.cpu() for name, value in kept.items()})

    def validation_scores(self) -> dict[str, float]:
        """Concordance per emotion and on average, L_RG, nMSE, quadrant accuracy, Eq. 11 and Eq. 7.

        "score" is the mean concordance, or -L_RG where the settings keep weights by nMSE.
        """
        seen = {name: torch.cat([kept[name] for kept in self._seen]) for name in self._seen[0]}
        predicted, target, known = seen["intensities"], seen["scores"], seen["known"]
        scores = {}
        for e, name in enumerate(GIFGIF_17):
            rows = known[:, e]
            if rows.sum() > 1 and bool(self.net.supervised_emotions[e]):
                scores[f"concordance_{name}"] = metrics.concordance(predicted[rows, e], target[rows, e])
        scores = {name: value for name, value in scores.items() if not math.isnan(value)}
        supervised = known & self.net.supervised_emotions.cpu()
        each = metrics.nmse(predicted, target, supervised)
        regression = float(nmse_loss(predicted, target, supervised, self.variance.cpu()))
        mean_concordance = sum(scores.values()) / max(1, len(scores))
        labelled = seen["category"] >= 0
        return {
            **scores,
            "score": -regression if self.settings.keep_by == "nmse" else mean_concordance,
            "regression": regression,
            "nmse": float(each[each == each].mean()),
            "quadrant_accuracy": metrics.accuracy(
                seen["logits"][labelled].argmax(1), seen["category"][labelled]
            ),
            "ranking_errors": float(ranking_errors(predicted, target, known).nanmean()),
            "keypoints": float(keypoint_loss(seen["heatmap"], seen["attention"], seen["supervised"])),
        }
