"""CACA-RNN and its relatives as ONNX, written operator by operator.

A traced Python loop would keep the example's number of moments. So the stacked LSTMs become ONNX's LSTM, the
cascade's second one a Scan, and a clip may have any length. Weights keep torch's names and layout: what an
operator wants otherwise is rearranged inside the graph, and folded when the model is loaded.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from moodreel.lab.layers.dot_attention import AttentiveLSTM, SequenceLSTM
from moodreel.lab.layers.hs_lstm import LSTMNode
from moodreel.lab.models.caca_rnn import CacaRnn, CascadeRnn, ConcatenatedRnn, ParallelRnn, SingleRnn
from moodreel.lab.settings_caca_rnn import CacaRnnSettings

OPSET = 18
IR_VERSION = 10
"""ONNX 1.16's, which ONNX Runtime reads from 1.18 on."""

FACE_MOMENTS, CONTEXT_MOMENTS = "faces", "context_frames"
"""Names of the free lengths."""


def write_caca_rnn_onnx(net: CacaRnn, settings: CacaRnnSettings) -> onnx.ModelProto:
    """The network for one clip without padding.

    Inputs, those that the network reads: ``face`` float32 [T, face_features], ``context`` float32
    [S, context_features]; T and S are free, and equal for network "concatenated". Outputs: ``probabilities``
    [classes] and, of CACA-RNN, ``attention`` [T2, T1]: moments of the second LSTM over those of the first.

    Args:
        net: of :func:`moodreel.lab.models.caca_rnn.build_caca_rnn`; dropout is left out.
        settings: those it was built with.
    """
    graph = _Graph(net)
    attention = None
    if isinstance(net, CascadeRnn):
        state, attention = _add_cascade(graph, net)
    elif isinstance(net, SingleRnn):
        x = graph.encode(net.stream, "encoder")
        _, (state, _) = graph.stack(x, net.rnn, "rnn")
    elif isinstance(net, ConcatenatedRnn):
        x = graph.add(
            "Concat", graph.encode("face", "face_encoder"), graph.encode("context", "context_encoder"), axis=1
        )
        _, (state, _) = graph.stack(x, net.rnn, "rnn")
    else:
        assert isinstance(net, ParallelRnn)
        _, (face, _) = graph.stack(graph.encode("face", "face_encoder"), net.face_rnn, "face_rnn")
        x = graph.encode("context", "context_encoder")
        _, (context, _) = graph.stack(x, net.context_rnn, "context_rnn")
        state = graph.add("Concat", face, context, axis=1)
    logits = graph.linear(state, "classify.weight", "classify.bias")
    row = graph.add("Softmax", logits, axis=1)
    graph.add("Squeeze", row, graph.constant("first_axis", [0]), output="probabilities")
    classes = net.classify.out_features
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [classes])]
    if attention is not None:
        graph.add("Identity", attention, output="attention")
        lengths = {"face": FACE_MOMENTS, "context": CONTEXT_MOMENTS}
        assert isinstance(net, CascadeRnn)
        shape = [lengths[name] for name in reversed(net.order)]
        outputs.append(helper.make_tensor_value_info("attention", TensorProto.FLOAT, shape))
    return graph.finish(_describe_inputs(settings), outputs)


def _describe_inputs(settings: CacaRnnSettings) -> list[onnx.ValueInfoProto]:
    joined = settings.network == "concatenated"
    streams = (
        ("face", FACE_MOMENTS, settings.face_features, settings.reads_face),
        (
            "context",
            FACE_MOMENTS if joined else CONTEXT_MOMENTS,
            settings.context_features,
            settings.reads_context,
        ),
    )
    return [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [moments, size])
        for name, moments, size, reads in streams
        if reads
    ]


def _add_cascade(graph: _Graph, net: CascadeRnn) -> tuple[str, str]:
    """State [1, d] after the last moment and attention [T2, T1]."""
    first, second = net.order
    x = graph.encode(first, "first_encoder")
    memory, (h, c) = graph.stack(x, net.first, "first")
    y = graph.encode(second, "second_encoder")
    columns = graph.add("Transpose", memory, perm=[1, 0])
    layers = len(net.second.nodes)
    body = _scan_body(net.second, memory, columns)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        for layer in range(layers):
            graph.weight(f"second.nodes.{layer}.{name}")
    finals = [f"second.{layer}.{part}_last" for layer in range(layers) for part in "hc"]
    graph.nodes.append(
        helper.make_node(
            "Scan",
            [*[h, c] * layers, y],
            [*finals, "second.attention"],
            name="second",
            body=body,
            num_scan_inputs=1,
        )
    )
    return finals[-2], "second.attention"


