"""What is around a toon face: background, moving objects, caption, camera, and the colours of old GIFs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from moodreel.types import FloatArray, UInt8Array

SMALLEST, LARGEST = 1 / 8, 1.0
"""Range of the head's height relative to the frame's shorter side."""

SMALLEST_PIXELS = 24
"""No head is drawn smaller: below this nobody sees an expression."""

BACKGROUNDS = ("plain", "gradient", "room", "clutter", "noise", "stripes", "confetti", "sticker")
"""Kinds of background; "sticker" is transparent."""

_CHANCES = (0.14, 0.12, 0.16, 0.2, 0.12, 0.1, 0.08, 0.08)
CAPTIONS = (
    "MONDAY", "when it is 3 pm", "me right now", "WAIT FOR IT", "that one friend", "the wifi today",
    "LIVE", "part 2", "ep. 12", "THE MEETING", "that moment", "@toonreel", "every single time", "in the lift",
)  # fmt: skip
"""What may be written over a clip: nothing that tells an emotion."""


@dataclass(frozen=True)
class Plan:
    """How a clip is framed: drawn once, before its frames.

    Attributes:
        width, height: of the frame, pixels.
        durations: [T] seconds, whole hundredths.
        background: one of :data:`BACKGROUNDS`.
        centres: [T, 2] place of the head, pixels.
        scales: [T] half of the head's height, pixels.
        pulls: [T, 2] how far the background has moved, 0-1 of its spare room.
        caption: text, or None.
        caption_on_top: where it stands.
        objects: number of things in front of the background.
        bystanders: number of other faces.
    """

    width: int
    height: int
    durations: FloatArray
    background: str
    centres: FloatArray
    scales: FloatArray
    pulls: FloatArray
    caption: str | None
    caption_on_top: bool
    objects: int
    bystanders: int

    @property
    def instants(self) -> FloatArray:
        """[T] middle of each frame, 0-1 of the clip."""
        ends = np.cumsum(self.durations)
        instants: FloatArray = (ends - self.durations / 2) / ends[-1]
        return instants


def draw_plan(rng: np.random.Generator) -> Plan:
    """Draws frame size, times, camera and what is in the picture."""
    width, height = (int(rng.integers(60, 161)) * 2 for _ in range(2))
    if rng.random() < 0.35:
        height = width
    width, height = max(width, height * 5 // 8), max(height, width * 5 // 8)
    count = int(rng.integers(8, 31))
    short = min(width, height)
    smallest = max(SMALLEST, SMALLEST_PIXELS / short)
    size = LARGEST * (smallest / LARGEST) ** (rng.random() ** 1.7)
    zoom = np.linspace(0, rng.uniform(-0.2, 0.2) if rng.random() < 0.4 else 0.0, count)
    sizes = np.clip(size * np.exp(zoom), smallest, LARGEST)
    ends = _draw_place(size, width, height, rng), _draw_place(size, width, height, rng)
    if rng.random() < 0.55:
        ends = ends[0], ends[0]
    along = np.linspace(0, 1, count)[:, None]
    centres = ends[0] * (1 - along) + ends[1] * along
    if rng.random() < 0.2:  # a hand-held camera
        centres = centres + rng.normal(0, 0.008 * short, centres.shape)
    drift = rng.uniform(0, 1, (2, 2))
    pulls = drift[0] + (drift[1] - drift[0]) * along if rng.random() < 0.5 else np.repeat(drift[:1], count, 0)
    return Plan(
        width, height, _draw_durations(count, rng), str(rng.choice(BACKGROUNDS, p=_CHANCES)), centres,
        sizes * short / 2, pulls, str(rng.choice(CAPTIONS)) if rng.random() < 0.3 else None,
        bool(rng.random() < 0.5), int(rng.integers(1, 5)) if rng.random() < 0.45 else 0,
        int(rng.integers(1, 4)) if rng.random() < 0.25 else 0,
    )  # fmt: skip


def _draw_place(size: float, width: int, height: int, rng: np.random.Generator) -> FloatArray:
    """[2] a centre that keeps the head in the frame, nearly."""
    half = size * min(width, height) / 2
    room = np.maximum(np.array([width / 2 - 1.1 * half, height / 2 - half]), 0.04 * half)
    centre: FloatArray = np.array([width, height]) / 2 + rng.uniform(-1, 1, 2) * room
    return centre


def _draw_durations(count: int, rng: np.random.Generator) -> FloatArray:
    """[T] seconds: even, uneven, or even with a long last frame."""
    kind = rng.random()
    if kind < 0.35:
        hundredths = np.full(count, int(rng.choice([4, 5, 6, 7, 8, 10, 12, 15])))
    elif kind < 0.8:
        hundredths = rng.choice([3, 4, 5, 7, 8, 10, 12, 16, 20, 30], count)
    else:
        hundredths = np.full(count, int(rng.choice([5, 7, 10])))
        hundredths[-1] = int(rng.integers(30, 100))
    return hundredths / 100


class Backdrop:
    """The background of a clip and what moves in it.

    Args:
        plan: of the clip.
        rng: source of chance.
    """

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        self.plan = plan
        # A quarter larger than the frame, so that it can be panned over.
        self.scene = paint_scene(plan.background, plan.width * 5 // 4, plan.height * 5 // 4, rng)
        self.things = [_Thing(plan, rng) for _ in range(plan.objects)]
        self.flakes = rng.uniform(0, 1, (50 if plan.background == "confetti" else 0, 3))
        self.paints = rng.integers(60, 256, (len(self.flakes), 3))

    def draw(self, frame: int) -> Image.Image:
        """Background of one frame: RGBA, transparent for stickers."""
        plan = self.plan
        spare = np.array(self.scene.size) - np.array([plan.width, plan.height])
        x, y = np.rint(plan.pulls[frame] * spare).astype(int).tolist()
        picture = self.scene.crop((x, y, x + plan.width, y + plan.height))
        draw = ImageDraw.Draw(picture)
        moment = frame / len(plan.durations)
        for (u, v, speed), paint in zip(self.flakes.tolist(), self.paints.tolist(), strict=True):
            left, top = u * plan.width, ((v + moment * (0.5 + speed)) % 1) * plan.height
            draw.rectangle((left, top, left + 4, top + 3 + 3 * speed), fill=(*paint, 255))
        for thing in self.things:
            thing.draw(draw, moment)
        return picture


class _Thing:
    """An object that distracts: round as a head, bright, or moving, but with no face."""

    def __init__(self, plan: Plan, rng: np.random.Generator) -> None:
        self.kind = str(rng.choice(["ball", "clock", "box", "star", "cup", "balloon"]))
        self.size = float(rng.uniform(0.06, 0.2)) * min(plan.width, plan.height)
        self.start = rng.uniform(0, 1, 2) * [plan.width, plan.height]
        self.way = rng.uniform(-0.6, 0.6, 2) * [plan.width, plan.height] * (rng.random() < 0.6)
        self.hop = float(rng.uniform(0, 0.15)) * plan.height * (rng.random() < 0.4)
        self.colour = tuple(rng.integers(30, 256, 3).tolist())
        self.turns = float(rng.uniform(-1, 1))

    def draw(self, draw: ImageDraw.ImageDraw, moment: float) -> None:
        r, fill, ink = self.size, (*self.colour, 255), (30, 30, 30, 255)
        x, y = (self.start + self.way * moment).tolist()
        y -= self.hop * abs(np.sin(3 * np.pi * moment))
        angle = 2 * np.pi * self.turns * moment
        disc = (x - r, y - r, x + r, y + r)
        if self.kind == "ball":
            draw.ellipse(disc, fill=fill, outline=ink)
            draw.arc(disc, np.degrees(angle), np.degrees(angle) + 140, fill=(255, 255, 255, 255), width=3)
        elif self.kind == "clock":
            draw.ellipse(disc, fill=(250, 248, 240, 255), outline=fill, width=max(2, int(r / 6)))
            for hand, reach in ((angle, 0.8), (angle / 12, 0.5)):
                end = (x + reach * r * np.sin(hand), y - reach * r * np.cos(hand))
                draw.line([(x, y), end], fill=ink, width=2)
        elif self.kind == "box":
            corners = angle + np.pi / 4 + np.arange(4) * np.pi / 2
            draw.polygon(
                [(x + r * np.cos(a), y + r * np.sin(a)) for a in corners.tolist()], fill=fill, outline=ink
            )
        elif self.kind == "star":
            spikes = [(angle + k * np.pi / 5, r * (0.45 if k % 2 else 1.0)) for k in range(10)]
            points = [(x + reach * np.cos(a), y + reach * np.sin(a)) for a, reach in spikes]
            draw.polygon(points, fill=fill, outline=ink)
        elif self.kind == "cup":
            draw.arc((x + 0.3 * r, y - 0.4 * r, x + 1.1 * r, y + 0.5 * r), -90, 90, fill=fill, width=3)
            draw.rectangle((x - 0.6 * r, y - 0.8 * r, x + 0.6 * r, y + 0.9 * r), fill=fill, outline=ink)
        else:
            draw.line([(x, y + r), (x + 0.2 * r, y + 2.4 * r)], fill=ink)
            draw.ellipse((x - 0.8 * r, y - r, x + 0.8 * r, y + r), fill=fill, outline=ink)


def paint_scene(kind: str, wide: int, high: int, rng: np.random.Generator) -> Image.Image:
    """Paints a background.

    Args:
        kind: one of :data:`BACKGROUNDS`.
        wide, high: pixels.
        rng: source of chance.

    Returns:
        RGBA; transparent for "sticker".
    """
    if kind == "sticker":
        return Image.new("RGBA", (wide, high), (255, 255, 255, 0))
    one, two = (tuple(rng.integers(30, 256, 3).tolist()) for _ in range(2))
    scene = Image.new("RGB", (wide, high), one)
    if kind in ("gradient", "confetti"):
        ramp = Image.linear_gradient("L").rotate(int(rng.integers(4)) * 90).resize((wide, high))
        scene = Image.composite(Image.new("RGB", (wide, high), two), scene, ramp)
    elif kind == "noise":
        cells = int(rng.integers(3, 14))
        grain = rng.integers(0, 256, (cells, cells, 3)).astype(np.uint8)
        scene = Image.fromarray(grain).resize((wide, high), Image.Resampling.BICUBIC)
    elif kind == "stripes":
        _paint_stripes(scene, two, rng)
    elif kind == "room":
        _paint_room(scene, rng)
    elif kind == "clutter":
        _paint_clutter(scene, rng)
    if rng.random() < 0.15:
        scene = scene.convert("L").convert("RGB")
    return scene.convert("RGBA")


def _paint_stripes(scene: Image.Image, colour: tuple[int, ...], rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(scene)
    step, lean = int(rng.integers(10, 40)), int(rng.integers(-40, 41))
    checks = rng.random() < 0.4
    for k, x in enumerate(range(-60, scene.width + 60, 2 * step)):
        if checks:
            for y in range((k % 2) * step, scene.height, 2 * step):
                draw.rectangle((x, y, x + step, y + step), fill=colour)
        else:
            draw.polygon(
                [(x, 0), (x + step, 0), (x + step + lean, scene.height), (x + lean, scene.height)],
                fill=colour,
            )


def _paint_room(scene: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(scene)
    wide, high = scene.size
    floor = int(high * rng.uniform(0.6, 0.85))
    draw.rectangle((0, floor, wide, high), fill=tuple(rng.integers(60, 200, 3).tolist()))
    for _ in range(int(rng.integers(1, 4))):  # pictures and windows
        x, y = rng.uniform(0, 0.8, 2) * [wide, floor * 0.7]
        w, h = rng.uniform(0.1, 0.3, 2) * [wide, high]
        box = (x, y, x + w, y + h)
        draw.rectangle(box, fill=tuple(rng.integers(120, 256, 3).tolist()), outline=(70, 50, 40), width=3)
        if rng.random() < 0.5:
            draw.line([(x + w / 2, y), (x + w / 2, y + h)], fill=(70, 50, 40), width=2)
    shelf = int(high * rng.uniform(0.15, 0.5))
    x = float(rng.uniform(0, wide * 0.5))
    for _ in range(int(rng.integers(3, 10))):  # books
        w, h = float(rng.uniform(3, 9)), float(rng.uniform(10, 24))
        draw.rectangle((x, shelf - h, x + w, shelf), fill=tuple(rng.integers(20, 240, 3).tolist()))
        x += w + 1
    draw.rectangle((0, shelf, wide * 0.7, shelf + 3), fill=(90, 60, 40))


def _paint_clutter(scene: Image.Image, rng: np.random.Generator) -> None:
    draw = ImageDraw.Draw(scene)
    short = min(scene.size)
    for _ in range(int(rng.integers(15, 60))):
        x, y = (rng.uniform(-0.1, 1.0, 2) * scene.size).tolist()
        w, h = (rng.uniform(0.04, 0.35, 2) * short).tolist()
        fill = tuple(rng.integers(0, 256, 3).tolist())
        kind = rng.random()
        if kind < 0.4:
            draw.ellipse((x, y, x + w, y + h), fill=fill)
        elif kind < 0.75:
            draw.rectangle((x, y, x + w, y + h), fill=fill)
        else:
            draw.line([(x, y), (x + 2 * w - h, y + h)], fill=fill, width=int(rng.integers(1, 7)))


def draw_caption(picture: Image.Image, text: str, on_top: bool) -> None:
    """Writes a caption into the picture, white with a dark edge, as memes have it.

    Args:
        picture: RGB or RGBA.
        text: one line.
        on_top: whether it stands at the top; else at the bottom.
    """
    size = max(9, min(picture.height // 9, int(1.7 * picture.width / max(6, len(text)))))
    y = 3 if on_top else picture.height - 3
    ImageDraw.Draw(picture).text(
        (picture.width / 2, y),
        text,
        fill=(255, 255, 255, 255),
        font=ImageFont.load_default(size),
        anchor="ma" if on_top else "md",
        stroke_width=max(1, size // 10),
        stroke_fill=(0, 0, 0, 255),
    )


def reduce_colours(
    frames: list[UInt8Array],
    rng: np.random.Generator,
    choices: tuple[int, ...] = (16, 32, 64, 128),
    middle: int | None = None,
) -> list[UInt8Array]:
    """Some clips to a few colours for all frames, dithered or banded, as old encoders left them.

    Args:
        frames: [H, W, 3 or 4] each; those with transparency stay as they are.
        rng: source of chance.
        choices: how many colours there may be.
        middle: frame whose colours are minded besides those of the first and the last; None for the one
            in the middle.
    """
    if rng.random() < 0.6 or frames[0].shape[2] == 4:
        return frames
    colours = int(rng.choice(choices))
    dither = Image.Dither.FLOYDSTEINBERG if rng.random() < 0.6 else Image.Dither.NONE
    key = len(frames) // 2 if middle is None else middle
    sample = np.concatenate([frames[k][::2, ::2] for k in (0, key, -1)])
    palette = Image.fromarray(sample).quantize(colours, method=Image.Quantize.MEDIANCUT)
    return [
        np.asarray(Image.fromarray(frame).quantize(palette=palette, dither=dither).convert("RGB"))
        for frame in frames
    ]
