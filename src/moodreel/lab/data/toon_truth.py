"""What only a toon set knows of its clips, read back from its ``truth`` folder."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from moodreel.errors import DataError
from moodreel.lab.data.manifest import Row
from moodreel.lab.data.toon import is_toon


@dataclass(frozen=True)
class ToonTruth:
    """What only a toon set knows of a clip.

    Attributes:
        style: how it is drawn.
        programme: what is acted; "" for a neutral face or nobody.
        decides: of a set with context: "face", "scene" or "both"; "" of any other.
    """

    style: str
    programme: str
    decides: str = ""


def read_truths(manifest: Path, rows: Sequence[Row]) -> list[ToonTruth] | None:
    """Style and programme of each clip of a toon set; None for any other data.

    Raises:
        DataError: the set has lost a file.
    """
    folder = manifest.resolve().parent
    if not is_toon(folder):
        return None
    truths = []
    for row in rows:
        path = folder / "truth" / f"{row.clip.stem}.json"
        try:
            content = json.loads(path.read_text("utf-8"))
            decides = str(content.get("decides", ""))
            truths.append(ToonTruth(str(content["style"]), str(content["programme"] or ""), decides))
        except (OSError, ValueError, KeyError) as error:
            raise DataError(f"{path}: no readable truth of a toon clip: {error}") from error
    return truths
