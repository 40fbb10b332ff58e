"""What the verbs about raters print."""

from __future__ import annotations

from typing import Any

from moodreel.labels.agreement import Agreement, Disagreement
from moodreel.labels.gold import Gold
from moodreel.report.terminal import Style, format_columns

LINE = ("file", "raters", "seconds", "CC", "CCC", "lags", "CC after", "CCC after", "RMSE", "of the mean")
"""Header over the lines of :func:`format_line`."""


def format_agreement(found: Agreement, style: Style) -> str:
    """Means and differences as two tables. Returns lines, ending in a newline."""
    interval = f"{found.bootstrap.level * 100:g} % interval"
    header = ("emotion", "condition", "clips", "raters", "disagreement", interval)
    rows = [
        (_name_emotion(e), e.condition, str(e.clips), _number(e.raters, 2), _number(e.value), _interval(e))
        for e in found.means
    ]
    text = [style.paint("Disagreement: mean over clips of the variance among raters", "bold") + "\n"]
    text.append(format_columns(header, rows, style))
    if found.differences:
        header = ("emotion", "condition", "minus", "clips", "difference", interval)
        lines = [
            (_name_emotion(e), e.condition, e.other or "", str(e.clips), _number(e.value, signed=True),
             _interval(e, signed=True))
            for e in found.differences
        ]  # fmt: skip
        title = "Differences: over the clips that have both; above 0, the second condition has more consensus"
        text += ["\n", style.paint(title, "bold") + "\n", format_columns(header, lines, style)]
    return "".join(text)


def _name_emotion(entry: Disagreement) -> str:
    return "(mean)" if entry.emotion is None else entry.emotion


def _interval(entry: Disagreement, signed: bool = False) -> str:
    if entry.low != entry.low:
        return "-"
    return f"{_number(entry.low, signed=signed)} to {_number(entry.high, signed=signed)}"


def _number(value: float | None, digits: int = 4, signed: bool = False) -> str:
    if value is None or value != value:
        return "-"
    return f"{round(value, digits) + 0.0:{'+' if signed else ''}.{digits}f}"


def format_line(made: Gold, facts: dict[str, Any]) -> tuple[str, ...]:
    """One of several files as cells under :data:`LINE`.

    Args:
        made: of the file.
        facts: of :func:`moodreel.labels.gold_table.describe_gold`.
    """
    truth = facts["truth"] or {"gold": {"rmse": None}, "plain_mean": {"rmse": None}}
    known = [rater["lag_known"] for rater in facts["raters"]]
    return (
        made.source,
        str(len(made.raters)),
        _number(float(made.times[-1] - made.times[0]), 2),
        _number(facts["before"]["mean_cc"], 3),
        _number(facts["before"]["mean_ccc"], 3),
        "-" if None in known else f"{sum(known)} of {len(known)}",
        _number(facts["after"]["mean_cc"], 3),
        _number(facts["after"]["mean_ccc"], 3),
        _number(truth["gold"]["rmse"]),
        _number(truth["plain_mean"]["rmse"]),
    )


def format_gold(made: Gold, facts: dict[str, Any], style: Style) -> str:
    """The raters of one file, how their pairs agree, and the errors against a truth.

    Args:
        made: of the file.
        facts: of :func:`moodreel.labels.gold_table.describe_gold`.
        style: of the stream it goes to.

    Returns:
        Lines, ending in a newline.
    """
    step = "" if facts["step_s"] is None else f", every {facts['step_s']:g} s"
    text = [style.paint(f"{len(made.raters)} raters, {len(made.times)} instants{step}", "bold") + "\n"]
    rows = []
    for rater in facts["raters"]:
        note = "constant" if rater["constant"] else ""
        if rater["lag_known"] is False and not rater["constant"] and len(made.raters) > 1:
            note = "lag not known: no clear peak"
        rows.append(
            (rater["name"], f"{rater['missing']:.1%}", _number(rater["late_s"], 3),
             _number(rater["lag_peak"], 3), _number(rater["weight"], 3), note)
        )  # fmt: skip
    text.append(format_columns(("rater", "missing", "late (s)", "peak CC", "weight", ""), rows, style))
    if len(made.raters) > 1:
        before, after = facts["before"], facts["after"]
        text += [
            "\n",
            style.paint("Pairs of raters, lags taken off: CC above the diagonal, CCC below", "bold"),
        ]
        matrix = [
            (name, *(("" if a == b else _number(after["cc" if b > a else "ccc"][a][b], 3))
                     for b in range(len(made.raters))))
            for a, name in enumerate(made.raters)
        ]  # fmt: skip
        text += ["\n", format_columns(("", *made.raters), matrix, style)]
        text.append(
            f"as recorded -> lags taken off: mean CC {_number(before['mean_cc'], 3)} -> "
            f"{_number(after['mean_cc'], 3)}, mean CCC {_number(before['mean_ccc'], 3)} -> "
            f"{_number(after['mean_ccc'], 3)}\n"
        )
    if facts["truth"] is not None:
        header = ("against the truth", "instants", "RMSE", "CC", "CCC")
        lines = [
            (
                name.replace("_", " "),
                str(fit["instants"]),
                _number(fit["rmse"]),
                _number(fit["cc"]),
                _number(fit["ccc"]),
            )
            for name, fit in facts["truth"].items()
        ]
        text += ["\n", format_columns(header, lines, style)]
    return "".join(text)
