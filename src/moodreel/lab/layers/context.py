"""Context extractors of CACA-RNN (Sec. V-B, V-C): a whole frame in, one vector of features out.

Both give 2,048 features (Table I) or 25,088 (the submission), i.e. 512 values in each of 2x2 or 7x7 cells.
"""

from __future__ import annotations

import math
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from moodreel.errors import require
from moodreel.lab.layers.backbones import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    CompactBackbone,
    fetch_imagenet_weights,
    load_all_but_classifier,
)
from moodreel.lab.models.face_cnn import PIXEL_MEAN, PIXEL_STD
from moodreel.lab.settings_caca_rnn import CacaRnnSettings

CHANNELS = 512
"""Values a pooled cell, of either extractor."""


class SqueezeNetContext(nn.Module):
    """SqueezeNet up to its last convolution of 512 channels, pooled.

    "The output of the last convolution layer" (Sec. V-B) is read as the last fire module's, 512 channels:
    the 25,088 of Sec. V-C are 512 x 7 x 7, and no multiple of the 1,000 channels of the class convolution
    after it. SqueezeNet 1.1, torchvision's: the paper names no version; 1.1 has the accuracy and the
    13x13 cells of 1.0 for less than half its arithmetic (0.35 against 0.82 GMAC by torchvision).

    Args:
        features: 512 times a square number.
        weights: "imagenet" fetches torchvision's IMAGENET1K_V1; "none" starts at random; anything else is the
            path of a state dict of torchvision's ``squeezenet1_1`` (.pth or .safetensors).

    Raises:
        BundleError: the weights cannot be fetched or read, with what to do instead.
        SettingsError: a number of features that no square grid gives.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int = 2048, weights: str = "imagenet") -> None:
        super().__init__()
        from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

        self.cells = _grid_of(features)
        network = squeezenet1_1(weights=None)
        if weights == "imagenet":
            chosen = SqueezeNet1_1_Weights.IMAGENET1K_V1
            network.load_state_dict(fetch_imagenet_weights(chosen, "SqueezeNet 1.1", "extractor_weights"))
        elif weights != "none":
            load_all_but_classifier(network, Path(weights), "squeezenet1_1", "classifier.")
        self.layers = network.features
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """RGB [N, H, W, 3] in 0-255 -> normalised [N, 3, H, W], ImageNet's mean and deviation."""
        return ((pixels.float() / 255 - self.mean) / self.std).movedim(-1, -3)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised [N, 3, H, W] -> [N, features]: channel by channel, its cells row by row."""
        return functional.adaptive_avg_pool2d(self.layers(x), self.cells).flatten(1)


class CompactContext(nn.Module):
    """Our small backbone, pooled twice: the mean and the maximum of its 256 channels in each cell.

    So it has SqueezeNet's 512 values in the same cells. The caller starts the backbone from a bundle: that of
    ``kavan`` was trained on whole frames in colour, normalised as here.

    Args:
        features: 512 times a square number.

    Raises:
        SettingsError: a number of features that no square grid gives.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, features: int = 2048) -> None:
        super().__init__()
        self.cells = _grid_of(features)
        self.backbone = CompactBackbone()
        self.register_buffer("mean", torch.tensor(PIXEL_MEAN), persistent=False)
        self.register_buffer("std", torch.tensor(PIXEL_STD), persistent=False)

    def normalise(self, pixels: Tensor) -> Tensor:
        """RGB [N, H, W, 3] in 0-255 -> normalised [N, 3, H, W]."""
        return ((pixels.float() / 255 - self.mean) / self.std).movedim(-1, -3)

    def forward(self, x: Tensor) -> Tensor:
        """Normalised [N, 3, H, W] -> [N, features]: means, then maxima, each channel by channel."""
        grid = self.backbone(x)
        pooled = (
            functional.adaptive_avg_pool2d(grid, self.cells),
            pool_maxima(grid, self.cells),
        )
        return torch.cat(pooled, dim=1).flatten(1)


def pool_maxima(grid: Tensor, cells: int) -> Tensor:
    """``functional.adaptive_max_pool2d``, which ONNX has only where the cells divide the grid.

    Args:
        grid: [N, C, H, W].
        cells: K, a side.

    Returns:
        [N, C, K, K].
    """
    for axis in (2, 3):
        size = grid.shape[axis]
        bounds = [(k * size // cells, -(-(k + 1) * size // cells)) for k in range(cells)]
        parts = [grid.narrow(axis, first, end - first).amax(axis, keepdim=True) for first, end in bounds]
        grid = torch.cat(parts, dim=axis)
    return grid


def build_context(settings: CacaRnnSettings) -> SqueezeNetContext | CompactContext:
    """The extractor that settings name.

    Raises:
        BundleError: the weights cannot be fetched or read.
        SettingsError: a number of features that no square grid gives.
    """
    if settings.extractor == "squeezenet":
        return SqueezeNetContext(settings.context_features, settings.extractor_weights)
    return CompactContext(settings.context_features)


def _grid_of(features: int) -> int:
    """Cells a side that give so many features."""
    side = math.isqrt(features // CHANNELS)
    right = side >= 1 and CHANNELS * side**2 == features
    require(right, "model.context_features", features, f"{CHANNELS} times a square number, such as 2048")
    return side
