"""The pointing game and attention mass, on maps made by hand."""

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.lab.pointing import score_pointing


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
