"""The temperatures of a run's classifiers fitted anew, each of its data sets weighing the same.

    python -m moodreel.lab.recalibrate runs/kavan

Training fits them on the validation clips that it scores epochs by. Of ``kavan`` these are few
(``validation_clips``) and mostly of the largest set; of ``caca-rnn`` faces are known, and Context-RNN reads
clips that show one. Here all validation clips are read, those of ``caca-rnn`` as its bundle would read them,
with its own detector: each network answers for the clips that are left to it. Sets weigh the same, and those
of fewer than ``ENOUGH_CLIPS`` as much less as they are smaller: a bundle is used on kinds of clips, not on
one set's rows, and a handful of clips says little. What is found replaces the temperatures in the run's
``best.json``; ``moodreel export`` takes them from there.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from moodreel.emotions import MEC_8
from moodreel.errors import DataError, MoodreelError, SettingsError
from moodreel.lab.calibrate import fit_temperature
from moodreel.lab.data.clips import ClipDataset, calm_worker
from moodreel.lab.data.labels import category_of, class_of
from moodreel.lab.data.manifest import Row, read_manifest
from moodreel.lab.evaluate import open_target, predict_rows
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.networks import load_run, read_run_best, read_run_data, read_run_recipe
from moodreel.lab.settings import KavanSettings
from moodreel.lab.train import write_json

Read = tuple[str, Tensor, int]
"""One clip: the layer whose logits [K] these are, at temperature 1, and its class."""

ENOUGH_CLIPS = 50
"""Validation clips from which on a set counts as one; a clip of n weighs 1 / max(n, this)."""

LEAST_PROBABILITY = 1e-12
"""A smaller probability is read as this one, whose logarithm is a number."""


def recalibrate(run: Path) -> dict[str, Any]:
    """Fits the temperatures and writes them down.

    Args:
        run: folder of a run of the system ``kavan`` or ``caca-rnn``.

    Returns:
        ``temperature`` (layer -> T; that of training where a layer is left no clip), and ``calibrated_on``
        (set -> its labelled validation clips).

    Raises:
        DataError: the run is incomplete, a manifest is not the one it was given, or no validation clip has a
            label.
        MediaError: a clip of ``kavan`` cannot be read (those of ``caca-rnn`` are left out).
        MissingExtra: ``caca-rnn`` without a detector.
        SettingsError: a run of another system.
    """
    system = read_run_recipe(run).system
    if system not in READERS:
        raise SettingsError("system", system, " or ".join(map(repr, READERS)))
    read = READERS[system](run)
    clips: list[tuple[Read, float]] = []
    counts = {}
    for entry in read_run_data(run):
        manifest = read_manifest(entry["manifest"])
        if manifest.digest != entry["sha256"]:
            raise DataError(f"{manifest.path}: is not the one the run was given")
        found = read([row for row in manifest.rows if row.split == "val"])
        if found:
            clips += [(clip, 1 / max(len(found), ENOUGH_CLIPS)) for clip in found]
            counts[manifest.name] = len(found)
    if not clips:
        raise DataError(f"{run}: no validation clip of its manifests has a label")
    best = read_run_best(run)
    temperature = dict(best.get("temperature", {}))
    for layer in sorted({name for (name, _, _), _ in clips}):
        some = [(logits, label, weight) for (name, logits, label), weight in clips if name == layer]
        logits, labels, weights = zip(*some, strict=True)
        fitted = fit_temperature(torch.stack(logits), torch.tensor(labels), torch.tensor(weights))
        temperature[layer] = round(fitted, 4)
    result = {"temperature": temperature, "calibrated_on": counts}
    write_json(run / "best.json", {**best, **result})
    return result


def open_kavan(run: Path) -> Callable[[Sequence[Row]], list[Read]]:
    """Reads clips that have a quadrant as validation shows them, in single precision."""
    recipe, net = load_run(run)
    model = recipe.model
    assert isinstance(net, Kavan)
    assert isinstance(model, KavanSettings)

    def read(rows: Sequence[Row]) -> list[Read]:
        rows = [row for row in rows if category_of(row) is not None]
        clips = ClipDataset(rows, model, recipe.train.seed, train=False)
        found: list[Read] = []
        with torch.inference_mode():
            for batch in DataLoader(clips, batch_size=32, num_workers=1, worker_init_fn=calm_worker):
                logits = net(net.normalise(batch["frames"])).logits[:, -1]
                found += [
                    ("classify", *pair) for pair in zip(logits, batch["category"].tolist(), strict=True)
                ]
        return found

    return read


def open_caca_rnn(run: Path) -> Callable[[Sequence[Row]], list[Read]]:
    """Reads clips that have a class of MEC as the run's bundle would, faces found by its detector."""
    recognizer = open_target(str(run))
    folded = read_run_best(run).get("temperature", {})  # into what the recogniser says

    def read(rows: Sequence[Row]) -> list[Read]:
        found: list[Read] = []
        for row, result in predict_rows(recognizer, [row for row in rows if class_of(row, "mec") >= 0]):
            assert result.scene is not None
            layer = "rnn.classify" if result.scene.reason is None else "fallback.classify"
            logits = torch.tensor([log_probability(result.probabilities[name]) for name in MEC_8])
            found.append((layer, logits * folded.get(layer, 1.0), class_of(row, "mec")))
        return found

    return read


READERS = {"kavan": open_kavan, "caca-rnn": open_caca_rnn}
"""System -> what reads rows of its runs."""


def log_probability(value: float | None) -> float:
    """A logit, but for a constant that no softmax sees; -inf of a class that nothing supervised."""
    return -math.inf if value is None else math.log(max(value, LEAST_PROBABILITY))


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
    fitted = ", ".join(f"{layer} {value}" for layer, value in found["temperature"].items())
    sets = ", ".join(f"{name} ({count})" for name, count in found["calibrated_on"].items())
    print(f"{options.run}: temperature {fitted} on {sets}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
