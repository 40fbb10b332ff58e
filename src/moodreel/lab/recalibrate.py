"""The temperature of a KAVAN run's quadrants fitted anew, each of its data sets weighing the same.

    python -m moodreel.lab.recalibrate runs/kavan

Training fits it on the validation clips that it scores epochs by, which are few (``validation_clips``) and
mostly of the largest set. Here all validation clips are read, in single precision, and a set counts as one
however many clips it has: a bundle is used on kinds of clips, not on one set's rows. What is found replaces
the temperature in the run's ``best.json``; ``moodreel export`` takes it from there.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from moodreel.errors import DataError, MoodreelError, SettingsError
from moodreel.lab.calibrate import fit_temperature
from moodreel.lab.data.clips import ClipDataset, calm_worker
from moodreel.lab.data.labels import category_of
from moodreel.lab.data.manifest import read_manifest
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.networks import load_run, read_run_best, read_run_data
from moodreel.lab.settings import KavanSettings
from moodreel.lab.train import write_json


def recalibrate(run: Path) -> dict[str, Any]:
    """Fits the temperature and writes it down.

    Args:
        run: folder of a run of the system ``kavan``.

    Returns:
        ``temperature`` (layer -> T), and ``calibrated_on`` (set -> its labelled validation clips).

    Raises:
        DataError: the run is incomplete, a manifest is not the one it was given, or no validation clip has a
            quadrant.
        MediaError: a clip cannot be read.
        SettingsError: a run of another system.
    """
    recipe, net = load_run(run)
    if not isinstance(net, Kavan) or not isinstance(recipe.model, KavanSettings):
        raise SettingsError("system", recipe.system, "'kavan'")
    logits, labels, weights, counts = [], [], [], {}
    for entry in read_run_data(run):
        manifest = read_manifest(entry["manifest"])
        if manifest.digest != entry["sha256"]:
            raise DataError(f"{manifest.path}: is not the one the run was given")
        rows = [row for row in manifest.rows if row.split == "val" and category_of(row) is not None]
        if rows:
            read, known = _read(net, ClipDataset(rows, recipe.model, recipe.train.seed, train=False))
            logits.append(read)
            labels.append(known)
            weights.append(torch.full((len(rows),), 1 / len(rows)))
            counts[manifest.name] = len(rows)
    if not counts:
        raise DataError(f"{run}: no validation clip of its manifests has a quadrant")
    temperature = fit_temperature(torch.cat(logits), torch.cat(labels), torch.cat(weights))
    found = {"temperature": {"classify": round(temperature, 4)}, "calibrated_on": counts}
    write_json(run / "best.json", {**read_run_best(run), **found})
    return found


def _read(net: Kavan, clips: ClipDataset) -> tuple[Tensor, Tensor]:
    """([N, 4] logits, [N] quadrants) of clips as validation shows them."""
    parts = []
    with torch.inference_mode():
        for batch in DataLoader(clips, batch_size=32, num_workers=1, worker_init_fn=calm_worker):
            parts.append((net(net.normalise(batch["frames"])).logits[:, -1], batch["category"]))
    logits, labels = (torch.cat(part) for part in zip(*parts, strict=True))
    return logits, labels


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("run", type=Path, help="run folder")
    options = parser.parse_args(arguments)
    try:
        found = recalibrate(options.run)
    except MoodreelError as error:
        print(f"moodreel: {error}", file=sys.stderr)
        return 2
    sets = ", ".join(f"{name} ({count})" for name, count in found["calibrated_on"].items())
    print(f"{options.run}: temperature {found['temperature']['classify']} on {sets}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
