"""Trace files: what is read, what is refused, and sampling on a common clock."""

import math

import numpy as np
import pytest

from moodreel.errors import DataError, SettingsError
from moodreel.labels.agreement_table import read_ratings
from moodreel.labels.rows import BadRow
from moodreel.labels.traces import Clock, Traces, make_clock, read_traces, sample_series, sample_traces

NAN = math.nan


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "t.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path

    return write


def make(times, *columns, **known):
    values = np.array(columns, float).T.reshape(len(times), len(columns))
    names = tuple(f"r{k}" for k in range(len(columns)))
    return Traces("t.csv", np.array(times, float), names, values, **known)


class TestReading:
    def test_a_file(self, write):
        traces = read_traces(
            write(
                "\ufefftimestamp, ann ,truth,bob\r\n0.5,0.1,0.7,\r\n\r\n1.0,-2e-1,NA, nan \r\n1.6,,0.9,3\r\n"
            )
        )
        assert traces.source.endswith("t.csv")
        assert traces.times.tolist() == [0.5, 1.0, 1.6]
        assert traces.raters == ("ann", "bob")
        np.testing.assert_array_equal(traces.values, [[0.1, NAN], [-0.2, NAN], [NAN, 3]])
        np.testing.assert_array_equal(traces.truth, [0.7, NAN, 0.9])
        assert (traces.gold, len(traces), traces.duration) == (None, 3, 1.1)

    def test_a_gold_standard_is_read_back(self, write):
        traces = read_traces(write("time_s,gold\n0,0.5\n1,\n"))
        assert (traces.raters, traces.values.shape) == ((), (2, 0))
        np.testing.assert_array_equal(traces.gold, [0.5, NAN])

    def test_bad_rows(self, write):
        path = write(
            b"time_s,ann,bob\n0,1,2\nx,1,2\n1,1\n1,one,2\n1,1,inf\n1,1,1_0\n,1,2\n0,3,4\n\n2,5,6\n1,7,8\n"
            b'3,\xff,1\n4,"1,1\n'
        )
        bad = []
        traces = read_traces(path, bad)
        assert [(row.line, row.reason) for row in bad] == [
            (3, "time = 'x': expected seconds, at most 1e+15"),
            (4, "3 cells expected, got 2"),
            (5, "'ann' = 'one': expected a number from -1e+15 to 1e+15, or nothing"),
            (6, "'bob' = 'inf': expected a number from -1e+15 to 1e+15, or nothing"),
            (7, "'bob' = '1_0': expected a number from -1e+15 to 1e+15, or nothing"),
            (8, "time = '': expected seconds, at most 1e+15"),
            (9, "time = 0: not after the row before it, 0"),
            (12, "time = 1: not after the row before it, 2"),
            (13, "not UTF-8"),
            (14, "a quote is opened and never closed"),
        ]
        assert traces.times.tolist() == [0, 2]
        with pytest.raises(DataError, match=r"t\.csv:3: time = 'x': expected seconds"):
            read_traces(path)

    @pytest.mark.parametrize(
        ("content", "said"),
        [
            ("", ": the file is empty"),
            ("time_s,a\n", ": no rows under the header"),
            ("t,a\n0,1\n", ": no column of times, expected one of time_s, timestamp (got t, a)"),
            ("time_s,timestamp\n0,1\n", ": two columns of times"),
            ("time_s,a,\n0,1,2\n", ": column 3 has no name"),
            ("time_s,a,a\n0,1,2\n", ": column 'a' stands there twice"),
            ("time_s\n0\n", ": no raters, only the column time_s"),
            ("time_s,a\n".encode("utf-16"), ": UTF-16 text, expected UTF-8"),
        ],
    )
    def test_wrong_files(self, write, content, said):
        with pytest.raises(DataError) as caught:
            read_traces(write(content))
        assert f"t.csv{said}" in str(caught.value)

    def test_no_file(self, tmp_path):
        with pytest.raises(DataError, match=r"none\.csv: cannot read the traces: No such file"):
            read_traces(tmp_path / "none.csv")

    def test_no_good_row(self, write):
        with pytest.raises(DataError, match="no good rows"):
            read_traces(write("time_s,a\n0,x\n"), [])

    def test_real_files(self, data):
        traces = read_traces(data("raters/arousal_11.csv"))
        assert (traces.raters, len(traces), traces.times[0]) == (("1", "2", "3"), 618, 0.5)
        assert traces.values[0].tolist() == [0.1528, 0.0138, 0.0]

    def test_parts_must_fit(self):
        with pytest.raises(SettingsError, match=r"Traces\.values"):
            Traces("", np.zeros(1), ("a",), np.zeros((1, 2)))
        with pytest.raises(SettingsError, match=r"Traces\.truth"):
            make([0, 1], [0, 1], truth=np.zeros(3))
        with pytest.raises(SettingsError, match=r"Traces\.times"):
            make([0, 0], [0, 1])