def _scan_body(module: AttentiveLSTM, memory: str, columns: str) -> onnx.GraphProto:
    """One moment of the second LSTM; weights, ``memory`` [T1, d] and its transpose come from around it."""
    nodes = []
    counter = 0

    def add(operator: str, *inputs: str, **attributes: Any) -> str:
        nonlocal counter
        counter += 1
        name = f"step.{operator.lower()}_{counter}"
        nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    layers = len(module.nodes)
    lowest = cast(LSTMNode, module.nodes[0])
    hidden = lowest.weight_hh.shape[1]
    before = [f"step.{layer}.{part}" for layer in range(layers) for part in "hc"]
    after = [f"{name}_next" for name in before]
    weights = add("Softmax", add("MatMul", before[-2], columns), axis=1)  # Eq. 2: [1, T1]
    context = add("MatMul", weights, memory)  # Eq. 3: [1, d]
    axis = numpy_helper.from_array(np.array([0], np.int64), "step.axis")
    below = add("Concat", add("Unsqueeze", "step.x", "step.axis"), context, axis=1)
    for layer in range(layers):
        prefix = f"second.nodes.{layer}."
        (h, c), (h_next, c_next) = (names[2 * layer : 2 * layer + 2] for names in (before, after))
        from_below = add("Gemm", below, prefix + "weight_ih", prefix + "bias_ih", transB=1)
        from_before = add("Gemm", h, prefix + "weight_hh", prefix + "bias_hh", transB=1)
        gates = [f"step.{layer}.{gate}" for gate in "ifgo"]
        nodes.append(
            helper.make_node(
                "Split", [add("Add", from_below, from_before)], gates, name=gates[0], axis=1, num_outputs=4
            )
        )
        i, f, g, o = gates
        kept = add("Mul", add("Sigmoid", f), c)
        new = add("Mul", add("Sigmoid", i), add("Tanh", g))
        nodes.append(helper.make_node("Add", [kept, new], [c_next], name=c_next))
        out, shown = add("Sigmoid", o), add("Tanh", c_next)
        nodes.append(helper.make_node("Mul", [out, shown], [h_next], name=h_next))
        below = h_next
    row = add("Squeeze", weights, "step.axis")
    states = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, hidden]) for name in before]
    inputs = lowest.weight_ih.shape[1] - hidden
    return helper.make_graph(
        nodes,
        "moment",
        [*states, helper.make_tensor_value_info("step.x", TensorProto.FLOAT, [inputs])],
        [
            *[helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, hidden]) for name in after],
            helper.make_tensor_value_info(row, TensorProto.FLOAT, [None]),
        ],
        [axis],
    )


class _Graph:
    """Nodes and initializers of a model that is being written."""

    def __init__(self, net: nn.Module) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: dict[str, onnx.TensorProto] = {}
        self.weights = {name: value.detach().cpu().float().numpy() for name, value in net.named_parameters()}

    def add(self, operator: str, *inputs: str, output: str = "", **attributes: Any) -> str:
        """Appends a node of one output and returns that output's name."""
        name = output or f"{operator.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def weight(self, name: str) -> str:
        """Makes a parameter of the network an initializer under its own name."""
        if name not in self.initializers:
            self.initializers[name] = numpy_helper.from_array(self.weights[name], name)
        return name

    def constant(self, name: str, values: list[int]) -> str:
        """Makes whole numbers an initializer."""
        self.initializers[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name

    def linear(self, x: str, weight: str, bias: str) -> str:
        """[n, in] -> [n, out]."""
        return self.add("Gemm", x, self.weight(weight), self.weight(bias), transB=1)

    def encode(self, stream: str, encoder: str) -> str:
        """A stream [T, F] through its encoder, if it has one."""
        if f"{encoder}.0.weight" not in self.weights:
            return stream
        return self.add("Relu", self.linear(stream, f"{encoder}.0.weight", f"{encoder}.0.bias"))

    def stack(self, x: str, lstm: SequenceLSTM, prefix: str) -> tuple[str, tuple[str, str]]:
        """Stacked LSTMs over [T, F] -> the top layer's outputs [T, d], and its last (h, c), [1, d] each."""
        one, pair, first = (
            self.constant("second_axis", [1]),
            self.constant("inner_axes", [1, 2]),
            self.constant("first_axis", [0]),
        )
        sequence = self.add("Unsqueeze", x, one)  # [T, 1, F]: one clip
        outputs = h = c = ""
        for layer in range(lstm.num_layers):
            names = [f"{prefix}.{name}_l{layer}" for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]
            w, r, b_ih, b_hh = (self._reorder(name, lstm.hidden_size) for name in names)
            bias = self.add("Concat", b_ih, b_hh, axis=0)
            operands = [sequence, *(self.add("Unsqueeze", part, first) for part in (w, r, bias))]
            outputs, h, c = (f"{prefix}.{part}_l{layer}" for part in ("outputs", "h", "c"))
            self.nodes.append(
                helper.make_node(
                    "LSTM", operands, [outputs, h, c], name=f"{prefix}_l{layer}", hidden_size=lstm.hidden_size
                )
            )  # outputs [T, 1, 1, d]: direction, clip; h, c [1, 1, d]
            sequence = self.add("Squeeze", outputs, one)
        return self.add("Squeeze", outputs, pair), (
            self.add("Squeeze", h, first),
            self.add("Squeeze", c, first),
        )

    def _reorder(self, name: str, hidden: int) -> str:
        """Rows of a weight from torch's gates i, f, g, o to ONNX's i, o, f, c."""
        places = [gate * hidden + row for gate in (0, 3, 1, 2) for row in range(hidden)]
        return self.add("Gather", self.weight(name), self.constant(f"gates_{hidden}", places), axis=0)

    def finish(
        self, inputs: list[onnx.ValueInfoProto], outputs: list[onnx.ValueInfoProto]
    ) -> onnx.ModelProto:
        """The checked model."""
        graph = helper.make_graph(self.nodes, "caca_rnn", inputs, outputs, list(self.initializers.values()))
        model = helper.make_model(
            graph,
            producer_name="moodreel",
            ir_version=IR_VERSION,
            opset_imports=[helper.make_opsetid("", OPSET)],
        )
        onnx.checker.check_model(model, full_check=True)
        return model
