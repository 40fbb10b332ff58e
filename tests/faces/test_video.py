"""One face a tick: ticks against a search over all frames, the face that is followed worked out by hand."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest

from faces.fakes import Squares, draw, find, make_face
from moodreel.errors import DataError, SettingsError
from moodreel.faces.align import align_faces, cut_face
from moodreel.faces.openpose import OpenPoseFiles
from moodreel.faces.track import Tracker, TrackSettings
from moodreel.faces.video import FaceStream, bind_detector, pick_frames, read_face_ticks
from moodreel.media import open_media
from moodreel.types import Clip, Face


def make_clip(starts, last, frames=None):
    starts = np.asarray(starts, float)
    durations = np.append(np.diff(starts), last)
    if frames is None:  # frame k is grey of level k
        frames = np.arange(len(starts), dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)
    return Clip(np.asarray(frames), starts, durations, durations)


def push_all(stream, clip, duration=True):
    ticks = []
    for frame, time in zip(clip.frames, clip.starts.tolist(), strict=True):
        ticks += stream.push(frame, time)
    return ticks + stream.finish(clip.duration if duration else None)


def search(starts, duration):
    """(time, frame) of each tick, by looking at every frame: the nearest, of two the earlier."""
    expected, tick = [], 0
    while tick / 4 < duration - 1e-9 or tick == 0:
        gaps = [round(abs(start - tick / 4), 9) for start in starts]
        expected.append((tick / 4, gaps.index(min(gaps))))
        tick += 1
    return expected


def levels(ticks):
    return [(tick.time, int(tick.picture[0, 0, 0])) for tick in ticks]


CLIPS = {
    "still": ([0], 0.0),
    "one frame that lasts": ([0], 0.8),
    "halves": ([0, 0.5, 1.0], 0.5),  # ticks halfway between two frames
    "ends on a tick": ([0, 0.1, 0.4], 0.35),
    "last frame on a tick, without a duration": ([0, 0.2, 0.5], 0.0),
    "two at once": ([0, 0.25, 0.25, 0.6], 0.1),
    "slow": ([0, 2.0, 2.1, 7.0], 1.0),
    "ntsc": (np.arange(90) * 1001 / 30000, 1001 / 30000),
    "uneven": (np.cumsum([0, *np.random.default_rng(3).uniform(0.01, 0.4, 60)]), 0.2),
}


@pytest.mark.parametrize("name", CLIPS)
def test_ticks_show_the_nearest_frame(name):
    clip = make_clip(*CLIPS[name])
    expected = search(clip.starts.tolist(), clip.duration)
    assert levels(push_all(FaceStream(None, 8), clip)) == expected
    assert levels(read_face_ticks(open_media(clip), FaceStream(None, 8))) == expected


def test_a_file_decodes_no_more_than_it_shows():
    clip = make_clip(np.arange(100) * 0.02, 0.02)
    assert [time for _, time in pick_frames(open_media(clip))] == [0, 0.24, 0.5, 0.74, 1.0, 1.24, 1.5, 1.74]


def test_ticks_come_as_soon_as_they_are_known():
    stream = FaceStream(None, 8)
    grey = make_clip(np.arange(5), 1).frames
    given = [[tick.time for tick in stream.push(grey[k], t)] for k, t in enumerate([0, 0.1, 0.25, 0.3, 1.1])]
    assert given == [[], [0], [], [0.25], [0.5, 0.75, 1.0]]
    assert [tick.time for tick in stream.finish(1.2)] == []
    assert stream.finish() == []


def test_a_stream_that_does_not_say_its_end_lets_the_last_frame_last_as_the_one_before():
    assert [t.time for t in push_all(FaceStream(None, 8), make_clip([0, 0.4, 1.0], 9), False)] == [
        0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5
    ]  # fmt: skip
    assert [t.time for t in push_all(FaceStream(None, 8), make_clip([0], 9), False)] == [0]
    assert FaceStream(None, 8).finish() == []


@pytest.mark.parametrize(
    ("frames", "match"),
    [
        ([(0.5, (4, 4, 3))], "time = 0.5: expected 0 for the first"),
        ([(0, (4, 4, 3)), (1, (4, 4, 3)), (0.9, (4, 4, 3))], "time = 0.9: expected at least 1"),
        ([(0, (4, 4, 3)), (float("nan"), (4, 4, 3))], "time = nan"),
        ([(0, (4, 4, 4))], r"uint8 \[4, 4, 4\]"),
        ([(0, (4, 4))], r"frame = 'uint8 \[4, 4\]'"),
    ],
)
def test_wrong_frames_are_refused(frames, match):
    stream = FaceStream(None, 8)
    *good, (last, wrong) = frames
    for time, shape in good:
        stream.push(np.zeros(shape, np.uint8), time)
    with pytest.raises(SettingsError, match=match):
        stream.push(np.zeros(wrong, np.uint8), last)


def test_wrong_settings_are_refused():
    for changes in ({"size": 0}, {"fps": 0}, {"fps": float("nan")}, {"smooth": -1}):
        with pytest.raises(SettingsError, match=next(iter(changes))):
            FaceStream(None, **changes)
    stream = FaceStream(None)
    stream.push(np.zeros((4, 4, 3), np.uint8), 0)
    stream.push(np.zeros((4, 4, 3), np.uint8), 1)
    with pytest.raises(SettingsError, match="duration"):
        stream.finish(0.5)
    stream.finish(1)
    with pytest.raises(SettingsError, match="finish"):
        stream.push(np.zeros((4, 4, 3), np.uint8), 2)


def follow(plan, gap=0.5):
    """Faces by tick -> numbers and reds of what is followed. A plan's tick: name -> side, at fixed places."""
    places, reds = {"a": 5, "b": 90, "c": 170}, {"a": 50, "b": 120, "c": 200}
    stream, ticks = FaceStream(find, 8, tracking=TrackSettings(gap=gap)), []
    for k, faces in enumerate(plan):
        squares = [(places[name], 10, side, (reds[name], 0)) for name, side in faces.items()]
        ticks += stream.push(draw((80, 240), *squares), k / 4)
    ticks += stream.finish()
    names = {red: name for name, red in reds.items()}
    shown = ["-" if t.picture is None else names[int(t.picture[4, 4, 0])] for t in ticks]
    assert all(tick.found == (name != "-") for tick, name in zip(ticks, shown, strict=True))
    return "".join(shown), [tick.face for tick in ticks], stream.faces


