"""Written GIFs read back: pixels, delays, loop, one image a frame."""

import numpy as np
import pytest
from PIL import Image

from moodreel.errors import MediaError, SettingsError
from moodreel.media import draw_palette, encode_webp, read_clip, write_gif, write_mp4, write_webp


def few_colours(count, channels=3):
    rng = np.random.default_rng(0)
    palette = rng.integers(0, 256, (40, channels), dtype=np.uint8)
    if channels == 4:
        palette[:, 3] = 255
        palette[0] = 0
    return palette[rng.integers(0, 40, (count, 9, 13))]


@pytest.mark.parametrize("palette", ["shared", "frame"])
@pytest.mark.parametrize("channels", [3, 4])
def test_few_colours_come_back_exactly(tmp_path, palette, channels):
    frames = few_colours(5, channels)
    write_gif(tmp_path / "a.gif", frames, [0.1] * 5, palette=palette)
    clip = read_clip(tmp_path / "a.gif", "rgb" if channels == 3 else "rgba")
    assert np.array_equal(clip.frames, frames)


def test_equal_neighbours_stay_apart(tmp_path):
    frames = np.repeat(few_colours(1), 4, axis=0)
    write_gif(tmp_path / "a.gif", frames, [0.1, 0.2, 0.3, 0.4])
    clip = read_clip(tmp_path / "a.gif")
    assert clip.raw_durations.tolist() == [0.1, 0.2, 0.3, 0.4]
    with Image.open(tmp_path / "a.gif") as image:
        assert image.n_frames == 4


def test_rounding_errors_do_not_add_up(tmp_path):
    durations = [1 / 30] * 90
    write_gif(tmp_path / "a.gif", np.repeat(few_colours(1), 90, axis=0), durations)
    clip = read_clip(tmp_path / "a.gif")
    assert set(clip.raw_durations.tolist()) == {0.03, 0.04}
    assert clip.duration == pytest.approx(3.0, abs=1e-9)
    assert np.abs(clip.starts - np.arange(90) / 30).max() <= 0.005 + 1e-9


@pytest.mark.parametrize("loop", [None, 0, 4])
def test_loop(tmp_path, loop):
    write_gif(tmp_path / "a.gif", few_colours(2), [0.1, 0.1], loop=loop)
    assert read_clip(tmp_path / "a.gif").loop == loop


@pytest.mark.parametrize(("palette", "error"), [("shared", 12), ("frame", 9)])
def test_many_colours_come_back_nearly(tmp_path, palette, error):
    y, x = np.mgrid[:64, :64]
    frames = np.stack([np.stack([x * 4, y * 4, (x + y) * 2 + 9 * k], -1) for k in range(3)]).clip(0, 255)
    write_gif(tmp_path / "a.gif", frames.astype(np.uint8), [0.1] * 3, palette=palette)
    got = read_clip(tmp_path / "a.gif").frames.astype(int)
    assert np.abs(got - frames).mean() < error


def test_the_file_is_whole_or_absent(tmp_path, monkeypatch):
    from pathlib import Path

    target = tmp_path / "a.gif"
    target.write_bytes(b"old")

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(MediaError, match="No space left"):
        write_gif(target, few_colours(1), [0.1])
    assert [path.name for path in tmp_path.iterdir()] == ["a.gif"]
    assert target.read_bytes() == b"old"
    with pytest.raises(MediaError, match="cannot be written"):
        write_gif(tmp_path / "missing" / "a.gif", few_colours(1), [0.1])


@pytest.mark.parametrize(
    ("frames", "durations", "options", "field"),
    [
        ([], [], {}, "frames"),
        ([np.zeros((2, 2, 3))], [0.1], {}, "frames"),
        ([np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3, 3), np.uint8)], [0.1, 0.1], {}, "frames"),
        (few_colours(2), [0.1], {}, "durations"),
        (few_colours(1), [-0.1], {}, "durations"),
        (few_colours(1), [700.0], {}, "durations"),
        (few_colours(1), [0.1], {"loop": -1}, "loop"),
        (few_colours(1), [0.1], {"palette": "best"}, "palette"),
    ],
)
def test_what_is_not_allowed_is_named(tmp_path, frames, durations, options, field):
    with pytest.raises(SettingsError, match=field):
        write_gif(tmp_path / "a.gif", frames, durations, **options)
    assert not list(tmp_path.iterdir())


