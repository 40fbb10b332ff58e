"""The written report of a study over seeds: its tables as Markdown and CSV, and how they were made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from moodreel.lab.ablation.seed_scores import Metric, Ordering, SeedScores, Spread
from moodreel.lab.ablation.sheets import (
    Table,
    count_verdicts,
    format_bounds,
    to_csv,
    to_markdown,
    write_sheets,
    write_text,
)
from moodreel.lab.protocols import judge
from moodreel.lab.seed_study import Run, StudyRow

PICTURE = "table.png"
"""Of the table of medians."""

MEDIAN = (
    "Each number is the median over the seeds, metric by metric, with the least and the most in brackets: "
    "two numbers of a row may be of different runs. (Of an even number of runs, the mean of the middle two.)"
)


@dataclass(frozen=True)
class Outline:
    """What a report says beside its numbers.

    Attributes:
        title: of the report.
        paper_set: data set of the paper's numbers.
        orderings: what the paper says is better than what.
        pairs: (row, other) of which "row minus other" is told; () for every two rows, the later one first.
        notes: how it was made, a line each.
        free: names of facts that the report leaves out, such as paths.
        failed: clips that could not be read; they are in no number.
    """

    title: str
    paper_set: str
    orderings: tuple[Ordering, ...] = ()
    pairs: tuple[tuple[str, str], ...] = ()
    notes: tuple[str, ...] = ()
    free: tuple[str, ...] = ("manifest",)
    failed: int = 0

    @property
    def paper(self) -> str:
        """Head of every column with the paper's numbers."""
        return f"paper, {self.paper_set} (another data set)"


def write_seed_report(scores: SeedScores, outline: Outline) -> list[Path]:
    """Writes every table (.csv, .md), ``values.csv`` and ``report.md`` into the study's folder.

    Args:
        scores: of the study.
        outline: what is said beside.

    Returns:
        the files; the same results give the same bytes.

    Raises:
        SettingsError: an ordering names a part of the test items that there is not.
        OSError: a file cannot be written.
    """
    out = scores.study.out
    tables = {
        "table": format_medians(scores, outline),
        "orders": format_orders(scores, [order for order in outline.orderings if not order.part]),
        "orders-parts": format_orders(scores, [order for order in outline.orderings if order.part]),
    }
    for metric in scores.metrics:
        tables[f"differences-{metric.key}"] = format_differences(scores, metric, outline.pairs)
        tables[f"parts-{metric.key}"] = format_parts(scores, metric)
    for row, run, _ in list_confusions(scores):
        tables[f"confusion-{row.key}"] = format_confusions(scores, run)
    written = write_sheets(out, tables)
    written.append(write_text(out / "values.csv", to_csv(list_values(scores))))
    written.append(write_text(out / "report.md", _compose(scores, outline, tables)))
    return written


def format_medians(scores: SeedScores, outline: Outline) -> Table:
    """One line a row that has a finished run: parameters, medians, the paper's numbers if any; head first."""
    head = ["network", "parameters"]
    told = {key for row in scores.study.rows for key in row.paper}
    for metric in scores.metrics:
        head.append(name_metric(metric))
        if metric.key in told:
            head.append(f"{name_metric(metric)}: {outline.paper}")
    table = [[*head, "seeds"]]
    for row in scores.study.rows:
        runs = scores.study.list_runs(row.key)
        if not runs:
            continue
        line = [row.name, "" if row.parameters is None else f"{row.parameters:,}"]
        for metric in scores.metrics:
            line.append(tell_spread(scores.summarise(row.key, metric.key), metric))
            if metric.key in told:
                paper = row.paper.get(metric.key)
                line.append("" if paper is None else f"{paper:.{metric.digits}f}")
        table.append([*line, str(len(runs))])
    return table


def format_parts(scores: SeedScores, metric: Metric) -> Table:
    """The same metric on parts of the test items; head first. A head alone where there are none."""
    held_out = scores.held_out
    if held_out is None or not held_out.parts or metric.statistic is None:
        return [["network"]]
    sizes = {name: int(mask.sum()) for name, mask in held_out.parts.items()}
    table = [["network", f"all ({len(held_out.groups)})", *(f"{name} ({n})" for name, n in sizes.items())]]
    for row in scores.study.rows:
        spreads = [scores.summarise(row.key, metric.key, part) for part in ("", *held_out.parts)]
        if spreads[0] is not None:
            table.append([row.name, *(tell_spread(spread, metric) for spread in spreads)])
    return table


