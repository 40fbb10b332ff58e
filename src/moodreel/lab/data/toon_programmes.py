"""What toon faces do: 17 emotions as programmes of facial action units along a clip.

A programme is a row of poses (action units of FACS, gaze, head) with the instants at which they are reached,
and waves on top (laughing, trembling). Some emotions are told apart only by the order of the same poses:
:data:`ORDER_PAIRS` lists pairs of programmes of which one is exactly the other one backwards.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import numpy as np

from moodreel.emotions import CIRCUMPLEX_DEGREES, GIFGIF_17
from moodreel.lab.data.toon_poses import (
    ACTION_UNITS,
    APPROVE,
    BEAM,
    BLISS,
    CHANNELS,
    DISGUST,
    EASE,
    EFFORT,
    EXHALE,
    GLARE,
    GRIEF,
    HANG,
    INDEX,
    LAUGH,
    LOOK_AWAY,
    NEUTRAL,
    PROUD,
    RAGE,
    SAD,
    SCORN,
    SERENE,
    SHIFTY_L,
    SHIFTY_R,
    SHY,
    SMILE,
    SNEER,
    SOFT,
    SORRY,
    STARTLE,
    TERROR,
    THRILL,
    WONDER,
    YUCK,
    Pose,
)
from moodreel.types import FloatArray


@dataclass(frozen=True)
class Wave:
    """A swing on top of the poses, inside a window of the clip.

    Attributes:
        channel: which.
        size: amplitude.
        cycles: in the whole clip.
        start, stop: window, 0-1 of the clip; the swing grows and fades inside it.
    """

    channel: str
    size: float
    cycles: float
    start: float = 0.0
    stop: float = 1.0


@dataclass(frozen=True)
class Programme:
    """What a face does in one clip.

    Attributes:
        emotion: of the GIFGIF 17; in the set with context a class of MEC.
        name: of the variant.
        beats: (instant 0-1 of the clip, pose reached then), ascending; between them the pose glides.
        waves: on top.
        backwards: whether it is played from its end.
    """

    emotion: str
    name: str
    beats: tuple[tuple[float, Pose], ...]
    waves: tuple[Wave, ...] = field(default=())
    backwards: bool = False

    def evaluate(self, instants: FloatArray) -> FloatArray:
        """State at each instant.

        Args:
            instants: [T] in [0, 1].

        Returns:
            [T, C] over :data:`CHANNELS`, at full strength.
        """
        u = 1 - np.asarray(instants, float) if self.backwards else np.asarray(instants, float)
        places = np.array([place for place, _ in self.beats])
        poses = np.array([[pose.get(name, 0.0) for name in CHANNELS] for _, pose in self.beats])
        before = np.clip(np.searchsorted(places, u, side="right") - 1, 0, len(places) - 1)
        after = np.minimum(before + 1, len(places) - 1)
        gap = np.where(after > before, places[after] - places[before], 1.0)
        part = np.clip((u - places[before]) / gap, 0, 1)
        weight = (part * part * (3 - 2 * part))[:, None]
        state: FloatArray = poses[before] * (1 - weight) + poses[after] * weight
        for wave in self.waves:
            inside = np.clip((u - wave.start) / (wave.stop - wave.start), 0, 1)
            swell = np.minimum(1, 3 * np.sin(np.pi * inside))
            state[:, INDEX[wave.channel]] += wave.size * swell * np.sin(2 * math.pi * wave.cycles * u)
        state[:, : len(ACTION_UNITS)] = np.clip(state[:, : len(ACTION_UNITS)], 0, 1)
        return state

    def reverse(self, emotion: str, name: str) -> Programme:
        """The same frames in the opposite order, as another emotion's programme."""
        return replace(self, emotion=emotion, name=name, backwards=not self.backwards)


def _tremble(start: float, stop: float, size: float = 0.025) -> tuple[Wave, ...]:
    return (Wave("shift_x", size, 9, start, stop), Wave("roll", size, 7.3, start, stop))


