"""Tiny labelled stills to train on: told apart by how bright they are."""

import numpy as np
from PIL import Image

from moodreel.lab.data.manifest import Row, write_manifest

LEVELS = {"happiness": 200, "sadness": 50, "neutral": 125}
"""Mean grey of a class."""


def write_stills(folder, kinds, train, val, test):
    """Writes noisy pictures of 40 x 40 pixels, the classes in turn, a person each.

    Args:
        folder: gets 0.png, ... and manifest.csv.
        kinds: classes of LEVELS.
        train, val, test: how many, in this order.

    Returns:
        the manifest.
    """
    rng = np.random.default_rng(0)
    rows = []
    for i, split in enumerate(["train"] * train + ["val"] * val + ["test"] * test):
        kind = kinds[i % len(kinds)]
        pixels = rng.normal(LEVELS[kind], 12, (40, 40)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(Row(folder / f"{i}.png", f"p{i}", split, labels={"ekman": kind}))
    write_manifest(folder / "manifest.csv", rows)
    return folder / "manifest.csv"
