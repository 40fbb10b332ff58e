"""Results in a terminal: a bar chart for one, a table for many, progress while they are made.

Text in, text out: no library, so that a cold start stays short. Colours are ANSI codes and left out on demand.
"""

from __future__ import annotations

import os
import time
import unicodedata
from collections.abc import Mapping, Sequence
from typing import IO, Any

from moodreel.emotions import QUADRANT_OF
from moodreel.types import Result

COLOURS: Mapping[str, str] = {
    "pleasure_arousal": "33",  # yellow
    "misery_arousal": "31",  # red
    "misery_sleepiness": "34",  # blue
    "pleasure_sleepiness": "32",  # green
    "dim": "2",
    "bold": "1",
    "error": "31",
}
"""ANSI codes of the four quadrants and of the text around them."""


class Style:
    """How a stream is written to.

    Args:
        stream: its encoding says whether block characters can be drawn, its kind whether colours are.
        width: columns; None takes the terminal's, or 80.

    Attributes:
        is_terminal: whether a person looks at it.
        width: columns.
    """

    def __init__(self, stream: IO[str], width: int | None = None) -> None:
        self.is_terminal = stream.isatty()
        dumb = os.environ.get("TERM") == "dumb"
        self._has_colour = self.is_terminal and not os.environ.get("NO_COLOR") and not dumb
        if width is None:
            try:
                width = int(os.environ.get("COLUMNS", "")) or os.get_terminal_size(stream.fileno()).columns
            except (ValueError, OSError):
                width = 0
                if self.is_terminal:
                    with_size = getattr(stream, "fileno", None)
                    try:
                        width = os.get_terminal_size(with_size()).columns if with_size else 0
                    except (ValueError, OSError):
                        width = 0
        self.width = width or 80
        encoding = (getattr(stream, "encoding", None) or "ascii").lower().replace("-", "")
        self.block, self.half, self.axis, self.cut = (
            ("█", "▌", "│", "…") if encoding.startswith("utf") else ("#", "", "|", "~")
        )

    def paint(self, text: str, colour: str | None) -> str:
        """The text in a colour of :data:`COLOURS`, where colours are on."""
        code = COLOURS.get(colour or "")
        return f"\x1b[{code}m{text}\x1b[0m" if self._has_colour and code and text else text
