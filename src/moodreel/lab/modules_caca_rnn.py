"""What Lightning trains of CACA-RNN: its network, and Context-RNN beside it, on stored features."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.lab import metrics
from moodreel.lab.calibrate import fit_temperature
from moodreel.lab.data.streams import Batch, pick
from moodreel.lab.models.caca_rnn import CacaRnn
from moodreel.lab.models.caca_rnn_system import CacaRnnSystem
from moodreel.lab.models.cnn_2d_3d import Cnn2d3d
from moodreel.lab.modules import TrainModule
from moodreel.lab.settings import TrainSettings

Net = CacaRnn | Cnn2d3d


class CacaRnnModule(TrainModule):
    """Trains the networks on cross entropy, each on the clips it can read.

    The two share nothing that learns: Context-RNN learns from every clip and every frame, the other from
    clips with a face. Their losses are added, and logged alone.

    Args:
        net: a system, or one network alone (a row of the paper's tables).
        settings: of the training.
    """

    def __init__(self, net: CacaRnnSystem | Net, settings: TrainSettings) -> None:
        rates = {"extractors": 0.0} if isinstance(net, CacaRnnSystem) else {}
        super().__init__(net, settings, rates)
        self._seen: list[dict[str, Tensor]] = []

    def training_step(self, batch: Batch, index: int) -> Tensor:
        """Loss of one batch."""
        known = pick(batch, batch["label"] >= 0)
        losses = {}
        for name, net in self._list_networks():
            rows = pick(known, readable(net, known))
            if len(rows["label"]):
                logits = read_batch(net, rows, name == "fallback")
                losses[name] = functional.cross_entropy(logits.float(), rows["label"])
                self.log(f"train/{name}", losses[name], on_step=False, on_epoch=True, batch_size=len(logits))
        loss = sum(losses.values(), torch.zeros((), requires_grad=True))
        self.log("train/loss", loss, prog_bar=True, batch_size=len(batch["label"]))
        return loss

    def _list_networks(self) -> list[tuple[str, nn.Module]]:
        if isinstance(self.net, CacaRnnSystem):
            return [("main", self.net.rnn), ("fallback", self.net.fallback)]
        return [("main", self.net)]

    def on_validation_epoch_start(self) -> None:
        """Forgets the last epoch."""
        self._seen.clear()

    def validation_step(self, batch: Batch, index: int) -> None:
        """Keeps probabilities and labels."""
        networks = self._list_networks()
        kept = {"label": batch["label"], "main": predict_batch([net for _, net in networks], batch)}
        kept["read"] = readable(networks[0][1], batch)
        if len(networks) > 1:
            kept["fallback"] = predict_batch([networks[1][1]], batch, every=True)
        self._seen.append({name: value.cpu() for name, value in kept.items()})

    def validation_scores(self) -> dict[str, float]:
        """mAP, accuracy and UAR of all labelled clips; "score" is the mean of the first two.

        Of a system, it is the mean of that of clips as they would be read and that of Context-RNN alone.
        """
        seen = {name: torch.cat([kept[name] for kept in self._seen]).numpy() for name in self._seen[0]}
        rows = (seen["label"] >= 0) & (seen["main"].sum(axis=1) > 0)
        scores = score_classes(seen["main"][rows], seen["label"][rows])
        scores["score"] = (scores["map"] + scores["accuracy"]) / 2
        if "fallback" in seen:
            known = seen["label"] >= 0
            alone = score_classes(seen["fallback"][known], seen["label"][known])
            scores["score"] = (scores["score"] + (alone["map"] + alone["accuracy"]) / 2) / 2
            scores |= {f"fallback_{name}": value for name, value in alone.items()}
        return scores

    def facts(self) -> dict[str, Any]:
        """Temperatures of a system's two networks, each fitted on the clips it can read; layer -> T."""
        if not isinstance(self.net, CacaRnnSystem):
            return {}
        seen = {name: torch.cat([kept[name] for kept in self._seen]) for name in self._seen[0]}
        known = seen["label"] >= 0
        temperature = {}
        for layer, name, rows in (
            ("rnn.classify", "main", known & seen["read"]),
            ("fallback.classify", "fallback", known),
        ):
            logits = seen[name][rows].log()  # of probabilities: a constant off, which no softmax sees
            temperature[layer] = round(fit_temperature(logits, seen["label"][rows]), 4)
        return {"temperature": temperature}


def score_classes(probabilities: Any, label: Any) -> dict[str, float]:
    """mAP, accuracy (WAR) and UAR: [n, K] probabilities, [n] labels, none unknown."""
    predicted = probabilities.argmax(axis=1)
    war, uar = metrics.war_uar(predicted, label, probabilities.shape[1])
    return {"map": metrics.mean_average_precision(probabilities, label), "accuracy": war, "uar": uar}


def readable(net: nn.Module, batch: Batch) -> Tensor:
    """[N] bool: the clips a network can read. Without a face only Context-RNN can."""
    reads_face = not isinstance(net, CacaRnn) or net.reads_face
    return batch["has_face"] if reads_face else torch.ones_like(batch["has_face"])


def read_batch(net: nn.Module, batch: Batch, every: bool = False) -> Tensor:
    """Logits [N, K] of clips that a network can read.

    Args:
        net: a recurrent network or the 2D-3D-CNN.
        batch: of :class:`moodreel.lab.data.streams.StreamClips`.
        every: whether the context is that of all frames, whatever the settings pair.
    """
    if isinstance(net, Cnn2d3d):
        maps: Tensor = net(batch["maps"], batch["face_lengths"])
        return maps
    context = "every" if every else "context"
    lengths = batch[f"{context}_lengths"]
    out = net(batch["face"], batch[context], batch["face_lengths"], lengths)
    logits: Tensor = out.logits
    return logits


def predict_batch(networks: list[nn.Module], batch: Batch, every: bool = False) -> Tensor:
    """Probabilities [N, K]: of the first network, and of the second where the first cannot read.

    Args:
        networks: one or two; rows that none can read are zero.
        batch: of clips.
        every: as in :func:`read_batch`; the second network always reads every frame.
    """
    label = batch["label"]
    out: Tensor | None = None
    left = torch.ones_like(batch["has_face"])
    for place, net in enumerate(networks):
        rows = left & readable(net, batch)
        if rows.any():
            logits = read_batch(net, pick(batch, rows), every or place > 0)
            if out is None:
                out = logits.new_zeros((len(label), logits.shape[1]), dtype=torch.float32)
            out[rows] = torch.softmax(logits.float(), dim=1)
        left = left & ~rows
    if out is None:
        classes = networks[0].get_submodule("classify").out_features
        return torch.zeros((len(label), int(classes)))  # type: ignore[arg-type]
    return out
