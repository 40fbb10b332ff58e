"""Floating-point operations of an ONNX graph, counted from its nodes and the shapes they really see."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
from onnx import helper

from moodreel.errors import BundleError, MoodreelError
from moodreel.runtime.engine import import_onnxruntime
from moodreel.runtime.schema import SYSTEMS

COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM")
"""What does the work; additions, activations and pooling are left out, as is usual."""


def count_bundle_flops(system: str, read: Callable[[str], bytes]) -> dict[str, int]:
    """Operations of each graph that takes pixels, for one row of its first axis: file name -> count.

    A graph whose other axes are free too is left out.

    Args:
        system: of the bundle.
        read: file name -> content, as :meth:`moodreel.runtime.bundle.Bundle.read_checked`.

    Raises:
        BundleError: a graph cannot be read or run.
    """
    counts = {}
    for file in SYSTEMS[system].files:
        try:
            counts[file] = count_flops(read(file))
        except _FreeError:
            continue
        except MoodreelError:
            raise
        except Exception as error:  # protobuf's and ONNX Runtime's have no common root
            what = " ".join(str(error).split())[:200]
            raise BundleError(f"{file}: its operations cannot be counted: {what}") from error
    return counts


class _FreeError(Exception):
    """A graph takes something else than rows of one size: features of any number, clips of any length."""


def count_flops(content: bytes) -> int:
    """Operations of one run on one row: a multiplication and an addition are two.

    The graph is run once with the outputs of all counted nodes laid open, so that no shape need be inferred.

    Args:
        content: of an ONNX file with the input ``frames``, whose first axis is free.
    """
    onnxruntime = import_onnxruntime()
    model = onnx.load_from_string(content)
    graph = model.graph
    given = graph.input[0]
    if given.name != "frames":
        raise _FreeError(given.name)
    sizes = [1, *(axis.dim_value for axis in given.type.tensor_type.shape.dim[1:])]
    if 0 in sizes:
        raise _FreeError(given.name)
    nodes = [node for node in graph.node if node.op_type in COUNTED]
    known = {output.name for output in graph.output}
    wanted = {name for node in nodes for name in (*node.input[:2], node.output[0]) if name}
    stored = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    for name in sorted(wanted - known - set(stored) - {given.name}):
        graph.output.append(helper.make_empty_tensor_value_info(name))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    frames = np.zeros(sizes, np.uint8)
    names = [output.name for output in session.get_outputs()]
    found = dict(zip(names, session.run(names, {"frames": frames}), strict=True))
    shapes: Mapping[str, tuple[int, ...]] = {
        "frames": frames.shape,
        **stored,
        **{name: np.shape(array) for name, array in found.items()},
    }
    return sum(_count_node(node, shapes) for node in nodes)


def _count_node(node: onnx.NodeProto, shapes: Mapping[str, tuple[int, ...]]) -> int:
    first, second = shapes[node.input[0]], shapes[node.input[1]]
    out = shapes[node.output[0]]
    size = int(np.prod(out, dtype=np.int64))
    if node.op_type == "Conv":  # weights [M, C / groups, *kernel]: each output cell sums over the rest
        return 2 * size * int(np.prod(second[1:]))
    if node.op_type == "ConvTranspose":  # weights [C, M / groups, *kernel]: each input cell is spread
        return 2 * int(np.prod(first)) * int(np.prod(second[1:]))
    if node.op_type == "Gemm":
        return 2 * size * first[0 if _attribute(node, "transA") else 1]
    if node.op_type == "MatMul":
        return 2 * size * first[-1]
    # LSTM: X [T, N, in], W [directions, 4 hidden, in], R [directions, 4 hidden, hidden]
    steps, rows = first[:2]
    directions, gates, inside = second
    return 2 * steps * rows * directions * gates * (inside + gates // 4)


def _attribute(node: onnx.NodeProto, name: str) -> Any:
    return next((helper.get_attribute_value(a) for a in node.attribute if a.name == name), 0)
