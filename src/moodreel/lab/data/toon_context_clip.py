"""One clip of the toon set with context: who decides, what face and scene say, and its frames.

What the class may influence has a stream of chance of its own: the layout, the times, the background and
whichever channel does not decide are drawn without the class being at hand. Clip number n of a seed is the
same in every set of that seed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from moodreel.emotions import MEC_8
from moodreel.lab.data.toon_brush import Brush
from moodreel.lab.data.toon_clip import CLIPS_A_CHARACTER, Acting, ToonClip, draw_character
from moodreel.lab.data.toon_context_faces import AMBIGUOUS, FACES
from moodreel.lab.data.toon_cues import CUES, NOTHING, Cue
from moodreel.lab.data.toon_draw import draw_figure, draw_figure_from_behind
from moodreel.lab.data.toon_face import Shape, shape_face
from moodreel.lab.data.toon_look import Colour, Look
from moodreel.lab.data.toon_scene import CAPTIONS, Backdrop, Plan, draw_caption, reduce_colours
from moodreel.types import BoolArray, FloatArray, UInt8Array

DECIDERS = ("face", "scene", "both")
"""Who tells the class of a clip, a third of the clips each."""

FACELESS = 0.1
"""Share of the clips in which the scene decides that show no face: half with nobody, half from behind."""

UNTOUCHED = 0.2
"""Share of the clips in which the face decides that have no thing in the scene at all."""

ROOM = (1.4, 1.3)
"""Half width and height, in half heads, of the room kept free for a face: no face box leaves it."""

_DECK = tuple((decides, label) for decides in DECIDERS for label in MEC_8)
_BACKGROUNDS = {"plain": 0.26, "gradient": 0.22, "room": 0.26, "noise": 0.1, "stripes": 0.08, "clutter": 0.08}
_STRENGTHS = {"face": (0.8, 1.0), "scene": (0.6, 1.0), "both": (0.45, 0.7)}
_ENTRANCE, _AT_ONCE = 0.25, 0.4


@dataclass(frozen=True, eq=False)
class Appearance:
    """A thing in the scene.

    Attributes:
        cue: which.
        says: class of ``MEC_8``, or "nothing".
        left, top, side: its square, pixels; nothing of it is drawn outside.
        shown: [T] whether it is there in a frame.
        starts, stops: seconds in which it is there; whole frames.
        paints: colours.
        mirrored: left and right exchanged.
        entrance: "pop" or "rise": for 0.15 s, from four tenths on; a thing that is there at once does not.
        opacity: 0-1.
    """

    cue: Cue
    says: str
    left: int
    top: int
    side: int
    shown: BoolArray
    starts: float
    stops: float
    paints: tuple[Colour, ...]
    mirrored: bool
    entrance: str
    opacity: float

    @property
    def is_static(self) -> bool:
        """Whether it is there from the first frame to the last."""
        return bool(self.shown.all())

    def draw(self, start: float, middle: float) -> Image.Image:
        """[side, side] RGBA at an instant; ``start`` is that of the frame, seconds."""
        came = 1.0
        if self.starts > 0:
            came = min(1.0, max(0.0, (start - self.starts) / _ENTRANCE + _AT_ONCE))
        pops = self.entrance == "pop"
        brush = Brush(
            self.side, self.paints, self.mirrored, came if pops else 1.0, 0.0 if pops else 2 * (1 - came)
        )
        self.cue.draw(brush, middle - self.starts, (middle - self.starts) / (self.stops - self.starts))
        return brush.finish(self.opacity)


@dataclass(frozen=True, eq=False)
class ContextSpec:
    """All that is drawn by chance for a clip, before its frames.

    Attributes:
        seed, index: of the clip.
        number: of its character.
        decides: one of :data:`DECIDERS`.
        label: class of ``MEC_8``.
        view: "front", "back" (turned away) or "absent".
        acting: what the face does; without a face what it would have done.
        face_says: class of ``MEC_8``, "ambiguous", or None without a face.
        thing: in the scene, or None.
        plan: how it is framed.
    """

    seed: int
    index: int
    number: int
    decides: str
    label: str
    view: str
    acting: Acting
    face_says: str | None
    thing: Appearance | None
    plan: Plan

    @property
    def scene_says(self) -> str:
        """Class of ``MEC_8``, or "nothing"."""
        return NOTHING if self.thing is None else self.thing.says


def draw_spec(seed: int, index: int) -> ContextSpec:
    """Clip ``index`` of a seed. Every block of 24 has each class once for each who may decide."""
    deck = np.random.default_rng([seed, 31, index // len(_DECK)]).permutation(len(_DECK))
    decides, label = _DECK[int(deck[index % len(_DECK)])]
    rng = np.random.default_rng([seed, 32, index])
    # The layout depends on who decides (a thing that only agrees is smaller), never on the class.
    plan, (left, top, side) = _draw_layout(decides, rng)
    view = "front"
    if rng.random() < FACELESS and decides == "scene":
        view = "absent" if rng.random() < 0.5 else "back"
    face = label if decides != "scene" else AMBIGUOUS
    scene = label if decides != "face" else NOTHING
    acting = draw_face(face, _STRENGTHS[decides], np.random.default_rng([seed, 33, index]))
    untouched = rng.random() < UNTOUCHED and decides == "face"
    thing = None
    if not untouched:
        shown = _draw_stay(plan.durations, decides, rng)
        opacity = float(rng.uniform(0.7, 0.9)) if decides == "both" else 1.0
        chance = np.random.default_rng([seed, 34, index])
        thing = draw_thing(scene, (left, top, side), shown, plan.durations, opacity, chance)
    return ContextSpec(
        seed, index, index // CLIPS_A_CHARACTER, decides, label, view, acting,
        face if view == "front" else None, thing, plan,
    )  # fmt: skip


def draw_face(says: str, strengths: tuple[float, float], rng: np.random.Generator) -> Acting:
    """What a face does that says a class of ``MEC_8``, or "ambiguous".

    Args:
        says: a key of ``FACES``.
        strengths: least and greatest.
        rng: source of chance.
    """
    strength = round(float(rng.uniform(*strengths)), 3)
    blinks = tuple(rng.uniform(0.05, 0.95, int(rng.integers(0, 3))).tolist())
    sway = (float(rng.uniform(0, 2 * np.pi)), float(rng.uniform(0, 0.08)), float(rng.uniform(0, 0.1)))
    flipped, signs = bool(rng.random() < 0.5), bool(rng.random() < 0.5)
    warp = float(rng.uniform(-0.08, 0.08))
    programme = FACES[says][int(rng.integers(len(FACES[says])))]
    return Acting(programme, {says: strength}, flipped, signs, warp, blinks, sway)


def draw_thing(
    says: str, square: tuple[int, int, int], shown: BoolArray, durations: FloatArray, opacity: float,
    rng: np.random.Generator,
) -> Appearance:  # fmt: skip
    """A thing that says a class of ``MEC_8``, or nothing.

    Args:
        says: a key of ``CUES``.
        square: left, top, side; pixels.
        shown: [T] whether it is there.
        durations: [T] seconds.
        opacity: 0-1.
        rng: source of chance.
    """
    mirrored, entrance = bool(rng.random() < 0.5), str(rng.choice(["pop", "rise"]))
    tints = rng.integers(-22, 23, (3, 3))
    cue = CUES[says][int(rng.integers(len(CUES[says])))]
    colours = cue.paints[int(rng.integers(len(cue.paints)))]
    paints = tuple(
        (int(r), int(g), int(b))
        for r, g, b in np.clip(np.array(colours) + tints[: len(colours)], 0, 255).tolist()
    )
    ends = np.cumsum(durations)
    there = np.flatnonzero(shown)
    starts = float(ends[there[0]] - durations[there[0]])
    return Appearance(
        cue, says, *square, shown, round(starts, 2), round(float(ends[there[-1]]), 2), paints,
        mirrored and cue.mirrors, entrance, opacity,
    )  # fmt: skip


def _draw_stay(durations: FloatArray, decides: str, rng: np.random.Generator) -> BoolArray:
    """[T] frames in which a thing is there: all of them, or one stretch of at least 0.6 s."""
    ends = np.cumsum(durations)
    middles, total = ends - durations / 2, float(ends[-1])
    static, to_the_end = rng.random() < 0.4, rng.random() < 0.3
    start = float(rng.uniform(0.1, 0.55)) * total
    longest = 0.5 if decides != "both" else 0.4
    stop = start + max(0.6, float(rng.uniform(0.25, longest)) * total)
    if static:
        return np.ones(len(durations), bool)
    shown: BoolArray = (middles >= start) & ((middles < stop) | to_the_end)
    return shown


def _draw_layout(decides: str, rng: np.random.Generator) -> tuple[Plan, tuple[int, int, int]]:
    """(plan, left, top and side of the thing's square).

    The square lies inside the middle square of the frame, which is all that a centre crop keeps, and outside
    of the room of the face.
    """
    width, height = (int(rng.integers(60, 161)) * 2 for _ in range(2))
    if rng.random() < 0.35:
        height = width
    width, height = max(width, height * 5 // 8), max(height, width * 5 // 8)
    short = min(width, height)
    scale = float(rng.uniform(0.15, 0.26)) * short
    durations = _draw_durations(rng)
    count = len(durations)
    least, most = (0.34, 0.46) if decides != "both" else (0.26, 0.34)
    side = round(float(rng.uniform(least, most)) * short)
    step = rng.uniform(-0.05, 0.05, 2) * short * (rng.random() < 0.5)
    while True:
        first = rng.uniform([0.9 * scale, scale], [width - 0.9 * scale, height - scale])
        left, top = (
            int(rng.integers((edge - short + 1) // 2, (edge + short) // 2 - side + 1))
            for edge in (width, height)
        )
        room = np.array(ROOM) * scale
        low = np.minimum(first, first + step) - room
        high = np.maximum(first, first + step) + room
        if (low > [left + side, top + side]).any() or (high < [left, top]).any():
            break
        scale *= 0.995  # so that there is an end to it
    along = np.linspace(0, 1, count)[:, None]
    pulls = rng.uniform(0, 1, (2, 2))
    moves = rng.random() < 0.3
    plan = Plan(
        width, height, durations, str(rng.choice(list(_BACKGROUNDS), p=list(_BACKGROUNDS.values()))),
        first + step * along, np.full(count, scale),
        pulls[0] + (pulls[1] - pulls[0]) * along if moves else np.repeat(pulls[:1], count, 0),
        str(rng.choice(CAPTIONS)) if rng.random() < 0.15 else None, bool(rng.random() < 0.5), 0, 0,
    )  # fmt: skip
    return plan, (left, top, side)


def _draw_durations(rng: np.random.Generator) -> FloatArray:
    """[T] seconds, 2 to 5 in all: even, uneven, or even with a long last frame."""
    total, kind = int(rng.integers(210, 471)), rng.random()
    if kind < 0.3:
        delay = int(rng.choice([8, 10, 12, 15, 20]))
        hundredths = np.full(total // delay, delay)
    elif kind < 0.8:
        hundredths = rng.choice([5, 7, 8, 10, 12, 16, 20, 30], 100)
        hundredths = hundredths[: int(np.searchsorted(np.cumsum(hundredths), total)) + 1]
    else:
        last, delay = int(rng.integers(30, 70)), int(rng.choice([8, 10]))
        hundredths = np.append(np.full((total - last) // delay + 1, delay), last)
    return hundredths / 100


def shape_faces(spec: ContextSpec) -> tuple[FloatArray, list[Shape]]:
    """(states [T, C], shapes of the face) of a clip, whether or not it is seen from the front."""
    look, plan = draw_character(spec.seed, spec.number), spec.plan
    states = spec.acting.evaluate(plan.instants)
    shapes = [
        shape_face(look, state, (float(x), float(y)), float(scale))
        for state, (x, y), scale in zip(states, plan.centres, plan.scales, strict=True)
    ]
    return states, shapes


def paint_frames(spec: ContextSpec, shapes: list[Shape]) -> list[Image.Image]:
    """T pictures, RGB, in full colour."""
    plan, look = spec.plan, draw_character(spec.seed, spec.number)
    backdrop = Backdrop(plan, np.random.default_rng([spec.seed, 35, spec.index]))
    hand = np.random.default_rng([spec.seed, 36, spec.index])
    ends = np.cumsum(plan.durations)
    pictures = []
    for number, (shape, end, length) in enumerate(
        zip(shapes, ends.tolist(), plan.durations.tolist(), strict=True)
    ):
        picture = backdrop.draw(number)
        if spec.view != "absent":
            _paint_figure(picture, look, shape, spec.view == "back", hand)
        if plan.caption is not None:
            draw_caption(picture, plan.caption, plan.caption_on_top)
        thing = spec.thing
        if thing is not None and thing.shown[number]:
            picture.alpha_composite(thing.draw(end - length, end - length / 2), (thing.left, thing.top))
        pictures.append(picture.convert("RGB"))
    return pictures


def _paint_figure(
    picture: Image.Image, look: Look, shape: Shape, turned: bool, hand: np.random.Generator
) -> None:
    """Draws the figure at twice the size, where edges are smoothed, on no more room than it takes."""
    x, y = shape.centre
    reach = 2.1 * shape.scale
    left, right = max(0, int(x - reach)), min(picture.width, int(x + reach) + 1)
    top = max(0, int(y - reach))
    layer = Image.new("RGBA", (2 * (right - left), 2 * (picture.height - top)), (0, 0, 0, 0))
    corner = np.array([left, top])
    parts = {name: 2 * (curve - corner) for name, curve in shape.parts.items()}
    double = replace(shape, parts=parts, scale=2 * shape.scale, centre=(2 * (x - left), 2 * (y - top)))
    (draw_figure_from_behind if turned else draw_figure)(layer, look, double, hand)
    picture.alpha_composite(layer.reduce(2), (left, top))


def render_clip(spec: ContextSpec) -> ToonClip:
    """The clip of a spec, with the truth of its face where one is seen."""
    look, plan = draw_character(spec.seed, spec.number), spec.plan
    states, shapes = shape_faces(spec)
    pictures: list[UInt8Array] = [np.asarray(picture) for picture in paint_frames(spec, shapes)]
    key = None if spec.thing is None else int(np.median(np.flatnonzero(spec.thing.shown)))
    chance = np.random.default_rng([spec.seed, 37, spec.index])
    # Never to 16 or 32: the thing would lose its colours where the background has many.
    frames = reduce_colours(pictures, chance, (64, 128), key)
    group = f"toon:{spec.seed}:{spec.number:04d}"
    nobody = np.zeros((len(frames), 0, 4))
    if spec.view != "front":
        return ToonClip(frames, plan.durations, group, None, None, None, None, None, nobody, plan)
    points = np.stack([shape.points for shape in shapes])
    boxes = np.array([shape.box for shape in shapes])
    return ToonClip(
        frames, plan.durations, group, look.style, spec.acting, states, points, boxes, nobody, plan
    )
