"""One toon clip: who acts what, in front of what, drawn frame by frame with its truth.

Clip number n of a seed is the same in every set of that seed, however many clips the set has.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from moodreel.emotions import GIFGIF_17
from moodreel.lab.data.toon_draw import draw_figure
from moodreel.lab.data.toon_face import Shape, shape_face
from moodreel.lab.data.toon_look import STYLES, Look, draw_look
from moodreel.lab.data.toon_poses import ACTION_UNITS, CHANNELS, INDEX, MIRRORED, SIGNS
from moodreel.lab.data.toon_programmes import ORDER_PAIRS, Programme, apex_of, find_programme, list_programmes
from moodreel.lab.data.toon_scene import Backdrop, Plan, draw_caption, draw_plan, reduce_colours
from moodreel.types import FloatArray, UInt8Array

CLIPS_A_CHARACTER = 8
WEAKEST = 0.35
"""No emotion is acted with less strength."""

_DECK = (*GIFGIF_17, "neutral", "nobody", "any")
_AU_COUNT = len(ACTION_UNITS)
_SIGN_START = CHANNELS.index(next(iter(SIGNS)))
_SIGN_STOP = _SIGN_START + len(SIGNS)


@dataclass(frozen=True, eq=False)
class Acting:
    """What a character does in a clip.

    Attributes:
        programme: of the main emotion; None for a neutral face.
        strengths: emotion -> strength in [0, 1]: the main one first, then perhaps a weaker one.
        flipped: left and right exchanged.
        signs: whether blush, tears and the like are drawn.
        warp: how the programme's time is bent, -0.08 to 0.08.
        blinks: instants 0-1.
        sway: [3] phase and size of idle movement.
    """

    programme: Programme | None
    strengths: Mapping[str, float]
    flipped: bool
    signs: bool
    warp: float
    blinks: tuple[float, ...]
    sway: tuple[float, float, float]

    def evaluate(self, instants: FloatArray) -> FloatArray:
        """[T, C] states at instants 0-1 of the clip.

        The main programme times its strength, the second emotion's apex times its own, added; then blinks and
        idle movement.
        """
        u = np.asarray(instants, float)
        bent = np.clip(u + self.warp * np.sin(2 * np.pi * u), 0, 1)
        states = np.zeros((len(u), len(CHANNELS)))
        strengths = list(self.strengths.items())
        if self.programme is not None:
            states += strengths[0][1] * self.programme.evaluate(bent)
        for emotion, strength in strengths[1:]:
            states += strength * apex_of(emotion)
        for blink in self.blinks:
            states[:, INDEX["AU43"]] += np.clip(1.3 - np.abs(u - blink) / 0.035, 0, 1)
        phase, turn, look = self.sway
        states[:, INDEX["pan"]] += turn * np.sin(2 * np.pi * u + phase)
        states[:, INDEX["roll"]] += 0.5 * turn * np.cos(2 * np.pi * u + phase)
        states[:, INDEX["gaze_x"]] += look * np.sin(4 * np.pi * u + phase)
        states[:, :_AU_COUNT] = np.clip(states[:, :_AU_COUNT], 0, 1)
        for channel in ("gaze_x", "gaze_y", "skew", "valence", "flush"):
            states[:, INDEX[channel]] = np.clip(states[:, INDEX[channel]], -1, 1)
        if self.flipped:
            states[:, [INDEX[name] for name in MIRRORED]] *= -1
        if not self.signs:
            states[:, _SIGN_START:_SIGN_STOP] = 0
        return states


@dataclass(frozen=True, eq=False)
class ToonClip:
    """A drawn clip with its truth.

    Attributes:
        frames: T pictures [H, W, 3 or 4] uint8.
        durations: [T] seconds.
        group: the character, or the scene where nobody is in it.
        style: art style; None without a face.
        acting: what was acted; None without a face.
        states: [T, C] over CHANNELS, or None.
        points: [T, 70, 2] pixels, or None.
        boxes: [T, 4] left, top, right, bottom of the face, pixels, or None.
        bystanders: [T, B, 4] boxes of the other faces, pixels.
        plan: how it is framed.
    """

    frames: list[UInt8Array]
    durations: FloatArray
    group: str
    style: str | None
    acting: Acting | None
    states: FloatArray | None
    points: FloatArray | None
    boxes: FloatArray | None
    bystanders: FloatArray
    plan: Plan


def draw_clip(seed: int, index: int) -> ToonClip:
    """Clip ``index`` of a seed, as it is before it becomes a GIF.

    Every block of 20 clips has each emotion once, one neutral face, one clip with nobody in it and one of the
    emotions that only order tells.
    """
    rng = np.random.default_rng([seed, 1, index])
    deck = np.random.default_rng([seed, 2, index // len(_DECK)]).permutation(len(_DECK))
    kind = _DECK[int(deck[index % len(_DECK)])]
    plan = draw_plan(rng)
    if kind == "nobody":
        plan = replace(plan, objects=int(rng.integers(2, 7)), bystanders=0)
        pictures = _draw_frames(plan, [], rng, np.random.default_rng([seed, 4, index]))
        group = f"toon:{seed}:scene-{index:05d}"
        nobody = np.zeros((len(pictures), 0, 4))
        return ToonClip(pictures, plan.durations, group, None, None, None, None, None, nobody, plan)
    number = index // CLIPS_A_CHARACTER
    look = draw_character(seed, number)
    acting = draw_acting(kind, rng)
    states = acting.evaluate(plan.instants)
    cast = list(_place_bystanders(plan, look.style, rng))
    shapes = [
        shape_face(look, state, (float(x), float(y)), float(scale))
        for state, (x, y), scale in zip(states, plan.centres, plan.scales, strict=True)
    ]
    cast.append((look, shapes))
    pictures = _draw_frames(plan, cast, rng, np.random.default_rng([seed, 4, index]))
    others = [[shape.box for shape in others] for _, others in cast[:-1]]
    return ToonClip(
        pictures, plan.durations, f"toon:{seed}:{number:04d}", look.style, acting, states,
        np.stack([shape.points for shape in shapes]), np.array([shape.box for shape in shapes]),
        np.array(others).transpose(1, 0, 2) if others else np.zeros((len(shapes), 0, 4)), plan,
    )  # fmt: skip


def draw_character(seed: int, number: int) -> Look:
    """Character ``number`` of a seed; styles come in turn, so that each has its share of every split."""
    rng = np.random.default_rng([seed, 3, number])
    order = np.random.default_rng([seed, 5, number // len(STYLES)]).permutation(len(STYLES))
    return draw_look(STYLES[int(order[number % len(STYLES)])], rng)


def draw_acting(kind: str, rng: np.random.Generator) -> Acting:
    """What is acted for a card of the deck: an emotion, "neutral", or "any" of the order-dependent ones."""
    strengths: dict[str, float] = {}
    programme = None
    if kind == "any":
        programme = find_programme(str(rng.choice(np.array(ORDER_PAIRS).ravel())))
        kind = programme.emotion
    elif kind != "neutral":
        variants = list_programmes(kind)
        programme = variants[int(rng.integers(len(variants)))]
    if programme is not None:
        strength = round(float(rng.uniform(WEAKEST, 1.0)), 3)
        strengths[kind] = strength
        if rng.random() < 0.3:
            second = str(rng.choice([emotion for emotion in GIFGIF_17 if emotion != kind]))
            strengths[second] = round(strength * float(rng.uniform(0.2, 0.5)), 3)
    blinks = tuple(rng.uniform(0.05, 0.95, int(rng.integers(0, 3))).tolist())
    sway = (float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0, 0.1)), float(rng.uniform(0, 0.12)))
    flipped, signs = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    return Acting(programme, strengths, flipped, signs, float(rng.uniform(-0.08, 0.08)), blinks, sway)


def _place_bystanders(plan: Plan, style: str, rng: np.random.Generator) -> Iterator[tuple[Look, list[Shape]]]:
    """Neutral faces beside the main one, with their shapes frame by frame; they only blink and sway."""
    for number in range(plan.bystanders):
        look = draw_look(style if rng.random() < 0.6 else str(rng.choice(STYLES)), rng)
        part = float(rng.uniform(0.5, 0.95))
        side = (-1) ** number * (1 if rng.random() < 0.8 else -1)
        away = np.array([side * rng.uniform(1.8, 3.2), rng.uniform(-0.5, 0.3)])
        centres = plan.centres + np.outer(plan.scales, away)
        states = draw_acting("neutral", rng).evaluate(plan.instants)
        yield (
            look,
            [
                shape_face(look, state, (float(x), float(y)), part * float(scale))
                for state, (x, y), scale in zip(states, centres, plan.scales, strict=True)
            ],
        )


def _draw_frames(
    plan: Plan, cast: list[tuple[Look, list[Shape]]], rng: np.random.Generator, hand: np.random.Generator
) -> list[UInt8Array]:
    backdrop = Backdrop(plan, rng)
    frames = []
    for number in range(len(plan.durations)):
        picture = backdrop.draw(number)
        if cast:
            layer = Image.new("RGBA", (2 * plan.width, 2 * plan.height), (0, 0, 0, 0))
            for look, shapes in cast:
                draw_figure(layer, look, _double(shapes[number]), hand)
            picture.alpha_composite(layer.reduce(2))
        if plan.caption is not None:
            draw_caption(picture, plan.caption, plan.caption_on_top)
        frames.append(np.asarray(picture if plan.background == "sticker" else picture.convert("RGB")))
    return reduce_colours(frames, rng)


def _double(shape: Shape) -> Shape:
    """The shape on a canvas of twice the size, where edges are drawn before they are smoothed."""
    x, y = shape.centre
    parts = {name: 2 * curve for name, curve in shape.parts.items()}
    return replace(shape, parts=parts, scale=2 * shape.scale, centre=(2 * x, 2 * y))
