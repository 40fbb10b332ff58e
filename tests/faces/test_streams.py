"""The two streams of CACA-RNN: ticks, faces along them, and what is cut out, worked out by hand."""

import numpy as np
import pytest

from moodreel.faces.crop import crop_centre, crop_face
from moodreel.faces.streams import Ticks, choose_ticks, find_paths, read_looks
from moodreel.media import open_media
from moodreel.types import Clip, Face


def make_clip(frames, durations):
    lasts = np.array(durations, float)
    return Clip(np.stack(frames), np.cumsum(lasts) - lasts, lasts, lasts)


def plain(colour, width=60, height=40):
    return np.full((height, width, 3), colour, np.uint8)


class Told:
    """A detector that is told what to find: picture -> boxes in pixels."""

    name = "told"

    def __init__(self, boxes):
        self.boxes = boxes
        self.asked = []

    def detect(self, media, indices):
        for index in indices:
            self.asked.append(index)
            yield [
                Face(np.array(box, float), np.zeros((70, 2)), np.ones(70))
                for box in self.boxes.get(index, [])
            ]


class TestTicks:
    def test_nearest_picture_at_five_a_second(self):
        ticks = choose_ticks([0.0, 0.25, 0.35, 0.7], 1.0, 5.0, 100)
        np.testing.assert_allclose(ticks.times, [0, 0.2, 0.4, 0.6, 0.8])
        assert ticks.pictures.tolist() == [0, 1, 2, 3, 3]

    def test_another_first_frame(self):
        ticks = choose_ticks([0.0, 0.25, 0.35, 0.7], 1.0, 5.0, 100, offset=0.15)
        np.testing.assert_allclose(ticks.times, [0.15, 0.35, 0.55, 0.75, 0.95])
        assert ticks.pictures.tolist() == [1, 2, 3, 3, 3]

    def test_a_clip_shorter_than_a_tick_has_one(self):
        assert choose_ticks([0.0], 0.0, 5.0, 100).pictures.tolist() == [0]
        ticks = choose_ticks([0.0, 0.03], 0.06, 5.0, 100, offset=0.15)
        assert (ticks.times.tolist(), ticks.pictures.tolist()) == ([0.0], [0])

    def test_a_long_clip_is_seen_from_end_to_end(self):
        ticks = choose_ticks(np.arange(100) / 10, 10.0, 5.0, 4)
        np.testing.assert_allclose(ticks.times, [1.25, 3.75, 6.25, 8.75])
        assert ticks.pictures.tolist() == [12, 37, 62, 87]
        assert len(choose_ticks(np.arange(100) / 10, 10.0, 5.0, 50)) == 50


class TestPaths:
    def test_the_face_seen_most_comes_first(self):
        media = open_media(make_clip([plain(c) for c in (0, 50, 100, 150)], [0.2] * 4))
        large, small = [30, 5, 55, 30], [2, 20, 12, 30]
        told = Told({0: [small, large], 1: [small], 2: [small], 3: []})
        ticks = choose_ticks(media.timeline.starts, media.duration, 5.0, 100)
        paths = find_paths(media, told, ticks)
        assert told.asked == [0, 1, 2, 3]
        assert [path.ticks.tolist() for path in paths] == [[0, 1, 2], [0]]
        assert [path.id for path in paths] == [1, 0]  # ids: the larger one of a frame first
        np.testing.assert_allclose(paths[0].boxes, [[2 / 60, 0.5, 0.2, 0.75]] * 3)

    def test_of_two_seen_alike_the_larger_is_first(self):
        media = open_media(make_clip([plain(0), plain(1)], [0.2, 0.2]))
        small, large = [2, 20, 12, 30], [30, 5, 55, 30]
        ticks = choose_ticks(media.timeline.starts, media.duration, 5.0, 100)
        paths = find_paths(media, Told({0: [small, large], 1: [small, large]}), ticks)
        np.testing.assert_allclose(paths[0].boxes[0], [0.5, 0.125, 55 / 60, 0.75])

    def test_a_picture_that_two_ticks_show_counts_twice_and_is_looked_at_once(self):
        media = open_media(make_clip([plain(0), plain(1)], [0.4, 0.2]))
        told = Told({0: [[2, 20, 12, 30]]})
        ticks = Ticks(np.array([0.0, 0.1, 0.4]), np.array([0, 0, 1]))
        (path,) = find_paths(media, told, ticks)
        assert (told.asked, path.ticks.tolist()) == ([0, 1], [0, 1])

    def test_nobody(self):
        media = open_media(make_clip([plain(0)], [0.2]))
        assert find_paths(media, Told({}), Ticks(np.zeros(1), np.zeros(1, int))) == ()


class TestLooks:
    def test_the_middle_square_of_a_wide_and_of_a_tall_frame(self):
        wide = np.zeros((40, 60, 3), np.uint8)
        wide[:, 10:50] = 200  # the middle square
        assert (crop_centre(wide, 20) == 200).all()
        assert (crop_centre(wide.transpose(1, 0, 2), 20) == 200).all()
        assert crop_centre(wide, 40).tolist() == wide[:, 10:50].tolist()

    def test_pictures_in_order_each_with_its_faces(self):
        frames = [plain(10), plain(20), plain(30)]
        frames[2][10:20, 30:40] = [255, 0, 0]
        media = open_media(make_clip(frames, [0.1] * 3))
        box = np.array([0.5, 0.25, 40 / 60, 0.5])
        looks = list(read_looks(media, {2: [box, box], 0: []}, 26, 16))
        assert [look.picture for look in looks] == [0, 2]
        assert looks[0].faces.shape == (0, 26, 26, 3)
        assert (looks[0].context == 10).all()
        assert looks[1].faces.shape == (2, 26, 26, 3)
        cut = looks[1].faces[0]  # 10 px and a margin of 1.5 on each side: two result pixels a pixel
        assert (cut[4:22, 4:22] == [255, 0, 0]).all()
        assert (cut[[0, -1]] == 30).all()
        assert (cut == crop_face(frames[2], box, 26)).all()

    def test_beyond_the_frame_is_black(self):
        cut = crop_face(plain(90), np.array([-0.5, 0.0, 0.5, 1.0]), 13)
        assert (cut[:, 0] == 0).all()
        assert (cut[6, -4] == 90).all()


@pytest.mark.parametrize("limit", [1, 7])
def test_a_limit_holds(limit):
    assert len(choose_ticks(np.arange(50) / 10, 5.0, 5.0, limit)) == limit
