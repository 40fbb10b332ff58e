"""Emotion recognition in animated GIFs and short videos: what is felt, when, and where in the frame.

Names are looked up when first used, so that ``import moodreel`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moodreel.errors import (
        BundleError,
        CorruptMedia,
        DataError,
        LimitExceeded,
        MediaError,
        MissingExtra,
        MoodreelError,
        QueryError,
        SettingsError,
        UnsupportedMedia,
    )
    from moodreel.media import Limits, read_clip
    from moodreel.runtime.recognizer import Recognizer, load
    from moodreel.types import Clip, Result

    __version__: str

__all__ = [
    "BundleError",
    "Clip",
    "CorruptMedia",
    "DataError",
    "LimitExceeded",
    "Limits",
    "MediaError",
    "MissingExtra",
    "MoodreelError",
    "QueryError",
    "Recognizer",
    "Result",
    "SettingsError",
    "UnsupportedMedia",
    "__version__",
    "load",
    "read_clip",
]

_HOMES = {
    "Clip": "moodreel.types",
    "Limits": "moodreel.media",
    "Recognizer": "moodreel.runtime.recognizer",
    "Result": "moodreel.types",
    "load": "moodreel.runtime.recognizer",
    "read_clip": "moodreel.media",
}
"""Public name -> module; the errors live in ``moodreel.errors``."""


def __getattr__(name: str) -> object:
    if name == "__version__":
        from importlib.metadata import version

        value: object = version("moodreel")
    elif name in __all__:
        value = getattr(import_module(_HOMES.get(name, "moodreel.errors")), name)
    else:
        raise AttributeError(f"module 'moodreel' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
