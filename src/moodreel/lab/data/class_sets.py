"""Clips with one class each as a manifest: a folder a class, or lists of clip and label.

``python -m moodreel.lab.data.class_sets folder|list|dfew ... --out DIR`` writes ``manifest.csv`` under DIR;
clips stay where they are, folders of frames become ``clips/*.mp4``. What is missing is listed, the rest is
done. Which sets these are, and what is left out of each: docs/datasets.md.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from moodreel.emotions import CLASS_ALIASES, DFEW_CODES, VOCABULARIES, name_class
from moodreel.errors import DataError, MoodreelError, SettingsError, require
from moodreel.lab.data.imports import (
    ClipFinder,
    Imported,
    as_clip,
    compile_pattern,
    finish,
    keep_apart,
    list_some,
    name_group,
    read_text,
    share_validation,
    split_of_name,
)
from moodreel.lab.data.manifest import SPLITS, Row
from moodreel.media import is_frame_folder, is_media_path

HEADERS = frozenset({"label", "labels", "emotion", "expression", "class", "category"})
"""What the last cell of a list's first line says where that line is a header."""

DFEW_FOLDS = (1, 2, 3, 4, 5)


@dataclass(frozen=True)
class ClassSettings:
    """How clips and their classes become rows.

    Attributes:
        vocabulary: of :data:`moodreel.emotions.VOCABULARIES`.
        codes: what a list writes -> name of a class; empty where it writes names.
        fps: frames a second of clips that are folders of frames; None: there are none.
        group: regular expression that finds the group in a clip's path; None: each clip is its own.

    Raises:
        SettingsError: an unknown vocabulary, a code for no class, a rate or a pattern that is none.
    """

    vocabulary: str = "ekman"
    codes: Mapping[str, str] | None = None
    fps: float | None = None
    group: str | None = None

    def __post_init__(self) -> None:
        require(self.vocabulary in VOCABULARIES, "vocabulary", self.vocabulary, ", ".join(VOCABULARIES))
        for code, name in (self.codes or {}).items():
            known = name_class(name, self.vocabulary) is not None
            require(known, f"codes {code}", name, f"one of {', '.join(VOCABULARIES[self.vocabulary])}")
        require(self.fps is None or 0 < self.fps <= 1000, "fps", self.fps, "above 0, at most 1000")
        compile_pattern(self.group)

    def name_label(self, text: str) -> str | None:
        """Class of a label as a set writes it; None where it is unknown."""
        return name_class((self.codes or {}).get(text.strip(), text), self.vocabulary)

    def say_known(self) -> str:
        """The labels that are known, for messages."""
        if self.codes:
            return ", ".join(self.codes)
        aliases = CLASS_ALIASES.get(self.vocabulary, {})
        return ", ".join((*VOCABULARIES[self.vocabulary], *aliases))


@dataclass(frozen=True)
class Entry:
    """A clip as a set names it.

    Attributes:
        names: what to look for, in this order.
        label: as the set writes it.
        split: of the set's own, or None.
        where: what to name in messages: file and line, or the path.
    """

    names: tuple[str, ...]
    label: str
    split: str | None
    where: str


def import_folder(root: Path, settings: ClassSettings, out: Path) -> Imported:
    """A folder a class, in folders of train, val and test or without such, as AFEW and CAER have it.

    Args:
        root: ``SPLIT/CLASS/CLIP`` or ``CLASS/CLIP``; a clip is a media file or a folder of frames.
        settings: how to read it.
        out: folder for clips made of frames.

    Raises:
        DataError: there is no such folder, or no class in it.
    """
    if not root.is_dir():
        raise DataError(f"{root}: no such folder")
    classes: list[tuple[str | None, Path]] = []
    problems: list[str] = []
    notes: list[str] = []
    for folder in _folders(root):
        split = split_of_name(folder.name)
        if split is None:
            classes.append((None, folder))
            continue
        inner = _folders(folder)
        classes += [(split, each) for each in inner]
        loose = [path.name for path in _clips(folder) if path not in inner]
        notes += list_some(f"in {folder} lie in no folder of a class: no label, left out", loose, "clips")
    entries: list[Entry] = []
    for split, folder in classes:
        clips = [path.relative_to(root).as_posix() for path in _clips(folder)]
        if settings.name_label(folder.name) is None:
            problems.append(_say_unknown(str(folder), folder.name, len(clips), settings))
            continue
        if not clips:
            problems.append(f"{folder}: no clip in this folder of a class")
        entries += [Entry((clip,), folder.name, split, str(root / clip)) for clip in clips]
    if not entries:
        why = "; ".join(problems) or "no folder at all"
        raise DataError(f"{root}: no folder of a class with clips in it: {why}")
    return _import(entries, root, settings, out, problems, notes)


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def _clips(folder: Path) -> list[Path]:
    return sorted(
        path
        for path in folder.iterdir()
        if not path.name.startswith(".")
        and ((path.is_file() and is_media_path(path)) or is_frame_folder(path))
    )


