"""Networks on one fixed split, each trained with several seeds (CACA-RNN paper, Sec. V-D): the runs.

A study lies in a folder: ``study.json`` (what it was started with), ``seeds/SEED/ROW.json`` and ``.npz``
(scores and test predictions of a finished run), then the tables of :mod:`moodreel.lab.ablation.seed_report`.
What is finished is never done again.
"""

from __future__ import annotations

import json
import math
import re
import time
import zipfile
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from moodreel.errors import DataError, SettingsError, require
from moodreel.lab.ablation.facts import read_json, refuse_change, refuse_others
from moodreel.lab.train import write_json
from moodreel.runtime.files import replace_file

Arrays = Mapping[str, NDArray[Any]]
"""Name -> [n, ...], one entry a test item."""

PROBABILITIES, LABELS = "probabilities", "labels"
"""Names of the arrays [n, classes] and [n] int that a confusion matrix is made of."""


@dataclass(frozen=True)
class StudyRow:
    """One line of the table: a network.

    Attributes:
        key: name of its files; lower-case letters, digits and dashes.
        name: in the tables.
        parameters: trained weights; None where that says nothing.
        paper: metric key -> number as the paper prints it (a percentage where the metric is one).
    """

    key: str
    name: str
    parameters: int | None = None
    paper: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        named = re.fullmatch(r"[a-z0-9][a-z0-9-]*", self.key) is not None
        require(named, "StudyRow.key", self.key, "lower-case letters, digits and dashes")


@dataclass(frozen=True)
class StudyOptions:
    """What a study over seeds is asked.

    Attributes:
        data: manifest with a split.
        out: folder of the study.
        recipe: TOML file; None takes the settings' defaults. Its network is ignored: the rows name theirs.
        seeds: how many trainings of each row, seeds 0, 1, 2 ...
        rates: learning rates that validation chooses from, for each row and seed; empty: the recipe's.
        rows: keys of networks; empty: all.
        cache: where what is computed once of the clips is kept; None is ``features`` in ``out``.
    """

    data: Path
    out: Path
    recipe: Path | None = None
    seeds: int = 5
    rates: tuple[float, ...] = ()
    rows: tuple[str, ...] = ()
    cache: Path | None = None


@dataclass(frozen=True, eq=False)
class Outcome:
    """What one training came to.

    Attributes:
        scores: metric key -> value on the test items, as a fraction where the metric is a percentage; finite.
        arrays: name -> [n, ...], what was predicted for the n test items, in the order of the split, and
            what the metrics compare it with. Score what is stored: of 32 bits, if these are of 32 bits.
        facts: anything else to keep: epoch, learning rate, ...; of JSON's types.
    """

    scores: Mapping[str, float]
    arrays: Arrays = field(default_factory=dict)
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class Run:
    """A finished training.

    Attributes:
        row: key of the row.
        seed: of the training.
        scores, arrays, facts: as :class:`Outcome` has them.
        path: of its JSON.
    """

    row: str
    seed: int
    scores: Mapping[str, float]
    arrays: Arrays
    facts: Mapping[str, Any]
    path: Path


@dataclass(frozen=True, eq=False)
class SeedStudy:
    """Everything that the tables are made of.

    Attributes:
        facts: content of ``study.json``.
        rows: in the order of the tables; those without a finished run too.
        runs: finished ones of these rows, row by row, by seed.
        out: folder.
    """

    facts: Mapping[str, Any]
    rows: tuple[StudyRow, ...]
    runs: tuple[Run, ...]
    out: Path

    def list_runs(self, row: str) -> list[Run]:
        """Finished runs of a row, by seed."""
        return [run for run in self.runs if run.row == row]


Fit = Callable[[StudyRow, int], Outcome]
"""Trains a row with a seed and scores it on the test items; it must not look at them otherwise."""


