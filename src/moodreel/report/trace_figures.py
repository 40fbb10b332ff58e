"""A trace as a picture: valence along time over the faces (STA, Fig. 3-4), attention on the face (Fig. 5)."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moodreel.errors import SettingsError
from moodreel.media import draw_palette, write_gif, write_mp4, write_webp
from moodreel.report.colours import NEUTRAL, PALETTE
from moodreel.report.figures import GRID, INK, make_figure
from moodreel.report.heat import blend_heat, scale_attention
from moodreel.report.overlay import FORMATS, STILL_SECONDS
from moodreel.report.panel import GROUND
from moodreel.report.terminal import clean
from moodreel.runtime.trace_files import Ratings
from moodreel.types import UInt8Array

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from moodreel.runtime.trace import TracePoint

PLOTS = (".png", ".pdf", ".svg")
"""Formats of ``--plot``."""

FACES = 10
"""Faces above the curve, at most."""

SIDE = 256
"""Pixels of the face in an overlay, at least."""

OVERLAY_TICKS = 240
"""Ticks with a face in an overlay, at most: a minute."""

LONGEST = 1.0
"""Seconds that a frame of an overlay lasts, at most, while the face is gone."""

CURVE = PALETTE["misery_sleepiness"].light
_GOLD = PALETTE["pleasure_arousal"].light
_DARK_CURVE = PALETTE["pleasure_arousal"].dark


class FaceStrip:
    """Some faces along a trace, evenly spread, of a trace of any length: it holds at most twice ``most``.

    Args:
        most: at least so many of a long trace are kept.
    """

    def __init__(self, most: int = 4 * FACES) -> None:
        self._most = most
        self._step = 1
        self._seen = 0
        self.faces: list[tuple[float, UInt8Array]] = []
        """Seconds and pictures [S, S, 3], ascending."""

    def add(self, point: TracePoint) -> None:
        """Looks at the next point."""
        if point.picture is not None and self._seen % self._step == 0:
            self.faces.append((point.time, point.picture))
            if len(self.faces) >= 2 * self._most:
                self._step *= 2
                del self.faces[1::2]
        self._seen += 1


def plot_trace(
    points: Sequence[TracePoint],
    name: str,
    faces: Sequence[tuple[float, UInt8Array]] = (),
    ratings: Ratings | None = None,
) -> Any:
    """Valence along time, with faces above it and, where there are any, gold standard and raters.

    Args:
        points: at least one.
        name: of the clip.
        faces: (seconds, picture) ascending; some are shown.
        ratings: what people said.

    Returns:
        A matplotlib figure of 10 inches, made without pyplot. Where no face was found the ground is grey and
        the interpolated curve dotted.
    """
    figure = make_figure(10.0, 4.6 if faces else 3.6)
    if faces:
        strip, axes = figure.subplots(2, 1, height_ratios=(1, 3.4), sharex=False)
    else:
        strip, axes = None, figure.subplots()
    times = np.array([point.time for point in points])
    step = float(times[1]) if len(times) > 1 else 0.25
    end = float(times[-1]) + step
    _draw_gaps(axes, points, step)
    values = np.array([np.nan if point.valence is None else point.valence for point in points])
    is_ok = np.array([point.status == "ok" for point in points])
    drawn = [values]
    if ratings is not None:
        drawn += _draw_ratings(axes, ratings, end)
    if np.isfinite(values).any():
        if not is_ok.all():
            axes.plot(times, values, ":", color=CURVE, linewidth=1.2, label="interpolated", zorder=4)
        marker = "o" if len(points) < 60 else ""
        seen = np.where(is_ok, values, np.nan)
        axes.plot(
            times, seen, color=CURVE, linewidth=1.8, marker=marker, markersize=3, label="valence", zorder=5
        )
    else:
        axes.text(0.5, 0.5, "no face in the whole clip", transform=axes.transAxes, ha="center", color=INK)
    axes.set_ylim(*_find_range(drawn))
    axes.set_xlim(0, end)
    axes.axhline(0, color=INK, linewidth=0.6, zorder=2)
    axes.grid(True, axis="y", color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.set_xlabel("seconds")
    axes.set_ylabel("valence")
    axes.spines[["top", "right"]].set_visible(False)
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        figure.legend(handles, labels, loc="outside lower center", ncols=6, fontsize=8, frameon=False)
    title = clean(name).rpartition("/")[2].replace("$", r"\$")
    (strip or axes).set_title(title, loc="left", fontsize=10, pad=16 if strip else 6)
    if strip is not None:
        _draw_strip(strip, faces, end)
    return figure


def _draw_gaps(axes: Axes, points: Sequence[TracePoint], step: float) -> None:
    """Grey ground where no face was found: from half a step before the first tick to half a step after."""
    begin: float | None = None
    label: str | None = "no face"
    for point in [*points, None]:
        is_gap = point is not None and point.status != "ok"
        if is_gap and begin is None and point is not None:
            begin = point.time
        if not is_gap and begin is not None:
            stop = point.time - step if point is not None else points[-1].time
            axes.axvspan(
                begin - step / 2, stop + step / 2, color=GRID, alpha=0.7, lw=0, label=label, zorder=0
            )
            begin, label = None, None


def _draw_ratings(axes: Axes, ratings: Ratings, end: float) -> list[Any]:
    """Raters as thin lines, the gold standard as a thick one. Returns what was drawn, to fit it in."""
    shown = ratings.times <= end
    for k, values in enumerate(ratings.raters.values()):
        label = f"rater{'s' if len(ratings.raters) > 1 else ''}" if k == 0 else None
        axes.plot(
            ratings.times, values, color=NEUTRAL.light, alpha=0.55, linewidth=0.7, label=label, zorder=1
        )
    if ratings.gold is not None:
        axes.plot(ratings.times, ratings.gold, color=_GOLD, linewidth=2.2, label="gold standard", zorder=3)
    columns = [*ratings.raters.values(), *([] if ratings.gold is None else [ratings.gold])]
    return [values[shown] for values in columns]


def _find_range(drawn: Sequence[Any]) -> tuple[float, float]:
    """Bounds of the value axis: what is drawn and 0, with a margin, at least 0.4 high."""
    every = np.concatenate([np.ravel(values) for values in drawn])
    every = np.append(every[np.isfinite(every)], 0.0)
    low, high = float(every.min()), float(every.max())
    spare = max(0.08 * (high - low), (0.4 - (high - low)) / 2)
    return low - spare, high + spare


def _draw_strip(axes: Axes, faces: Sequence[tuple[float, UInt8Array]], end: float) -> None:
    """As many faces as stand side by side, each over its own time (at the edges, beside it)."""
    axes.set_xlim(0, end)
    axes.set_ylim(0, 1)
    axes.axis("off")
    slot = end / FACES
    taken = 0.0
    for time, picture in faces:
        left = min(max(time - slot / 2, 0.0), end - slot)
        if left < taken - 1e-9:
            continue
        taken = left + slot
        box = axes.inset_axes((left / end + 0.004, 0.0, 1 / FACES - 0.008, 1.0))
        box.imshow(picture, aspect="equal")
        box.set_anchor("S")
        box.axis("off")
        box.set_title(f"{time:.4g} s", fontsize=7, pad=2, color=NEUTRAL.light)


def write_face_overlay(points: Sequence[TracePoint], path: str | os.PathLike[str]) -> None:
    """Writes the faces that were read, their attention as heat over them and the curve so far below.

    A frame a tick with a face, in true time: a frame lasts until the next one, but at most
    :data:`LONGEST` seconds where the face is gone. The heat is in full colour at
    the trace's strongest cell, as :func:`moodreel.report.heat.scale_attention` says.

    Args:
        points: of which those with a picture are drawn, the first :data:`OVERLAY_TICKS`.
        path: ends in one of :data:`moodreel.report.overlay.FORMATS`.

    Raises:
        SettingsError: another suffix, or no point has a picture.
        MediaError: the file cannot be written.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise SettingsError("path", str(path), "a name that ends in " + ", ".join(f".{f}" for f in FORMATS))
    shown = [point for point in points if point.picture is not None][:OVERLAY_TICKS]
    if not shown:
        raise SettingsError("points", "no face", "at least one tick with a face")
    times = np.array([point.time for point in shown])
    last = points[1].time - points[0].time if len(points) > 1 else STILL_SECONDS
    durations = np.append(np.diff(times).clip(max=LONGEST), last)
    frames = _draw_faces(shown)
    if kind == "webp":
        write_webp(path, frames, durations)
    elif kind == "mp4":
        write_mp4(path, frames, durations)
    else:
        few = [shown[k] for k in np.unique(np.linspace(0, len(shown) - 1, 12).round().astype(int))]
        write_gif(path, frames, durations, 0, draw_palette(list(_draw_faces(few))))


