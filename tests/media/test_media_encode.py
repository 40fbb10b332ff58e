"""Written GIFs read back: pixels, delays, loop, one image a frame."""

import numpy as np
import pytest
from PIL import Image

from moodreel.errors import MediaError, SettingsError
from moodreel.media import read_clip, write_gif


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
