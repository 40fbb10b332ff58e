"""Labels softened by a face network: what it sees in a training picture, beside the one class it was given.

    python -m moodreel.lab.soft_labels data/stills/manifest.csv --teacher face --out data/stills_soft

A class says +1 of one emotion and -1 of five. A trained face network says how sure it is, and disagrees
where a label is wrong; KAVAN, whose loss is of intensities, can learn from both (Hinton, Vinyals, Dean:
Distilling the Knowledge in a Neural Network, 2015, with regression for its cross entropy). The manifest
that is written names the pictures where they are and holds training rows alone: what validates and tests
keeps the labels that people gave.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from moodreel.emotions import EKMAN_7, EKMAN_TO_GIFGIF
from moodreel.errors import MoodreelError, require
from moodreel.lab.data.faces import FaceDataset
from moodreel.lab.data.labels import intensities_of
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.distill import Teachers
from moodreel.types import FloatArray

TEACHER_SHARE = 0.5
"""How much of a softened intensity is the teachers'."""

BATCH = 128
"""Pictures that a teacher reads together."""


def soften_rows(
    rows: Sequence[Row], teachers: Teachers, size: int, share: float = TEACHER_SHARE
) -> list[Row]:
    """Rows with intensities between their label's and the teachers', 2 p - 1 of a class's probability p.

    Args:
        rows: of cropped faces with an Ekman label, which they keep.
        teachers: face networks; they read each picture and its mirror image.
        size: side of the pictures that teachers are shown, pixels.
        share: of the teachers, in [0, 1].

    Returns:
        rows with scores of the six emotions GIFGIF shares with Ekman.

    Raises:
        SettingsError: share is outside [0, 1].
        DataError: a row has no label; MediaError: a picture cannot be read.
    """
    require(0 <= share <= 1, "share", share, "from 0 to 1")
    softened = []
    for row, told in zip(rows, _ask(rows, teachers, size), strict=True):
        given = _given(row)
        scores = {
            emotion: (1 - share) * given[emotion] + share * (2 * float(told[EKMAN_7.index(name)]) - 1)
            for name, emotion in EKMAN_TO_GIFGIF.items()
        }
        softened.append(replace(row, scores={e: round(min(1.0, max(-1.0, s)), 4) for e, s in scores.items()}))
    return softened


def _ask(rows: Sequence[Row], teachers: Teachers, size: int) -> FloatArray:
    """[N, 7] probabilities, of a picture and its mirror image together."""
    pictures = FaceDataset(rows, size)
    told = np.empty((len(rows), len(EKMAN_7)))
    for start in range(0, len(rows), BATCH):
        chosen = list(range(start, min(start + BATCH, len(rows))))
        pixels, _ = pictures[chosen]
        both = (teachers.read(pixels, 1.0) + teachers.read(pixels.flip(3), 1.0)) / 2
        told[chosen] = both.numpy()
    return told


def _given(row: Row) -> dict[str, float]:
    """Intensities by the row's label alone."""
    return intensities_of(replace(row, scores={}))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line; returns the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("manifest", type=Path, help="of cropped faces with label_ekman")
    parser.add_argument("--teacher", action="append", default=[], help="run or bundle of the system face")
    parser.add_argument("--share", type=float, default=TEACHER_SHARE, help="of the teachers, 0 to 1")
    parser.add_argument("--size", type=int, default=96, help="side of the pictures they are shown, pixels")
    parser.add_argument("--out", type=Path, required=True, help="folder of the manifest")
    options = parser.parse_args(arguments)
    try:
        rows = read_manifest(options.manifest).select("train")
        teachers = Teachers(options.teacher or ["face"])
        softened = soften_rows(rows, teachers, options.size, options.share)
        write_manifest(options.out / "manifest.csv", softened)
    except MoodreelError as error:
        print(f"moodreel: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"moodreel: {error.filename or options.out}: {error.strerror or error}", file=sys.stderr)
        return 2
    moved = np.mean([abs(row.scores[e] - v) for row in softened for e, v in _given(row).items()])
    print(
        f"{options.out / 'manifest.csv'}: {len(softened)} rows, intensities moved by {moved:.3f} on average"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
