"""What ``moodreel serve`` may be told: where it binds, and what a request, a clip and a client may cost."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from pathlib import Path

from moodreel.emotions import GIFGIF_17
from moodreel.errors import require
from moodreel.media import Limits

MIB = 1 << 20

SHORTEST_TOKEN = 16
"""Characters of a token, at least."""


def is_loopback(host: str) -> bool:
    """Whether a host is this machine alone: ``localhost``, or an address of the loopback net."""
    if host == "localhost":
        return True
    address = parse_address(host)
    return address is not None and address.is_loopback


def parse_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The IP address that a text is, with or without brackets; None for a name."""
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None


@dataclass(frozen=True)
class WebSettings:
    """How the web app runs.

    Raises:
        SettingsError: a field has a value that is not allowed, or another host than this machine alone is
            asked for without a token.
    """

    host: str = "127.0.0.1"
    """Address to bind to."""
    port: int = 8765
    """Port to bind to; 0 is any free one."""
    token: str | None = None
    """What a client must show; None asks for nothing, which is allowed on this machine alone."""
    allowed_hosts: tuple[str, ...] = ()
    """Names that a request's Host header may have, beside those that follow from ``host``."""
    table: Path | None = None
    """Result table (Parquet) of the library."""
    media: Path | None = None
    """Folder in which the library's clips lie: nothing outside it is read. None is the table's folder."""
    votes: str | None = None
    """Where votes go: a file for SQLite, or a SQLAlchemy URL. None turns voting off."""
    emotions: tuple[str, ...] = GIFGIF_17
    """What is voted on."""
    workers: int = 2
    """Threads that read clips. With two or more, one is kept for short clips."""
    waiting: int = 64
    """Clips that may wait for a worker; one more is told to come again (503)."""
    uploads: int = 32
    """Uploads that may be under way at once."""
    files: int = 16
    """Files in one upload."""
    file_bytes: int = 64 * MIB
    """Size of an uploaded file."""
    upload_bytes: int = 1024 * MIB
    """Bytes of all uploads that are held on disk at one time."""
    canvas_pixels: int = 50_000_000
    """Width x height of a clip."""
    frames: int = 100_000
    """Pictures in a clip."""
    decoded_bytes: int = 512 * MIB
    """Memory that a clip's own bytes may take, where they are read whole (GIF, PNG, WebP, JPEG)."""
    seconds: float = 600.0
    """Time that one model may take over one clip."""
    stall_seconds: float = 10.0
    """Time without a single byte after which an upload is given up."""
    slowest: int = 16 * 1024
    """Bytes a second of an upload, at least, once it is 5 seconds old."""
    rate: int = 3000
    """Requests a minute that one client may make where they cost work; 0 is without bound."""
    burst: int = 300
    """Of these, how many may come at once."""
    job_seconds: float = 120.0
    """How long a result waits to be fetched; a job that nobody asks about as long is given up."""
    jobs_bytes: int = 96 * MIB
    """Memory that waiting results may take; of more, the oldest go."""

    def __post_init__(self) -> None:
        require(0 <= self.port <= 65535, "port", self.port, "0 to 65535")
        for name in ("workers", "waiting", "uploads", "files", "file_bytes", "upload_bytes", "canvas_pixels",
                     "frames", "decoded_bytes", "burst", "jobs_bytes"):  # fmt: skip
            value = getattr(self, name)
            require(isinstance(value, int) and value >= 1, name, value, "a whole number of at least 1")
        for name in ("seconds", "stall_seconds", "job_seconds"):
            require(getattr(self, name) > 0, name, getattr(self, name), "seconds, above 0")
        for name in ("rate", "slowest"):
            require(getattr(self, name) >= 0, name, getattr(self, name), "0 or above")
        long_enough = self.token is None or len(self.token) >= SHORTEST_TOKEN
        told = f"{SHORTEST_TOKEN} printable ASCII characters or more, no space"
        fault = None if self.token is None else "*" * len(self.token)
        require(long_enough, "token", fault, told)
        clean = self.token is None or (self.token.isascii() and self.token.isprintable())
        require(clean and " " not in (self.token or ""), "token", fault, told)
        has_clips = self.table is not None or self.media is not None
        require(
            self.votes is None or has_clips, "votes", self.votes, "a table or a folder of clips to vote on"
        )
        require(len(self.emotions) > 0, "emotions", self.emotions, "at least one")
        guarded = is_loopback(self.host) or self.token is not None
        require(guarded, "host", self.host, "127.0.0.1 or localhost, or a token for anything else")

    @property
    def limits(self) -> Limits:
        """What may be decoded."""
        return Limits(self.file_bytes, self.canvas_pixels, self.frames, self.decoded_bytes, self.seconds)

    @property
    def request_bytes(self) -> int:
        """Size of an upload's body: files and what stands between them."""
        return min(self.files * self.file_bytes, self.upload_bytes) + MIB

    def allows_host(self, host: str) -> bool:
        """Whether a request's Host header may be this.

        A page of another site whose name is made to lead here (DNS rebinding) sends its own name. So names
        must be known, while an address is one that a person typed; on the loopback net it must be of that.

        Args:
            host: the header, with or without a port.
        """
        name = host.rsplit(":", 1)[0] if not host.endswith("]") and ":" in host else host
        if name.lower() in {entry.lower() for entry in self.allowed_hosts}:
            return True
        if is_loopback(self.host):
            return is_loopback(name.lower())
        return name.lower() in ("localhost", self.host.lower()) or parse_address(name) is not None
