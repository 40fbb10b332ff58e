"""CACA-RNN with what it needs around it: fixed extractors before, Context-RNN for clips without a face."""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor, nn
from torch.nn import functional

from moodreel.errors import BundleError
from moodreel.lab.layers.context import CompactContext, build_context
from moodreel.lab.models.caca_rnn import build_caca_rnn
from moodreel.lab.models.face_cnn import FaceCNN
from moodreel.lab.settings import FaceSettings
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.weights import start_from


class Extractors(nn.Module):
    """Pixels to features, fixed while the RNNs train (Sec. V-B, V-C).

    Args:
        settings: of the system.
    """

    def __init__(self, settings: CacaRnnSettings) -> None:
        super().__init__()
        self.face = FaceCNN(FaceSettings(features=settings.face_features))
        self.context = build_context(settings)
        self.requires_grad_(False)

    def read_faces(self, pixels: Tensor) -> Tensor:
        """RGB [N, F, F, 3] uint8 -> [N, face_features]."""
        return self.face.extract(self.face.normalise(pixels))

    def read_maps(self, pixels: Tensor) -> Tensor:
        """RGB [N, F, F, 3] uint8 -> feature maps [N, 256, F / 32, F / 32], for the 2D-3D-CNN.

        Halved by their means: the paper gives no size, and its 3D convolutions then cost a quarter.
        """
        maps = functional.avg_pool2d(self.face.backbone(self.face.normalise(pixels)), 2)
        return maps

    def read_context(self, pixels: Tensor) -> Tensor:
        """RGB [N, S, S, 3] uint8 -> [N, context_features]."""
        features: Tensor = self.context(self.context.normalise(pixels))
        return features


class CacaRnnSystem(nn.Module):
    """Extractors, the network of the settings, and Context-RNN for clips in which no face was found.

    Args:
        settings: of the system; its network must be recurrent.
    """

    def __init__(self, settings: CacaRnnSettings) -> None:
        super().__init__()
        self.settings = settings
        self.extractors = Extractors(settings)
        self.rnn = build_caca_rnn(settings)
        self.fallback = build_caca_rnn(fallback_settings(settings))


def fallback_settings(settings: CacaRnnSettings) -> CacaRnnSettings:
    """Settings of the Context-RNN that reads a clip without a face: every context frame of it."""
    return replace(settings, network="context", preset="table", context="all")


def start_extractors(extractors: Extractors, settings: CacaRnnSettings) -> None:
    """Gives extractors the weights of the bundles that the settings name.

    Raises:
        BundleError: a bundle is missing, or its network is another.
    """
    starts: list[tuple[nn.Module, str, str]] = [(extractors.face, settings.face_bundle, "")]
    if isinstance(extractors.context, CompactContext):
        starts.append((extractors.context, settings.context_bundle, "backbone."))
    for net, bundle, part in starts:
        wanted = {name for name in net.state_dict() if name.startswith(part)}
        missing = wanted - set(start_from(net, bundle, part))
        if missing:
            raise BundleError(f"{bundle}: no weights that fit {', '.join(sorted(missing)[:3])}")
