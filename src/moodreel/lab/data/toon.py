"""Toon: a data set drawn by code, in which everything is known.

Cartoon characters act 17 emotions by facial action units; the clips come with intensities, exact keypoints
and face boxes, and with what noisy people and detectors would have made of them. ``docs/toon.md`` describes
files and rules. The same seed gives the same bytes, with any number of workers.
"""

from __future__ import annotations

import csv
import io
import json
import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np

from moodreel.emotions import QUADRANT_OF
from moodreel.errors import DataError, MediaError, SettingsError
from moodreel.lab.data.manifest import Row, split_by_group, write_manifest
from moodreel.lab.data.toon_clip import Acting, ToonClip, draw_clip
from moodreel.lab.data.toon_poses import CHANNELS, INDEX
from moodreel.lab.data.toon_programmes import score_emotions
from moodreel.lab.data.toon_raters import (
    RATERS,
    TRACE_STEP,
    cast_votes,
    detect_keypoints,
    draw_lags,
    rate_valence,
)
from moodreel.media import write_gif
from moodreel.runtime.engine import count_cores
from moodreel.types import FloatArray

FORMAT = "moodreel toon 1"
MARK = "toon.json"
"""File that says that a folder is a toon set: nothing else is ever overwritten."""

VAL, TEST = 0.1, 0.2
"""Shares of the characters that are held out."""

_FOLDERS = {"clips": ".gif", "keypoints": ".json", "traces": ".csv", "truth": ".json"}
_FEW = 16
_Drawn = TypeVar("_Drawn")


def write_toon(
    out: Path,
    clips: int = 600,
    seed: int = 0,
    workers: int | None = None,
    progress: Callable[[int], None] = lambda done: None,
) -> list[Row]:
    """Writes a data set; the manifest comes last, so a folder with one is complete.

    Args:
        out: folder; new, empty, or an older toon set, which is replaced.
        clips: how many.
        seed: of everything, >= 0.
        workers: processes; None for one a core. The calling process draws small sets by itself.
        progress: called with the number of clips written so far.

    Returns:
        Rows of the manifest.

    Raises:
        SettingsError: clips, seed or workers are not allowed.
        DataError: the folder holds something else, or a clip cannot be written.
        OSError: another file cannot be written.
    """
    prepare_folder(out, clips, seed, workers, {"format": FORMAT, "seed": seed, "clips": clips})
    rows = draw_rows(partial(_write_clip, out, seed), clips, workers, progress)
    scores = {row.clip.stem: row.scores for row in rows if row.scores}
    votes = cast_votes(scores, np.random.default_rng([seed, 6]))
    header = ("emotion", "left", "right", "choice", "voter", "time")
    _write_table(
        out / "votes.csv", header, ((v.emotion, v.left, v.right, v.choice, v.voter, v.time) for v in votes)
    )
    finish_manifest(out, rows)
    return rows


def prepare_folder(
    out: Path, clips: int, seed: int, workers: int | None, mark: Mapping[str, Any],
    folders: Iterable[str] = tuple(_FOLDERS),
) -> None:  # fmt: skip
    """Checks what :func:`write_toon` is asked for, makes the folders and marks the set as ours.

    Takes the files of an older toon set away, its manifest first. Arguments and errors are those of
    :func:`write_toon`; ``mark`` is the content of :data:`MARK`, ``folders`` are those that the set will fill.
    """
    if clips < 1:
        raise SettingsError("clips", clips, "at least 1")
    if seed < 0:
        raise SettingsError("seed", seed, "0 or more")
    if workers is not None and workers < 1:
        raise SettingsError("workers", workers, "None, or at least 1")
    if out.exists():
        if not out.is_dir():
            raise DataError(f"{out}: is no folder")
        if any(out.iterdir()) and not is_toon(out):
            raise DataError(f"{out}: is not empty and holds no toon set")
        (out / "manifest.csv").unlink(missing_ok=True)
        (out / "votes.csv").unlink(missing_ok=True)
    for folder, suffix in _FOLDERS.items():
        (out / folder).mkdir(parents=True, exist_ok=True)
        for file in (out / folder).glob(f"[0-9][0-9][0-9][0-9][0-9]*{suffix}"):
            file.unlink()
        if folder not in folders and not any((out / folder).iterdir()):
            (out / folder).rmdir()
    write_json(out / MARK, mark)


def draw_rows(
    draw: Callable[[int], _Drawn], clips: int, workers: int | None, progress: Callable[[int], None]
) -> list[_Drawn]:
    """What ``draw`` returns for every clip, in their order; drawn by as many processes as asked for."""
    workers = min(clips, workers or (1 if clips <= _FEW else count_cores()))
    rows: list[_Drawn] = []
    if workers == 1:
        for row in map(draw, range(clips)):
            rows.append(row)
            progress(len(rows))
    else:
        # Spawned: torch, which the lab imports, does not like to be forked.
        with ProcessPoolExecutor(workers, multiprocessing.get_context("spawn")) as pool:
            for row in pool.map(draw, range(clips), chunksize=4):
                rows.append(row)
                progress(len(rows))
    return rows


