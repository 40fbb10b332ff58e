"""Small files of every format, drawn by code: what the fuzzer damages."""

from __future__ import annotations

import io
import sys
from functools import cache
from pathlib import Path

import numpy as np
from PIL import Image

for room in (Path(__file__).resolve().parents[1], Path(__file__).resolve().parents[1] / "media"):
    if str(room) not in sys.path:
        sys.path.insert(0, str(room))

from media_gif_builder import LOCAL, Gif, Picture, fill  # noqa: E402

SIDE = 24


@cache
def make_seeds(kind: str) -> tuple[bytes, ...]:
    """Valid files of a format, as :func:`moodreel.media.decode.sniff` names it."""
    return tuple({"gif": _gifs, "png": _pngs, "webp": _webps, "jpeg": _jpegs, "bmp": _bmps, "mov": _movs,
                  "matroska": _matroskas, "avi": _avis}[kind]())  # fmt: skip


def _pictures(count: int = 5, mode: str = "RGB") -> list[Image.Image]:
    rng = np.random.default_rng(count)
    y, x = np.mgrid[:SIDE, :SIDE]
    pictures = []
    for k in range(count):
        frame = np.stack([x * 9 + 20 * k, y * 9, x * y + 30 * k, 255 - 40 * ((x + k) % 5)], axis=-1) % 256
        frame[k : k + 6, k : k + 6] = rng.integers(0, 256, (6, 6, 4))
        pictures.append(Image.fromarray(frame.astype(np.uint8), "RGBA").convert(mode))
    return pictures


def _save(pictures: list[Image.Image], kind: str, **options: object) -> bytes:
    stream = io.BytesIO()
    more = {"save_all": True, "append_images": pictures[1:], "duration": 70} if len(pictures) > 1 else {}
    pictures[0].save(stream, kind, **more, **options)
    return stream.getvalue()


def _gifs() -> list[bytes]:
    def picture(k: int, **options: object) -> Picture:
        grid = [[(x * y + k) % 8 for x in range(9)] for y in range(7)]
        return Picture(grid, left=k, top=k // 2, delay=k, disposal=k % 4, **options)  # type: ignore[arg-type]

    return [
        Gif(12, 10, [picture(k) for k in range(6)], loop=0).to_bytes(),
        Gif(12, 10, [picture(k, transparent=3, local=LOCAL) for k in range(4)], loop=3).to_bytes(),
        Gif(9, 7, [picture(0, interlaced=True), Picture(fill(2, 3, 3), 7, 5)], colours=None).to_bytes(),
        _save(_pictures(4, "P"), "GIF"),
        _save(_pictures(3, "RGBA"), "GIF", disposal=2),
    ]


def _pngs() -> list[bytes]:
    return [
        _save(_pictures(4, "RGBA"), "PNG", disposal=1, blend=1),
        _save(_pictures(4, "P"), "PNG", default_image=True),
        _save(_pictures(3, "RGB"), "PNG", disposal=2),
        *(_save(_pictures(1, mode), "PNG") for mode in ("RGB", "LA", "1", "I;16")),
    ]


def _webps() -> list[bytes]:
    return [
        _save(_pictures(4, "RGBA"), "WEBP", lossless=True),
        _save(_pictures(4), "WEBP", quality=40),
        _save(_pictures(3, "RGBA"), "WEBP", quality=40, minimize_size=True),
        _save(_pictures(1), "WEBP"),
        _save(_pictures(1, "RGBA"), "WEBP", lossless=True, exif=b"Exif\0\0II*\0\x08\0\0\0\0\0"),
    ]


def _jpegs() -> list[bytes]:
    exif = Image.Exif()
    exif[0x0112] = 6
    return [
        _save(_pictures(1), "JPEG", exif=exif),
        _save(_pictures(1), "JPEG", progressive=True),
        _save(_pictures(1, "CMYK"), "JPEG"),
    ]


def _bmps() -> list[bytes]:
    return [_save(_pictures(1, mode), "BMP") for mode in ("RGB", "P", "1")]


def _encode(container: str, codec: str, pixels: str = "yuv420p", **options: str) -> bytes:
    import av

    stream = io.BytesIO()
    side = 32
    with av.open(stream, "w", format=container, options=options) as out:
        video = out.add_stream(codec, rate=10)
        video.width = video.height = side
        video.pix_fmt = pixels
        video.gop_size = 3
        if codec == "libx265":
            video.codec_context.options = {"x265-params": "log-level=none"}
        for picture in _pictures(7):
            frame = av.VideoFrame.from_image(picture.resize((side, side)))
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
    return stream.getvalue()


def _movs() -> list[bytes]:
    return [
        _encode("mp4", "libx264"),
        _encode("mp4", "mpeg4"),
        _encode("mp4", "libx264", movflags="frag_keyframe+empty_moov"),
        _encode("mov", "mjpeg", "yuvj420p"),
        _encode("mp4", "libx265"),
        _encode("mov", "png", "rgb24"),
    ]


def _matroskas() -> list[bytes]:
    return [
        _encode("webm", "libvpx"),
        _encode("webm", "libvpx-vp9"),
        _encode("matroska", "ffv1"),
        _encode("matroska", "libx264"),
    ]


def _avis() -> list[bytes]:
    return [_encode("avi", "mpeg4"), _encode("avi", "mjpeg", "yuvj420p"), _encode("avi", "libx264")]
