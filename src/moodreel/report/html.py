"""A page to look at: every clip with its attention, its scores and its place on the circumplex.

Everything is inside the page, styles and pictures too; it has no script and asks nothing of the network (its
Content-Security-Policy forbids it). Beyond 200 clips it is paged.
"""

from __future__ import annotations

import os
import secrets
import shutil
from base64 import b64encode
from collections.abc import Iterable
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from moodreel.emotions import QUADRANTS
from moodreel.errors import SettingsError
from moodreel.report.colours import NEUTRAL, PALETTE
from moodreel.report.describe import KEYS, choose_columns, describe_result, format_signed
from moodreel.report.overlay import OverlaySettings, describe_error, encode_overlay, open_source
from moodreel.report.overview import Overview
from moodreel.types import Result

if TYPE_CHECKING:
    import jinja2

    from moodreel.media.pool import DecoderPool

PER_PAGE = 200
"""Inputs on one page."""

PICTURES = OverlaySettings(side=288, frames=48, panel=False, quality=55, effort=3)
"""Of the animations in a page: small, so that 200 of them can be loaded."""

_PART = "<!--part-->"
"""Where the list and the clips of a page go."""

_MARK = '<meta name="generator" content="moodreel'
"""By which a page of an older report is known as ours."""


class Report:
    """A report that grows with the results and takes its place when the block ends well.

    Until then its parts lie in the folder under hidden names; when the block raises, they go and an older
    report stays as it was. Memory does not grow with the number of results.

    Args:
        folder: made where it is missing (its parent must be there). Gets ``index.html``, ``page-2.html``
            and so on; further pages of an older report are removed.
        abstain: the threshold that was asked for, to say why a clip has no category.
        per_page: inputs on one page.
        pictures: size of the animations.
        decoders: who decodes them; None decodes in this process.

    Raises:
        SettingsError: ``per_page`` is below 1.
        OSError: the folder cannot be made, or a page cannot be written.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        *,
        abstain: float | None = None,
        per_page: int = PER_PAGE,
        pictures: OverlaySettings = PICTURES,
        decoders: DecoderPool | None = None,
    ) -> None:
        if per_page < 1:
            raise SettingsError("per_page", per_page, "at least 1")
        self.folder = Path(folder)
        self.folder.mkdir(exist_ok=True)
        self._abstain, self._per_page, self._pictures = abstain, per_page, pictures
        self._decoders = decoders
        self._token = secrets.token_hex(4)
        self._drafts: list[Path] = []
        self._templates = load_templates()
        self._overview = Overview()
        self._listed: list[dict[str, Any]] = []  # of the page in work
        self._pages: list[tuple[Path, Path]] = []  # of each page: its list and its clips
        self._clips: Any = None

    def __enter__(self) -> Report:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._finish()
        finally:
            if self._clips is not None:
                with suppress(OSError):  # it is of no use any more: what could not be written has been raised
                    self._clips.close()
            for draft in self._drafts:
                with suppress(OSError):
                    draft.unlink(missing_ok=True)

    @property
    def page_count(self) -> int:
        """Pages so far."""
        return max(1, -(-self._overview.total // self._per_page))

    def add(self, result: Result, source: Any = None) -> list[str]:
        """Adds one result, an error too.

        Args:
            result: of any input.
            source: to draw the animation from, as in :func:`moodreel.media.open_media`; None is the path
                ``result.source``.

        Returns:
            Why its animation could not be drawn, one line; nothing where it could.

        Raises:
            OSError: the page cannot be written.
        """
        picture, problem = None, None
        if result.ok:
            try:
                with open_source(result, source, self._decoders) as media:
                    picture = encode_overlay(result, media, self._pictures)
            except Exception as error:  # the row stays; its place says why there is no picture
                problem = f"no picture: {describe_error(error)}"
        number = self._overview.total + 1
        clip = describe_result(result, number, self._abstain)
        clip["page"] = name_page(
            self.page_count if number % self._per_page != 1 or number == 1 else self.page_count + 1
        )
        clip["problem"], clip["picture"] = problem, None
        if picture is not None:
            clip["picture"] = {
                "moving": "data:image/webp;base64," + b64encode(picture.moving).decode("ascii"),
                "still": "data:image/webp;base64," + b64encode(picture.still).decode("ascii"),
                "is_still": picture.moving == picture.still,
                "width": picture.width,
                "height": picture.height,
                "note": picture.note,
            }
        if self._clips is None:
            self._clips = self._draft("clips").open("w", encoding="utf-8")
        self._clips.write(self._templates.get_template("clip.html").render(clip=clip))
        clip.pop("picture", None)
        self._listed.append(clip)
        self._overview.add(clip)
        if number % self._per_page == 0:
            self._close_page()
        return [problem] if problem else []

    def _draft(self, kind: str) -> Path:
        """A hidden file that is gone at the end, whatever happens."""
        path = self.folder / f".{kind}-{len(self._drafts)}.{self._token}.tmp"
        self._drafts.append(path)
        return path

    def _close_page(self) -> None:
        """Puts away what the page in work needs besides its clips."""
        self._clips.close()
        clips, self._clips = Path(self._clips.name), None
        listed = self._draft("list")
        columns = choose_columns(self._listed)
        text = self._templates.get_template("list.html").render(clips=self._listed, columns=columns)
        listed.write_text(text if self._overview.total > 1 else "", encoding="utf-8")
        self._pages.append((listed, clips))
        self._listed = []

    def _finish(self) -> None:
        """Joins the parts to pages, then gives all of them their names, the first one last."""
        from importlib.metadata import version

        if self._clips is not None:
            self._close_page()
        count = max(1, len(self._pages))
        ready: list[tuple[Path, Path]] = []
        overview = self._overview.describe()
        for k in range(count):
            parts = self._pages[k] if self._pages else (None, None)
            facts = {
                "number": k + 1,
                "count": count,
                "names": [name_page(n) for n in range(1, count + 1)],
                "version": version("moodreel"),
                "style": read_style(),
                "per_page": self._per_page,
            }
            text = self._templates.get_template("page.html").render(page=facts, overview=overview)
            pieces = text.split(_PART)  # no name can hold it: they are escaped
            draft = self._draft("page")
            with draft.open("w", encoding="utf-8") as file:
                for text, part in zip(pieces, (*parts, None), strict=True):
                    file.write(text)
                    if part is not None:
                        with part.open(encoding="utf-8") as stream:
                            shutil.copyfileobj(stream, file)
                        part.unlink()
                file.flush()
                os.fsync(file.fileno())
            ready.append((draft, self.folder / name_page(k + 1)))
        for draft, place in reversed(ready):
            draft.replace(place)
        self._remove_older(count)

    def _remove_older(self, count: int) -> None:
        """Pages of a longer report that stood here before; nothing else."""
        number = count + 1
        while (place := self.folder / name_page(number)).is_file():
            with place.open("rb") as file:
                if _MARK.encode() not in file.read(1024):
                    return
            place.unlink()
            number += 1


def write_report(
    results: Iterable[Result], folder: str | os.PathLike[str], *, abstain: float | None = None
) -> list[str]:
    """Writes a report of results whose sources are paths.

    Args:
        results: as :meth:`moodreel.Recognizer.map` gives them.
        folder: as in :class:`Report`.
        abstain: as in :class:`Report`.

    Returns:
        A line for each animation that could not be drawn.

    Raises:
        OSError: the report cannot be written.
    """
    with Report(folder, abstain=abstain) as report:
        return [f"{result.source}: {line}" for result in results for line in report.add(result)]


def name_page(number: int) -> str:
    """File name of a page; the first is 1."""
    return "index.html" if number == 1 else f"page-{number}.html"


@cache
def load_templates(*folders: Path) -> jinja2.Environment:
    """The templates of the report, and of other folders, which come first.

    Args:
        folders: with further templates.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    # Autoescape for every template, whatever its name: file names and messages are not to be trusted.
    templates = Environment(
        loader=FileSystemLoader([*folders, Path(__file__).parent / "templates"]),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["signed"] = format_signed
    return templates


@cache
def read_style() -> str:
    """The style sheet with the colours of :mod:`moodreel.report.colours` for both grounds."""
    colours = [("q0", NEUTRAL), *((KEYS[name], PALETTE[name]) for name in QUADRANTS)]
    light = "".join(f"--{key}:{colour.light};" for key, colour in colours)
    dark = "".join(f"--{key}:{colour.dark};" for key, colour in colours)
    keyed = "".join(f".{key}{{--c:var(--{key})}}" for key, _ in colours)
    sheet = (Path(__file__).parent / "templates" / "style.css").read_text(encoding="utf-8")
    lead = f":root{{{light}}}\n@media (prefers-color-scheme:dark){{:root{{{dark}}}}}\n{keyed}\n"
    return lead + sheet
