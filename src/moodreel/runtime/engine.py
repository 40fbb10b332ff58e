"""Engines run a bundle's network. One today: ONNX Runtime on the CPU."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np

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


class OnnxEngine:
    """A network in ONNX Runtime, on the CPU.

    Args:
        model: content of ``model.onnx``.
        system: the contract that the network must keep.
        source: name of the bundle, for messages.
        threads: cores for one run; None is all that this process may use.

    Raises:
        BundleError: ONNX Runtime refuses the model, or its inputs and outputs are not the system's.
        SettingsError: ``threads`` is below 1.
    """

    def __init__(
        self, model: bytes, system: System, *, source: str = "model.onnx", threads: int | None = None
    ) -> None:
        if threads is not None and threads < 1:
            raise SettingsError("threads", threads, "at least 1, or None for all cores")
        import onnxruntime

        onnxruntime.set_default_logger_severity(4)  # fatal only: what goes wrong arrives as an exception
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads or count_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # decoders need the cores too
        try:
            session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # its exceptions share no root with a public name
            raise BundleError(f"{source}: model.onnx cannot be run: {_flatten(error)}") from error
        _check_contract(session.get_inputs(), session.get_outputs(), system, source)
        self._session = session
        given = {node.name for node in session.get_outputs()}
        self._names = [name for name in system.outputs if name in given]

    def run(self, frames: UInt8Array) -> dict[str, Float32Array]:
        """Runs the network once; see :meth:`Engine.run`.

        Raises:
            BundleError: the network fails on this input.
        """
        try:
            outputs = self._session.run(self._names, {"frames": frames})
        except Exception as error:
            raise BundleError(f"the network failed on {list(frames.shape)}: {_flatten(error)}") from error
        return {name: np.asarray(out, np.float32) for name, out in zip(self._names, outputs, strict=True)}


def count_cores() -> int:
    """Cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _flatten(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _check_contract(inputs: Any, outputs: Any, system: System, source: str) -> None:
    given = {node.name: node for node in inputs}
    node = given.get("frames")
    if node is None or len(given) != 1 or node.type != "tensor(uint8)":
        got = ", ".join(f"{name} {node.type}" for name, node in given.items())
        raise BundleError(
            f"{source}: model.onnx: expected one input, frames tensor(uint8); got {got or 'none'}"
        )
    rank = len(node.shape)
    if rank != len(system.axes):
        raise BundleError(f"{source}: model.onnx: input frames has {rank} axes; expected {system.axes}")
    shapes = {node.name: list(node.shape) for node in outputs}
    for name, size in system.outputs.items():
        if name not in shapes and name in system.optional:
            continue
        if name not in shapes:
            raise BundleError(f"{source}: model.onnx has no output {name!r}; it has {', '.join(shapes)}")
        last = shapes[name][-1] if shapes[name] else None
        if size is not None and isinstance(last, int) and last != size:
            raise BundleError(f"{source}: model.onnx: output {name} ends in {last}; expected {size}")
