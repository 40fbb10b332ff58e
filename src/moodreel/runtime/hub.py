"""Bundles on the Hugging Face Hub: fetched where a name says ``hf:``, pushed where that is asked for.

    moodreel.load("hf:owner/name")          # or hf:owner/name@revision

Nothing else in this package reaches out to a network by itself. What is fetched is a bundle like any other:
its files are checked against the hashes in ``bundle.json``, and none of them is a pickle.
"""

from __future__ import annotations

import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

from moodreel.errors import BundleError, MissingExtra

PREFIX = "hf:"

FILES = ("bundle.json", "card.md", "*.onnx", "weights.safetensors")
"""What of a repository is fetched or pushed."""


def is_on_hub(name: str) -> bool:
    """Whether a bundle's name asks for the Hub."""
    return name.startswith(PREFIX)


def parse_name(name: str) -> tuple[str, str | None]:
    """``hf:owner/name@revision`` -> (``owner/name``, revision or None).

    Raises:
        BundleError: it is not that.
    """
    match = re.fullmatch(r"hf:(\w[\w.-]*/\w[\w.-]*)(?:@(\w[\w./-]*))?", name)
    if match is None:
        raise BundleError(f"{name}: expected hf:owner/name or hf:owner/name@revision")
    return match[1], match[2]


def fetch_bundle(name: str) -> Path:
    """Folder of a bundle, fetched or found in the Hub's cache (``HF_HOME``).

    Args:
        name: ``hf:owner/name`` or ``hf:owner/name@revision``.

    Raises:
        MissingExtra: the Hub's library is not installed.
        BundleError: there is no such repository, or it cannot be reached.
    """
    repository, revision = parse_name(name)
    hub = _import_hub()
    try:
        folder = hub.snapshot_download(repository, revision=revision, allow_patterns=list(FILES))
    except Exception as error:  # of the Hub, of HTTP, of the disk: families without a common root
        raise BundleError(f"{name}: cannot be fetched: {_flatten(error)}") from error
    return Path(str(folder))


def push_bundle(folder: Path, name: str, *, public: bool = False) -> str:
    """Pushes a bundle's folder; the repository is made where there is none.

    Args:
        folder: of a bundle that loads.
        name: ``hf:owner/name``.
        public: whether a new repository is public; one that is there stays as it is.

    Returns:
        where it lies now.

    Raises:
        MissingExtra: the Hub's library is not installed.
        BundleError: no revision may be named, or the Hub refuses.
    """
    repository, revision = parse_name(name)
    if revision is not None:
        raise BundleError(f"{name}: a bundle is pushed to a repository, not to a revision")
    hub = _import_hub()
    api = hub.HfApi(library_name="moodreel")
    with tempfile.TemporaryDirectory() as draft:
        for pattern in FILES:
            for path in folder.glob(pattern):
                shutil.copy(path, draft)
        card = (folder / "card.md").read_text("utf-8")
        (Path(draft) / "README.md").write_text(f"---\nlibrary_name: moodreel\n---\n\n{card}", "utf-8")
        try:
            place = api.create_repo(repository, private=not public, exist_ok=True)
            api.upload_folder(
                repo_id=repository, folder_path=draft, commit_message=f"Add bundle {folder.name}"
            )
        except Exception as error:
            raise BundleError(f"{name}: cannot be pushed: {_flatten(error)}") from error
    return str(place)


def _import_hub() -> Any:
    try:
        import huggingface_hub
    except ImportError as error:
        raise MissingExtra("hub", "bundles on the Hugging Face Hub") from error
    return huggingface_hub


def _flatten(error: Exception) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:300]
