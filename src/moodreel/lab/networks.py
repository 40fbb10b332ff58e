"""Networks of runs, rebuilt from a run folder, and what each system exports."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from moodreel.errors import BundleError, DataError, SettingsError
from moodreel.lab.graph_sta import STA_OUTPUTS, StaGraph, example_clips
from moodreel.lab.models.caca_rnn_system import CacaRnnSystem
from moodreel.lab.models.face_cnn import FaceCNN
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.models.sta import TraceNetwork
from moodreel.lab.models.sta_peers import build_trace_network
from moodreel.lab.settings import FaceSettings, KavanSettings, Recipe, recipe_from_dict
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.settings_sta import StaSettings
from moodreel.lab.weights import check_finite, read_bundle_weights
from moodreel.runtime.bundle import Bundle


class FaceGraph(nn.Module):
    """What a ``face`` bundle computes: uint8 [N, H, W, 3] -> probabilities [N, 7], features [N, 512]."""

    def __init__(self, net: FaceCNN) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor) -> tuple[Tensor, Tensor]:
        """Runs the network on pixels."""
        logits, features = self.net(self.net.normalise(frames))
        return torch.softmax(logits, dim=1), features


class KavanGraph(nn.Module):
    """What a ``kavan`` bundle computes, from uint8 clips [N, T, H, W, 3].

    Outputs: intensities [N, 17], probabilities [N, 4], the heads read after every frame: frame_intensities
    [N, T, 17], frame_probabilities [N, T, 4], and, where the network has it, attention [N, T, h, w].
    """

    def __init__(self, net: Kavan) -> None:
        super().__init__()
        self.net = net

    def forward(self, frames: Tensor) -> tuple[Tensor, ...]:
        """Runs the network on pixels."""
        out = self.net(self.net.normalise(frames))
        probabilities = torch.softmax(out.logits, dim=2)
        heads = out.intensities[:, -1], probabilities[:, -1], out.intensities, probabilities
        if out.attention is None:
            return heads
        grid = self.net.grid
        return *heads, out.attention.unflatten(2, (grid, grid))


Network = FaceCNN | Kavan | CacaRnnSystem | TraceNetwork
"""What a run trains and a bundle holds."""

OUTPUTS = {
    "face": ("probabilities", "features"),
    "kavan": ("intensities", "probabilities", "frame_intensities", "frame_probabilities", "attention"),
    "sta": STA_OUTPUTS,
}
"""Names of a system's outputs, in the order its one graph gives them; "attention" may be missing."""


def build_network(recipe: Recipe) -> Network:
    """The network of a recipe, at random; weights that a path names are not looked for."""
    if isinstance(recipe.model, FaceSettings):
        return FaceCNN(recipe.model)
    if isinstance(recipe.model, CacaRnnSettings):
        return CacaRnnSystem(replace(recipe.model, extractor_weights="none"))
    if isinstance(recipe.model, StaSettings):
        return build_trace_network(recipe.model)
    return Kavan(replace(recipe.model, backbone_weights="none"))


def build_graph(net: FaceCNN | Kavan | TraceNetwork) -> FaceGraph | KavanGraph | StaGraph:
    """Wraps a network as its bundle computes it."""
    if isinstance(net, TraceNetwork):
        return StaGraph(net)
    return FaceGraph(net) if isinstance(net, FaceCNN) else KavanGraph(net)


def example_input(recipe: Recipe, count: int = 2) -> Tensor:
    """Random uint8 pixels of the shape that the recipe's network takes, of one with a single graph."""
    assert not isinstance(recipe.model, CacaRnnSettings)
    if isinstance(recipe.model, StaSettings):
        return example_clips(recipe.model, count)
    generator = torch.Generator().manual_seed(0)
    size = recipe.model.input_size
    shape = (count, size, size, 3)
    if isinstance(recipe.model, KavanSettings):
        shape = (count, recipe.model.frames, size, size, 3)  # type: ignore[assignment]
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


def read_run_recipe(run: Path) -> Recipe:
    """The recipe a run was started with.

    Raises:
        DataError: the folder is no run.
    """
    try:
        return recipe_from_dict(json.loads((run / "recipe.json").read_text(encoding="utf-8")))
    except (OSError, ValueError, SettingsError) as error:
        raise DataError(f"{run}: not a run folder (no readable recipe.json: {error})") from error


def read_run_data(run: Path) -> list[dict[str, Any]]:
    """The manifests a run was started with: path, name, sha256, rows and, for kavan, supervised emotions.

    Raises:
        DataError: the folder is no run.
    """
    data: list[dict[str, Any]] = _read_json(run / "data.json")
    return data


def read_run_start(run: Path) -> dict[str, Any] | None:
    """Name and sha256 of the weights a run started from; None where it started at random."""
    start: dict[str, Any] | None = _read_json(run / "start.json") if (run / "start.json").exists() else None
    return start


def read_run_best(run: Path) -> dict[str, Any]:
    """Epoch and validation scores of a run's best weights, and what else its module wrote down.

    Raises:
        DataError: the run has not validated yet.
    """
    best: dict[str, Any] = _read_json(run / "best.json")
    return best


def _read_json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path.parent}: no readable {path.name}; has the run validated yet?") from error


def load_run(run: Path) -> tuple[Recipe, Network]:
    """Recipe and best network of a run, in evaluation mode.

    Raises:
        DataError: the folder is no run, or holds no weights yet.
    """
    recipe = read_run_recipe(run)
    net = build_network(recipe)
    try:
        net.load_state_dict(load_file(run / "best.safetensors"))
    except (OSError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"{run}: cannot load best.safetensors: {' '.join(str(error).split())[:200]}"
        ) from error
    return recipe, net.eval()


def load_bundle(bundle: Bundle) -> tuple[Recipe, Network]:
    """Recipe and network of a bundle, in evaluation mode.

    Raises:
        BundleError: its recipe or its weights are missing, not finite, or do not belong together.
    """
    try:
        recipe = recipe_from_dict(bundle.info.training["recipe"])
    except (KeyError, SettingsError) as error:
        raise BundleError(f"{bundle.source}: no readable recipe in bundle.json: {error}") from error
    net = build_network(recipe)
    own = net.state_dict()
    stored = read_bundle_weights(bundle)  # with constants of the code, which are no state
    taken = {k: v.to(own[k].dtype) for k, v in stored.items() if k in own}
    check_finite(taken, bundle.source)
    try:
        net.load_state_dict(taken)
    except RuntimeError as error:
        what = " ".join(str(error).split())[:200]
        raise BundleError(f"{bundle.source}: the weights do not fit its recipe: {what}") from error
    return recipe, net.eval()
