"""Measures a run on a local Ray: one actor against two, and what a capacity plan needs to know.

    python benchmarks/cluster.py [FILE|FOLDER ...] [--model kavan] [--clips 160] [--repeats 5]

The files are linked as often as needed into a folder of ``--clips`` inputs, which is read with one actor and
with two, in turns (A B A B), after one turn of each that is not counted. Two rates:

- steady: inputs after the first block of each actor, over the time that they took;
- whole: all inputs over the whole pass: start of the actors and of their models, listing and end.

Beside them, in the same run: the same inputs through one recogniser of one thread in this process; memory of
the processes; how fast a folder is listed, parts are written and footers are read; bytes of an input and of a
row. Processor time of the actors is told as well, which other work on the machine changes less than the
rates. Writes DATE-COMMIT-cluster.md and .json into benchmarks/results; benchmarks/capacity.py reads the
.json. Needs the ``cluster`` extra.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from machine import RESULTS, ROOT, describe_machine, run_benchmark, stamp

from moodreel.runtime.batch import Inputs, collect_paths
from moodreel.runtime.blocks import Work, hash_bundle, read_block
from moodreel.runtime.cluster import ClusterSettings, open_cluster, run_on_cluster
from moodreel.runtime.large import open_run
from moodreel.runtime.listing import list_all_roots, stream_all
from moodreel.runtime.parts import Entry, RunSettings, list_parts, write_part
from moodreel.runtime.recognizer import load

PACKAGES = ("moodreel", "ray", "pyarrow", "onnxruntime", "numpy")
BLOCK = 8
LISTED = 20_000
PARTS = 200


def link_inputs(sources: list[str], folder: Path, count: int) -> None:
    for k in range(count):
        source = Path(sources[k % len(sources)]).resolve()
        place = folder / f"{k // 1000:03}" / f"{k:06}{source.suffix}"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.symlink_to(source)


def describe_run(model: str, folder: str) -> RunSettings:
    info = load(model, threads=1).info
    bundle = hash_bundle(load(model, threads=1))
    return RunSettings(info.system, info.name, info.version, bundle, paths=(folder,))


def run_once(model: str, folder: str, out: Path, actors: int) -> dict[str, float]:
    """One pass: rates, and the largest memory of an actor and of the driver."""
    notes = Inputs()
    begin = time.perf_counter()
    found = stream_all(list_all_roots([folder], None, notes), notes)
    told = []
    with open_run(out, describe_run(model, folder), resume=False) as run:
        settings = ClusterSettings("local", actors, BLOCK)
        for _ in run_on_cluster(run, found, partial(load, model, threads=1), settings):
            memory = measure_processes()
            told.append((time.perf_counter(), run.counts.done, memory.pop("actors_cpu_s")))
        if run.counts.failed:
            raise SystemExit(f"{run.counts.failed} inputs failed: nothing to measure")
    whole = time.perf_counter() - begin
    (first, before, used), (last, done, _) = told[actors - 1], told[-1]
    _, counted, total = max(told, key=lambda entry: entry[2])  # at the end actors may be gone
    return {
        "steady": (done - before) / (last - first),
        "whole": done / whole,
        "cpu_s_per_clip": (total - used) / (counted - before),
        **memory,
    }


def measure_processes() -> dict[str, float]:
    """Processor seconds of all actors; resident MiB of the largest, of this process and of Ray's own."""
    actors, others, cpu = [0.0], 0.0, 0.0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            name = folder.joinpath("cmdline").read_bytes()
            pages = int(folder.joinpath("statm").read_text().split()[1])
            times = folder.joinpath("stat").read_text().rpartition(")")[2].split()[11:13]
        except (OSError, IndexError):
            continue
        size = pages * os.sysconf("SC_PAGE_SIZE") / 2**20
        if b"MapWorker" in name:
            actors.append(size)
            cpu += sum(map(int, times)) / os.sysconf("SC_CLK_TCK")
        elif b"ray::" in name or b"raylet" in name or b"gcs_server" in name or b"/ray/" in name:
            others += size
    own = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20
    return {"actor_mib": max(actors), "driver_mib": own, "ray_mib": others, "actors_cpu_s": cpu}


def read_alone(model: str, folder: str) -> float:
    """Clips a second of one recogniser of one thread, in this process."""
    recognizer = load(model, threads=1)
    pairs = [(f.input, f.stamp) for f in stream_all(list_all_roots([folder], None, Inputs()), Inputs())]
    work = Work(partial(load, model), describe_run(model, folder), Path("unused"), str(Path.cwd()))
    read_block(recognizer, pairs[:BLOCK], work)
    begin = time.perf_counter()
    read_block(recognizer, pairs, work)
    return len(pairs) / (time.perf_counter() - begin)


