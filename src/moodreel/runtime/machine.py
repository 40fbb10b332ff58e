"""What a measurement says of where it was taken: machine, versions, commit, and rates that nothing passes."""

from __future__ import annotations

import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.runtime.engine import count_cores, import_onnxruntime

SIDE = 1024
"""Rows and columns of the matrices that are multiplied."""

COPIED = 64 * 2**20
"""Bytes that are copied: more than most caches hold."""

_TYPES = {"MatMul": (np.float32, 1, 1, 1), "MatMulInteger": (np.uint8, 2, 3, 6)}
"""Operator -> numpy's type of the left matrix; ONNX's numbers of the types of left, right and product."""


def describe_machine(packages: Sequence[str]) -> dict[str, Any]:
    """Processor, cores, load, system and versions, as plain values.

    Args:
        packages: those whose versions count; one that is not installed is left out.
    """
    cpu = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").is_file():
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        cpu = next((x.partition(":")[2].strip() for x in lines if x.startswith("model name")), cpu)
    versions = {"python": platform.python_version()}
    for name in packages:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "cpu": cpu,
        "cores": count_cores(),
        "load_at_start": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def format_machine(machine: dict[str, Any]) -> list[str]:
    """Two lines of Markdown of what :func:`describe_machine` found."""
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    return [
        f"- Machine: {machine['cpu']}, {machine['cores']} cores, {machine.get('threads', machine['cores'])} "
        f"used, load at start {machine['load_at_start']}, {machine['system']}",
        f"- Versions: {versions}",
    ]


def name_commit(folder: Path) -> str:
    """The commit that a folder's checkout is at, ``-dirty`` with changes; "unknown" outside of one."""
    command = ["git", "describe", "--always", "--dirty", "--exclude", "*"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def measure_matrix_rate(
    int8: bool, threads: int, repeats: int = 5, clock: Callable[[], float] = time.perf_counter
) -> float:
    """Operations a second of a large product of matrices in ONNX Runtime: the median of some.

    Args:
        int8: 8-bit whole numbers instead of float32.
        threads: as a network would have.
        repeats: products that are timed.
        clock: seconds.
    """
    onnxruntime = import_onnxruntime()

    operator = "MatMulInteger" if int8 else "MatMul"
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(
        encode_product(operator), options, providers=["CPUExecutionProvider"]
    )
    kind = _TYPES[operator][0]
    left = np.ones((SIDE, SIDE), kind)
    inputs = {"a": left, "b": left.astype(np.int8) if int8 else left}
    return 2 * SIDE**3 / _time(lambda: session.run(None, inputs), repeats, clock)


def measure_copy_rate(repeats: int = 5, clock: Callable[[], float] = time.perf_counter) -> float:
    """Bytes a second that one core copies in memory: the median of some."""
    source = np.ones(COPIED, np.uint8)
    target = np.empty_like(source)
    return COPIED / _time(lambda: np.copyto(target, source), repeats, clock)


def _time(run: Callable[[], Any], repeats: int, clock: Callable[[], float]) -> float:
    run()
    seconds = []
    for _ in range(repeats):
        begin = clock()
        run()
        seconds.append(clock() - begin)
    return max(statistics.median(seconds), 1e-9)


def encode_product(operator: str) -> bytes:
    """An ONNX file of one product of two square matrices, ``a`` and ``b``, written without the library."""
    _, left, right, out = _TYPES[operator]

    def field(number: int, content: bytes | int) -> bytes:  # protobuf: a varint, or bytes behind their length
        if isinstance(content, int):
            return _varint(number << 3) + _varint(content)
        return _varint(number << 3 | 2) + _varint(len(content)) + content

    def value(name: str, kind: int) -> bytes:
        shape = field(1, field(1, SIDE)) * 2
        return field(1, name.encode()) + field(2, field(1, field(1, kind) + field(2, shape)))

    node = field(1, b"a") + field(1, b"b") + field(2, b"c") + field(4, operator.encode())
    graph = field(1, node) + field(2, b"product")
    graph += field(11, value("a", left)) + field(11, value("b", right)) + field(12, value("c", out))
    return field(1, 8) + field(7, graph) + field(8, field(1, b"") + field(2, 17))


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])
