"""Pictures of a study: what is drawn where."""

import math

import numpy as np
import pytest
from matplotlib.colors import to_hex

from moodreel.emotions import GIFGIF_17, QUADRANT_OF
from moodreel.errors import SettingsError
from moodreel.media import write_gif
from moodreel.report.colours import PALETTE
from moodreel.report.study import (
    ORDERED,
    Bar,
    plot_comparison,
    plot_labels,
    plot_masks,
    plot_predictions,
)
from moodreel.types import StudyCase


@pytest.fixture
def case(tmp_path):
    write_gif(tmp_path / "a.gif", np.full((4, 40, 60, 3), 120, np.uint8), np.full(4, 0.1))
    maps = np.full((8, 7, 7), 0.5 / 48, np.float32)
    maps[:, 2, 3] = 0.5
    return StudyCase(
        source=str(tmp_path / "a.gif"),
        times=(np.arange(8) + 0.5) * 0.05,
        target={name: n / 8 - 1 for n, name in enumerate(GIFGIF_17)},
        category="misery_arousal",
        predicted={"anger": 0.5, "happiness": -0.25},
        predicted_category="misery_arousal",
        heatmap=maps,
        attention=maps,
    )


def list_texts(figure):
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(lambda item: hasattr(item, "get_text"))]


def test_comparison_says_whose_numbers_are_whose(tmp_path):
    bars = [Bar("one", 0.95, 0.02, (1.0675, 0.0305)), Bar("two", 0.9, math.nan, None)]
    figure = plot_comparison("Table 2", "nMSE", bars, 3, "note")
    texts = list_texts(figure)
    for words in ("0.950 ± 0.020", "(1.067 ± 0.030)", "0.900", "one", "two", "paper: another data set"):
        assert words in texts
    axes = figure.axes[0]
    assert [round(v, 3) for v in axes.lines[0].get_xdata()] == [0.95, 0.9]
    figure.savefig(tmp_path / "t.png")
    with pytest.raises(SettingsError, match="bars"):
        plot_comparison("Table 2", "nMSE", [], 3, "")


def test_labels_are_bars_in_the_colours_of_their_quadrants(case):
    figure = plot_labels(case)
    axes = next(a for a in figure.axes if a.patches)
    heights = {n: bar.get_height() - 1 for n, bar in zip(ORDERED, axes.patches, strict=True)}
    assert heights == pytest.approx(case.target)
    for name, bar in zip(ORDERED, axes.patches, strict=True):
        assert to_hex(bar.get_facecolor()) == PALETTE[QUADRANT_OF[name]].light
    assert len([a for a in figure.axes if a.images]) == 8
    assert "a.gif: misery-arousal" in " ".join(list_texts(figure))


def test_predictions_stand_beside_labels(case):
    figure = plot_predictions([case, case])
    bars = [a for a in figure.axes if a.patches]
    assert len(bars) == 2
    assert [patch.get_height() - 1 for patch in bars[0].patches] == pytest.approx([-0.25, 0.5])
    ticks = [line.get_ydata()[0] for line in bars[0].lines]
    assert ticks == pytest.approx([case.target["happiness"], case.target["anger"]])
    with pytest.raises(SettingsError, match="cases"):
        plot_predictions([])


def test_masks_lie_over_the_frames(case):
    figure = plot_masks([case], [case])
    pictures = [a.images[0].get_array() for a in figure.axes if a.images]
    assert len(pictures) == 2 * 9  # a plain frame and eight overlays each
    plain, overlay = np.asarray(pictures[0], int), np.asarray(pictures[1], int)
    changed = np.abs(overlay - plain).sum(axis=2)
    row, column = np.unravel_index(changed.argmax(), changed.shape)
    assert row / changed.shape[0] == pytest.approx(2.5 / 7, abs=0.1)
    assert column / changed.shape[1] == pytest.approx(3.5 / 7, abs=0.1)
    texts = " ".join(list_texts(figure))
    assert "keypoint heatmap" in texts
    assert "predicted attention" in texts
    with pytest.raises(SettingsError, match="cases"):
        plot_masks([], [])


def test_pictures_need_no_torch():
    import subprocess
    import sys

    code = "import sys, moodreel.report.study; print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