def test_a_stream_of_frames_is_held_one_at_a_time(tmp_path):
    """With colours given, a generator of frames is enough, for all three formats."""
    frames = few_colours(6)

    def stream():
        yield from frames

    write_gif(tmp_path / "a.gif", stream(), [0.1] * 6, palette=draw_palette([frames[0], frames[5]]))
    write_webp(tmp_path / "a.webp", stream(), [0.1] * 6)
    write_mp4(tmp_path / "a.mp4", stream(), [0.1] * 6)
    assert np.array_equal(read_clip(tmp_path / "a.gif").frames, frames)
    assert len(read_clip(tmp_path / "a.webp")) == len(read_clip(tmp_path / "a.mp4")) == 6


@pytest.mark.parametrize("channels", [3, 4])
def test_webp_comes_back_nearly_with_its_times(tmp_path, channels):
    y, x = np.mgrid[:40, :61]
    frames = np.stack([np.stack([x * 4, y * 4, x + y + 9 * k, 255 - 0 * x], -1) for k in (0, 0, 1, 1, 5)])
    frames = frames.astype(np.uint8)[..., :channels]
    frames[2:4, 11:20, 7:30, :3] = 200
    if channels == 4:
        frames[:, 20:] = 0
    durations = [0.011, 0.5, 0.033, 1.2, 0.02]
    write_webp(tmp_path / "a.webp", frames, durations, loop=3, quality=90)
    clip = read_clip(tmp_path / "a.webp", "rgb" if channels == 3 else "rgba")
    assert clip.raw_durations.tolist() == durations
    assert clip.loop == 3
    seen = frames[..., -1:] > 0 if channels == 4 else np.ones((*frames.shape[:3], 1), bool)
    assert (np.abs(clip.frames.astype(int) - frames)[..., :3] * seen).mean() < 4
    if channels == 4:
        assert np.array_equal(clip.frames[..., 3], frames[..., 3])


def test_webp_stores_what_changed():
    still = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    changed = still.copy()
    changed[51:60, 33:44] ^= 255
    one = len(encode_webp([still], [0.1]))
    assert len(encode_webp([still] * 20, [0.1] * 20)) < one + 20 * 80
    assert len(encode_webp([still, changed], [0.1] * 2)) < 1.1 * one


def test_mp4_keeps_uneven_times_and_colours(tmp_path):
    frames = np.zeros((5, 33, 47, 3), np.uint8)
    colours = np.array([(250, 60, 10), (10, 200, 250), (128, 128, 128), (255, 255, 255), (0, 0, 0)])
    frames[:] = colours[:, None, None]
    durations = [0.02, 0.5, 1 / 3, 0.1, 1.75]
    write_mp4(tmp_path / "a.mp4", frames, durations)
    clip = read_clip(tmp_path / "a.mp4")
    np.testing.assert_allclose(clip.durations, durations, atol=1 / 90000)
    assert clip.frames.shape == (5, 34, 48, 3)
    assert np.abs(clip.frames[:, 16, 20].astype(int) - colours).max() <= 8


@pytest.mark.parametrize(
    ("write", "frames", "durations", "options", "field"),
    [
        (write_webp, [], [], {}, "frames"),
        (write_webp, few_colours(2), [0.1], {}, "frames = '2 or more': expected 1"),
        (write_webp, few_colours(1), [0.1, 0.1], {}, "frames = 1: expected 2"),
        (write_webp, few_colours(1), [-1.0], {}, "durations"),
        (write_webp, few_colours(1), [0.1], {"quality": 101}, "quality"),
        (write_webp, np.zeros((1, 2, 16384, 3), np.uint8), [0.1], {}, "frames"),
        (write_mp4, few_colours(1), [0.0], {}, "durations"),
        (write_mp4, few_colours(1), [0.1], {"quality": 52}, "quality"),
        (write_mp4, few_colours(2)[:, None], [0.1, 0.1], {}, "frames"),
        (write_gif, few_colours(1), [0.1], {"palette": np.zeros((300, 3), np.uint8)}, "palette"),
    ],
)
def test_what_is_not_allowed_leaves_no_file(tmp_path, write, frames, durations, options, field):
    with pytest.raises(SettingsError, match=field):
        write(tmp_path / "a.bin", frames, durations, **options)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("write", [write_gif, write_webp, write_mp4])
def test_a_folder_that_is_missing_is_named(tmp_path, write):
    with pytest.raises(MediaError, match="cannot be written"):
        write(tmp_path / "no" / "a.bin", few_colours(1), [0.1])
