"""Engines run a bundle's network: ONNX Runtime, on the CPU or a CUDA device, or OpenVINO on the CPU.

Both compute in single precision, whatever the processor offers, so that scores are the same within 1e-5; a
bundle whose graph is quantised is computed in 8 bits by either.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from moodreel.errors import BundleError, require
from moodreel.runtime.schema import System
from moodreel.types import Float32Array, UInt8Array

ENGINES = ("auto", "onnx", "openvino")
DEVICES = ("auto", "cpu", "cuda")

CUDA = "CUDAExecutionProvider"
"""ONNX Runtime's name for it."""

FASTER_IN_OPENVINO = frozenset({"kavan", "face"})
"""Systems that OpenVINO ran faster than ONNX Runtime where it was measured: docs/performance.md."""


@dataclass(frozen=True)
class EngineSettings:
    """What runs a network, and on what.

    Attributes:
        engine: ``onnx`` (ONNX Runtime), ``openvino`` (extra ``fast``), or ``auto``: :func:`choose_engine`.
        device: ``cpu``, ``cuda`` (of ONNX Runtime's GPU build), or ``auto``: CUDA where that build is there
            and finds a device, else the CPU.
        threads: cores for one run; None is all that this process may use.

    Raises:
        SettingsError: a value that is not allowed, or ``openvino`` with ``cuda``.
    """

    engine: str = "auto"
    device: str = "auto"
    threads: int | None = None

    def __post_init__(self) -> None:
        require(self.engine in ENGINES, "engine", self.engine, "one of " + ", ".join(ENGINES))
        require(self.device in DEVICES, "device", self.device, "one of " + ", ".join(DEVICES))
        ok = self.threads is None or self.threads >= 1
        require(ok, "threads", self.threads, "at least 1, or None for all cores")
        ok = (self.engine, self.device) != ("openvino", "cuda")
        require(ok, "device", self.device, "cpu or auto with engine 'openvino'")


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


@dataclass(frozen=True)
class Signature:
    """What a graph must take and give.

    Attributes:
        inputs: name -> (type as ONNX Runtime names it, axes, a letter each); these and no others.
        outputs: those that are read -> size of the last axis, None where free.
        optional: those of ``outputs`` that the graph may lack.
    """

    inputs: Mapping[str, tuple[str, str]]
    outputs: Mapping[str, int | None]
    optional: Collection[str] = ()

    def check(
        self,
        source: str,
        inputs: Mapping[str, tuple[str, int]],
        outputs: Mapping[str, int | None],
    ) -> list[str]:
        """Compares a graph with this.

        Args:
            source: name of the file, for messages.
            inputs: name -> (type, number of axes).
            outputs: name -> size of the last axis, None where it is not known.

        Returns:
            the outputs that are read and there, in this order.

        Raises:
            BundleError: they do not agree.
        """
        expected = {name: kind for name, (kind, _) in self.inputs.items()}
        given = {name: kind for name, (kind, _) in inputs.items()}
        if given != expected:
            raise BundleError(f"{source}: expected {_list_inputs(expected)}; got {_list_inputs(given)}")
        for name, (_, axes) in self.inputs.items():
            rank = inputs[name][1]
            if rank != len(axes):
                raise BundleError(f"{source}: input {name} has {rank} axes; expected {axes}")
        for name, size in self.outputs.items():
            if name not in outputs and name in self.optional:
                continue
            if name not in outputs:
                raise BundleError(f"{source} has no output {name!r}; it has {', '.join(outputs)}")
            last = outputs[name]
            if size is not None and last is not None and last != size:
                raise BundleError(f"{source}: output {name} ends in {last}; expected {size}")
        return [name for name in self.outputs if name in outputs]


class Graph(Protocol):
    """An opened graph.

    Attributes:
        engine: ``onnx`` or ``openvino``.
        device: ``cpu`` or ``cuda``.
    """

    engine: str
    device: str

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Float32Array]:
        """Runs the graph once; several threads may at the same time.

        Raises:
            BundleError: it fails on this input.
        """
        ...


