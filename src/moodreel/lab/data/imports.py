"""What importers of data sets share: finding clips, keeping groups apart, saying what was left out."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.manifest import SPLITS, Row, split_by_group, write_manifest
from moodreel.media import MEDIA_SUFFIXES, is_frame_folder, open_media, write_mp4
from moodreel.types import UInt8Array

NAMED = 5
"""Names that a line on what is missing lists."""

VALIDATION_SHARE = 0.1
"""Share of the training groups that validates where a set has no such part of its own."""

STILLS = frozenset({".png", ".jpg", ".jpeg", ".bmp"})

CRF = 17
"""H.264's rate factor for clips made of stills: visually the same."""

_PART = re.compile(r"(train|val|dev|test)(?:ing|id|idation|el|elopment)?(?![a-z])", re.IGNORECASE)


@dataclass(frozen=True)
class Imported:
    """What was found of a data set.

    Attributes:
        rows: of the manifest.
        problems: a line each: what is missing or wrong, and was left out.
        notes: a line each: what is left out by rule, though nothing is wrong with it.
    """

    rows: tuple[Row, ...]
    problems: tuple[str, ...]
    notes: tuple[str, ...] = ()


def list_some(what: str, names: Iterable[str], kind: str) -> list[str]:
    """One line, or none without names: how many there are, and the first of them in order.

    Args:
        what: what is said of them, after their number and ``kind``.
        names: of the things meant.
        kind: what they are, in the plural.
    """
    listed = sorted(names)
    if not listed:
        return []
    more = f" and {len(listed) - NAMED} more" if len(listed) > NAMED else ""
    return [f"{len(listed)} {kind} {what}: {', '.join(listed[:NAMED])}{more}"]


def read_text(path: Path) -> str:
    """Text of a label file, UTF-8 with or without a mark.

    Raises:
        DataError: it cannot be read.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not UTF-8 ({error.reason} at byte {error.start})") from error


def split_of_name(name: str) -> str | None:
    """Split that the name of a folder or recording begins with, as challenges name their partitions.

    ``train``, ``Train_AFEW``, ``Train_DE_01``, ``Training``: train. ``val``, ``Validation_Set``, ``dev_1``,
    ``Devel_DE_01``: val. ``test``, ``Test_HU_01``: test. Else None.
    """
    match = _PART.match(name)
    return None if match is None else {"dev": "val"}.get(match[1].lower(), match[1].lower())


def share_validation(rows: Sequence[Row]) -> list[Row]:
    """Moves a tenth of the training groups to validation where no row validates; by the group's name."""
    if any(row.split == "val" for row in rows):
        return list(rows)
    return [
        replace(row, split=split_by_group(row.group, VALIDATION_SHARE, 0.0)) if row.split == "train" else row
        for row in rows
    ]


def keep_apart(rows: Sequence[Row]) -> tuple[list[Row], list[str]]:
    """Drops rows whose group stands in a split that is held out more: test before val before train.

    Official splits are kept as they are; what would leak from one into another is left out of training.

    Returns:
        the rows that stay, and a line on those that do not.
    """
    strictest: dict[str, int] = {}
    for row in rows:
        if row.split is not None:
            strictest[row.group] = max(strictest.get(row.group, 0), SPLITS.index(row.split))
    kept = [row for row in rows if row.split is None or SPLITS.index(row.split) == strictest[row.group]]
    stayed = {id(row) for row in kept}
    lost = [f"{row.clip.name} ({row.split})" for row in rows if id(row) not in stayed]
    return kept, list_some("left out: their group stands in a later split too", lost, "clips")


