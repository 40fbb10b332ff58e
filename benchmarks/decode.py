"""Measures decoding: the frames that a prediction samples, in this checkout against another one.

    python benchmarks/decode.py FILE|FOLDER ... --against CHECKOUT [--repeats 5]

Each way runs in a process of its own, in turns (A B A B), on one thread; seconds are those of the processor,
so that other work counts little. Frames must be the same to the last bit. Prints a line a kind of
file, and writes DATE-COMMIT-decode.md into benchmarks/results.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FRAMES, SIDE = 8, 112
"""What the bundle kavan samples of a clip."""


def work(paths: list[str]) -> None:
    """In the process that is measured: reads all files twice, times the second pass."""
    from moodreel.media import open_media, sample_media, segment_times

    def read_all() -> str:
        digest = hashlib.sha256()
        for path in paths:
            media = open_media(path)
            sample = sample_media(media, segment_times(media.duration, FRAMES), (SIDE, SIDE))
            digest.update(sample.frames.tobytes())
        return digest.hexdigest()

    pixels = read_all()
    begin = time.process_time()
    read_all()
    print(json.dumps([time.process_time() - begin, pixels]))


def run(source: Path, paths: list[str]) -> tuple[float, str]:
    environment = {**os.environ, "PYTHONPATH": str(source / "src")}
    command = [sys.executable, __file__, "--work", *paths]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    seconds, pixels = json.loads(done.stdout)
    return seconds, pixels


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="+", metavar="FILE|FOLDER")
    parser.add_argument("--against", type=Path, metavar="CHECKOUT")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument("--work", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.work:
        work(options.inputs)
        return
    if options.against is None:
        parser.error("--against: expected another checkout")
    from machine import describe_machine, stamp, write_report

    from moodreel.runtime.batch import collect_paths
    from moodreel.runtime.machine import format_machine, name_commit

    made, other = stamp(), name_commit(options.against)
    kinds: dict[str, list[str]] = {}
    for path in collect_paths(options.inputs).paths:
        kinds.setdefault(f"{Path(path).parent.name}/*{Path(path).suffix}", []).append(path)
    lines = [
        f"# Decoding {FRAMES} frames a clip, {made['date']}, {made['commit']} against {other}",
        "",
        *format_machine(describe_machine(("moodreel", "numpy", "pillow", "av"))),
        f"- Medians of {options.repeats} turns, milliseconds of processor a clip; the same pixels",
        "",
        f"| files | clips | {other} | {made['commit']} | less by | lowest to highest turn |",
        "|---|---|---|---|---|---|",
    ]
    for kind, paths in sorted(kinds.items()):
        before, after = [], []
        for _ in range(options.repeats):
            (a, theirs), (b, ours) = run(options.against, paths), run(ROOT, paths)
            if ours != theirs:
                raise SystemExit(f"{kind}: the frames differ")
            before.append(1e3 * a / len(paths))
            after.append(1e3 * b / len(paths))
        gains = sorted(1 - b / a for a, b in zip(before, after, strict=True))
        a, b = statistics.median(before), statistics.median(after)
        spread = f"{gains[0]:.0%} to {gains[-1]:.0%}"
        lines.append(f"| {kind} | {len(paths)} | {a:.2f} | {b:.2f} | {1 - b / a:.0%} | {spread} |")
    write_report(made, "\n".join(lines) + "\n", "decode")


if __name__ == "__main__":
    main()
