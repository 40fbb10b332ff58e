"""Bundles: the one thing that passes from lab to runtime.

A bundle is a folder, or a zip of one, with ``model.onnx``, ``bundle.json`` and ``card.md``. It may hold
``weights.safetensors``, which the runtime does not read. What ``bundle.json`` says is in
:mod:`moodreel.runtime.schema`. Only the standard library is imported.
"""

from __future__ import annotations

import hashlib
import os
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from moodreel.errors import BundleError
from moodreel.runtime.hub import fetch_bundle, is_on_hub
from moodreel.runtime.schema import BundleInfo

BUNDLED = Path(__file__).resolve().parent.parent / "bundles"
"""Folder of the bundles that ship with the package."""

MEMBER_LIMIT = 512 * 2**20
"""Largest file of a bundle that is read, in bytes."""

TEXT_LIMIT = 4 * 2**20
"""Largest ``bundle.json`` and ``card.md``."""

REQUIRED_FILES = ("bundle.json", "model.onnx", "card.md")
"""Files that every bundle has."""


@dataclass(frozen=True)
class Bundle:
    """An opened bundle: what it says, and where its files are read from.

    Attributes:
        info: content of ``bundle.json``.
        source: folder or zip, as a text.
        size: bytes of all its files.
        read: file name -> content; raises BundleError.
    """

    info: BundleInfo
    source: str
    size: int
    read: Callable[[str], bytes]

    def read_model(self) -> bytes:
        """Content of ``model.onnx``; see :meth:`read_checked`."""
        return self.read_checked("model.onnx")

    def read_checked(self, name: str) -> bytes:
        """Content of a file whose ``sha256`` stands in ``bundle.json``.

        Raises:
            BundleError: it cannot be read, is not the file that ``bundle.json`` was written for, or is a
                graph that would read other files.
        """
        content = self.read(name)
        if hashlib.sha256(content).hexdigest() != self.info.sha256.get(name):
            raise BundleError(f"{self.source}: {name} was altered: its sha256 is not the one in bundle.json")
        if name.endswith(".onnx") and b"location" in content:  # the key of ONNX's external data
            raise BundleError(
                f"{self.source}: {name} refers to other files; a graph must hold all its weights"
            )
        return content

    def read_card(self) -> str:
        """Text of ``card.md``."""
        return self.read("card.md").decode("utf-8", "replace")


def list_bundles() -> list[str]:
    """Names of the bundles that ship with the package, sorted."""
    return sorted(path.parent.name for path in BUNDLED.glob("*/bundle.json"))


def read_bundle(name_or_path: str | os.PathLike[str]) -> Bundle:
    """Opens a bundle. The network itself is read later, by :meth:`Bundle.read_model`.

    Args:
        name_or_path: name of a bundle that ships with the package, or a folder, or a .zip. A bare word is
            first a name; ``./word`` is always a path; ``hf:owner/name`` is fetched from the Hugging Face Hub.

    Raises:
        BundleError: there is none, or it is broken; the message names the file and the field.
        MissingExtra: ``hf:``, and the Hub's library is not installed.
    """
    text = os.fspath(name_or_path)
    if is_on_hub(text):
        text = str(fetch_bundle(text))
        name_or_path = Path(text)
    path = Path(text)
    is_word = isinstance(name_or_path, str) and path.name == text
    if is_word and text in list_bundles():
        path = BUNDLED / text
    elif is_word and not path.exists():
        available = ", ".join(list_bundles()) or "none"
        raise BundleError(f"no bundle {text!r} in this version; available: {available}")
    if path.is_dir():
        read, size = _open_folder(path)
    elif path.is_file():
        read, size = _open_zip(path)
    else:
        raise BundleError(f"{path}: no such folder or .zip")
    source = str(path)
    try:
        text = read("bundle.json").decode("utf-8")
    except UnicodeDecodeError as error:
        raise BundleError(f"{source}/bundle.json: not UTF-8") from error
    return Bundle(BundleInfo.from_json(text, f"{source}/bundle.json"), source, size, read)


def _find_limit(name: str) -> int:
    return min(MEMBER_LIMIT, TEXT_LIMIT) if name.endswith((".json", ".md")) else MEMBER_LIMIT


def _flatten(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


def _open_folder(folder: Path) -> tuple[Callable[[str], bytes], int]:
    for name in REQUIRED_FILES:
        if not (folder / name).is_file():
            raise BundleError(f"{folder}: not a bundle: no {name}")

    def read(name: str) -> bytes:
        path = folder / name
        try:
            if path.stat().st_size > _find_limit(name):
                raise BundleError(f"{path}: larger than {_find_limit(name)} bytes")
            return path.read_bytes()
        except OSError as error:
            raise BundleError(f"{path}: {error.strerror or error}") from error

    return read, sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _open_zip(path: Path) -> tuple[Callable[[str], bytes], int]:
    """Reads a zip in memory; its files lie at its root or all in one folder. Nothing is unpacked to disk."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
    except Exception as error:  # of a damaged directory: struct.error, IndexError, UnicodeDecodeError ...
        raise BundleError(f"{path}: not a folder and not a readable .zip: {_flatten(error)}") from error
    for member in members:
        parts = PurePosixPath(member.filename)
        if parts.is_absolute() or ".." in parts.parts or "\\" in member.filename or ":" in member.filename:
            raise BundleError(f"{path}: unsafe name in the zip: {member.filename!r}")
        if member.file_size > MEMBER_LIMIT:
            raise BundleError(f"{path}: {member.filename!r} is larger than {MEMBER_LIMIT} bytes")
    names = [member.filename for member in members]
    root = next((name.removesuffix("bundle.json") for name in names if name.endswith("bundle.json")), "")
    for name in REQUIRED_FILES:
        if names.count(root + name) != 1:
            raise BundleError(f"{path}: not a bundle: {'no' if root + name not in names else 'two'} {name}")

    def read(name: str) -> bytes:
        try:
            with zipfile.ZipFile(path) as archive, archive.open(root + name) as file:
                content = file.read(_find_limit(name) + 1)
        except Exception as error:  # zlib.error, EOFError, BadZipFile, and whatever else broken data gives
            raise BundleError(f"{path}: {name} cannot be read: {_flatten(error)}") from error
        if len(content) > _find_limit(name):
            raise BundleError(f"{path}: {name} is larger than {_find_limit(name)} bytes")
        return content

    return read, path.stat().st_size
