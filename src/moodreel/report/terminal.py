"""Results in a terminal: a bar chart for one, a table for many, progress while they are made.

Text in, text out: no library, so that a cold start stays short. Colours are ANSI codes, left out on demand.
"""

from __future__ import annotations

import os
import shutil
import textwrap
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise
from typing import IO, TYPE_CHECKING, Any

from moodreel.report.colours import PALETTE, find_quadrant
from moodreel.report.scene_text import tell_apart, tell_moment, tell_scene

if TYPE_CHECKING:  # numpy stays out of the verbs that only print
    from moodreel.types import FloatArray, Result

COLOURS: Mapping[str, str] = {
    **{name: colour.ansi for name, colour in PALETTE.items()},
    "dim": "2",
    "bold": "1",
    "error": "31",
}
"""ANSI codes of the four quadrants and of the text around them."""


LEAST_REACH = 0.1
"""Height of a valence curve's range, at least: noise must not look like a mood."""


class Style:
    """How a stream is written to.

    Args:
        stream: its encoding says whether block characters can be drawn, its kind whether colours are.

    Attributes:
        is_terminal: whether a person looks at it.
        width: columns of the terminal, 80 where there is none.
        block, half, axis, cut: characters to draw with.
        steps: characters of a small curve, lowest first.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.is_terminal = stream.isatty()
        plain = bool(os.environ.get("NO_COLOR")) or os.environ.get("TERM") == "dumb"
        self._has_colour = self.is_terminal and not plain
        self.width = max(40, shutil.get_terminal_size((80, 24)).columns)
        is_unicode = (getattr(stream, "encoding", None) or "ascii").lower().startswith("utf")
        self.block, self.half, self.axis, self.cut = "█▌│…" if is_unicode else "#||~"
        self.steps = "▁▂▃▄▅▆▇█" if is_unicode else "_.-^"

    def paint(self, text: str, colour: str | None) -> str:
        """The text in a colour of :data:`COLOURS`, where colours are on."""
        code = COLOURS.get(colour or "")
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colour and code and text else text


def format_chart(result: Result, style: Style, abstain: float | None = None) -> str:
    """One result as a bar chart: strongest score first, a bar's colour that of its quadrant.

    Bars of intensities begin at -1, not felt at all: the longer, the stronger. A system that gives valence
    alone has one bar, from 0 to either side.

    Args:
        result: of one input, without an error.
        style: of the stream it goes to.
        abstain: the threshold that was asked for, to say why there is no category.

    Returns:
        Lines, ending in a newline.
    """
    face = tell_apart(result)
    which = "" if face is None else f", face {face}"
    lines = [
        style.paint(fit(clean(result.source), style.width - len(which), style.cut) + which, "bold"),
        _format_facts(result),
        "",
    ]
    signed = bool(result.emotions)
    scores = result.emotions if signed else result.probabilities
    known = sorted(
        ((name, score) for name, score in scores.items() if score is not None), key=lambda pair: -pair[1]
    )
    lines += [_format_bar(name, score, signed, style) for name, score in known]
    if not scores and result.valence is not None:
        lines += _format_valence(result.valence, result.per_frame.get("valence"), style)
    missing = [name for name, score in scores.items() if score is None]
    if missing:
        note = f"not scored, no training source had them: {', '.join(missing)}"
        wrapped = textwrap.wrap(note, style.width, initial_indent="  ", subsequent_indent="    ")
        lines += [style.paint(line, "dim") for line in wrapped]
    if lines[-1]:
        lines.append("")
    if result.confidence is not None:
        name = style.paint(result.category, result.category) if result.category else "none"
        line = f"  category {name}, confidence {result.confidence:.2f}"
        if result.category is None and abstain is not None:
            line += f" (below {abstain:g})"
        lines.append(line)
    position = {"valence": result.valence, "arousal": result.arousal}
    if scores and any(value is not None for value in position.values()):
        texts = [f"{name} {value:+.2f}" for name, value in position.items() if value is not None]
        lines.append(f"  {', '.join(texts)}")
    if (told := tell_scene(result)) is not None:
        lines.append(f"  {clean(told)}")
    elif result.faces is not None:
        count = "no face" if result.faces == 0 else f"{result.faces} face{'s' if result.faces > 1 else ''}"
        lines.append(f"  {count} found")
    if result.scene is not None and (moment := tell_moment(result.scene)) is not None:
        lines.append(f"  moments attended to: {moment}")
    if signed and all(p is None for p in result.probabilities.values()):
        lines.append(style.paint("  no category: no training source had any", "dim"))
    return "\n".join(lines) + "\n"


def _format_facts(result: Result) -> str:
    frames = f"{result.frames} frame{'' if result.frames == 1 else 's'}"
    facts = [f"{result.width} x {result.height}", frames, f"{result.duration or 0:.2f} s"]
    return f"  {', '.join(facts)}; model {result.model} {result.model_version}"


def _format_bar(name: str, score: float, signed: bool, style: Style) -> str:
    label = f"  {name:<13} {score:+.2f}  " if signed else f"  {name:<13} {score:5.2f}  "
    room = min(style.width, 100) - len(label) - 1
    if not signed:
        return (label + style.paint(_draw(score, room, style), find_quadrant(name))).rstrip()
    room //= 2  # from -1 at the left to 1; the axis marks 0
    share = min(max(score + 1, 0.0), 2.0)
    left, right = _draw(min(share, 1.0), room, style), _draw(max(share - 1, 0.0), room, style)
    colour = find_quadrant(name)
    padding = " " * (room - len(left))
    return label + style.paint(left, colour) + padding + style.axis + style.paint(right, colour)


def _format_valence(mean: float, trace: FloatArray | None, style: Style) -> list[str]:
    """A bar from 0 to the left or the right, and below it the trace in little between its ends."""
    label = f"  {'valence':<13} {mean:+.2f}  "
    room = (min(style.width, 100) - len(label) - 1) // 2
    left, right = _draw(max(-mean, 0.0), room, style), _draw(max(mean, 0.0), room, style)
    left = left.replace(style.half, style.block)  # the half that it fills would be the far one
    lines = [f"{label}{' ' * (room - len(left))}{left}{style.axis}{right}"]
    if trace is not None and len(trace) > 1:
        values = trace.tolist()
        low, high = min(values), max(values)
        columns = min(2 * room - 13, len(values))
        edges = [round(k * len(values) / columns) for k in range(columns + 1)]
        means = [sum(values[a:b]) / (b - a) for a, b in pairwise(edges)]
        reach = max(high - low, LEAST_REACH)
        base = (low + high - reach) / 2
        last = len(style.steps) - 1
        curve = "".join(style.steps[min(int((value - base) / reach * (last + 1)), last)] for value in means)
        lines.append(f"  {'along time':<13} {low:+.2f} to {high:+.2f}  {curve}")
    return lines


def _draw(share: float, room: int, style: Style) -> str:
    halves = round(min(share, 1.0) * room * 2)
    return style.block * (halves // 2) + style.half * (halves % 2)


class ResultTable:
    """Many results as lines, aligned before the first is known: the paths are.

    Args:
        paths: of all inputs.
        categories: that the model may name.
        style: of the stream; on a terminal paths and errors are cut to its width, elsewhere they stay whole.
        with_faces: whether a path may have several rows, told apart by a column with the face's id.
    """

    def __init__(
        self, paths: Sequence[str], categories: Sequence[str], style: Style, with_faces: bool = False
    ) -> None:
        self._style, self._with_faces = style, with_faces
        self._category_width = max(map(len, (*categories, "category")))
        longest = max((measure(clean(path)) for path in paths), default=0)
        room = style.width - self._category_width - 8 - 14 - 6 * with_faces
        self._path_width = max(4, min(longest, room) if style.is_terminal else longest)

    def format_header(self) -> str:
        """Names of the columns."""
        face = "  face" if self._with_faces else ""
        line = f"{pad('path', self._path_width)}{face}  {'category':<{self._category_width}}  conf  strongest"
        return self._style.paint(line, "bold")

    def format_result(self, result: Result) -> str:
        """One line: path, category, confidence and the strongest scores; or the error."""
        style = self._style
        path = clean(result.source)
        if style.is_terminal:
            path = fit(path, self._path_width, style.cut)
        path = pad(path, self._path_width)
        if self._with_faces:
            face = None if result.scene is None else result.scene.face
            path += f"  {'-' if face is None else face:>4}"
        room = style.width - measure(path) - 2
        if result.error is not None:
            text = "error: " + clean(result.error)
            text = fit(text, room, style.cut, keep="start") if style.is_terminal else text
            return f"{path}  {style.paint(text, 'error')}"
        conf = "   -" if result.confidence is None else f"{result.confidence:.2f}"
        category = f"{result.category or '-':<{self._category_width}}"
        top = self._list_strongest(result, room - self._category_width - 8)
        return f"{path}  {style.paint(category, result.category)}  {conf}  {top}".rstrip()

    def _list_strongest(self, result: Result, room: int) -> str:
        scores = result.emotions or result.probabilities or {"valence": result.valence}
        known = sorted(((v, k) for k, v in scores.items() if v is not None), key=lambda pair: -pair[0])[:3]
        texts = [f"{name} {score:.2f}" for score, name in known]
        while len(texts) > 1 and len(", ".join(texts)) > room:
            texts.pop()
        text = ", ".join(texts)
        return fit(text, room, self._style.cut, keep="start") if self._style.is_terminal else text


class Progress:
    """How far a long run is: a bar on a terminal, a plain line every few seconds elsewhere.

    Args:
        stream: where it goes; standard error.
        total: inputs; None where they are not counted yet.
        quiet: shows nothing.
        clock: seconds.

    Attributes:
        total: may be set later.
    """

    def __init__(
        self,
        stream: IO[str],
        total: int | None,
        quiet: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._stream, self.total, self._quiet, self._clock = stream, total, quiet, clock
        self._style = Style(stream)
        self._start = self._shown = clock()
        self._is_drawn = False

    def update(self, done: int, failed: int, kept: int = 0) -> None:
        """Says that ``done`` inputs are through, ``failed`` of them in vain.

        Args:
            done, failed: so far.
            kept: of those done, how many cost nothing: the rate leaves them out.
        """
        now = self._clock()
        if self._quiet or now - self._shown < (0.1 if self._style.is_terminal else 5.0):
            return
        self._shown = now
        rate = (done - kept) / max(now - self._start, 1e-9)
        text = (f"{done}" if self.total is None else f"{done} of {self.total}") + f", {rate:.1f} a second"
        if self.total is not None and rate > 0 and self.total > done:
            text += f", {format_duration((self.total - done) / rate)} left"
        text += f", {failed} failed" if failed else ""
        if not self._style.is_terminal:
            self._stream.write(f"moodreel: {text}\n")
        else:
            room = max(10, min(40, self._style.width - 56))  # the same whatever the text: a steady bar
            bar = _draw(done / max(self.total or 0, 1), room, self._style) if self.total is not None else ""
            self._stream.write(f"\r\x1b[K{bar:<{room}}  {text}")
            self._is_drawn = True
        self._stream.flush()

    def clear(self) -> None:
        """Takes the bar off the terminal."""
        if self._is_drawn:
            self._stream.write("\r\x1b[K")
            self._stream.flush()
            self._is_drawn = False


def format_duration(seconds: float) -> str:
    """A time in words, as exact as an estimate is."""
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{max(1, round(seconds))} s"
    if minutes < 120:
        return f"{minutes} min"
    hours = round(seconds / 3600)
    return f"{hours} h" if hours < 48 else f"{round(seconds / 86400)} days"


def format_columns(header: Sequence[str], rows: Sequence[Sequence[str]], style: Style) -> str:
    """Aligned columns, two spaces between them. Returns lines, ending in a newline."""
    cells = [[clean(cell) for cell in row] for row in rows]
    widths = [max(map(measure, column)) for column in zip(header, *cells, strict=True)]
    lines = ["  ".join(map(pad, row, widths)).rstrip() for row in [header, *cells]]
    lines[0] = style.paint(lines[0], "bold")
    return "\n".join(lines) + "\n"


def format_scores(scores: Mapping[str, Any], style: Style) -> str:
    """Nested scores as two columns, ``group.name`` and number. Returns lines, ending in a newline."""
    rows = [(name, _format_value(value)) for name, value in flatten_scores(scores)]
    return format_columns(("score", "value"), rows, style)


def format_differences(compared: Mapping[str, Any], style: Style) -> str:
    """What ``moodreel.lab.compare`` found, a line a score. Returns lines, ending in a newline."""
    header = ("manifest", "score", "clips", "this", "other", "difference", "95 % interval")
    rows = [
        (
            name,
            score,
            str(found["clips"]),
            *(_format_value(found[side]) for side in ("score", "other")),
            f"{found['difference']:+.4f}",
            " to ".join(f"{bound:+.4f}" for bound in found["interval"]),
        )
        for name, entry in compared.items()
        for score, found in entry["scores"].items()
    ]
    return format_columns(header, rows, style)


def flatten_scores(scores: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yields (dotted name, value) of nested scores, in their order; of a matrix, one a row."""
    for name, value in scores.items():
        if isinstance(value, Mapping):
            yield from flatten_scores(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], list):
            yield from ((f"{prefix}{name}[{k}]", row) for k, row in enumerate(value))
        else:
            yield f"{prefix}{name}", value


def _format_value(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4f}"
    if isinstance(value, list):
        return " ".join(f"{_format_value(entry):>6}" for entry in value).lstrip()
    return "-" if value is None else str(value)


def clean(text: str) -> str:
    """Text fit for a terminal: what cannot be printed (escapes, newlines, broken bytes) stands as ``?``."""
    return "".join(character if character.isprintable() else "?" for character in text)


def measure(text: str) -> int:
    """Columns that a text takes: two for a wide character, none for a combining one."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(character) else 2 if unicodedata.east_asian_width(character) in "WF" else 1
        for character in text
    )


def pad(text: str, width: int) -> str:
    """The text with spaces up to ``width`` columns."""
    return text + " " * (width - measure(text))


def fit(text: str, width: int, cut: str, keep: str = "end") -> str:
    """The text cut to ``width`` columns, its end kept (of a path, the name), or its start."""
    if measure(text) <= width:
        return text
    while text and measure(text) > width - 1:
        text = text[1:] if keep == "end" else text[:-1]
    return cut + text if keep == "end" else text + cut
