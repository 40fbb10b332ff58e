"""The toon set with context: clips of 8 classes in which the face, the scene or both decide.

Where one of them decides, the other one is drawn without the class at hand, so it tells nothing, by
construction: what is gained by looking at both can be measured. ``docs/toon_context.md`` describes files and
rules. The same seed gives the same bytes, with any number of workers.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from moodreel.lab.data.manifest import Row, split_by_group
from moodreel.lab.data.toon import (
    FORMAT,
    TEST,
    VAL,
    describe_clip,
    draw_rows,
    finish_manifest,
    prepare_folder,
    write_json,
    write_media,
)
from moodreel.lab.data.toon_context_clip import ContextSpec, draw_spec, render_clip

KIND = "context"
"""What the mark of such a set says under ``kind``."""


def write_context(
    out: Path,
    clips: int = 600,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Writes a data set; the manifest comes last, so a folder with one is complete.

    Arguments, return value and errors are those of :func:`moodreel.lab.data.toon.write_toon`.
    """
    mark = {"format": FORMAT, "kind": KIND, "seed": seed, "clips": clips}
    prepare_folder(out, clips, seed, workers, mark, ("clips", "keypoints", "truth"))
    drawn = draw_rows(partial(_write_clip, out, seed), clips, workers, progress)
    rows = [row for row, _ in drawn]
    finish_manifest(out, rows, {"decides": [decides for _, decides in drawn]})
    return rows


def _write_clip(out: Path, seed: int, index: int) -> tuple[Row, str]:
    """Draws one clip and writes its files. Returns its row, and who decides."""
    spec = draw_spec(seed, index)
    clip = render_clip(spec)
    name = f"{index:05d}"
    gif, keypoints = out / "clips" / f"{name}.gif", out / "keypoints" / f"{name}.json"
    write_media(gif, keypoints, clip, np.random.default_rng([seed, 38, index]))
    write_json(out / "truth" / f"{name}.json", {**describe_clip(clip), **describe_context(spec)})
    split = split_by_group(clip.group, VAL, TEST)
    return Row(gif, clip.group, split, {}, {"mec": spec.label}, keypoints), spec.decides


def describe_context(spec: ContextSpec) -> dict[str, Any]:
    """What ``truth/NNNNN.json`` says beyond the facts of any toon clip; the box is 0-1 of the frame."""
    thing = spec.thing
    facts: dict[str, Any] = {
        "label": spec.label,
        "decides": spec.decides,
        "view": spec.view,
        "face_says": spec.face_says,
        "scene_says": spec.scene_says,
        "thing": None,
    }
    if thing is not None:
        unit = np.tile([spec.plan.width, spec.plan.height], 2)
        box = [thing.left, thing.top, thing.left + thing.side, thing.top + thing.side]
        facts["thing"] = {
            "name": thing.cue.name,
            "says": thing.says,
            "box": np.round(box / unit, 4).tolist(),
            "static": thing.is_static,
            "start": thing.starts,
            "stop": thing.stops,
            "shown": thing.shown.astype(int).tolist(),
            "opacity": round(thing.opacity, 3),
            "mirrored": thing.mirrored,
        }
    return facts
