"""The pointing game and attention mass, on maps made by hand."""

import json

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.lab.data.manifest import Row
from moodreel.lab.evaluate import _score_attention
from moodreel.lab.pointing import score_pointing
from moodreel.media import write_gif
from moodreel.types import Result


def test_hand_made_maps():
    # 2 x 4 cells; the box covers x 0.25-0.75 and the upper three quarters.
    maps = np.zeros((3, 2, 4))
    maps[0, 0, 1] = 1  # inside
    maps[1, 1, 2] = 1  # cell y 0.5-1, centre 0.75: on the lower edge, outside; half of its mass is inside
    maps[2] = 1 / 8
    box = [0.25, 0.0, 0.75, 0.75]
    out = score_pointing(maps, [box] * 3)
    assert out.hits.tolist() == [True, False, False]  # even attention: the first cell is the peak
    assert out.mass.tolist() == pytest.approx([1.0, 0.5, 0.375])
    assert out.mass_chance.tolist() == pytest.approx([0.375] * 3)  # 0.5 wide, 0.75 high
    assert out.hit_chance.tolist() == pytest.approx([2 / 8] * 3)


def test_rows_are_down_and_columns_across():
    maps = np.zeros((1, 3, 3))
    maps[0, 0, 2] = 1  # top right
    assert score_pointing(maps, [[0.6, 0.0, 1.0, 0.4]]).hits[0]
    assert not score_pointing(maps, [[0.0, 0.6, 0.4, 1.0]]).hits[0]


def test_a_box_beyond_the_frame_counts_as_far_as_it_is_seen():
    out = score_pointing(np.full((2, 2, 2), 0.25), [[-1.0, -1.0, 0.5, 2.0], [1.2, 0.0, 1.5, 1.0]])
    assert out.mass_chance.tolist() == pytest.approx([0.5, 0.0])
    assert out.mass.tolist() == pytest.approx([0.5, 0.0])
    assert out.hits.tolist() == [True, False]


def test_shapes():
    with pytest.raises(SettingsError, match="boxes"):
        score_pointing(np.ones((2, 3, 3)) / 9, np.zeros((3, 4)))


def result(path, attention, times):
    return Result(str(path), "kavan", "1", attention=np.asarray(attention), attention_times=np.asarray(times))


def test_evaluation_takes_the_box_of_the_frame_that_was_shown(tmp_path):
    # Two frames of 0.1 and 0.3 s: the face is the quarter top left, then none; in a second clip it is all.
    write_gif(tmp_path / "c.gif", np.zeros((2, 20, 20, 3), np.uint8), [0.1, 0.3])
    entries = [
        {"people": [{"face_keypoints_2d": [0, 0, 1.0] + [10, 10, 1.0] * 69}]},
        {"people": []},
    ]
    facts = {"width": 20, "height": 20}
    (tmp_path / "small.json").write_text(json.dumps({**facts, "frames": entries}))
    entries = [{"people": [{"face_keypoints_2d": [0, 0, 1.0] + [20, 20, 1.0] * 69}]}] * 2
    (tmp_path / "all.json").write_text(json.dumps({**facts, "frames": entries}))
    quarter = np.zeros((2, 2, 2))
    quarter[0, 0, 0] = quarter[1, 1, 1] = 1  # on the face while there is one
    rows = [Row(tmp_path / "c.gif", "g", keypoints=tmp_path / f"{name}.json") for name in ("small", "all")]
    pairs = [(row, result(row.clip, quarter, [0.05, 0.2])) for row in rows]
    scores = _score_attention([*pairs, (Row(tmp_path / "c.gif", "g"), pairs[0][1])])
    assert scores == pytest.approx(
        {
            "pointing": 1.0,
            "pointing_chance": (0.25 + 1) / 2,
            "attention_on_face": 1.0,
            "attention_on_face_chance": (0.25 + 1) / 2,
            "pointing_clips": 2,
            "pointing_small": 1.0,
            "pointing_chance_small": 0.25,
            "attention_on_face_small": 1.0,
            "attention_on_face_chance_small": 0.25,
            "pointing_clips_small": 1,
        }
    )
    late = [(rows[0], result(rows[0].clip, quarter[::-1], [0.05, 0.2]))]
    assert _score_attention(late)["pointing"] == 0
    assert _score_attention([(rows[0], result(rows[0].clip, quarter, [0.2, 0.3]))]) == {}  # no face shown