class ClipFinder:
    """Finds the clips that a label file names, in a folder of clips.

    Args:
        root: folder of media files, folders of frames, or folders with either in them.

    Raises:
        DataError: there is no such folder.
    """

    def __init__(self, root: Path) -> None:
        if not root.is_dir():
            raise DataError(f"{root}: no such folder of clips")
        self.root = root.resolve()
        self._by_place: dict[str, list[Path]] = {}
        self._by_stem: dict[str, list[Path]] = {}
        for folder, _, names in os.walk(self.root):
            for name in names:
                path = Path(folder) / name
                if path.suffix.lower() in MEDIA_SUFFIXES - STILLS and not name.startswith("."):
                    self._by_place.setdefault(self.place(path.with_suffix("")), []).append(path)
                    self._by_stem.setdefault(path.stem, []).append(path)

    def place(self, path: Path) -> str:
        """Path of a clip relative to the folder, with slashes."""
        return path.relative_to(self.root).as_posix()

    def find(self, name: str) -> list[Path]:
        """Files or folders of frames that a name can mean: none, one, or several where it is unclear.

        Args:
            name: path relative to the folder, with or without the suffix; or a bare name, which is then
                looked for in all folders below. A path that leads nowhere is not looked for elsewhere:
                sets number their clips anew in every folder.
        """
        direct = Path(os.path.normpath(self.root / name))
        if not direct.is_relative_to(self.root) or direct == self.root:
            return []
        if direct.is_file() or is_frame_folder(direct):
            return [direct]
        path = direct.relative_to(self.root)
        bare = path.with_suffix("") if path.suffix.lower() in MEDIA_SUFFIXES else path
        found = self._by_place.get(bare.as_posix(), [])
        if not found and bare.name == bare.as_posix():
            found = self._by_stem.get(bare.name, [])
        return sorted(found)


def name_group(finder: ClipFinder, path: Path, pattern: re.Pattern[str] | None) -> str | None:
    """Group of a clip: what ``pattern`` finds in its path, or else a hash of its content.

    By content, copies of a clip under several names never cross a split.

    Args:
        finder: the folder that the path is in.
        path: of the clip.
        pattern: is searched in the path relative to the folder; its first group counts, or all it matches.

    Returns:
        None where there is a pattern and it does not match.
    """
    if pattern is None:
        return f"clip:{_digest(path)[:16]}"
    match = pattern.search(finder.place(path))
    if match is None:
        return None
    return f"{finder.root.name}:{match[1] if pattern.groups else match[0]}"


def _digest(path: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(path.iterdir()) if path.is_dir() else [path]:
        with file.open("rb") as stream:
            digest.update(hashlib.file_digest(stream, "sha256").digest())
    return digest.hexdigest()


def encode_stills(stills: Sequence[Path], fps: float, out: Path) -> None:
    """Writes an MP4 of stills shown one after another: a folder of frames has no times, a clip has.

    Args:
        stills: of one size, in order.
        fps: stills a second.
        out: file to write.

    Raises:
        MediaError: a still cannot be read, or the clip cannot be written.
        SettingsError: stills of several sizes, or a rate that is none.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    write_mp4(out, _read_stills(stills), np.full(len(stills), 1 / fps), quality=CRF)


def _read_stills(stills: Sequence[Path]) -> Iterator[UInt8Array]:
    for still in stills:
        yield next(iter(open_media(still).read([0])))[1]


def list_stills(folder: Path) -> list[Path]:
    """Numbered stills that lie directly in a folder, by their number; other files are passed over."""
    numbered = [
        (int(match[1]), path.name, path)
        for path in folder.iterdir()
        if path.suffix.lower() in STILLS and (match := re.search(r"(\d{1,18})$", path.stem))
    ]
    return [path for _, _, path in sorted(numbered)]


def as_clip(finder: ClipFinder, path: Path, fps: float, out: Path) -> Path:
    """The media file of a clip: itself, or of a folder of frames an MP4 at ``fps`` under ``out``.

    Raises:
        MediaError, SettingsError: as :func:`encode_stills`.
    """
    if not path.is_dir():
        return path
    made = out / "clips" / f"{finder.place(path)}.mp4"
    encode_stills(list_stills(path), fps, made)
    return made


def finish(found: Imported, out: Path) -> int:
    """Writes ``manifest.csv`` under ``out``, says what is in it and what is not; returns the exit code.

    Raises:
        DataError: there is no row to write.
    """
    for line in (*found.problems, *found.notes):
        print(f"moodreel: {line}", file=sys.stderr)
    if not found.rows:
        raise DataError(f"{out}: no clip is left for a manifest")
    write_manifest(out / "manifest.csv", found.rows)
    counts = Counter(row.split or "no split" for row in found.rows)
    parts = ", ".join(f"{name} {counts[name]}" for name in (*SPLITS, "no split") if counts[name])
    groups = len({row.group for row in found.rows})
    print(f"{out / 'manifest.csv'}: {len(found.rows)} clips of {groups} groups ({parts})")
    return 1 if found.problems else 0


def compile_pattern(text: str | None) -> re.Pattern[str] | None:
    """The pattern of ``--group``.

    Raises:
        SettingsError: it is none.
    """
    try:
        return None if text is None else re.compile(text)
    except re.error as error:
        raise SettingsError("--group", text, f"a regular expression ({error})") from error