_RELIEF = Programme(
    "relief",
    "fear, then breath and smile",
    ((0.0, TERROR), (0.34, TERROR), (0.48, EXHALE), (0.62, EXHALE), (0.78, EASE), (1.0, EASE)),
    _tremble(0, 0.38),
)
_EMBARRASSMENT = Programme(
    "embarrassment",
    "smile, then gaze down, head turn, lip press",
    ((0.0, BEAM), (0.28, SMILE), (0.46, SHY), (0.66, LOOK_AWAY), (1.0, LOOK_AWAY)),
)
_SADNESS = Programme(
    "sadness",
    "a smile that fades into tears",
    ((0.0, BEAM), (0.25, BEAM), (0.5, SAD), (0.75, GRIEF), (1.0, GRIEF)),
)
_SHAME = Programme(
    "shame",
    "pride, then the head falls",
    ((0.0, PROUD), (0.3, PROUD), (0.52, SORRY), (0.72, HANG), (1.0, HANG)),
)
_EXCITEMENT = Programme(
    "excitement",
    "surprise, then joy",
    ((0.0, STARTLE), (0.35, WONDER), (0.52, THRILL), (1.0, THRILL)),
    (Wave("shift_y", 0.05, 7, 0.5, 1.0),),
)

PROGRAMMES: tuple[Programme, ...] = (
    Programme(
        "amusement",
        "laughing",
        ((0.0, SMILE), (0.15, LAUGH), (0.85, LAUGH), (1.0, BEAM)),
        (
            Wave("AU26", 0.25, 6),
            Wave("shift_y", 0.05, 6),
            Wave("roll", 0.15, 1.5),
            Wave("shoulders", 0.4, 6),
        ),
    ),
    _EMBARRASSMENT.reverse("amusement", "held back, then it breaks out"),
    Programme(
        "anger",
        "a glare that boils over",
        ((0.0, NEUTRAL), (0.15, GLARE), (0.45, GLARE), (0.6, RAGE), (1.0, RAGE)),
        _tremble(0.5, 1.0, 0.03),
    ),
    Programme(
        "anger",
        "shouting",
        ((0.0, GLARE), (0.12, RAGE), (0.5, GLARE), (0.62, RAGE), (1.0, RAGE)),
        (Wave("pan", 0.12, 3.5), Wave("AU26", 0.2, 5)),
    ),
    Programme(
        "contempt",
        "one corner up, a look from the side",
        ((0.0, NEUTRAL), (0.25, SNEER), (1.0, SNEER)),
    ),
    Programme(
        "contempt",
        "eyes roll",
        ((0.0, SNEER), (0.3, SNEER), (0.45, SCORN), (0.65, SCORN), (0.85, SNEER), (1.0, SNEER)),
    ),
    Programme(
        "contentment",
        "a soft smile, slow blinks",
        ((0.0, SOFT), (0.3, SOFT), (0.45, SERENE), (0.7, SERENE), (0.85, SOFT), (1.0, SOFT)),
        (Wave("roll", 0.08, 1),),
    ),
    Programme(
        "disgust", "recoil", ((0.0, NEUTRAL), (0.2, DISGUST), (1.0, DISGUST)), _tremble(0.3, 0.8, 0.012)
    ),
    Programme(
        "disgust", "tongue out", ((0.0, NEUTRAL), (0.2, DISGUST), (0.45, DISGUST), (0.6, YUCK), (1.0, YUCK))
    ),
    _EMBARRASSMENT,
    _EXCITEMENT,
    Programme(
        "excitement",
        "bouncing",
        ((0.0, SMILE), (0.15, THRILL), (1.0, THRILL)),
        (Wave("shift_y", 0.09, 6), Wave("roll", 0.2, 3), Wave("shoulders", 0.5, 6)),
    ),
    Programme(
        "fear", "terror", ((0.0, NEUTRAL), (0.12, STARTLE), (0.3, TERROR), (1.0, TERROR)), _tremble(0.2, 1)
    ),
    _RELIEF.reverse("fear", "calm, then fright"),
    Programme(
        "guilt",
        "eyes that wander, then a look from below",
        (
            (0.0, SHIFTY_L),
            (0.2, SHIFTY_L),
            (0.3, SHIFTY_R),
            (0.48, SHIFTY_R),
            (0.56, SHIFTY_L),
            (0.66, SHIFTY_L),
            (0.8, SORRY),
            (1.0, SORRY),
        ),
    ),
    Programme("happiness", "a smile that grows", ((0.0, NEUTRAL), (0.3, SMILE), (0.55, BEAM), (1.0, BEAM))),
    _SADNESS.reverse("happiness", "cheered up"),
    Programme(
        "pleasure",
        "eyes shut, head back",
        ((0.0, SOFT), (0.25, BLISS), (0.85, BLISS), (1.0, SOFT)),
        (Wave("roll", 0.22, 1.5), Wave("pan", 0.15, 1)),
    ),
    Programme(
        "pride",
        "chin up, chest out",
        ((0.0, NEUTRAL), (0.25, PROUD), (1.0, PROUD)),
        (Wave("pan", 0.25, 1, 0.3, 1.0),),
    ),
    _SHAME.reverse("pride", "the head rises"),
    _RELIEF,
    Programme(
        "sadness",
        "crying",
        ((0.0, SAD), (0.3, GRIEF), (1.0, GRIEF)),
        (Wave("shift_y", 0.02, 5, 0.3, 1.0), Wave("AU26", 0.1, 4, 0.3, 1.0)),
    ),
    _SADNESS,
    Programme(
        "satisfaction",
        "effort, then a nod",
        ((0.0, EFFORT), (0.35, EFFORT), (0.52, APPROVE), (1.0, APPROVE)),
        (Wave("tilt", 0.24, 4, 0.48, 1.0),),
    ),
    Programme(
        "shame",
        "the head hangs",
        ((0.0, SORRY), (0.3, HANG), (1.0, HANG)),
        (Wave("pan", 0.15, 1.5, 0.3, 1.0),),
    ),
    _SHAME,
    Programme(
        "surprise", "sudden", ((0.0, NEUTRAL), (0.25, NEUTRAL), (0.33, STARTLE), (0.7, WONDER), (1.0, WONDER))
    ),
    _EXCITEMENT.reverse("surprise", "joy, then something strange"),
)
"""All programmes, by emotion."""

