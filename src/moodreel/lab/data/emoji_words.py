"""Weak labels for emoji that nobody rated: what the words of their names say, read by us.

A name such as "crying cat face" is a hint and no rating, and only training may use it. The table was written
by hand by somebody who had seen people's ratings of other emoji, so its agreement with those
(docs/accuracy.md) is flattered.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

EMOTIONS = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
"""Order of a row of :data:`WORDS`."""

WORDS: Mapping[str, tuple[float, float, float, float, float, float]] = {
    "angry": (0.95, 0.5, 0.1, 0.0, 0.2, 0.1),
    "astonished": (0.05, 0.1, 0.35, 0.1, 0.1, 0.95),
    "bandage": (0.1, 0.2, 0.3, 0.0, 0.6, 0.1),
    "bandaged": (0.1, 0.1, 0.1, 0.2, 0.6, 0.05),
    "biting lip": (0.05, 0.1, 0.4, 0.2, 0.15, 0.1),
    "blood": (0.2, 0.3, 0.5, 0.0, 0.3, 0.1),
    "broken": (0.3, 0.2, 0.2, 0.0, 0.9, 0.1),
    "chuckling": (0.0, 0.0, 0.05, 0.75, 0.0, 0.3),
    "clap": (0.0, 0.0, 0.0, 0.65, 0.0, 0.2),
    "clown": (0.05, 0.1, 0.25, 0.45, 0.05, 0.2),
    "cold": (0.1, 0.2, 0.4, 0.0, 0.35, 0.15),
    "cowboy": (0.0, 0.0, 0.0, 0.7, 0.0, 0.15),
    "cry": (0.15, 0.2, 0.35, 0.0, 0.95, 0.1),
    "crying": (0.15, 0.2, 0.35, 0.0, 0.95, 0.1),
    "cursing": (1.0, 0.6, 0.1, 0.0, 0.2, 0.15),
    "diagonal mouth": (0.2, 0.4, 0.25, 0.0, 0.35, 0.1),
    "disguise": (0.0, 0.0, 0.05, 0.5, 0.0, 0.2),
    "distraught": (0.4, 0.5, 0.3, 0.0, 0.7, 0.1),
    "dizzy": (0.1, 0.3, 0.35, 0.05, 0.2, 0.45),
    "downcast": (0.15, 0.3, 0.35, 0.0, 0.6, 0.1),
    "drool": (0.0, 0.05, 0.0, 0.6, 0.0, 0.2),
    "exhale": (0.25, 0.25, 0.15, 0.1, 0.4, 0.05),
    "exploding": (0.2, 0.15, 0.35, 0.15, 0.1, 0.9),
    "expressionless": (0.2, 0.35, 0.1, 0.0, 0.3, 0.15),
    "frown": (0.3, 0.4, 0.25, 0.0, 0.75, 0.1),
    "frowning": (0.25, 0.35, 0.3, 0.0, 0.6, 0.15),
    "grin": (0.0, 0.0, 0.0, 0.85, 0.0, 0.25),
    "grinning": (0.0, 0.0, 0.0, 0.85, 0.0, 0.25),
    "halo": (0.0, 0.0, 0.0, 0.7, 0.0, 0.1),
    "hand over mouth": (0.05, 0.15, 0.45, 0.1, 0.1, 0.65),
    "happy": (0.0, 0.0, 0.0, 0.75, 0.0, 0.15),
    "hear no evil": (0.05, 0.1, 0.35, 0.25, 0.1, 0.4),
    "heart": (0.0, 0.0, 0.0, 0.7, 0.05, 0.1),
    "hearts": (0.0, 0.0, 0.0, 0.8, 0.0, 0.15),
    "hooray": (0.0, 0.0, 0.0, 0.8, 0.0, 0.3),
    "hot": (0.15, 0.3, 0.2, 0.05, 0.3, 0.1),
    "hug": (0.0, 0.0, 0.0, 0.8, 0.0, 0.15),
    "invisible": (0.05, 0.15, 0.3, 0.0, 0.35, 0.15),
    "joy": (0.0, 0.0, 0.0, 0.95, 0.05, 0.2),
    "kissing": (0.0, 0.0, 0.0, 0.75, 0.0, 0.15),
    "laughing": (0.0, 0.0, 0.0, 0.95, 0.0, 0.25),
    "liar": (0.2, 0.45, 0.25, 0.05, 0.1, 0.15),
    "lost": (0.05, 0.15, 0.3, 0.0, 0.35, 0.15),
    "mask": (0.05, 0.4, 0.4, 0.0, 0.25, 0.05),
    "melting": (0.1, 0.2, 0.25, 0.15, 0.25, 0.15),
    "microbe": (0.15, 0.6, 0.5, 0.0, 0.2, 0.1),
    "money face": (0.0, 0.05, 0.0, 0.65, 0.0, 0.25),
    "monocle": (0.05, 0.15, 0.1, 0.1, 0.05, 0.4),
    "mouth open": (0.0, 0.05, 0.25, 0.15, 0.05, 0.8),
    "nauseated": (0.15, 0.9, 0.35, 0.0, 0.35, 0.05),
    "nerd": (0.0, 0.05, 0.05, 0.55, 0.0, 0.1),
    "neutral": (0.1, 0.2, 0.1, 0.1, 0.15, 0.1),
    "partying": (0.0, 0.0, 0.0, 0.95, 0.0, 0.4),
    "peeking": (0.05, 0.2, 0.65, 0.05, 0.15, 0.35),
    "pensive": (0.1, 0.15, 0.2, 0.0, 0.7, 0.05),
    "persevering": (0.35, 0.45, 0.4, 0.0, 0.55, 0.1),
    "pleading": (0.05, 0.1, 0.4, 0.15, 0.6, 0.1),
    "raised eyebrow": (0.25, 0.35, 0.1, 0.05, 0.05, 0.45),
    "rofl": (0.0, 0.0, 0.0, 1.0, 0.0, 0.25),
    "rolling eyes": (0.5, 0.5, 0.05, 0.0, 0.2, 0.1),
    "sad": (0.2, 0.3, 0.25, 0.0, 0.9, 0.05),
    "salute": (0.0, 0.0, 0.05, 0.4, 0.0, 0.1),
    "scared": (0.1, 0.2, 0.95, 0.0, 0.35, 0.5),
    "scream": (0.2, 0.25, 0.9, 0.0, 0.3, 0.7),
    "screaming": (0.2, 0.25, 0.9, 0.0, 0.3, 0.7),
    "shaking": (0.15, 0.15, 0.6, 0.05, 0.15, 0.6),
    "shushing": (0.05, 0.05, 0.2, 0.3, 0.0, 0.15),
    "sick": (0.1, 0.7, 0.4, 0.0, 0.45, 0.05),
    "sleep": (0.0, 0.05, 0.0, 0.15, 0.1, 0.0),
    "sleepy": (0.05, 0.15, 0.1, 0.05, 0.4, 0.05),
    "smile": (0.0, 0.0, 0.0, 0.85, 0.0, 0.2),
    "smiling": (0.0, 0.0, 0.0, 0.8, 0.0, 0.15),
    "smirk": (0.05, 0.1, 0.0, 0.55, 0.0, 0.1),
    "sneeze": (0.1, 0.45, 0.25, 0.0, 0.3, 0.1),
    "sparkles": (0.0, 0.0, 0.0, 0.6, 0.0, 0.3),
    "star struck": (0.0, 0.0, 0.0, 0.85, 0.0, 0.6),
    "stuck out tongue": (0.0, 0.0, 0.0, 0.7, 0.0, 0.25),
    "sunglasses": (0.0, 0.0, 0.0, 0.7, 0.0, 0.05),
    "surprised": (0.05, 0.1, 0.35, 0.1, 0.1, 0.9),
    "tears": (0.1, 0.1, 0.25, 0.1, 0.75, 0.1),
    "thermometer": (0.1, 0.4, 0.35, 0.0, 0.5, 0.05),
    "thinking": (0.1, 0.1, 0.15, 0.1, 0.05, 0.25),
    "tongue": (0.0, 0.0, 0.0, 0.7, 0.0, 0.25),
    "triumph": (0.7, 0.4, 0.05, 0.1, 0.1, 0.05),
    "unamused": (0.5, 0.55, 0.1, 0.0, 0.35, 0.1),
    "upside down": (0.1, 0.1, 0.05, 0.5, 0.05, 0.2),
    "victory": (0.0, 0.0, 0.0, 0.6, 0.0, 0.1),
    "vomit": (0.2, 1.0, 0.3, 0.0, 0.35, 0.15),
    "warm": (0.0, 0.0, 0.0, 0.8, 0.0, 0.05),
    "weary": (0.3, 0.4, 0.4, 0.0, 0.7, 0.1),
    "wink": (0.0, 0.0, 0.0, 0.6, 0.0, 0.2),
    "winky": (0.0, 0.0, 0.0, 0.65, 0.0, 0.25),
    "woozy": (0.1, 0.4, 0.2, 0.2, 0.2, 0.15),
    "worried": (0.15, 0.25, 0.75, 0.0, 0.6, 0.15),
    "x eyes": (0.2, 0.35, 0.4, 0.0, 0.35, 0.45),
    "yawn": (0.05, 0.15, 0.0, 0.05, 0.2, 0.05),
    "zany": (0.0, 0.05, 0.05, 0.7, 0.0, 0.35),
    "zipper": (0.1, 0.15, 0.35, 0.05, 0.1, 0.2),
}
"""Word or phrase -> share of people, in [0, 1], who we expect to see anger, disgust, fear, joy, sadness and
surprise: EmoTag's scale."""


def guess_scores(name: str) -> dict[str, float]:
    """Intensities in [-1, 1] of the six emotions that an emoji's name suggests; empty where no word is known.

    The mean over the known words and phrases of the name; a word inside a known phrase does not count.
    """
    text = f" {' '.join(re.findall(r'[a-z]+', name.lower()))} "
    found = []
    for words in sorted(WORDS, key=len, reverse=True):
        if f" {words} " in text:
            found.append(WORDS[words])
            text = text.replace(f" {words} ", "  ")
    if not found:
        return {}
    means = [sum(column) / len(found) for column in zip(*found, strict=True)]
    return {emotion: round(2 * mean - 1, 3) for emotion, mean in zip(EMOTIONS, means, strict=True)}
