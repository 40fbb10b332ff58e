"""Keypoint files: what is read of them, what is refused, and what is written."""

import json

import numpy as np
import pytest

from moodreel.errors import DataError
from moodreel.faces.openpose import OpenPoseFiles, format_faces, read_keypoints, read_people
from moodreel.faces.track import find_faces
from moodreel.media import open_media


def person(left, top, right, bottom, confidence=0.9, **more):
    """A person whose 70 points alternate between two corners of a box."""
    corners = [left, top, confidence, right, bottom, confidence]
    return {"face_keypoints_2d": corners * 35, **more}


def write(folder, frames, width=200, height=100, name="clip.json"):
    path = folder / name
    path.write_text(json.dumps({"version": 1.3, "width": width, "height": height, "frames": frames}))
    return path


def write_frames(folder, people, name="clip"):
    """OpenPose's own files, one a frame."""
    folder.mkdir(exist_ok=True, parents=True)
    for index, some in enumerate(people):
        file = folder / f"{name}_{index:012d}_keypoints.json"
        file.write_text(json.dumps({"version": 1.3, "people": some}))
    return folder


def open_clip(count, width=200, height=100, source="clip.gif"):
    media = open_media(np.zeros((count, height, width, 3), np.uint8), fps=10)
    media.source = source
    return media


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


def test_a_face_of_unsure_points_only_has_a_box_around_them(tmp_path):
    path = write(tmp_path, [{"people": [person(10, 10, 50, 50, confidence=0.1)]}])
    np.testing.assert_allclose(read_keypoints(path).boxes[0] * [200, 100, 200, 100], [10, 10, 50, 50])


def test_a_missing_point_is_at_zero_and_confidence_ends_at_one(tmp_path):
    some = person(20, 10, 60, 50)
    some["face_keypoints_2d"][:6] = [33, 44, 0, 60, 50, 1.02]
    read = read_keypoints(write(tmp_path, [{"people": [some]}]))
    assert read.points[0, 0].tolist() == [0, 0]
    assert read.confidence[0, :3].tolist() == [0, 1, 0.9]


def test_a_person_without_a_face_is_none(tmp_path):
    people = [{"face_keypoints_2d": []}, {"face_keypoints_2d": [0] * 210}, person(1, 1, 2, 2, track=4)]
    _, _, (frame,) = read_people(write(tmp_path, [{"people": people}]))
    assert len(frame.faces) == 1
    assert frame.tracks == (4,)


def test_index_and_time_are_read(tmp_path):
    frames = [{"index": 2, "time": 0.25, "people": []}, {"index": 7, "time": 1.5, "people": []}]
    read = read_keypoints(write(tmp_path, frames))
    assert read.frames.tolist() == [2, 7]
    assert read.times.tolist() == [0.25, 1.5]


BAD_POINTS = [
    ([1.0] * 209, "209 numbers in face_keypoints_2d, expected 210"),
    ([1.0] * 204, "204 numbers"),
    ([1.0, 2.0, -0.1] * 70, "negative confidence"),
    ([1.0, "2", 0.1] * 70, "no finite number"),
    ([1.0, True, 0.1] * 70, "no finite number"),
    ([1.0, None, 0.1] * 70, "no finite number"),
    ([10**400, 1, 1] * 70, "no finite number"),
    (None, "no list face_keypoints_2d"),
]