ORDER_PAIRS: tuple[tuple[str, str], ...] = (
    ("relief: fear, then breath and smile", "fear: calm, then fright"),
    (
        "embarrassment: smile, then gaze down, head turn, lip press",
        "amusement: held back, then it breaks out",
    ),
    ("sadness: a smile that fades into tears", "happiness: cheered up"),
    ("shame: pride, then the head falls", "pride: the head rises"),
    ("excitement: surprise, then joy", "surprise: joy, then something strange"),
)
"""Programmes ("emotion: name") that show the same states in opposite order: no single frame tells which."""


def list_programmes(emotion: str) -> tuple[Programme, ...]:
    """Variants of an emotion, as they stand in :data:`PROGRAMMES`."""
    return tuple(programme for programme in PROGRAMMES if programme.emotion == emotion)


def find_programme(title: str) -> Programme:
    """A programme by its title, "emotion: name".

    Raises:
        KeyError: there is none.
    """
    return {f"{p.emotion}: {p.name}": p for p in PROGRAMMES}[title]


def apex_of(emotion: str) -> FloatArray:
    """[C] state in which an emotion is strongest: the last pose of its first variant (or the middle one)."""
    instant = 0.5 if emotion in ("amusement", "pleasure", "contentment") else 1.0
    apex: FloatArray = list_programmes(emotion)[0].evaluate(np.array([instant]))[0]
    return apex


def score_emotions(strengths: Mapping[str, float]) -> dict[str, float]:
    """Intensities of all 17 emotions from the strengths of those that were acted.

    An acted emotion of strength s has 2 s - 1. Its relatives on the circumplex get a share of it: an emotion
    at an angle d has strength s * 0.5 * max(0, cos d)^4. With several, the largest counts.

    Args:
        strengths: GIFGIF emotion -> strength in [0, 1]; empty for a neutral face.

    Returns:
        emotion -> [-1, 1], all 17, to three decimals.
    """
    scores = {}
    for emotion in GIFGIF_17:
        best = 0.0
        for acted, strength in strengths.items():
            angle = math.radians(CIRCUMPLEX_DEGREES[emotion] - CIRCUMPLEX_DEGREES[acted])
            share = 1.0 if acted == emotion else 0.5 * max(0.0, math.cos(angle)) ** 4
            best = max(best, strength * share)
        scores[emotion] = round(2 * best - 1, 3)
    return scores
