"""Traces: windows and their weights against plain loops, gaps by hand, files and streams alike to the bit."""

import json
from contextlib import nullcontext

import av
import numpy as np
import pytest

from faces.fakes import Squares, draw, find, make_face
from moodreel.errors import BundleError, SettingsError
from moodreel.faces.video import FaceStream
from moodreel.media import open_media, read_clip, write_mp4
from moodreel.runtime import trace_reader as rooms
from moodreel.runtime.engine import OnnxEngine
from moodreel.runtime.postprocess import PostProcess
from moodreel.runtime.recognizer import Recognizer, load
from moodreel.runtime.schema import SYSTEMS, BundleInfo
from moodreel.runtime.trace import Tracer, TraceSettings, fill_gaps, trace_media
from moodreel.runtime.trace_reader import GRID, TraceReader, open_trace_reader, spread_attention
from moodreel.types import Clip
from runtime.tiny import make_info, make_sta, write_bundle, write_sta


class Counting:
    """A network whose value at place p of its n-th window (from 0) is (level + 10 n + p) / 1000."""

    def __init__(self, scale=1000.0, grain=1):
        self.windows, self.scale, self.grain = [], scale, grain

    def run(self, frames):
        assert frames.dtype == np.uint8
        assert len(frames) == 1
        level = np.round(frames[0, :, 0, 0, 0] / self.grain) * self.grain
        values = (level + 10 * len(self.windows) + np.arange(len(level))) / self.scale
        self.windows.append(level.astype(int).tolist())
        attention = np.zeros((1, len(level), 2, 2), np.float32)
        attention[0, :, 0, 0], attention[0, :, 1, 1] = 0.25 * len(self.windows), 1 - 0.25 * len(self.windows)
        return {"valence": values[None].astype(np.float64), "attention": attention}


def weigh(length, window, stride):
    """Per tick, [(number of the window, place in it, weight)], by loops over the stated rule."""
    starts = [s for s in range(0, length, stride) if s + window <= length]
    shown = [[] for _ in range(length)]
    for number, start in enumerate(starts):
        for place in range(window):
            shown[start + place].append((number, place, min(place + 1, window - place)))
    settled = starts[-1] + stride if starts else 0
    if not starts or starts[-1] + window < length:
        start = max(0, length - window)
        for place in range(min(window, length)):
            if start + place >= settled:
                shown[start + place].append((len(starts), place, min(place + 1, window - place)))
    return shown


def trace_levels(levels, window=4, stride=2, engine=None, keep=False):
    """Points of frames at 4 a second, each a face of one grey."""
    tracer = Tracer(engine or Counting(), FaceStream(None, 4), TraceSettings(window, stride), keep)
    points = []
    for k, level in enumerate(levels):
        points += tracer.push(np.full((4, 4, 3), level, np.uint8), k / 4)
    return points + tracer.finish()


def test_five_ticks_by_hand():
    engine = Counting()
    points = trace_levels([10, 20, 30, 40, 50], engine=engine)
    assert engine.windows == [[10, 20, 30, 40], [20, 30, 40, 50]]
    # Window 0 gives 10, 21, 32, 43 (in 1/1000) with weights 1 2 2 1 and settles its first two ticks. The
    # last one gives 30, 41, 52, 63 at ticks 1 to 4, and counts for ticks 2 to 4: 32 and 41 with weights 2 and
    # 2, 43 and 52 with 1 and 2, 63 alone.
    expected = [10, 21, 36.5, (43 + 2 * 52) / 3, 63]
    np.testing.assert_allclose([1000 * point.valence for point in points], expected)
    assert [(p.time, p.face, p.status) for p in points] == [(k / 4, 1, "ok") for k in range(5)]


@pytest.mark.parametrize("window, stride", [(4, 2), (4, 4), (4, 1), (4, 3), (16, 8), (1, 1)])  # noqa: PT006
def test_windows_are_blended_as_stated(window, stride):
    rng = np.random.default_rng(window * 10 + stride)
    for length in range(1, 40):
        levels = rng.integers(0, 200, length).tolist()
        engine = Counting()
        points = trace_levels(levels, window, stride, engine)
        for tick, (point, shown) in enumerate(zip(points, weigh(length, window, stride), strict=True)):
            total = sum(w * (levels[tick] + 10 * n + p) for n, p, w in shown)
            expected = total / sum(w for _, _, w in shown) / 1000
            assert point.valence == pytest.approx(min(expected, 1.0), abs=1e-12), (length, tick)