class TestClock:
    def test_an_even_file_keeps_its_instants(self):
        times = [0.33, 0.67, 1.0, 1.33]  # thirds, as files round them
        assert make_clock(make(times, [0] * 4)).tolist() == times

    def test_uneven_instants_get_a_grid(self):
        clock = make_clock(make([0, 1, 2, 5, 6], [0] * 5))
        assert clock.tolist() == [0, 1, 2, 3, 4, 5, 6]

    def test_the_quickest_rater_sets_the_step(self):
        times = [0, 0.5, 0.7, 1.0, 1.4, 1.5, 2.0]
        quick = [1, 1, NAN, 1, NAN, 1, 1]
        slow = [NAN, NAN, 2, NAN, 2, NAN, NAN]
        assert make_clock(make(times, quick, slow)).tolist() == [0, 0.5, 1, 1.5, 2]

    def test_a_step_that_is_asked_for(self):
        clock = make_clock(make([1, 2, 3], [0] * 3), Clock(step=0.4))
        np.testing.assert_allclose(clock, [1, 1.4, 1.8, 2.2, 2.6, 3.0])

    def test_one_instant(self):
        assert make_clock(make([3], [1])).tolist() == [3]

    def test_limits(self):
        for field in ("step", "max_gap"):
            for value in (0, -1, NAN, math.inf):
                with pytest.raises(SettingsError, match=field):
                    Clock(**{field: value})
        with pytest.raises(SettingsError, match="ten million"):
            make_clock(make([0, 1e6], [0, 0]), Clock(step=1e-3))


class TestSampling:
    def test_straight_lines_between_a_raters_own_values(self):
        traces = make([0, 1, 2, 3], [0, NAN, 4, 2], [5, 5, 5, NAN])
        got = sample_traces(traces, np.array([-0.1, 0, 0.5, 1, 2.5, 3, 3.1]))
        np.testing.assert_allclose(got[:, 0], [NAN, 0, 1, 2, 3, 2, NAN])
        np.testing.assert_allclose(got[:, 1], [NAN, 5, 5, 5, NAN, NAN, NAN])

    def test_late_raters_are_read_later(self):
        traces = make([0, 1, 2, 3], [0, 1, 2, 3], [0, 10, 20, 30])
        got = sample_traces(traces, np.array([0.0, 1, 2]), np.array([0.5, 2.0]))
        np.testing.assert_allclose(got[:, 0], [0.5, 1.5, 2.5])
        np.testing.assert_allclose(got[:, 1], [20, 30, NAN])

    def test_long_gaps_stay_empty(self):
        times = np.array([0.0, 1, 2, 6, 7, 11.5, 12.5])
        at = np.array([0.0, 2, 4, 6, 8, 11.5])
        values = np.arange(7.0)
        np.testing.assert_allclose(sample_series(times, values, at), [0, 2, 2.5, 3, NAN, 5])  # 4 steps of 1 s
        np.testing.assert_allclose(sample_series(times, values, at, 3.0), [0, 2, NAN, 3, NAN, 5])
        assert np.isfinite(sample_series(times, values, at, 4.5)).all()

    def test_rounding_does_not_make_gaps(self):
        times = np.arange(0, 100) * 0.1
        got = sample_series(times, np.ones(100), np.linspace(0, 9.9, 100) + 1e-9, 0.01)
        assert np.isfinite(got).all()

    def test_one_value_and_none(self):
        at = np.array([0.0, 1, 2])
        np.testing.assert_array_equal(sample_series(np.array([1.0]), np.array([7.0]), at), [NAN, 7, NAN])
        assert np.isnan(sample_series(np.empty(0), np.empty(0), at)).all()

    def test_no_raters(self):
        assert sample_traces(make([0, 1]), np.zeros(5)).shape == (5, 0)


@pytest.mark.parametrize("cell", ["1e308", "-1e308", "1.1e15"])
def test_numbers_of_no_scale_are_bad_rows(tmp_path, cell):
    """Their squares would be infinite, and every value of the file empty."""
    (tmp_path / "t.csv").write_text(f"time_s,ann,bob\n0,1,2\n1,{cell},3\n{cell.strip('-')},0,0\n")
    bad = []
    assert read_traces(tmp_path / "t.csv", bad).times.tolist() == [0]
    assert [row.line for row in bad] == [3, 4]
    text = "clip,condition,rater,emotion,intensity\n" + f"a,f,x,joy,{cell}\na,f,y,joy,1\na,f,z,joy,3\n"
    (tmp_path / "a.csv").write_text(text)
    held = read_ratings(tmp_path / "a.csv")
    assert held.bad == (BadRow(2, f"intensity = {cell!r}: expected a number from -1e+15 to 1e+15"),)
    assert held.spread.variance.tolist() == [[[2.0]]]
