"""KAVAN: keypoint-attended visual attention network (Yang, Zhang, Luo; ICME 2019)."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.emotions import GIFGIF_17, QUADRANTS
from moodreel.lab.layers.backbones import IMAGENET_MEAN, IMAGENET_STD, build_backbone
from moodreel.lab.layers.hs_lstm import HSLSTM
from moodreel.lab.models.face_cnn import PIXEL_MEAN, PIXEL_STD
from moodreel.lab.settings import KavanSettings


@dataclass
class KavanOutput:
    """What KAVAN says of a batch of clips, after every frame; the last frame's is the clip's.

    Attributes:
        intensities: [N, T, 17] in [-1, 1].
        logits: [N, T, 4]; -inf for a quadrant that no source supervised.
        attention: alpha, [N, T, K], sums to 1 over K; None without attention.
    """

    intensities: Tensor
    logits: Tensor
    attention: Tensor | None


class Kavan(nn.Module):
    """Backbone -> facial attention inside an HS-LSTM -> intensities and quadrant (paper, Fig. 2).

    Args:
        settings: sizes; ``PAPER_KAVAN`` is the paper's.
        emotions, categories: those that some training source supervises; None means all.
    """

    mean: Tensor
    std: Tensor
    supervised_emotions: Tensor
    supervised_categories: Tensor

    def __init__(
        self,
        settings: KavanSettings,
        emotions: frozenset[str] | None = None,
        categories: frozenset[str] | None = None,
    ) -> None:
        super().__init__()
        self.backbone = build_backbone(settings.preset, settings.backbone_weights)
        self.grid = settings.grid
        self.temporal = HSLSTM(
            channels=self.backbone.out_channels,
            hidden=settings.hidden,
            cells=self.grid**2,
            tiers=settings.tiers,
            attention=settings.attention if settings.use_attention else 0,
        )
        self.feature_dropout = settings.feature_dropout
        self.dropout = nn.Dropout(settings.dropout)
        self.regress = nn.Linear(settings.hidden, len(GIFGIF_17))
        self.classify = nn.Linear(settings.hidden, len(QUADRANTS))
        paper = settings.preset == "paper"
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN if paper else PIXEL_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD if paper else PIXEL_STD), persistent=False)
        for name, known, labels in (
            ("supervised_emotions", emotions, GIFGIF_17),
            ("supervised_categories", categories, QUADRANTS),
        ):
            self.register_buffer(name, torch.tensor([known is None or label in known for label in labels]))

    def normalise(self, pixels: Tensor) -> Tensor:
        """RGB [..., H, W, 3] in 0-255 -> normalised [..., 3, H, W]."""
        return ((pixels.float() / 255 - self.mean) / self.std).movedim(-1, -3)

    def forward(self, frames: Tensor) -> KavanOutput:
        """Normalised frames [N, T, 3, H, W] -> :class:`KavanOutput`."""
        return self.read(self.extract(frames))

    def extract(self, frames: Tensor) -> Tensor:
        """Normalised frames [N, T, 3, H, W] -> the backbone's features C, [N, T, K, D]."""
        count, length = frames.shape[:2]
        grid = self.backbone(frames.flatten(0, 1))  # [N T, D, h, w]
        features: Tensor = grid.flatten(2).transpose(1, 2).unflatten(0, (count, length))
        return features

    def read(self, features: Tensor) -> KavanOutput:
        """What the network makes of features C, [N, T, K, D]: all that follows the backbone."""
        if self.training and self.feature_dropout:
            channels = features.new_ones(len(features), 1, 1, features.shape[-1])
            features = features * functional.dropout(channels, self.feature_dropout)
        states, attention = self.temporal(features)
        states = self.dropout(states)
        logits = self.classify(states).float()
        unknown = (
            ~self.supervised_categories & self.supervised_categories.any()
        )  # none known: nothing to mask
        logits = logits.masked_fill(unknown, float("-inf"))
        return KavanOutput(torch.tanh(self.regress(states).float()), logits, attention)
