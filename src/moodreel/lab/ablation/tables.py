"""The tables of a study: Markdown and CSV, and the same as values for pictures."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from moodreel.lab.ablation.rows import ACCURACY_ORDER, BY_KEY, NMSE_ORDER, WITHHELD, AblationRow, name_row
from moodreel.lab.ablation.sheets import format_bounds
from moodreel.lab.protocols import Interval, judge, t_interval
from moodreel.lab.settings import recipe_from_dict

Results = Sequence[Mapping[str, Any]]

ANOTHER_SET = "paper, GIFGIF (another data set)"
"""Head of every column with the paper's numbers."""


@dataclass(frozen=True)
class Line:
    """One row of a table.

    Attributes:
        row: what was fitted.
        mode: "cached" or "end-to-end".
        name: its name here.
        values: score name -> split -> value.
    """

    row: AblationRow
    mode: str
    name: str
    values: Mapping[str, Mapping[int, float]]

    def summarise(self, score: str) -> Interval | None:
        """Mean and interval over the splits; None where the row has no such score."""
        values = list(self.values.get(score, {}).values())
        return t_interval(values) if values else None


def list_lines(facts: Mapping[str, Any], results: Results) -> list[Line]:
    """Lines in the order of the tables; the end-to-end ones after those on stored features."""
    lines = []
    for mode in ("cached", "end-to-end"):
        for row in BY_KEY.values():
            mine = [result for result in results if (result["row"], result["mode"]) == (row.key, mode)]
            if not mine:
                continue
            model = recipe_from_dict(facts["training"][mode]["recipe"], "kavan").model
            name = name_row(row, model)  # type: ignore[arg-type]
            values = {
                score: {result["split"]: result[score] for result in mine if score in result}
                for score in ("accuracy", "nmse", "spearman")
            }
            lines.append(Line(row, mode, name + (", end to end" if mode == "end-to-end" else ""), values))
    return lines


def format_accuracy(lines: Sequence[Line]) -> list[list[str]]:
    """Table 1, head first."""
    table = [["paper's row", "here", "accuracy, %", "splits", f"accuracy, %: {ANOTHER_SET}"]]
    for line in lines:
        accuracy = line.summarise("accuracy")
        if accuracy is not None and line.row is not WITHHELD:
            paper = "" if line.row.accuracy is None else f"{line.row.accuracy:.2f}"
            table.append([line.row.paper, line.name, _spread(accuracy, 100, 2), str(accuracy.count), paper])
    return table


def format_nmse(lines: Sequence[Line]) -> list[list[str]]:
    """Table 2, head first, with Spearman's correlation beside."""
    table = [["paper's row", "here", "nMSE", "Spearman", "splits", f"nMSE: {ANOTHER_SET}"]]
    for line in lines:
        nmse, spearman = line.summarise("nmse"), line.summarise("spearman")
        if nmse is not None and spearman is not None and line.row is not WITHHELD:
            paper = "" if line.row.nmse is None else "{:.4f} ± {:.4f}".format(*line.row.nmse)
            table.append(
                [
                    line.row.paper,
                    line.name,
                    _spread(nmse, 1, 4),
                    _spread(spearman, 1, 3),
                    str(nmse.count),
                    paper,
                ]
            )
    return table


def compare(better: Line, worse: Line, score: str) -> Interval | None:
    """Interval of the paired difference, better minus worse, over the splits that both have."""
    a, b = better.values.get(score, {}), worse.values.get(score, {})
    shared = sorted(a.keys() & b.keys())
    return t_interval([a[split] - b[split] for split in shared]) if shared else None


def format_differences(lines: Sequence[Line], score: str, scale: float, digits: int) -> list[list[str]]:
    """Each row against the one before it in the paper (others: against what they vary), head first.

    An end-to-end row without that partner is set against itself on stored features.
    """
    table = [["row", "minus", "mean difference", "95 % t interval", "corrected interval", "splits"]]
    found = {(line.row.key, line.mode): line for line in lines}
    for line in lines:
        before = found.get((line.row.against, line.mode))
        if before is None and line.mode == "end-to-end":
            before = found.get((line.row.key, "cached"))
        interval = compare(line, before, score) if before is not None else None
        if before is None or interval is None:
            continue
        bounds = [(interval.low, interval.high), (interval.wide_low, interval.wide_high)]
        told = [format_bounds(low * scale, high * scale, digits) for low, high in bounds]
        mean = f"{interval.mean * scale:+.{digits}f}"
        table.append([line.name, before.name, mean, *told, str(interval.count)])
    return table


