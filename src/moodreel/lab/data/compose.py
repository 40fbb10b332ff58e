"""Labelled stills as GIF-like clips: a face that moves over a background, with its place known.

A still (or a picture with alpha, such as a drawn emoji) is placed over another image or a drawn scene and
moved by a programme: pan, zoom, turn, shake, and, where the same person has a neutral picture, a change
from neutral to the expression. Smaller bystanders, a caption, and the palette and dither of real GIFs come
with it. Everything is drawn from one generator: the same seed gives the same clip.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from moodreel.errors import DataError, MoodreelError
from moodreel.faces.openpose import format_faces
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.data.surroundings import (
    add_caption,
    change_light,
    draw_background,
    place_bystander,
    reduce_palette,
)
from moodreel.media import frames_showing, open_media, write_gif
from moodreel.types import POINTS, ClipFaces, Face, FaceTrack, FloatArray, UInt8Array

FACE_IN_STILL = (0.14, 0.12, 0.86, 0.94)
"""Where the face lies in a still that was cropped around it: left, top, right, bottom, 0-1."""

FACE_IN_FIGURE = (0.05, 0.05, 0.95, 0.95)
"""Where it lies in a cut-out figure."""

SMALLEST, LARGEST = 0.2, 1.0
"""Range of the face's height relative to the frame's."""


@dataclass(frozen=True, eq=False)
class Still:
    """A picture to compose from.

    Attributes:
        pixels: [F, H, W, 4] uint8 RGBA; F is 1 for a picture that does not move.
        starts: [F] seconds.
        duration: seconds; 0 for a picture that does not move.
        face: left, top, right, bottom of the face, 0-1 of the picture.
        cut_out: whether alpha gives the outline (a drawn figure), so that no edge needs hiding.
    """

    pixels: UInt8Array
    starts: FloatArray
    duration: float
    face: tuple[float, float, float, float] = FACE_IN_STILL
    cut_out: bool = False


@dataclass(frozen=True, eq=False)
class Composed:
    """A composed clip.

    Attributes:
        frames: [T, S, S, 3] uint8.
        boxes: [T, 4] left, top, right, bottom of the face, 0-1 of the frame; may reach beyond it.
    """

    frames: UInt8Array
    boxes: FloatArray


def compose_clip(
    still: Still,
    neutral: Still | None,
    times: FloatArray,
    size: int,
    rng: np.random.Generator,
    others: Sequence[Still] = (),
    weight: FloatArray | None = None,
    smallest: float = SMALLEST,
) -> Composed:
    """Draws a clip.

    Args:
        still: what the clip ends with (and shows throughout, without ``neutral``).
        neutral: the same person's neutral picture, shown first.
        times: [T] instants in [0, 1] of the clip's length, ascending.
        size: side of the square frames, pixels.
        rng: source of chance.
        others: stills of other people, which may stand by, smaller, or lie behind on their side. A cut-out
            figure has no bystanders.
        weight: [T] in [0, 1], how much of ``still`` is shown over ``neutral``; None changes once, at random.
        smallest: height of the face relative to the frame's, at least.
    """
    path = _draw_path(times, rng, still.cut_out, smallest)
    behind = [other.pixels[0, ..., :3] for other in others]
    plain = still.cut_out and rng.random() < 0.6
    scene = draw_background(size, times, rng, behind, plain)
    if others and not still.cut_out and path[:, 2].max() < 0.75 and rng.random() < 0.35:
        for _ in range(int(rng.integers(1, 4))):
            bystander = others[int(rng.integers(len(others)))]
            place = place_bystander(path, rng)
            scene = _lay_over(scene, _place(bystander, place, times, size, bool(rng.random() < 0.5)))
    if weight is None:
        turn = rng.uniform(0.2, 0.6) if neutral is not None else -1.0
        fade = rng.choice([1e-6, 0.08, 0.2])
        weight = np.clip((times - turn) / fade, 0, 1)  # 0: neutral, 1: the expression
    flip = rng.random() < 0.5
    layers = _place(still, path, times, size, flip)
    if neutral is not None:
        first = _place(neutral, path, times, size, flip)
        mix = torch.from_numpy(weight).float().view(-1, 1, 1, 1)
        layers = layers * mix + first * (1 - mix)
    frames = change_light(_lay_over(scene, layers).numpy(), times, rng)
    if rng.random() < 0.2:
        frames = add_caption(frames, rng)
    pixels = np.rint(np.clip(frames, 0, 255)).astype(np.uint8).transpose(0, 2, 3, 1)
    if rng.random() < 0.3:
        pixels = reduce_palette(pixels, rng)
    return Composed(pixels, _boxes(still, path))


def _lay_over(scene: torch.Tensor, layers: torch.Tensor) -> torch.Tensor:
    """[T, 4, S, S] with premultiplied colour over [T, 3, S, S]."""
    return scene * (1 - layers[:, 3:]) + layers[:, :3]


def _draw_path(
    times: FloatArray, rng: np.random.Generator, cut_out: bool, smallest: float = SMALLEST
) -> FloatArray:
    """[T, 5]: centre x, centre y of the face (0-1), its height (0-1), aspect change, turn in radians."""
    height = LARGEST * (smallest / LARGEST) ** (rng.random() ** (1.6 if cut_out else 1.2))
    zoom = np.exp(rng.uniform(-0.25, 0.25) * times) if rng.random() < 0.6 else np.ones_like(times)
    room = max(0.06, (1 - height) / 2)
    start, end = rng.uniform(-room, room, (2, 2))
    if rng.random() < 0.4:
        end = start
    along = times if rng.random() < 0.6 else (1 - np.cos(2 * np.pi * times)) / 2
    centre = 0.5 + start + np.outer(along, end - start)
    if rng.random() < 0.3:
        centre = centre + rng.normal(0, 0.012, centre.shape)  # a shaking camera
    sway = np.radians(rng.uniform(-8, 8)) + np.radians(rng.uniform(0, 8)) * np.sin(2 * np.pi * times)
    aspect = np.full_like(times, np.exp(rng.uniform(-0.3, 0.3)))
    return np.column_stack([centre, height * zoom, aspect, sway])


def _place(still: Still, path: FloatArray, times: FloatArray, size: int, flip: bool) -> torch.Tensor:
    """The picture moved along the path: [T, 4, S, S] float, premultiplied RGB in 0-255, alpha in 0-1."""
    sources = still.pixels
    left, top, right, bottom = still.face
    tall = float(path[:, 2].max()) / (bottom - top) * size  # the whole picture's height in pixels
    shrink = min(1.0, max(0.05, 1.1 * tall / sources.shape[1]))  # resample once, else a small face aliases
    shape = (max(4, round(sources.shape[2] * shrink)), max(4, round(sources.shape[1] * shrink)))
    chosen = frames_showing(still.starts, times * still.duration).tolist()
    ready = {i: _prepare(sources[i], shape, still.cut_out) for i in set(chosen)}
    layers = torch.stack([ready[i] for i in chosen])

    # affine_grid wants the map from output to picture, both in [-1, 1].
    ratio = sources.shape[1] / sources.shape[2]
    x, y, height, aspect, turn = path.T
    half_y = height / (bottom - top)  # half of the picture's height in units of [-1, 1]
    half_x = half_y / ratio * aspect
    cos, sin = np.cos(turn), np.sin(turn)
    sign = -1.0 if flip else 1.0
    off_x, off_y = sign * (left + right - 1), top + bottom - 1  # the face's centre inside the picture
    cx, cy = 2 * x - 1 - off_x * half_x, 2 * y - 1 - off_y * half_y
    theta = np.empty((len(times), 2, 3))
    theta[:, 0, 0], theta[:, 0, 1] = sign * cos / half_x, sign * sin / half_x
    theta[:, 1, 0], theta[:, 1, 1] = -sin / half_y, cos / half_y
    theta[:, :, 2] = -(theta[:, :, 0] * cx[:, None] + theta[:, :, 1] * cy[:, None])
    grid = functional.affine_grid(
        torch.from_numpy(theta).float(), [len(times), 4, size, size], align_corners=False
    )
    return functional.grid_sample(layers, grid, padding_mode="zeros", align_corners=False)


def _prepare(pixels: UInt8Array, shape: tuple[int, int], cut_out: bool) -> torch.Tensor:
    """[4, h, w] float with premultiplied RGB; a still's edges fade out."""
    small = np.asarray(Image.fromarray(pixels).resize(shape, Image.Resampling.BOX), np.float32)
    alpha = small[..., 3:] / 255
    if not cut_out:
        y, x = np.mgrid[: shape[1], : shape[0]]
        far = np.hypot((x + 0.5) / shape[0] * 2 - 1, (y + 0.5) / shape[1] * 2 - 1)
        alpha = alpha * np.clip((1.25 - far) / 0.2, 0, 1)[..., None].astype(np.float32)
    return torch.from_numpy(np.concatenate([small[..., :3] * alpha, alpha], axis=2).transpose(2, 0, 1).copy())


