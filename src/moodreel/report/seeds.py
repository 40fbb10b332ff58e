"""Pictures of a study over seeds: medians of several metrics side by side, and confusion matrices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from moodreel.errors import SettingsError, require
from moodreel.report.colours import NEUTRAL, label_name
from moodreel.report.figures import GRID, INK, make_figure
from moodreel.report.study import Bar, draw_bars
from moodreel.types import IntArray

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True)
class Panel:
    """One metric of the table.

    Attributes:
        title: with its unit, and which way is better.
        bars: of the rows, from top to bottom, in the order of all panels; None where a row has no value.
        digits: after the point.
    """

    title: str
    bars: tuple[Bar | None, ...]
    digits: int


def plot_medians(title: str, names: Sequence[str], panels: Sequence[Panel], note: str) -> Figure:
    """A table over seeds as a picture: a panel a metric, every run a point, the median a large one.

    Args:
        title: of the figure.
        names: of the rows, from top to bottom.
        panels: one a metric, each with a bar a row.
        note: under the figure.

    Returns:
        A figure 2 inches wide and 4.8 more a panel. The paper's numbers are hollow and grey: they are of
        another data set.

    Raises:
        SettingsError: there is nothing to draw, or a panel has another number of rows.
    """
    require(bool(names) and bool(panels), "panels", len(panels), "at least one, of at least one row")
    for panel in panels:
        require(len(panel.bars) == len(names), "panel.bars", len(panel.bars), f"{len(names)}, one a row")
    figure = make_figure(2.0 + 4.8 * len(panels), 1.6 + 0.4 * len(names))
    grid = figure.subplots(1, 2 * len(panels), width_ratios=(3, 3) * len(panels), squeeze=False)[0]
    for n, panel in enumerate(panels):
        axes, text = grid[2 * n : 2 * n + 2]
        places = [place for place, bar in enumerate(panel.bars) if bar is not None]
        bars = [bar for bar in panel.bars if bar is not None]
        draw_bars(axes, text, bars, panel.digits, places, paper_at=0.76)
        for part in (axes, text):
            part.set_ylim(len(names) - 0.5, -0.5)
        axes.set_yticks(range(len(names)), names if n == 0 else [""] * len(names), fontsize=8)
        axes.set_xlabel(panel.title)
        axes.tick_params(axis="x", labelsize=8)
    handles, labels = grid[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower left", fontsize=8, frameon=False, ncols=2)
    figure.suptitle(title, x=0.01, ha="left", fontsize=11)
    figure.supxlabel(note, x=0.99, ha="right", fontsize=8, color=NEUTRAL.light)
    return figure


def plot_confusion(title: str, counts: IntArray, classes: Sequence[str]) -> Figure:
    """A confusion matrix (CACA-RNN Fig. 5): shares of the true class as shades, counts in the cells.

    Args:
        title: of the figure.
        counts: [classes, classes]; row: true class, column: predicted class.
        classes: their names.

    Returns:
        A figure 2.4 inches wide and 0.62 more a class. Each row is divided by its sum; one without items
        stays white.

    Raises:
        SettingsError: the counts are of another shape than the classes.
    """
    size = len(classes)
    if not size or counts.shape != (size, size):
        raise SettingsError("counts", list(counts.shape), f"[{size}, {size}], at least one class")
    from matplotlib.colors import LinearSegmentedColormap

    totals = counts.sum(axis=1)
    shares = counts / np.maximum(totals, 1)[:, None]
    figure = make_figure(2.4 + 0.62 * size, 1.5 + 0.5 * size)
    axes = figure.subplots()
    shades = LinearSegmentedColormap.from_list("shares", ["#ffffff", "#2456a6"])
    picture = axes.imshow(shares, cmap=shades, vmin=0, vmax=1, aspect="auto")
    for row in range(size):
        for column in range(size):
            share, count = shares[row, column], int(counts[row, column])
            if count:
                told = f"{share:.0%}\n{count}"
                colour = "#ffffff" if share > 0.8 else INK
                axes.text(column, row, told, ha="center", va="center", fontsize=7, color=colour)
    names = [label_name(name) for name in classes]
    axes.set_xticks(range(size), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    labels = [f"{name} ({total})" for name, total in zip(names, totals.tolist(), strict=True)]
    axes.set_yticks(range(size), labels, fontsize=8)
    axes.set_xticks(np.arange(size - 1) + 0.5, minor=True)
    axes.set_yticks(np.arange(size - 1) + 0.5, minor=True)
    axes.grid(which="minor", color=GRID, linewidth=1)
    axes.tick_params(which="both", length=0)
    axes.spines[:].set_color(GRID)
    axes.set_xlabel("predicted", fontsize=9)
    axes.set_ylabel("true (clips)", fontsize=9)
    axes.set_title(title, loc="left", fontsize=10)
    bar = figure.colorbar(picture, ax=axes, fraction=0.046, pad=0.02, ticks=[0, 0.5, 1], format="{x:.0%}")
    bar.set_label("share of the true class", fontsize=8)
    bar.ax.tick_params(labelsize=8)
    bar.outline.set_visible(False)
    return figure
