"""A contact sheet of the programmes: frames from left to right, the styles change from row to row.

``python -m moodreel.lab.data.toon_sheet OUT.png`` draws one row an emotion, with ``--all`` one a programme.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from moodreel.emotions import GIFGIF_17
from moodreel.lab.data.toon_draw import draw_figure
from moodreel.lab.data.toon_face import shape_face
from moodreel.lab.data.toon_look import STYLES, draw_look
from moodreel.lab.data.toon_programmes import PROGRAMMES, Programme, list_programmes

CELL = 132
TITLE = 150


def draw_sheet(
    programmes: Sequence[Programme], styles: Sequence[str], columns: int = 8, seed: int = 0
) -> Image.Image:
    """One row a programme, at full strength.

    Args:
        programmes: rows.
        styles: taken in turn.
        columns: frames a row, evenly in time.
        seed: of the characters.
    """
    sheet = Image.new("RGB", (TITLE + columns * CELL, len(programmes) * CELL), (250, 250, 250))
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    for row, programme in enumerate(programmes):
        style = styles[row % len(styles)]
        look = draw_look(style, np.random.default_rng([seed, row]))
        words = [programme.emotion, *_wrap(programme.name, 20), f"({style})"]
        draw.multiline_text((6, row * CELL + 20), "\n".join(words), fill=(0, 0, 0), font=font)
        states = programme.evaluate((np.arange(columns) + 0.5) / columns)
        for column, state in enumerate(states):
            layer = Image.new("RGBA", (2 * CELL, 2 * CELL), (222, 232, 240, 255))
            shape = shape_face(look, state, (CELL, CELL), 0.72 * CELL)
            draw_figure(layer, look, shape, np.random.default_rng(column))
            sheet.paste(layer.reduce(2).convert("RGB"), (TITLE + column * CELL, row * CELL))
    return sheet


def _wrap(text: str, width: int) -> list[str]:
    lines = [""]
    for word in text.split():
        if lines[-1] and len(lines[-1]) + 1 + len(word) > width:
            lines.append("")
        lines[-1] = f"{lines[-1]} {word}".strip()
    return lines


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m moodreel.lab.data.toon_sheet", description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT.png")
    parser.add_argument("--styles", nargs="+", default=list(STYLES), choices=STYLES)
    parser.add_argument("--all", action="store_true", help="every variant")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    programmes = PROGRAMMES if options.all else [list_programmes(emotion)[0] for emotion in GIFGIF_17]
    sheet = draw_sheet(programmes, options.styles, seed=options.seed)
    sheet.quantize(128, dither=Image.Dither.NONE).save(options.out, optimize=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
