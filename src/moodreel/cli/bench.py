"""The verb that measures where the time of a prediction goes: bench."""

from __future__ import annotations

import datetime
import json
import tempfile
import time
from contextlib import ExitStack
from dataclasses import asdict
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from moodreel.cli.console import DeviceOption, EngineOption, collect, complain, complete_bundles, stop, write

if TYPE_CHECKING:
    from moodreel.runtime.bundle import Bundle

PACKAGES = ("moodreel", "numpy", "pillow", "av", "onnxruntime", "openvino", "torch")


def bench(
    paths: Annotated[
        list[str] | None,
        typer.Argument(metavar="PATH", help="Files, folders or globs; default: animations drawn for it."),
    ] = None,
    model: Annotated[
        str, typer.Option(metavar="NAME|BUNDLE", help="As of predict.", autocompletion=complete_bundles)
    ] = "kavan",
    repeats: Annotated[int, typer.Option(metavar="N", help="Passes that count, at least 1.")] = 5,
    out: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write DATE-COMMIT-bench.md and .json there.")
    ] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Cores to use; default: all.")] = None,
    plain: Annotated[
        bool, typer.Option(help="Of kavan: also measure Pillow with eager PyTorch (extra lab).")
    ] = True,
    cpu_time: Annotated[
        bool, typer.Option("--cpu-time", help="Count seconds of processor: where others share the machine.")
    ] = False,
    engine: EngineOption = "auto",
    device: DeviceOption = "auto",
) -> None:
    """Measure prediction on this machine: each stage, its rate, and how far it is from the floor."""
    if repeats < 1:
        stop(f"--repeats {repeats}: expected at least 1")
    if out is not None and not out.is_dir():
        stop(f"--out {out}: no such folder")
    from moodreel.runtime.machine import name_commit

    with ExitStack() as stack:
        if paths:
            inputs = collect(paths)
        else:
            inputs = draw_inputs(Path(stack.enter_context(tempfile.TemporaryDirectory())))
        facts = measure(inputs, model, repeats, threads, plain, cpu_time, engine, device)
    text = format_report(facts)
    write(text)
    if out is not None:
        facts["inputs"] = [Path(path).name for path in inputs]
        commit = name_commit(Path(__file__).parent)
        label = f"{facts['model']['name']}-{facts['model']['precision']}-{facts['engine']}"
        base = out / f"{facts['date']}-{commit}-{label}-bench"
        base.with_suffix(".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
        base.with_suffix(".md").write_text(text, encoding="utf-8")
        complain(f"{base}.md, .json")


def draw_inputs(folder: Path, count: int = 8, side: int = 512, frames: int = 24) -> list[str]:
    """Animated GIFs, the same each time: a smooth ground, and a disc that moves over it."""
    import numpy as np

    from moodreel.media import write_gif

    y, x = np.mgrid[:side, :side] / side
    paths = []
    for number in range(count):
        pixels = np.empty((frames, side, side, 3), np.uint8)
        for k in range(frames):
            turn = 2 * np.pi * (k / frames + number / count)
            inside = (x - 0.5 - 0.3 * np.cos(turn)) ** 2 + (y - 0.5 - 0.3 * np.sin(turn)) ** 2 < 0.02
            ground = np.stack([x, y, np.full_like(x, number / count)], axis=-1) * 200
            pixels[k] = np.where(inside[..., None], [250, 220, 40], ground)
        path = folder / f"{number}.gif"
        write_gif(path, pixels, [0.05] * frames)
        paths.append(str(path))
    return paths


def measure(
    inputs: list[str],
    model: str,
    repeats: int,
    threads: int | None,
    plain: bool,
    cpu_time: bool,
    engine: str,
    device: str,
) -> dict[str, Any]:
    """All that ``bench`` finds, as plain values.

    Raises:
        MoodreelError: the bundle, engine or device is wrong, or no input can be read.
    """
    from moodreel.runtime.bench import measure_stages
    from moodreel.runtime.bundle import read_bundle
    from moodreel.runtime.engine import EngineSettings, count_cores
    from moodreel.runtime.machine import describe_machine, measure_copy_rate, measure_matrix_rate
    from moodreel.runtime.recognizer import Recognizer, open_engine

    settings = EngineSettings(engine, device, threads)
    cores = threads or count_cores()
    bundle = read_bundle(model)
    network = open_engine(bundle, settings)
    graph = getattr(network, "graph", None)
    int8 = "int8" in bundle.info.training
    machine = {**describe_machine(PACKAGES), "threads": cores}
    clock = time.process_time if cpu_time else time.perf_counter
    rates = {"matrix": measure_matrix_rate(int8, cores, clock=clock), "copy": measure_copy_rate(clock=clock)}
    flops = bundle.info.flops or _count(bundle)
    found = measure_stages(
        bundle.info,
        network,
        inputs,
        repeats=repeats,
        workers=min(8, cores),
        flops=flops,
        matrix_rate=rates["matrix"],
        copy_rate=rates["copy"],
        clock=clock,
    )
    facts: dict[str, Any] = {
        "date": datetime.date.today().isoformat(),
        "machine": machine,
        "model": {
            "name": bundle.info.name,
            "system": bundle.info.system,
            "version": bundle.info.version,
            "precision": "int8" if int8 else "float32",
            "sha256": bundle.info.sha256["model.onnx"],
        },
        "engine": getattr(graph, "engine", "other"),
        "device": getattr(graph, "device", "other"),
        "rates": rates,
        "clock": "processor" if cpu_time else "wall",
        **asdict(found),
    }
    if plain and bundle.info.system == "kavan" and not int8 and find_spec("torch") is not None:
        from moodreel.lab.plain import compare_ways

        facts["plain"] = compare_ways(bundle, Recognizer(bundle.info, network), inputs, repeats, cores, clock)
    return facts


def _count(bundle: Bundle) -> dict[str, int] | None:
    """Operations of a bundle that does not state them: counted where the lab is installed."""
    if find_spec("onnx") is None:
        return None
    from moodreel.lab.flops import count_bundle_flops

    return count_bundle_flops(bundle.info.system, bundle.read_checked)


def format_report(facts: dict[str, Any]) -> str:
    """Markdown of what :func:`measure` found."""
    from statistics import median

    from moodreel.runtime.machine import format_machine

    model, rates, inputs = facts["model"], facts["rates"], facts["inputs"]
    passes = len(facts["whole"])
    lines = [
        f"# bench of {model['name']} {model['version']}, {facts['date']}",
        "",
        *format_machine(facts["machine"]),
        f"- Model: {model['system']}, {model['precision']}, sha256 {model['sha256'][:12]}; engine "
        f"{facts['engine']} on {facts['device']}",
        f"- Inputs: {inputs} files, {facts['left_out']} left out; medians of {passes} passes, in seconds of "
        f"{'one processor, of all threads together' if facts['clock'] == 'processor' else 'the clock'}",
        f"- Floors: products of matrices at {rates['matrix'] / 1e9:.0f} G operations/s, copies in memory at "
        f"{rates['copy'] / 1e9:.1f} GB/s",
        "",
        "| stage | ms a clip | share | clips/s | times its floor |",
        "|---|---|---|---|---|",
    ]
    medians = [median(stage["seconds"]) for stage in facts["stages"]]
    total = sum(medians) or 1e-9
    for stage, seconds in zip(facts["stages"], medians, strict=True):
        floor = "-" if not stage["floor"] else f"{seconds / stage['floor']:.2f}"
        rate = f"{inputs / seconds:.1f}" if seconds else "-"
        lines.append(
            f"| {stage['name']} | {1e3 * seconds / inputs:.2f} | {seconds / total:.0%} | {rate} | {floor} |"
        )
    whole = median(facts["whole"])
    lines += [
        f"| one after another | {1e3 * total / inputs:.2f} | 100% | {inputs / total:.1f} | |",
        f"| files to scores, beside each other | {1e3 * whole / inputs:.2f} | | {inputs / whole:.1f} | |",
        "",
    ]
    if facts["flops"] is None:
        lines += [
            "The network's operations are not known: not in the bundle, or `onnx` (extra lab) is missing."
        ]
    else:
        seconds = next(m for s, m in zip(facts["stages"], medians, strict=True) if s["name"] == "network")
        share = facts["flops"] / seconds / rates["matrix"] if seconds else 0
        lines += [
            f"Network: {facts['flops'] / inputs / 1e9:.2f} G operations a clip, "
            f"{facts['flops'] / max(seconds, 1e-9) / 1e9:.0f} G/s, {share:.0%} of the matrix rate."
        ]
    if facts.get("plain", {}).get("files"):
        way = facts["plain"]
        ours, theirs = median(way["seconds"]["ours"]), median(way["seconds"]["plain"])
        turns = sorted(b / a for a, b in zip(*way["seconds"].values(), strict=True))
        count = way["files"]
        lines += [
            "Plain way (Pillow decodes every frame, eager float32 PyTorch, one clip at a time), in turns "
            f"with ours over {count} files: {count / theirs:.1f} against {count / ours:.1f} clips/s, "
            f"{theirs / ours:.2f} times ({turns[0]:.2f} to {turns[-1]:.2f}); "
            f"scores differ by {way['score_difference']:.1e} at most."
        ]
    return "\n".join(lines) + "\n"
