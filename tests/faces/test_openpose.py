"""Keypoint files: what is read of them, and what is refused."""

import json

import numpy as np

from moodreel.faces.openpose import read_keypoints


def person(left, top, right, bottom, confidence=0.9, **more):
    """A person whose 70 points alternate between two corners of a box."""
    corners = [left, top, confidence, right, bottom, confidence]
    return {"face_keypoints_2d": corners * 35, **more}


def write(folder, frames, width=200, height=100, name="clip.json"):
    path = folder / name
    path.write_text(json.dumps({"version": 1.3, "width": width, "height": height, "frames": frames}))
    return path


def test_points_are_parts_of_the_frame_and_a_missing_face_is_a_row_of_zeros(tmp_path):
    path = write(tmp_path, [{"people": [person(20, 10, 60, 50)]}, {"people": []}])
    read = read_keypoints(path)
    assert (read.width, read.height, len(read)) == (200, 100, 2)
    assert read.frames.tolist() == [0, 1]
    assert np.isnan(read.times).all()
    np.testing.assert_allclose(read.points[0, :2], [[0.1, 0.1], [0.3, 0.5]])
    np.testing.assert_allclose(read.boxes, [[0.1, 0.1, 0.3, 0.5], [0, 0, 0, 0]])
    assert (read.confidence[0] == 0.9).all()
    assert not read.confidence[1].any()
    assert read.found.tolist() == [True, False]


def test_the_largest_person_is_kept_or_the_track_asked_for(tmp_path):
    small, large = person(0, 0, 10, 10, track=3), person(50, 50, 90, 90, track=1)
    path = write(tmp_path, [{"people": [small, large]}, {"people": [small]}])
    np.testing.assert_allclose(read_keypoints(path).boxes[:, 0] * 200, [50, 0])
    assert read_keypoints(path, track=1).found.tolist() == [True, False]
    np.testing.assert_allclose(read_keypoints(path, track=3).boxes[:, 2] * 200, [10, 10])


def test_an_unsure_point_does_not_make_a_face_large(tmp_path):
    near, far = person(10, 10, 50, 50), person(100, 20, 120, 40)
    far["face_keypoints_2d"][:3] = [199, 99, 0.3]
    path = write(tmp_path, [{"people": [far, near]}])
    np.testing.assert_allclose(read_keypoints(path).boxes[0] * [200, 100, 200, 100], [10, 10, 50, 50])


def test_index_and_time_are_read(tmp_path):
    frames = [{"index": 2, "time": 0.25, "people": []}, {"index": 7, "time": 1.5, "people": []}]
    read = read_keypoints(write(tmp_path, frames))
    assert read.frames.tolist() == [2, 7]
    assert read.times.tolist() == [0.25, 1.5]