def run_seed_study(
    out: Path,
    facts: Mapping[str, Any],
    rows: Sequence[StudyRow],
    seeds: Sequence[int],
    fit: Fit,
    report: Callable[[str], None] = lambda line: None,
    free: Collection[str] = ("manifest",),
) -> SeedStudy:
    """Runs what is not finished yet: all rows with the first seed, then with the next.

    Args:
        out: folder of the study; its parent exists.
        facts: all that a number depends on but row and seed (hash of the manifest, recipe, version, ...), of
            JSON's types. A study goes on with the facts it was started with, or not at all; rows and seeds
            are no facts: more may follow.
        rows: to fit.
        seeds: of the trainings.
        fit: trains and scores.
        report: called with a line on each finished run.
        free: names of facts that may differ, such as a path; the last value is kept.

    Returns:
        the study with these rows; runs of an earlier call included. Tables are not written here.

    Raises:
        SettingsError: rows or seeds are none, or name one twice.
        DataError: the folder holds another study or something else, a row changed its number of parameters, a
            score is not finite, or arrays of a run differ in length. Finished runs stay.
    """
    keys = [row.key for row in rows]
    require(bool(keys) and len(set(keys)) == len(keys), "rows", keys, "at least one, none twice")
    proper = bool(seeds) and len(set(seeds)) == len(seeds) and min(seeds) >= 0
    require(proper, "seeds", list(seeds), "at least one, none twice, 0 or more")
    facts = _simplify(facts)
    path = out / "study.json"
    if path.is_file():
        refuse_change(out, read_json(path), facts, free)
    else:
        refuse_others(out)
    out.mkdir(exist_ok=True)
    write_json(path, facts)
    for number, seed in enumerate(seeds):
        for row in rows:
            place = _place(out, row.key, seed)
            if place.is_file():
                _check_row(place, row, seed)
                continue
            begin = time.monotonic()
            outcome = fit(row, seed)
            seconds = time.monotonic() - begin
            _keep(place, row, seed, outcome, seconds)
            told = ", ".join(f"{name} {value:.3f}" for name, value in outcome.scores.items())
            report(f"seed {number + 1} of {len(seeds)}, {row.key}: {told} ({seconds:.0f} s)")
    return read_seed_study(out, rows)


def read_seed_study(out: Path, rows: Sequence[StudyRow]) -> SeedStudy:
    """Reads what is finished in a study's folder.

    Args:
        out: the folder.
        rows: in the order of the tables; runs of other rows are left alone.

    Raises:
        DataError: the folder holds no study, or a broken one.
    """
    facts = read_json(out / "study.json")
    seeds = sorted(int(folder.name) for folder in (out / "seeds").glob("*") if folder.name.isdecimal())
    runs = []
    for row in rows:
        for seed in seeds:
            path = _place(out, row.key, seed)
            if path.is_file():
                content = _check_row(path, row, seed)
                arrays = _read_arrays(path.with_suffix(".npz"))
                runs.append(Run(row.key, seed, content["scores"], arrays, content["facts"], path))
    return SeedStudy(facts, tuple(rows), tuple(runs), out)


def _place(out: Path, key: str, seed: int) -> Path:
    return out / "seeds" / str(seed) / f"{key}.json"


def _check_row(path: Path, row: StudyRow, seed: int) -> dict[str, Any]:
    """Reads a finished run, which must be what its name says.

    Raises:
        DataError: it is not, or is broken.
    """
    content = read_json(path)
    for name, value in (("row", row.key), ("seed", seed), ("parameters", row.parameters)):
        if content.get(name, value) != value:
            raise DataError(f"{path}: {name} is {content[name]}, expected {value}; choose another folder")
    for name in ("scores", "facts"):
        if not isinstance(content.get(name), dict):
            raise DataError(f"{path}: no {name}")
    return content


def _keep(path: Path, row: StudyRow, seed: int, outcome: Outcome, seconds: float) -> None:
    """Writes the arrays, then the JSON, which makes the run count as finished.

    Raises:
        DataError: what came of the training cannot be kept or compared.
    """
    who = f"{row.key}, seed {seed}"
    scores = {name: float(value) for name, value in outcome.scores.items()}
    for name, value in scores.items():
        if not math.isfinite(value):
            raise DataError(f"{who}: {name} is {value}")
    arrays = {name: np.asarray(array) for name, array in outcome.arrays.items()}
    for name, array in arrays.items():
        if array.dtype.hasobject or not array.ndim:
            raise DataError(f"{who}: {name} is no array of numbers or texts")
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"{who}: arrays differ in length: {lengths}")
    content = {
        "row": row.key,
        "seed": seed,
        "parameters": row.parameters,
        "scores": scores,
        "facts": _simplify(outcome.facts),
        "seconds": round(seconds, 1),
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    with replace_file(path.with_suffix(".npz")) as file:
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]  # its flag is none of our names
    write_json(path, content)


def _read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        raise DataError(f"{path}: not readable: {error}") from error


def _simplify(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as they come back from a file: tuples are lists, numpy's numbers plain ones.

    Raises:
        SettingsError: a value is of no such type.
    """

    def convert(value: Any) -> Any:
        if isinstance(value, np.generic | np.ndarray):
            return value.tolist()
        raise SettingsError("facts", value, "of JSON's types")

    plain: dict[str, Any] = json.loads(json.dumps(facts, default=convert))
    return plain
