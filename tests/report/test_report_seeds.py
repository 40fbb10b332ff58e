"""Pictures of a study over seeds: what is drawn where."""

import math

import numpy as np
import pytest

from moodreel.errors import SettingsError
from moodreel.report.seeds import Panel, plot_confusion, plot_medians
from moodreel.report.study import Bar


def list_texts(axes):
    return {
        (round(text.get_position()[0], 2), round(text.get_position()[1], 2)): text.get_text()
        for text in axes.texts
    }


def test_medians_reach_from_least_to_most(tmp_path):
    first = Bar("one", 3.0, math.nan, (2.5, None), (1.0, 3.0, 7.0))
    alone = Bar("two", 4.0, math.nan, None, (4.0,))
    panels = [Panel("mAP, %", (first, alone), 1), Panel("CCC", (None, alone), 2)]
    figure = plot_medians("Table I", ["one", "two"], panels, "note")
    figure.savefig(tmp_path / "t.png")
    left, told, right, other = figure.axes
    median, paper = left.containers
    assert median.lines[0].get_xdata().tolist() == [3.0, 4.0]
    reach = [segment[:, 0].tolist() for segment in median.lines[2][0].get_segments()]
    assert reach == [[1.0, 7.0], [4.0, 4.0]]
    assert paper.lines[0].get_xdata().tolist() == [2.5]
    assert list(left.lines[0].get_xdata()) == [1.0, 3.0, 7.0]  # every run
    assert list_texts(told) == {(0.0, 0): "3.0 (1.0 to 7.0)", (0.76, 0): "(2.5)", (0.0, 1): "4.0"}
    assert list_texts(other) == {(0.0, 1): "4.00"}  # in its own line, below the empty one
    assert right.containers[0].lines[0].get_ydata().tolist() == [1]
    assert left.get_ylim() == right.get_ylim() == other.get_ylim() == (1.5, -0.5)
    with pytest.raises(SettingsError, match="panels"):
        plot_medians("Table I", ["one"], [], "")
    with pytest.raises(SettingsError, match=r"panel.bars = 2: expected 1, one a row"):
        plot_medians("Table I", ["one"], panels, "")


def test_confusions_are_divided_by_their_true_class(tmp_path):
    counts = np.array([[3, 1, 0], [0, 0, 0], [9, 0, 1]])
    figure = plot_confusion("median run", counts, ["happy", "sad", "angry"])
    figure.savefig(tmp_path / "c.png")
    axes = figure.axes[0]
    shares = np.asarray(axes.images[0].get_array())
    assert shares == pytest.approx(np.array([[0.75, 0.25, 0], [0, 0, 0], [0.9, 0, 0.1]]))
    assert axes.images[0].get_clim() == (0, 1)
    assert list_texts(axes) == {(0, 0): "75%\n3", (1, 0): "25%\n1", (0, 2): "90%\n9", (2, 2): "10%\n1"}
    assert [label.get_text() for label in axes.get_yticklabels()] == ["happy (4)", "sad (0)", "angry (10)"]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["happy", "sad", "angry"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true (clips)")
    for count, classes in ((counts, ["a", "b"]), (np.zeros((0, 0), int), [])):
        with pytest.raises(SettingsError, match="counts"):
            plot_confusion("", count, classes)
