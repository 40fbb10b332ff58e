"""Faces along time: identities worked out by hand."""

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.faces.track import TrackSettings, find_faces, track_faces
from moodreel.media import open_media
from moodreel.types import Clip, Face


def face(x, y=100.0, side=40.0, is_weak=False):
    """A face whose box has this centre."""
    box = np.array([x - side / 2, y - side / 2, x + side / 2, y + side / 2])
    return Face(box, np.full((70, 2), [x, y]), np.ones(70), is_weak=is_weak)


def weak(x, y=100.0, side=40.0):
    return face(x, y, side, is_weak=True)


def track(times, faces, **settings):
    return track_faces(np.arange(len(times)), times, faces, TrackSettings(**settings))


def centres(one):
    return [(face.box[0] + face.box[2]) / 2 for face in one.faces]


def test_a_face_that_is_always_there_is_one_track():
    found = track([0, 0.1, 0.4], [[face(50)], [face(55)], [face(52)]])
    (one,) = found
    assert (one.id, one.frames.tolist(), one.times.tolist()) == (0, [0, 1, 2], [0, 0.1, 0.4])
    assert centres(one) == [50, 55, 52]


def test_no_face_no_track():
    assert track([], []) == ()
    assert track([0, 1], [[], []]) == ()


def test_ids_follow_first_sight_then_size_then_the_left():
    first, second = [face(300), face(100), face(200, side=60)], [face(100), face(200, side=60), face(300)]
    found = track([0, 0.1], [[], first])
    assert [centres(one) for one in found] == [[200], [100], [300]]
    assert [one.id for one in track([0, 0.1], [first, second])] == [0, 1, 2]
    later = track([0, 0.1], [[face(300)], [*second]])
    assert [one.frames.tolist() for one in later] == [[0, 1], [1], [1]]
    assert centres(later[0]) == [300, 300]


def test_the_order_of_a_detector_changes_nothing():
    rng = np.random.default_rng(0)
    times = np.cumsum(rng.uniform(0.03, 0.2, 12))
    frames = [
        [face(60 + 9 * k), face(260 - 8 * k, 110), face(150, 120, 60)][: 3 - (k % 5 == 0)] for k in range(12)
    ]
    expected = track(times, frames)
    for seed in range(6):
        mixed = [list(np.random.default_rng([seed, k]).permutation(np.array(some, object)))
                 for k, some in enumerate(frames)]  # fmt: skip
        found = track(times, mixed)
        assert [one.frames.tolist() for one in found] == [one.frames.tolist() for one in expected]
        assert [centres(one) for one in found] == [centres(one) for one in expected]


def test_faces_that_pass_each_other_keep_their_ids():
    """100 px a second to the right, 100 to the left, in uneven steps; at 1.025 s they stand in one place."""
    times = np.array([0, 0.1, 0.15, 0.3, 0.4, 0.5, 0.65, 0.7, 0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.4, 1.5])
    right, left = 20 + 100 * times, 225 - 100 * times
    frames = [[face(a), face(b)] for a, b in zip(right, left, strict=True)]
    found = track(times, frames)
    assert len(found) == 2
    np.testing.assert_allclose(centres(found[0]), right)
    np.testing.assert_allclose(centres(found[1]), left)
    # From 1.0 to 1.1 s each box lies nearer to the other's last one (5 px) than to its own (10): without
    # motion the ids are exchanged.
    swapped = track(times, frames, window=0)
    np.testing.assert_allclose(centres(swapped[0]), np.where(times < 1.05, right, left))


def test_a_face_behind_another_keeps_its_id_within_the_gap():
    """Hidden from 0.5 to 0.8 s: its next sight lies 0.4 s after the last."""
    times = np.arange(12) / 10
    walking = 20 + 100 * times
    frames = [[face(80), *([] if 5 <= k <= 7 else [face(x, 120)])] for k, x in enumerate(walking)]
    found = track(times, frames, gap=0.4)
    assert [one.frames.tolist() for one in found] == [[0, 1, 2, 3, 4, 8, 9, 10, 11], list(range(12))]
    np.testing.assert_allclose(centres(found[1]), 80)
    again = track(times, frames, gap=0.39)
    assert [one.frames.tolist() for one in again] == [[0, 1, 2, 3, 4], list(range(12)), [8, 9, 10, 11]]


def test_the_gap_is_seconds_and_not_frames():
    frames = [[face(50)], [], [], [face(50)]]
    assert len(track([0, 0.1, 0.2, 0.3], frames, gap=0.3)) == 1
    assert len(track([0, 0.2, 0.4, 0.6], frames, gap=0.3)) == 2
    assert len(track([0, 0.1, 0.2, 0.3], frames, gap=0)) == 2


def test_a_face_goes_on_from_frame_to_frame_however_far_apart():
    """A frame a second, a gap of half a second: what is seen in the frame before was not out of sight."""
    found = track_faces([0, 30, 60, 90], [0, 1, 2, 3], [[face(50)], [face(55)], [], [face(50)]])
    assert [one.frames.tolist() for one in found] == [[0, 30], [90]]
    assert len(track([0, 0.1], [[face(50)], [face(50)]], gap=0)) == 1


