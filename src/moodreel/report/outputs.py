"""What ``predict`` draws beside its rows: ``--report`` and ``--overlay``."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from moodreel.report.overlay import FORMATS, OverlayFolder
from moodreel.types import Result

if TYPE_CHECKING:
    from moodreel.media.pool import DecoderPool


def find_fault(report: Path | None, overlay: Path | None, kind: str | None) -> str | None:
    """What is wrong with the options, in one line, before any work is done; None when nothing is."""
    if kind is not None and overlay is None:
        return "--overlay-format: needs --overlay DIR"
    if kind not in (None, *FORMATS):
        return f"--overlay-format {kind}: expected {', '.join(FORMATS)}"
    for option, folder in [("--report", report), ("--overlay", overlay)]:
        if folder is not None and folder.exists() and not folder.is_dir():
            return f"{option} {folder}: is no folder"
        if folder is not None and not folder.parent.is_dir():
            return f"{option} {folder}: no folder {folder.parent}"
    return None


@contextmanager
def open_outputs(
    report: Path | None,
    overlay: Path | None,
    kind: str | None = None,
    abstain: float | None = None,
    decoders: DecoderPool | None = None,
) -> Iterator[Callable[[Result], list[str]]]:
    """What draws each result, where it was asked for. The report takes its place when the block ends well.

    Args:
        report, overlay: folders, or None.
        kind: of the overlays; None is "gif".
        abstain: the threshold that was asked for.
        decoders: who decodes what is drawn; None decodes in this process.

    Yields:
        A function of a result: what could not be drawn, a line each.
    """
    with ExitStack() as stack:
        adders: list[Callable[[Result], list[str]]] = []
        if report is not None:
            from moodreel.report.html import Report

            adders.append(stack.enter_context(Report(report, abstain=abstain, decoders=decoders)).add)
        if overlay is not None:
            adders.append(OverlayFolder(overlay, kind or "gif", decoders=decoders).add)
        yield lambda result: [problem for add in adders for problem in add(result)]
