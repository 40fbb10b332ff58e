"""Time and memory that a hostile file would take: bounded, wherever the work is."""

import struct
import subprocess
import sys
import zlib
from types import SimpleNamespace

import av
import numpy as np
import pytest
from media_gif_builder import Gif, Picture, fill
from PIL import Image

from fuzz.seeds import make_seeds
from moodreel.errors import LimitExceeded, MediaError, SettingsError
from moodreel.media import Limits, open_media, read_clip, write_mp4
from moodreel.media.limits import parse_limits

GIF = Gif(5, 4, [Picture(fill(k, 5, 4), delay=10) for k in range(3)]).to_bytes()
LATE = Limits(seconds=1e-9)


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")  # pytest sets our filter aside
@pytest.mark.parametrize("kind", ["gif", "png", "webp", "mov", "matroska", "avi"])
def test_time_is_looked_at_in_every_format(kind):
    for data in make_seeds(kind):
        if len(open_media(data)) > 1:
            with pytest.raises(LimitExceeded, match=r"takes longer than the limit of 1e-09 s \(seconds\)"):
                read_clip(data, limits=LATE)


def test_time_of_a_folder_of_stills(tmp_path):
    for k in range(3):
        Image.new("RGB", (4, 3)).save(tmp_path / f"f_{k}.png")
    with pytest.raises(LimitExceeded, match="seconds"):
        read_clip(tmp_path, limits=LATE)


@pytest.fixture
def clock(monkeypatch):
    """A clock that a test sets."""
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("moodreel.media.base.time", SimpleNamespace(monotonic=lambda: now.seconds))
    return now


def test_only_decoding_counts(clock):
    media = open_media(GIF, Limits(seconds=10))
    for _ in media.read([0, 1, 2]):
        clock.seconds += 1000  # a detector, a network
    assert len(list(media.read([0, 1, 2]))) == 3


def test_the_time_of_all_reads_counts_together(clock, monkeypatch):
    media = open_media(GIF, Limits(seconds=10))
    real = type(media)._read

    def slow(self, indices, mode):
        clock.seconds += 4
        yield from real(self, indices, mode)

    monkeypatch.setattr(type(media), "_read", slow)
    for _ in range(2):
        assert len(list(media.read([0]))) == 1
    with pytest.raises(LimitExceeded, match="seconds"):
        list(media.read([0]))


BOMBS = """
import resource, sys, time
import av, PIL.Image, PIL.PngImagePlugin, PIL.WebPImagePlugin
from pathlib import Path
from moodreel.errors import MediaError
from moodreel.media import Limits, open_media, sample_media
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (400 << 20),) * 2)
for path in sys.argv[1:]:
    try:
        media = open_media(path, Limits(seconds=20))
        sample_media(media, [0.0, media.duration / 2], (8, 8))
        print(Path(path).stem, "read")
    except MediaError as error:
        print(Path(path).stem, error.reason)
"""


def make_chunk(name, body):
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def make_bombs(folder):
    """Small files that state, or unfold to, far more than they hold."""
    head = b"\x89PNG\r\n\x1a\n"

    def header(width, height):
        return make_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))

    end = make_chunk(b"IEND", b"")
    pixels = make_chunk(b"IDAT", zlib.compress(bytes(4 * (1 + 4 * 3))))
    zeros = zlib.compressobj(1)
    unfolded = b"".join(zeros.compress(bytes(1 << 20)) for _ in range(450)) + zeros.flush()
    comment = b"\x21\xfe" + b"\x01x" * 2_000_000 + b"\0"
    start = 13 + 3 * 8
    return {
        "canvas-gif.gif": b"GIF89a\xff\xff\xff\xff" + GIF[10:],
        "canvas-png.png": head + header(1 << 30, 1 << 30) + pixels + end,
        "canvas-webp.webp": b"RIFF\x20\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff" * 6,
        "text-png.png": head + header(4, 4) + make_chunk(b"zTXt", b"a\0\0" + unfolded) + pixels + end,
        "profile-png.png": head + header(4, 4) + make_chunk(b"iCCP", b"a\0\0" + unfolded) + pixels + end,
        "pixels-png.png": head + header(4, 4) + make_chunk(b"IDAT", unfolded) + end,
        "comment-gif.gif": GIF[:start] + comment + GIF[start:],
        "delays-gif.gif": Gif(2, 2, [Picture(fill(1, 2, 2), delay=0)] * 5000).to_bytes(),
        "endless-gif.gif": GIF[:-1] + (GIF[start:-1] * 3000),
    }


