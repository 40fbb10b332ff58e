"""Measures prediction against the plain way of doing the same work.

    python benchmarks/predict.py [FILE|FOLDER ...] [--model kavan|BUNDLE] [--repeats 5]

Three measurements, all in one run:

- decode: the frames that the bundle samples, at its size, on one thread: ``moodreel.media`` against Pillow
  decoding every frame;
- predict: ``moodreel.load(MODEL).map(files)`` against Pillow decoding every frame and the same weights run
  one clip at a time in eager float32 PyTorch; scores are compared;
- cold start: ``python -m moodreel predict ONE`` as a whole process.

The two ways take turns (A B A B); medians are of at least five turns after one that is not counted. Both use
the same resizer and, for Pillow's frames, the same rules on white and on short delays, so that scores can be
compared. Writes DATE-COMMIT.md and .json into benchmarks/results. Needs the ``lab`` extra.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import RESULTS, ROOT, describe_machine, run_benchmark, stamp

import moodreel
from moodreel.lab.plain import PlainWay, find_common, sample_plain, score_ours, take_turns
from moodreel.media import open_media, sample_media, segment_times
from moodreel.runtime.batch import collect_paths
from moodreel.runtime.bundle import BundleInfo, read_bundle
from moodreel.runtime.engine import count_cores
from moodreel.runtime.machine import format_machine

PACKAGES = ("moodreel", "numpy", "pillow", "onnxruntime", "openvino", "torch")


def sample_ours(path: str, info: BundleInfo) -> np.ndarray:
    media = open_media(path)
    size = (info.input.height, info.input.width)
    return sample_media(media, segment_times(media.duration, info.sampling.count), size).frames


def time_cold(path: str, model: str, repeats: int) -> list[float]:
    seconds = []
    command = [sys.executable, "-m", "moodreel", "predict", path, "--model", model]
    for turn in range(repeats + 1):
        begin = time.perf_counter()
        subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
        if turn:
            seconds.append(time.perf_counter() - begin)
    return seconds


def measure(options: argparse.Namespace) -> dict[str, Any]:
    bundle = read_bundle(options.model)
    info = bundle.info
    if info.system != "kavan" or info.sampling.count is None:
        raise SystemExit(f"{options.model}: expected a kavan bundle, which samples by segments")
    threads = options.threads or count_cores()
    machine = {**describe_machine(PACKAGES), "threads": threads}
    paths = collect_paths(options.inputs).paths
    files = find_common(paths, info)
    left_out = len(paths) - len(files)
    if not files:
        raise SystemExit(f"nothing to measure: no file that both ways read ({left_out} left out)")
    torch.set_num_threads(threads)
    way = PlainWay(bundle)
    recognizer = moodreel.load(options.model, threads=threads, engine=options.engine)
    workers = min(8, threads)

    decode = take_turns(
        lambda: [sample_ours(path, info) for path in files],
        lambda: [sample_plain(path, info) for path in files],
        options.repeats,
    )
    scores = {}
    predict = take_turns(
        lambda: scores.update(ours=score_ours(recognizer, files, workers)),
        lambda: scores.update(plain=[way.score(path) for path in files]),
        options.repeats,
    )
    gap = np.abs(scores["ours"] - np.array(scores["plain"])).max(axis=1)
    same = np.array([way.score_frames(sample_ours(path, info)) for path in files])
    cold = time_cold(files[0], options.model, options.repeats)
    media = [open_media(path) for path in files]
    return {
        **stamp(),
        "machine": machine,
        "model": {
            "name": info.name,
            "engine": recognizer.engine.graph.engine,
            "version": info.version,
            "sha256": info.sha256["model.onnx"],
            "frames": info.sampling.count,
            "size": [info.input.height, info.input.width],
        },
        "inputs": {
            "names": [Path(name).resolve().name for name in options.inputs],
            "files": len(files),
            "left_out": left_out,
            "pictures": sum(map(len, media)),
            "median_side": statistics.median(max(m.width, m.height) for m in media),
        },
        "seconds": {"decode": decode, "predict": predict, "cold_start": cold},
        "score_difference": {
            "same_frames": float(np.abs(scores["ours"] - same).max()),
            "whole_way": float(gap.max()),
            "files_above_0.001": int((gap > 1e-3).sum()),
        },
    }


def format_report(facts: dict[str, Any]) -> str:
    machine, model, inputs = facts["machine"], facts["model"], facts["inputs"]
    seconds, gap, count = facts["seconds"], facts["score_difference"], inputs["files"]
    size = "x".join(map(str, model["size"]))
    lines = [
        f"# predict, {facts['date']}, {facts['commit']}",
        "",
        *format_machine(machine),
        f"- Model: {model['name']} {model['version']}, sha256 {model['sha256'][:12]}, "
        f"{model['frames']} frames of {size}; engine {model['engine']}",
        f"- Inputs: {', '.join(inputs['names'])}: {count} files, {inputs['pictures']} pictures, "
        f"median longer side {inputs['median_side']:g} px; {inputs['left_out']} left out",
        f"- Medians of {len(seconds['cold_start'])} turns, the two ways interleaved",
        "",
        "| stage | moodreel, clips/s | plain, clips/s | ratio | ratio, lowest to highest turn |",
        "|---|---|---|---|---|",
    ]
    for stage, label in (("decode", "decode and sample, one thread"), ("predict", "file to scores")):
        ours, plain = seconds[stage]["ours"], seconds[stage]["plain"]
        turns = sorted(b / a for a, b in zip(ours, plain, strict=True))
        a, b = statistics.median(ours), statistics.median(plain)
        spread = f"{turns[0]:.2f} to {turns[-1]:.2f}"
        lines.append(f"| {label} | {count / a:.1f} | {count / b:.1f} | {b / a:.2f} | {spread} |")
    cold = seconds["cold_start"]
    lines += [
        "",
        "Plain: Pillow decodes every frame; eager float32 PyTorch of the same weights, one clip at a time.",
        "",
        f"- Cold start of `moodreel predict ONE`, all cores: {statistics.median(cold):.2f} s "
        f"({min(cold):.2f} to {max(cold):.2f})",
        f"- Scores, largest difference on the same frames: {gap['same_frames']:.1e}",
        f"- Scores, largest difference from file to scores: {gap['whole_way']:.1e}; "
        f"{gap['files_above_0.001']} of {count} files above 0.001 (there the decoders differ)",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="*", default=[str(ROOT / "examples")], metavar="FILE|FOLDER")
    parser.add_argument("--model", default="kavan", metavar="NAME|BUNDLE")
    parser.add_argument("--engine", default="auto", metavar="KIND")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="turns of each way, at least 5")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to use; default: all")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: expected at least 5")
    if options.threads is not None and options.threads < 1:
        parser.error("--threads: expected at least 1")
    run_benchmark(measure, format_report, options)


if __name__ == "__main__":
    main()
