"""Walks the newcomer's path in a fresh environment: what was typed, what came, and how long it took.

    python benchmarks/newcomer.py [--write docs/newcomer.md] [--keep FOLDER]

The commands of README.md and docs/own_data.md are taken from there, word for word. Needs bash, curl, git and
a package index; takes half an hour, most of it training. Writes DATE-COMMIT-newcomer.json and .md into
benchmarks/results, and with --write the same page, so that what the documents say of it is what happened.
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from machine import RESULTS, ROOT, describe_machine, stamp, write_results

from moodreel.runtime.machine import format_machine

CLASSES = ("anger", "fear", "happiness", "sadness", "surprise")
"""Of the newcomer's own set: clips a cartoonist sorted into folders."""

OF_EACH = 20

LINES = 24
"""Of a command's output that are shown, at most; the middle is left out."""

SORT = f"""\
import csv, pathlib, shutil
classes = {CLASSES!r}
rows = [row for row in csv.DictReader(open("toon/manifest.csv")) if row["score_anger"]]
for emotion in classes:
    shown = [row for row in rows if emotion == max(classes, key=lambda name: float(row["score_" + name]))]
    shown.sort(key=lambda row: -float(row["score_" + emotion]))
    pathlib.Path("mine", emotion).mkdir(parents=True)
    for row in shown[:{OF_EACH}]:
        shutil.copy(pathlib.Path("toon", row["clip"]), pathlib.Path("mine", emotion))
    print(emotion, len(shown[:{OF_EACH}]))
"""

NOISE = re.compile(
    r"\s*(Looking in|Collecting|Requirement|Processing|Installing|Getting|Preparing|Building|Created|Stored|"
    r"Using|Downloading|Defaulting|\[notice\]|WARNING: Location|Epoch \d)|.*(it/s|━)"
)
"""What pip and bars of progress print on their way."""


@dataclass(frozen=True)
class Step:
    """Something a newcomer does.

    Attributes:
        title: what for.
        commands: for bash, as they are shown.
        measures: environment whose size is taken afterwards, or "".
    """

    title: str
    commands: str
    measures: str = ""


def read_fence(page: str, before: str) -> str:
    """The commands that follow a line of a page."""
    text = (ROOT / page).read_text("utf-8")
    return text.partition(before)[2].partition("```\n")[2].partition("```")[0].strip()


def list_steps() -> list[Step]:
    readme = read_fence("README.md", "Install it and tag the example animations:")
    serve = "\n".join(
        [
            "moodreel serve --table moods.parquet --media examples --votes votes.sqlite --port 8791 &",
            "curl -s --retry 20 --retry-connrefused --retry-delay 1 http://127.0.0.1:8791/healthz && echo",
            "curl -s -F files=@examples/anger.gif http://127.0.0.1:8791/api/predict | head -c 300",
            "echo",
            "kill -INT %1 && wait",
        ]
    )
    own = read_fence("docs/own_data.md", "<!-- run -->\n")
    python = (
        "import pathlib\n\nimport moodreel\n\n"
        'mood = moodreel.load("bundles/mine")\n'
        'result = mood(min(pathlib.Path("mine/anger").iterdir()))\n'
        'print(result.source, result.emotions["anger"], result.category)'
    )
    return [
        Step("Install and tag the examples (README's first command)", readme, ".venv"),
        Step("Is it whole?", "moodreel doctor"),
        Step("A folder to a table, a report and overlays",
             "moodreel predict examples --out moods.parquet --report report --overlay overlays\n"
             "ls report overlays"),
        Step("The extra for search and the web app", 'pip install -q ".[web]"', ".venv"),
        Step("Search",
             'moodreel search moods.parquet "happiness > -0.3"\n'
             "moodreel search moods.parquet --like anger.gif --limit 3"),
        Step("The web app", serve),
        Step("The extra for training", 'pip install -q ".[lab]"', ".venv"),
        Step("Cartoons to play with, their votes to intensities",
             "moodreel synth toon --clips 300 --seed 11\n"
             "moodreel votes score toon/votes.csv --out scores.csv\n"
             "moodreel votes check toon/votes.csv"),
        Step("A set of one's own: a folder a class", f"python - <<'PY'\n{SORT}PY"),
        Step("Fine-tune the bundle on it, export, compare, use (docs/own_data.md)", own),
        Step("The new bundle in Python", f"python - <<'PY'\n{python}\nPY"),
    ]  # fmt: skip


