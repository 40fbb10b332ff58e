"""Traces after the network, by values worked out by hand."""

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.runtime.postprocess import PostProcess, smooth_median

NAN = float("nan")


def test_nothing_is_done_by_default():
    values = [0.1, -0.2, 0.3]
    assert PostProcess().apply([0, 0.25, 0.5], values).tolist() == values


def test_median_of_three_ticks():
    times = [0, 0.25, 0.5, 0.75, 1.0]
    # The ends have two values: their mean.
    assert smooth_median(times, [0.1, 0.9, 0.2, 0.3, -0.5], 0.5).tolist() == pytest.approx(
        [0.5, 0.2, 0.3, 0.2, -0.1]
    )


def test_median_counts_seconds_not_ticks():
    # Within 0.5 s of each time: {0, 0.4}, {0, 0.4}, {2.0}.
    assert smooth_median([0, 0.4, 2.0], [1.0, 0.0, 0.7], 1.0).tolist() == pytest.approx([0.5, 0.5, 0.7])


def test_median_is_what_lies_exactly_half_a_width_away():
    times = np.arange(12) * 0.1
    spike = np.zeros(12)
    spike[5:7] = 1.0  # two of five: gone
    assert not smooth_median(times, spike, 0.4).any()
    assert smooth_median(times, spike, 0.2).tolist() == spike.tolist()  # two of three: stays


def test_scale_then_centre():
    assert PostProcess(scale=2.0, centre=-0.1).apply([0, 1], [0.1, 0.4]).tolist() == pytest.approx([0.1, 0.7])


def test_smoothing_comes_first():
    done = PostProcess(median_s=2.0, scale=0.5, centre=0.1).apply([0, 1, 2], [0.0, 1.0, 0.2])
    # Medians 0.5, 0.2, 0.6.
    assert done.tolist() == pytest.approx([0.35, 0.2, 0.4])


def test_shift_moves_later_and_holds_the_ends():
    times, values = [0, 1, 2, 3], [0.0, 0.4, 0.8, -0.2]
    assert PostProcess(shift_s=1.0).apply(times, values).tolist() == pytest.approx([0.0, 0.0, 0.4, 0.8])
    assert PostProcess(shift_s=-0.5).apply(times, values).tolist() == pytest.approx([0.2, 0.6, 0.3, -0.2])


def test_result_stays_in_range():
    assert PostProcess(scale=4.0).apply([0, 1, 2], [0.5, -0.5, 0.1]).tolist() == pytest.approx([1, -1, 0.4])


def test_nobody_stays_nobody():
    assert np.isnan(PostProcess(median_s=1.0, centre=0.5).apply([0, 1], [NAN, NAN])).all()
    assert PostProcess().apply([], []).shape == (0,)


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: PostProcess(median_s=-1.0), "postprocess.median_s"),
        (lambda: PostProcess(centre=NAN), "postprocess.centre"),
        (lambda: PostProcess(scale=0.0), "postprocess.scale"),
        (lambda: PostProcess(shift_s=float("inf")), "postprocess.shift_s"),
        (lambda: PostProcess().apply([0, 1], [0.1]), "values"),
        (lambda: PostProcess().apply([0, 1], [0.1, NAN]), "values"),
        (lambda: PostProcess().apply([1, 0], [0.1, 0.2]), "times"),
        (lambda: smooth_median([0, 0], [0.1, 0.2], 1.0), "times"),
    ],
)
def test_what_is_wrong_is_named(call, field):
    with pytest.raises(SettingsError, match=f"^{field} = "):
        call()
