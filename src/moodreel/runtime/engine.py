"""Engines run a bundle's network. One today: ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from moodreel.errors import BundleError, SettingsError
from moodreel.runtime.schema import System
from moodreel.types import Float32Array, UInt8Array


class Engine(Protocol):
    """Something that runs a network: the seam at which tests put a fake."""

    def run(self, frames: UInt8Array) -> Mapping[str, Float32Array]:
        """Runs the network once.

        Args:
            frames: [N, T, H, W, 3] clips or [N, H, W, 3] frames, uint8 RGB, as the system's ``axes`` say.

        Returns:
            Output name -> float32, first axis N.
        """
        ...


class OnnxGraph:
    """One graph in ONNX Runtime, on the CPU.

    Args:
        content: of the file.
        inputs: name -> (type, axes, a letter each); the graph must have these and no others.
        outputs: those that are read -> size of the last axis, None where free.
        optional: those of ``outputs`` that the graph may lack.
        source: name of the file, for messages.
        threads: cores for one run; None is all that this process may use.

    Raises:
        BundleError: ONNX Runtime refuses the graph, or its inputs and outputs are others.
        SettingsError: ``threads`` is below 1.
    """

    def __init__(
        self,
        content: bytes,
        inputs: Mapping[str, tuple[str, str]],
        outputs: Mapping[str, int | None],
        optional: Collection[str],
        source: str,
        threads: int | None,
    ) -> None:
        if threads is not None and threads < 1:
            raise SettingsError("threads", threads, "at least 1, or None for all cores")
        onnxruntime = import_onnxruntime()
        onnxruntime.set_default_logger_severity(4)  # fatal only: what goes wrong arrives as an exception
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or count_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # decoders need the cores too
        try:
            session = onnxruntime.InferenceSession(
                content, options, providers=["CPUExecutionProvider"], enable_fallback=False
            )
        except Exception as error:  # its exceptions share no root with a public name
            raise BundleError(f"{source} cannot be run: {_flatten(error)}") from error
        expected = {name: kind for name, (kind, _) in inputs.items()}
        given = {node.name: node.type for node in session.get_inputs()}
        if given != expected:
            raise BundleError(f"{source}: expected {_list_inputs(expected)}; got {_list_inputs(given)}")
        for node in session.get_inputs():
            rank, axes = len(node.shape), inputs[node.name][1]
            if rank != len(axes):
                raise BundleError(f"{source}: input {node.name} has {rank} axes; expected {axes}")
        shapes = {node.name: list(node.shape) for node in session.get_outputs()}
        for name, size in outputs.items():
            if name not in shapes and name in optional:
                continue
            if name not in shapes:
                raise BundleError(f"{source} has no output {name!r}; it has {', '.join(shapes)}")
            last = shapes[name][-1] if shapes[name] else None
            if size is not None and isinstance(last, int) and last != size:
                raise BundleError(f"{source}: output {name} ends in {last}; expected {size}")
        self._session, self._source = session, source
        self._names = [name for name in outputs if name in shapes]

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Float32Array]:
        """Runs the graph once; several threads may at the same time.

        Raises:
            BundleError: it fails on this input.
        """
        try:
            outputs = self._session.run(self._names, dict(inputs))
        except Exception as error:
            shapes = ", ".join(str(list(array.shape)) for array in inputs.values())
            raise BundleError(f"{self._source}: the network failed on {shapes}: {_flatten(error)}") from error
        return {name: np.asarray(out, np.float32) for name, out in zip(self._names, outputs, strict=True)}


class OnnxEngine:
    """The network of a bundle with one graph.

    Args:
        model: content of ``model.onnx``.
        system: the contract that the network must keep.
        source: name of the bundle, for messages.
        threads: cores for one run; None is all that this process may use.

    Raises:
        BundleError, SettingsError: as of :class:`OnnxGraph`.
    """

    def __init__(
        self, model: bytes, system: System, *, source: str = "model.onnx", threads: int | None = None
    ) -> None:
        source = f"{source}: model.onnx"
        inputs = {"frames": ("tensor(uint8)", system.axes)}
        self._graph = OnnxGraph(model, inputs, system.outputs, system.optional, source, threads)

    def run(self, frames: UInt8Array) -> dict[str, Float32Array]:
        """Runs the network once; see :meth:`Engine.run`.

        Raises:
            BundleError: the network fails on this input.
        """
        return self._graph.run({"frames": frames})


def import_onnxruntime() -> Any:
    """ONNX Runtime, kept from sending usage data to its maker (seen in 1.31: a name is looked up at once).

    ``ORT_DISABLE_TELEMETRY`` must be set before the library is loaded; who has set it otherwise is heeded.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    return onnxruntime


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _flatten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _list_inputs(inputs: Mapping[str, str]) -> str:
    count = {0: "no input", 1: "one input"}.get(len(inputs), f"{len(inputs)} inputs")
    return ", ".join([count, *(f"{name} {kind}" for name, kind in inputs.items())])
