"""Uploads: a multipart body, streamed to files that are gone when their request is.

The body is parsed as it comes (python-multipart's parser), each file goes straight to disk, and the first
byte past a limit ends it. Nothing is named after what the client says.
"""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart.exceptions import MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import ClientDisconnect, Request

from moodreel.web.problems import Problem, busy
from moodreel.web.settings import WebSettings

LONGEST_NAME = 200
"""Characters of a file's name that are kept."""

LONGEST_FIELD = 4096
"""Bytes of a field that is no file."""

MOST_FIELDS = 32


@dataclass
class Upload:
    """One uploaded file.

    Attributes:
        name: as the client says, without folders; to be shown, never to be opened.
        path: where its bytes are.
        size: bytes.
    """

    name: str
    path: Path
    size: int = 0

    def remove(self) -> None:
        """Deletes the file."""
        with suppress(OSError):
            self.path.unlink(missing_ok=True)


@dataclass
class Form:
    """What an upload held: files, and fields as texts (name -> values)."""

    files: list[Upload] = field(default_factory=list)
    fields: dict[str, list[str]] = field(default_factory=dict)


class Intake:
    """Takes uploads in, and counts what they hold on disk.

    Args:
        settings: limits.
    """

    def __init__(self, settings: WebSettings) -> None:
        self._settings = settings
        self._temporary = tempfile.TemporaryDirectory(prefix="moodreel-web-")
        self.folder = Path(self._temporary.name)
        self.active = 0
        self.held = 0  # bytes on disk

    def close(self) -> None:
        """Removes the folder and what is in it."""
        self._temporary.cleanup()

    def release(self, upload: Upload) -> None:
        """Deletes a file that :meth:`receive` was told to keep."""
        upload.remove()
        self.held -= upload.size
        upload.size = 0

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[Form]:
        """Streams a request's files to disk; they are deleted when the block ends.

        A file that the block takes out of ``form.files`` stays until :meth:`release`.

        Raises:
            Problem: too large (413), no multipart form (415), a broken one (422), too many at once (503).
        """
        kind, options = parse_options_header(request.headers.get("content-type"))
        if kind != b"multipart/form-data" or b"boundary" not in options:
            raise Problem(415, "form", 'expected multipart/form-data with one or several "files"')
        if self.active >= self._settings.uploads:
            raise busy(f"{self.active} uploads are under way already")
        form = Form()
        receiver = _Receiver(self, self._settings, form, self.folder)
        self.active += 1
        try:
            try:
                await receiver.read(request, options[b"boundary"])
            finally:
                self.active -= 1
                receiver.close()
            yield form
        finally:
            for upload in form.files:
                self.release(upload)


class _Receiver:
    """One body on its way: callbacks of the parser."""

    def __init__(self, intake: Intake, settings: WebSettings, form: Form, folder: Path) -> None:
        self._intake, self._settings, self._form, self._folder = intake, settings, form, folder
        self._header = b""
        self._value = b""
        self._headers: dict[bytes, bytes] = {}
        self._file: IO[bytes] | None = None
        self._field = ""
        self._text = bytearray()
        self._is_done = False

    async def read(self, request: Request, boundary: bytes) -> None:
        parser = MultipartParser(
            boundary,
            {
                "on_part_begin": self._begin,
                "on_header_field": self._take_header,
                "on_header_value": self._take_value,
                "on_header_end": self._end_header,
                "on_headers_finished": self._open_part,
                "on_part_data": self._take_data,
                "on_part_end": self._end_part,
                "on_end": self._end,
            },
        )
        try:
            async for chunk in request.stream():
                parser.write(chunk)
        except MultipartParseError:
            raise Problem(422, "form", "the multipart form is broken") from None
        except ClientDisconnect:
            raise Problem(400, "gone", "the client went away") from None
        if not self._is_done:
            raise Problem(422, "form", "the multipart form ends before its end")

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _begin(self) -> None:
        self._headers, self._header, self._value = {}, b"", b""

    def _take_header(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _take_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _end_header(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""

    def _open_part(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition"))
        name = options.get(b"filename")
        if name is None:
            self._field = options.get(b"name", b"").decode("utf-8", "replace")
            self._text.clear()
            if sum(map(len, self._form.fields.values())) >= MOST_FIELDS:
                raise Problem(413, "limit", f"more than {MOST_FIELDS} fields")
            return
        if len(self._form.files) >= self._settings.files:
            raise Problem(413, "limit", f"more than {self._settings.files} files in one request (files)")
        with tempfile.NamedTemporaryFile(dir=self._folder, delete=False) as file:
            path = Path(file.name)
        self._form.files.append(Upload(clean_name(name.decode("utf-8", "replace")), path))
        self._file = path.open("wb")

    def _take_data(self, data: bytes, start: int, end: int) -> None:
        size = end - start
        if self._file is None:
            if len(self._text) + size > LONGEST_FIELD:
                raise Problem(413, "limit", f"a field is longer than {LONGEST_FIELD} bytes")
            self._text += data[start:end]
            return
        upload, settings = self._form.files[-1], self._settings
        if upload.size + size > settings.file_bytes:
            raise Problem(
                413, "limit", f"{upload.name}: larger than {settings.file_bytes} bytes (file_bytes)"
            )
        if self._intake.held + size > settings.upload_bytes:
            raise busy("the uploads that are being read fill the space set apart for them")
        upload.size += size
        self._intake.held += size
        self._file.write(memoryview(data)[start:end])

    def _end_part(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
        else:
            self._form.fields.setdefault(self._field, []).append(self._text.decode("utf-8", "replace"))

    def _end(self) -> None:
        self._is_done = True


def clean_name(name: str) -> str:
    """A client's name for a file: without folders and what cannot be printed, and not longer than wanted."""
    base = name.replace("\\", "/").rpartition("/")[2]
    shown = "".join(c if c.isprintable() else "?" for c in base).strip()
    if len(shown) > LONGEST_NAME:
        shown = shown[: LONGEST_NAME // 2] + "\N{HORIZONTAL ELLIPSIS}" + shown[1 - LONGEST_NAME // 2 :]
    return shown or "clip"
