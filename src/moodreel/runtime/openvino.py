"""OpenVINO as an engine (extra ``fast``): the same ONNX files, the same scores within 1e-5."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from moodreel.errors import BundleError, MissingExtra
from moodreel.runtime.engine import EngineSettings, Signature, count_cores, explain_failure, flatten_error
from moodreel.types import Float32Array

TYPES = {"u8": "tensor(uint8)", "f32": "tensor(float)"}
"""OpenVINO's names of types, as ONNX Runtime names them."""


class OpenVinoGraph:
    """A graph in OpenVINO: a :class:`moodreel.runtime.engine.Graph`.

    Args:
        content: of the file.
        signature: what it must take and give.
        source: name of the file, for messages.
        settings: threads count.

    Raises:
        BundleError: OpenVINO refuses the graph, or its inputs and outputs are others.
        MissingExtra: OpenVINO is not installed.
    """

    engine = "openvino"
    device = "cpu"

    def __init__(self, content: bytes, signature: Signature, source: str, settings: EngineSettings) -> None:
        core = import_openvino().Core()
        options = {
            # left alone it would take bf16 where the processor has it: 2e-3 off
            "INFERENCE_PRECISION_HINT": "f32",
            "PERFORMANCE_HINT": "LATENCY",  # all threads on one batch
            "INFERENCE_NUM_THREADS": settings.threads or count_cores(),
        }
        try:
            model = core.compile_model(core.read_model(content), "CPU", options)
        except Exception as error:  # RuntimeError, and pybind's own
            raise BundleError(f"{source} cannot be run by OpenVINO: {flatten_error(error)}") from error
        inputs, outputs = {}, {}
        for node in model.inputs:
            kind = node.get_element_type().get_type_name()
            inputs[_name(node, signature.inputs)] = (TYPES.get(kind, kind), len(node.partial_shape))
        for node in model.outputs:
            last = node.partial_shape[-1] if len(node.partial_shape) else None
            outputs[_name(node, signature.outputs)] = (
                last.get_length() if last is not None and last.is_static else None
            )
        self._names = signature.check(source, inputs, outputs)
        self._places = [list(outputs).index(name) for name in self._names]
        self._model, self._source = model, source
        self._own = threading.local()  # a request holds the tensors of one run

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Float32Array]:
        """See :meth:`moodreel.runtime.engine.Graph.run`."""
        try:
            if not hasattr(self._own, "request"):
                self._own.request = self._model.create_infer_request()
            found = self._own.request.infer(dict(inputs), share_inputs=True)
        except Exception as error:
            raise explain_failure(self._source, inputs, error) from error
        # a copy: the next run writes over the tensors of this one
        return {
            name: np.array(found[place], np.float32)
            for name, place in zip(self._names, self._places, strict=True)
        }


def import_openvino() -> Any:
    """The module ``openvino``, kept from reporting its use to its maker.

    Importing it starts ``openvino_telemetry``, which sends who runs what unless the user has opted out.
    OpenVINO takes a stand-in that does nothing where that package is missing, and here it is made to look so.

    Raises:
        MissingExtra: it is not installed.
    """
    try:
        if "openvino" not in sys.modules:
            sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
        import openvino
    except ImportError as error:
        raise MissingExtra("fast", "engine openvino") from error
    return openvino


def _name(node: Any, wanted: Mapping[str, Any]) -> str:
    """The name a graph's input or output goes by: of several, the one that is wanted."""
    names = sorted(node.get_names())
    return next((name for name in names if name in wanted), names[0] if names else "?")
