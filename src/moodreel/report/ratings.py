"""Pictures of raters: how far they disagree (CACA-RNN, Fig. 1), and their traces with the gold standard."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from moodreel.labels.agreement import Agreement
from moodreel.labels.gold import Gold
from moodreel.report.colours import NEUTRAL, PALETTE
from moodreel.report.figures import GRID, INK, make_figure
from moodreel.report.terminal import clean
from moodreel.types import FloatArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLOURS = (
    PALETTE["misery_sleepiness"].light,
    PALETTE["pleasure_arousal"].light,
    PALETTE["pleasure_sleepiness"].light,
    PALETTE["misery_arousal"].light,
)
"""Of conditions and raters, in turn; they stay apart with any colour blindness."""

HATCHES = ("", "///", "...", "xxx", "\\\\\\")
"""Of conditions, in turn: colour does not stand alone."""

DASHES = ("-", "--", "-.", ":")
"""Of raters: one round of colours each."""

LEGEND = 12
"""Raters that a legend names."""


def plot_disagreement(found: Agreement, unit: str = "") -> Figure:
    """Mean variance among raters as bars, a group an emotion and a bar a condition (CACA-RNN, Fig. 1).

    Args:
        found: of any number of emotions and conditions.
        unit: of the variance, for the axis.

    Returns:
        A figure at least 7 inches wide; whiskers are the intervals.
    """
    emotions, conditions = found.emotions, found.conditions
    figure = make_figure(min(24.0, max(7.0, 1.2 + 0.28 * len(emotions) * (len(conditions) + 1))), 3.8)
    axes = figure.subplots()
    width = 0.8 / len(conditions)
    known = {(entry.emotion, entry.condition): entry for entry in found.means}
    for k, condition in enumerate(conditions):
        entries = [known[emotion, condition] for emotion in emotions]
        place = np.arange(len(emotions)) + (k - (len(conditions) - 1) / 2) * width
        values = np.array([0.0 if math.isnan(entry.value) else entry.value for entry in entries])
        ends = [(entry.value - entry.low, entry.high - entry.value) for entry in entries]
        axes.bar(
            place,
            values,
            width * 0.92,
            yerr=np.nan_to_num(np.array(ends).T.clip(0)),
            color=COLOURS[k % len(COLOURS)],
            hatch=HATCHES[k % len(HATCHES)],
            edgecolor="white",
            linewidth=0,
            error_kw={"ecolor": INK, "elinewidth": 1, "capsize": 2},
            label=_name(condition),
        )
    axes.set_xticks(
        range(len(emotions)),
        [_name(emotion) for emotion in emotions],
        rotation=0 if len(emotions) <= 10 else 35,
        ha="center" if len(emotions) <= 10 else "right",
    )
    axes.tick_params(axis="x", length=0)
    axes.set_ylim(bottom=0)
    axes.set_ylabel("disagreement: mean variance" + (f"\n{unit}" if unit else ""))
    axes.grid(axis="y", color=GRID)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if len(conditions) > 1:
        figure.legend(loc="outside upper left", ncols=min(6, len(conditions)), fontsize=9, frameon=False)
    level = f"{found.bootstrap.level:.3g}".removeprefix("0.")
    drawn = "groups of clips" if found.bootstrap.grouped else "clips"
    text = f"Whiskers: {level.ljust(2, '0')} % interval over resampled {drawn}."
    figure.supxlabel(text, fontsize=8, color=NEUTRAL.light)
    return figure


def plot_gold(gold: Gold) -> Figure:
    """Raters and what was made of them: above as they were recorded, below with their lags taken off.

    Args:
        gold: of one file.

    Returns:
        A figure of 9 inches: raters thin, the gold standard thick, the truth (where known) dotted.
    """
    figure = make_figure(9.0, 5.6)
    upper, lower = figure.subplots(2, 1, sharex=True, sharey=True)
    _draw_raters(upper, gold, gold.before, None)
    upper.set_title(f"{_name(gold.source.rpartition('/')[2])}: as recorded", loc="left", fontsize=10)
    _draw_raters(lower, gold, gold.aligned, gold.late)
    lower.plot(gold.times, gold.values, color=INK, linewidth=2.4, label="gold standard")
    title = "the gold standard" if not gold.late.any() else "lags taken off, and the gold standard"
    lower.set_title(title, loc="left", fontsize=10)
    lower.set_xlabel("time (s)")
    for axes in (upper, lower):
        if gold.truth is not None:
            axes.plot(gold.times, gold.truth, color=INK, linewidth=1.4, linestyle=":", label="truth")
        axes.grid(color=GRID)
        axes.spines[["top", "right"]].set_visible(False)
        axes.margins(x=0.01)
    handles, labels = lower.get_legend_handles_labels()
    if len(gold.raters) > LEGEND:
        kept = [k for k, label in enumerate(labels) if label in ("gold standard", "truth")]
        handles, labels = [handles[k] for k in kept], [labels[k] for k in kept]
    figure.legend(handles, labels, loc="outside lower left", ncols=4, fontsize=8, frameon=False)
    return figure


def _draw_raters(axes: Axes, gold: Gold, values: FloatArray, late: FloatArray | None) -> None:
    for k, name in enumerate(gold.raters):
        told = ""
        if late is not None:
            told = f": weight {gold.weights[k]:.2f}" + (f", {late[k]:.2f} s late" if late.any() else "")
        axes.plot(
            gold.times,
            values[:, k],
            color=COLOURS[k % len(COLOURS)],
            linestyle=DASHES[k // len(COLOURS) % len(DASHES)],
            linewidth=1.1,
            alpha=0.85,
            label=f"{_name(name)}{told}",
        )


def _name(text: str) -> str:
    """A name without what matplotlib would take for mathematics or for "no label"."""
    text = clean(text)
    text = text if len(text) <= 40 else text[:39] + "\N{HORIZONTAL ELLIPSIS}"
    return text.replace("$", r"\$").replace("_", " ").strip() or "?"
