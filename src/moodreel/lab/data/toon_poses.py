"""Poses of toon faces: facial action units (FACS), gaze, head and drawn signs, and the emotions' apexes."""

from __future__ import annotations

from collections.abc import Mapping

ACTION_UNITS: Mapping[str, str] = {
    "AU1": "inner brow up",
    "AU2": "outer brow up",
    "AU4": "brows down and together",
    "AU5": "upper lids up",
    "AU6": "cheeks up",
    "AU7": "lids tight",
    "AU9": "nose wrinkled",
    "AU10": "upper lip up",
    "AU12": "lip corners up",
    "AU14": "lip corners tight",
    "AU15": "lip corners down",
    "AU17": "chin up",
    "AU18": "lips puckered",
    "AU19": "tongue out",
    "AU20": "lips stretched",
    "AU23": "lips tight",
    "AU24": "lips pressed",
    "AU25": "lips apart",
    "AU26": "jaw down",
    "AU43": "eyes shut",
}
"""Facial action units that the face knows, each in [0, 1]."""

POSTURE: Mapping[str, str] = {
    "gaze_x": "eyes to the picture's right",
    "gaze_y": "eyes down",
    "pan": "head turned to the picture's right, 1 is 45 degrees",
    "tilt": "head bowed, 1 is 45 degrees",
    "roll": "head leant to the picture's right, 1 is 45 degrees",
    "skew": "AU2, AU4, AU12 and AU14 on one side only: 1 the picture's right, -1 its left",
    "shift_x": "head to the right, in head heights",
    "shift_y": "head down, in head heights",
    "lean": "head nearer, 1 doubles its size",
    "shoulders": "shoulders up, in tenths of the head's height",
}
"""Gaze and posture, each about [-1, 1]."""

SIGNS: Mapping[str, str] = {
    "blush": "red cheeks",
    "flush": "a red face; below 0 a pale one",
    "green": "a green face",
    "tears": "tears",
    "sweat": "a drop of sweat",
    "sparkle": "more light in the eyes",
}
"""What is no action unit but a drawn sign, each in [0, 1]; half of the clips are drawn without."""

CHANNELS = (*ACTION_UNITS, *POSTURE, *SIGNS, "valence")
"""Everything that moves, in the order of the last axis of every state array. ``valence`` is the truth of the
trace, in [-1, 1]."""

INDEX: Mapping[str, int] = {name: i for i, name in enumerate(CHANNELS)}
MIRRORED = ("gaze_x", "pan", "roll", "skew", "shift_x")
"""Channels that change sign when a clip is flipped."""

Pose = Mapping[str, float]

NEUTRAL: Pose = {}
SMILE: Pose = {"AU6": 0.6, "AU12": 0.8, "AU25": 0.35, "valence": 0.7}
BEAM: Pose = {"AU1": 0.2, "AU2": 0.2, "AU6": 0.9, "AU12": 1.0, "AU25": 0.85, "AU26": 0.42, "AU43": 0.15,
              "roll": 0.12, "sparkle": 0.5, "valence": 0.9}  # fmt: skip
SOFT: Pose = {"AU1": 0.25, "AU2": 0.15, "AU6": 0.35, "AU12": 0.55, "valence": 0.5}
SERENE: Pose = {"AU1": 0.3, "AU2": 0.15, "AU6": 0.3, "AU12": 0.55, "AU43": 1.0, "roll": 0.12, "tilt": 0.1,
                "valence": 0.6}  # fmt: skip
BLISS: Pose = {"AU1": 0.6, "AU6": 0.9, "AU12": 0.7, "AU25": 0.6, "AU26": 0.12, "AU43": 1.0, "tilt": -0.5,
               "roll": -0.2, "blush": 0.7, "valence": 0.85}  # fmt: skip
LAUGH: Pose = {"AU6": 1.0, "AU7": 0.3, "AU12": 1.0, "AU25": 1.0, "AU26": 0.75, "AU43": 0.95, "tilt": -0.25,
               "tears": 0.45, "shoulders": 0.4, "valence": 0.9}  # fmt: skip
THRILL: Pose = {"AU1": 0.8, "AU2": 0.9, "AU5": 0.8, "AU12": 1.0, "AU25": 1.0, "AU26": 0.75, "sparkle": 1.0,
                "lean": 0.1, "shoulders": 0.5, "valence": 0.9}  # fmt: skip
PROUD: Pose = {"AU1": 0.25, "AU2": 0.45, "AU12": 0.6, "AU17": 0.3, "AU43": 0.6, "tilt": -0.55,
               "shoulders": 0.5, "gaze_y": 0.25, "valence": 0.7}  # fmt: skip
APPROVE: Pose = {"AU1": 0.15, "AU2": 0.2, "AU6": 0.4, "AU12": 0.65, "AU14": 0.7, "AU17": 0.3, "AU24": 0.3,
                 "AU43": 0.3, "valence": 0.65}  # fmt: skip
EFFORT: Pose = {"AU4": 0.45, "AU7": 0.4, "AU17": 0.4, "AU24": 0.9, "gaze_y": 0.8, "tilt": 0.25, "sweat": 0.4,
                "valence": -0.15}  # fmt: skip
STARTLE: Pose = {"AU1": 1.0, "AU2": 1.0, "AU5": 1.0, "AU25": 0.9, "AU26": 0.9, "shift_y": -0.06,
                 "lean": -0.05, "valence": 0.1}  # fmt: skip
