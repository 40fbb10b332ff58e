"""Inputs of a run from local paths and from stores: one stream, in the order of the arguments."""

from __future__ import annotations

import glob
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import IO, Any

from moodreel.media import is_media_path
from moodreel.runtime.batch import Input, Inputs, Key, Root, list_roots, stream_inputs
from moodreel.runtime.large import take_stamp
from moodreel.runtime.parts import Stamp
from moodreel.runtime.stores import is_url, join_url, make_stamp, open_store, strip_local, try_often

UNKNOWN = Stamp(None, None)
"""Of a URL on a list, which is not looked at before it is read, and of what is not there."""


@dataclass(frozen=True)
class Found:
    """An input with its stamp, as the listing gave both."""

    input: Input
    stamp: Stamp


def list_all_roots(arguments: Sequence[str], stdin: IO[bytes] | None, notes: Inputs) -> list[Root]:
    """As :func:`moodreel.runtime.batch.list_roots`, URLs among them.

    Raises:
        DataError: a URL's scheme is not known, or its store cannot be asked.
    """
    roots: list[Root] = []
    for position, argument in enumerate(arguments):
        text = strip_local(argument)
        if not is_url(text):
            found = list_roots([text], stdin, notes)
            roots += [Root(strip_local(r.path), r.key._replace(position=position)) for r in found]
            continue
        store, path = open_store(text)
        if "http" in text.partition(":")[0] or not glob.has_magic(path) or store.exists(path):
            roots.append(Root(text, Key(position)))
            continue
        chain = text.partition("::")
        matches = [store.unstrip_protocol(name) + chain[1] + chain[2] for name in store.glob(path)]
        if not matches:
            notes.notes.append(f"nothing matches {argument!r}")
        roots += [Root(url, Key(position, url)) for url in sorted(matches)]
    return roots


def stream_all(roots: Sequence[Root], counts: Inputs) -> Iterator[Found]:
    """As :func:`moodreel.runtime.batch.stream_inputs`, URLs among them, each input with its stamp.

    Of a store's folder, the names in it and in the folders above are held.

    Args:
        roots: from :func:`list_all_roots`.
        counts: is told of what else is met.
    """
    seen: set[str] | None = set() if _overlap(roots) else None
    for root in roots:
        for found in _stream_root(root, counts):
            if seen is not None:
                identity = _identify(found.input.path)
                if identity in seen:
                    counts.repeated += 1
                    continue
                seen.add(identity)
            yield found


def _identify(path: str) -> str:
    return path if is_url(path) else os.path.abspath(path)  # noqa: PTH100 (links stay)


def _overlap(roots: Sequence[Root]) -> bool:
    """Whether a root is another one or lies inside it: else no path can come twice."""
    names = sorted(tuple(_identify(root.path).rstrip("/").split("/")) for root in roots)
    return any(after[: len(before)] == before for before, after in pairwise(names))


def _stream_root(root: Root, counts: Inputs) -> Iterator[Found]:
    if not is_url(root.path):
        for entry in stream_inputs([root], counts):
            yield Found(entry, take_stamp(entry.path))
        return
    named = Input(root.path, root.path, root.key)
    if root.key.root.isdigit():  # on a list: a request for each would take longer than the reading
        yield Found(named, UNKNOWN)
        return
    store, path = open_store(root.path)
    try:
        info = try_often(lambda: store.info(path))
    except Exception:  # each store has errors of its own; the reading says what is wrong
        yield Found(named._replace(closed=True), UNKNOWN)
        return
    if info.get("type") != "directory":
        yield Found(named, make_stamp(info))
        return
    empty = True
    for found in _walk(root, store, path, "", counts):
        empty = False
        yield found
    if empty:
        counts.notes.append(f"no media in {root.path!r}")


def _walk(root: Root, store: Any, folder: str, inside: str, counts: Inputs) -> Iterator[Found]:
    """A folder's media: entries in the order of their names, a subfolder in its place."""

    def make(inner: str) -> Input:
        path = join_url(root.path, inner) if inner else root.path
        return Input(path, inner or root.path, root.key._replace(inside=inner.replace("/", "\0")))

    try:
        entries = try_often(lambda: store.ls(folder, detail=True))
    except Exception:  # as in _stream_root
        yield Found(make(inside)._replace(closed=True), UNKNOWN)
        return
    named = [(entry["name"].rstrip("/").rpartition("/")[2], entry) for entry in entries]
    own = folder.rstrip("/")
    for name, entry in sorted(named, key=lambda pair: pair[0]):
        if not name or entry["name"].rstrip("/") == own:  # some stores list a folder in itself
            continue
        inner = f"{inside}/{name}" if inside else name
        if entry.get("type") == "directory":
            yield from _walk(root, store, entry["name"], inner, counts)
        elif is_media_path(name):
            yield Found(make(inner), make_stamp(entry))
        else:
            counts.skipped += 1
