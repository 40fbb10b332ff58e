"""Measures a training step of the backbone: float32, bf16 autocast, and torch.compile.

    python benchmarks/train_step.py [--side 96] [--batch 32] [--repeats 5]

Forward and backward on one thread, in seconds of the processor, the ways in turns; medians. Writes
DATE-COMMIT-train-step.md into benchmarks/results.
"""

from __future__ import annotations

import argparse
import contextlib
import statistics
import time
from collections.abc import Callable

import torch
from machine import describe_machine, stamp, write_report
from torch import nn

from moodreel.lab.layers.backbones import CompactBackbone
from moodreel.runtime.machine import format_machine


def make_step(net: nn.Module, images: torch.Tensor, half: bool) -> Callable[[], None]:
    def step() -> None:
        context = torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()
        with context:
            loss = net(images).float().square().mean()
        loss.backward()
        net.zero_grad()

    return step


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--side", type=int, default=96)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, options.side, options.side).to(memory_format=torch.channels_last)
    net = CompactBackbone().to(memory_format=torch.channels_last)
    steps = {
        "float32": make_step(net, images, False),
        "bf16 autocast": make_step(net, images, True),
        "float32, torch.compile": make_step(torch.compile(net), images, False),  # type: ignore[arg-type]
    }
    seconds: dict[str, list[float]] = {name: [] for name in steps}
    for turn in range(options.repeats + 1):
        for name, step in steps.items():
            begin = time.process_time()
            step()
            if turn:
                seconds[name].append(time.process_time() - begin)
    made = stamp()
    lines = [
        f"# A training step, {made['date']}, {made['commit']}",
        "",
        *format_machine({**describe_machine(("moodreel", "torch")), "threads": 1}),
        f"- Compact backbone, {options.batch} images of {options.side} px, forward and backward; medians of "
        f"{options.repeats}, the ways in turns, seconds of one processor",
        "",
        "| way | images a second | lowest to highest |",
        "|---|---|---|",
    ]
    for name, values in seconds.items():
        rates = sorted(options.batch / value for value in values)
        lines.append(f"| {name} | {statistics.median(rates):.0f} | {rates[0]:.0f} to {rates[-1]:.0f} |")
    write_report(made, "\n".join(lines) + "\n", "train-step")


if __name__ == "__main__":
    main()
