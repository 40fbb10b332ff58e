"""Measures what it costs to decode in processes of their own, against threads.

    python benchmarks/isolate.py [FILE|FOLDER ...] [--model kavan|BUNDLE] [--repeats 5] [--times 4]

Two measurements, in turns (A B A B), medians after one turn that is not counted:

- ``Recognizer.map`` over the files, some times each, with and without ``isolate`` (processes already there);
- ``moodreel predict FILES --json`` as a whole process, with and without ``--no-isolate``.

CPU seconds are those of this process and of its children, as far as they have ended.
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import moodreel
from moodreel.media import Limits
from moodreel.media.pool import DecoderPool
from moodreel.runtime.batch import collect_paths
from moodreel.runtime.engine import count_cores

ROOT = Path(__file__).resolve().parents[1]


def spend() -> float:
    uses = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(use.ru_utime + use.ru_stime for use in uses)


def take_turns(ways: dict[str, Callable[[], None]], repeats: int, count: int) -> None:
    seconds: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for turn in range(repeats + 1):
        for name, run in ways.items():
            begin, used = time.perf_counter(), spend()
            run()
            if turn:
                seconds[name].append((time.perf_counter() - begin, spend() - used))
    for name, turns in seconds.items():
        wall = [wall for wall, _ in turns]
        cpu = statistics.median(cpu for _, cpu in turns)
        print(
            f"{name:28} {count / statistics.median(wall):7.1f} clips/s   {statistics.median(wall):.3f} s "
            f"({min(wall):.3f} to {max(wall):.3f})   {cpu:.2f} CPU s"
        )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="*", default=[str(ROOT / "examples")], metavar="FILE|FOLDER")
    parser.add_argument("--model", default="kavan", metavar="NAME|BUNDLE")
    parser.add_argument("--repeats", type=int, default=5, metavar="N")
    parser.add_argument(
        "--times", type=int, default=4, metavar="N", help="how often each file is read a turn"
    )
    options = parser.parse_args()
    files = collect_paths(options.inputs).paths
    workers = min(8, count_cores())
    mood = moodreel.load(options.model)
    many = files * options.times

    def map_all(isolate: bool | DecoderPool) -> None:
        failed = sum(not r.ok for r in mood.map(many, workers=workers, isolate=isolate))
        assert failed < len(many)

    def predict(*extra: str) -> None:
        command = [sys.executable, "-m", "moodreel", "predict", *files, "--json", "--model", options.model]
        subprocess.run([*command, *extra], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)

    print(f"{len(files)} files, {workers} workers")
    with DecoderPool(Limits(), workers) as pool:
        take_turns(
            {"map, threads": lambda: map_all(False), "map, processes": lambda: map_all(pool)},
            options.repeats,
            len(many),
        )
    take_turns(
        {
            "command, --no-isolate": lambda: predict("--no-isolate"),
            "command": lambda: predict(),
        },
        options.repeats,
        len(files),
    )


if __name__ == "__main__":
    main()