def measure_store(model: str, folder: str, scratch: Path) -> dict[str, float]:
    """What the driver does for each input and each part, on this disk."""
    flat = scratch / "flat"
    flat.mkdir()
    for k in range(LISTED):
        (flat / f"{k:08}.gif").touch()
    begin = time.perf_counter()
    listed = sum(1 for _ in stream_all(list_all_roots([str(flat)], None, Inputs()), Inputs()))
    listing = listed / (time.perf_counter() - begin)
    recognizer = load(model, threads=1)
    settings = describe_run(model, folder)
    pairs = [(f.input, f.stamp) for f in stream_all(list_all_roots([folder], None, Inputs()), Inputs())]
    entries = read_block(recognizer, pairs[:16], Work(partial(load, model), settings, scratch, "."))
    rng = np.random.default_rng(0)  # rows that differ, as those of different clips do
    many = []
    for k in range(1024):
        row = entries[k % len(entries)].rows[0]
        noisy = {n: v + round(rng.uniform(0, 0.1), 6) if isinstance(v, float) else v for n, v in row.items()}
        key = entries[0].key._replace(inside=f"{k:03}\0{rng.integers(10**9)}.gif")
        many.append(
            Entry(key, entries[0].stamp, [{**noisy, "path": f"inputs/{k:03}/{rng.integers(10**9)}.gif"}])
        )
    out = scratch / "parts"
    out.mkdir()
    seconds = []
    for number in range(PARTS):
        begin = time.perf_counter()
        write_part(out, number + 1, many if number < 5 else entries[:1], settings, completes=False)
        if number < 5:
            seconds.append(time.perf_counter() - begin)
    size = statistics.median(path.stat().st_size for path in sorted(out.iterdir())[:5])
    begin = time.perf_counter()
    list_parts(out)
    footers = PARTS / (time.perf_counter() - begin)
    return {
        "listing_per_s": listing,
        "part_write_s": statistics.median(seconds),
        "row_bytes": size / 1024,
        "footers_per_s": footers,
    }


def measure(options: argparse.Namespace) -> dict[str, Any]:
    machine = describe_machine(PACKAGES)
    sources = collect_paths(options.inputs).paths
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        folder = scratch / "inputs"
        link_inputs(sources, folder, options.clips)
        sizes = [Path(sources[k % len(sources)]).stat().st_size for k in range(options.clips)]
        alone = read_alone(options.model, str(folder))
        store = measure_store(options.model, str(folder), scratch)
        turns: dict[str, list[dict[str, float]]] = {"1": [], "2": []}
        begin = time.perf_counter()
        with open_cluster(ClusterSettings("local", 2)):
            start = time.perf_counter() - begin
            for turn in range(options.repeats + 1):
                for actors in (1, 2):
                    measured = run_once(options.model, str(folder), scratch / f"run{turn}-{actors}", actors)
                    if turn:
                        turns[str(actors)].append(measured)
    return {
        **stamp(),
        "machine": machine,
        "model": options.model,
        "inputs": {
            "names": [Path(name).resolve().name for name in options.inputs],
            "files": len(sources),
            "clips": options.clips,
            "median_bytes": statistics.median(sizes),
            "mean_bytes": statistics.fmean(sizes),
        },
        "load_at_end": round(os.getloadavg()[0], 2),
        "ray_start_s": start,
        "alone_per_s": alone,
        "store": store,
        "turns": turns,
    }


def find_median(facts: dict[str, Any], actors: int, name: str) -> float:
    return statistics.median(turn[name] for turn in facts["turns"][str(actors)])


def format_report(facts: dict[str, Any]) -> str:
    machine, inputs, store = facts["machine"], facts["inputs"], facts["store"]
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    ratios = sorted(
        two["steady"] / one["steady"]
        for one, two in zip(facts["turns"]["1"], facts["turns"]["2"], strict=True)
    )
    lines = [
        f"# Cluster, {facts['date']}, {facts['commit']}",
        "",
        f"- Machine: {machine['cpu']}, {machine['cores']} cores, load at start {machine['load_at_start']}, "
        f"{machine['system']}",
        f"- Versions: {versions}",
        f"- Inputs: {inputs['clips']} links to {inputs['files']} files of {', '.join(inputs['names'])}, "
        f"mean {inputs['mean_bytes'] / 1e3:.0f} kB; model {facts['model']}, one thread an actor",
        f"- Medians of {len(facts['turns']['1'])} turns, one actor and two in turns",
        "",
        "| actors | steady, clips/s | cores that they got | processor time a clip | clips/s of a core got "
        "| whole pass, clips/s | memory of an actor |",
        "|---|---|---|---|---|---|---|",
    ]
    for actors in (1, 2):
        names = ("steady", "whole", "cpu_s_per_clip", "actor_mib")
        steady, whole, cpu, memory = (find_median(facts, actors, name) for name in names)
        got = statistics.median(t["steady"] * t["cpu_s_per_clip"] for t in facts["turns"][str(actors)])
        lines.append(
            f"| {actors} | {steady:.1f} | {got:.2f} | {cpu * 1e3:.1f} ms | {1 / cpu:.1f} | {whole:.1f} "
            f"| {memory:.0f} MiB |"
        )
    lines += [
        "",
        f"Two actors to one, steady: {statistics.median(ratios):.2f} ({ratios[0]:.2f} to {ratios[-1]:.2f} in "
        f"single turns); load at the end {facts['load_at_end']}. One recogniser of one thread without Ray: "
        f"{facts['alone_per_s']:.1f} clips/s.",
        "",
        f"Start of a local Ray {facts['ray_start_s']:.1f} s; driver "
        f"{find_median(facts, 2, 'driver_mib'):.0f} MiB, Ray's own processes "
        f"{find_median(facts, 2, 'ray_mib'):.0f} MiB (shared pages counted in each).",
        "",
        f"The driver on this disk: {store['listing_per_s']:.0f} files/s listed; a part of 1,024 rows written "
        f"in {store['part_write_s'] * 1e3:.0f} ms, {store['row_bytes']:.0f} bytes a row; "
        f"{store['footers_per_s']:.0f} footers/s read.",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="*", default=[str(ROOT / "examples")], metavar="FILE|FOLDER")
    parser.add_argument("--model", default="kavan", metavar="NAME|BUNDLE")
    parser.add_argument("--clips", type=int, default=160, metavar="N", help="at least 64")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="turns of each, at least 1")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    if options.repeats < 1 or options.clips < 64:
        parser.error("--repeats: expected at least 1, --clips at least 64")
    run_benchmark(measure, format_report, options, "cluster")


if __name__ == "__main__":
    main()
