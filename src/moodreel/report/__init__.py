"""Results for people to look at: pages, overlays and plots.

Names are looked up when first used: the terminal's chart needs none of them, nor their libraries.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from moodreel.report.figures import plot_attention, plot_circumplex, plot_emotions
    from moodreel.report.html import Report, write_report
    from moodreel.report.overlay import OverlayFolder, OverlaySettings, name_overlay, write_overlay

__all__ = [
    "OverlayFolder",
    "OverlaySettings",
    "Report",
    "name_overlay",
    "plot_attention",
    "plot_circumplex",
    "plot_emotions",
    "write_overlay",
    "write_report",
]

_HOMES = {
    "Report": "html",
    "plot_attention": "figures",
    "plot_circumplex": "figures",
    "plot_emotions": "figures",
    "write_report": "html",
}
"""Public name -> module; the others live in ``overlay``."""


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module 'moodreel.report' has no attribute {name!r}")
    value: object = getattr(import_module(f"moodreel.report.{_HOMES.get(name, 'overlay')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