def test_a_short_clip_repeats_its_last_picture():
    engine = Counting()
    points = trace_levels([10, 20, 30], 8, 4, engine)
    assert engine.windows == [[10, 20, 30, 30, 30, 30, 30, 30]]
    np.testing.assert_allclose([p.valence for p in points], [0.010, 0.021, 0.032])


def test_a_tick_is_given_when_no_later_window_shows_it():
    tracer = Tracer(Counting(), FaceStream(None, 4), TraceSettings(16, 8))
    given = [len(tracer.push(np.zeros((4, 4, 3), np.uint8), k / 4)) for k in range(41)]
    # Tick k is known when the frame after it comes: window n (ticks 8 n to 8 n + 15) runs at frame 8 n + 16.
    assert {k: count for k, count in enumerate(given) if count} == {16: 8, 24: 8, 32: 8, 40: 8}
    assert len(tracer.finish()) == 9


def test_values_stay_between_minus_one_and_one():
    assert [p.valence for p in trace_levels([200, 200], engine=Counting(10.0))] == [1.0, 1.0]


def test_attention_is_blended_with_the_same_weights():
    points = trace_levels([10, 20, 30, 40, 50], keep=True)
    corners = [point.attention[0, 0] for point in points]
    np.testing.assert_allclose(corners, [0.25, 0.25, 0.375, (0.25 + 2 * 0.5) / 3, 0.5])
    np.testing.assert_allclose([point.attention.sum() for point in points], 1)
    assert all(point.attention is None for point in trace_levels([10, 20, 30, 40, 50]))


def test_what_is_not_finite_is_refused():
    class Broken:
        def run(self, frames):
            return {"valence": np.full((1, frames.shape[1]), np.nan)}

    with pytest.raises(BundleError, match="not finite"):
        trace_levels([1, 2], engine=Broken())


@pytest.mark.parametrize(
    ("settings", "field"), [((16, 0), "stride"), ((16, 17), "stride"), ((0, 1), "window")]
)
def test_wrong_settings(settings, field):
    with pytest.raises(SettingsError, match=field):
        TraceSettings(*settings)
    assert [TraceSettings.of_window(w) for w in (16, 1)] == [TraceSettings(16, 8), TraceSettings(1, 1)]


def trace_plan(plan, window=4, stride=2, post=None):
    """Points of a clip at 4 ticks a second; of each tick, the level of its face (at one place) or None."""
    engine = Counting(grain=10)  # cutting a face out may cost a level
    tracer = Tracer(engine, FaceStream(find, 4), TraceSettings(window, stride), post=post)
    points, given = [], []
    for k, level in enumerate(plan):
        squares = [] if level is None else [(10, 10, 40, (level, 0))]
        points += tracer.push(draw((60, 80), *squares), k / 4)
        given.append(len(points))
    return points + tracer.finish(), engine, given


def test_ticks_without_a_face_lie_on_the_line_between_their_neighbours():
    points, engine, _ = trace_plan([None, 10, 20, None, 40, None, None, None, 90, 90, None])
    # One turn until the face has been missing for more than 0.5 s, the gap within it shown as the picture
    # before; at 1.75 s it is given up; then another turn. Windows: ticks 1 to 4, then 3 to 6 (those awaited
    # included), and 8 to 9 with the one awaited at the end.
    assert engine.windows == [[10, 20, 20, 40], [20, 40, 40, 40], [90, 90, 90, 90]]
    assert "".join(p.status[0] for p in points) == "iooioiiiooi"
    assert [p.face for p in points] == [0, 1, 1, 0, 1, 0, 0, 0, 2, 2, 0]
    # Tick 4 is place 3 (weight 1) of window 0 and place 1 (weight 2) of window 1: 43 and 51.
    known = {1: 10, 2: 21, 4: (43 + 2 * 51) / 3, 8: 110, 9: 111}
    step = (known[8] - known[4]) / 4
    between = {0: 10, 3: (known[2] + known[4]) / 2, 10: 111} | {4 + k: known[4] + k * step for k in (1, 2, 3)}
    expected = [(known | between)[k] for k in range(11)]
    np.testing.assert_allclose([1000 * p.valence for p in points], expected)
    times, found = [p.time for p in points], [p.status == "ok" for p in points]
    filled, status = fill_gaps(times, [p.valence if p.status == "ok" else 99 for p in points], found)
    assert filled.tolist() == [p.valence for p in points]  # in one go, the same to the bit
    assert status == [p.status for p in points]


