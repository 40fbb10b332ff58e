"""A trace in a terminal: a curve for a whole clip, a line a tick while it is made."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

from moodreel.report.terminal import Style, clean, fit

if TYPE_CHECKING:
    from moodreel.runtime.trace import TracePoint

ROWS = 9
"""Lines of the curve."""

STRETCHES = 12
"""Lines of the table below it, at most."""

_LEAST = 0.1
"""Height of the curve's range, at least: noise must not look like a mood."""

_BLOCKS = " ▁▂▃▄▅▆▇█"


def format_trace(points: Sequence[TracePoint], name: str, style: Style) -> str:
    """A whole trace: facts, the curve, and a table of its stretches.

    Args:
        points: at least one.
        name: of the clip.
        style: of the stream it goes to.

    Returns:
        Lines, ending in a newline.
    """
    lines = [style.paint(fit(clean(name), style.width, style.cut), "bold"), f"  {_format_counts(points)}"]
    known = [(point.time, point.valence) for point in points if point.valence is not None]
    if not known:
        return "\n".join([*lines, "  no face in the whole clip: no valence"]) + "\n"
    values = [value for _, value in known]
    low, high = min(known, key=lambda pair: pair[1]), max(known, key=lambda pair: pair[1])
    lines.append(
        f"  valence {sum(values) / len(values):+.2f} on average, least {low[1]:+.2f} at {low[0]:.2f} s, "
        f"most {high[1]:+.2f} at {high[0]:.2f} s"
    )
    if len(points) > 1:
        lines += ["", *_draw_curve(points, low[1], high[1], style)]
    lines += ["", *_format_stretches(points, style)]
    return "\n".join(lines) + "\n"


def format_point(point: TracePoint, style: Style) -> str:
    """One tick as a line: time, valence, its place between -1 and 1. No newline."""
    label = f"{point.time:9.2f} s  "
    if point.valence is None:
        return label + "no face"
    room = max(20, min(style.width - len(label) - 10, 80)) // 2 * 2 + 1
    cells = [" "] * room
    cells[room // 2] = style.axis
    is_ok = point.status == "ok"
    place = round((point.valence + 1) / 2 * (room - 1))
    cells[place] = style.block if is_ok else "."
    note = "" if is_ok else "  no face"
    return f"{label}{point.valence:+.2f}  {''.join(cells)}{note}".rstrip()


def _format_counts(points: Sequence[TracePoint]) -> str:
    counts = {status: sum(point.status == status for point in points) for status in ("ok", "interpolated")}
    faces = max(point.face for point in points)
    text = f"{len(points)} tick{'' if len(points) == 1 else 's'}, {counts['ok']} with a face"
    if counts["interpolated"]:
        text += f", {counts['interpolated']} interpolated"
    return text + (f"; {faces} faces, one after another" if faces > 1 else "")


def _draw_curve(points: Sequence[TracePoint], low: float, high: float, style: Style) -> list[str]:
    """Columns of blocks over the least value; ticks without a face are dim dots on the base line."""
    middle, reach = (low + high) / 2, max(high - low, _LEAST) / 2
    base, top = middle - reach, middle + reach
    is_unicode = style.block == "█"
    room = max(10, min(style.width, 100) - 10)
    columns = _bin(points, min(room, len(points)))
    wide = max(1, room // len(columns))
    heights = []
    for part in columns:
        seen = [point.valence for point in part if point.status == "ok" and point.valence is not None]
        heights.append((sum(seen) / len(seen) - base) / (top - base) * ROWS if seen else None)
    lines = []
    for row in range(ROWS - 1, -1, -1):
        cells = []
        for height in heights:
            if height is None:
                cell = "." if row == 0 else " "
            elif is_unicode:
                share = min(max(height - row, 0.0), 1.0)
                cell = _BLOCKS[max(math.ceil(share * 8), 1 if row == 0 else 0)]
            else:
                cell = style.block if height > row or row == 0 else " "
            cells.append(cell * wide)
        label = f"{top:+.2f}" if row == ROWS - 1 else f"{base:+.2f}" if row == 0 else " " * 5
        lines.append(f"  {label} {style.axis}{''.join(cells)}".rstrip())
    end = f"{points[-1].time:.2f} s"
    lines.append(f"{'':9}0{end:>{max(len(end) + 1, wide * len(columns) - 1)}}")
    return lines


def _format_stretches(points: Sequence[TracePoint], style: Style) -> list[str]:
    lines = [style.paint("      from       to  valence  faces at", "bold")]
    for part in _bin(points, min(STRETCHES, len(points))):
        values = [point.valence for point in part if point.valence is not None]
        found = sum(point.status == "ok" for point in part)
        mean = sum(values) / len(values)
        lines.append(
            f"  {part[0].time:8.2f} {part[-1].time:8.2f}  {mean:+7.2f}  {found} of {len(part)} ticks"
        )
    return lines


def _bin(points: Sequence[TracePoint], count: int) -> list[Sequence[TracePoint]]:
    """Cuts a trace into so many parts of nearly equal length."""
    edges = [round(k * len(points) / count) for k in range(count + 1)]
    return [points[a:b] for a, b in pairwise(edges)]
