"""Bundles in 8 bits: convolutions with whole-number weights and activations, calibrated on training clips.

Static quantisation in the QDQ form of ONNX: batch norms are folded, each weight tensor gets a scale a
channel, each activation one scale and zero point from the least and greatest value that calibration clips
reach (Jacob et al.: Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only
Inference, CVPR 2018). Recurrence, attention and heads stay in single precision: next to nothing of the work,
and they would feel it. Both engines run such a graph; training cannot go on from it.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx

from moodreel.errors import BundleError, MoodreelError, require
from moodreel.lab.data.manifest import Row, read_manifest
from moodreel.lab.onnx_files import save_onnx
from moodreel.media import Limits
from moodreel.runtime.bundle import Bundle
from moodreel.runtime.engine import EngineSettings, import_onnxruntime
from moodreel.runtime.frame_reader import sample_clip
from moodreel.runtime.recognizer import open_engine
from moodreel.runtime.schema import BundleInfo
from moodreel.types import UInt8Array

SYSTEMS = ("kavan", "face")
"""Systems whose loss of accuracy was measured: docs/performance.md."""

CLIPS = 64
"""Training clips that set the ranges."""

OPERATORS = ("Conv", "Add", "Relu")
"""What is computed in 8 bits: convolutions, and what stands between them; see :func:`list_nodes`."""

OUTPUT = {"kavan": "intensities", "face": "probabilities"}


def quantise(bundle: Bundle, folder: Path, data: Sequence[Path]) -> BundleInfo:
    """Writes ``model.onnx`` of a bundle in 8 bits.

    Weights to train on from are not written.

    Args:
        bundle: in single precision.
        folder: that there is; the graph is written into it.
        data: manifests; clips of their training splits calibrate.

    Returns:
        What ``bundle.json`` should say of it; its scores are those of no one yet.

    Raises:
        BundleError: it is quantised already.
        SettingsError: of another system, or no clip can be read.
        DataError: a manifest is wrong, or has no training split.
    """
    info = bundle.info
    require(info.system in SYSTEMS, "int8", info.system, "a bundle of " + " or ".join(SYSTEMS))
    if is_quantised(info):
        raise BundleError(f"{bundle.source}: is in 8 bits already")
    batches = list(_read_batches(info, [row for path in data for row in read_manifest(path).select("train")]))
    require(bool(batches), "data", [str(path) for path in data], "clips that can be read")
    model = _quantise_graph(bundle.read_model(), batches)
    path = folder / "model.onnx"
    save_onnx(model, path, exactly=True)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    said = {
        "of": info.sha256["model.onnx"],
        "calibration": [
            {"name": manifest.name, "sha256": manifest.digest} for manifest in map(read_manifest, data)
        ],
        "clips": sum(map(len, batches)),
    }
    found = replace(info, sha256={"model.onnx": digest}, scores={}, training={**info.training, "int8": said})
    _check(bundle, replace(bundle, info=found, read=lambda _: path.read_bytes()), batches[0])
    return found


def is_quantised(info: BundleInfo) -> bool:
    """Whether a bundle's graph computes in 8 bits."""
    return "int8" in info.training


def _read_batches(info: BundleInfo, rows: Sequence[Row]) -> Iterator[UInt8Array]:
    """What the network would see of some rows, taken evenly from all: one batch a clip."""
    step = max(1, len(rows) // CLIPS)
    for row in rows[::step][:CLIPS]:
        try:
            frames = sample_clip(info, str(row.clip), Limits()).frames
        except MoodreelError as error:
            logging.getLogger(__name__).warning("left out of the calibration: %s", error)
            continue
        yield frames[None] if info.system == "kavan" else frames


def _quantise_graph(content: bytes, batches: Sequence[UInt8Array]) -> onnx.ModelProto:
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_static,
    )

    class Batches(CalibrationDataReader):  # type: ignore[misc]  # the base class is untyped
        def __init__(self) -> None:
            self._left = iter(batches)

        def get_next(self) -> dict[str, Any] | None:
            frames = next(self._left, None)
            return None if frames is None else {"frames": frames}

    log = logging.getLogger()
    level = log.level
    with tempfile.TemporaryDirectory() as place:
        folded, out = Path(place) / "folded.onnx", Path(place) / "int8.onnx"
        _fold(content, folded)
        nodes = list_nodes(onnx.load(folded))
        try:
            log.setLevel(logging.ERROR)  # it advises what _fold has done
            quantize_static(
                str(folded),
                str(out),
                Batches(),
                quant_format=QuantFormat.QDQ,
                op_types_to_quantize=list(OPERATORS),
                nodes_to_quantize=nodes,
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                calibrate_method=CalibrationMethod.MinMax,
            )
        finally:
            log.setLevel(level)
        return onnx.load(out)


def list_nodes(model: onnx.ModelProto) -> list[str]:
    """Names of the nodes to compute in 8 bits: convolutions, and additions and ReLUs of their outputs.

    An addition in the attention or the recurrence is none of them: in 8 bits it would flatten the softmax
    that follows.
    """
    born: set[str] = set()  # tensors that come from convolutions alone
    names = []
    for node in model.graph.node:  # in the order of computation
        chained = node.op_type in OPERATORS and all(name in born for name in node.input)
        if node.op_type == "Conv" or chained:
            born.update(node.output)
            names.append(node.name)
    return names


def _fold(content: bytes, path: Path) -> None:
    """Writes a graph with its weights cast and its batch norms folded, in standard operators."""
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(path)
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _check(whole: Bundle, small: Bundle, frames: UInt8Array) -> None:
    """Refuses a graph that the loader refuses, or whose scores are another network's."""
    scores: list[Mapping[str, Any]] = []
    for bundle in (whole, small):
        engine: Any = open_engine(bundle, EngineSettings("onnx", "cpu"))
        scores.append(engine.run(frames))
    name = OUTPUT[whole.info.system]
    gap = float(np.abs(scores[0][name] - scores[1][name]).max())
    if not gap < 0.5:
        raise BundleError(f"{small.source}: {name} in 8 bits are {gap:.2g} away from those it was made of")