@pytest.mark.parametrize(("points", "message"), BAD_POINTS, ids=[message for _, message in BAD_POINTS])
def test_wrong_points_name_file_frame_and_person(tmp_path, points, message):
    path = write(tmp_path, [{"people": []}, {"people": [person(1, 1, 2, 2), {"face_keypoints_2d": points}]}])
    with pytest.raises(DataError, match=message) as caught:
        read_keypoints(path)
    assert str(caught.value).startswith(f"{path}: frame 1: person 1: ")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not JSON"),
        ("", "not JSON"),
        ("[" * 100_000, "not JSON"),
        ("[]", "not a JSON object"),
        ('{"width": 2, "height": 3}', "no list of frames"),
        ('{"width": 0, "height": 3, "frames": []}', "width 0: expected a whole number"),
        ('{"width": 2.5, "height": 3, "frames": []}', "width 2.5"),
        ('{"height": 3, "frames": []}', "width None"),
        ('{"width": 2, "height": NaN, "frames": []}', "NaN is no number"),
        ('{"width": 2, "height": 3, "frames": [3]}', "frame 0: not an object"),
        ('{"width": 2, "height": 3, "frames": [{}]}', "frame 0: no list of people"),
        ('{"width": 2, "height": 3, "frames": [{"people": [3]}]}', "frame 0: person 0: not an object"),
        ('{"width": 2, "height": 3, "frames": [{"people": [], "time": "x"}]}', "frame 0: time 'x'"),
        ('{"width": 2, "height": 3, "frames": [{"people": [], "time": 1e999}]}', "frame 0: time inf"),
        ('{"width": 2, "height": 3, "frames": [{"people": [], "index": -1}]}', "frame 0: index -1"),
        (
            '{"width": 2, "height": 3, "frames": [{"people": [], "index": 4}, {"people": [], "index": 4}]}',
            "frame 1: index 4 is not above",
        ),
    ],
)
def test_what_is_no_keypoint_file(tmp_path, text, message):
    path = tmp_path / "clip.json"
    path.write_text(text)
    with pytest.raises(DataError, match=message) as caught:
        read_keypoints(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"box": [1, 2, 3]}, "box"),
        ({"box": [5, 2, 3, 4]}, "box"),
        ({"box": [1, 2, 3, "4"]}, "box"),
        ({"track": -1}, "track -1"),
        ({"track": 1.5}, "track 1.5"),
        ({"score": "high"}, "score 'high'"),
    ],
)
def test_wrong_facts_of_a_face(tmp_path, more, message):
    with pytest.raises(DataError, match=message):
        read_keypoints(write(tmp_path, [{"people": [person(1, 1, 2, 2, **more)]}]))


def test_one_track_twice_in_a_frame_is_refused(tmp_path):
    with pytest.raises(DataError, match="frame 0: two people with one track"):
        read_keypoints(
            write(tmp_path, [{"people": [person(1, 1, 2, 2, track=1), person(4, 4, 5, 5, track=1)]}])
        )


def test_no_such_file(tmp_path):
    with pytest.raises(DataError, match="No such file"):
        read_keypoints(tmp_path / "none.json")


def test_files_of_openpose_are_read_in_the_order_of_frames(tmp_path):
    people = [[person(k, 10, k + 20, 50)] if k != 3 else [] for k in range(12)]
    folder = write_frames(tmp_path / "clip", people)
    (folder / "notes.txt").write_text("none of these")
    read = read_keypoints(folder, size=(200, 100))
    assert read.frames.tolist() == list(range(12))
    assert read.found.tolist() == [k != 3 for k in range(12)]
    np.testing.assert_allclose(read.boxes[read.found, 0] * 200, [k for k in range(12) if k != 3])


def test_a_folder_needs_a_size_and_one_clip(tmp_path):
    folder = write_frames(tmp_path / "some", [[]])
    with pytest.raises(DataError, match="size of the frame"):
        read_keypoints(folder)
    write_frames(folder, [[]], name="other")
    with pytest.raises(DataError, match="files of 2 clips"):
        read_keypoints(folder, size=(2, 2))
    with pytest.raises(DataError, match=r"no NAME_000000000000_keypoints\.json"):
        read_keypoints(tmp_path, size=(2, 2))


def test_a_stated_size_must_be_the_files(tmp_path):
    path = write(tmp_path, [{"people": []}])
    assert len(read_keypoints(path, size=(200, 100))) == 1
    with pytest.raises(DataError, match="of 200 x 100 pixels, the clip has 100 x 200"):
        read_keypoints(path, size=(100, 200))


@pytest.mark.parametrize("layout", ["file", "folder", "beside", "within"])
def test_the_import_finds_the_files_of_a_clip(tmp_path, layout):
    people = [[person(10, 10, 50, 50)], [], [person(14, 10, 54, 50), person(100, 0, 120, 20)]]
    write(tmp_path, [], name="other.json")
    path = tmp_path
    if layout == "file":
        path = write(tmp_path, [{"people": some} for some in people], name="x.json")
    elif layout == "folder":
        write(tmp_path, [{"people": some} for some in people])
    elif layout == "beside":
        write_frames(tmp_path, people)
        write_frames(tmp_path, [[]], name="other")
    else:
        write_frames(tmp_path / "clip", people, name="video")
    clip = find_faces(open_clip(3, source="some/where/clip.gif"), OpenPoseFiles(path))
    assert (clip.detector, clip.width, clip.height, clip.found) == ("openpose", 200, 100, 2)
    assert [track.frames.tolist() for track in clip.tracks] == [[0, 2], [2]]
    np.testing.assert_allclose(clip.tracks[0].times, [0, 0.2])
    assert clip.tracks[1].faces[0].box.tolist() == [100, 0, 120, 20]


