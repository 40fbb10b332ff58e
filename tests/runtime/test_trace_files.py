"""Files of traces and of ratings, and how late the points of a stream are."""

import numpy as np
import pytest

from moodreel.errors import DataError
from moodreel.faces.video import FaceStream
from moodreel.media.stream import StreamFrame
from moodreel.runtime.trace import TracePoint, Tracer, TraceSettings
from moodreel.runtime.trace_files import format_row, open_trace, read_ratings
from moodreel.runtime.trace_live import Latency, trace_stream


def test_numbers_of_a_row():
    assert format_row(TracePoint(0.25, -1e-9, 1, "ok")) == ("0.25", "0", "1", "ok")
    assert format_row(TracePoint(100.0, 1 / 3, 12, "ok")) == ("100", "0.333333", "12", "ok")
    assert format_row(TracePoint(10.0, -1.0, 0, "interpolated")) == ("10", "-1", "0", "interpolated")
    assert format_row(TracePoint(0.0, None, 0, "no_face")) == ("0", "", "0", "no_face")


def test_a_trace_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "t.csv"
    with pytest.raises(ZeroDivisionError), open_trace(path) as put:
        put(TracePoint(1 / (len(list(tmp_path.iterdir())) - 1), 0.5, 1, "ok"))  # one file so far, hidden
    assert list(tmp_path.iterdir()) == []
    with open_trace(path) as put:
        put(TracePoint(0.0, 0.5, 1, "ok"))
    assert path.read_bytes() == b"time_s,valence,face,status\n0,0.5,1,ok\n"


def read(tmp_path, text):
    path = tmp_path / "r.csv"
    path.write_text(text, encoding="utf-8")
    return read_ratings(path)


def test_ratings_are_read(tmp_path):
    found = read(tmp_path, "\ufefftimestamp,1, 2 ,gold\n0.5,0.1,-0.2,0\n1.0,,0.3,1e-1\n\n")
    assert found.times.tolist() == [0.5, 1.0]
    assert found.gold.tolist() == [0, 0.1]
    assert list(found.raters) == ["1", "2"]
    np.testing.assert_array_equal(found.raters["1"], [0.1, np.nan])
    own = read(tmp_path, "time_s,valence,face,status\n0,0.5,1,ok\n0.25,,0,no_face\n")
    assert (own.raters, own.gold[0]) == ({}, 0.5)
    raters = read(tmp_path, "time,ann\n0,1\n")
    assert (raters.gold, list(raters.raters)) == (None, ["ann"])
    both = read(tmp_path, "time,truth,gold\n0,1,0.5\n")
    assert (both.gold[0], list(both.raters)) == (0.5, ["truth"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1: no column of times"),
        ("when,gold\n0,1\n", "line 1: no column of times; expected one of time_s, time, timestamp"),
        ("time\n0\n", "line 1: no column beside the times"),
        ("time,a,a\n0,1,1\n", "line 1: two columns of one name"),
        ("time,gold\n", "no row below the names"),
        ("time,gold\n0,1\n1\n", "line 3: 1 cells, the first line has 2"),
        ("time,gold\n0,x\n", "line 2: gold: 'x' is no number"),
        ("time,gold\n0,nan\n", "line 2: gold: 'nan' is no number"),
        ("time,gold\n,1\n", "line 2: time: '' is no number"),
        ("time,gold\n0,1\n\n2,1\n1,1\n", "line 5: the time is not above the one before"),
    ],
)
def test_wrong_ratings_are_named(tmp_path, text, message):
    with pytest.raises(DataError, match=r"r\.csv: ") as caught:
        read(tmp_path, text)
    assert message in str(caught.value)


def test_ratings_that_cannot_be_opened(tmp_path):
    with pytest.raises(DataError, match=r"gone\.csv: No such file"):
        read_ratings(tmp_path / "gone.csv")
    (tmp_path / "b.csv").write_bytes(b"time,gold\n0,\xff\n")
    with pytest.raises(DataError, match="not CSV in UTF-8"):
        read_ratings(tmp_path / "b.csv")


def test_real_raters(data):
    found = read_ratings(data("raters/arousal_11.csv"))
    assert list(found.raters) == ["1", "2", "3"]
    assert found.times[:3].tolist() == [0.5, 1.0, 1.5]
    assert found.raters["3"][1] == 0.1315


def test_how_late_points_are():
    """Frames arrive every 0.25 s, and a run of the network takes 0.1 s: by a clock that stands in between."""
    now = [0.0]

    class Slow:
        def run(self, frames):
            now[0] += 0.1
            return {"valence": np.zeros((1, frames.shape[1]), np.float32)}

    def frames(count):
        for k in range(count):
            now[0] = max(now[0], 100 + k / 4)
            yield StreamFrame(np.zeros((4, 4, 3), np.uint8), k / 4, now[0])

    latency = Latency()
    tracer = Tracer(Slow(), FaceStream(None, 4), TraceSettings(4, 2))
    points = list(trace_stream(frames(7), tracer, latency, lambda: now[0]))
    assert [p.time for p in points] == [k / 4 for k in range(7)]
    # Ticks 0 and 1 come with frame 4 (window 0 to 3), 1 s and 0.75 s after their own, and the run; 2 and 3
    # with frame 6. 4 to 6 come at the end, right after frame 6, with one more run.
    np.testing.assert_allclose(latency.seconds, [1.1, 0.85, 1.1, 0.85, 0.7, 0.45, 0.2], atol=1e-9)
    assert latency.work == pytest.approx(0.3)
    assert str(latency) == "latency a tick: median 0.85 s, 95 % 1.10 s, most 1.10 s; computing 43 ms a tick"
    assert str(Latency()) == "no tick with a face"