def test_the_largest_face_is_followed_until_it_is_lost():
    both = {"a": 30, "b": 40}
    assert follow([both, both, both]) == ("bbb", [1, 1, 1], 2)
    # A larger one that comes later changes nothing; the first is missing for 0.5 s and keeps its turn.
    plan = [{"a": 30}, both, {"b": 40}, {"b": 40}, both, both]
    shown, faces, _ = follow([plan[0], plan[1], plan[2], plan[4]])
    assert (shown, faces) == ("aa-a", [1, 1, 1, 1])
    shown, faces, _ = follow([*plan[:2], {"b": 40}, {"b": 40}, {"b": 40, "c": 30}, both])
    # Last seen at 0.25 s: at 0.75 s 0.5 s are over (still awaited), at 1 s it is given up: b is the largest.
    assert (shown, faces) == ("aa--bb", [1, 1, 1, 1, 2, 2])


def test_a_clip_without_a_face_for_a_while():
    shown, faces, count = follow([{}, {"a": 30}, {}, {}, {}, {}, {"a": 30}, {}])
    assert (shown, faces, count) == ("-a----a-", [0, 1, 1, 1, 0, 0, 2, 2], 2)
    assert follow([{}, {}]) == ("--", [0, 0], 0)


def test_a_weak_face_is_followed_where_a_sure_one_was():
    """Weak at ticks 0, 2 and 3 of 5: it begins no turn, and misses none once it has begun."""
    stream = FaceStream(
        lambda frame, time: [replace(make_face(10, 10, 40), is_weak=time in (0, 0.5, 0.75))],
        8,
        tracking=TrackSettings(gap=0),
    )
    ticks = []
    for k in range(5):
        ticks += stream.push(draw((80, 100), (10, 10, 40, (90 + k, 0))), k / 4)
    ticks += stream.finish()
    assert [tick.face for tick in ticks] == [0, 1, 1, 1, 1]
    assert [int(tick.picture[4, 4, 0]) for tick in ticks[1:]] == [91, 92, 93, 94]
    assert stream.faces == 1


def test_a_face_without_eyes_and_nose_does_not_count():
    blind = make_face(10, 10, 40, 0.0)
    blind = Face(blind.box, blind.points, np.where(np.arange(70) == 3, 1.0, 0.0))
    small = make_face(60, 10, 20)
    stream = FaceStream(lambda frame, time: [blind, small], 8)
    stream.push(draw((80, 100), (60, 10, 20, (90, 0))), 0)
    (tick,) = stream.finish()
    assert (tick.face, stream.faces) == (1, 2)
    assert abs(int(tick.picture[4, 4, 0]) - 90) <= 1
    stream = FaceStream(lambda frame, time: [blind], 8)
    stream.push(draw((80, 100)), 0)
    (tick,) = stream.finish()
    assert (tick.face, tick.found) == (0, False)


