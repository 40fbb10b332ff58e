"""The verbs about votes: score, check."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from moodreel.cli.console import FAILED, WRONG, complain, stop, write

if TYPE_CHECKING:
    from moodreel.labels.rows import BadRow
    from moodreel.labels.votes import Ratings
    from moodreel.labels.votes_check import Contradictions, VoteCheck, Voter
    from moodreel.report.terminal import Style

app = typer.Typer(
    name="votes",
    help="Turn pairwise votes into labels, and check them.",
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

SHOWN = 20
"""Contradicted pairs and voters that a terminal gets; --json has more of the pairs and all of the voters."""

VoteCsv = Annotated[
    Path,
    typer.Argument(metavar="VOTES.csv", help="Columns emotion, left, right, choice; voter, time if known."),
]


@app.callback(invoke_without_command=True)
def root(context: typer.Context) -> None:
    """Turn pairwise votes ("which of the two shows more of this emotion?") into labels, and check them."""
    if context.invoked_subcommand is None:
        print(context.get_help(), file=sys.stderr)
        raise typer.Exit(WRONG)


@app.command()
def score(
    table: VoteCsv,
    out: Annotated[Path, typer.Option(metavar="scores.csv", help="Write a row for every item and emotion.")],
    strict: Annotated[
        bool, typer.Option("--strict", help="Stop at the first bad row and write nothing.")
    ] = False,
    mu: Annotated[
        float | None, typer.Option(metavar="X", help="Mean of an item without votes; default: 25.")
    ] = None,
    sigma: Annotated[
        float | None, typer.Option(metavar="X", help="Its standard deviation; default: 25/3.")
    ] = None,
    beta: Annotated[
        float | None, typer.Option(metavar="X", help="Noise of one showing; default: 25/6.")
    ] = None,
    tau: Annotated[
        float | None, typer.Option(metavar="X", help="Drift between two votes; default: 25/300.")
    ] = None,
    draw_probability: Annotated[
        float | None, typer.Option(metavar="P", help='Share of "neither" between equals; default: 0.1.')
    ] = None,
) -> None:
    """Rate every item by TrueSkill, each emotion on its own: mu, sigma and a score from -1 to 1.

    Bad rows are skipped and named on standard error.
    """
    _check_out(out, table)
    from moodreel.labels.votes import score_votes
    from moodreel.labels.votes_table import read_votes, write_ratings
    from moodreel.labels.votes_trueskill import TrueSkill
    from moodreel.runtime.files import replace_file

    asked = {"mu": mu, "sigma": sigma, "beta": beta, "tau": tau, "draw_probability": draw_probability}
    settings = TrueSkill(**{name: value for name, value in asked.items() if value is not None})
    if settings.mu != TrueSkill().mu:
        complain(f"--mu {settings.mu:g}: the score stays clip(mu, 0, 50) / 25 - 1, made for a mu of 25")
    held = read_votes(table, strict)
    _complain_of_rows(table, held.bad)
    ratings = score_votes(held.votes, settings)
    with replace_file(out) as file:
        write_ratings(ratings, file)
    _complain_of_width(ratings)
    emotions = len({*ratings.emotion.tolist()})
    told = f"{len(ratings)} ratings of {emotions} emotions from {len(held.votes)} votes"
    complain(f"{told}{_count_bad(held.bad)}: {out}")
    if held.bad:
        raise typer.Exit(FAILED)


@app.command()
def check(
    table: VoteCsv,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Show what votes are worth: coverage, contradictions, and voters who disagree with everyone.

    Bad rows are left out and named on standard error.
    """
    from moodreel.labels.votes_check import check_votes
    from moodreel.labels.votes_table import read_votes

    held = read_votes(table)
    _complain_of_rows(table, held.bad)
    found = check_votes(held.votes)
    if as_json:
        import json
        from dataclasses import asdict

        bad = [asdict(row) for row in held.bad]
        facts = {"file": str(table), "bad_rows": bad, **asdict(found)}
        write(json.dumps(facts, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
    else:
        from moodreel.report.terminal import Style

        write(_format_check(found, Style(sys.stdout)))
        if held.bad:
            complain(f"{len(found.coverage)} emotions, {found.votes} votes{_count_bad(held.bad)}: {table}")
    if held.bad:
        raise typer.Exit(FAILED)


def _check_out(out: Path, table: Path) -> None:
    """Finds what is wrong with --out before any work is done."""
    if out.suffix.lower() != ".csv":
        stop(f"--out {out}: expected a name that ends in .csv")
    if out.is_dir():
        stop(f"--out {out}: is a folder")
    if not out.parent.is_dir():
        stop(f"--out {out}: no folder {out.parent}")
    if out.exists() and table.exists() and out.samefile(table):
        stop(f"--out {out}: is the file of votes itself")


def _complain_of_rows(table: Path, bad: Sequence[BadRow]) -> None:
    for row in bad:
        complain(f"{table}:{row.line}: {row.reason}")


def _count_bad(bad: Sequence[BadRow]) -> str:
    return f", {len(bad)} bad {'row' if len(bad) == 1 else 'rows'} skipped" if bad else ""


def _complain_of_width(ratings: Ratings) -> None:
    """Says where there are too few votes to trust the scores."""
    from moodreel.labels.votes import WIDE

    wide = ratings.count_wide()
    if wide:
        counts = ", ".join(f"{emotion} {some} of {total}" for emotion, (some, total) in wide.items())
        limit = WIDE * ratings.settings.sigma
        complain(f"sigma is still above {limit:.4g} (half of what it starts with) for items of: {counts}")


def _format_check(found: VoteCheck, style: Style) -> str:
    from moodreel.labels.votes_check import FEW
    from moodreel.report.terminal import format_columns

    header = (
        "emotion",
        "votes",
        "neither",
        "items",
        "min",
        "median",
        "max",
        f"below {FEW}",
        "parts",
        "largest",
    )
    rows = [
        (c.emotion, str(c.votes), f"{c.neither:.0%}", str(c.items), str(c.fewest), f"{c.median:g}",
         str(c.most), str(c.thin), str(c.parts), str(c.largest))
        for c in found.coverage
    ]  # fmt: skip
    text = [style.paint("Coverage: votes an item", "bold") + "\n", format_columns(header, rows, style)]
    if any(c.parts > 1 for c in found.coverage):
        text.append("Items of different parts cannot be compared: no chain of votes connects them.\n")
    text += ["\n", _format_contradictions(found.contradictions, style), "\n"]
    if found.voters is None:
        text.append("Voters: not checked, there is no column voter.\n")
    else:
        text.append(_format_voters(found.voters, style))
    return "".join(text)


def _format_contradictions(found: Contradictions, style: Style) -> str:
    from moodreel.report.terminal import format_columns

    lines = [style.paint("Contradictions: pairs voted on both ways", "bold") + "\n"]
    by_one = "" if found.by_one_voter is None else f"; {found.by_one_voter} by one and the same voter"
    lines.append(
        f"{found.pairs} different pairs, {found.repeated} decided more than once, "
        f"{found.contradicted} of these both ways{by_one}\n"
    )
    if found.worst:
        header = ("emotion", "one", "other", "for one", "for other", "neither")
        rows = [
            (pair.emotion, pair.one, pair.other, str(pair.for_one), str(pair.for_other), str(pair.neither))
            for pair in found.worst[:SHOWN]
        ]
        lines.append(format_columns(header, rows, style))
        lines.append(_tell_more(found.contradicted, "pairs"))
    return "".join(lines)


def _format_voters(voters: Sequence[Voter], style: Style) -> str:
    from moodreel.labels.votes_check import LEAST
    from moodreel.report.terminal import format_columns

    lines = [style.paint("Voters: agreement with what all others say", "bold") + "\n"]
    verdicts = [voter.verdict for voter in voters]
    lines.append(
        f"{len(voters)} voters: {verdicts.count('against')} against the others, "
        f"{verdicts.count('guessing')} no better than guessing, {verdicts.count('ok')} ok, "
        f"{verdicts.count('few')} with fewer than {LEAST} votes to compare\n"
    )
    if voters:
        header = (
            "voter",
            "votes",
            "compared",
            "agreed",
            "others",
            "p chance",
            "p others",
            "left",
            "neither",
            "verdict",
        )
        rows = [
            (v.voter, str(v.votes), str(v.compared), _share(v.agreed / v.compared if v.compared else None),
             _share(v.others), _tail(v.p_chance), _tail(v.p_others), _share(v.left), _share(v.neither),
             v.verdict)
            for v in voters[:SHOWN]
        ]  # fmt: skip
        lines.append(format_columns(header, rows, style))
        lines.append(_tell_more(len(voters), "voters"))
    return "".join(lines)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _tail(value: float | None) -> str:
    return "-" if value is None else f"{value:.2g}"


def _tell_more(count: int, what: str) -> str:
    return f"and {count - SHOWN} more {what} (--json)\n" if count > SHOWN else ""