@pytest.mark.skipif(sys.platform != "linux", reason="bounds memory through /proc and RLIMIT_AS")
def test_bombs_in_little_memory(tmp_path):
    paths = []
    for name, content in make_bombs(tmp_path).items():
        (tmp_path / name).write_bytes(content)
        assert len(content) < 5 << 20
        paths.append(tmp_path / name)
    done = subprocess.run(
        [sys.executable, "-c", BOMBS, *paths], capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 0, done.stderr[-800:]
    told = dict(line.split(" ", 1) for line in done.stdout.splitlines())
    assert len(told) == len(paths)
    assert done.stderr == ""
    for name in ("canvas-gif", "canvas-png", "canvas-webp"):
        assert "canvas_pixels" in told[name]
    for name in ("comment-gif", "delays-gif", "endless-gif"):
        assert told[name] == "read"
    assert not any("out of memory" in reason for reason in told.values()), told


def test_a_file_that_changes_while_it_is_read(tmp_path):
    """Of a video, which is opened anew for its frames; other files are in memory by then."""
    path = tmp_path / "a.mp4"
    write_mp4(path, [np.full((32, 32, 3), 40 * k, np.uint8) for k in range(6)], [0.2] * 6)
    whole = path.read_bytes()
    for content in (whole[: len(whole) // 2], b"", GIF, whole[::-1], None):
        path.write_bytes(whole)
        media = open_media(path)
        if content is None:
            path.unlink()
        else:
            path.write_bytes(content)
        try:
            assert all(frame.shape == (32, 32, 3) for _, frame in media.read(range(6)))
        except MediaError as error:
            said = str(error)
            assert "\n" not in said


def test_limits_from_texts():
    assert parse_limits([]) == Limits()
    assert parse_limits(["frames=7", "seconds=1.5"]) == Limits(frames=7, seconds=1.5)
    for text in ("frames", "frames=", "frames=1.5", "seconds=x", "Frames=1", "=3", ""):
        with pytest.raises(SettingsError, match="limit = "):
            parse_limits([text])
    with pytest.raises(SettingsError, match="frames once"):
        parse_limits(["frames=1", "frames=2"])
    for value in (0, -1.0, float("nan"), float("inf"), True, "9", None):
        with pytest.raises(SettingsError, match=r"Limits\.seconds"):
            Limits(seconds=value)


def make_long(kind, folder):
    """A clip whose last picture needs many steps, inside one call of a decoder."""
    pictures = [Image.new("RGBA", (8, 8), (90, 9, 90, 255)) for _ in range(90)]
    for k, picture in enumerate(pictures):
        picture.putpixel((k % 8, k // 8 % 8), (2 * k, 200, 9, 255))  # so that each needs the one before
    path = folder / f"long.{kind}"
    if kind == "gif":
        path.write_bytes(Gif(5, 4, [Picture(fill(1, 5, 4), transparent=2)] * 90).to_bytes())
    elif kind == "mp4":
        with av.open(str(path), "w") as out:
            video = out.add_stream("mpeg4", rate=10)
            video.width = video.height = 32
            video.gop_size = 300  # a single keyframe
            for k in range(90):
                frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), 2 * k, np.uint8), "rgb24")
                out.mux(video.encode(frame))
            out.mux(video.encode(None))
    else:
        options = {"lossless": True, "kmin": 0, "kmax": 0}  # of WebP: no keyframe but the first
        pictures[0].save(path, save_all=True, append_images=pictures[1:], duration=50, **options)
    return path


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "mp4"])
def test_time_is_looked_at_on_the_way_to_a_picture(tmp_path, monkeypatch, kind):
    """With a clock that goes on by a second whenever it is looked at."""
    monkeypatch.setattr("moodreel.media.stills.FRAMES_PER_CHECK", 2)
    path = make_long(kind, tmp_path)
    ticks = iter(range(10**9))
    media = open_media(path, Limits(seconds=10**6))
    media._watch._most = 35.0
    media._watch._spent = 0.0
    monkeypatch.setattr("moodreel.media.base.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    with pytest.raises(LimitExceeded, match="seconds"):
        list(media.read([len(media) - 1]))
    assert 30 < next(ticks) < 60
    assert len(media) > 80


@pytest.mark.parametrize("kind", ["gif", "png", "webp", "mp4"])
def test_time_is_looked_at_while_a_file_is_listed(tmp_path, monkeypatch, kind):
    path = make_long(kind, tmp_path)
    if kind == "gif":
        monkeypatch.setattr("moodreel.media.gif_scan.BLOCKS_PER_CHECK", 1)
    ticks = iter(range(10**9))
    monkeypatch.setattr("moodreel.media.base.time", SimpleNamespace(monotonic=lambda: float(next(ticks))))
    with pytest.raises(LimitExceeded, match="seconds"):
        open_media(path, Limits(seconds=35.0))
    assert next(ticks) < 60
