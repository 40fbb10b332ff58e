"""Faces of the toon set with context: the 8 classes of MEC, and expressions that fit any of them.

``FACES`` takes the programmes of the plain toon set where MEC names the same emotion; worried and anxious are
ours: worry looks down and keeps still, anxiety stares, looks about and trembles.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from moodreel.lab.data.toon_poses import NEUTRAL, Pose
from moodreel.lab.data.toon_programmes import Programme, Wave, list_programmes

AMBIGUOUS = "ambiguous"
"""Stands for the class of an expression that fits any."""

_WORRY: Pose = {"AU1": 1.0, "AU4": 0.75, "AU15": 0.35, "AU17": 0.3, "AU24": 0.8, "gaze_y": 0.8, "gaze_x": 0.3,
                "tilt": 0.22, "roll": 0.12, "valence": -0.5}  # fmt: skip
_TENSE_L: Pose = {"AU1": 0.9, "AU2": 0.3, "AU4": 0.6, "AU5": 1.0, "AU20": 1.0, "AU25": 0.6, "AU26": 0.1,
                  "gaze_x": -0.9, "pan": -0.2, "sweat": 1.0, "shoulders": 0.8, "valence": -0.6}  # fmt: skip
_TENSE_R: Pose = {**_TENSE_L, "gaze_x": 0.9, "pan": 0.2}

# Each pose below takes parts of expressions that lie far from each other.
_GRIMACE: Pose = {"AU1": 0.2, "AU4": 0.4, "AU7": 0.6, "AU10": 0.3, "AU12": 0.25, "AU15": 0.2, "AU20": 0.8,
                  "AU25": 0.7, "AU43": 0.55}  # fmt: skip
_GASP: Pose = {"AU1": 0.5, "AU2": 0.2, "AU4": 0.25, "AU25": 0.8, "AU26": 0.45, "AU12": 0.2}
_TEARS: Pose = {"AU1": 0.5, "AU6": 0.4, "AU24": 0.6, "AU43": 0.9, "AU14": 0.3, "tears": 0.7, "tilt": 0.1}
_WRY: Pose = {"AU1": 0.5, "AU4": 0.3, "AU12": 0.5, "AU15": 0.5, "AU14": 0.5, "AU24": 0.4}
_STARE: Pose = {"AU5": 0.6, "AU4": 0.15, "AU24": 0.5, "AU14": 0.25, "lean": 0.04}
_HIDE: Pose = {"AU43": 0.7, "AU17": 0.35, "AU12": 0.2, "AU4": 0.2, "pan": 0.5, "tilt": 0.3, "gaze_x": 0.5}


def _take(label: str, *emotions: str) -> tuple[Programme, ...]:
    """Programmes of the plain set under the name that MEC has for them."""
    return tuple(replace(p, emotion=label) for emotion in emotions for p in list_programmes(emotion))


def _hold(name: str, pose: Pose, *waves: Wave) -> Programme:
    return Programme(AMBIGUOUS, name, ((0.0, NEUTRAL), (0.2, pose), (1.0, pose)), waves)


FACES: Mapping[str, tuple[Programme, ...]] = {
    # The second programme of happiness, sadness and surprise shows another emotion first: left out here.
    "happy": (*_take("happy", "happiness")[:1], *_take("happy", "amusement")[:1]),
    "sad": _take("sad", "sadness")[:1],
    "angry": _take("angry", "anger"),
    "surprise": _take("surprise", "surprise")[:1],
    "disgust": _take("disgust", "disgust"),
    "worried": (
        Programme(
            "worried", "looks down", ((0.0, NEUTRAL), (0.2, _WORRY), (1.0, _WORRY)), (Wave("roll", 0.06, 1),)
        ),
    ),
    "anxious": (
        Programme(
            "anxious",
            "eyes that dart",
            (
                (0.0, _TENSE_L),
                (0.2, _TENSE_L),
                (0.26, _TENSE_R),
                (0.45, _TENSE_R),
                (0.5, _TENSE_L),
                (0.66, _TENSE_L),
                (0.72, _TENSE_R),
                (0.85, _TENSE_R),
                (0.9, _TENSE_L),
                (1.0, _TENSE_L),
            ),
            (Wave("shift_x", 0.025, 11), Wave("roll", 0.025, 8.3)),
        ),
    ),
    "neutral": (Programme("neutral", "rest", ((0.0, NEUTRAL), (1.0, NEUTRAL))),),
    AMBIGUOUS: (
        _hold("grimace", _GRIMACE, Wave("roll", 0.06, 2)),
        _hold("open mouth", _GASP, Wave("AU26", 0.15, 3)),
        _hold("eyes shut", _TEARS),
        _hold("wry", _WRY),
        _hold("stare", _STARE, Wave("pan", 0.08, 1)),
        _hold("half hidden", _HIDE),
    ),
}
"""Class of ``MEC_8``, or :data:`AMBIGUOUS` -> what a face may do."""
