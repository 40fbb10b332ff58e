"""Drawn faces: points lie on what is drawn, and action units move what they name."""

import numpy as np
import pytest
from PIL import Image

from moodreel.emotions import GIFGIF_17
from moodreel.lab.data.toon_draw import draw_figure
from moodreel.lab.data.toon_face import shape_face
from moodreel.lab.data.toon_look import STYLES, draw_look
from moodreel.lab.data.toon_poses import CHANNELS, INDEX
from moodreel.lab.data.toon_programmes import (
    apex_of,
)


def make_state(**channels):
    state = np.zeros(len(CHANNELS))
    for name, value in channels.items():
        state[INDEX[name]] = value
    return state


def make_shape(style, number=0, scale=80.0, **channels):
    look = draw_look(style, np.random.default_rng(number))
    return look, shape_face(look, make_state(**channels), (120.0, 120.0), scale)


def draw(look, shape, side=240):
    layer = Image.new("RGBA", (side, side), (255, 255, 255, 255))
    draw_figure(layer, look, shape, np.random.default_rng(0))
    return np.asarray(layer.convert("RGB")).astype(int)


class TestFace:
    @pytest.mark.parametrize("number", range(5))
    def test_pupils_are_dark_in_an_emoji(self, number):
        look, shape = make_shape("emoji", number)
        picture = draw(look, shape)
        for x, y in shape.points[68:70].round().astype(int):
            assert picture[y, x].sum() < 350
        forehead = shape.points[27].round().astype(int) - [0, 30]
        assert picture[forehead[1], forehead[0]].sum() > 450

    @pytest.mark.parametrize("style", STYLES)
    def test_points_lie_on_what_is_drawn(self, style):
        """Around pupils, brows and the mouth's line the picture is darker than the skin beside it."""
        look, shape = make_shape(style, 1, AU26=0.6, AU25=1.0)
        picture = draw(look, shape).sum(axis=2)
        for index in (19, 24, 68, 69, 66):
            x, y = shape.points[index].round().astype(int)
            assert picture[y - 2 : y + 3, x - 2 : x + 3].min() < 0.75 * sum(look.skin), index

    @pytest.mark.parametrize("style", STYLES)
    def test_order_is_that_of_openpose(self, style):
        _, shape = make_shape(style)
        x, y = shape.points.T
        assert x[0] < x[17] < x[21] < x[27] < x[22] < x[26] < x[16]
        assert x[36] < x[37] < x[68] < x[38] < x[39] < x[42] < x[43] < x[69] < x[44] < x[45]
        assert y[37] < y[41]
        assert y[43] < y[47]
        assert x[48] < x[51] < x[54] < x[16]
        assert y[51] <= y[57]
        assert x[55] > x[59]
        assert y[:17].argmax() == 8
        assert x[31] < x[33] < x[35]
        assert y[19] < y[37] < y[33] < y[51] < y[8]

    @pytest.mark.parametrize("style", STYLES)
    def test_action_units_move_what_they_name(self, style):
        def points(**channels):
            return make_shape(style, 2, **channels)[1].points

        rest = points()
        assert points(AU12=1)[[48, 54], 1].max() < rest[[48, 54], 1].min() - 2
        assert points(AU15=1)[[48, 54], 1].min() > rest[[48, 54], 1].max() + 2
        assert (points(AU1=1)[[21, 22], 1] < rest[[21, 22], 1] - 3).all()
        assert (points(AU2=1)[[17, 26], 1] < rest[[17, 26], 1] - 3).all()
        assert (points(AU4=1)[[21, 22], 1] > rest[[21, 22], 1] + 3).all()
        assert np.ptp(points(AU43=1)[[37, 41], 1]) < 0.2 * np.ptp(rest[[37, 41], 1])
        assert np.ptp(points(AU5=1)[[37, 41], 1]) > 1.1 * np.ptp(rest[[37, 41], 1])
        assert np.ptp(points(AU25=1, AU26=1)[[62, 66], 1]) > 10
        assert np.ptp(points(AU18=1)[[48, 54], 0]) < 0.7 * np.ptp(rest[[48, 54], 0])
        assert points(gaze_x=1)[68, 0] > rest[68, 0] + 2
        one_sided = points(AU12=1, skew=1)
        assert one_sided[54, 1] < rest[54, 1] - 5
        assert one_sided[48, 1] > one_sided[54, 1] + 5

    def test_a_turned_head_shifts_features_against_its_outline(self):
        _, rest = make_shape("flat")
        _, turned = make_shape("flat", pan=0.6)
        _, bowed = make_shape("flat", tilt=0.6)
        np.testing.assert_allclose(turned.parts["outline"], rest.parts["outline"])
        assert turned.points[30, 0] > rest.points[30, 0] + 20
        assert bowed.points[30, 1] > rest.points[30, 1] + 20
        _, leant = make_shape("flat", roll=0.5)
        dx, dy = leant.points[45] - leant.points[36]
        assert np.degrees(np.arctan2(dy, dx)) == pytest.approx(22.5, abs=1)

    @pytest.mark.parametrize("style", STYLES)
    def test_boxes_contain_points(self, style):
        for emotion in GIFGIF_17:
            look = draw_look(style, np.random.default_rng(5))
            shape = shape_face(look, apex_of(emotion), (120, 120), 80)
            left, top, right, bottom = shape.box
            assert (shape.points >= [left, top]).all()
            assert (shape.points <= [right, bottom]).all()
            assert 140 < bottom - top < 240