def _boxes(still: Still, path: FloatArray) -> FloatArray:
    """Face boxes along the path; the turn is small and left out."""
    left, top, right, bottom = still.face
    ratio = still.pixels.shape[-3] / still.pixels.shape[-2]
    x, y, height, aspect, _ = path.T
    width = height * (right - left) / (bottom - top) / ratio * aspect
    return np.column_stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2])


def place_keypoints(boxes: FloatArray) -> FloatArray:
    """The 70 points of a frontal face, put into boxes: what stands for keypoints until a detector gives some.

    Args:
        boxes: [T, 4] left, top, right, bottom.

    Returns:
        [T, 70, 2] (x, y) in the boxes' units, OpenPose order (0-67 as iBUG 68, 68 and 69 the pupils).
    """
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    return low + FRONTAL_FACE * (high - low)


def _frontal_face() -> FloatArray:
    def arc(cx: float, cy: float, rx: float, ry: float, start: float, stop: float, n: int) -> FloatArray:
        angle = np.radians(np.linspace(start, stop, n))
        return np.column_stack([cx + rx * np.cos(angle), cy + ry * np.sin(angle)])

    jaw = arc(0.5, 0.42, 0.48, 0.56, 180, 0, 17)
    brows = [arc(0.29, 0.3, 0.16, 0.1, 200, 340, 5), arc(0.71, 0.3, 0.16, 0.1, 200, 340, 5)]
    bridge = np.column_stack([np.full(4, 0.5), np.linspace(0.38, 0.6, 4)])
    nostrils = arc(0.5, 0.62, 0.11, 0.05, 160, 20, 5)
    eyes = [arc(x, 0.39, 0.08, 0.035, 180, 540, 7)[:6] for x in (0.31, 0.69)]
    outer, inner = (
        arc(0.5, 0.78, rx, ry, 180, 540, n + 1)[:n] for rx, ry, n in ((0.19, 0.08, 12), (0.14, 0.03, 8))
    )
    pupils = np.stack([eye.mean(axis=0) for eye in eyes])
    return np.concatenate([jaw, *brows, bridge, nostrils, *eyes, outer, inner, pupils])


