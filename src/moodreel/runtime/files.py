"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO


@contextmanager
def replace_file(path: Path) -> Iterator[IO[bytes]]:
    """A file to write, which takes the name ``path`` when the block ends well.

    It is written beside its place and renamed over it. When the block raises, an older file of that name is
    as it was, and nothing is left behind. A symbolic link is followed: the file it points at is replaced.

    Args:
        path: of the file; its folder must exist.

    Raises:
        OSError: the folder is missing or cannot be written, or the disk is full.
    """
    place = Path(os.path.realpath(path))
    beside = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        beside.replace(place)
    except BaseException:
        with suppress(OSError):
            beside.unlink(missing_ok=True)
        raise
    with suppress(OSError):  # the rename itself; not every file system lets a folder be synced
        folder = os.open(place.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def replace_folder(draft: Path, place: Path) -> None:
    """Gives a finished folder its name; an older one of that name is gone then, and never before.

    On Linux the two change places in one step: a kill at any moment finds one of them whole. Elsewhere
    the older one steps aside under a hidden name first.

    Args:
        draft: the finished folder; on the same file system.
        place: where it belongs.

    Raises:
        OSError: the folder above cannot be written. The older one is as it was.
    """
    if not place.exists():
        draft.rename(place)
        return
    if not _exchange(draft, place):
        aside = place.with_name(f".{place.name[:200]}.{secrets.token_hex(4)}.old")
        place.rename(aside)
        try:
            draft.rename(place)
        except BaseException:
            aside.rename(place)
            raise
        draft = aside
    shutil.rmtree(draft, ignore_errors=True)


def _exchange(one: Path, other: Path) -> bool:
    """Lets two paths change places (Linux: renameat2 with RENAME_EXCHANGE); False where that is not known."""
    try:
        import ctypes

        rename = ctypes.CDLL(None, use_errno=True).renameat2
    except (OSError, TypeError, AttributeError):
        return False
    here, exchange = -100, 2  # AT_FDCWD, RENAME_EXCHANGE
    result: int = rename(here, os.fsencode(one), here, os.fsencode(other), exchange)
    return result == 0