def format_differences(
    scores: SeedScores, metric: Metric, pairs: Sequence[tuple[str, str]] = ()
) -> list[list[str]]:
    """Paired differences of a metric; head first.

    Args:
        scores: of the study.
        metric: of them.
        pairs: (row, other); () for every two rows, the later one first.
    """
    table = [["row", "minus", "mean difference", "over seeds", "over test groups", "seeds"]]
    names = {row.key: row.name for row in scores.study.rows}
    for row, other in pairs or [(later, earlier) for earlier, later in combinations(names, 2)]:
        difference = scores.compare(row, other, metric.key)
        if difference is not None:
            mean = f"{difference.interval.mean * metric.scale:+.{metric.digits}f}"
            bounds = _tell_bounds(difference.bounds, metric)
            table.append([names[row], names[other], mean, *bounds, str(difference.interval.count)])
    return table


def format_orders(scores: SeedScores, orderings: Sequence[Ordering]) -> list[list[str]]:
    """The paper's orderings, its own numbers, and whether they hold here; head first.

    Raises:
        SettingsError: an ordering names a part of the test items that there is not.
    """
    head = ["paper", "says", "its numbers", "here", "mean difference", "over seeds", "over test groups"]
    rows = {row.key: row for row in scores.study.rows}
    table = [head]
    for order in orderings:
        metric = scores.by_key[order.metric]
        if order.better not in rows or order.worse not in rows:
            continue
        difference = scores.compare(order.better, order.worse, order.metric, order.part)
        if difference is None:
            continue
        better, worse = rows[order.better], rows[order.worse]
        numbers = [row.paper.get(metric.key) for row in (better, worse)]
        told = " and ".join(f"{value:.{metric.digits}f}" for value in numbers if value is not None)
        where = f"; on {order.part}" if order.part else ""
        interval = difference.interval
        table.append(
            [
                f"{order.source}, {metric.title}" if order.source else metric.title,
                f"{better.name} better than {worse.name}{where}",
                "" if order.part or None in numbers else told,
                judge(interval.mean * metric.sign, difference.bounds, interval.count, "seed"),
                f"{interval.mean * metric.scale:+.{metric.digits}f}",
                *_tell_bounds(difference.bounds, metric),
            ]
        )
    return table


def format_confusions(scores: SeedScores, run: Run) -> list[list[str]]:
    """Counts of a run, a line a true class, a column a predicted one; head first."""
    assert scores.held_out is not None
    counts = scores.count_confusions(run)
    assert counts is not None
    classes = scores.held_out.classes
    body = [[name, *map(str, line)] for name, line in zip(classes, counts.tolist(), strict=True)]
    return [["true \\ predicted", *classes], *body]


def list_confusions(scores: SeedScores) -> Iterator[tuple[StudyRow, Run, Spread]]:
    """Rows with a confusion matrix: the run that is the median on the first metric, and that metric."""
    first = scores.metrics[0].key
    for row in scores.study.rows:
        run, spread = scores.find_median_run(row.key, first), scores.summarise(row.key, first)
        if run is not None and spread is not None and scores.count_confusions(run) is not None:
            yield row, run, spread


def list_values(scores: SeedScores) -> list[list[str]]:
    """Every value of every run, unrounded; head first."""
    keys = [metric.key for metric in scores.metrics]
    names = {row.key: row.name for row in scores.study.rows}
    table = [["row", "name", "seed", *keys]]
    for run in scores.study.runs:
        cells = [repr(run.scores[key]) if key in run.scores else "" for key in keys]
        table.append([run.row, names[run.row], str(run.seed), *cells])
    return table


def name_metric(metric: Metric) -> str:
    """A metric with its unit."""
    return f"{metric.title}, %" if metric.percent else metric.title


def tell_spread(spread: Spread | None, metric: Metric) -> str:
    """A median, its extremes in brackets."""
    if spread is None:
        return ""
    told = [f"{value * metric.scale:.{metric.digits}f}" for value in (spread.median, spread.low, spread.high)]
    return told[0] if len(spread.values) == 1 else f"{told[0]} ({told[1]} to {told[2]})"