def test_the_place_is_averaged_over_the_past_alone():
    """Two sights 0.25 s apart: the Gaussian of 0.1 s weighs the earlier exp(-3.125) of the later."""
    weight = np.exp(-(0.25**2) / (2 * 0.1**2))
    squares = [(20, 10), (28, 14), (22, 10)]
    frames = [draw((80, 100), (x, y, 40, (200, 0))) for x, y in squares]
    stream, ticks = FaceStream(find, 16), []
    for k, frame in enumerate(frames):
        ticks += stream.push(frame, k / 4)
    ticks += stream.finish()
    centres = [np.array([x + 20, y + 20]) for x, y in squares]
    np.testing.assert_allclose(ticks[0].place.centres[0], centres[0])
    np.testing.assert_allclose(ticks[1].place.centres[0], (centres[1] + weight * centres[0]) / (1 + weight))
    np.testing.assert_allclose(ticks[2].place.sides[0], [40, 0], atol=1e-9)
    np.testing.assert_array_equal(ticks[1].picture, cut_face(frames[1], ticks[1].place, 0, 16))
    assert (ticks[1].width, ticks[1].height) == (100, 80)
    alone = FaceStream(find, 16, smooth=0.0)
    alone.push(frames[0], 0)
    ticks = alone.push(frames[1], 0.25) + alone.finish()
    np.testing.assert_allclose(ticks[1].place.centres[0], centres[1])


def test_places_go_back_into_the_frame():
    turned = make_face(30, 20, 40)
    angle = np.deg2rad(20)
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    turned = Face(turned.box, turned.points @ matrix.T + [40, 5], turned.confidence)
    alignment = align_faces([turned], [0.0])
    inside = np.random.default_rng(0).uniform(0, 1, (5, 2))
    np.testing.assert_allclose(alignment.place(0, alignment.locate(0, inside)), inside)
    np.testing.assert_allclose(alignment.locate(0, [0.5, 0.5]), matrix @ [50, 40] + [40, 5])


def test_the_whole_frame_as_a_face():
    frame = np.zeros((10, 20, 3), np.uint8)
    frame[:, 10:] = 200
    stream = FaceStream(None, 4)
    stream.push(frame, 0)
    (tick,) = stream.finish()
    assert (tick.face, tick.place, stream.faces) == (1, None, None)
    np.testing.assert_allclose(tick.picture[..., 0], [[0, 0, 200, 200]] * 4, atol=10)  # a soft edge


def test_a_frame_is_looked_at_once():
    seen = []
    stream = FaceStream(lambda frame, time: seen.append(time) or [], 8)
    clip = make_clip([0, 0.05, 0.1, 1.0, 1.05], 0.1)
    assert len(push_all(stream, clip)) == 5
    # 0, 0.25 and 0.5 s (0.4 from 0.1 s, 0.5 from 1 s) show 0.1 s; the rest 1 s.
    assert seen == [0, 0.1, 1.0]


def test_what_is_held_does_not_grow():
    rng = np.random.default_rng(1)
    sizes = []
    tracker = Tracker()
    for k in range(400):
        tracker.add(k / 25, [make_face(20 + 0.1 * k, 10, 40), make_face(*rng.uniform(100, 900, 2), 30)])
        sizes.append(len(pickle.dumps(tracker)))
    assert max(sizes[200:]) < 1.3 * max(sizes[:100])
    stream = FaceStream(find, 8)
    held = []
    for k in range(300):
        stream.push(draw((60, 80), (10 + k % 3, 10, 30, (90, 0))), k / 25)
        held.append(len(pickle.dumps({n: v for n, v in vars(stream).items() if n != "_finder"})))
    assert max(held[150:]) <= max(held[:100]) * 1.05


def test_detectors_see_single_frames_and_files_need_the_clip(tmp_path):
    frames = np.stack([draw((60, 80), (10 + k, 10, 30, (90, 0))) for k in range(6)])
    clip = make_clip(np.arange(6) * 0.2, 0.2, frames)
    finder = bind_detector(Squares())
    np.testing.assert_array_equal(finder(frames[3], 9.0)[0].box, [13, 10, 43, 40])
    expected = list(read_face_ticks(open_media(clip), FaceStream(finder, 8)))
    entries = []
    for k in (0, 1, 2, 4, 5):  # those nearest to 0, 0.25, 0.5, 0.75 and 1 s
        face = find(frames[k])[0]
        flat = np.column_stack([face.points, face.confidence]).ravel().tolist()
        entries.append({"index": k, "time": k * 0.2, "people": [{"face_keypoints_2d": flat}]})
    file = tmp_path / "k.json"
    file.write_text(json.dumps({"width": 80, "height": 60, "frames": entries}))
    found = push_all(FaceStream(bind_detector(OpenPoseFiles(file), open_media(clip)), 8), clip)
    assert len(found) == len(expected) == 5
    for one, other in zip(found, expected, strict=True):
        assert one.time == other.time
        np.testing.assert_array_equal(one.picture, other.picture)
    with pytest.raises(DataError, match="a stream has none"):
        bind_detector(OpenPoseFiles(file))
    file.write_text(json.dumps({"width": 80, "height": 60, "frames": entries[:-1]}))
    with pytest.raises(DataError, match="no frame 5"):
        bind_detector(OpenPoseFiles(file), open_media(clip))
