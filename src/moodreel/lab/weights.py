"""Weights by name: of runs and bundles, as a start for training, and their digests."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from safetensors import SafetensorError
from safetensors.torch import load, load_file
from torch import Tensor, nn

from moodreel.errors import BundleError, DataError
from moodreel.runtime.bundle import Bundle, read_bundle

GRAPH_PREFIX = "net."
"""What torch's exporter calls the wrapped network: initializers are named by parameter behind it."""

PARTS: Mapping[str, Mapping[str, str]] = {
    "caca-rnn": {
        "model.onnx": "rnn.",
        "fallback.onnx": "fallback.",
        "face.onnx": "extractors.face.",
        "context.onnx": "extractors.context.",
    }
}
"""Graphs of a system's bundle -> where their networks stand in the whole; left out: one graph, the whole."""

HALF_SUFFIX = ".half"
"""Ends the name of an initializer that is stored in half precision, a Cast behind it."""

Weights = dict[str, Tensor]


def read_weights(init: str) -> Weights:
    """Parameters and buffers of a run or bundle, by name, as they are stored.

    A bundle holds each tensor once: in ``model.onnx`` where the graph keeps it as it is, else in
    ``weights.safetensors``.

    Args:
        init: run folder, bundle folder or zip, or the name of a bundle that ships.

    Raises:
        BundleError: there are none, or they cannot be read.
    """
    best = Path(init) / "best.safetensors"
    if not best.is_file():
        return read_bundle_weights(read_bundle(init))
    try:
        return load_file(best)
    except (OSError, SafetensorError) as error:
        raise BundleError(f"{best}: cannot read the weights: {error}") from error


def read_bundle_weights(bundle: Bundle) -> Weights:
    """Parameters and buffers of a bundle; files are checked against their digests.

    Raises:
        BundleError: a file is missing, altered or not readable, or the bundle is in 8 bits.
    """
    if "int8" in bundle.info.training:
        raise BundleError(
            f"{bundle.source}: in 8 bits, no weights to train on: take the bundle it was made of"
        )
    parts = list_parts(bundle.info.system)
    graphs = {prefix: bundle.read_checked(file) for file, prefix in parts.items()}
    rest = bundle.read_checked("weights.safetensors") if "weights.safetensors" in bundle.info.sha256 else None
    try:
        weights = {} if rest is None else load(rest)
        for prefix, content in graphs.items():
            weights = find_graph_weights(onnx.load_from_string(content), prefix) | weights
        return weights
    except Exception as error:  # protobuf's and numpy's errors have no root of their own
        what = " ".join(str(error).split())[:200]
        raise BundleError(f"{bundle.source}: cannot read the weights: {what}") from error


def check_finite(weights: Mapping[str, Tensor], source: str) -> None:
    """Refuses parameters that no training gives.

    Args:
        weights: of a network; constants of a graph, such as masks, may well be infinite.
        source: what to name in the message.

    Raises:
        BundleError: naming the first.
    """
    for name, tensor in weights.items():
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise BundleError(f"{source}: {name} has values that are not finite")


def check_checkpoint(path: Path) -> None:
    """Finds out whether a checkpoint can be read, before a training is built around it.

    Torch's format is a pickle inside a zip. It is read by torch's own reader of weights alone, which knows
    tensors and plain containers and refuses everything else, code above all.

    Raises:
        DataError: it cannot, or it holds something else.
    """
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        found = {"state_dict", "optimizer_states", "loops", "epoch"} <= set(content)
    except Exception as error:  # of zip, of pickle, of torch
        what = " ".join(str(error).split())[:200]
        raise DataError(f"{path}: no checkpoint that can be read: {what}") from error
    if not found:
        raise DataError(f"{path}: no checkpoint of a training run")


def list_parts(system: str) -> Mapping[str, str]:
    """Graphs of a system's bundle -> where their networks stand in the whole."""
    return PARTS.get(system, {"model.onnx": ""})


def find_graph_weights(model: onnx.ModelProto, prefix: str = "") -> Weights:
    """The tensors that a graph holds under their own names: parameter name -> tensor.

    Args:
        model: the graph; what is no parameter in it (a constant) is found too.
        prefix: where its network stands in the whole.
    """
    found = {}
    for tensor in model.graph.initializer:
        name = prefix + tensor.name.removeprefix(GRAPH_PREFIX).removesuffix(HALF_SUFFIX)
        found[name] = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
    return found


def omit_stored(state: Mapping[str, Tensor], held: Mapping[str, Tensor]) -> Weights:
    """Those of ``state`` that graphs do not hold, name, shape and value."""

    def is_held(name: str, tensor: Tensor) -> bool:
        return (
            name in held
            and held[name].shape == tensor.shape
            and torch.equal(held[name].float(), tensor.float())
        )

    return {name: tensor for name, tensor in state.items() if not is_held(name, tensor)}


def start_from(net: nn.Module, init: str, part: str = "") -> list[str]:
    """Loads the weights of a run or bundle into a network, as far as names and shapes agree.

    Args:
        net: the network.
        init: run folder, bundle folder or zip, or the name of a bundle that ships.
        part: takes only what stands under this name, say "backbone."; "" takes all.

    Returns:
        names of the tensors that were taken.

    Raises:
        BundleError: no weights there, or none of them fits.
    """
    stored = read_weights(init)
    # What was supervised is the data's to say, not that of the weights a run starts from.
    own = {
        k: v for k, v in net.state_dict().items() if k.startswith(part) and not k.startswith("supervised_")
    }
    taken = {k: v.to(own[k].dtype) for k, v in stored.items() if k in own and own[k].shape == v.shape}
    if not taken:
        raise BundleError(f"{init}: no weight fits this network")
    check_finite(taken, init)
    net.load_state_dict(taken, strict=False)
    logging.getLogger(__name__).info("%s: took %d of %d tensors", init, len(taken), len(own))
    return sorted(taken)


def describe_weights(init: str) -> dict[str, str]:
    """What a run notes of weights that it starts or learns from: name and sha256 (:func:`hash_tensors`).

    Raises:
        BundleError: as of :func:`read_weights`.
    """
    return {"name": Path(init).name, "sha256": hash_tensors(read_weights(init))}


def hash_tensors(tensors: Mapping[str, Tensor]) -> str:
    """sha256 (hex) of names, shapes, types and values, whatever the order."""
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        whole.update(f"{name}\0{tuple(tensor.shape)}\0{tensor.dtype}\0".encode())
        whole.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return whole.hexdigest()
