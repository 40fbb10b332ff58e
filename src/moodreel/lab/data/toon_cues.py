"""Things in the scene of a toon clip that tell how its character feels, three for each class of MEC.

:data:`CUES` has them by class, and under :data:`NOTHING` the shapes that say nothing. That a gift means
joy and stench disgust is the convention of cartoons, written down by us.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from moodreel.lab.data import toon_things as things
from moodreel.lab.data.toon_brush import Brush
from moodreel.lab.data.toon_look import Colour
from moodreel.lab.data.toon_pen import WHITE
from moodreel.lab.data.toon_things import BLACK

NOTHING = "nothing"
_GREEN: Colour = (112, 160, 40)


@dataclass(frozen=True)
class Cue:
    """One thing.

    Attributes:
        name: of the thing.
        draw: (brush, seconds since it came, part 0-1 of its stay) draws it.
        paints: sets of colours, one of which is taken, and jittered.
        mirrors: whether left and right may be exchanged.
    """

    name: str
    draw: Callable[[Brush, float, float], None]
    paints: tuple[tuple[Colour, ...], ...]
    mirrors: bool = True


_ANY: tuple[tuple[Colour, ...], ...] = (
    ((214, 60, 60), (250, 220, 120)), ((70, 150, 90), (190, 220, 110)), ((70, 110, 200), (230, 235, 245)),
    ((150, 90, 180), (250, 170, 200)), ((90, 90, 100), (200, 200, 205)), ((230, 150, 50), (70, 60, 80)),
)  # fmt: skip
_PARTY: tuple[tuple[Colour, ...], ...] = (
    ((226, 60, 80), (250, 206, 60), (80, 150, 230)),
    ((240, 120, 180), (110, 200, 240), (160, 220, 90)),
    ((150, 90, 210), (255, 160, 60), (240, 80, 120)),
)
_DIRT: tuple[tuple[Colour, ...], ...] = (
    ((120, 126, 132), _GREEN),
    ((92, 110, 96), (150, 150, 40)),
    ((150, 140, 120), (90, 140, 60)),
)

CUES: Mapping[str, tuple[Cue, ...]] = {
    "happy": (
        Cue("balloons", things.draw_balloons, _PARTY),
        Cue("gift", things.draw_gift, _PARTY),
        Cue("cake", things.draw_cake, _PARTY),
    ),
    "sad": (
        Cue(
            "rain cloud",
            things.draw_rain,
            (((110, 116, 130), (70, 120, 200)), ((86, 96, 120), (110, 150, 210))),
        ),
        Cue(
            "broken heart",
            things.draw_heart,
            (((200, 50, 70), (90, 150, 220)), ((150, 60, 120), (110, 170, 230))),
        ),
        Cue(
            "wilted flower",
            things.draw_wilted,
            (((190, 120, 150), (120, 126, 70)), ((170, 150, 90), (110, 120, 80))),
        ),
    ),
    "angry": (
        Cue("swearing", things.draw_swearing, (((200, 20, 20), WHITE), (BLACK, (250, 120, 100)))),
        Cue("fist", things.draw_fist, (((240, 190, 150), (180, 40, 40)), ((150, 96, 60), (60, 70, 120)))),
        Cue("volcano", things.draw_volcano, (((245, 80, 20), (100, 70, 60)), ((255, 130, 20), (80, 76, 86)))),
    ),
    "surprise": (
        Cue("jack in the box", things.draw_jack, _PARTY),
        Cue("rabbit", things.draw_rabbit, (((40, 36, 46), (226, 90, 110)), ((70, 50, 110), (240, 160, 180)))),
        Cue(
            "burst", things.draw_burst, (((250, 120, 30), (255, 232, 90)), ((70, 150, 240), (250, 250, 210)))
        ),
    ),
    "disgust": (
        Cue("rubbish", things.draw_bin, _DIRT),
        Cue(
            "slime",
            things.draw_slime,
            (((130, 180, 50), _GREEN), ((150, 150, 50), _GREEN), ((110, 160, 90), _GREEN)),
        ),
        Cue(
            "fish bones",
            things.draw_fishbone,
            (((236, 232, 214), (130, 160, 60)), ((220, 214, 190), (110, 130, 70))),
        ),
    ),
    "worried": (
        Cue("falling chart", things.draw_chart, (((214, 40, 40),), ((180, 30, 80),)), mirrors=False),
        Cue(
            "ambulance",
            things.draw_ambulance,
            (((214, 40, 40), (60, 110, 240)), ((230, 110, 30), (240, 60, 60))),
        ),
        Cue("exam", things.draw_exam, (((214, 30, 30),), ((190, 20, 90),))),
    ),
    "anxious": (
        Cue("spider", things.draw_spider, ((BLACK, (220, 40, 40)), ((76, 50, 40), (230, 180, 50)))),
        Cue("alarm", things.draw_alarm, (((200, 60, 60),), ((60, 120, 180),), ((120, 120, 130),))),
        Cue("shadow", things.draw_shadow, (((30, 24, 44), (250, 230, 60)), ((44, 30, 60), (255, 70, 50)))),
    ),
    "neutral": (
        Cue("mug", things.draw_mug, _ANY),
        Cue("plant", things.draw_plant, (((190, 110, 70), (70, 150, 70)), ((90, 110, 160), (100, 160, 90)))),
        Cue("book", things.draw_book, _ANY),
    ),
    NOTHING: (
        Cue("ball", things.draw_ball, _ANY),
        Cue("square", things.draw_square, _ANY),
        Cue("rings", things.draw_rings, _ANY),
        Cue("bars", things.draw_stripes, _ANY),
    ),
}
"""Class of ``MEC_8``, or :data:`NOTHING` -> its things."""