def test_motion_is_not_carried_on_for_longer_than_it_was_seen():
    """Seen for 0.1 s at 100 px a second, looked for 0.4 s later: 10 px on, not 40."""
    seen = [[face(50, side=10)], [face(60, side=10)], []]
    assert len(track([0, 0.1, 0.3, 0.5], [*seen, [face(72, side=10)]], reach=1)) == 1
    assert len(track([0, 0.1, 0.3, 0.5], [*seen, [face(100, side=10)]], reach=1)) == 2
    assert len(track([0, 0.1, 0.3, 0.5], [*seen, [face(72, side=10)]], reach=1, window=0)) == 2


@pytest.mark.parametrize(
    ("second", "count"),
    [
        (face(50 + 0.6 * 40), 1),  # overlap 0.4 / 1.6 = 0.25
        (face(50 + 0.74 * 40), 1),  # overlap 0.15, but within reach
        (face(50 + 0.76 * 40), 2),
        (face(50, side=80), 1),  # overlap 0.25
        (face(50, side=100), 2),  # overlap 0.16; 2.5 times as long
        (face(50 + 0.7 * 40, side=60), 1),  # sides 40 and 60, 28 apart: overlap 0.21
        (face(50 + 0.9 * 40, side=60), 1),  # overlap 0.10; 0.72 of the mean side, sides 1 : 1.5
        (face(50 + 0.9 * 40, side=66), 2),  # sides 1 : 1.65
    ],
)
def test_what_counts_as_the_same_face(second, count):
    assert len(track([0, 0.1], [[face(50)], [second]])) == count


def test_overlap_comes_before_nearness():
    """The left face vanishes, the right one stays: the left one's track must not take it."""
    found = track([0, 0.1], [[face(50), face(78)], [face(76)]])
    assert [one.frames.tolist() for one in found] == [[0], [0, 1]]


def test_a_poor_overlap_still_comes_before_a_good_nearness():
    """Left: overlap 23 of 105 px, 0.219. Right: 0.198 is none, but its nearness is 1 - 0.731 = 0.269."""
    left, right = face(59, side=64), face(128.5, side=40)
    found = track([0, 0.1], [[left, right], [face(100, side=64)]])
    assert [one.frames.tolist() for one in found] == [[0, 1], [0]]


def test_a_weak_face_goes_on_with_one_that_was_seen_and_begins_none():
    """Between 0.1 and 1.3 s it is weak; what is weak elsewhere is no face."""
    frames = [[weak(50)], [face(50)], *[[weak(52), weak(300)] for _ in range(11)], [face(54)], [weak(300)]]
    (one,) = track(np.arange(15) / 10, frames)
    assert one.frames.tolist() == list(range(1, 14))
    assert centres(one) == [50, *[52] * 11, 54]
    gone = [[] if len(found) == 2 else found for found in frames]
    assert [each.frames.tolist() for each in track(np.arange(15) / 10, gone)] == [[1], [13]]


def test_a_weak_face_only_takes_the_place_of_none():
    (one,) = track([0, 0.1], [[face(50)], [weak(50), face(60)]])
    assert centres(one) == [50, 60]
    found = track([0, 0.1], [[face(50), face(100)], [weak(52), face(101)]])
    assert [centres(each) for each in found] == [[50, 52], [100, 101]]


def test_a_weak_face_must_overlap():
    """26 px off 40: 0.21 of the union. 27: 0.19, near enough for another face but not for a weak one."""
    assert len(track([0, 0.1], [[face(50)], [weak(76)]])[0].frames) == 2
    assert len(track([0, 0.1], [[face(50)], [weak(77)]])[0].frames) == 1
    assert len(track([0, 0.1], [[face(50)], [face(77)]])[0].frames) == 2


def test_clip_frames_are_picked_by_time_and_keep_their_own():
    class Always:
        name = "fake"

        def detect(self, media, indices):
            self.asked = list(indices)
            for _ in indices:
                yield [face(5, 5, 8)]

    durations = np.array([0.1, 0.3, 0.02, 0.02, 0.5])
    starts = np.concatenate([[0], np.cumsum(durations)[:-1]])
    media = open_media(Clip(np.zeros((5, 10, 10, 3), np.uint8), starts, durations, durations, 0, "x.gif"))
    detector = Always()
    clip = find_faces(media, detector)
    assert detector.asked == [0, 1, 2, 3, 4]
    assert (clip.source, clip.detector, clip.found, len(clip.tracks)) == ("x.gif", "fake", 5, 1)
    clip = find_faces(media, detector, fps=4)  # ticks 0, 0.25, 0.5, 0.75; starts 0, 0.1, 0.4, 0.42, 0.44
    assert detector.asked == clip.frames.tolist() == [0, 1, 4]
    np.testing.assert_allclose(clip.times, [0, 0.1, 0.44])
    np.testing.assert_allclose(clip.tracks[0].times, [0, 0.1, 0.44])


@pytest.mark.parametrize(
    "settings",
    [{"gap": -1}, {"gap": np.nan}, {"overlap": 1.1}, {"reach": -0.1}, {"resize": 0.5}, {"window": -1}],
)
def test_wrong_settings(settings):
    with pytest.raises(SettingsError, match=next(iter(settings))):
        TrackSettings(**settings)


def test_wrong_arguments():
    for times, faces in [([0, 1], [[]]), ([1, 0], [[], []])]:
        with pytest.raises(SettingsError):
            track(times, faces)
    with pytest.raises(SettingsError):
        track_faces([0], [0, 1], [[], []])