def _tell_bounds(bounds: Sequence[tuple[float, float]], metric: Metric) -> list[str]:
    """Both intervals of a difference, the second empty where there is none."""
    scale = metric.scale
    told = [format_bounds(low * scale, high * scale, metric.digits, "seed") for low, high in bounds]
    return [*told, ""][:2]


def _compose(scores: SeedScores, outline: Outline, tables: Mapping[str, Table]) -> str:
    study = scores.study
    parts = [f"# {outline.title}", "", *_say_what(scores, outline), ""]
    parts += [
        f"The paper's numbers were measured on {outline.paper_set}, another data set: only orderings can be "
        "compared, never the numbers themselves.",
        "",
        "## Medians",
        "",
        to_markdown(tables["table"]),
        f"{MEDIAN}{_say_missing(scores)}",
        "",
        f"![The table as a picture]({PICTURE})",
        "",
    ]
    if len(tables["orders"]) > 1:
        parts += ["## What holds here", "", to_markdown(tables["orders"])]
        parts += [
            f"{count_verdicts([line[3] for line in tables['orders'][1:]])} A difference is told from chance "
            "when every interval of it excludes 0.",
            "",
        ]
    told = [metric for metric in scores.metrics if len(tables[f"differences-{metric.key}"]) > 1]
    if told:
        parts += ["## Differences", ""]
        for metric in told:
            parts += [f"{_say_unit(metric)}:", "", to_markdown(tables[f"differences-{metric.key}"])]
        parts += [_say_differences(scores), ""]
    told = [metric for metric in scores.metrics if len(tables[f"parts-{metric.key}"]) > 1]
    if told:
        parts += ["## Parts of the test items", ""]
        for metric in told:
            parts += [f"{name_metric(metric)}:", "", to_markdown(tables[f"parts-{metric.key}"])]
        parts += ["In the head, how many test items a part has; medians as above.", ""]
    if len(tables["orders-parts"]) > 1:
        parts += [
            "The orderings on parts, of which the paper has none:",
            "",
            to_markdown(tables["orders-parts"]),
        ]
    confusions = list(list_confusions(scores))
    if confusions:
        title = scores.metrics[0].title
        parts += ["## Confusions", ""]
        parts += [f"Of the run whose {title} is the median (of an even number, the lower of two).", ""]
        for row, run, _ in confusions:
            parts += [f"![{row.name}, seed {run.seed}](confusion-{row.key}.png)", ""]
    facts = {name: value for name, value in study.facts.items() if name not in outline.free}
    parts += ["## Settings", "", "```", *_flatten(facts), "```"]
    return "\n".join(parts).rstrip() + "\n"


def _say_what(scores: SeedScores, outline: Outline) -> list[str]:
    """How it was made, as a list."""
    seeds = sorted({run.seed for run in scores.study.runs})
    lines = [
        f"- One fixed split; each network trained {len(seeds)} times, with the seeds "
        f"{', '.join(map(str, seeds))}.",
    ]
    if scores.held_out is not None:
        groups = scores.held_out.groups
        lines.append(f"- Test items: {len(groups)}, in {len(set(groups))} groups.")
    return [*lines, *(f"- {note}" for note in outline.notes)]


def _say_missing(scores: SeedScores) -> str:
    """Which rows lack runs that others have."""
    seeds = {run.seed for run in scores.study.runs}
    lacking = [
        f"{row.name} {len(seeds - {run.seed for run in scores.study.list_runs(row.key)})}"
        for row in scores.study.rows
        if {run.seed for run in scores.study.list_runs(row.key)} != seeds
    ]
    return f" **Not finished**, runs that are lacking: {', '.join(lacking)}." if lacking else ""


def _say_differences(scores: SeedScores) -> str:
    text = (
        'Differences are paired: same seed. "Over seeds" is Student\'s 95 % interval of the mean difference: '
        "what training again would change."
    )
    if any(metric.statistic is not None for metric in scores.metrics):
        text += (
            f' "Over test groups" is the 95 % percentile interval of the same mean over {scores.rounds} '
            "resamplings of the test groups: what other test items would change. Neither holds the other's "
            "chance."
        )
    return text


def _say_unit(metric: Metric) -> str:
    unit = f"{metric.title}, percentage points" if metric.percent else metric.title
    return unit if metric.better == "more" else f"{unit} (less is better)"


def _flatten(facts: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in facts.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name} = {value}"