def finish_manifest(out: Path, rows: Iterable[Row], extra: Mapping[str, Sequence[str]] | None = None) -> None:
    """Writes the manifest in one go, so that it is there as a whole or not at all."""
    draft = out / ".manifest.csv.part"
    write_manifest(draft, rows, extra or {})
    draft.replace(out / "manifest.csv")


def is_toon(folder: Path) -> bool:
    """Whether a folder is marked as a toon set."""
    try:
        mark = json.loads((folder / MARK).read_bytes())
    except (OSError, ValueError):
        return False
    return isinstance(mark, dict) and str(mark.get("format", "")).startswith("moodreel toon")


def _write_clip(out: Path, seed: int, index: int) -> Row:
    """Draws one clip and writes its files. Returns its row."""
    clip = draw_clip(seed, index)
    rng = np.random.default_rng([seed, 8, index])
    paths = {folder: out / folder / f"{index:05d}{suffix}" for folder, suffix in _FOLDERS.items()}
    write_media(paths["clips"], paths["keypoints"], clip, rng)
    truth = describe_clip(clip)
    scores: dict[str, float] = {}
    labels = {}
    if clip.acting is not None:
        scores = score_emotions(clip.acting.strengths)
        if clip.acting.strengths:
            labels["quadrant"] = QUADRANT_OF[max(scores, key=lambda emotion: scores[emotion])]
        lags = np.clip(draw_lags(seed) + rng.normal(0, 0.03, RATERS), 0.08, None)
        lags = np.round(lags / TRACE_STEP) * TRACE_STEP
        _write_trace(paths["traces"], clip.acting, float(clip.durations.sum()), lags, rng)
        truth["lags"] = np.round(lags, 2).tolist()
    write_json(paths["truth"], truth)
    return Row(
        paths["clips"],
        clip.group,
        split_by_group(clip.group, VAL, TEST),
        scores,
        labels,
        paths["keypoints"],
        paths["traces"] if clip.acting is not None else None,
    )


def write_media(gif: Path, keypoints: Path, clip: ToonClip, rng: np.random.Generator) -> None:
    """Writes the GIF of a clip, and the keypoints that a detector would have found in it."""
    palette: Literal["shared", "frame"] = "shared" if rng.random() < 0.7 else "frame"
    try:
        write_gif(gif, clip.frames, clip.durations, palette=palette)
    except MediaError as error:  # which cannot be pickled on its way out of a worker
        raise DataError(str(error)) from None
    size = (clip.plan.width, clip.plan.height)
    people: list[list[dict[str, list[float]]]] = [[] for _ in clip.frames]
    if clip.points is not None:
        found = np.round(detect_keypoints(clip.points, size, rng), 2)
        people = [[{"face_keypoints_2d": frame.ravel().tolist()}] for frame in found]
    content = {
        "version": 1.3,
        "width": size[0],
        "height": size[1],
        "frames": [{"people": faces} for faces in people],
    }
    write_json(keypoints, content)


def describe_clip(clip: ToonClip) -> dict[str, Any]:
    """The truth of a clip as it stands in ``truth/NNNNN.json``: places in 0-1 of the frame."""
    unit = np.array([clip.plan.width, clip.plan.height], float)
    facts: dict[str, Any] = {
        "group": clip.group,
        "style": clip.style,
        "width": clip.plan.width,
        "height": clip.plan.height,
        "background": clip.plan.background,
        "durations": np.round(clip.durations, 2).tolist(),
        "programme": None,
        "strengths": {},
        "bystander_boxes": np.round(clip.bystanders / np.tile(unit, 2), 4).tolist(),
    }
    if clip.acting is not None:
        programme = clip.acting.programme
        facts["programme"] = f"{programme.emotion}: {programme.name}" if programme else "neutral"
        facts["strengths"] = dict(clip.acting.strengths)
        facts["flipped"], facts["signs"] = clip.acting.flipped, clip.acting.signs
    if clip.points is not None and clip.boxes is not None and clip.states is not None:
        facts["points"] = np.round(clip.points / unit, 4).tolist()
        facts["boxes"] = np.round(clip.boxes / np.tile(unit, 2), 4).tolist()
        facts["curves"] = dict(zip(CHANNELS, np.round(clip.states.T, 3).tolist(), strict=True))
    return facts


def _write_trace(
    path: Path, acting: Acting, duration: float, lags: FloatArray, rng: np.random.Generator
) -> None:
    times: FloatArray = np.arange(int(duration / TRACE_STEP - 1e-9) + 1, dtype=np.float64) * TRACE_STEP
    truth = acting.evaluate(times / duration)[:, INDEX["valence"]]
    raters = rate_valence(truth, lags.tolist(), rng)
    header = ("time_s", *(f"rater_{n + 1}" for n in range(RATERS)), "truth")
    table = np.column_stack([times, raters, truth]).tolist()
    _write_table(
        path, header, ([f"{time:.2f}", *(f"{value:.3f}" for value in rest)] for time, *rest in table)
    )


def _write_table(path: Path, header: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    stream = io.StringIO(newline="")
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    path.write_bytes(stream.getvalue().encode())


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Writes JSON without spaces, and a line's end."""
    path.write_bytes(json.dumps(content, separators=(",", ":")).encode() + b"\n")
