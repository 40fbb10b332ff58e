"""A contact sheet of the programmes: frames from left to right, the styles change from row to row.

``python -m moodreel.lab.data.toon_sheet OUT.png`` draws one row an emotion, with ``--all`` one a programme,
and with ``--context`` one a class of the set with context.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from moodreel.emotions import GIFGIF_17, MEC_8
from moodreel.lab.data.toon_brush import Brush
from moodreel.lab.data.toon_context_clip import DECIDERS, draw_spec, paint_frames, shape_faces
from moodreel.lab.data.toon_context_faces import AMBIGUOUS, FACES
from moodreel.lab.data.toon_cues import CUES, NOTHING
from moodreel.lab.data.toon_draw import draw_figure
from moodreel.lab.data.toon_face import shape_face
from moodreel.lab.data.toon_look import STYLES, draw_look
from moodreel.lab.data.toon_programmes import PROGRAMMES, Programme, list_programmes

CELL = 132
TITLE = 150
NARROW = 86


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


def draw_context_sheet(styles: Sequence[str], seed: int = 0) -> Image.Image:
    """One row a class of ``MEC_8``: clear faces, things, and a frame of a clip for each who may decide.

    Two more rows have the faces that fit any class, and the things that say nothing.

    Args:
        styles: taken in turn.
        seed: of the characters and the clips.
    """
    rows = (*MEC_8, AMBIGUOUS, NOTHING)
    sheet = Image.new("RGB", (NARROW + 8 * CELL, 20 + len(rows) * CELL), (250, 250, 250))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(14)
    heads = ("face", "", "things", "", "", *(f"{decides} decides" for decides in DECIDERS))
    for column, head in enumerate(heads):
        draw.text((NARROW + column * CELL + 4, 2), head.replace("both decides", "both"), (0, 0, 0), font)
    examples = _pick_examples(seed)
    for row, says in enumerate(rows):
        cells = []
        programmes = FACES.get(says, ())
        for k in range({AMBIGUOUS: 6, NOTHING: 0}.get(says, 2)):
            look = draw_look(styles[(2 * row + k) % len(styles)], np.random.default_rng([seed, row, k]))
            layer = Image.new("RGBA", (2 * CELL, 2 * CELL), (222, 232, 240, 255))
            state = programmes[k % len(programmes)].evaluate(np.array([0.62]))[0]
            draw_figure(
                layer, look, shape_face(look, state, (CELL, CELL), 0.72 * CELL), np.random.default_rng(k)
            )
            cells.append(layer.reduce(2).convert("RGB"))
        for cue in CUES.get(says, ()):
            brush = Brush(CELL - 12, cue.paints[0], mirrored=False)
            cue.draw(brush, 1.0, 0.7)
            cell, thing = Image.new("RGB", (CELL, CELL), (236, 236, 230)), brush.finish(1.0)
            cell.paste(thing, (6, 6), thing)
            cells.append(cell)
        cells += [examples[decides, says] for decides in DECIDERS if (decides, says) in examples]
        draw.text((4, 20 + row * CELL + CELL // 2), says, (0, 0, 0), font)
        for column, cell in enumerate(cells):
            place = (NARROW + column * CELL, 20 + row * CELL)
            sheet.paste(cell, (place[0] + (CELL - cell.width) // 2, place[1] + (CELL - cell.height) // 2))
    return sheet


def _pick_examples(seed: int) -> dict[tuple[str, str], Image.Image]:
    """(who decides, class) -> a frame, of those in which the thing is there, of a clip with a face."""
    found: dict[tuple[str, str], Image.Image] = {}
    index = 0
    while len(found) < len(DECIDERS) * len(MEC_8):
        spec = draw_spec(seed, index)
        if (spec.decides, spec.label) not in found and spec.view == "front" and spec.thing is not None:
            frame = int(np.flatnonzero(spec.thing.shown)[spec.thing.shown.sum() * 2 // 3])
            picture = paint_frames(spec, shape_faces(spec)[1])[frame]
            picture.thumbnail((CELL - 4, CELL - 4), Image.Resampling.LANCZOS)
            found[spec.decides, spec.label] = picture
        index += 1
    return found


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
    parser.add_argument("--context", action="store_true", help="the set with context")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args(arguments)
    programmes = PROGRAMMES if options.all else [list_programmes(emotion)[0] for emotion in GIFGIF_17]
    if options.context:
        sheet = draw_context_sheet(options.styles, options.seed)
    else:
        sheet = draw_sheet(programmes, options.styles, seed=options.seed)
    sheet.quantize(128, dither=Image.Dither.NONE).save(options.out, optimize=True)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