@pytest.mark.parametrize(
    ("frames", "size", "message"),
    [
        ([{"people": []}] * 3, (100, 200), "of 100 x 200 pixels, the clip has 200 x 100"),
        ([{"people": []}] * 2, (200, 100), "2 frames, the clip has 3"),
        ([{"people": []}] * 4, (200, 100), "4 frames, the clip has 3"),
        ([{"people": [], "index": 0, "time": 0}], (200, 100), "no frame 1"),
        ([{"people": [], "index": k, "time": k / 8} for k in range(3)], (200, 100), "frame 1 at 0.125 s"),
    ],
)
def test_the_import_refuses_files_of_another_clip(tmp_path, frames, size, message):
    path = write(tmp_path, frames, *size)
    with pytest.raises(DataError, match=message) as caught:
        find_faces(open_clip(3), OpenPoseFiles(tmp_path))
    assert str(path) in str(caught.value)


def test_the_import_says_what_it_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"no clip\.json and no clip_000000000000_keypoints\.json"):
        find_faces(open_clip(3), OpenPoseFiles(tmp_path))


def test_what_is_written_is_read_back_exactly(tmp_path):
    """A file is imported, written, read, imported and written again: nothing moves by a bit."""
    rng = np.random.default_rng(5)
    people = []
    for _ in range(9):
        some = []
        for left in (10, 120):
            keypoints = rng.uniform([left, 20, 0.1], [left + 50, 80, 1], (70, 3))
            keypoints[:, :2] = keypoints[:, :2].round(2)
            keypoints[rng.random(70) < 0.2] = 0
            some.append({"face_keypoints_2d": keypoints.ravel().tolist()})
        people.append(some if rng.random() < 0.8 else [])
    write(tmp_path, [{"people": some} for some in people])
    media = open_clip(9)
    first = find_faces(media, OpenPoseFiles(tmp_path))
    assert len(first.tracks) == 2
    again = tmp_path / "again"
    again.mkdir()
    (again / "clip.json").write_bytes(format_faces(first))
    second = find_faces(media, OpenPoseFiles(again))
    assert format_faces(second) == format_faces(first)
    for a, b in zip(first.tracks, second.tracks, strict=True):
        assert (a.id, a.frames.tolist(), a.times.tolist()) == (b.id, b.frames.tolist(), b.times.tolist())
        for face, same in zip(a.faces, b.faces, strict=True):
            for name in ("box", "points", "confidence", "score"):
                np.testing.assert_array_equal(getattr(face, name), getattr(same, name))
    for track in (None, 0, 1):
        plain = read_keypoints(again / "clip.json", track)
        if track is not None:
            faces = dict(zip(first.tracks[track].frames.tolist(), first.tracks[track].faces, strict=True))
            for row, index in enumerate(plain.frames.tolist()):
                expected = faces[index].points / (200, 100) if index in faces else np.zeros((70, 2))
                np.testing.assert_array_equal(plain.points[row], expected)
        assert plain.times.tolist() == first.times.tolist()


def test_a_written_file_states_its_facts(tmp_path):
    write(tmp_path, [{"people": [person(10, 10, 50, 50)]}, {"people": []}])
    content = json.loads(format_faces(find_faces(open_clip(2), OpenPoseFiles(tmp_path))))
    facts = {key: value for key, value in content.items() if key != "frames"}
    assert facts == {
        "version": 1.3, "source": "clip.gif", "detector": "openpose", "width": 200, "height": 100
    }  # fmt: skip
    assert content["frames"][1] == {"index": 1, "time": 0.1, "people": []}
    (face,) = content["frames"][0]["people"]
    assert (face["track"], face["box"], face["score"]) == (0, [10, 10, 50, 50], None)
    assert face["face_keypoints_2d"] == person(10, 10, 50, 50)["face_keypoints_2d"]
