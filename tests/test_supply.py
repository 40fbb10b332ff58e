"""What is installed, and that nothing asks the network for anything."""

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
EXAMPLES = ROOT / "examples"

OFFLINE = """
import sys
def refuse(event, args):
    if event.startswith(("socket.", "urllib.", "http.")):
        raise PermissionError(f"asks the network: {event}")
sys.addaudithook(refuse)
from moodreel.cli import main
main()
"""
"""The command line; whoever makes a socket is refused."""


def list_requirements():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    groups = {"core": project["dependencies"], **project["optional-dependencies"]}
    return [(group, Requirement(line)) for group, lines in groups.items() for line in lines]


def test_every_requirement_has_a_lower_bound():
    for group, wanted in list_requirements():
        if wanted.name != "moodreel":
            assert any(entry.operator == ">=" for entry in wanted.specifier), f"{group}: {wanted}"


def test_what_ci_installs_is_within_the_bounds():
    lines = (ROOT / ".ci" / "constraints.txt").read_text("utf-8").splitlines()
    pins = dict(line.split("==") for line in lines if not line.startswith("#"))
    assert all(re.fullmatch(r"[0-9][0-9a-z.]*", version) for version in pins.values())
    for group, wanted in list_requirements():
        if group not in ("core", "lab", "faces", "fast", "dev") or wanted.name == "moodreel":
            continue
        assert wanted.name in pins, f"{group}: {wanted.name}: run .ci/lock.py"
        assert wanted.specifier.contains(pins[wanted.name]), f"{group}: {wanted}"
    assert "PIP_CONSTRAINT" in (ROOT / ".ci" / "run").read_text("utf-8")
    asked = re.search(r"torch==([\d.]+)", (ROOT / "README.md").read_text("utf-8"))[1]
    assert pins["torch"] == asked


def call(folder, *args):
    # where it is allowed, in a network without a single address as well
    alone = ["unshare", "-rn"] if shutil.which("unshare") else []
    if alone and subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        alone = []
    return subprocess.run(
        [*alone, sys.executable, "-c", OFFLINE, *map(str, args)],
        capture_output=True, text=True, cwd=folder, timeout=300, check=False,
    )  # fmt: skip


def test_a_socket_is_seen():
    code = OFFLINE.replace("from moodreel.cli import main\nmain()", "import socket; socket.socket()")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "asks the network: socket.__new__" in done.stderr


@pytest.mark.parametrize("model", ["kavan", "face", "caca-rnn", "sta"])
def test_nothing_asks_the_network(tmp_path, model):
    clips = sorted(EXAMPLES.glob("*.gif"))[:2]
    drawn = (
        ["--report", "page", "--overlay", "drawn"] if model in ("kavan", "sta") else ["--out", "t.parquet"]
    )
    faces = ["--detector", "frame"] if model in ("caca-rnn", "sta") else []
    done = call(tmp_path, "predict", *clips, "--model", model, *faces, *drawn)
    assert done.returncode == 0, done.stderr
    if model == "sta":
        done = call(tmp_path, "trace", clips[0], "--detector", "frame", "--out", "t.csv", "--plot", "t.png")
        assert done.returncode == 0, done.stderr


def test_an_address_is_no_file(tmp_path):
    done = call(tmp_path, "predict", "http://example.org/a.gif", EXAMPLES / "anger.gif", "--json")
    assert done.returncode == 1
    assert '"no such file"' in done.stdout


def test_a_run_without_what_windows_lacks(tmp_path):
    """Modules that only Unix has are asked for where they are used, and done without."""
    code = (
        "import sys\n"
        "for name in ('fcntl', 'resource', 'termios', 'pwd', 'grp'):\n"
        "    sys.modules[name] = None\n"
        "from moodreel.cli import main; main()"
    )
    command = [sys.executable, "-c", code, "predict", str(EXAMPLES), "--out", "moods"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert done.returncode == 0, done.stderr
    assert any((tmp_path / "moods").glob("*.parquet"))