def _draw_faces(points: Sequence[TracePoint]) -> Iterator[UInt8Array]:
    from PIL import Image, ImageDraw, ImageFont

    maps = [point.attention for point in points if point.attention is not None]
    strongest = max((float(weights.max()) for weights in maps), default=0.0)
    values = [0.0 if point.valence is None else point.valence for point in points]
    low, high = _find_range([values])
    font: Any = ImageFont.load_default(14)
    for count, point in enumerate(points, 1):
        assert point.picture is not None
        factor = max(1, -(-SIDE // len(point.picture)))
        face = np.repeat(np.repeat(point.picture, factor, axis=0), factor, axis=1)
        if point.attention is not None:
            face = blend_heat(face, scale_attention(point.attention, strongest))
        side = len(face)
        image = Image.new("RGB", (side, side + 72), GROUND)
        image.paste(Image.fromarray(face), (0, 0))
        draw = ImageDraw.Draw(image)
        draw.text((8, side + 6), f"{point.time:.2f} s", fill=NEUTRAL.dark, font=font)
        draw.text((side - 8, side + 6), f"{values[count - 1]:+.2f}", fill="#f0f2f5", font=font, anchor="ra")

        def place(value: float, side: int = side) -> float:
            return side + 66 - (value - low) / (high - low) * 38

        draw.line((8, place(0), side - 8, place(0)), fill="#343942")
        x = np.linspace(8, side - 8, max(2, len(points)))
        line = [(float(x[k]), place(value)) for k, value in enumerate(values[:count])]
        if len(line) > 1:
            draw.line(line, fill=_DARK_CURVE, width=2)
        draw.ellipse([line[-1][0] - 3, line[-1][1] - 3, line[-1][0] + 3, line[-1][1] + 3], fill=_DARK_CURVE)
        yield np.array(image)
