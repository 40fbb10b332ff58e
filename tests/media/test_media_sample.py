"""Times to frames: pure arithmetic, against definitions."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from moodreel.errors import SettingsError
from moodreel.media import (
    frames_nearest,
    frames_showing,
    open_media,
    rate_times,
    sample_media,
    segment_times,
)

seconds = st.just(0.0) | st.floats(1e-6, 1e5)
tracks = st.lists(st.integers(0, 500), min_size=1, max_size=30).map(
    lambda gaps: np.concatenate([[0], np.cumsum(gaps[1:])]) / 100
)


def test_segment_middles():
    assert segment_times(8.0, 4).tolist() == [1.0, 3.0, 5.0, 7.0]
    assert segment_times(0.0, 3).tolist() == [0.0, 0.0, 0.0]


@given(duration=seconds, count=st.integers(1, 40), seed=st.none() | st.integers(0, 9))
def test_segment_times_lie_one_in_each_segment(duration, count, seed):
    rng = None if seed is None else np.random.default_rng(seed)
    times = segment_times(duration, count, rng)
    edges = np.arange(count + 1) * duration / count
    slack = 1e-12 * duration
    assert times.shape == (count,)
    assert (times >= edges[:-1] - slack).all()
    assert (times <= edges[1:] + slack).all()


def test_random_times_follow_the_generator():
    one = segment_times(8.0, 4, np.random.default_rng(3))
    assert one.tolist() == segment_times(8.0, 4, np.random.default_rng(3)).tolist()
    assert one.tolist() != segment_times(8.0, 4, np.random.default_rng(4)).tolist()
    many = np.concatenate([segment_times(1.0, 1, np.random.default_rng(k)) for k in range(400)])
    assert abs(many.mean() - 0.5) < 0.05
    assert many.min() < 0.05
    assert many.max() > 0.95


def test_rate_times():
    assert rate_times(1.0, 4).tolist() == [0, 0.25, 0.5, 0.75]
    assert rate_times(1.01, 4).tolist() == [0, 0.25, 0.5, 0.75, 1.0]
    assert rate_times(0.0, 5).tolist() == [0.0]
    assert rate_times(1.0, 5, offset=0.5).tolist() == pytest.approx([0.5, 0.7, 0.9])
    assert rate_times(100.0, 5, limit=3).tolist() == [0.0, 0.2, 0.4]
    assert rate_times(1.0, 5, offset=2.0).tolist() == [2.0]
    assert len(rate_times(3 * 0.1, 10)) == 3  # 0.30000000000000004 holds three ticks, not four


@pytest.mark.parametrize(
    ("call", "field"),
    [
        (lambda: segment_times(-1, 2), "duration"),
        (lambda: segment_times(float("nan"), 2), "duration"),
        (lambda: segment_times(1, 0), "count"),
        (lambda: rate_times(1, 0), "fps"),
        (lambda: rate_times(1, 5, offset=-1), "offset"),
        (lambda: rate_times(1, 5, limit=0), "limit"),
        (lambda: rate_times(float("inf"), 5), "duration"),
    ],
)
def test_what_is_not_allowed_is_named(call, field):
    with pytest.raises(SettingsError, match=field):
        call()


@given(starts=tracks, times=st.lists(seconds, max_size=10))
def test_frames_showing_is_the_last_that_started(starts, times):
    found = frames_showing(starts, times)
    assert found.shape == (len(times),)
    for time, index in zip(times, found, strict=True):
        assert index == max(k for k, start in enumerate(starts) if start <= time)


@given(starts=tracks, times=st.lists(st.integers(-50, 20000).map(lambda t: t / 100), max_size=10))
def test_frames_nearest_is_the_earliest_of_the_nearest(starts, times):
    for time, index in zip(times, frames_nearest(starts, times), strict=True):
        gaps = np.abs(starts - time)
        assert index == int(np.argmax(gaps <= gaps.min() + 5e-10))


def test_ties_go_to_the_earlier_frame():
    assert frames_nearest([0.0, 0.1, 0.2], [0.05, 0.15, 0.1500001, 9.0]).tolist() == [0, 1, 2, 2]
    hundredths = np.arange(300) / 100  # in floats, 0.05 is nearer to 0.06 than to 0.04
    found = frames_nearest(hundredths[::2], hundredths[1:-1:2])
    assert found.tolist() == list(range(149))
    assert frames_showing([0.0, 0.1, 0.2], [0.0999, 0.1, -1.0]).tolist() == [0, 1, 0]


def numbered(count):
    return np.arange(count, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 6, 3), np.uint8)


def test_sample_repeats_and_orders_as_asked():
    media = open_media(numbered(5))  # 10 frames a second
    sample = sample_media(media, [0.41, 0.0, 0.05, 0.2])
    assert sample.frames[:, 0, 0, 0].tolist() == [4, 0, 0, 2]
    assert sample.times.tolist() == [0.41, 0.0, 0.05, 0.2]
    assert (sample.width, sample.height, sample.frame_count) == (6, 4, 5)
    assert sample.duration == pytest.approx(0.5)
    assert sample_media(media, [0.16], pick="nearest").frames[0, 0, 0, 0] == 2
    assert sample_media(media, [0.16]).frames[0, 0, 0, 0] == 1


def test_a_still_is_repeated():
    media = open_media(numbered(1))
    sample = sample_media(media, segment_times(media.duration, 8), (2, 3))
    assert sample.frames.shape == (8, 2, 3, 3)
    assert media.timeline.durations.tolist() == [0.0]


def test_resizing_keeps_flat_colours_and_sides():
    frame = np.zeros((1, 64, 96, 3), np.uint8)
    frame[:, :, 48:] = (200, 100, 50)
    small = sample_media(open_media(frame), [0.0], (16, 24)).frames[0]
    assert small.shape == (16, 24, 3)
    assert (small[:, :11] == 0).all()
    assert (small[:, 13:] == (200, 100, 50)).all()
    large = sample_media(open_media(frame), [0.0], (128, 192)).frames[0]
    assert (large[:, :94] == 0).all()
    assert (large[:, 98:] == (200, 100, 50)).all()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (([],), "times"),
        (([float("nan")],), "times"),
        (([0.0], (0, 3)), "size"),
        (([0.0], None, "best"), "pick"),
    ],
)
def test_sample_names_what_is_wrong(arguments, field):
    with pytest.raises(SettingsError, match=field):
        sample_media(open_media(numbered(2)), *arguments)


@pytest.mark.parametrize("indices", [[1, 0], [0, 0], [-1], [5]])
def test_read_wants_ascending_indices(indices):
    with pytest.raises(SettingsError, match="indices"):
        open_media(numbered(5)).read(indices)
