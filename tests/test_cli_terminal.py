"""What a person sees: charts, tables and progress, on a terminal and off it."""

import io
import os
import pty
import re
import subprocess
import sys

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17
from moodreel.report.terminal import (
    Progress,
    ResultTable,
    Style,
    clean,
    fit,
    format_chart,
    format_columns,
    format_duration,
    format_scores,
    measure,
    pad,
)
from moodreel.types import Result
from runtime.tiny import RED, draw_gif, write_bundle


class Screen(io.StringIO):
    """A stream that says it is a terminal, or not."""

    encoding = "utf-8"

    def __init__(self, is_terminal=True):
        super().__init__()
        self.isatty = lambda: is_terminal


@pytest.fixture(autouse=True)
def plain(monkeypatch):
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "80")


def make_result(source="party.gif", **changes):
    fields = {
        "width": 512,
        "height": 300,
        "frames": 1,
        "duration": 2.345,
        "category": "pleasure_arousal",
        "confidence": 0.876,
        "emotions": {name: (None if name == "guilt" else np.sin(k)) for k, name in enumerate(GIFGIF_17)},
        "probabilities": {"pleasure_arousal": 0.876},
        "valence": 0.25,
        "arousal": -0.5,
    }
    return Result(source, "tiny", "1.2", **{**fields, **changes})


def strip(text):
    return re.sub(r"\x1b\[[0-9]*m", "", text)


@pytest.mark.parametrize("width", [40, 80, 200])
def test_chart_fits_its_width(monkeypatch, width):
    monkeypatch.setenv("COLUMNS", str(width))
    chart = format_chart(make_result(), Style(Screen(False)))
    lines = chart.splitlines()
    assert max(map(len, lines)) <= max(width, 60)
    bars = [line for line in lines if "│" in line]
    assert len(bars) == 16
    values = [float(line.split()[1]) for line in bars]
    assert values == sorted(values, reverse=True)
    assert len({line.index("│") for line in bars}) == 1
    assert "guilt" in chart
    assert "  512 x 300, 1 frame, 2.35 s; model tiny 1.2" in lines or "2.34 s" in lines[1]
    assert "  valence +0.25, arousal -0.50" in lines


def test_bars_are_as_long_as_their_scores():
    emotions = {"anger": -1.0, "fear": -0.5, "pride": 0.0, "relief": 0.5, "shame": 1.0}
    lines = format_chart(make_result(emotions=emotions), Style(Screen(False))).splitlines()
    lengths = {line.split()[0]: (line.count("█"), line.count("▌")) for line in lines if "│" in line}
    assert lengths == {
        "anger": (0, 0),
        "fear": (14, 0),
        "pride": (28, 0),
        "relief": (42, 0),
        "shame": (56, 0),
    }


def test_colours_are_those_of_the_quadrants():
    chart = format_chart(make_result(), Style(Screen()))
    colour = {
        line.split()[0]: {*re.findall(r"\x1b\[(\d+)m█", line)} for line in chart.splitlines() if "│" in line
    }
    assert colour["excitement"] in ({"33"}, set())
    assert (colour["anger"], colour["contentment"], colour["sadness"]) == ({"31"}, {"32"}, {"34"})


