"""The overlay: true times, the right pixels, names that never meet, files that are whole."""

import numpy as np
import pytest

import moodreel
from moodreel.errors import MediaError, SettingsError
from moodreel.media import Timeline, open_media, read_clip, write_gif
from moodreel.media.base import ArrayMedia
from moodreel.report import OverlayFolder, OverlaySettings, name_overlay, write_overlay
from moodreel.report.heat import interpolate_attention, scale_attention
from moodreel.report.overlay import FORMATS, draw_overlay, encode_overlay, plan_frames
from report.fakes import make_error, make_face, make_result, peak_at

PLAIN = OverlaySettings(panel=False)


def draw_gif(path, durations, size=(40, 60), colour=(128, 128, 128)):
    frames = np.zeros((len(durations), *size, 3), np.uint8)
    frames[:] = colour
    frames[:, 0, 0] = np.arange(len(durations))[:, None]
    write_gif(path, frames, durations)
    return path


def open_grey(starts, size=(40, 60), end=None):
    """Grey frames that begin at these seconds."""
    starts = np.asarray(starts, dtype=np.float64)
    durations = np.diff(np.append(starts, starts[-1] + 0.1 if end is None else end))
    frames = np.full((len(starts), *size, 3), 128, np.uint8)
    return ArrayMedia(frames, Timeline(starts, durations, durations), "grey")


UNEVEN = [0.02, 0.5, 0.03, 1.27, 0.1, 0.1, 0.04]


@pytest.mark.parametrize("kind", ["gif", "webp"])
@pytest.mark.parametrize("panel", [True, False])
def test_every_frame_keeps_its_duration_exactly(tmp_path, kind, panel):
    source = draw_gif(tmp_path / "a.gif", UNEVEN)
    note = write_overlay(make_result(source), tmp_path / f"o.{kind}", settings=OverlaySettings(panel=panel))
    clip, given = read_clip(source), read_clip(tmp_path / f"o.{kind}")
    assert note is None
    assert given.raw_durations.tolist() == clip.raw_durations.tolist() == UNEVEN
    np.testing.assert_allclose(given.starts, clip.starts, rtol=0, atol=1e-12)
    assert given.loop == 0


def test_mp4_keeps_every_time(tmp_path):
    source = draw_gif(tmp_path / "a.gif", UNEVEN, size=(41, 61))
    write_overlay(make_result(source), tmp_path / "o.mp4", settings=PLAIN)
    given = read_clip(tmp_path / "o.mp4")
    np.testing.assert_allclose(given.durations, UNEVEN, atol=1e-9)
    assert (given.height % 2, given.width % 2) == (0, 0)


@pytest.mark.parametrize("kind", FORMATS)
def test_a_still_is_a_picture(tmp_path, kind):
    source = draw_gif(tmp_path / "a.gif", [0.0], size=(20, 20))
    result = make_result(source, frames=1, duration=0.0)
    write_overlay(result, tmp_path / f"o.{kind}", np.full((20, 20, 3), 99, np.uint8))
    given = read_clip(tmp_path / f"o.{kind}")
    assert len(given) == 1
    if kind == "mp4":
        assert given.duration == 2.0


@pytest.mark.parametrize("cell", [(0, 0), (3, 3), (1, 5), (6, 6)])
def test_the_peak_lands_at_its_pixel(cell):
    """Of a grey frame the pixel that changes most is in the middle of the peak's cell."""
    media = open_grey([0.0, 0.1], size=(70, 140))
    result = make_result("grey", duration=0.2, attention=peak_at(*cell))
    frame = next(draw_overlay(result, media, plan_frames(media, PLAIN), 640, panel=False)).astype(int)
    change = np.abs(frame - 128).sum(axis=2)
    rows, columns = np.nonzero(change == change.max())
    assert abs(rows.mean() + 0.5 - (cell[0] + 0.5) * 10) <= 2.5
    assert abs(columns.mean() + 0.5 - (cell[1] + 0.5) * 20) <= 5
    far = (35, 139) if cell[1] < 4 else (35, 0)
    assert change[far] == 0


def test_attention_is_linear_between_its_times():
    attention = np.zeros((2, 1, 2), np.float32)
    attention[0, 0, 0] = attention[1, 0, 1] = 1
    result = make_result("x", attention=attention, attention_times=np.array([1.0, 3.0]))
    shares = [float(a[0, 1]) for a in interpolate_attention(result, np.array([0.0, 1.0, 1.5, 2.0, 3.0, 9.0]))]
    assert shares == [0, 0, 0.25, 0.5, 1, 1]
    assert list(interpolate_attention(make_face("x"), np.zeros(2))) == [None, None]
    same = make_result("x", attention=attention, attention_times=np.zeros(2))
    assert np.isfinite(next(interpolate_attention(same, np.zeros(1)))).all()


def test_even_attention_shows_no_heat():
    even = np.full((7, 7), 1 / 49, np.float32)
    assert scale_attention(even, float(even.max())).max() == 0
    slightly = even.copy()
    slightly[0, 0] *= 1.5
    assert scale_attention(slightly, float(slightly.max())).max() == pytest.approx(0.5)
    assert scale_attention(peak_at(2, 2)[0], 1.0).max() == 1


