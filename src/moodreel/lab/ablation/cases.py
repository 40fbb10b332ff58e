"""Which clips of a study its pictures show."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from moodreel.emotions import GIFGIF_17, QUADRANTS
from moodreel.lab.ablation.folder import Cases
from moodreel.lab.ablation.rows import WITHHELD
from moodreel.lab.data.cached import CachedClips
from moodreel.lab.data.labels import category_of, find_supervised, intensities_of
from moodreel.media import open_media, segment_times
from moodreel.types import BoolArray, StudyCase

PREFERRED = ("mtl", "att-hs-lstm-kp", "att-hs-lstm", "att-lstm", "hs-lstm", "lstm")
"""Rows whose predictions are shown: the first that is finished on the first split."""

FEW = 2
"""Clips of each kind in Fig. 6."""


def pick_cases(out: Path, clips: CachedClips, hidden: BoolArray) -> Cases:
    """Chooses among the test clips of the first split, by their place in it and never by their scores.

    Fig. 5 shows the first clip of each quadrant, Fig. 1 the labels of the first of them; Fig. 6 the first two
    whose frames all have keypoints, and the attention on the first two of withheld kinds (where none is
    withheld: on the next two).

    Args:
        out: folder of the study.
        clips: all clips.
        hidden: [N] whether a clip is of a kind whose keypoints were withheld.

    Returns:
        what there is; without a finished network row on the first split, nothing.
    """
    folder = out / "splits" / "0"
    finished = [key for key in PREFERRED if (folder / f"{key}.json").is_file()]
    if not finished:
        return Cases()
    index, shown = _read_cases(folder, finished[0], clips)
    predictions = []
    for quadrant in QUADRANTS:
        predictions += [case for case in shown if case.category == quadrant][:1]
    full = np.flatnonzero(clips.supervised[index].numpy().all(axis=1)).tolist()
    supervised = [shown[n] for n in full if not hidden[index[n]]][:FEW]
    if hidden[index].any() and (folder / f"{WITHHELD.key}.json").is_file():
        index, blind = _read_cases(folder, WITHHELD.key, clips)
        attended = [blind[n] for n in full if hidden[index[n]]][:FEW]
    else:
        attended = [shown[n] for n in full if not hidden[index[n]]][FEW : 2 * FEW]
    return Cases(
        labels=tuple(case for case in predictions if case.target)[:1],
        predictions=tuple(case for case in predictions if case.predicted),
        supervised=tuple(supervised),
        attended=tuple(case for case in attended if case.attention is not None),
        row=finished[0],
    )


def _read_cases(folder: Path, key: str, clips: CachedClips) -> tuple[np.ndarray, Sequence[StudyCase]]:
    """The test clips of a finished row, in order: their indices, and what was predicted for them."""
    with np.load(folder / f"{key}.npz", allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    index = arrays["index"]
    supervised, _ = find_supervised(clips.rows)
    cases = []
    for n, i in enumerate(index.tolist()):
        row, heatmap = clips.rows[i], clips.heatmap[i].numpy()
        side = round(heatmap.shape[1] ** 0.5)
        values = dict(zip(GIFGIF_17, arrays["intensities"][n].tolist(), strict=True))
        cases.append(
            StudyCase(
                source=str(row.clip),
                times=segment_times(open_media(row.clip).duration, len(heatmap)),
                target=dict(intensities_of(row)),
                category=category_of(row),
                predicted={name: value for name, value in values.items() if name in supervised},
                predicted_category=QUADRANTS[int(arrays["category"][n])],
                heatmap=heatmap.reshape(-1, side, side) if bool(clips.supervised[i].all()) else None,
                attention=arrays["attention"][n].astype(np.float32) if "attention" in arrays else None,
            )
        )
    return index, cases