def import_lists(lists: Mapping[str, Path], clips: Path, settings: ClassSettings, out: Path) -> Imported:
    """Lists of clip and label, one a split, as MEC 2017 and FERV39k have them.

    Args:
        lists: split -> file; a line a clip: its name first, its label last, between them a comma,
            semicolon, tab or blank.
        clips: folder that the names are relative to.
        settings: how to read them.
        out: folder for clips made of frames.

    Raises:
        DataError: a list or the folder cannot be read, or there is nothing in them.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for split, path in lists.items():
        read, wrong = read_list(path, split)
        entries += read
        problems += wrong
    return _import(entries, clips, settings, out, problems, [])


def import_dfew(root: Path, clips: Path, fold: int, settings: ClassSettings, out: Path) -> Imported:
    """One of the five folds of DFEW (Jiang et al. 2020): ``set_N.csv`` of training and of test.

    Args:
        root: folder with ``EmoLabel_DataSplit/train(single-labeled)/set_N.csv`` and ``test...``.
        clips: folder with the clips: ``00001/`` (frames), or ``1.mp4``, also in folders below.
        fold: 1 to 5.
        settings: how to read them; its codes are DFEW's.
        out: folder for clips made of frames.

    Raises:
        DataError: the lists or the folder cannot be read.
    """
    lists: dict[str, Path] = {}
    for path in sorted(root.rglob(f"set_{fold}.csv")):
        split = split_of_name(path.parent.name)
        if split is not None and lists.setdefault(split, path) != path:
            raise DataError(f"{root}: {lists[split]} and {path} are both lists of {split}")
    missing = [split for split in ("train", "test") if split not in lists]
    if missing:
        raise DataError(f"{root}: no set_{fold}.csv in a folder whose name begins with {missing[0]!r}")
    entries: list[Entry] = []
    problems: list[str] = []
    for split in ("train", "test"):
        read, wrong = read_list(lists[split], split)
        problems += wrong
        for entry in read:
            name = entry.names[0]
            names = (f"{int(name):05d}", str(int(name))) if name.isdecimal() else entry.names
            entries.append(replace(entry, names=names))
    return _import(entries, clips, settings, out, problems, [])


def read_list(path: Path, split: str) -> tuple[list[Entry], list[str]]:
    """Reads a list of clip and label; a header, empty lines and quotes around a cell do not count.

    Returns:
        a clip each, and a line on each line that is no pair.

    Raises:
        DataError: it cannot be read, or is empty.
    """
    entries: list[Entry] = []
    problems: list[str] = []
    for number, line in enumerate(read_text(path).splitlines(), start=1):
        separator = next((mark for mark in ",;\t" if mark in line), None)
        cells = line.split(separator) if separator else line.rsplit(None, 1)
        cells = [cell.strip().strip("'\"") for cell in cells]
        if not any(cells) or (number == 1 and cells[-1].lower() in HEADERS):
            continue
        if len(cells) < 2 or not cells[0]:
            problems.append(f"{path}:{number}: expected a clip and a label, got {line.strip()[:80]!r}")
        else:
            entries.append(Entry((cells[0],), cells[-1], split, f"{path}:{number}"))
    if not entries and not problems:
        raise DataError(f"{path}: the list is empty")
    return entries, problems


def _import(
    entries: Iterable[Entry],
    clips: Path,
    settings: ClassSettings,
    out: Path,
    problems: list[str],
    notes: list[str],
) -> Imported:
    finder, pattern = ClipFinder(clips), compile_pattern(settings.group)
    rows: list[Row] = []
    missing: list[str] = []
    unclear: list[str] = []
    repeated: list[str] = []
    timeless: list[str] = []
    ungrouped: list[str] = []
    unknown: dict[str, list[str]] = {}
    seen: set[tuple[str | None, Path]] = set()
    for entry in entries:
        label = settings.name_label(entry.label)
        found = next((paths for name in entry.names if (paths := finder.find(name))), [])
        if label is None:
            unknown.setdefault(entry.label, []).append(entry.where)
        elif not found:
            missing.append(entry.names[0])
        elif len(found) > 1:
            unclear.append(f"{entry.names[0]} ({', '.join(finder.place(path) for path in found[:2])})")
        elif (entry.split, found[0]) in seen:
            repeated.append(f"{entry.names[0]} ({entry.where})")
        elif found[0].is_dir() and settings.fps is None:
            timeless.append(entry.names[0])
        elif (group := name_group(finder, found[0], pattern)) is None:
            ungrouped.append(finder.place(found[0]))
        else:
            seen.add((entry.split, found[0]))
            try:
                clip = found[0] if settings.fps is None else as_clip(finder, found[0], settings.fps, out)
            except MoodreelError as error:
                problems.append(str(error))
                continue
            rows.append(Row(clip.resolve(), group, entry.split, labels={settings.vocabulary: label}))
    for text, places in unknown.items():
        problems.append(_say_unknown(places[0], text, len(places), settings))
    problems += list_some(f"are not in {clips}", missing, "clips")
    problems += list_some("can be several files each: name the folder they are in", unclear, "clips")
    problems += list_some("are named again: left out there", repeated, "clips")
    problems += list_some("are folders of frames, without times: state their --fps", timeless, "clips")
    problems += list_some(f"left out: --group {settings.group!r} finds nothing in", ungrouped, "clips")
    kept, shared = keep_apart(rows)
    return Imported(tuple(share_validation(kept)), tuple(problems), (*notes, *shared))


def _say_unknown(where: str, text: str, clips: int, settings: ClassSettings) -> str:
    return (
        f"{where}: {text!r} is no label known for {settings.vocabulary} (known: {settings.say_known()}): "
        f"{clips} clips left out"
    )


def _read_codes(text: str | None) -> dict[str, str] | None:
    if text is None:
        return None
    pairs = [pair.partition("=") for pair in text.split(",")]
    if not all(code.strip() and name.strip() for code, _, name in pairs):
        raise SettingsError("--codes", text, "CODE=CLASS,CODE=CLASS,...")
    return {code.strip(): name.strip() for code, _, name in pairs}


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--out", type=Path, required=True, help="folder for manifest.csv and clips of frames")
    shared.add_argument("--fps", type=float, help="frames a second of folders of frames")
    shared.add_argument("--group", metavar="REGEX", help="finds the group (person, film) in a clip's path")
    words = argparse.ArgumentParser(add_help=False)
    words.add_argument("--vocabulary", default="ekman", choices=sorted(VOCABULARIES), help="default: ekman")
    parser = argparse.ArgumentParser(prog="python -m moodreel.lab.data.class_sets", description=__doc__)
    kinds = parser.add_subparsers(dest="kind", required=True)
    folder = kinds.add_parser("folder", parents=[shared, words], help="a folder a class (AFEW, CAER)")
    folder.add_argument("root", type=Path, help="SPLIT/CLASS/CLIP or CLASS/CLIP")
    lists = kinds.add_parser("list", parents=[shared, words], help="lists of clip and label (MEC, FERV39k)")
    lists.add_argument("clips", type=Path, help="folder that the lists' names are relative to")
    for split in SPLITS:
        lists.add_argument(f"--{split}", type=Path, help=f"list of the split {split}")
    lists.add_argument("--codes", metavar="1=happy,2=sad,...", help="what labels stand for that are no names")
    dfew = kinds.add_parser("dfew", parents=[shared], help="one fold of DFEW")
    dfew.add_argument("root", type=Path, help="folder with EmoLabel_DataSplit")
    dfew.add_argument("--clips", type=Path, required=True, help="folder with the clips, or their frames")
    dfew.add_argument("--fold", type=int, required=True, choices=DFEW_FOLDS)
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line of this module; returns the exit code."""
    options = _parse(arguments)
    out = options.out.resolve()  # what lies under it is then named relative to the manifest
    try:
        if options.kind == "dfew":
            settings = ClassSettings("ekman", DFEW_CODES, options.fps, options.group)
            found = import_dfew(options.root, options.clips, options.fold, settings, out)
        elif options.kind == "list":
            codes = _read_codes(options.codes)
            settings = ClassSettings(options.vocabulary, codes, options.fps, options.group)
            lists = {split: path for split in SPLITS if (path := getattr(options, split)) is not None}
            require(bool(lists), "--train, --val, --test", None, "at least one list")
            found = import_lists(lists, options.clips, settings, out)
        else:
            settings = ClassSettings(options.vocabulary, None, options.fps, options.group)
            found = import_folder(options.root, settings, out)
        return finish(found, out)
    except MoodreelError as error:
        print(f"moodreel: {error}", file=sys.stderr)
        return 2


if __name__ == "__main__":
    sys.exit(main())
