"""Results made by hand: no network, every score known."""

import numpy as np

from moodreel.emotions import EKMAN_7, GIFGIF_17, MEC_8, QUADRANTS, locate_on_circumplex
from moodreel.types import Result, SceneReading


def make_result(source, size=(20, 20), frames=2, duration=1.0, emotions=None, attention=None, **changes):
    """A kavan result; ``emotions`` names the supervised ones -> intensity."""
    emotions = {"happiness": 0.5, "anger": -0.5, "sadness": -0.25} if emotions is None else emotions
    position = locate_on_circumplex(emotions) or (None, None)
    if attention is None:
        attention = np.full((4, 7, 7), 1 / 49, np.float32)
    facts = {
        "model": "kavan",
        "model_version": "0.1.0",
        "width": size[1],
        "height": size[0],
        "frames": frames,
        "duration": duration,
        "category": "pleasure_arousal",
        "confidence": 0.625,
        "emotions": {name: emotions.get(name) for name in GIFGIF_17},
        "probabilities": dict(zip(QUADRANTS, (0.625, 0.25, 0.125, None), strict=True)),
        "valence": position[0],
        "arousal": position[1],
        "attention": attention,
        "attention_times": (np.arange(len(attention)) + 0.5) * duration / len(attention),
    }
    return Result(str(source), **{**facts, **changes})


def make_face(source, **changes):
    """A result of face."""
    shares = dict(zip(EKMAN_7, (0.05, 0.0, 0.1, 0.5, 0.2, 0.1, 0.05), strict=True))
    facts = {"width": 20, "height": 20, "frames": 2, "duration": 1.0}
    facts |= {"category": "happiness", "confidence": 0.5, "probabilities": shares}
    return Result(str(source), "face", "0.1.0", **{**facts, **changes})


def make_error(source, reason="no such file"):
    """A failed input."""
    return Result(str(source), "kavan", "0.1.0", error=reason)


def peak_at(row, column, size=7, count=4):
    """[count, size, size] attention, all of it in one cell."""
    attention = np.zeros((count, size, size), np.float32)
    attention[:, row, column] = 1
    return attention


def make_scene(source, scene=None, faces=1, **changes):
    """A result of caca-rnn: a face seen at 0.0 and 0.2 of 1 s, moving right; moments at 0, 0.2 ... 0.8 s."""
    shares = dict(zip(MEC_8, (0.5, 0.2, 0.1, 0.1, 0.05, 0.05, 0.0, 0.0), strict=True))
    scene = SceneReading(**{**SEEN, **(scene or {})})
    facts = {"width": 20, "height": 20, "frames": 2, "duration": 1.0, "faces": faces, "scene": scene}
    facts |= {"category": "happy", "confidence": 0.5, "probabilities": shares}
    return Result(str(source), "caca-rnn", "0.1.0", **{**facts, **changes})


SEEN = {
    "share": 0.4,
    "face": 0,
    "times": np.array([0.0, 0.2]),
    "boxes": np.array([[0.1, 0.2, 0.3, 0.6], [0.3, 0.2, 0.5, 0.6]]),
    "moment_times": np.array([0.0, 0.2, 0.4, 0.6, 0.8]),
    "moments": np.array([0.1, 0.5, 0.2, 0.2, 0.0]),
}
NO_FACE = {
    "share": 0.0, "face": None, "times": np.zeros(0), "boxes": np.zeros((0, 4)), "moments": None,
    "moment_times": None, "reason": "no face was found: read from the scene alone",
}  # fmt: skip
