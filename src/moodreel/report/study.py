"""Pictures of a study: its tables as points with their spread, and KAVAN's Figures 1, 5 and 6."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from moodreel.emotions import GIFGIF_17, QUADRANT_OF, QUADRANTS
from moodreel.errors import SettingsError
from moodreel.media import open_media, sample_media
from moodreel.report.colours import NEUTRAL, find_colour, label_name
from moodreel.report.figures import INK, SIDE, add_legend, make_figure, show_picture
from moodreel.report.heat import blend_heat, scale_attention
from moodreel.report.overlay import fit_size
from moodreel.report.terminal import clean
from moodreel.types import Float32Array, StudyCase, UInt8Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure, SubFigure

ORDERED = tuple(sorted(GIFGIF_17, key=lambda name: (QUADRANTS.index(QUADRANT_OF[name]), name)))
"""The emotions, quadrant by quadrant."""

_STUDY = "#2456a6"
"""Colour of what was measured here."""


@dataclass(frozen=True)
class Bar:
    """One line of a table as a picture.

    Attributes:
        name: of the row.
        mean, spread: of the splits; spread NaN for one split.
        paper: (mean, spread or None) that the paper reports, None where it has no such row.
        values: where ``mean`` is their median: each is a small point below, least and most
            stand for the spread.
    """

    name: str
    mean: float
    spread: float
    paper: tuple[float, float | None] | None = None
    values: tuple[float, ...] = ()

    @property
    def reach(self) -> tuple[float, float]:
        """How far its line goes below and above the mean."""
        if self.values:
            return self.mean - min(self.values), max(self.values) - self.mean
        spread = 0.0 if math.isnan(self.spread) else self.spread
        return spread, spread

    def tell(self, digits: int) -> str:
        """Its numbers."""
        if len(self.values) > 1:
            least, most = min(self.values), max(self.values)
            return f"{self.mean:.{digits}f} ({least:.{digits}f} to {most:.{digits}f})"
        return _spread(self.mean, self.spread, digits)


def plot_comparison(title: str, unit: str, bars: Sequence[Bar], digits: int, note: str) -> Figure:
    """A table as a picture: means with their spread, the numbers beside, the paper's apart.

    Args:
        title: of the figure.
        unit: of the axis.
        bars: from top to bottom, at least one.
        digits: after the point.
        note: under the figure.

    Returns:
        A figure of 10 inches. The paper's numbers are hollow and grey: they are of another data set.

    Raises:
        SettingsError: there is nothing to draw.
    """
    if not bars:
        raise SettingsError("bars", 0, "at least one")
    figure = make_figure(10.0, 1.5 + 0.36 * len(bars))
    axes, text = figure.subplots(1, 2, width_ratios=(3, 2))
    draw_bars(axes, text, bars, digits)
    axes.set_yticks(range(len(bars)), [bar.name for bar in bars], fontsize=8)
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left", fontsize=11)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside lower left", fontsize=8, frameon=False, ncols=2
    )
    figure.supxlabel(note, fontsize=8, color=NEUTRAL.light)
    return figure


def draw_bars(
    axes: Axes,
    text: Axes,
    bars: Sequence[Bar],
    digits: int,
    places: Sequence[int] | None = None,
    paper_at: float = 0.55,
) -> None:
    """Draws bars as points with their reach, and their numbers beside.

    Args:
        axes: for the points; ticks and labels are the caller's.
        text: for the numbers, the paper's in brackets.
        bars: from top to bottom.
        digits: after the point.
        places: of the bars, from the top; None for one after the other.
        paper_at: where the paper's numbers begin, as a share of the width.
    """
    places = range(len(bars)) if places is None else places
    for n, bar in zip(places, bars, strict=True):
        if bar.values:
            below = [n + 0.28] * len(bar.values)
            axes.plot(bar.values, below, ".", color=_STUDY, alpha=0.5, markersize=5, markeredgewidth=0)
    axes.errorbar(
        [bar.mean for bar in bars],
        places,
        xerr=np.transpose([bar.reach for bar in bars]).reshape(2, -1),
        fmt="o",
        color=_STUDY,
        capsize=3,
        label="measured here",
    )
    paper = [(n, bar.paper) for n, bar in zip(places, bars, strict=True) if bar.paper is not None]
    if paper:
        axes.errorbar(
            [mean for _, (mean, _) in paper],
            [n for n, _ in paper],
            xerr=[spread or 0.0 for _, (_, spread) in paper],
            fmt="D",
            color=NEUTRAL.light,
            markerfacecolor="none",
            capsize=3,
            label="paper: another data set",
        )
    axes.set_ylim(len(bars) - 0.5, -0.5)
    axes.grid(axis="x", alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    text.set_ylim(len(bars) - 0.5, -0.5)
    text.set_xlim(0, 1)
    text.axis("off")
    for n, bar in zip(places, bars, strict=True):
        text.text(0.0, n, bar.tell(digits), va="center", fontsize=9, color=_STUDY)
        if bar.paper is not None:
            mean, spread = bar.paper
            beside = f"({_spread(mean, math.nan if spread is None else spread, digits)})"
            text.text(paper_at, n, beside, va="center", fontsize=9, color=NEUTRAL.light)
    text.set_title("here (paper, another data set)", loc="left", fontsize=9)


def _spread(mean: float, spread: float, digits: int) -> str:
    return f"{mean:.{digits}f}" if math.isnan(spread) else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def plot_labels(case: StudyCase) -> Figure:
    """A clip and its labels (KAVAN Fig. 1): its sampled frames, and bars in the quadrants' colours.

    Args:
        case: with at least one label.

    Raises:
        SettingsError: it has none. MediaError: the clip cannot be read.
    """
    if not case.target:
        raise SettingsError("case.target", {}, "at least one intensity")
    figure = make_figure(10.0, 4.6)
    (upper,), (lower,) = figure.subfigures(2, 1, height_ratios=(1, 2), squeeze=False)
    frames = _sample(case)
    row = upper.subplots(1, len(frames), squeeze=False)[0]
    for axes, frame, time in zip(row, frames, case.times, strict=True):
        show_picture(axes, frame, f"{time:.2f} s")
    _draw_bars(lower.subplots(), case.target, None, f"{_name(case)}: {_say(case.category)}")
    add_legend(figure)
    return figure


def plot_predictions(cases: Sequence[StudyCase]) -> Figure:
    """Predictions beside labels (KAVAN Fig. 5): a clip's first frame, its bars, and ticks at the labels.

    Args:
        cases: with predictions, at least one.

    Raises:
        SettingsError: there is none, or one has no prediction. MediaError: a clip cannot be read.
    """
    if not cases or any(case.predicted is None for case in cases):
        raise SettingsError("cases", len(cases), "at least one, each with a prediction")
    figure = make_figure(10.0, 2.6 * len(cases) + 0.4)
    rows = figure.subfigures(len(cases), 1, squeeze=False)
    for part, case in zip(rows[:, 0], cases, strict=True):
        left, right = part.subplots(1, 2, width_ratios=(1, 4))
        show_picture(left, _sample(case)[0], _name(case))
        right_or_wrong = "" if case.category is None else f" (labelled {_say(case.category)})"
        title = f"{_say(case.predicted_category)}{right_or_wrong}"
        _draw_bars(right, case.predicted or {}, case.target, title)
    add_legend(figure)
    return figure


def plot_masks(supervised: Sequence[StudyCase], predicted: Sequence[StudyCase]) -> Figure:
    """Supervision and prediction of attention (KAVAN Fig. 6): a first frame and eight overlays each.

    Args:
        supervised: clips whose ``heatmap`` is shown, above.
        predicted: clips whose ``attention`` is shown, below.

    Raises:
        SettingsError: there is none, or a map is missing. MediaError: a clip cannot be read.
    """
    shown = [(case, case.heatmap, "keypoint heatmap") for case in supervised]
    shown += [(case, case.attention, "predicted attention") for case in predicted]
    if not shown or any(maps is None for _, maps, _ in shown):
        raise SettingsError("cases", len(shown), "at least one, each with its maps")
    figure = make_figure(11.0, 2.3 * -(-len(shown) // 2) + 0.2)
    grid = figure.subfigures(-(-len(shown) // 2), 2, squeeze=False)
    for part, (case, maps, title) in zip(grid.ravel(), shown, strict=False):
        assert maps is not None
        _draw_masks(part, case, maps, title)
    return figure


def _draw_masks(part: SubFigure, case: StudyCase, maps: Float32Array, title: str) -> None:
    frames = _sample(case)
    columns = -(-len(frames) // 2)
    grid = part.add_gridspec(2, 2 + columns)
    show_picture(part.add_subplot(grid[:, :2]), frames[0], f"{_name(case)}\n{title}")
    strongest = float(maps.max())
    for n, (frame, weights) in enumerate(zip(frames, maps, strict=True)):
        axes = part.add_subplot(grid[n // columns, 2 + n % columns])
        show_picture(axes, blend_heat(frame, scale_attention(weights, strongest)), "")


def _draw_bars(axes: Axes, scores: dict[str, float], ticks: dict[str, float] | None, title: str) -> None:
    """Upright bars, one an emotion; short lines at other values of the same emotions."""
    names = [name for name in ORDERED if name in scores]
    axes.bar(
        range(len(names)),
        [scores[n] + 1 for n in names],
        0.7,
        -1,
        color=[find_colour(n).light for n in names],
    )
    for place, name in enumerate(names):
        if ticks is not None and name in ticks:
            axes.plot([place - 0.45, place + 0.45], [ticks[name]] * 2, color=INK, linewidth=1.6)
    axes.set_xticks(range(len(names)), names, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_ylim(-1, 1)
    axes.set_ylabel("intensity", fontsize=8)
    axes.tick_params(axis="y", labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_title(title + ("" if ticks is None else "; lines: labels"), loc="left", fontsize=9)


def _sample(case: StudyCase) -> UInt8Array:
    media = open_media(case.source)
    height, width, _ = fit_size(media.height, media.width, SIDE)
    return sample_media(media, case.times, (height, width)).frames


def _name(case: StudyCase) -> str:
    name = clean(case.source).rstrip("/").rpartition("/")[2]
    return (name if len(name) <= 28 else "\N{HORIZONTAL ELLIPSIS}" + name[-27:]).replace("$", r"\$")


def _say(category: Any) -> str:
    return "no quadrant" if category is None else label_name(str(category))
