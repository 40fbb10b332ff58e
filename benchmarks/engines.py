"""Measures the network alone: ONNX Runtime and OpenVINO, float32 and bf16, and bundles in 8 bits.

    python benchmarks/engines.py BUNDLE ... [--repeats 7]

One thread, milliseconds of the processor a row (a clip, a frame, a window) at a batch of 8 rows; bf16 is
OpenVINO's inference precision, which the package does not offer. Writes DATE-COMMIT-engines.md into
benchmarks/results. Needs the ``fast`` extra.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from machine import describe_machine, stamp, write_report

from moodreel.runtime.bundle import Bundle, read_bundle
from moodreel.runtime.engine import EngineSettings, OnnxEngine
from moodreel.runtime.machine import format_machine, measure_matrix_rate
from moodreel.runtime.openvino import import_openvino
from moodreel.runtime.schema import SYSTEMS

BATCH = 8


def open_engine(bundle: Bundle, engine: str) -> Callable[[np.ndarray], Mapping[str, Any]]:
    if engine != "openvino, bf16":
        settings = EngineSettings(engine, "cpu", 1)
        return OnnxEngine(bundle.read_model(), SYSTEMS[bundle.info.system], settings=settings).run
    core = import_openvino().Core()
    options = {
        "INFERENCE_PRECISION_HINT": "bf16",
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": 1,
    }
    request = core.compile_model(core.read_model(bundle.read_model()), "CPU", options).create_infer_request()
    names = [sorted(output.get_names()) for output in request.model_outputs]

    def run(frames: np.ndarray) -> dict[str, np.ndarray]:
        found = request.infer({"frames": frames}, share_inputs=True)
        return {name: np.array(found[k]) for k, aliases in enumerate(names) for name in aliases}

    return run


def time_cpu(run: Callable[[np.ndarray], Any], frames: np.ndarray) -> float:
    begin = time.process_time()
    run(frames)
    return time.process_time() - begin


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("bundles", nargs="+", metavar="BUNDLE")
    parser.add_argument("--repeats", type=int, default=7, metavar="N")
    options = parser.parse_args()
    made = stamp()
    rates = [measure_matrix_rate(int8, 1, clock=time.process_time) / 1e9 for int8 in (False, True)]
    lines = [
        f"# Engines, {made['date']}, {made['commit']}",
        "",
        *format_machine({**describe_machine(("moodreel", "numpy", "onnxruntime", "openvino")), "threads": 1}),
        f"- Medians of {options.repeats}, milliseconds of processor; products of matrices in float32 "
        f"{rates[0]:.0f}, in int8 {rates[1]:.0f} G operations/s",
        "",
        "| bundle | engine | ms a row | to open, s | largest difference of a score |",
        "|---|---|---|---|---|",
    ]
    for name in options.bundles:
        bundle = read_bundle(name)
        info = bundle.info
        middle = {"kavan": (8,), "sta": (16,)}.get(info.system, ())
        shape = (BATCH, *middle, info.input.height, info.input.width, 3)
        frames = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
        int8 = "int8" in info.training
        expected = None
        for engine in ("onnx", "openvino", *([] if int8 else ["openvino, bf16"])):
            begin = time.process_time()
            run = open_engine(bundle, engine)
            opened = time.process_time() - begin
            found = run(frames)
            expected = found if expected is None else expected
            read = [k for k in expected if "attention" not in k]
            gap = max(float(np.abs(found[k] - expected[k]).max()) for k in read)
            taken = statistics.median(time_cpu(run, frames) for _ in range(options.repeats))
            label = f"{info.system}, {'int8' if int8 else 'float32'}"
            said = "-" if engine == "onnx" else f"{gap:.1e}"
            lines.append(f"| {label} | {engine} | {1e3 * taken / BATCH:.2f} | {opened:.2f} | {said} |")
    write_report(made, "\n".join(lines) + "\n", "engines")


if __name__ == "__main__":
    main()
