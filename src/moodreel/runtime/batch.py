"""Many inputs: from the arguments of a command to a stream of paths, or a list.

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
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import IO, NamedTuple

from moodreel.media import is_frame_folder, is_media_path


class Key(NamedTuple):
    """Where an input stands: keys in ascending order are inputs in their order.

    Attributes:
        position: of its argument.
        root: among the matches of a glob or the lines of a list: what puts them in order; else empty.
        inside: path inside a folder with NUL for the separator, which sorts names folder by folder; empty for
            what was named outright.
    """

    position: int
    root: str = ""
    inside: str = ""

    def covers(self, other: Key) -> bool:
        """Whether the other lies inside, if this is a folder."""
        if self[:2] != other[:2] or not other.inside:
            return False
        return not self.inside or other.inside.startswith(self.inside + "\0")


class Input(NamedTuple):
    """One input.

    Attributes:
        path: the argument joined with the relative path.
        relative: path inside the folder that was named, with ``/``; of what was named outright, its name.
        key: its place in the order.
        closed: whether it is a folder that could not be listed, or nothing that was named: what it holds is
            not known.
    """

    path: str
    relative: str
    key: Key
    closed: bool = False


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
    inputs.paths += [entry.path for entry in stream_inputs(list_roots(arguments, stdin, inputs), inputs)]
    return inputs


@dataclass(frozen=True)
class Root:
    """A file or folder that was named."""

    path: str
    key: Key


def list_roots(arguments: Sequence[str], stdin: IO[bytes] | None, notes: Inputs) -> list[Root]:
    """What the arguments name, before any folder is looked into.

    Args:
        arguments, stdin: as in :func:`collect_paths`.
        notes: is told of globs without a match.
    """
    roots: list[Root] = []
    for position, argument in enumerate(arguments):
        if argument == "-" and stdin is not None:
            lines = enumerate(_read_list(stdin))
            roots += [Root(path, Key(position, f"{number:012}")) for number, path in lines]
        elif not os.path.lexists(argument) and glob.has_magic(argument):
            matches = sorted(glob.glob(argument, recursive=True))  # noqa: PTH207 (takes absolute ones)
            if not matches:
                notes.notes.append(f"nothing matches {argument!r}")
            roots += [Root(path, Key(position, path)) for path in matches]
        else:
            roots.append(Root(argument, Key(position)))
    return roots


def stream_inputs(roots: Sequence[Root], counts: Inputs) -> Iterator[Input]:
    """Yields the inputs in their order, each once.

    What is held is the names of the folders on the way down; every input's, where one root lies in another
    (so that some could come twice).

    Args:
        roots: from :func:`list_roots`.
        counts: is told of what else is met: ``skipped``, ``repeated`` and ``notes``.
    """
    seen: set[str] | None = set() if _overlap(roots) else None
    for root in roots:
        is_folder = Path(root.path).is_dir()
        found = 0
        for entry in _walk(root, "", (), counts) if is_folder else [_name_input(root)]:
            found += 1
            if seen is not None:
                absolute = os.path.abspath(entry.path)  # noqa: PTH100 (links stay)
                if absolute in seen:
                    counts.repeated += 1
                    continue
                seen.add(absolute)
            yield entry
        if is_folder and not found:
            counts.notes.append(f"no media in {root.path!r}")
        elif is_folder and is_frame_folder(root.path):
            counts.notes.append(
                f"{root.path!r} may be the frames of one clip; each is read as a picture of its own"
            )


def _overlap(roots: Sequence[Root]) -> bool:
    """Whether a root is another one or lies inside it: else no path can come twice."""
    parts = sorted(Path(os.path.abspath(root.path)).parts for root in roots)  # noqa: PTH100 (links stay)
    return any(after[: len(before)] == before for before, after in pairwise(parts))


def _read_list(stdin: IO[bytes]) -> list[str]:
    """Paths of a list. Bytes that are no UTF-8 pass through, as in file names."""
    content = stdin.read()
    lines = content.split(b"\0") if b"\0" in content else content.splitlines()
    return [os.fsdecode(line) for line in lines if line.strip()]


def _walk(root: Root, inside: str, above: tuple[tuple[int, int], ...], counts: Inputs) -> Iterator[Input]:
    """Yields a folder's media: entries in the order of their names, a subfolder in its place.

    Args:
        root: where the walk began.
        inside: the folder, relative to it, with ``/``.
        above: device and inode of the folders above.
        counts: is told of files that are no media.
    """
    folder = os.path.join(root.path, inside) if inside else root.path  # noqa: PTH118 ("./" stays)
    try:
        facts = Path(folder).stat()
        identity = (facts.st_dev, facts.st_ino)
        if identity in above:  # a link back up
            return
        with os.scandir(folder) as entries:
            names, folders = _sort_out(entries, counts)
    except OSError:
        # a folder that cannot be listed is an input that fails, not one that vanishes
        yield _make_input(root, folder, inside)._replace(closed=True)
        return
    start = f"{inside}/" if inside else ""
    for name in names:
        if name in folders:
            yield from _walk(root, start + name, (*above, identity), counts)
        else:
            yield _make_input(root, os.path.join(folder, name), start + name)  # noqa: PTH118


def _name_input(root: Root) -> Input:
    """What was named outright and is no folder."""
    return Input(root.path, root.path, root.key, closed=not Path(root.path).exists())


def _make_input(root: Root, path: str, inside: str) -> Input:
    return Input(path, inside or root.path, root.key._replace(inside=inside.replace("/", "\0")))


def _sort_out(entries: Iterator[os.DirEntry[str]], counts: Inputs) -> tuple[list[str], set[str]]:
    """Names of a folder's media and folders, sorted, and which of them are folders."""
    names, folders = [], set()
    for entry in entries:
        if _is_folder(entry):
            folders.add(entry.name)
        elif not is_media_path(entry.name) or not _is_input(entry):
            counts.skipped += 1
            continue
        names.append(entry.name)
    names.sort()
    return names, folders


def _is_folder(entry: os.DirEntry[str]) -> bool:
    if entry.is_symlink():
        return os.path.isdir(entry.path)  # noqa: PTH112 (a link round to itself does not raise)
    return entry.is_dir()


def _is_input(entry: os.DirEntry[str]) -> bool:
    """Whether an entry is a regular file, or a link to nothing, which is an input that fails."""
    if entry.is_symlink():
        path = entry.path
        return os.path.isfile(path) or not os.path.exists(path)  # noqa: PTH110, PTH113
    return entry.is_file()