class OnnxGraph:
    """A graph in ONNX Runtime: a :class:`Graph`.

    Args:
        content: of the file.
        signature: what it must take and give.
        source: name of the file, for messages.
        settings: device and threads count.

    Raises:
        BundleError: ONNX Runtime refuses the graph, or its inputs and outputs are others.
        SettingsError: device "cuda", and there is none.
    """

    engine = "onnx"

    def __init__(self, content: bytes, signature: Signature, source: str, settings: EngineSettings) -> None:
        onnxruntime = import_onnxruntime()
        onnxruntime.set_default_logger_severity(4)  # fatal only: what goes wrong arrives as an exception
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = settings.threads or count_cores()
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # decoders need the cores too
        providers: list[Any] = ["CPUExecutionProvider"]
        if settings.device == "cuda" or (settings.device == "auto" and has_cuda_build()):
            _require_cuda(has_cuda_build(), "ONNX Runtime's GPU build: pip install onnxruntime-gpu")
            # TF32 would leave single precision; an exhaustive search would run again for each batch size
            providers.insert(0, (CUDA, {"use_tf32": "0", "cudnn_conv_algo_search": "HEURISTIC"}))
        try:
            session = onnxruntime.InferenceSession(
                content, options, providers=providers, enable_fallback=len(providers) > 1
            )
        except Exception as error:  # its exceptions share no root with a public name
            raise BundleError(f"{source} cannot be run: {flatten_error(error)}") from error
        self.device = "cuda" if CUDA in session.get_providers() else "cpu"
        if settings.device == "cuda":
            _require_cuda(
                self.device == "cuda", "a CUDA device that ONNX Runtime can use, with its libraries"
            )
        self._names = signature.check(
            source,
            {node.name: (node.type, len(node.shape)) for node in session.get_inputs()},
            {node.name: _last_size(node.shape) for node in session.get_outputs()},
        )
        self._session, self._source = session, source

    def run(self, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, Float32Array]:
        """See :meth:`Graph.run`."""
        try:
            outputs = self._session.run(self._names, dict(inputs))
        except Exception as error:
            raise explain_failure(self._source, inputs, error) from error
        return {name: np.asarray(out, np.float32) for name, out in zip(self._names, outputs, strict=True)}


def open_graph(
    content: bytes, signature: Signature, source: str, settings: EngineSettings, system: str | None = None
) -> Graph:
    """Opens a graph in the engine that the settings name.

    Args:
        content, signature, source, settings: as of :class:`OnnxGraph`.
        system: whose graph it is, for ``auto``; None takes ONNX Runtime then.

    Raises:
        BundleError: the engine refuses the graph, or its inputs and outputs are others.
        MissingExtra: OpenVINO is asked for and not installed.
        SettingsError: device "cuda", and there is none.
    """
    if choose_engine(settings, system) == "openvino":
        from moodreel.runtime.openvino import OpenVinoGraph

        return OpenVinoGraph(content, signature, source, settings)
    return OnnxGraph(content, signature, source, settings)


def choose_engine(settings: EngineSettings, system: str | None) -> str:
    """``onnx`` or ``openvino``.

    ``auto`` is a rule found by measuring, and measures nothing itself: OpenVINO where it is installed, for
    the systems of :data:`FASTER_IN_OPENVINO`, on Intel processors with AVX-512, unless ONNX Runtime has CUDA
    to use. The same machine always gets the same.
    """
    if settings.engine != "auto":
        return settings.engine
    if system not in FASTER_IN_OPENVINO or find_spec("openvino") is None or not _is_intel_avx512():
        return "onnx"
    on_cuda = settings.device == "cuda" or (settings.device == "auto" and has_cuda_build())
    return "onnx" if on_cuda else "openvino"


