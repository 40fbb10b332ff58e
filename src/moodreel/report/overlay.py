"""The animation with what the model looked at and the strongest scores beside it, in true time.

Attention lies over the picture as heat; of CACA-RNN, the face has a box and the scene's moments a strip.

Frames are decoded, drawn and encoded one after another: never more than one of them is held.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from moodreel.errors import MoodreelError, SettingsError
from moodreel.media import (
    Limits,
    Media,
    draw_palette,
    encode_webp,
    open_media,
    write_gif,
    write_mp4,
    write_webp,
)
from moodreel.report.heat import blend_heat, interpolate_attention, scale_attention
from moodreel.report.panel import attach_panel
from moodreel.report.scene import attach_strip, draw_box, lay_bars, place_boxes
from moodreel.report.scene_text import name_face, tell_apart
from moodreel.types import FloatArray, Result, UInt8Array

if TYPE_CHECKING:
    from moodreel.media.pool import DecoderPool

FORMATS = ("gif", "webp", "mp4")
"""Formats of ``--overlay``."""

SHORTEST = {"gif": 0.02, "webp": 0.011, "mp4": 0.001}
"""Shortest time of a frame in seconds, by format: players stretch a shorter one to 0.1 s."""

SIDES = {"gif": 400, "webp": 640, "mp4": 640}
"""Pixels of the picture's longer side, at most, by format: GIF stores large pictures badly."""

STILL_SECONDS = 2.0
"""How long a video shows a still."""


@dataclass(frozen=True)
class OverlaySettings:
    """What an overlay may become.

    Attributes:
        side: pixels of the picture's longer side, at most; None is that of the format in :data:`SIDES`.
            A tiny picture grows by a whole factor.
        seconds: of the clip, from its start, at most.
        frames: at most; of more, every second, third, ... stays and lasts as long as those it stands for.
        panel: whether the strongest scores stand beside the picture, and the moments of a scene below it.
        quality: of WebP, 0 to 100.
        effort: of WebP, 0 (quick) to 6 (small).
    """

    side: int | None = None
    seconds: float = 20.0
    frames: int = 300
    panel: bool = True
    quality: int = 75
    effort: int = 4

    def __post_init__(self) -> None:
        least = {"side": 16, "seconds": 0.1, "frames": 1, "panel": False, "quality": 0, "effort": 0}
        most = {"side": 4096, "quality": 100, "effort": 6}
        for entry in fields(self):
            value, low = getattr(self, entry.name), least[entry.name]
            if value is None and entry.name == "side":
                continue
            if not low <= value <= most.get(entry.name, float("inf")):
                expected = f"{low} to {most[entry.name]}" if entry.name in most else f"at least {low}"
                raise SettingsError(f"OverlaySettings.{entry.name}", value, expected)


@dataclass(frozen=True, eq=False)
class Plan:
    """Which frames an overlay shows.

    Attributes:
        indices: of the clip's frames, ascending.
        starts: [n] seconds, as in the clip.
        durations: [n] seconds.
        shown: seconds in all.
        step: every how many frames one was taken.
        total: seconds of the clip.
    """

    indices: list[int]
    starts: FloatArray
    durations: FloatArray
    shown: float
    step: int
    total: float

    @property
    def note(self) -> str | None:
        """What was left out, in words; None where nothing was."""
        parts = []
        if self.shown < self.total:
            parts.append(f"first {self.shown:.3g} s of {self.total:.1f} s")
        if self.step > 1:
            parts.append("every 2nd frame" if self.step == 2 else f"one frame in {self.step}")
        return ", ".join(parts) or None


