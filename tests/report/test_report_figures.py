"""Plots: figures without pyplot, saying what the result says."""

import subprocess
import sys

import numpy as np
import pytest

from moodreel.emotions import QUADRANT_OF
from moodreel.errors import SettingsError
from moodreel.report import plot_attention, plot_circumplex, plot_emotions
from moodreel.report.colours import PALETTE
from report.fakes import make_error, make_face, make_result, peak_at


def texts(axes):
    return [text.get_text() for text in axes.texts]


def test_emotions(tmp_path):
    figure = plot_emotions(make_result("a/party.gif"))
    (axes,) = figure.axes
    assert [round(bar.get_width(), 2) for bar in axes.patches] == [1.5, 0.5, 0.75]  # from -1 on
    assert {bar.get_x() for bar in axes.patches} == {-1}
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert [QUADRANT_OF[name] for name in names] == sorted(
        (QUADRANT_OF[name] for name in names), key=list(PALETTE).index
    )
    assert texts(axes).count("not scored") == 14
    assert {"+0.50", "-0.50", "-0.25"} <= set(texts(axes))
    assert axes.get_title(loc="left") == "party.gif: pleasure-arousal 0.62"
    figure.savefig(tmp_path / "a.png")
    assert (tmp_path / "a.png").stat().st_size > 1000


def test_classes_of_face(tmp_path):
    figure = plot_emotions(make_face("$a$_{.gif"))
    assert len(figure.axes[0].patches) == 7
    figure.savefig(tmp_path / "a.png")  # a $ in a name is no mathematics


def test_circumplex(tmp_path):
    result = make_result("a.gif")
    figure = plot_circumplex(result)
    lines = figure.axes[0].lines
    assert lines[-1].get_xydata().tolist() == [[result.valence, result.arousal]]
    assert "happiness" in texts(figure.axes[0])
    figure.savefig(tmp_path / "a.svg")


def test_attention_shows_the_first_frame_and_eight():
    frames = np.full((8, 70, 70, 3), 128, np.uint8)
    result = make_result("a.gif", duration=0.8, attention=peak_at(1, 5, count=8))
    figure = plot_attention(result, frames)
    assert len(figure.axes) == 9
    first, *others = (axes.images[0].get_array() for axes in figure.axes)
    assert (first == 128).all()
    for picture in others:
        change = np.abs(picture.astype(int) - 128).sum(axis=2)
        row, column = np.unravel_index(change.argmax(), change.shape)
        assert 10 <= row < 20
        assert 50 <= column < 60
    assert figure.axes[1].get_title() == "0.05 s"
    assert len(plot_attention(make_result("a", attention=peak_at(0, 0, count=3)), frames).axes) == 4
    assert len(plot_attention(make_result("a", attention=peak_at(0, 0, count=20)), frames).axes) == 9


def test_what_has_nothing_to_plot_says_so():
    for plot in (plot_emotions, plot_circumplex, plot_attention):
        with pytest.raises(SettingsError, match="no such file"):
            plot(make_error("a.gif"))
    with pytest.raises(SettingsError, match="result with both"):
        plot_circumplex(make_face("a.gif"))
    with pytest.raises(SettingsError, match="attention"):
        plot_attention(make_face("a.gif"), np.zeros((2, 9, 9, 3), np.uint8))


def test_no_window_and_no_import_before_use():
    code = (
        "import sys, moodreel.report, moodreel.report.terminal; before = set(sys.modules)\n"
        "assert not {'matplotlib', 'jinja2', 'numpy', 'PIL', 'av'} & before\n"
        "from moodreel.report import plot_emotions; assert 'matplotlib' not in sys.modules\n"
        "from moodreel.types import Result\n"
        "plot_emotions(Result('a', 'm', '1', probabilities={'x': 1.0}))\n"
        "assert 'matplotlib.pyplot' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
