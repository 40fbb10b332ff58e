"""Traces after the network, by values worked out by hand."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodreel.errors import SettingsError
from moodreel.runtime.postprocess import PostProcess, PostStream, smooth_median

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


class TestStream:
    @given(
        st.lists(st.tuples(st.sampled_from([0.25, 0.1, 0.7, 3.0]), st.floats(-1, 1)), max_size=40),
        st.sampled_from([0.0, 0.5, 1.0, 4.0]),
    )
    def test_it_says_what_the_whole_trace_says(self, steps, width):
        chain = PostProcess(median_s=width, centre=0.1, scale=1.5)
        times = np.cumsum([step for step, _ in steps])
        values = np.array([value for _, value in steps])
        stream, done = PostStream(chain), []
        for time, value in zip(times.tolist(), values.tolist(), strict=True):
            done += stream.push(time, value)
        done += stream.finish()
        expected = chain.apply(times, values) if len(times) else []
        np.testing.assert_array_equal(done, expected)

    def test_a_value_waits_for_half_the_width(self):
        stream = PostStream(PostProcess(median_s=1.0))
        given = [len(stream.push(k / 4, 0.1 * (k % 3))) for k in range(8)]
        # 0 is known once something later than 0.5 s has come: tick 3; from then on, one a tick
        assert given == [0, 0, 0, 1, 1, 1, 1, 1]
        assert len(stream.finish()) == 3

    def test_without_a_median_nothing_waits(self):
        stream = PostStream(PostProcess(scale=2.0, centre=-0.5))
        assert [stream.push(k / 4, 0.25) for k in range(3)] == [[0.0]] * 3
        assert stream.push(1.0, 0.9) == [1.0]  # kept in range

    def test_what_is_held_does_not_grow(self):
        stream = PostStream(PostProcess(median_s=2.0))
        for k in range(5000):
            stream.push(k / 4, 0.0)
        assert len(stream._held) <= 10

    def test_a_shift_needs_what_comes_later(self):
        with pytest.raises(SettingsError, match=r"postprocess\.shift_s = 1.0: expected 0"):
            PostStream(PostProcess(shift_s=1.0))
