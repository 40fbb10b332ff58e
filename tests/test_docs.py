"""The documents against the code: links lead somewhere, named code and options exist."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from moodreel.cli import app
from moodreel.emotions import VOCABULARIES

ROOT = Path(__file__).resolve().parents[1]
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]

LINK = re.compile(r"\]\(([^)\s]+)\)")
FENCE = re.compile(r"^ *```.*?^ *```", re.MULTILINE | re.DOTALL)
CODE = re.compile(r"^ *```\w*\n(.*?)^ *```|`([^`]+)`", re.MULTILINE | re.DOTALL)
NAMED = re.compile(r"`([\w./-]+\.py):(?:\d+:)? ([\w.]+)`")
COMMAND = re.compile(r"\bmoodreel ([a-z]+)\b([^&|;\n]*)")
OPTION = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")

sys.path.insert(0, str(ROOT / "tools"))
import equations  # noqa: E402

each_doc = pytest.mark.parametrize("doc", DOCS, ids=lambda path: path.name)


def list_anchors(path):
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", path.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def list_names(path):
    """Top-level names of a module, and ``Class.member``."""
    names = set()
    for node in ast.parse(path.read_text("utf-8")).body:
        targets = getattr(node, "targets", [getattr(node, "target", node)])
        own = {getattr(target, "id", getattr(target, "name", None)) for target in targets}
        names |= own
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{part.name}" for part in node.body if hasattr(part, "name")}
    return names


def list_commands(text):
    """(verb, its options, the text they are in) of every ``moodreel VERB ...`` in code."""
    for block, span in CODE.findall(text):
        for verb, rest in COMMAND.findall((block or span).replace("\\\n", " ")):
            yield verb, OPTION.findall(rest), rest


def find_command(verb, rest):
    """The command that a text names; of a group such as ``votes``, the verb that follows."""
    found = typer.main.get_command(app).commands[verb]
    words = re.findall(r"^ +([a-z]+)\b", rest)
    return found.commands[words[0]] if words and hasattr(found, "commands") else found


@each_doc
def test_links_lead_somewhere(doc):
    for link in LINK.findall(FENCE.sub("", doc.read_text("utf-8"))):
        if re.match(r"[a-z]+:", link):
            continue
        file, _, anchor = link.partition("#")
        target = (doc.parent / file).resolve() if file else doc
        assert target.exists(), link
        assert not anchor or anchor in list_anchors(target), link


@each_doc
def test_named_code_exists(doc):
    for file, name in NAMED.findall(doc.read_text("utf-8")):
        path = (ROOT if file.startswith("tests/") else ROOT / "src" / "moodreel") / file
        assert path.is_file(), file
        assert name in list_names(path), f"{file}: {name}"


@each_doc
def test_options_are_those_of_the_verb(doc):
    verbs = typer.main.get_command(app).commands
    for verb, options, rest in list_commands(doc.read_text("utf-8")):
        assert verb in verbs, f"moodreel {verb}"
        command = find_command(verb, rest)
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert set(options) <= known, f"moodreel {verb}"


@pytest.mark.parametrize(("page", "last"), [("kavan.md", 12), ("sta.md", 4)])
def test_every_equation_is_in_its_table(page, last):
    rows = [line.split("|") for line in (ROOT / "docs" / page).read_text("utf-8").splitlines()]
    numbers = {
        int(number)
        for row in rows
        if len(row) == 5 and row[1].startswith(" Eq.") and NAMED.search(row[2])
        for number in re.findall(r"\d+", row[1].partition(":")[0])
    }
    assert numbers == set(range(1, last + 1))


@pytest.mark.parametrize("tool", ["architecture.py", "equations.py", "readme.py"])
def test_what_scripts_write_is_what_they_would_write_now(tool):
    """The house from its imports, the lines of the equations, README's numbers from bundles and results."""
    done = subprocess.run([sys.executable, ROOT / "tools" / tool, "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_vocabulary_is_in_the_manifests_table():
    page = (ROOT / "docs" / "formats.md").read_text("utf-8")
    row = re.search(r"^\| `label_<vocabulary>` \|.*$", page, re.MULTILINE)[0]
    assert set(VOCABULARIES) == set(re.findall(r"`([a-z]+)`", row))


def test_a_line_is_that_of_the_comment(tmp_path):
    path = tmp_path / "x.py"
    path.write_text(
        '"""Eq. 1"""\n\n\nclass A:\n    def f(self):\n        """Eq. 1-3"""\n        a = 1  # Eq. 2 and 3\n'
        "        return a  # Eq. 1\n\n\nB = 2  # Eq. 9\n"
    )
    assert [equations.find_line(path, "A.f", numbers) for numbers in ({1}, {2, 3}, set())] == [8, 7, 5]
    assert equations.find_line(path, "A", set()) == 4
    assert equations.find_line(path, "B", {9}) == 11
    with pytest.raises(LookupError, match=r"no comment in A\.f says Eq\. 9"):
        equations.find_line(path, "A.f", {9})
    with pytest.raises(LookupError, match="no C"):
        equations.find_line(path, "C", set())
    assert equations.read_numbers("Eq. 5, 10 and Eq. 1-3, and Fig. 7") == {1, 2, 3, 5, 10}


def test_what_the_checks_find():
    text = "`moodreel train X --data M`\n```\nmoodreel a --b \\\n --c && x --d\n```"
    assert [found[:2] for found in list_commands(text)] == [("train", ["--data"]), ("a", ["--b", "--c"])]
    assert find_command("votes", " score V.csv --out S.csv").name == "score"
    assert find_command("votes", "").name == "votes"
    with pytest.raises(KeyError):
        find_command("votes", " count V.csv")
    names = list_names(Path(__file__))
    assert {"ROOT", "list_names", "test_links_lead_somewhere"} <= names
    assert "nobody" not in names
    assert "exit-codes" in list_anchors(ROOT / "docs/formats.md")
