"""Plots of a result with matplotlib: intensities (KAVAN Fig. 5), circumplex (Fig. 4), attention (Fig. 6).

Figures are made without pyplot: no window, no state, any thread. Save one with
``figure.savefig("mood.png")``; a notebook with ``%matplotlib inline`` shows it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from moodreel.emotions import CIRCUMPLEX, QUADRANT_OF, QUADRANTS
from moodreel.errors import SettingsError
from moodreel.media import open_media, sample_media
from moodreel.report.colours import NEUTRAL, PALETTE, find_colour, label_name
from moodreel.report.heat import blend_heat, scale_attention
from moodreel.report.overlay import fit_size
from moodreel.report.terminal import clean
from moodreel.types import Result

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK = "#16181d"
GRID = "#dfe2e7"

OVERLAYS = 8
"""Small pictures in the attention plot, as in Fig. 6."""

SIDE = 320
"""Pixels of the longer side of a picture in the attention plot."""


def plot_emotions(result: Result) -> Figure:
    """The scores as bars in the colours of their quadrants (KAVAN Fig. 5); of ``face``, its classes.

    Args:
        result: of one input, without an error.

    Returns:
        A figure of 7 inches; what no training source supervised says so.

    Raises:
        SettingsError: the result is an error or has no scores.
    """
    scores = _get_scores(result)
    signed = bool(result.emotions)
    lowest = -1.0 if signed else 0.0  # where bars begin: not felt at all
    names = list(scores)
    if signed:
        names.sort(key=lambda name: QUADRANTS.index(QUADRANT_OF[name]))
    figure = make_figure(7.0, 0.9 + 0.27 * len(names))
    axes = figure.subplots()
    for place, name in enumerate(names):
        score = scores[name]
        gap = 0.02 * (1 + signed)
        if score is None:
            axes.text(lowest + gap, place, "not scored", va="center", fontsize=8, color=NEUTRAL.light)
            continue
        axes.barh(place, score - lowest, left=lowest, height=0.62, color=find_colour(name).light)
        text = f"{round(score, 2) + 0.0:+.2f}" if signed else f"{score:.2f}"
        axes.text(score + gap, place, text, va="center", ha="left", fontsize=8, color=INK)
    axes.set_yticks(range(len(names)), [label_name(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_xlim((-1, 1.24) if signed else (0, 1.12))
    axes.set_xlabel("intensity" if signed else "probability")
    axes.axvline(lowest, color=INK, linewidth=0.8)
    if signed:
        axes.axvline(0, color=INK, linewidth=0.5, linestyle=":")
    axes.tick_params(axis="y", length=0)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if signed:
        add_legend(figure)
    axes.set_title(_title(result), loc="left", fontsize=10)
    return figure


def plot_circumplex(result: Result) -> Figure:
    """Where a clip lies on the circumplex (KAVAN Fig. 4): each emotion at its angle, and their mean.

    Args:
        result: of one input, with valence and arousal.

    Returns:
        A square figure of 4.6 inches. An emotion stands the farther out the stronger it is: at the centre
        for -1, on the circle for 1. The ring is (valence, arousal).

    Raises:
        SettingsError: the result is an error, or has no valence and arousal.
    """
    if not result.ok or result.valence is None or result.arousal is None:
        got = result.error or (result.valence, result.arousal)
        raise SettingsError("result.valence, arousal", got, "a result with both")
    from matplotlib.patches import Circle, Wedge

    figure = make_figure(4.6, 4.6)
    axes = figure.subplots()
    for k, quadrant in enumerate(QUADRANTS):
        tint = PALETTE[quadrant].light
        axes.add_patch(Wedge((0, 0), 1, 90 * k, 90 * k + 90, facecolor=tint, alpha=0.09, linewidth=0))
    axes.add_patch(Circle((0, 0), 1, fill=False, edgecolor=GRID))
    axes.plot([-1, 1], [0, 0], [0, 0], [-1, 1], color=GRID, linewidth=1)
    for name, score in result.emotions.items():
        if score is None or name not in CIRCUMPLEX:
            continue
        far = (score + 1) / 2
        x, y = CIRCUMPLEX[name]
        colour = find_colour(name)
        axes.plot(far * x, far * y, colour.sign, color=colour.light, markersize=5)
        if score > 0:  # the weak ones crowd in the middle
            axes.annotate(name, (far * x, far * y), (4, 3), textcoords="offset points", fontsize=7, color=INK)
    axes.plot(
        result.valence, result.arousal, "o", markersize=11, markerfacecolor="none", markeredgecolor=INK,
        markeredgewidth=2,
    )  # fmt: skip
    axes.plot(result.valence, result.arousal, "o", markersize=3, color=INK)
    sides = [("pleasure", 1.07, 0, 270), ("arousal", 0, 1.07, 0)]
    sides += [("misery", -1.07, 0, 90), ("sleepiness", 0, -1.07, 0)]
    for text, x, y, turn in sides:
        axes.text(x, y, text, ha="center", va="center", rotation=turn, fontsize=9, color=NEUTRAL.light)
    axes.set(xlim=(-1.15, 1.15), ylim=(-1.15, 1.15), aspect="equal")
    axes.axis("off")
    text = f"valence {result.valence:+.2f}, arousal {result.arousal:+.2f}"
    axes.set_title(f"{_title(result)}\n{text}", fontsize=10)
    return figure


def plot_attention(result: Result, clip: Any = None) -> Figure:
    """Where the model looked: its first frame, and the frames it saw under their attention (KAVAN Fig. 6).

    Args:
        result: of the clip, with attention.
        clip: a Clip, or whatever :func:`moodreel.read_clip` takes; None is the path ``result.source``.

    Returns:
        A figure of 10 inches: the first frame, and eight overlays with their seconds.

    Raises:
        SettingsError: the result has no attention.
        MediaError: the clip cannot be read.
    """
    if result.attention is None or result.attention_times is None:
        raise SettingsError("result.attention", result.error, "a result with attention (of kavan)")
    media = open_media(result.source if clip is None else clip)
    chosen = (
        np.linspace(0, len(result.attention) - 1, min(OVERLAYS, len(result.attention))).round().astype(int)
    )
    height, width, _ = fit_size(media.height, media.width, SIDE)
    sample = sample_media(media, result.attention_times[chosen], (height, width))
    strongest = float(result.attention.max())
    columns = max(1, -(-len(chosen) // 2))
    ratio = min(2.0, max(0.3, media.height / media.width))
    unit = 10 / (2 + columns)
    figure = make_figure(10.0, min(9.0, 2 * unit * ratio + 0.5))
    grid = figure.add_gridspec(2, 2 + columns)
    first = figure.add_subplot(grid[:, :2])
    show_picture(first, sample.frames[0], _title(result))
    for k, which in enumerate(chosen.tolist()):
        axes = figure.add_subplot(grid[k // columns, 2 + k % columns])
        heat = scale_attention(result.attention[which], strongest)
        show_picture(axes, blend_heat(sample.frames[k], heat), f"{sample.times[k]:.2f} s")
    return figure


def show_picture(axes: Axes, picture: Any, title: str) -> None:
    """Draws a picture without axes."""
    axes.imshow(picture)
    axes.set_title(title, fontsize=9)
    axes.axis("off")


def make_figure(width: float, height: float) -> Figure:
    """An empty figure, inches, that keeps its parts apart."""
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    layout = ConstrainedLayoutEngine(w_pad=0.06, h_pad=0.06)
    return Figure(figsize=(width, height), layout=layout, dpi=120)


def add_legend(figure: Figure) -> None:
    """Says below a figure which colour is which quadrant."""
    from matplotlib.lines import Line2D

    signs = [
        Line2D([], [], linestyle="", marker="s", color=PALETTE[name].light, label=label_name(name))
        for name in QUADRANTS
    ]
    figure.legend(handles=signs, loc="outside lower center", ncols=4, fontsize=8, frameon=False)


def _get_scores(result: Result) -> dict[str, float | None]:
    scores = result.emotions or result.probabilities
    if not result.ok or not scores:
        raise SettingsError("result", result.error or "no scores", "a result with scores")
    return scores


def _title(result: Result) -> str:
    """The input's name, its end where it is long, without what matplotlib would take for mathematics."""
    name = clean(result.source).rstrip("/").rpartition("/")[2] or clean(result.source)
    name = name if len(name) <= 40 else "\N{HORIZONTAL ELLIPSIS}" + name[-39:]
    title = name.replace("$", r"\$")
    if result.category is not None and result.confidence is not None:
        title += f": {label_name(result.category)} {result.confidence:.2f}"
    return title
