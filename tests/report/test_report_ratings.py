"""Pictures and texts of raters: they show what was found."""

import numpy as np
import pytest

from moodreel.labels.agreement import RaterSpread, estimate_disagreement
from moodreel.labels.gold import GoldSettings, make_gold
from moodreel.labels.traces import Traces
from moodreel.report.ratings import LEGEND, plot_disagreement, plot_gold


def make_spread(conditions=("face", "$scene$"), emotions=("joy", "fear"), clips=9):
    shape = (clips, len(conditions), len(emotions))
    values = np.random.default_rng(0).uniform(0.5, 1.5, shape)
    return RaterSpread(tuple(map(str, range(clips))), conditions, emotions, values, np.full(shape, 5))


def make_traces(count=3):
    times = np.arange(20) / 4
    values = np.sin(times)[:, None] + np.arange(count) / 10
    return Traces("a/$x_1$.csv", times, tuple(f"_r{k}" for k in range(count)), values, np.sin(times))


def test_bars_and_whiskers(tmp_path):
    spread = make_spread()
    found = estimate_disagreement(spread)
    figure = plot_disagreement(found, "(0 to 5)")
    (axes,) = figure.axes
    assert [text.get_text() for text in axes.get_xticklabels()] == ["joy", "fear"]
    heights = [bar.get_height() for bar in axes.patches]
    np.testing.assert_allclose(heights, spread.variance.mean(axis=0).ravel())
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["face", r"\$scene\$"]
    (whisker,) = axes.collections[0].get_segments()[:1]
    assert (whisker[0, 1], whisker[1, 1]) == (
        pytest.approx(found.means[0].low),
        pytest.approx(found.means[0].high),
    )
    figure.savefig(tmp_path / "a.png")


def test_no_values_and_many_names(tmp_path):
    spread = make_spread(("x",), tuple(f"e{k}" for k in range(30)), 1)
    spread.variance[0, 0, 3] = np.nan
    figure = plot_disagreement(estimate_disagreement(spread))
    assert figure.axes[0].patches[3].get_height() == 0
    assert figure.legends == []
    figure.savefig(tmp_path / "a.png")


def test_traces_and_gold(tmp_path):
    gold = make_gold(make_traces(), None, GoldSettings(delay=0.5))
    figure = plot_gold(gold)
    upper, lower = figure.axes
    np.testing.assert_allclose(upper.lines[1].get_ydata(), gold.before[:, 1])
    np.testing.assert_allclose(lower.lines[1].get_ydata(), gold.aligned[:, 1])
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == [*(f"r{k}: weight 0.33, 0.50 s late" for k in range(3)), "gold standard", "truth"]
    np.testing.assert_allclose(lower.lines[3].get_ydata(), gold.values)
    figure.savefig(tmp_path / "a.png")


def test_a_legend_has_an_end(tmp_path):
    figure = plot_gold(make_gold(make_traces(LEGEND + 1)))
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["gold standard", "truth"]
    assert figure.axes[1].get_title(loc="left") == "the gold standard"
    figure.savefig(tmp_path / "a.png")
