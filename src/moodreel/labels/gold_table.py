"""Gold standards as files: the trace as CSV, the facts on its raters as JSON."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import IO, Any

import numpy as np

from moodreel.labels.gold import Gold, PairAgreement
from moodreel.labels.lags import Lags
from moodreel.labels.rows import format_rows, mark_text
from moodreel.types import FloatArray

DECIMALS = 6
"""Digits after the point that are written."""


def write_gold(gold: Gold, file: IO[bytes], aligned: bool = False) -> None:
    """Writes ``time_s,gold``: a row an instant, an empty cell where there is no value.

    Args:
        gold: what to write.
        file: open for writing bytes.
        aligned: adds a column a rater, lag and delay taken off.
    """
    header = ("time_s", "gold", *(map(mark_text, gold.raters) if aligned else ()))
    columns = [gold.times[:, None], gold.values[:, None], *([gold.aligned] if aligned else [])]
    numbers = np.concatenate(columns, axis=1).tolist()
    rows = [["" if number is None else number for number in map(_round, row)] for row in numbers]
    file.write(format_rows([header, *rows]).encode())


def describe_gold(gold: Gold, lags: Lags | None) -> dict[str, Any]:
    """The facts on a gold standard as JSON takes them: no NaN, rounded to :data:`DECIMALS`.

    Args:
        gold: of one file.
        lags: that were taken off; None: none were looked for.

    Returns:
        ``file``, ``instants``, ``step_s``, ``raters`` (a dict each: name, ``late_s`` taken off in all,
        ``lag_known``, ``lag_peak``, ``weight``, ``constant``, ``missing``), ``before`` and ``after`` (``cc``
        and ``ccc``, matrices in the order of the raters, and their means), ``truth`` (None, or the errors of
        ``plain_mean`` and ``gold``).
    """
    place = {} if lags is None else {name: k for k, name in enumerate(lags.raters)}
    raters = [
        {
            "name": name,
            "late_s": _round(gold.late[k]),
            "lag_known": None if lags is None else lags.known[place[name]],
            "lag_peak": None if lags is None else _round(lags.peak[place[name]]),
            "weight": _round(gold.weights[k]),
            "constant": name in gold.constant,
            "missing": _round(gold.missing[k]),
        }
        for k, name in enumerate(gold.raters)
    ]
    truth = None
    if gold.fits is not None:
        truth = {
            name: {key: value if key == "instants" else _round(value) for key, value in asdict(fit).items()}
            for name, fit in gold.fits.items()
        }
    return {
        "file": gold.source,
        "instants": len(gold.times),
        "step_s": _round(np.diff(gold.times).mean()) if len(gold.times) > 1 else None,
        "raters": raters,
        "before": _describe_pairs(gold.agreement_before),
        "after": _describe_pairs(gold.agreement),
        "truth": truth,
    }


def _describe_pairs(pairs: PairAgreement) -> dict[str, Any]:
    return {
        "mean_cc": _round(pairs.mean_cc),
        "mean_ccc": _round(pairs.mean_ccc),
        "cc": _list_rounded(pairs.cc),
        "ccc": _list_rounded(pairs.ccc),
    }


def _list_rounded(matrix: FloatArray) -> list[list[float | None]]:
    return [[_round(value) for value in row] for row in matrix.tolist()]


def _round(value: float) -> float | None:
    return round(float(value), DECIMALS) + 0.0 if math.isfinite(value) else None