FRONTAL_FACE = _frontal_face()
"""[70, 2]: a frontal face in a unit box, drawn by us from ellipses."""


def read_still(path: Path, longest: int = 144) -> Still | None:
    """Reads a labelled picture or a drawn animation with alpha.

    Args:
        path: a media file; one frame is a cropped face, several with clear pixels a cut-out figure.
        longest: pictures are shrunk to this many pixels a side.

    Returns:
        what to compose from; None for an ordinary animation, which is a clip already.

    Raises:
        MediaError: it cannot be read.
    """
    media = open_media(path)
    shrunk = []
    is_clear = False
    for _, frame in media.read(range(len(media)), mode="rgba"):
        is_clear = is_clear or frame[..., 3].min() < 255
        image = Image.fromarray(frame)
        image.thumbnail((longest, longest), Image.Resampling.BOX)
        shrunk.append(np.asarray(image))
    if len(media) > 1 and not is_clear:
        return None
    face, cut_out = (FACE_IN_STILL, False) if len(media) == 1 else (FACE_IN_FIGURE, True)
    return Still(np.stack(shrunk), media.timeline.starts, media.duration, face, cut_out)


def draw_others(
    row: Row, stills: Sequence[tuple[Path, str]], rng: np.random.Generator, count: int = 3
) -> list[Path]:
    """Pictures of other groups than the row's, for :func:`compose_clip`.

    Args:
        row: whose clip is composed.
        stills: (picture, group) of all that may be drawn.
        rng: source of chance.
        count: pictures drawn; those of the row's own group are dropped.
    """
    drawn = [stills[i] for i in rng.integers(len(stills), size=count).tolist()] if stills else []
    return [path for path, group in drawn if group != row.group]


