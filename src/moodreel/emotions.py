"""Vocabularies, explicit remaps between them, and the circumplex.

Everything here is a table that can be read and replaced; nothing is computed by name tricks.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

GIFGIF_17 = (
    "amusement",
    "anger",
    "contempt",
    "contentment",
    "disgust",
    "embarrassment",
    "excitement",
    "fear",
    "guilt",
    "happiness",
    "pleasure",
    "pride",
    "relief",
    "sadness",
    "satisfaction",
    "shame",
    "surprise",
)
"""The 17 emotions of MIT GIFGIF (KAVAN Sec. 4.1), in alphabetical order."""

EKMAN_7 = ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise")
"""Six basic emotions and neutral, as in FER2013, in alphabetical order."""

MEC_8 = ("happy", "sad", "angry", "surprise", "disgust", "worried", "anxious", "neutral")
"""The eight classes of MEC 2017 / CHEAVD 2.0 (CACA-RNN Sec. V)."""

EMOTAG_8 = ("anger", "anticipation", "disgust", "fear", "joy", "sadness", "surprise", "trust")
"""Plutchik's eight, as rated in EmoTag1200."""

QUADRANTS = ("pleasure_arousal", "misery_arousal", "misery_sleepiness", "pleasure_sleepiness")
"""The four categories of KAVAN Fig. 4, counter-clockwise from valence > 0, arousal > 0."""

VOCABULARIES: Mapping[str, tuple[str, ...]] = {
    "gifgif": GIFGIF_17,
    "ekman": EKMAN_7,
    "mec": MEC_8,
    "emotag": EMOTAG_8,
    "quadrant": QUADRANTS,
}
"""Label vocabularies by the name used in manifest columns ``label_<vocabulary>``."""

QUADRANT_OF: Mapping[str, str] = {
    "amusement": "pleasure_arousal",
    "excitement": "pleasure_arousal",
    "happiness": "pleasure_arousal",
    "pride": "pleasure_arousal",
    "surprise": "pleasure_arousal",
    "anger": "misery_arousal",
    "contempt": "misery_arousal",
    "disgust": "misery_arousal",
    "fear": "misery_arousal",
    "embarrassment": "misery_sleepiness",
    "guilt": "misery_sleepiness",
    "sadness": "misery_sleepiness",
    "shame": "misery_sleepiness",
    "contentment": "pleasure_sleepiness",
    "pleasure": "pleasure_sleepiness",
    "relief": "pleasure_sleepiness",
    "satisfaction": "pleasure_sleepiness",
}
"""Quadrant of each GIFGIF emotion: our reading of KAVAN Fig. 4, which the text does not spell out."""

CIRCUMPLEX_DEGREES: Mapping[str, float] = {
    # Russell (1980), circular scaling of 28 affect words; the word read is named where it differs.
    "happiness": 7.8,  # happy
    "amusement": 24.9,  # delighted
    "excitement": 48.6,  # excited
    "surprise": 69.8,  # astonished
    "anger": 99.0,  # angry
    "fear": 115.9,  # afraid
    "sadness": 207.5,  # sad
    "relief": 318.0,  # relaxed
    "satisfaction": 319.0,  # satisfied
    "contentment": 323.0,  # content
    "pleasure": 353.2,  # pleased
    # Not among Russell's words: placed by us between their neighbours, inside the quadrant above.
    "pride": 35.0,
    "disgust": 130.0,
    "contempt": 145.0,
    "embarrassment": 185.0,
    "shame": 195.0,
    "guilt": 200.0,
}
"""Angle of each emotion on the circumplex: 0 is pleasure, 90 is arousal."""

CIRCUMPLEX: Mapping[str, tuple[float, float]] = {
    name: (math.cos(math.radians(angle)), math.sin(math.radians(angle)))
    for name, angle in CIRCUMPLEX_DEGREES.items()
}
"""(valence, arousal) of each GIFGIF emotion on the unit circle."""

EMOTAG_TO_GIFGIF: Mapping[str, str] = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "joy": "happiness",
    "sadness": "sadness",
    "surprise": "surprise",
}
"""EmoTag emotions with a GIFGIF counterpart; anticipation and trust have none."""

EKMAN_TO_MEC: Mapping[str, str] = {
    "anger": "angry",
    "disgust": "disgust",
    "happiness": "happy",
    "neutral": "neutral",
    "sadness": "sad",
    "surprise": "surprise",
}
"""Ekman classes with a counterpart in MEC 2017; fear has none, nor have worried and anxious in turn."""

STAND_INS: Mapping[str, Mapping[str, Mapping[str, str]]] = {"mec": {"ekman": EKMAN_TO_MEC}}
"""Vocabulary -> others whose label counts where a row has none of its own, in this order -> the mapping."""

EKMAN_TO_GIFGIF: Mapping[str, str] = {
    "anger": "anger",
    "disgust": "disgust",
    "fear": "fear",
    "happiness": "happiness",
    "sadness": "sadness",
    "surprise": "surprise",
}
"""Ekman classes with a GIFGIF counterpart; neutral is the absence of all of them."""


CLASS_ALIASES: Mapping[str, Mapping[str, str]] = {
    "ekman": {
        "angry": "anger",
        "disgusted": "disgust",
        "fearful": "fear",
        "afraid": "fear",
        "happy": "happiness",
        "joy": "happiness",
        "sad": "sadness",
        "surprised": "surprise",
    },
    "mec": {
        "happiness": "happy",
        "sadness": "sad",
        "anger": "angry",
        "surprised": "surprise",
        "disgusted": "disgust",
        "worry": "worried",
        "anxiety": "anxious",
    },
}
"""Other names that data sets give to a class, in lower case, by vocabulary."""

DFEW_CODES: Mapping[str, str] = {
    "1": "happiness",
    "2": "sadness",
    "3": "neutral",
    "4": "anger",
    "5": "surprise",
    "6": "disgust",
    "7": "fear",
}
"""Numbers of DFEW's label files (Jiang et al. 2020) as Ekman classes."""


def name_class(name: str, vocabulary: str) -> str | None:
    """Class of a vocabulary that a data set's name for it stands for; None where it is unknown.

    Args:
        name: as the data set writes it, in any case.
        vocabulary: one of :data:`VOCABULARIES`.
    """
    plain = name.strip().lower()
    chosen = CLASS_ALIASES.get(vocabulary, {}).get(plain, plain)
    return chosen if chosen in VOCABULARIES[vocabulary] else None


def locate_on_circumplex(intensities: Mapping[str, float | None]) -> tuple[float, float] | None:
    """Mean position on the circumplex, weighted by (intensity + 1) / 2.

    Args:
        intensities: GIFGIF emotion -> [-1, 1]; None entries are left out.

    Returns:
        (valence, arousal), each in [-1, 1]; None when no weight is positive.
    """
    weights = {k: (v + 1) / 2 for k, v in intensities.items() if v is not None}
    total = sum(weights.values())
    if total <= 0:
        return None
    valence = sum(w * CIRCUMPLEX[k][0] for k, w in weights.items()) / total
    arousal = sum(w * CIRCUMPLEX[k][1] for k, w in weights.items()) / total
    return valence, arousal