class OnnxEngine:
    """The network of a bundle with one graph, which is an ONNX file whatever runs it.

    Args:
        model: content of ``model.onnx``.
        system: the contract that the network must keep.
        source: name of the bundle, for messages.
        threads: cores for one run; None is all that this process may use.
        settings: engine and device; its ``threads`` count where ``threads`` is None.
        name: of the system, for engine ``auto``; None takes ONNX Runtime then.

    Raises:
        BundleError, MissingExtra, SettingsError: as of :func:`open_graph`.
    """

    def __init__(
        self,
        model: bytes,
        system: System,
        *,
        source: str = "model.onnx",
        threads: int | None = None,
        settings: EngineSettings = EngineSettings(),
        name: str | None = None,
    ) -> None:
        source = f"{source}: model.onnx"
        self._system, self._source = system, source
        if threads is not None:
            settings = replace(settings, threads=threads)
        signature = Signature({"frames": ("tensor(uint8)", system.axes)}, system.outputs, system.optional)
        self.graph = open_graph(model, signature, source, settings, name)

    def run(self, frames: UInt8Array) -> dict[str, Float32Array]:
        """Runs the network once; see :meth:`Engine.run`.

        Raises:
            BundleError: the network fails on this input, or gives other shapes than its system's.
        """
        outputs = self.graph.run({"frames": frames})
        sizes: dict[str, int | None] = dict(zip(self._system.axes[:-3], frames.shape, strict=False))
        for name, array in outputs.items():
            wanted = {**sizes, "C": self._system.outputs[name]}
            check_shape(self._source, name, array, self._system.shapes[name], wanted)
        return outputs


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


def has_cuda_build() -> bool:
    """Whether the installed ONNX Runtime knows CUDA; that there is a device is not said."""
    return CUDA in import_onnxruntime().get_available_providers()


@cache
def _is_intel_avx512() -> bool:
    info = Path("/proc/cpuinfo")
    if not info.is_file():
        return False
    words = set(info.read_text("utf-8", "replace").split())
    return {"GenuineIntel", "avx512f"} <= words


def _require_cuda(ok: bool, expected: str) -> None:
    require(ok, "device", "cuda", f"{expected}; or device cpu")


def check_shape(
    source: str, name: str, array: Float32Array, axes: str, sizes: Mapping[str, int | None]
) -> None:
    """Refuses an output of another shape than agreed: what a graph states of it may be nothing, or untrue.

    Args:
        source: name of the graph, for messages.
        name: of the output.
        array: what the graph gave.
        axes: a letter each.
        sizes: letter -> size, of those that are known.

    Raises:
        BundleError: it has other axes, another size, or nothing in it.
    """
    wanted = [sizes.get(axis) for axis in axes]
    fits = array.ndim == len(axes) and array.size > 0
    if not fits or any(size not in (None, got) for size, got in zip(wanted, array.shape, strict=True)):
        told = ", ".join(axis if size is None else str(size) for axis, size in zip(axes, wanted, strict=True))
        raise BundleError(f"{source}: output {name} came as {list(array.shape)}; expected [{told}]")


def explain_failure(source: str, inputs: Mapping[str, npt.NDArray[Any]], error: Exception) -> BundleError:
    """The error of a run that failed, on one line."""
    shapes = ", ".join(str(list(array.shape)) for array in inputs.values())
    return BundleError(f"{source}: the network failed on {shapes}: {flatten_error(error)}")


def flatten_error(error: Exception) -> str:
    """What an engine's exception says, on one line and not too long."""
    return " ".join(str(error).split())[:300]


def _last_size(shape: Sequence[int | str | None]) -> int | None:
    return shape[-1] if shape and isinstance(shape[-1], int) else None


def _list_inputs(inputs: Mapping[str, str]) -> str:
    count = {0: "no input", 1: "one input"}.get(len(inputs), f"{len(inputs)} inputs")
    return ", ".join([count, *(f"{name} {kind}" for name, kind in inputs.items())])
