"""Measures the memory and the speed of ``moodreel trace`` on long videos.

    python benchmarks/trace.py [--model BUNDLE] [--minutes 2 20 60] [--size 320x240] [--fps 25] [--results]

Videos are made by PyAV (MP4, two moving squares over a changing ground), one a length. Each is traced by
the whole command, as a process of its own, with the detector ``frame`` (every frame is the face), so that
decoding, windows and the network are measured and no detector; a plot and an overlay are asked for as well,
as they hold pictures. Two further rounds per length: ``push``, the Python API frame by frame as a stream
gives it, and ``decode``, the file decoded from end to end and nothing else: the floor of time and memory.

For each: peak resident memory, seconds on the clock and of processor, seconds of video per second.
``--model`` takes any bundle of the system sta. With ``--results`` DATE-COMMIT-trace.md and .json are written
to benchmarks/results.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, describe_machine, stamp, write_results

from moodreel.media import write_mp4
from moodreel.runtime.machine import format_machine

PACKAGES = ("moodreel", "numpy", "av", "onnxruntime", "matplotlib")
PUSH = """
import sys
from moodreel.media import open_media
from moodreel.runtime.trace_reader import open_trace_reader
media = open_media(sys.argv[2])
tracer = open_trace_reader(sys.argv[1], None).make_tracer()
starts = media.timeline.starts
count = sum(len(tracer.push(frame, float(starts[k]))) for k, frame in media.read(range(len(media))))
assert count + len(tracer.finish(media.duration))
"""
DECODE = """
import av, sys
with av.open(sys.argv[2]) as container:
    container.streams.video[0].thread_type = "AUTO"
    for frame in container.decode(video=0):
        pass
"""


def draw_frames(count: int, width: int, height: int) -> Iterator[np.ndarray]:
    ramp = np.linspace(0, 90, width).astype(np.uint8)[None, :, None]
    side = height // 3
    for k in range(count):
        frame = np.empty((height, width, 3), np.uint8)
        frame[:] = ramp + np.uint8(60 + 40 * np.sin(k / 300))
        left = int((width - side) * (0.5 + 0.5 * np.sin(k / 40)))
        frame[side : 2 * side, left : left + side] = (200, 120, 60)
        frame[:side, width - side - left : width - left] = (30, 90, 200)
        yield frame


def run(command: list[str]) -> dict[str, float]:
    """Peak memory in MB, seconds on the clock and of processor."""
    begin = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    assert process.stderr is not None
    told = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(told.decode())
    unit = 1e6 if sys.platform == "darwin" else 1e3
    return {
        "peak_mb": usage.ru_maxrss / unit,
        "clock": time.perf_counter() - begin,
        "processor": usage.ru_utime + usage.ru_stime,
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    width, height = map(int, options.size.split("x"))
    facts: dict[str, Any] = {
        **stamp(),
        "machine": describe_machine(PACKAGES),
        "size": options.size,
        "fps": options.fps,
        "rows": [],
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for minutes in options.minutes:
            count = round(minutes * 60 * options.fps)
            path = folder / f"{minutes:g}.mp4"
            write_mp4(path, draw_frames(count, width, height), [1 / options.fps] * count, quality=30)
            command = [sys.executable, "-m", "moodreel", "trace", str(path), "--model", options.model]
            command += ["--detector", "frame", "--out", str(folder / "t.csv")]
            command += ["--plot", str(folder / "p.png"), "--overlay", str(folder / "o.webp")]
            ways = {
                "trace": command,
                "push": [sys.executable, "-c", PUSH, options.model, str(path)],
                "decode": [sys.executable, "-c", DECODE, options.model, str(path)],
            }
            for way, words in ways.items():
                found = {"minutes": minutes, "frames": count, "way": way, **run(words)}
                facts["rows"].append(found)
                print(format_row(found), flush=True)
            path.unlink()
    return facts


def format_row(row: dict[str, Any]) -> str:
    rate = row["minutes"] * 60 / row["clock"]
    return (
        f"| {row['minutes']:g} | {row['way']} | {row['peak_mb']:.0f} | {row['clock']:.1f} | "
        f"{row['processor']:.1f} | {rate:.0f} |"
    )


def format_report(facts: dict[str, Any]) -> str:
    lines = [
        f"# trace, {facts['date']}, {facts['commit']}",
        "",
        *format_machine(facts["machine"]),
        f"- Videos of {facts['size']} at {facts['fps']:g} frames a second, detector frame; once each",
        "",
        "| minutes | way | peak MB | seconds | of processor | times real time |",
        "|---|---|---|---|---|---|",
        *map(format_row, facts["rows"]),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--model", default="sta", metavar="BUNDLE")
    parser.add_argument("--minutes", type=float, nargs="+", default=[2, 20, 60], metavar="N")
    parser.add_argument("--size", default="320x240", metavar="WxH")
    parser.add_argument("--fps", type=float, default=25.0, metavar="R")
    parser.add_argument("--results", action="store_true", help="write into benchmarks/results")
    options = parser.parse_args()
    facts = measure(options)
    if options.results:
        write_results(facts, format_report(facts), RESULTS, "trace")


if __name__ == "__main__":
    main()
