"""The verb ``push``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from moodreel.cli.console import write


def push(
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help="A bundle's folder.")],
    name: Annotated[str, typer.Argument(metavar="hf:OWNER/NAME", help="Where on the Hugging Face Hub.")],
    public: Annotated[bool, typer.Option("--public", help="Make a new repository public.")] = False,
) -> None:
    """Push a bundle to the Hugging Face Hub (needs the "hub" extra); load it as hf:OWNER/NAME."""
    from moodreel.runtime.hub import push_bundle
    from moodreel.runtime.recognizer import load

    load(bundle)  # what does not load here would not load there
    write(f"{push_bundle(bundle, name, public=public)}\n")