def walk(folder: Path) -> list[dict[str, Any]]:
    """Takes all steps; the first that fails ends the walk."""
    clone = folder / "moodreel"
    subprocess.run(["git", "clone", "-q", str(ROOT), str(clone)], check=True)
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TERM") if name in os.environ}
    pips = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    path = os.pathsep.join([str(clone / ".venv" / "bin"), os.environ["PATH"]])
    environment = {**kept, **pips, "PATH": path, "COLUMNS": "110"}
    taken = []
    for step in list_steps():
        print(f"{step.title} ...", file=sys.stderr, flush=True)
        begin = time.perf_counter()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", step.commands],
            cwd=clone,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        seconds = time.perf_counter() - begin
        output = clean(done.stdout, clone)
        taken.append({"title": step.title, "commands": step.commands, "seconds": seconds, "output": output})
        if step.measures:
            taken[-1]["megabytes"] = measure_size(clone / step.measures)
        if done.returncode != 0:
            raise SystemExit(f"{step.title}: exit code {done.returncode}\n{output[-3000:]}")
    return taken


def clean(output: str, clone: Path) -> str:
    """What a command printed, without bars of progress, colours and this machine's folders."""
    output = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", output)
    lines = [line.rpartition("\r")[2].rstrip() for line in output.splitlines()]
    lines = [line for line in lines if line and not NOISE.match(line)]
    text = "\n".join(lines).replace(str(clone) + "/", "").replace(str(clone), ".")
    lines = [line if len(line) <= 130 else line[:127] + "..." for line in text.splitlines()]
    if len(lines) > LINES:
        left_out = len(lines) - LINES + 1
        lines = [*lines[: LINES // 2], f"[... {left_out} lines]", *lines[-(LINES - LINES // 2 - 1) :]]
    return "\n".join(lines)


def measure_size(folder: Path) -> float:
    """Megabytes of the files below a folder."""
    return (
        sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
        / 1e6
    )


def tell(facts: dict[str, Any]) -> str:
    lines = [
        "# A newcomer's walk",
        "",
        f"Written by `python benchmarks/newcomer.py --write docs/newcomer.md` on {facts['date']} at",
        f"{facts['commit']}: a clone, a fresh environment, and what README and [own labels](own_data.md)",
        "say, typed in this order. Seconds are by the clock, with downloads. A step that fails ends the",
        "script, so all of these went well.",
        "",
        *format_machine(facts["machine"]),
        "",
        "| step | seconds | environment afterwards |",
        "|---|---|---|",
    ]
    for step in facts["steps"]:
        size = f"{step['megabytes']:.0f} MB" if "megabytes" in step else ""
        lines.append(f"| {step['title']} | {step['seconds']:.1f} | {size} |")
    lines.append(f"| all | {sum(step['seconds'] for step in facts['steps']):.0f} | |")
    for step in facts["steps"]:
        lines += ["", f"## {step['title']}", "", "```", step["commands"], "```", ""]
        lines += [f"{step['seconds']:.1f} s:", "", "```text", step["output"] or "(nothing printed)", "```"]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--write", type=Path, metavar="PAGE")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="walk here, and leave what comes of it")
    options = parser.parse_args()
    facts: dict[str, Any] = {**stamp(), "machine": describe_machine(("moodreel",))}
    with tempfile.TemporaryDirectory(prefix="newcomer-") as folder:
        facts["steps"] = walk(options.keep or Path(folder))
    report = tell(facts)
    write_results(facts, report, RESULTS, "newcomer")
    if options.write is not None:
        options.write.write_text(report, encoding="utf-8")


if __name__ == "__main__":
    main()
