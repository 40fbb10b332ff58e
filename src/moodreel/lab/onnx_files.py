"""ONNX files as bundles hold them: traced or hand-written, rounded to half precision, compared with torch."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnxscript import optimizer
from torch import Tensor, nn

from moodreel.errors import BundleError
from moodreel.lab.weights import HALF_SUFFIX
from moodreel.runtime.engine import import_onnxruntime

TOLERANCE = 1e-4
"""Largest difference between ONNX Runtime and torch on any output before an export is refused."""

HALVE_FROM = 64
"""Initializers with fewer values stay in single precision: nothing to save."""


def trace_onnx(graph: nn.Module, example: Tensor, outputs: Sequence[str]) -> onnx.ModelProto:
    """A network of one input, ``frames``, whose first axis is free.

    Args:
        graph: in evaluation mode; gives a tensor or a tuple of them.
        example: of the input, two rows at least.
        outputs: their names.
    """
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["frames"],
            output_names=list(outputs),
            dynamic_shapes=({0: torch.export.Dim("clips", min=1, max=4096)},),
            opset_version=18,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    # Constants are folded, batch norms not: folded ones would be rounded again, away from the torch network.
    # ONNX Runtime folds them, in single precision, when it loads the model.
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    model: onnx.ModelProto = program.model_proto
    _strip_metadata(model)
    return model


def save_onnx(model: onnx.ModelProto, path: Path, exactly: bool = False) -> None:
    """Stores weights in half precision, and writes the file.

    Args:
        model: is changed.
        path: of the file.
        exactly: only those that lose nothing by it.
    """
    _halve_initializers(model, exactly)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())


def compare_onnx(path: Path, cases: Sequence[tuple[Mapping[str, Tensor], Sequence[Tensor]]]) -> None:
    """Runs a file and compares it with what torch says.

    Args:
        path: of the file.
        cases: inputs by name, and the outputs of torch for them in the file's order.

    Raises:
        BundleError: they differ by more than :data:`TOLERANCE`.
    """
    session = import_onnxruntime().InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    for inputs, expected in cases:
        found = session.run(None, {name: value.numpy() for name, value in inputs.items()})
        for name, ours, theirs in zip(names, found, expected, strict=True):
            difference = float(np.abs(ours - theirs.numpy()).max())
            if not difference <= TOLERANCE:
                raise BundleError(
                    f"{path}: output {name} differs from torch by {difference:.2g}, allowed {TOLERANCE:g}"
                )


def _strip_metadata(model: onnx.ModelProto) -> None:
    """Drops what the exporter notes of its own run: stack traces, with the paths of the machine."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *graph.initializer,
    ):
        del part.metadata_props[:]
        if isinstance(part, onnx.NodeProto):
            part.ClearField("doc_string")
    for function in model.functions:
        for inner in (function, *function.node, *function.value_info):
            del inner.metadata_props[:]


def _halve_initializers(model: onnx.ModelProto, exactly: bool) -> None:
    """Stores large float32 initializers as float16, each followed by a Cast back."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < HALVE_FROM:
            continue
        if exactly and not np.array_equal(values.astype(np.float16).astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + HALF_SUFFIX))
        casts.append(helper.make_node("Cast", [name + HALF_SUFFIX], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
