"""The pictures of a study over seeds, from its scores."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw_seed_study(scores: Any, outline: Any) -> Iterator[tuple[str, Figure]]:
    """Pictures, by the names that the report gives their files.

    Args:
        scores: a ``SeedScores`` of ``lab/ablation/seed_scores.py``; at least one run is finished.
        outline: of its report, an ``Outline`` of ``lab/ablation/seed_report.py``.
    """
    from moodreel.lab.ablation.seed_report import PICTURE, list_confusions, name_metric, tell_spread
    from moodreel.report.seeds import Panel, plot_confusion, plot_medians
    from moodreel.report.study import Bar

    rows = [row for row in scores.study.rows if scores.study.list_runs(row.key)]
    panels = []
    for metric in scores.metrics:
        bars: list[Bar | None] = []
        for row in rows:
            spread, paper = scores.summarise(row.key, metric.key), row.paper.get(metric.key)
            if spread is None:
                bars.append(None)
                continue
            values = tuple(value * metric.scale for value in spread.values)
            told = None if paper is None else (paper, None)
            bars.append(Bar(row.name, spread.median * metric.scale, math.nan, told, values))
        better = "" if metric.better == "more" else ", less is better"
        panels.append(Panel(name_metric(metric) + better, tuple(bars), metric.digits))
    names = [
        row.name if row.parameters is None else f"{row.name} ({row.parameters / 1e6:.2f} M)" for row in rows
    ]
    note = (
        f"medians, least to most over seeds; the paper's numbers are on {outline.paper_set}, another data set"
    )
    yield PICTURE, plot_medians(outline.title, names, panels, note)
    for row, run, spread in list_confusions(scores):
        metric = scores.metrics[0]
        title = f"{row.name}, seed {run.seed}: median run by {name_metric(metric)}"
        title += f"\n{tell_spread(spread, metric)} over seeds"
        counts = scores.count_confusions(run)
        yield f"confusion-{row.key}.png", plot_confusion(title, counts, scores.held_out.classes)
