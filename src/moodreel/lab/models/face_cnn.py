"""The face network: a still-image expression classifier whose features others build on.

KAVAN's preset ``compact`` starts from its backbone; CACA-RNN reads its 512 features.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from moodreel.emotions import EKMAN_7
from moodreel.lab.layers.backbones import CompactBackbone
from moodreel.lab.settings import FaceSettings

LUMA = (0.299, 0.587, 0.114)
"""ITU-R BT.601 weights of R, G and B: FER2013 and most of the stills are grey, so colour can only mislead."""

PIXEL_MEAN = (0.5, 0.5, 0.5)
PIXEL_STD = (0.25, 0.25, 0.25)


class FaceCNN(nn.Module):
    """Expression of one face: pixels -> 512 features -> 7 classes.

    Args:
        settings: sizes.
    """

    luma: Tensor
    mean: Tensor
    std: Tensor

    def __init__(self, settings: FaceSettings) -> None:
        super().__init__()
        self.backbone = CompactBackbone()
        self.project = nn.Sequential(nn.Linear(self.backbone.out_channels, settings.features), nn.ReLU())
        self.dropout = nn.Dropout(settings.dropout)
        self.classify = nn.Linear(settings.features, len(EKMAN_7))
        self.register_buffer("luma", torch.tensor(LUMA), persistent=False)
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN[0]), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD[0]), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """RGB [N, H, W, 3] in 0-255 -> normalised luminance, three equal channels [N, 3, H, W]."""
        grey = (pixels.float() * self.luma).sum(-1) / 255
        return ((grey - self.mean) / self.std).unsqueeze(1).expand(-1, 3, -1, -1)

    def extract(self, x: Tensor) -> Tensor:
        """Normalised [N, 3, H, W] -> features [N, 512]."""
        features: Tensor = self.project(self.backbone(x).mean(dim=(2, 3)))
        return features

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised [N, 3, H, W] -> (logits [N, 7], features [N, 512])."""
        features = self.extract(x)
        return self.classify(self.dropout(features)), features
