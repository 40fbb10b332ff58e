"""What can go wrong, as one tree.

MoodreelError
├── MediaError            a clip cannot be read; ``.source`` names it, ``str()`` says why
│   ├── UnsupportedMedia  not a format we read
│   ├── CorruptMedia      the format is known, the content is broken
│   └── LimitExceeded     reading it would break a limit (file bytes, canvas, frames, decoded bytes)
├── BundleError           a model bundle is missing, broken, or of another version
├── DataError             a manifest or a label file is wrong
├── SettingsError         a field of a settings object or a recipe is wrong
├── QueryError            a search query is wrong; ``.position`` says where
└── MissingExtra          an optional part is not installed; ``str()`` has the ``pip install`` line
"""

from __future__ import annotations


class MoodreelError(Exception):
    """Root of every error this package raises on purpose. ``str()`` is always one line."""


class MediaError(MoodreelError):
    """A clip cannot be read.

    Args:
        source: the file or input as the caller named it.
        reason: one line, without the source.
    """

    def __init__(self, source: str, reason: str) -> None:
        self.source = source
        self.reason = " ".join(reason.split())
        super().__init__(f"{source}: {self.reason}")


class UnsupportedMedia(MediaError):
    """The input is no media format that this package reads."""


class CorruptMedia(MediaError):
    """The format is known, but the content is broken or holds no picture."""


class LimitExceeded(MediaError):
    """Reading the input would break a limit of :class:`moodreel.media.Limits`."""


class BundleError(MoodreelError):
    """A model bundle is missing, incomplete, altered, or of another version."""


class DataError(MoodreelError):
    """A manifest or a label file is wrong; the message names file, row and column."""


class SettingsError(MoodreelError):
    """A settings field has a value that is not allowed.

    Args:
        field: dotted name of the field.
        value: what came.
        expected: what is allowed.
    """

    def __init__(self, field: str, value: object, expected: str) -> None:
        self.field = field
        super().__init__(f"{field} = {value!r}: expected {expected}")


class QueryError(MoodreelError):
    """A search query cannot be understood, or names what the table does not have.

    Args:
        reason: one line.
        position: of the first character that is wrong, from 0; the query's length where something is missing.
        found: what stands there; empty at the end.
        subject: ``query``, or ``sort``: what the position counts in.
    """

    def __init__(self, reason: str, position: int, found: str = "", subject: str = "query") -> None:
        self.reason = reason
        self.position = position
        self.found = found
        self.subject = subject
        where = f"character {position + 1}, at {found!r}" if found else "at its end"
        super().__init__(f"{subject}, {where}: {reason}")


class MissingExtra(MoodreelError):
    """An optional part is not installed.

    Args:
        extra: name of the extra in ``pyproject.toml``.
        need: what needed it.
    """

    def __init__(self, extra: str, need: str) -> None:
        self.extra = extra
        super().__init__(f'{need} needs the "{extra}" extra: pip install "moodreel[{extra}]"')


def require(ok: bool, field: str, value: object, expected: str) -> None:
    """Checks one field of a settings object.

    Args:
        ok: whether the value is allowed.
        field, value, expected: as :class:`SettingsError` takes them.

    Raises:
        SettingsError: it is not.
    """
    if not ok:
        raise SettingsError(field, value, expected)
