"""Many inputs: from the arguments of a command to a list of paths.

Rules, where the contract (one row an input, nothing dropped in silence) leaves a choice:

- A folder is walked, always: every media file in it is an input. A folder that looks like the frames of one
  clip is walked too (a numbered set of photographs looks the same), and noted; the Python API reads it as one
  clip.
- Links to folders are followed, but not back up. Of what is in a folder, only regular files count.
- A file named outright, in an argument or on the list from stdin, is an input whatever its name, and also
  when it does not exist: it gets a row.
- The shell may have expanded a glob or not: matches count as named outright. A glob without a match adds
  nothing and is noted.
- An input that is named twice (the same absolute path, links not resolved) gets one row, under its first
  name.
"""

from __future__ import annotations

import glob
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from moodreel.media import is_frame_folder, is_media_path


@dataclass
class Inputs:
    """What the arguments of a command stand for.

    Attributes:
        paths: inputs, each the argument joined with the relative path.
        skipped: files in folders that are no media.
        repeated: inputs that were named again.
        notes: what else a user should hear, one line each.
    """

    paths: list[str] = field(default_factory=list)
    skipped: int = 0
    repeated: int = 0
    notes: list[str] = field(default_factory=list)


def collect_paths(arguments: Sequence[str], stdin: IO[bytes] | None = None) -> Inputs:
    """Resolves the PATH arguments of a command.

    Args:
        arguments: files, folders (recursive, sorted, known media only), globs, or ``-`` for a list on stdin:
            a path a line, or ended by NUL bytes as ``find -print0`` writes them.
        stdin: where ``-`` reads.
    """
    inputs = Inputs()
    seen: set[str] = set()
    for argument in arguments:
        if argument == "-" and stdin is not None:
            for path in _read_list(stdin):
                _add(path, inputs, seen)
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (takes absolute ones)
            if not matches:
                inputs.notes.append(f"nothing matches {argument!r}")
            for path in matches:
                _add(path, inputs, seen)
        else:
            _add(argument, inputs, seen)
    return inputs


def _read_list(stdin: IO[bytes]) -> Iterable[str]:
    """Paths of a list. Bytes that are no UTF-8 pass through, as in file names."""
    content = stdin.read()
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(line) for line in lines if line.strip()]


def _add(path: str, inputs: Inputs, seen: set[str]) -> None:
    def add_once(path: str) -> None:
        absolute = os.path.abspath(path)  # noqa: PTH100 (links stay)
        if absolute in seen:
            inputs.repeated += 1
        else:
            seen.add(absolute)
            inputs.paths.append(path)

    if not Path(path).is_dir():
        add_once(path)
        return
    before = len(inputs.paths) + inputs.repeated
    _walk(path, inputs, add_once, ())
    if len(inputs.paths) + inputs.repeated == before:
        inputs.notes.append(f"no media in {path!r}")
    elif is_frame_folder(path):
        inputs.notes.append(f"{path!r} may be the frames of one clip; each is read as a picture of its own")


def _counts(path: Path) -> bool:
    """Whether an entry is a regular file, or a link to nothing, which is an input that fails."""
    return path.is_file() or not path.exists()


def _walk(
    folder: str, inputs: Inputs, add: Callable[[str], None], above: tuple[tuple[int, int], ...]
) -> None:
    """Adds a folder's media: entries in the order of their names, a subfolder in its place."""
    try:
        facts = Path(folder).stat()
        identity = (facts.st_dev, facts.st_ino)
        if identity in above:  # a link back up
            return
        with os.scandir(folder) as entries:
            listed = sorted(entries, key=lambda entry: entry.name)
    except OSError:
        add(folder)  # a folder that cannot be listed is an input that fails, not one that vanishes
        return
    for entry in listed:
        is_link = entry.is_symlink()
        if entry.is_dir(follow_symlinks=False) or (is_link and Path(entry.path).is_dir()):
            _walk(entry.path, inputs, add, (*above, identity))
        elif is_media_path(entry.path) and _counts(Path(entry.path)):
            add(entry.path)
        else:
            inputs.skipped += 1
