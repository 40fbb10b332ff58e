"""Pictures and texts of traces: where curves, gaps and faces are drawn."""

import io
import re
from dataclasses import replace

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.media import read_clip
from moodreel.report.html import Report
from moodreel.report.panel import attach_panel
from moodreel.report.terminal import ResultTable, Style, format_chart
from moodreel.report.trace_figures import FACES, FaceStrip, plot_trace, write_face_overlay
from moodreel.report.trace_text import format_point, format_trace
from moodreel.runtime.trace import TracePoint
from moodreel.runtime.trace_files import Ratings
from moodreel.types import Result


def make_points(values, statuses=None, picture=None, attention=None):
    statuses = statuses or "o" * len(values)
    kinds = {"o": "ok", "i": "interpolated", "n": "no_face"}
    return [
        TracePoint(k / 4, value, int(s == "o"), kinds[s], picture if s == "o" else None, None, attention)
        for k, (value, s) in enumerate(zip(values, statuses, strict=True))
    ]


def lines_of(axes):
    return {line.get_label(): line for line in axes.get_lines()}


def test_the_curve_stops_where_no_face_was_found():
    points = make_points([0.1, 0.2, 0.3, 0.4, 0.5, 0.6], "oiiooi")
    figure = plot_trace(points, "dir/a$b.mp4")
    (axes,) = figure.axes
    curve = lines_of(axes)["valence"]
    np.testing.assert_array_equal(curve.get_ydata(), [0.1, np.nan, np.nan, 0.4, 0.5, np.nan])
    assert lines_of(axes)["interpolated"].get_ydata().tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    spans = [patch.get_bbox() for patch in axes.patches]
    assert [(span.x0, span.x1) for span in spans] == [(0.125, 0.625), (1.125, 1.375)]
    assert axes.get_title(loc="left") == r"a\$b.mp4"
    low, high = axes.get_ylim()
    assert low < 0 < 0.6 < high <= 0.7
    figure.savefig(io.BytesIO())


def test_gold_standard_and_raters_are_drawn():
    ratings = Ratings(np.array([0.0, 1.0, 9.0]), np.array([0.1, 0.3, 5.0]), {"a": np.array([0.0, 0.9, 0.1])})
    (axes,) = plot_trace(make_points([0.1] * 5), "x", ratings=ratings).axes
    lines = lines_of(axes)
    assert lines["gold standard"].get_ydata().tolist() == [0.1, 0.3, 5.0]
    assert lines["rater"].get_ydata().tolist() == [0.0, 0.9, 0.1]
    assert 0.9 < axes.get_ylim()[1] < 1.1  # what lies beyond the clip does not count


def test_faces_stand_over_their_times():
    picture = np.zeros((8, 8, 3), np.uint8)
    faces = [(float(k), picture) for k in range(0, 60, 3)]
    figure = plot_trace(make_points([0.1] * 240), "x", faces)
    strip = figure.axes[0]
    boxes = strip.child_axes
    assert 1 < len(boxes) <= FACES
    figure.draw_without_rendering()
    for box in boxes:
        extent = box.get_window_extent()
        middle, _ = strip.transData.inverted().transform(((extent.x0 + extent.x1) / 2, 0))
        time = float(box.get_title().removesuffix(" s"))
        assert abs(middle - time) < 0.1 or (time in (0, 57) and abs(middle - time) <= 3.1)
    assert len(plot_trace(make_points([None] * 3, "nnn"), "x").axes) == 1


def test_a_strip_holds_few_faces_of_a_long_trace():
    strip = FaceStrip(most=8)
    for k in range(1000):
        strip.add(TracePoint(k / 4, 0.0, 1, "ok", np.zeros((4, 4, 3), np.uint8)))
        assert len(strip.faces) < 16
    times = [time for time, _ in strip.faces]
    assert len(times) >= 7
    assert np.ptp(np.diff(times)) == 0  # evenly
    assert (times[0], times[-1] > 200) == (0, True)