@pytest.mark.parametrize("variable", [("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colours_can_be_off(monkeypatch, variable):
    coloured = format_chart(make_result(), Style(Screen()))
    monkeypatch.setenv(*variable)
    plain = format_chart(make_result(), Style(Screen()))
    assert "\x1b" not in plain
    assert plain == strip(coloured)
    assert plain == format_chart(make_result(), Style(Screen(False)))


def test_chart_says_what_there_is_not():
    result = make_result(category=None, confidence=None, probabilities={"pleasure_arousal": None})
    assert "no category: no training source had any" in format_chart(result, Style(Screen(False)))
    chart = format_chart(make_result(category=None), Style(Screen(False)), abstain=0.9)
    assert "category none, confidence 0.88 (below 0.9)" in chart


def test_table_is_aligned_and_cut_on_a_terminal():
    paths = ["a.gif", "a/very/long/folder/name/that/goes/on/and/on/to/clip_0001.gif", "寿司.gif", "b.gif"]
    results = [make_result(path) for path in paths]
    results[3] = Result("b.gif", "tiny", "1.2", error="not a picture " * 10)
    table = ResultTable(paths, ["pleasure_arousal", "misery_arousal"], Style(Screen()))
    lines = [strip(table.format_header()), *(strip(table.format_result(result)) for result in results)]
    assert max(map(measure, lines)) <= 80
    assert lines[2].startswith("…")
    assert "clip_0001.gif" in lines[2]
    starts = {measure(line[: line.index("pleasure_arousal")]) for line in lines[1:4]}
    assert len(starts) == 1
    assert lines[4].endswith("…")


def test_table_off_a_terminal_keeps_paths_whole():
    paths = ["x" * 200 + ".gif", "b.gif"]
    table = ResultTable(paths, ["anger"], Style(Screen(False)))
    assert table.format_result(make_result(paths[0])).startswith(paths[0])
    failed = Result("b.gif", "tiny", "1.2", error="word " * 100)
    assert table.format_result(failed).endswith("word " * 99 + "word ")


def test_names_cannot_steer_the_terminal():
    assert clean("a\x1b[2J\n\udcff.gif") == "a?[2J??.gif"
    table = ResultTable(["a\nb.gif"], ["anger"], Style(Screen()))
    assert "\n" not in table.format_result(make_result("a\nb.gif"))
    assert "\x1b[2J" not in format_chart(make_result("\x1b[2J.gif"), Style(Screen()))


@pytest.mark.parametrize(
    ("text", "width", "keep", "fitted"),
    [
        ("abcdef", 6, "end", "abcdef"),
        ("abcdef", 4, "end", "…def"),
        ("abcdef", 4, "start", "abc…"),
        ("寿司寿司", 6, "end", "…寿司"),
        ("e\u0301e\u0301", 2, "end", "e\u0301e\u0301"),
    ],
)
def test_fit(text, width, keep, fitted):
    assert fit(text, width, "…", keep) == fitted
    assert measure(pad(fitted, width)) == width


def test_columns_and_scores():
    text = format_columns(("name", "n"), [("寿司", "1"), ("a", "22")], Style(Screen(False)))
    assert text == "name  n\n寿司  1\na     22\n"
    nested = {"a": {"b": 0.5, "c": 3}, "d": None, "e": [0.25, 1], "f": [[12, 3], [0, 456]]}
    lines = format_scores(nested, Style(Screen(False))).splitlines()
    assert [line.split() for line in lines[1:]] == [
        ["a.b", "0.5000"],
        ["a.c", "3"],
        ["d", "-"],
        ["e", "0.2500", "1"],
        ["f[0]", "12", "3"],
        ["f[1]", "0", "456"],
    ]


def test_progress_off_a_terminal_is_a_plain_line_every_few_seconds():
    now = [0.0]
    screen = Screen(False)
    progress = Progress(screen, 100, clock=lambda: now[0])
    for done in range(1, 101):
        now[0] += 0.2
        progress.update(done, done // 50)
    progress.clear()
    lines = screen.getvalue().splitlines()
    assert 2 <= len(lines) <= 4
    assert lines[0].startswith("moodreel: 2")
    assert " of 100, 5.0 a second" in lines[0]
    assert not {"\r", "\x1b"} & set(screen.getvalue())


def test_a_quick_run_shows_no_progress():
    screen = Screen(False)
    progress = Progress(screen, 3, clock=lambda: 0.0)
    progress.update(3, 0)
    progress.clear()
    assert screen.getvalue() == ""


def test_progress_on_a_terminal_is_a_bar_that_goes_away():
    now = [0.0]
    screen = Screen()
    progress = Progress(screen, 4, clock=lambda: now[0])
    for done in range(1, 5):
        now[0] += 1
        progress.update(done, 1)
    progress.clear()
    drawn = screen.getvalue().split("\r\x1b[K")
    assert [text.count("█") for text in drawn] == [0, 6, 12, 18, 24, 0]
    assert drawn[2].endswith("2 of 4, 1.0 a second, 2 s left, 1 failed")
    assert drawn[4].endswith("4 of 4, 1.0 a second, 1 failed")
    assert drawn[-1] == ""


def test_progress_without_a_total_and_with_what_was_kept():
    now = [0.0]
    screen = Screen(False)
    progress = Progress(screen, None, clock=lambda: now[0])
    now[0] = 10
    progress.update(1050, 2, kept=1000)
    progress.total = 2050
    now[0] = 20
    progress.update(1100, 2, kept=1000)
    assert screen.getvalue().splitlines() == [
        "moodreel: 1050, 5.0 a second, 2 failed",
        "moodreel: 1100 of 2050, 5.0 a second, 3 min left, 2 failed",
    ]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.2, "1 s"),
        (89, "89 s"),
        (91, "2 min"),
        (7000, "117 min"),
        (9000, "2 h"),
        (1e5, "28 h"),
        (1e6, "12 days"),
    ],
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


def test_on_a_real_terminal(tmp_path):
    """Through a pseudo-terminal: colours come, and go with NO_COLOR."""
    folder = write_bundle(tmp_path / "b")
    path = draw_gif(tmp_path / "a.gif", RED)
    for extra, is_coloured in [({}, True), ({"NO_COLOR": "1"}, False)]:
        main, side = pty.openpty()
        subprocess.run(
            [sys.executable, "-m", "moodreel", "predict", path, "--model", folder],
            stdout=side,
            stderr=side,
            check=True,
            env={**os.environ, **extra},
        )
        os.close(side)
        shown = b""
        try:
            while chunk := os.read(main, 65536):
                shown += chunk
        except OSError:  # the other side is closed
            pass
        os.close(main)
        assert "█".encode() in shown
        assert (b"\x1b[33m" in shown) == is_coloured