def test_without_attention_the_picture_stays_as_it_is():
    media = open_grey([0.0, 0.1])
    plan = plan_frames(media, OverlaySettings())
    for panel in (False, True):
        for frame in draw_overlay(make_face("x"), media, plan, 640, panel):
            assert (frame[:40, 90 if panel else 0 : 150 if panel else 60] // 2 == 64).mean() > 0.9


def test_long_clips_are_bounded_and_say_so():
    media = open_grey(np.arange(1000) / 25)
    plan = plan_frames(media, OverlaySettings())
    assert len(plan.indices) == 250
    assert plan.indices[1] - plan.indices[0] == 2
    assert plan.durations.sum() == pytest.approx(20.0)
    assert plan.note == "first 20 s of 40.1 s, every 2nd frame"
    np.testing.assert_allclose(plan.starts, media.timeline.starts[plan.indices])
    np.testing.assert_allclose(np.cumsum(plan.durations)[:-1], plan.starts[1:])


def test_frames_too_short_for_players_are_joined():
    """60 frames a second would play at 10 as a GIF."""
    media = open_grey(np.arange(60) / 60, end=1.0)
    plan = plan_frames(media, OverlaySettings(), 0.02)
    assert plan.durations.min() >= 0.02 - 1e-9
    assert plan.durations.sum() == pytest.approx(1.0)
    assert len(plan_frames(open_grey(np.arange(50) / 50, end=1.0), OverlaySettings(), 0.02).indices) == 50
    ends_short = plan_frames(open_grey([0, 0.1, 0.2], end=0.205), OverlaySettings(), 0.02)
    assert ends_short.indices == [0, 1]
    assert ends_short.durations.sum() == pytest.approx(0.205)


def test_sizes():
    media = open_grey([0.0], size=(1000, 2000))
    plan = plan_frames(media, PLAIN)
    assert next(draw_overlay(make_face("x"), media, plan, 640, False)).shape == (320, 640, 3)
    tiny = open_grey([0.0], size=(10, 20))
    frame = next(draw_overlay(make_face("x"), tiny, plan, 640, False))
    assert frame.shape == (80, 160, 3)
    for size in ((400, 100), (3, 900), (900, 3)):  # beside a tall one, below a wide one
        tall = open_grey([0.0], size=size)
        frame = next(draw_overlay(make_result("x"), tall, plan, 400))
        assert frame.shape[0] >= 90
        assert frame.shape[1] >= 240


def test_equal_frames_stay_apart_in_webp(tmp_path):
    media = open_grey([0.0, 0.1, 0.2])
    clip = moodreel.Clip(
        np.full((3, 40, 60, 3), 128, np.uint8),
        media.timeline.starts,
        media.timeline.durations,
        media.timeline.raw_durations,
    )
    write_overlay(make_face("x"), tmp_path / "o.webp", clip)
    assert len(read_clip(tmp_path / "o.webp")) == 3


def test_a_picture_for_a_page(tmp_path):
    picture = encode_overlay(make_result("x"), draw_gif(tmp_path / "a.gif", UNEVEN), PLAIN)
    assert open_media(picture.moving).timeline.raw_durations.tolist() == UNEVEN
    assert len(open_media(picture.still)) == 1
    assert (picture.height, picture.width) == (80, 120)


def test_names_never_meet():
    paths = ["a/x.gif", "b/x.gif", "x.gif", "x.mp4", "X.gif", "a/x", "a-x.gif", "./x.gif"]
    names = [name_overlay(path, "gif") for path in paths]
    assert len({name.lower() for name in names}) == len(paths)
    assert name_overlay("a/x.gif", "gif") == names[0]
    assert all(name.endswith(".gif") for name in names)


@pytest.mark.parametrize(
    "path", ["../../etc/passwd", "..", "/", "a\0b", "a\nb.gif", "é" * 300, "-rf.gif", "\udcff.gif", ".hidden"]
)
def test_names_are_tame(path):
    name = name_overlay(path, "webp")
    assert "/" not in name
    assert not name.startswith(".")
    assert name.isprintable()
    assert len(name.encode()) < 160


def test_what_fails_leaves_nothing(tmp_path):
    folder = OverlayFolder(tmp_path / "o", "gif")
    source = draw_gif(tmp_path / "a.gif", [0.1, 0.1])
    (tmp_path / "cut.gif").write_bytes(source.read_bytes()[:40])
    assert folder.add(make_error("x.gif")) == []
    assert folder.add(make_result(tmp_path / "gone.gif")) == ["no overlay: no such file"]
    (problem,) = folder.add(make_result(tmp_path / "cut.gif"))
    assert problem.startswith("no overlay: ")
    assert list(folder.folder.iterdir()) == []
    assert folder.add(make_result(source)) == []
    assert [path.name for path in folder.folder.iterdir()] == [name_overlay(str(source), "gif")]


def test_an_older_file_survives_a_failure(tmp_path, monkeypatch):
    source = draw_gif(tmp_path / "a.gif", [0.1, 0.1])
    target = tmp_path / "o.webp"
    target.write_bytes(b"older")
    with pytest.raises(MediaError):
        write_overlay(make_result(tmp_path / "gone.gif"), target)
    monkeypatch.setattr("moodreel.media.encode._encode_still", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        write_overlay(make_result(source), target)
    assert target.read_bytes() == b"older"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.gif", "o.webp"]


def test_what_is_not_allowed_is_named(tmp_path):
    with pytest.raises(SettingsError, match=r"\.gif, \.webp, \.mp4"):
        write_overlay(make_result("x"), tmp_path / "o.avi")
    with pytest.raises(SettingsError, match="without an error"):
        write_overlay(make_error("x"), tmp_path / "o.gif")
    with pytest.raises(SettingsError, match="one of gif, webp, mp4"):
        OverlayFolder(tmp_path, "avi")
    for field in ({"side": 3}, {"frames": 0}, {"quality": 101}, {"seconds": 0.0}):
        with pytest.raises(SettingsError, match=f"OverlaySettings.{next(iter(field))}"):
            OverlaySettings(**field)