def plan_frames(media: Media, settings: OverlaySettings, shortest: float = 0.0) -> Plan:
    """Chooses frames within the bounds of the settings.

    Times stay true: the time of a frame that is left out goes to the one before.

    Args:
        media: gives the times.
        settings: bounds.
        shortest: seconds that a frame must last to be shown as long as it says; shorter ones are left out.
    """
    timeline = media.timeline
    starts, total = timeline.starts, media.duration
    if total <= 0:
        return Plan([0], np.zeros(1), np.zeros(1), 0.0, 1, 0.0)
    end = min(total, settings.seconds)
    ends = np.append(starts[1:], total)
    kept: list[int] = []
    for index in np.flatnonzero(starts < end).tolist():
        # 1e-9: 0.02 s as the difference of two sums must not fall short of 0.02.
        if kept and starts[index] - starts[kept[-1]] < shortest - 1e-9:
            continue
        kept.append(index)
    while len(kept) > 1 and end - starts[kept[-1]] < shortest - 1e-9:
        kept.pop()
    step = -(-len(kept) // settings.frames)
    kept = kept[::step]
    durations = np.diff(np.append(starts[kept], end))
    if len(kept) == len(media) and end == total:
        durations = ends - starts if (timeline.durations <= 0).any() else timeline.durations
    return Plan(kept, starts[kept], np.asarray(durations), float(end), step, float(total))


def fit_size(height: int, width: int, side: int) -> tuple[int, int, int]:
    """(height, width) of the picture within ``side``, and the whole factor by which a tiny one grows."""
    longer = max(height, width)
    if longer > side:
        return max(1, round(height * side / longer)), max(1, round(width * side / longer)), 1
    return height, width, max(1, min(side, 160) // longer)


def draw_overlay(
    result: Result, media: Media, plan: Plan, side: int, panel: bool = True
) -> Iterator[UInt8Array]:
    """Draws the frames of an overlay, one after another.

    Args:
        result: of the same input as ``media``.
        media: the input, opened.
        plan: which frames.
        side: of the picture, in pixels; the longer one, at most.
        panel: whether the strongest scores stand beside it, and the moments of a scene below it.

    Yields:
        [H, W, 3] uint8, one a planned frame, all of one size.

    Raises:
        MediaError: the content is broken.
    """
    height, width, factor = fit_size(media.height, media.width, side)
    strongest = 0.0 if result.attention is None else float(result.attention.max())
    middles = plan.starts + plan.durations / 2
    weights = interpolate_attention(result, middles)
    boxes = _place_boxes(result, media, plan)
    bars = lay_bars(result.scene, plan.total) if panel else None
    frames = media.read_resized(plan.indices, (height, width))
    for (_, frame), weight, box, start in zip(frames, weights, boxes, plan.starts, strict=True):
        if factor > 1:
            frame = np.repeat(np.repeat(frame, factor, axis=0), factor, axis=1)
        if weight is not None:
            frame = blend_heat(frame, scale_attention(weight, strongest))
        if box is not None:
            frame = draw_box(frame, box, name_face(result) or "face")
        if bars is not None:
            frame = attach_strip(frame, bars, float(start) / plan.total if plan.total > 0 else 0.0)
        if panel:
            frame = attach_panel(frame, result, plan.note)
        yield frame


def _place_boxes(result: Result, media: Media, plan: Plan) -> list[FloatArray | None]:
    """The face's box in each planned frame; None where there is none. The whole frame gets no box."""
    if result.scene is None or result.faces is None:
        return [None] * len(plan.indices)
    boxes = place_boxes(result.scene, media.timeline.starts, plan.indices)
    return [None if np.isnan(box).any() else box for box in boxes]


@dataclass(frozen=True, eq=False)
class Picture:
    """An overlay to be shown in a page.

    Attributes:
        moving, still: content of two WebP files: the animation, and its first frame. Equal for a still.
        height, width: pixels.
        note: what was left out; None where nothing was.
    """

    moving: bytes
    still: bytes
    height: int
    width: int
    note: str | None


def encode_overlay(
    result: Result, source: Any = None, settings: OverlaySettings | None = None, limits: Limits | None = None
) -> Picture:
    """An overlay as WebP in memory.

    Args:
        result: of one input, without an error.
        source: as in :func:`moodreel.media.open_media`; None is the path ``result.source``.
        settings: None for the defaults.
        limits: what may be decoded.

    Raises:
        MediaError: the input cannot be read.
    """
    settings = settings or OverlaySettings()
    media = open_media(result.source if source is None else source, limits or Limits())
    plan = plan_frames(media, settings, SHORTEST["webp"])
    first: list[UInt8Array] = []

    def keep_first() -> Iterator[UInt8Array]:
        for frame in draw_overlay(result, media, plan, settings.side or SIDES["webp"], settings.panel):
            first[:] = first or [frame]
            yield frame

    moving = encode_webp(keep_first(), plan.durations, 0, settings.quality, settings.effort)
    height, width = first[0].shape[:2]
    is_still = len(plan.indices) == 1
    still = moving if is_still else encode_webp(first, [0.0], 0, settings.quality, settings.effort)
    return Picture(moving, still, height, width, plan.note)


def write_overlay(
    result: Result,
    path: str | os.PathLike[str],
    source: Any = None,
    settings: OverlaySettings | None = None,
    limits: Limits | None = None,
) -> str | None:
    """Writes an overlay: every frame of the clip with its own duration, within the bounds of the settings.

    Args:
        result: of one input, without an error. Without attention (``face``) the picture stays as it is; of
            ``caca-rnn`` it shows the face that was read.
        path: ends in one of :data:`FORMATS`; the file appears whole or not at all. GIF and WebP loop as the
            clip says, and for ever where it does not say.
        source: as in :func:`moodreel.media.open_media`; None is the path ``result.source``.
        settings: None for the defaults.
        limits: what may be decoded.

    Returns:
        What was left out, in words; None where nothing was.

    Raises:
        MediaError: the input cannot be read, or the file cannot be written.
        SettingsError: the result is an error, or the suffix is none of ours.
    """
    kind = Path(path).suffix.lower().removeprefix(".")
    if kind not in FORMATS:
        raise SettingsError("path", str(path), "a name that ends in " + ", ".join(f".{f}" for f in FORMATS))
    if not result.ok:
        raise SettingsError("result.error", result.error, "a result without an error")
    settings = settings or OverlaySettings()
    media = open_media(result.source if source is None else source, limits or Limits())
    plan = plan_frames(media, settings, SHORTEST[kind])
    side = settings.side or SIDES[kind]
    frames = draw_overlay(result, media, plan, side, settings.panel)
    loop = 0 if media.timeline.loop is None else media.timeline.loop
    if kind == "webp":
        write_webp(path, frames, plan.durations, loop, settings.quality, settings.effort)
    elif kind == "mp4":
        write_mp4(path, frames, plan.durations if plan.total > 0 else [STILL_SECONDS])
    else:
        few = draw_overlay(result, media, _thin_plan(plan), side, settings.panel)
        write_gif(path, frames, plan.durations, loop, draw_palette(list(few)))
    return plan.note


def _thin_plan(plan: Plan) -> Plan:
    """A dozen of the frames, for a palette drawn in advance: writing then holds one frame at a time."""
    chosen = np.unique(np.linspace(0, len(plan.indices) - 1, 12).round().astype(int))
    indices = [plan.indices[k] for k in chosen]
    return replace(plan, indices=indices, starts=plan.starts[chosen], durations=plan.durations[chosen])


def name_overlay(source: str, kind: str, face: int | None = None) -> str:
    """The file name of an overlay: the input's own name and eight digits that stand for its whole path.

    It depends on nothing else, so two inputs never share one and a second run finds it again.

    Args:
        source: ``path`` of the row.
        kind: one of :data:`FORMATS`.
        face: of a clip with several faces: which one was read.
    """
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:8]
    stem = Path(source).stem
    kept = "".join(c if c.isalnum() or c in "-_." else "_" for c in stem).strip("._")
    while len(kept.encode("utf-8", "replace")) > 100:
        kept = kept[:-1]
    which = "" if face is None else f"-face{face}"
    return f"{kept or 'clip'}{which}-{digest}.{kind}"


@contextmanager
def open_source(result: Result, source: Any, decoders: DecoderPool | None) -> Iterator[Any]:
    """What an overlay is drawn from: the input, or opened by a decoder in a process of its own.

    Args:
        result: of one input.
        source: as in :func:`moodreel.media.open_media`; None is the path ``result.source``.
        decoders: None opens nothing yet.
    """
    named = result.source if source is None else source
    if decoders is None:
        yield named
    else:
        with decoders.opened(named) as media:
            yield media


class OverlayFolder:
    """Overlays of many results in a folder, one file each, named by :func:`name_overlay`.

    Args:
        folder: made where it is missing (its parent must be there).
        kind: one of :data:`FORMATS`.
        settings: None for the defaults.
        decoders: who decodes; None decodes in this process.

    Raises:
        SettingsError: another format.
        OSError: the folder cannot be made.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        kind: str = "gif",
        settings: OverlaySettings | None = None,
        decoders: DecoderPool | None = None,
    ) -> None:
        if kind not in FORMATS:
            raise SettingsError("overlay-format", kind, "one of " + ", ".join(FORMATS))
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self._kind = kind
        self._settings, self._decoders = settings, decoders

    def add(self, result: Result, source: Any = None) -> list[str]:
        """Writes the overlay of a result; of an error, nothing.

        Returns:
            Why it could not be drawn, one line; nothing where it could.
        """
        if not result.ok:
            return []
        path = self.folder / name_overlay(result.source, self._kind, tell_apart(result))
        try:
            with open_source(result, source, self._decoders) as media:
                write_overlay(result, path, media, self._settings)
        except Exception as error:  # one bad overlay among thousands must not end the run
            return [f"no overlay: {describe_error(error)}"]
        return []


def describe_error(error: Exception) -> str:
    """One line on an error: of ours, its reason; of others, its kind too."""
    text = " ".join(str(getattr(error, "reason", error)).split())
    return text if isinstance(error, MoodreelError) else f"{type(error).__name__}: {text}"
