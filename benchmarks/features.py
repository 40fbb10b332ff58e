"""Measures training on stored features against decoding and running the frozen backbone each epoch.

    python benchmarks/features.py MANIFEST [--clips 256] [--repeats 5]

One epoch of KAVAN (preset ``compact``, attention and HS-LSTM, all losses, batch 32, float32), the same clips
in the same order with the same frozen backbone: once from frames (decode, sample, backbone, the rest), once
from features that were stored before (the rest). The two take turns (A B A B); medians are of at least five
turns after one that is not counted. What storing costs, once, stands beside. Writes DATE-COMMIT-features.md
and .json into benchmarks/results. Needs the ``lab`` extra.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from machine import RESULTS, describe_machine, run_benchmark, stamp
from torch.utils.data import DataLoader, Dataset

from moodreel.lab.ablation.fit import base_network
from moodreel.lab.data.cached import CachedClips, FeatureCache
from moodreel.lab.data.clips import Batch, ClipDataset
from moodreel.lab.data.faces import BatchSampler
from moodreel.lab.data.labels import category_of, find_supervised, intensities_of
from moodreel.lab.data.manifest import read_manifest
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.modules import KavanModule
from moodreel.lab.settings import KavanSettings, TrainSettings
from moodreel.lab.train import pl, target_moments  # after moodreel.lab, which mends a bare torchvision
from moodreel.runtime.engine import count_cores


class FramesInBatches(Dataset[Batch]):
    """The clips of a :class:`ClipDataset` as whole batches, as stored features come."""

    def __init__(self, clips: ClipDataset) -> None:
        self.clips = clips

    def __len__(self) -> int:
        return len(self.clips)

    def __getitem__(self, index: list[int]) -> Batch:
        items = [self.clips[i] for i in index]
        return {name: torch.stack([item[name] for item in items]) for name in items[0]}


class Stopwatch(pl.Callback):
    """Seconds of the training epoch alone, without what a trainer does around it."""

    def on_train_epoch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.begin = time.perf_counter()

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.seconds = time.perf_counter() - self.begin


def run_epoch(
    net: Kavan, model: KavanSettings, train: TrainSettings, data: Dataset, clips: CachedClips
) -> float:
    torch.manual_seed(0)
    even = np.full(len(clips), 1 / len(clips))
    moments = target_moments(clips.scores.numpy(), clips.known.numpy(), even)
    watch = Stopwatch()
    trainer = pl.Trainer(
        accelerator="cpu",
        max_epochs=1,
        precision="32-true",
        callbacks=[watch],
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    sampler = BatchSampler(len(clips), train.batch, shuffle=True)
    trainer.fit(KavanModule(net, model, train, *moments), DataLoader(data, sampler=sampler, batch_size=None))
    return watch.seconds


def measure(options: argparse.Namespace) -> dict[str, Any]:
    threads = options.threads or count_cores()
    torch.set_num_threads(threads)
    machine = describe_machine(("moodreel", "numpy", "torch", "lightning"))
    manifest = read_manifest(options.manifest)
    rows = [row for row in manifest.rows if intensities_of(row) or category_of(row)][: options.clips]
    model, train = (
        KavanSettings(backbone_rate=0.0),
        TrainSettings(epochs=1, precision="32", batch=options.batch),
    )
    if len(rows) < train.batch:
        raise SystemExit(f"{options.manifest}: {len(rows)} labelled clips; expected at least {train.batch}")
    backbone = base_network(model, options.init)
    net = Kavan(model, *find_supervised(rows))
    net.backbone.load_state_dict(backbone.backbone.state_dict())
    net.to(memory_format=torch.channels_last)
    seconds: dict[str, list[float]] = {"stored": [], "frames": []}
    with tempfile.TemporaryDirectory() as folder:
        cache = FeatureCache(Path(folder), net, model)
        begin = time.perf_counter()
        failures = cache.fill(rows)
        storing = time.perf_counter() - begin
        if failures:
            raise SystemExit(failures[0].reason)
        stored_bytes = sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())
        clips = CachedClips(rows, cache)
        frames = FramesInBatches(ClipDataset(rows, model, 0, train=False))
        for turn in range(options.repeats + 1):
            for name, data in (("stored", clips), ("frames", frames)):
                took = run_epoch(net, model, train, data, clips)
                if turn:
                    seconds[name].append(took)
    return {
        **stamp(),
        "machine": {**machine, "threads": threads},
        "init": options.init,
        "inputs": {
            "name": manifest.name,
            "sha256": manifest.digest,
            "clips": len(rows),
            "batch": train.batch,
        },
        "clips_an_epoch": len(rows) // train.batch * train.batch,
        "seconds": seconds,
        "storing_seconds": storing,
        "stored_bytes": stored_bytes,
    }


def format_report(facts: dict[str, Any]) -> str:
    machine, inputs, seconds, count = (facts[k] for k in ("machine", "inputs", "seconds", "clips_an_epoch"))
    versions = ", ".join(f"{name} {number}" for name, number in machine["versions"].items())
    a, b = (statistics.median(seconds[name]) for name in ("stored", "frames"))
    turns = sorted(y / x for x, y in zip(seconds["stored"], seconds["frames"], strict=True))
    lines = [
        f"# Stored features, {facts['date']}, {facts['commit']}",
        "",
        f"- Machine: {machine['cpu']}, {machine['cores']} cores, {machine['threads']} used, "
        f"load at start {machine['load_at_start']}, {machine['system']}",
        f"- Versions: {versions}",
        f"- Clips: {inputs['clips']} of {inputs['name']} (manifest sha256 {inputs['sha256'][:12]}), batch "
        f"{inputs['batch']}; backbone of {facts['init']}, frozen",
        f"- Medians of {len(seconds['stored'])} epochs of {count} clips, the two ways interleaved",
        "",
        "| training from | clips/s |",
        "|---|---|",
        f"| stored features | {count / a:.1f} |",
        f"| frames: decode, backbone, the same rest | {count / b:.1f} |",
        f"| ratio | {b / a:.1f} ({turns[0]:.1f} to {turns[-1]:.1f}) |",
        "",
        f"- Storing them, once: {inputs['clips'] / facts['storing_seconds']:.1f} clips/s; "
        f"{facts['stored_bytes'] / inputs['clips'] / 1e3:.0f} kB a clip",
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("manifest", type=Path, metavar="MANIFEST")
    parser.add_argument("--init", default="face", metavar="BUNDLE")
    parser.add_argument("--clips", type=int, default=256, metavar="N")
    parser.add_argument("--batch", type=int, default=32, metavar="N")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="epochs of each way, at least 5")
    parser.add_argument("--threads", type=int, metavar="N", help="cores to use; default: all")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    if options.repeats < 5:
        parser.error("--repeats: expected at least 5")
    run_benchmark(measure, format_report, options, "features")


if __name__ == "__main__":
    main()
