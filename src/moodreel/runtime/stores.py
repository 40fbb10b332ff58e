"""Inputs and runs on any store that fsspec knows: S3, GCS, Azure, HDFS, SFTP, HTTP, an archive, memory.

A URL has a scheme of two letters or more (``s3://bucket/clips``, ``zip://clips::file:///a.zip``); everything
else is a local path, and ``file://`` is taken for one. Each scheme but a few needs a package of its own
(s3fs, gcsfs, adlfs), whose settings and credentials are its own.
"""

from __future__ import annotations

import datetime
import hashlib
import io
import re
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, TypeVar

from moodreel.errors import DataError, LimitExceeded, MediaError, MissingExtra
from moodreel.runtime.parts import Stamp

T = TypeVar("T")

WHOLE_PUTS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az", "adl", "oss", "memory"})
"""Schemes whose files appear whole or not at all, and which have no folders to make."""

TRIES = 3
"""How often a request is made before its error counts."""

PAUSE_SECONDS = 0.5
"""Before the second try; twice that before the third."""

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+(://|::)")


def is_url(text: str) -> bool:
    """Whether a PATH names a store, not a local file."""
    return _URL.match(text) is not None


def strip_local(text: str) -> str:
    """``file:///a/b`` and ``local:///a/b`` as the path they are; anything else as it is."""
    match = re.match(r"(?:file|local)://(/.*)", text, re.DOTALL)
    return match[1] if match else text


def open_store(url: str) -> tuple[Any, str]:
    """The file system of a URL, and the path inside it.

    Raises:
        MissingExtra: fsspec is not installed.
        DataError: no such scheme, or its package is not installed.
    """
    try:
        from fsspec.core import url_to_fs
    except ModuleNotFoundError as error:
        raise MissingExtra("cluster", f"reading {url}") from error
    try:
        # no cache of listings: it would hold every name, and hide what came since
        store, path = url_to_fs(url, use_listings_cache=False)
    except (ImportError, ValueError, OSError) as error:
        raise DataError(f"{url}: {_describe(error)}") from None
    return store, path


def join_url(url: str, relative: str) -> str:
    """A URL with a path inside it; of a chain, inside its first link."""
    head, *chain = url.split("::", 1)
    return "::".join(
        [f"{head.rstrip('/')}/{relative}" if not head.endswith("://") else head + relative, *chain]
    )


def make_stamp(info: dict[str, Any]) -> Stamp:
    """What a listing says of a file, to tell whether it is still the one that was read.

    ``mtime_ns`` is the time of change where the store gives no checksum; where it does (S3's ETag), 63 bits
    of a hash of that.
    """
    size = info.get("size")
    checksum = next(
        (info[name] for name in ("ETag", "etag", "md5Hash", "content_md5") if info.get(name)), None
    )
    names = ("mtime", "LastModified", "last_modified", "updated", "modified", "created", "date_time")
    changed: Any = checksum or next((info[name] for name in names if info.get(name) is not None), None)
    if isinstance(changed, datetime.datetime):
        changed = changed.timestamp()
    if isinstance(changed, int | float):
        return Stamp(size, round(changed * 1e9))
    if changed is not None:
        digest = hashlib.blake2b(str(changed).encode(), digest_size=8).digest()
        changed = int.from_bytes(digest, "big") >> 1
    return Stamp(size, changed)


def try_often(request: Callable[[], T]) -> T:
    """Makes a request to a store, again after a pause where its failure may pass.

    Raises:
        Exception: whatever the last try raises; at once what a further try would not change.
    """
    for left in reversed(range(TRIES)):
        try:
            return request()
        except (FileNotFoundError, PermissionError, IsADirectoryError, NotADirectoryError, MediaError):
            raise
        except Exception:
            if not left:
                raise
            time.sleep(PAUSE_SECONDS * 2 ** (TRIES - 1 - left))
    raise AssertionError


def read_url(url: str, size: int | None, limit: int) -> bytes:
    """Content of a file, no larger than ``limit``.

    Args:
        url: of the file.
        size: in bytes, as a listing said; None asks the store.
        limit: in bytes; checked before anything is read.

    Raises:
        MediaError: it is not there or cannot be read; LimitExceeded: it is larger.
    """

    def request() -> bytes:
        store, path = open_store(url)
        length = store.info(path).get("size") if size is None else size
        if length is not None and length > limit:
            raise LimitExceeded(url, f"{length} bytes, more than the limit of {limit} for a remote file")
        if length is not None:
            content: bytes = store.cat_file(path)
        else:
            with store.open(path, "rb") as file:
                content = file.read(limit + 1)
        if len(content) > limit:
            raise LimitExceeded(url, f"more bytes than the limit of {limit} for a remote file")
        return content

    try:
        return try_often(request)
    except MediaError:
        raise
    except FileNotFoundError:
        raise MediaError(url, "no such file") from None
    except PermissionError:
        raise MediaError(url, "permission denied") from None
    except Exception as error:  # each store has errors of its own
        raise MediaError(url, f"cannot be opened: {_describe(error)}") from None


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text or type(error).__name__


@dataclass(frozen=True, order=True)
class StorePath:
    """A folder or file of a store, with as much of :class:`pathlib.Path` as a run needs.

    Attributes:
        url: of it.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def __truediv__(self, name: str) -> StorePath:
        return StorePath(join_url(self.url, name))

    @property
    def name(self) -> str:
        """The last part."""
        return self.url.split("::")[0].rstrip("/").rpartition("/")[2]

    def _ask(self, request: Callable[[Any, str], T]) -> T:
        store, path = open_store(self.url)
        try:
            return try_often(lambda: request(store, path))
        except OSError:
            raise
        except Exception as error:
            raise DataError(f"{self.url}: {_describe(error)}") from None

    def exists(self) -> bool:
        """Whether it is there; of a folder of an object store, whether anything is in it."""
        return self._ask(lambda store, path: bool(store.exists(path)))

    def is_dir(self) -> bool:
        """Whether it is a folder."""
        return self._ask(lambda store, path: bool(store.isdir(path)))

    def iterdir(self) -> Iterator[StorePath]:
        """What is in the folder, unsorted; nothing, where a store has no folders without files."""
        try:
            entries = self._ask(lambda store, path: store.ls(path, detail=False))
        except FileNotFoundError:
            return
        for entry in entries:
            name = entry.rstrip("/").rpartition("/")[2]
            if name and name != self.name:
                yield self / name

    def mkdir(self, parents: bool = True, exist_ok: bool = True) -> None:
        """Makes a folder, where the store has such."""

        def request(store: Any, path: str) -> None:
            if not _list_protocols(store) & WHOLE_PUTS:
                store.makedirs(path, exist_ok=exist_ok)

        self._ask(request)

    def rmdir(self) -> None:
        """Leaves the folder: an empty one is none."""

    def open(self, mode: str = "rb") -> IO[bytes]:
        """Opens it for reading."""
        file: IO[bytes] = self._ask(lambda store, path: store.open(path, mode))
        return file

    @contextmanager
    def replace(self) -> Iterator[IO[bytes]]:
        """A file to write, which is there, whole, when the block ends well; an older one is replaced.

        It is held in memory until then.

        Raises:
            OSError, DataError: it cannot be written.
        """
        buffer = io.BytesIO()
        yield buffer
        content = buffer.getvalue()

        def request(store: Any, path: str) -> None:
            if _list_protocols(store) & WHOLE_PUTS:
                store.pipe_file(path, content)
                return
            folder, _, name = path.rpartition("/")
            beside = f"{folder}/.{name}.{secrets.token_hex(4)}.tmp"
            store.pipe_file(beside, content)
            store.mv(beside, path)

        self._ask(request)


def _list_protocols(store: Any) -> set[str]:
    return {store.protocol} if isinstance(store.protocol, str) else set(store.protocol)


def open_folder(text: str) -> Path | StorePath:
    """A folder of a run, wherever it is."""
    text = strip_local(text)
    return StorePath(text) if is_url(text) else Path(text)