def write_clips(
    manifest: Path,
    split: str,
    out: Path,
    limit: int,
    seed: int,
    size: int = 240,
    per_class: int = 0,
) -> list[Row]:
    """Writes clips composed from the stills of one split as GIF files: to score on, or to learn from.

    Args:
        manifest: stills with groups and ``label_ekman``.
        split: which rows.
        out: folder; gets ``clips/*.gif``, ``keypoints/*.json`` (the known face, as 70 points) and
            ``shown.csv``, a manifest of the stills that the clips show, in their order, so that a network can
            be scored on both.
        limit: clips at most, an even draw; 0 for all.
        seed: of the draw and the clips.
        size: side of the frames, pixels.
        per_class: clips of one class at most, an even draw before ``limit``; 0 for all.
    """
    rows = draw_rows(read_manifest(manifest).select(split), limit, per_class, np.random.default_rng(seed))
    neutral = {row.group: row for row in rows if row.labels.get("ekman") == "neutral"}
    stills = [(row.clip, row.group) for row in rows]
    written = []
    for i, row in enumerate(rows):
        clip_rng = np.random.default_rng([seed, i])
        first = neutral.get(row.group) if row.labels.get("ekman") != "neutral" else None
        count = int(clip_rng.integers(10, 22))
        durations = clip_rng.choice([0.04, 0.06, 0.08, 0.1, 0.12], count)
        times = (np.cumsum(durations) - durations / 2) / durations.sum()
        still = read_still(row.clip)
        if still is None:
            raise DataError(f"{row.clip}: an animation; only stills are composed")
        start = read_still(first.clip) if first else None
        others = [other for other in map(read_still, draw_others(row, stills, clip_rng)) if other is not None]
        composed = compose_clip(still, start, times, size, clip_rng, others)
        path, keypoints = out / "clips" / f"{i:05d}.gif", out / "keypoints" / f"{i:05d}.json"
        for file in (path, keypoints):
            file.parent.mkdir(parents=True, exist_ok=True)
        write_gif(path, composed.frames, durations)
        keypoints.write_bytes(format_faces(face_of(path.name, composed, durations)))
        written.append(Row(path, row.group, split, dict(row.scores), dict(row.labels), keypoints))
    write_manifest(out / "shown.csv", rows)
    return written


def draw_rows(rows: list[Row], limit: int, per_class: int, rng: np.random.Generator) -> list[Row]:
    """Some rows, in their order: at most ``per_class`` of a class, then at most ``limit``; 0 for all."""
    if per_class:
        members: dict[str, list[int]] = {}
        for i, row in enumerate(rows):
            members.setdefault(row.labels["ekman"], []).append(i)
        drawn = [rng.permutation(members[name])[:per_class] for name in sorted(members)]
        rows = [rows[i] for i in sorted(np.concatenate(drawn).tolist())]
    if 0 < limit < len(rows):
        rows = [rows[i] for i in sorted(rng.choice(len(rows), limit, replace=False))]
    return rows


def face_of(name: str, composed: Composed, durations: FloatArray) -> ClipFaces:
    """The composed face as a detector would state it, were it always right."""
    height, width = composed.frames.shape[1:3]
    starts = np.concatenate([[0.0], np.cumsum(durations)[:-1]]).round(4)
    boxes = composed.boxes * [width, height, width, height]
    confidence = np.ones(POINTS)
    faces = tuple(
        Face(box, points, confidence) for box, points in zip(boxes, place_keypoints(boxes), strict=True)
    )
    indices = np.arange(len(boxes))
    track = FaceTrack(0, indices, starts, faces)
    return ClipFaces(name, "composed", width, height, indices, starts, (track,))


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m moodreel.lab.data.compose", description="Stills as GIF clips, split by split."
    )
    parser.add_argument("manifest", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument(
        "--split", nargs="+", default=["test"], help="each in a folder of its own, if several"
    )
    parser.add_argument("--limit", type=int, default=0)
    parser.add_argument("--per-class", type=int, default=0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--traces", action="store_true", help="from neutral and back, with valence along time"
    )
    parser.add_argument(
        "--blind", action="store_true", help="name no keypoints: faces are to be found, as they are in use"
    )
    options = parser.parse_args(arguments)
    if options.traces:
        from moodreel.lab.data.compose_traces import write_traced as write
    else:
        write = write_clips
    for option, count in (("--limit", options.limit), ("--per-class", options.per_class)):
        if count < 0:
            parser.error(f"{option} {count}: expected 0 or above")
    rows = []
    try:
        for split in options.split:
            folder = options.out if len(options.split) == 1 else options.out / split
            draw = options.limit, options.seed
            rows += write(options.manifest, split, folder, *draw, per_class=options.per_class)
        if options.blind:
            rows = [replace(row, keypoints=None) for row in rows]
        write_manifest(options.out / "manifest.csv", rows)
    except MoodreelError as error:
        print(f"moodreel: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"moodreel: {error.filename or options.out}: {error.strerror or error}", file=sys.stderr)
        return 2
    print(f"{options.out / 'manifest.csv'}: {len(rows)} clips")
    return 0


if __name__ == "__main__":
    sys.exit(main())