def test_a_face_that_has_gone_does_not_hold_up_what_came_before():
    _, _, given = trace_plan([10, 20, 30, None, None, None, None, None, None, None, 40])
    # Given up at tick 5 (0.75 s after its last sight), which is known with frame 6.
    assert given[5] == 2
    assert given[6:10] == [3, 3, 3, 3]


def test_a_clip_without_any_face():
    points, engine, given = trace_plan([None] * 5)
    assert engine.windows == []
    assert (given[-1], len(points)) == (0, 5)
    assert {(p.valence, p.face, p.status) for p in points} == {(None, 0, "no_face")}


def test_gaps_by_hand():
    values, status = fill_gaps([0, 1, 2, 4, 5], [9, 1, 9, 4, 9], [False, True, False, True, False])
    assert values.tolist() == [1, 1, 2, 4, 4]
    assert status == ["interpolated", "ok", "interpolated", "ok", "interpolated"]
    values, status = fill_gaps([0, 1], [5, 5], [False, False])
    assert np.isnan(values).all()
    assert status == ["no_face", "no_face"]
    assert fill_gaps([], [], [])[1] == []


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    """An MP4 of 7.3 s with uneven frames: a face that moves, goes, and comes back beside a larger one."""
    rng = np.random.default_rng(5)
    durations = rng.uniform(0.02, 0.16, 80)
    frames = []
    for k in range(len(durations)):
        level = int(40 + 60 * np.sin(k / 9) + k)
        squares = [] if 25 <= k < 40 else [(8 + k // 4, 10, 40, (level, 100))]
        frames.append(draw((64, 160), *squares, *([(90, 4, 56, (200, 0))] if k >= 45 else [])))
    path = tmp_path_factory.mktemp("video") / "v.mp4"
    write_mp4(path, frames, durations, quality=4)
    return path


def make_reader(size=14, detector=None, **settings):
    info = {"labels": {}, "supervised": {}, "input": {"height": size, "width": size}}
    sampling = {"method": "rate", "fps": 4.0, "limit": 16}
    content = make_info("sta", sampling=sampling, **info)
    engine = OnnxEngine(make_sta(size), SYSTEMS["sta"], threads=1)
    return TraceReader(BundleInfo.from_json(json.dumps(content)), engine, detector, **settings)


def same(one, other):
    assert [(p.time, p.valence, p.face, p.status) for p in one] == [
        (p.time, p.valence, p.face, p.status) for p in other
    ]
    for a, b in zip(one, other, strict=True):
        assert (a.picture is None) == (b.picture is None)
        if a.picture is not None:
            np.testing.assert_array_equal(a.picture, b.picture)
            np.testing.assert_array_equal(a.attention, b.attention)


def test_a_file_and_its_frames_pushed_one_by_one_are_equal_to_the_bit(video):
    reader = make_reader()
    media, clip = open_media(video), read_clip(video)
    for finder in (find, None):
        tracers = [Tracer(reader.engine, FaceStream(finder, 14), reader.settings, True) for _ in range(2)]
        from_file = list(trace_media(media, tracers[0]))
        live = []
        for frame, time in zip(clip.frames, clip.starts.tolist(), strict=True):
            live += tracers[1].push(frame, time)
        live += tracers[1].finish(clip.duration)
        same(from_file, live)
        assert [p.time for p in live] == [k / 4 for k in range(len(live))]
        assert len(live) == int(np.ceil(clip.duration * 4 - 1e-9))
    statuses = {p.status for p in trace_media(media, Tracer(reader.engine, FaceStream(find, 14)))}
    assert statuses == {"ok", "interpolated"}


class Pipe:
    """A file that cannot be sought in, so that no duration can be written into its head."""

    def __init__(self, path):
        self.stream = path.open("wb")

    def write(self, content):
        written = self.stream.write(content)
        self.stream.flush()
        return written


@pytest.mark.parametrize("kind", ["hevc", "without a duration"])
def test_other_videos_have_their_ticks(tmp_path, kind):
    """57 frames at 23 a second: 2.478 s, so ten ticks."""
    path = tmp_path / "v.mkv"
    codec = "libx265" if kind == "hevc" else "libx264"
    if codec not in av.codecs_available:
        pytest.skip(f"PyAV has no {codec} here")
    with av.open(str(path) if kind == "hevc" else Pipe(path), "w", format="matroska") as out:
        stream = out.add_stream(codec, rate=23, options={"x265-params": "log-level=none"})
        stream.width, stream.height, stream.pix_fmt = 96, 64, "yuv420p"
        for k in range(57):
            frame = draw((64, 96), (20, 10, 40, (4 * k, 30)))
            out.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        out.mux(stream.encode())
    with av.open(str(path)) as stored:
        assert (stored.duration is None) == (kind != "hevc")
    media = open_media(path)
    reader = make_reader()
    tracer = Tracer(reader.engine, FaceStream(find, 14), reader.settings)
    points = list(trace_media(media, tracer))
    assert [p.time for p in points] == [k / 4 for k in range(10)]
    assert {p.status for p in points} == {"ok"}
    red = 4 * np.round(np.arange(10) / 4 * 23)  # of the nearest frame
    np.testing.assert_allclose([p.valence for p in points], 2 * red / 255 - 1 + 0.1 * 30 / 255, atol=0.08)


def test_a_bundle_post_processes_a_file_and_a_stream_alike(tmp_path, video):
    post = {"median_s": 1.0, "centre": 0.05, "scale": 0.5}
    folder = write_sta(tmp_path / "smooth", post=post)
    reader, raw = (open_trace_reader(folder, None, raw=raw) for raw in (False, True))
    media, clip = open_media(video), read_clip(video)
    plain = list(trace_media(media, raw.make_tracer(media)))
    expected = PostProcess(**post).apply([p.time for p in plain], [p.valence for p in plain])
    assert np.ptp(expected) > 0.1
    from_file = list(trace_media(media, reader.make_tracer(media, True)))
    np.testing.assert_allclose([p.valence for p in from_file], expected, atol=1e-12)
    assert [(p.time, p.status, p.face) for p in from_file] == [(p.time, p.status, p.face) for p in plain]
    live, tracer = [], reader.make_tracer(None, True)
    for frame, time in zip(clip.frames, clip.starts.tolist(), strict=True):
        live += tracer.push(frame, time)
    same(from_file, live + tracer.finish(clip.duration))


def test_faces_that_are_missing_are_filled_in_before_the_post_processing():
    chain = PostProcess(median_s=1.0, scale=0.9)
    plans = [trace_plan([10, None, None, 40, 90], post=post) for post in (None, chain)]
    (before, _, _), (after, _, _) = plans
    expected = chain.apply([p.time for p in before], [p.valence for p in before])
    np.testing.assert_allclose([p.valence for p in after], expected, atol=1e-12)
    assert [p.status for p in after] == [p.status for p in before]
    nobody, _, _ = trace_plan([None, None], post=chain)
    assert [(p.valence, p.status) for p in nobody] == [(None, "no_face")] * 2


def test_the_network_in_onnx_gives_the_known_values():
    """2 red - 1 + 0.1 green of the window: the frame is the face."""
    frames = np.zeros((20, 8, 8, 3), np.uint8)
    frames[..., 0], frames[..., 1] = np.arange(20)[:, None, None] * 10, 51
    clip = Clip(frames, np.arange(20) / 4, np.full(20, 0.25), np.full(20, 0.25))
    reader = make_reader()
    points = list(trace_media(open_media(clip), reader.make_tracer(None, True)))
    expected = 2 * np.arange(20) * 10 / 255 - 1 + 0.1 * 0.2
    np.testing.assert_allclose([p.valence for p in points], expected, atol=1e-6)
    np.testing.assert_allclose(points[3].attention, np.full((14, 14), 1 / 196), atol=1e-7)


def test_attention_goes_back_into_the_frame():
    frame = draw((120, 240), (150, 30, 60, (10, 0)))
    frame[30:60, 150:180, 0] = 255  # red in the upper left quarter of the face
    reader = make_reader(size=60)
    tracer = Tracer(reader.engine, FaceStream(lambda f, t: [make_face(150, 30, 60)], 60), keep_attention=True)
    tracer.push(frame, 0)
    (point,) = tracer.finish()
    spread = spread_attention(point, (120, 240))
    assert spread.shape == (16, GRID)
    assert spread.sum() == pytest.approx(1)
    inside = spread[4:8, 20:24]  # 30 to 60 and 150 to 180 px in cells of 7.5 px
    red, dim, cells = 1.001, 10 / 255 + 0.001, 3600 / 4
    assert inside.sum() == pytest.approx(red * cells / (red * cells + 3 * dim * cells), abs=1e-3)
    half = Tracer(reader.engine, FaceStream(lambda f, t: [make_face(210, 30, 60)], 60), keep_attention=True)
    half.push(frame, 0)
    (point,) = half.finish()
    spread = spread_attention(point, (120, 240))
    assert spread.sum() == pytest.approx(1)  # half of the face is beyond the frame
    assert spread[:, :28].sum() == 0


def use_squares(monkeypatch):
    monkeypatch.setattr(rooms, "choose_detector", lambda settings: settings)
    monkeypatch.setattr(rooms, "open_detector", lambda settings: nullcontext(Squares()))


def test_predict_reads_a_trace_as_one_result(tmp_path, video, monkeypatch):
    use_squares(monkeypatch)
    mood = load(write_sta(tmp_path / "tiny"))
    result = mood(video, per_frame=True)
    reader = make_reader()
    points = list(trace_media(open_media(video), Tracer(reader.engine, FaceStream(find, 14))))
    values = np.array([p.valence for p in points])
    assert result.valence == pytest.approx(values.mean(), abs=1e-6)
    assert (result.category, result.confidence, result.arousal, result.emotions) == (None, None, None, {})
    assert result.faces == 3  # the first, the larger one, and the first come back after more than 0.5 s
    np.testing.assert_allclose(result.per_frame["valence"], values, atol=1e-6)
    np.testing.assert_allclose(result.per_frame["time_s"], [p.time for p in points])
    found = [p.time for p in points if p.status == "ok"]
    assert result.attention_times.tolist() == found
    np.testing.assert_allclose(result.attention.sum(axis=(1, 2)), 1, atol=1e-5)
    nobody = np.zeros((3, 20, 20, 3), np.uint8)
    with_errors = list(mood.map([nobody, tmp_path / "gone.gif", video], workers=2))
    assert (with_errors[0].error, with_errors[0].valence, with_errors[0].faces) == (None, None, 0)
    assert with_errors[0].attention is None
    assert with_errors[1].error == "no such file"
    assert with_errors[2].valence == result.valence


def test_the_whole_frame_counts_no_faces():
    reader = make_reader()
    mood = Recognizer(reader.info, reader.engine, detector=None)
    frames = np.zeros((1, 8, 8, 3), np.uint8)
    frames[..., 0] = 255
    result = mood(frames)
    assert (result.faces, result.duration) == (None, 0)
    assert result.valence == pytest.approx(1)
    assert result.attention.shape == (1, GRID, GRID)


def test_long_clips_keep_some_of_the_attention(monkeypatch):
    monkeypatch.setattr(rooms, "MOST_MAPS", 4)
    reader = make_reader()
    frames = np.zeros((20, 8, 8, 3), np.uint8)
    clip = Clip(frames, np.arange(20) / 4, np.full(20, 0.25), np.full(20, 0.25))
    [sample] = reader.sample(clip, Recognizer(reader.info, reader.engine, detector=None).limits)
    assert sample.attention_times.tolist() == [0, 1.25, 2.5, 3.75]
    assert len(sample.outputs["valence"]) == 20


def test_bundles_that_make_no_trace(tmp_path):
    with pytest.raises(BundleError, match="a trace needs system 'sta', not 'kavan'"):
        open_trace_reader(write_bundle(tmp_path / "kavan"), None)
    with pytest.raises(BundleError, match="square input"):
        open_trace_reader(write_sta(tmp_path / "wide", input={"height": 14, "width": 20}), None)
    with pytest.raises(SettingsError, match="stride"):
        open_trace_reader(write_sta(tmp_path / "good"), None, stride=17)
    assert open_trace_reader(tmp_path / "good", None, stride=4).settings == TraceSettings(16, 4)