WONDER: Pose = {"AU1": 0.9, "AU2": 0.9, "AU5": 0.9, "AU25": 0.85, "AU26": 0.6, "lean": 0.05, "valence": 0.25}
TERROR: Pose = {"AU1": 1.0, "AU2": 0.35, "AU4": 0.65, "AU5": 1.0, "AU20": 0.9, "AU25": 0.8, "AU26": 0.2,
                "flush": -0.8, "sweat": 0.8, "shoulders": 0.8, "tilt": 0.08, "lean": -0.08,
                "valence": -0.8}  # fmt: skip
EXHALE: Pose = {"AU1": 0.5, "AU18": 0.9, "AU25": 0.6, "AU26": 0.15, "AU43": 0.85, "tilt": 0.15, "sweat": 0.5,
                "shoulders": -0.6, "valence": 0.1}  # fmt: skip
EASE: Pose = {"AU1": 0.35, "AU6": 0.5, "AU12": 0.7, "AU25": 0.25, "AU43": 0.15, "roll": 0.12,
              "shoulders": -0.5, "sweat": 0.4, "valence": 0.6}  # fmt: skip
GLARE: Pose = {"AU4": 1.0, "AU5": 0.35, "AU7": 0.7, "AU23": 0.7, "AU24": 0.7, "AU15": 0.3, "tilt": 0.2,
               "flush": 0.6, "lean": 0.04, "valence": -0.6}  # fmt: skip
RAGE: Pose = {"AU4": 1.0, "AU5": 0.45, "AU7": 0.6, "AU9": 0.4, "AU10": 0.6, "AU15": 0.35, "AU20": 0.35,
              "AU23": 0.6, "AU25": 0.9, "AU26": 0.3, "tilt": 0.22, "flush": 1.0, "lean": 0.12,
              "shoulders": 0.5, "valence": -0.9}  # fmt: skip
SNEER: Pose = {"AU2": 0.75, "AU4": 0.45, "AU7": 0.35, "AU12": 0.75, "AU14": 1.0, "AU43": 0.45, "skew": 1.0,
               "gaze_x": -0.75, "pan": 0.3, "tilt": -0.3, "valence": -0.45}  # fmt: skip
SCORN: Pose = {"AU2": 0.6, "AU12": 0.5, "AU14": 0.8, "AU43": 0.35, "skew": 1.0, "gaze_x": 0.3, "gaze_y": -1.0,
               "pan": 0.25, "roll": 0.1, "valence": -0.5}  # fmt: skip
DISGUST: Pose = {"AU2": 0.5, "AU4": 0.75, "AU6": 0.5, "AU7": 0.7, "AU9": 1.0, "AU10": 1.0, "AU15": 0.6,
                 "AU25": 0.55, "AU43": 0.3, "skew": 0.7, "pan": -0.45, "tilt": -0.12, "roll": -0.15,
                 "gaze_x": 0.8, "green": 0.9, "valence": -0.7}  # fmt: skip
YUCK: Pose = {"AU4": 0.8, "AU6": 0.4, "AU7": 0.8, "AU9": 1.0, "AU10": 0.7, "AU15": 0.7, "AU19": 1.0,
              "AU25": 0.9, "AU26": 0.4, "AU43": 0.5, "pan": 0.35, "green": 1.0, "valence": -0.8}  # fmt: skip
GRIEF: Pose = {"AU1": 1.0, "AU4": 0.65, "AU15": 1.0, "AU17": 0.7, "AU43": 0.3, "gaze_y": 0.35, "tilt": 0.15,
               "roll": -0.1, "tears": 1.0, "shoulders": -0.4, "valence": -0.8}  # fmt: skip
SAD: Pose = {"AU1": 0.9, "AU4": 0.4, "AU15": 0.7, "AU17": 0.3, "AU43": 0.2, "gaze_y": 0.3, "tilt": 0.1,
             "tears": 0.4, "valence": -0.6}  # fmt: skip
LOOK_AWAY: Pose = {"AU1": 0.3, "AU12": 0.35, "AU14": 0.4, "AU24": 0.85, "AU43": 0.3, "gaze_x": 0.7,
                   "gaze_y": 0.9, "pan": 0.75, "tilt": 0.4, "roll": 0.1, "blush": 1.0,
                   "valence": -0.3}  # fmt: skip
SHY: Pose = {"AU1": 0.4, "AU6": 0.4, "AU12": 0.6, "AU24": 0.5, "gaze_x": -0.3, "gaze_y": 0.6, "pan": 0.5,
             "tilt": 0.3, "roll": 0.15, "blush": 1.0, "valence": -0.1}  # fmt: skip
HANG: Pose = {"AU1": 0.7, "AU4": 0.3, "AU15": 0.75, "AU17": 0.6, "AU43": 0.7, "gaze_y": 1.0, "tilt": 0.72,
              "blush": 0.8, "shoulders": 0.6, "shift_y": 0.1, "valence": -0.75}  # fmt: skip
SHIFTY_L: Pose = {"AU1": 0.9, "AU4": 0.45, "AU20": 0.45, "AU24": 0.6, "AU15": 0.35, "gaze_x": -1.0,
                  "gaze_y": 0.2, "pan": -0.25, "tilt": 0.12, "sweat": 1.0, "shoulders": 0.7,
                  "valence": -0.55}  # fmt: skip
SHIFTY_R: Pose = {**SHIFTY_L, "gaze_x": 1.0, "pan": 0.25}
SORRY: Pose = {"AU1": 1.0, "AU4": 0.45, "AU15": 0.55, "AU17": 0.5, "AU24": 0.4, "gaze_y": -0.45, "tilt": 0.42,
               "sweat": 0.6, "shoulders": 0.6, "valence": -0.6}  # fmt: skip