def test_heat_lies_where_the_attention_is(tmp_path):
    grey = np.full((8, 8, 3), 128, np.uint8)
    attention = np.zeros((8, 8), np.float32)
    attention[2, 6] = 1
    points = make_points([0.2, 0.3, None], "oon", grey, attention)
    write_face_overlay(points, tmp_path / "o.webp")
    clip = read_clip(tmp_path / "o.webp")
    assert clip.frames.shape[:3] == (2, 328, 256)
    np.testing.assert_allclose(clip.durations, [0.25, 0.25])
    face = clip.frames[0, :256].astype(int)
    redness = face[..., 0] - face[..., 1]
    row, column = np.unravel_index(redness.argmax(), redness.shape)
    assert (row // 32, column // 32) == (2, 6)
    assert abs(redness[:, :96]).max() < 12
    with pytest.raises(SettingsError, match="ends in"):
        write_face_overlay(points, tmp_path / "o.png")
    with pytest.raises(SettingsError, match="no face"):
        write_face_overlay(make_points([None], "n"), tmp_path / "o.gif")


class Stream(io.StringIO):
    encoding = "utf-8"


def test_a_line_a_tick(monkeypatch):
    monkeypatch.setenv("COLUMNS", "60")
    style = Style(Stream())
    left, middle, right = (format_point(TracePoint(1.5, v, 1, "ok"), style) for v in (-1.0, 0.0, 1.0))
    assert left.startswith("     1.50 s  -1.00  █")
    assert middle.rstrip().endswith("█")
    assert "│" not in middle
    assert right.index("█") - left.index("█") == 2 * (middle.index("█") - left.index("█"))
    assert format_point(TracePoint(0.25, 0.5, 0, "interpolated"), style).endswith("  no face")
    assert format_point(TracePoint(0.25, None, 0, "no_face"), style) == "     0.25 s  no face"


def test_a_curve_of_blocks(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    points = make_points([-0.5, 0.0, 0.5, 0.5, 0.25], "oooio")
    text = format_trace(points, "a.mp4", Style(Stream()))
    lines = text.splitlines()
    assert lines[1:3] == [
        "  5 ticks, 4 with a face, 1 interpolated",
        "  valence +0.15 on average, least -0.50 at 0.00 s, most +0.50 at 0.50 s",
    ]
    top, base = lines[4], lines[12]
    assert top.startswith("  +0.50 │")
    assert top[9:].strip("█").strip() == ""
    assert top[9:].index("█") == 12  # the third of five columns of 6
    assert base == "  -0.50 │" + "▁" * 6 + "█" * 12 + "." * 6 + "█" * 6
    assert lines[13].split() == ["0", "1.00", "s"]
    assert lines[-5:] == [
        "      0.00     0.00    -0.50  1 of 1 ticks",
        "      0.25     0.25    +0.00  1 of 1 ticks",
        "      0.50     0.50    +0.50  1 of 1 ticks",
        "      0.75     0.75    +0.50  0 of 1 ticks",
        "      1.00     1.00    +0.25  1 of 1 ticks",
    ]


def test_a_long_trace_fits_and_a_plain_terminal_can_show_it(monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")

    class Plain(io.StringIO):
        encoding = "ascii"

    text = format_trace(make_points(np.sin(np.arange(5000) / 300).tolist()), "a", Style(Plain()))
    assert text.isascii()
    assert max(map(len, text.splitlines()[3:14])) <= 40
    assert len(text.splitlines()) < 30


def make_result(valence, faces):
    facts = {"width": 20, "height": 20, "frames": 2, "duration": 1.0}
    return Result("a.gif", "sta", "0.1.0", valence=valence, faces=faces, **facts)


def test_a_trace_as_one_row_is_shown_by_its_valence(tmp_path):
    frames = np.zeros((2, 20, 20, 3), np.uint8)
    with Report(tmp_path / "r") as report:
        report.add(make_result(0.25, 1), frames)
        report.add(make_result(None, 0), frames)
    page = (tmp_path / "r/index.html").read_text("utf-8")
    assert "valence +0.25</p>" in page
    assert "no face found</p>" in page
    assert '<th scope="row">valence</th>' in page
    assert '<rect x="100" y="1.5" width="25.0"' in page  # from 0 on, in the middle of 200
    assert "no training source" not in page
    assert "Clips by" not in page
    with_score, without = (attach_panel(frames[0], make_result(v, 1)) for v in (0.25, None))
    assert len(with_score) > len(without)
    style = Style(Stream())
    room = 28  # on either side of the axis, of 80 columns
    bar = " " * room + "│" + "█" * 7
    assert f"  valence       +0.25  {bar}\n" in format_chart(make_result(0.25, 1), style)
    assert "  no face found\n" in format_chart(make_result(None, 0), style)
    table = ResultTable(["a.gif"], (), style)
    assert table.format_result(make_result(0.25, 1)).endswith("valence 0.25")
    assert '<p class="note">No face was found: no valence.</p>' in page
    assert "Valence +0.25 over 1 clip." in page
    assert "<polyline" not in page
    head = re.search(r"<thead><tr>.*?</tr>", page)[0]
    assert re.findall(r">(\w+)</th>", head) == ["clip", "valence"]


def test_a_negative_valence_reaches_to_the_left(tmp_path):
    with Report(tmp_path / "r") as report:
        report.add(make_result(-0.5, 1), np.zeros((2, 20, 20, 3), np.uint8))
    page = (tmp_path / "r/index.html").read_text("utf-8")
    assert '<rect x="50.0" y="1.5" width="50.0"' in page
    line = format_chart(make_result(-0.5, 1), Style(Stream())).splitlines()[3]
    assert line == "  valence       -0.50  " + " " * 14 + "█" * 14 + "│"


def test_a_trace_is_a_line_from_minus_one_to_one(tmp_path):
    trace = {"time_s": np.array([0.0, 0.25, 0.5, 0.75]), "valence": np.array([-1.0, 0.0, 0.5, 0.25])}
    result = replace(make_result(-0.0625, 1), per_frame=trace)
    with Report(tmp_path / "r") as report:
        report.add(result, np.zeros((2, 20, 20, 3), np.uint8))
    page = (tmp_path / "r/index.html").read_text("utf-8")
    assert '<polyline points="0,200.0 250,100.0 500,50.0 750,75.0"/>' in page
    assert 'aria-label="Valence along time: from \N{MINUS SIGN}1.00 to +0.50"' in page
    assert "  along time    -1.00 to +0.50  ▁▆█▇\n" in format_chart(result, Style(Stream()))
    long = {"time_s": np.arange(1000) / 4, "valence": np.linspace(-1, 1, 1000)}
    with Report(tmp_path / "r") as report:
        report.add(replace(result, per_frame=long, duration=250.0), np.zeros((2, 20, 20, 3), np.uint8))
    points = re.search(r'points="(.*?)"', (tmp_path / "r/index.html").read_text("utf-8"))[1].split()
    assert 100 <= len(points) <= 240
    assert max(map(len, format_chart(replace(result, per_frame=long), Style(Stream())).splitlines())) <= 80
