"""PNG, APNG, WebP, JPEG, BMP: written by Pillow, read with exact pixels and times."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from moodreel.errors import CorruptMedia, LimitExceeded
from moodreel.media import Limits, open_media, read_clip

COLOURS = [(255, 0, 0, 255), (0, 255, 0, 255), (0, 0, 255, 255), (9, 8, 7, 255)]


def saved(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def animation(kind, durations, size=(6, 4), **options):
    images = [Image.new("RGBA", size, COLOURS[k % 4]) for k in range(len(durations))]
    return saved(images[0], kind, save_all=True, append_images=images[1:], duration=durations, **options)


def apng(frames, *, size=(4, 4), plays=0, default_image=False, end=True):
    """frames: (rgba array, left, top, numerator, denominator, dispose, blend)."""

    def chunk(name, body):
        return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))

    def pixels(array):
        return zlib.compress(b"".join(b"\0" + row.tobytes() for row in array))

    out = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", *size, 8, 6, 0, 0, 0))
    out += chunk(b"acTL", struct.pack(">II", len(frames), plays))
    number = 0
    if default_image:
        out += chunk(b"IDAT", pixels(np.full((*size[::-1], 4), 77, np.uint8)))
    for place, (array, left, top, numerator, denominator, dispose, blend) in enumerate(frames):
        height, width = array.shape[:2]
        control = (number, width, height, left, top, numerator, denominator, dispose, blend)
        out += chunk(b"fcTL", struct.pack(">IIIIIHHBB", *control))
        number += 1
        if place == 0 and not default_image:
            out += chunk(b"IDAT", pixels(array))
        else:
            out += chunk(b"fdAT", struct.pack(">I", number) + pixels(array))
            number += 1
    return out + (chunk(b"IEND", b"") if end else b"")


def plain(colour, width=4, height=4):
    return np.full((height, width, 4), colour, np.uint8)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True})])
def test_animation_times_and_pixels(kind, options):
    clip = read_clip(animation(kind, [70, 130, 250, 40], loop=2, **options))
    assert clip.frames.shape == (4, 4, 6, 3)
    assert [tuple(frame[1, 1]) for frame in clip.frames] == [colour[:3] for colour in COLOURS]
    assert clip.durations.tolist() == [0.07, 0.13, 0.25, 0.04]
    assert clip.starts.tolist() == pytest.approx([0, 0.07, 0.2, 0.45], abs=1e-12)
    assert clip.loop == 2


def test_webp_short_delays_play_as_browsers_do():
    clip = read_clip(animation("WEBP", [0, 10, 11, 50], lossless=True, loop=0))
    assert clip.raw_durations.tolist() == [0.0, 0.01, 0.011, 0.05]
    assert clip.durations.tolist() == [0.1, 0.1, 0.011, 0.05]
    assert clip.loop == 0


def test_apng_delay_fractions():
    frames = [(plain(c), 0, 0, n, d, 0, 0) for c, n, d in ((1, 1, 3), (2, 7, 0), (3, 0, 100), (4, 1, 100))]
    clip = read_clip(apng(frames, plays=5))
    assert clip.raw_durations.tolist() == [1 / 3, 0.07, 0.0, 0.01]
    assert clip.durations.tolist() == [1 / 3, 0.07, 0.1, 0.1]
    assert clip.loop == 5


def test_apng_disposal_and_blending():
    red, half = plain((255, 0, 0, 255)), plain((0, 255, 0, 255), 2, 2)
    hole = plain((0, 0, 0, 0), 1, 1)
    frames = [
        (red, 0, 0, 1, 10, 0, 0),
        (half, 1, 1, 1, 10, 1, 1),  # disposed to background
        (hole, 0, 0, 1, 10, 2, 0),  # SOURCE: cuts a hole, disposed to previous
        (hole, 3, 3, 1, 10, 0, 1),  # OVER: a transparent pixel changes nothing
    ]
    got = read_clip(apng(frames), "rgba").frames
    assert got[1, 1, 1].tolist() == [0, 255, 0, 255]
    assert got[1, 0, 0].tolist() == [255, 0, 0, 255]
    assert got[2, 1, 1, 3] == 0
    assert got[2, 0, 0, 3] == 0
    assert got[3, 0, 0].tolist() == [255, 0, 0, 255]
    assert got[3, 3, 3].tolist() == [255, 0, 0, 255]


def test_an_apng_default_image_is_no_frame():
    frames = [(plain(c), 0, 0, 1, 10, 0, 0) for c in ((10, 20, 30, 255), (40, 50, 60, 255))]
    clip = read_clip(apng(frames, default_image=True))
    assert clip.frames[:, 0, 0].tolist() == [[10, 20, 30], [40, 50, 60]]


def test_a_truncated_apng_gives_its_complete_frames():
    frames = [(plain((k, 0, 0, 255)), 0, 0, 1, 10, 0, 0) for k in range(4)]
    whole = apng(frames, end=False)
    assert len(read_clip(whole)) == 4
    assert read_clip(whole[:-3]).frames[:, 0, 0, 0].tolist() == [0, 1, 2]


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_frames_on_their_own_equal_those_of_the_clip(kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    whole = animation(kind, [50] * 9, **options)
    full = read_clip(whole, "rgba").frames
    for wanted in ([8], [0, 5], [3, 4, 8]):
        for index, frame in open_media(whole).read(wanted, "rgba"):
            assert np.array_equal(frame, full[index])


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("BMP", {}), ("WEBP", {"lossless": True}), ("JPEG", {"quality": 95})]
)
def test_stills_are_one_frame_of_no_duration(kind, options):
    media = open_media(saved(Image.new("RGB", (5, 3), (200, 100, 50)), kind, **options))
    clip = read_clip(saved(Image.new("RGB", (5, 3), (200, 100, 50)), kind, **options))
    assert clip.frames.shape == (1, 3, 5, 3)
    assert np.abs(clip.frames[0, 0, 0].astype(int) - (200, 100, 50)).max() <= 3
    for times in (clip.starts, clip.durations, clip.raw_durations):
        assert times.tolist() == [0.0]
    assert (len(media), media.duration, clip.loop) == (1, 0.0, None)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(kind, orientation):
    corner = Image.new("RGB", (32, 16), (0, 0, 0))
    corner.paste((255, 255, 255), (0, 0, 8, 8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    whole = saved(corner, kind, exif=exif)
    frame = read_clip(whole).frames[0]
    assert frame.shape == ((16, 32, 3) if orientation < 5 else (32, 16, 3))
    rows, columns = {1: (0, 0), 2: (0, 1), 3: (1, 1), 4: (1, 0), 5: (0, 0), 6: (0, 1), 7: (1, 1), 8: (1, 0)}[
        orientation
    ]
    assert frame[2 if rows == 0 else -3, 2 if columns == 0 else -3].min() > 200
    assert (frame > 128).mean() == pytest.approx(64 / 512, abs=0.02)


def test_transparency_goes_over_white():
    image = Image.new("RGBA", (2, 1), (0, 100, 200, 128))
    image.putpixel((1, 0), (1, 2, 3, 0))
    whole = saved(image, "PNG")
    assert read_clip(whole, "rgba").frames[0, 0].tolist() == [[0, 100, 200, 128], [1, 2, 3, 0]]
    assert read_clip(whole).frames[0, 0].tolist() == [[127, 177, 227], [255, 255, 255]]


def test_a_palette_with_transparency():
    image = Image.new("P", (2, 1), 0)
    image.putpalette([10, 20, 30, 40, 50, 60])
    image.putpixel((1, 0), 1)
    frame = read_clip(saved(image, "PNG", transparency=1), "rgba").frames[0, 0]
    assert frame[0].tolist() == [10, 20, 30, 255]
    assert frame[1, 3] == 0


def test_sixteen_bit_grey_is_scaled_not_clipped():
    image = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
    assert read_clip(saved(image, "PNG")).frames[0, 0, :, 0].tolist() == [0, 128, 255]


def test_limits_come_before_decoding():
    header = saved(Image.new("RGB", (5, 3)), "PNG")
    huge = header[:16] + struct.pack(">II", 60000, 60000) + header[24:]
    with pytest.raises(LimitExceeded, match="canvas_pixels"):
        read_clip(huge)
    for kind in ("JPEG", "BMP", "WEBP", "PNG"):
        with pytest.raises(LimitExceeded, match="canvas_pixels"):
            read_clip(saved(Image.new("RGB", (20, 20)), kind), limits=Limits(canvas_pixels=399))
    for kind in ("PNG", "WEBP"):
        with pytest.raises(LimitExceeded, match="frames"):
            open_media(animation(kind, [50] * 4), Limits(frames=3))


def test_pillows_own_limit_does_not_fire(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    for kind in ("PNG", "JPEG", "BMP", "WEBP"):
        assert read_clip(saved(Image.new("RGB", (20, 20)), kind)).width == 20


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "BMP", "WEBP"])
def test_broken_stills_are_corrupt(kind):
    whole = saved(Image.effect_noise((64, 64), 90).convert("RGB"), kind)
    for end in (20, 34, len(whole) // 2):
        with pytest.raises(CorruptMedia) as caught:
            read_clip(whole[:end])
        assert "\n" not in str(caught.value)


def make_webp(frames, size=(8, 8)):
    """An animated WebP of (rgba array, left, top, no blending, disposed); lossless."""
    out = b"VP8X" + struct.pack("<II", 10, 0x12)
    out += b"".join((side - 1).to_bytes(3, "little") for side in size)
    out += b"ANIM" + struct.pack("<IIH", 6, 0, 0)
    for array, left, top, alone, disposed in frames:
        whole = saved(Image.fromarray(array), "WEBP", lossless=True, exact=True)
        stream = whole[12:] if whole[12:16] == b"VP8L" else whole[whole.index(b"VP8L", 20) :]
        body = b"".join(
            number.to_bytes(3, "little")
            for number in (left // 2, top // 2, array.shape[1] - 1, array.shape[0] - 1, 50)
        )
        body += bytes([2 * alone + disposed]) + stream
        out += b"ANMF" + struct.pack("<I", len(body)) + body + b"\0" * (len(body) & 1)
    return b"RIFF" + struct.pack("<I", len(out) + 4) + b"WEBP" + out


def test_webp_frames_from_where_they_depend_on_none_before(monkeypatch):
    from moodreel.media import stills as module

    rng = np.random.default_rng(0)

    def noise(width=8, height=8):
        return rng.integers(0, 256, (height, width, 4)).astype(np.uint8)

    for turn in range(12):
        frames = []
        for _ in range(10):
            if rng.random() < 0.5:
                frames.append((noise(), 0, 0, bool(rng.integers(2)), bool(rng.integers(2))))
            else:
                frames.append((noise(4, 2), 2, 4, bool(rng.integers(2)), bool(rng.integers(2))))
        whole = make_webp(frames)
        with Image.open(io.BytesIO(whole)) as image:
            expected = []
            for k in range(10):
                image.seek(k)
                expected.append(np.asarray(image.convert("RGBA")))
        wanted = sorted(rng.choice(10, 3, replace=False).tolist())
        for index, frame in open_media(whole).read(wanted, "rgba"):
            assert np.array_equal(frame, expected[index]), (turn, index)
    # each replaces all: only those asked for are decoded
    whole = make_webp([(noise(), 0, 0, True, False) for _ in range(10)])
    lengths = []
    real = module._plugin
    monkeypatch.setattr(module, "_plugin", lambda kind, data: lengths.append(len(data)) or real(kind, data))
    assert [index for index, _ in open_media(whole).read([3, 8])] == [3, 8]
    assert max(lengths[1:]) < len(whole) / 4