def judge_orders(lines: Sequence[Line]) -> list[list[str]]:
    """The paper's orderings, and whether they hold here; head first."""
    table = [["paper", "says", "here", "mean difference", "corrected 95 % interval"]]
    for title, score, order, sign, digits in (
        ("Table 1, accuracy", "accuracy", ACCURACY_ORDER, 1, 4),
        ("Table 2, nMSE", "nmse", NMSE_ORDER, -1, 4),
    ):
        for mode in ("cached", "end-to-end"):
            of_mode = {line.row.key: line for line in lines if line.mode == mode}
            for better, worse in order:
                if better not in of_mode or worse not in of_mode:
                    continue
                interval = compare(of_mode[better], of_mode[worse], score)
                if interval is None:
                    continue
                wide = [(interval.wide_low, interval.wide_high)]
                says = f"{BY_KEY[better].paper} better than {BY_KEY[worse].paper}"
                table.append(
                    [
                        title if mode == "cached" else f"{title}; end to end",
                        says,
                        judge(interval.mean * sign, wide, interval.count),
                        f"{interval.mean:+.{digits}f}",
                        format_bounds(interval.wide_low, interval.wide_high, digits),
                    ]
                )
    return table


def format_attention(facts: Mapping[str, Any], results: Results) -> list[list[str]]:
    """Pointing game and mass inside the face, row by row and set by set; head first. [] without any."""
    table = [["row", "clips", "frames a split", "peak in face", "by chance", "mass in face", "by chance"]]
    for line in list_lines(facts, results):
        mine = [r for r in results if (r["row"], r["mode"]) == (line.row.key, line.mode)]
        for name in dict.fromkeys(name for result in mine for name in result.get("attention", {})):
            parts = [result["attention"][name] for result in mine if name in result.get("attention", {})]
            cells = [
                _spread(t_interval([part[key] for part in parts]), 1, 3)
                for key in ("hits", "hit_chance", "mass", "mass_chance")
            ]
            frames = f"{np.mean([part['frames'] for part in parts]):.0f}"
            table.append([line.name, name, frames, *cells])
    return table if len(table) > 1 else []


def format_order(facts: Mapping[str, Any], results: Results) -> list[list[str]]:
    """Accuracy on pairs that only order tells apart; head first. [] where the data has none."""
    table = [["row", "all clips of the pairs, %", "exact reversals, %", "reversals a split"]]
    for line in list_lines(facts, results):
        mine = [r for r in results if (r["row"], r["mode"]) == (line.row.key, line.mode) and r.get("order")]
        if line.row.kind == "constant" or line.row is WITHHELD or not mine:
            continue
        cells = []
        for name in ("all", "reversals"):
            values = [result["order"][name]["accuracy"] for result in mine if name in result["order"]]
            cells.append(_spread(t_interval(values), 100, 1) if values else "")
        counts = [result["order"].get("reversals", {}).get("clips", 0) for result in mine]
        table.append([line.name, *cells, f"{np.mean(counts):.0f}"])
    return table if len(table) > 1 else []


def list_order_differences(facts: Mapping[str, Any], results: Results) -> Iterator[tuple[str, Interval]]:
    """HS-LSTM minus LSTM on exact reversals, with and without attention."""
    values: dict[str, dict[int, float]] = {}
    for result in results:
        if result["mode"] == "cached" and "reversals" in result.get("order", {}):
            accuracy = result["order"]["reversals"]["accuracy"]
            values.setdefault(result["row"], {})[result["split"]] = accuracy
    for after, before in (("hs-lstm", "lstm"), ("att-hs-lstm", "att-lstm")):
        shared = sorted(values.get(after, {}).keys() & values.get(before, {}).keys())
        if shared:
            yield (
                f"{BY_KEY[after].paper} minus {BY_KEY[before].paper}",
                t_interval([values[after][split] - values[before][split] for split in shared]),
            )


def list_values(lines: Sequence[Line]) -> list[list[str]]:
    """Every value of every split, unrounded; head first."""
    table = [["row", "name", "mode", "split", "accuracy", "nmse", "spearman"]]
    for line in lines:
        splits = sorted({split for values in line.values.values() for split in values})
        for split in splits:
            cells = [
                repr(values[split]) if split in values else ""
                for values in (line.values[score] for score in ("accuracy", "nmse", "spearman"))
            ]
            table.append([line.row.key, line.name, line.mode, str(split), *cells])
    return table


def _spread(interval: Interval, scale: float, digits: int) -> str:
    mean = f"{interval.mean * scale:.{digits}f}"
    return mean if math.isnan(interval.deviation) else f"{mean} ± {interval.deviation * scale:.{digits}f}"
