"""Frame encoders: a picture in, a grid of features out.

Both have ``out_channels`` (D) and ``stride``; the input is normalised RGB [N, 3, H, W] float, the
output [N, D, H / stride, W / stride].
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from moodreel.errors import BundleError, SettingsError

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions with batch norm and a shortcut (He et al. 2016, Fig. 5 left)."""

    def __init__(self, channels_in: int, channels_out: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels_out, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels_out)
        self.conv2 = nn.Conv2d(channels_out, channels_out, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels_out)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels_out:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels_out, 1, stride, bias=False), nn.BatchNorm2d(channels_out)
            )
        nn.init.zeros_(self.norm2.weight)  # every block starts as its shortcut

    def forward(self, x: Tensor) -> Tensor:
        """[N, in, H, W] -> [N, out, H / stride, W / stride]."""
        y = torch.relu(self.norm1(self.conv1(x)))
        y = self.norm2(self.conv2(y))
        return torch.relu(y + self.shortcut(x))


class CompactBackbone(nn.Module):
    """A small residual trunk, stride 16: 7x7 cells of 256 features from 112x112 pixels.

    0.31 GMAC a frame at 112x112, dense 3x3 convolutions only (depthwise ones are bound by memory on
    CPUs). Shared by the face network and KAVAN's preset ``compact``.

    Args:
        widths: channels of the three stages; the last is ``out_channels``.
        blocks: residual blocks per stage.
    """

    stride = 16

    def __init__(self, widths: tuple[int, int, int] = (64, 128, 256), blocks: int = 2) -> None:
        super().__init__()
        self.out_channels = widths[-1]
        stem = widths[0] // 2
        layers: list[nn.Module] = [
            nn.Conv2d(3, stem, 3, 2, 1, bias=False),
            nn.BatchNorm2d(stem),
            nn.ReLU(),
        ]
        channels = stem
        for width in widths:
            for i in range(blocks):
                layers.append(ResidualBlock(channels, width, stride=2 if i == 0 else 1))
                channels = width
        self.layers = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, D, H / 16, W / 16]."""
        features: Tensor = self.layers(x)
        return features


class ResNet50Backbone(nn.Module):
    """ResNet-50 up to ``layer4``, the paper's backbone: 7x7 cells of 2048 features from 224x224.

    KAVAN Sec. 3.1 and 4.2. The architecture and the ImageNet weights are torchvision's.

    Args:
        weights: "imagenet" fetches torchvision's IMAGENET1K_V2; "none" starts at random; anything else
            is the path of a state dict of torchvision's ``resnet50`` (.pth or .safetensors).

    Raises:
        BundleError: the weights cannot be fetched or read, with what to do instead.
    """

    stride = 32
    out_channels = 2048

    def __init__(self, weights: str = "imagenet") -> None:
        super().__init__()
        from torchvision.models import resnet50

        network = resnet50(weights=None)
        if weights == "imagenet":
            from torchvision.models import ResNet50_Weights

            chosen = ResNet50_Weights.IMAGENET1K_V2
            network.load_state_dict(fetch_imagenet_weights(chosen, "ResNet-50", "backbone_weights"))
        elif weights != "none":
            load_all_but_classifier(network, Path(weights), "resnet50", "fc.")
        self.layers = nn.Sequential(
            network.conv1,
            network.bn1,
            network.relu,
            network.maxpool,
            network.layer1,
            network.layer2,
            network.layer3,
            network.layer4,
        )

    def forward(self, x: Tensor) -> Tensor:
        """[N, 3, H, W] -> [N, 2048, H / 32, W / 32]."""
        features: Tensor = self.layers(x)
        return features


def fetch_imagenet_weights(chosen: Any, network: str, field: str) -> dict[str, Tensor]:
    """Torchvision's state dict of a network, fetched once and kept in torch's cache.

    Args:
        chosen: member of a weights enumeration of torchvision.
        network: its name, for people.
        field: the setting that asked for it.

    Raises:
        BundleError: it cannot be fetched, with what to do instead.
    """
    try:
        state: dict[str, Tensor] = chosen.get_state_dict(progress=False, check_hash=True)
    except (OSError, RuntimeError) as error:
        raise BundleError(
            f"ImageNet weights of {network} cannot be fetched ({error}); download {chosen.url} on a machine "
            f'with a network and set {field} to its path, or set {field} = "none"'
        ) from error
    return state


def load_all_but_classifier(network: nn.Module, path: Path, name: str, classifier: str) -> None:
    """Loads a state dict of torchvision; the classifier may be missing or of another size.

    Args:
        network: of torchvision.
        path: of a .pth or .safetensors file.
        name: the network's, as torchvision calls it.
        classifier: how the names of the classifier's weights start.

    Raises:
        BundleError: it is no such file.
    """
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            state = load_file(path)
        else:
            state = torch.load(path, map_location="cpu", weights_only=True)
        own = network.state_dict()
        kept = {k: v for k, v in state.items() if not k.startswith(classifier)}
        network.load_state_dict({**kept, **{k: v for k, v in own.items() if k.startswith(classifier)}})
    except Exception as error:  # each reader has its own family of errors
        what = " ".join(str(error).split())[:200]
        raise BundleError(f"{path}: not readable as torchvision's {name}: {what}") from error


def build_backbone(preset: str, weights: str = "none") -> CompactBackbone | ResNet50Backbone:
    """Returns the encoder of a preset: ``compact`` or ``paper``.

    Raises:
        SettingsError: another preset.
    """
    if preset == "compact":
        return CompactBackbone()
    if preset == "paper":
        return ResNet50Backbone(weights)
    raise SettingsError("preset", preset, "'compact' or 'paper'")
