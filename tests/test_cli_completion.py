"""Completion in the shells themselves: what the Tab key offers."""

import shutil
import subprocess
import sys

import pytest

from moodreel.runtime.bundle import list_bundles
from shell import run_lines

BUNDLES = list_bundles()

CASES = [
    ("moodreel pre", ["predict"]),
    ("moodreel votes ", ["check", "score"]),
    ("moodreel predict a.gif --mo", ["--model"]),
    ("moodreel predict --model ", BUNDLES),
    ("moodreel predict --model k", ["kavan"]),
    ("moodreel train sta --init s", ["sta"]),
    ("moodreel evaluate f", ["face"]),
    ("moodreel predict --model ./", []),  # then the shell goes on with files
]


def need(shell):
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")


@pytest.mark.parametrize(("line", "offered"), CASES)
def test_bash(tmp_path, line, offered):
    words = [f"'{word}'" for word in line.split(" ")]
    found = run_lines(
        'eval "$(_MOODREEL_COMPLETE=source_bash moodreel)"\n'
        "complete -p moodreel | grep -q -- '-o default'\n"
        f"COMP_WORDS=({' '.join(words)}); COMP_CWORD={len(words) - 1}\n"
        "_moodreel_completion moodreel || true\n"
        "printf '%s\\n' \"${COMPREPLY[@]}\"",
        tmp_path,
    )
    assert sorted(found.split()) == offered


def test_zsh(tmp_path):
    """The script is one that zsh reads, and what it is given to evaluate names what is on offer."""
    need("zsh")
    run_lines("_MOODREEL_COMPLETE=source_zsh moodreel > script; zsh -n script", tmp_path)
    for line, offered in CASES:
        # in place of zsh's own function, which only works under the Tab key
        found = run_lines(
            "compdef() {}; _arguments() { print -r -- $1 }; _files() { print files }\n"
            f"LINE='{line}'; words=(${{(s: :)LINE}}); [[ $LINE == *' ' ]] && words+=('')\n"
            "CURRENT=$#words; source script; _moodreel_completion",
            tmp_path,
            ("zsh", "-f"),
        )
        assert [word for word in offered if f'"{word}"' not in found] == []
        assert (found.strip() == "files") == (not offered)


def test_fish(tmp_path):
    need("fish")
    run_lines("_MOODREEL_COMPLETE=source_fish moodreel > script", tmp_path)
    for line, offered in CASES:
        found = run_lines(f"source script; complete -C '{line}'", tmp_path, ("fish", "--no-config"))
        names = sorted(row.split("\t")[0] for row in found.splitlines())
        assert [name for name in names if not name.startswith("./")] == offered


def test_nothing_heavy_is_loaded():
    code = (
        "import atexit, os, sys\n"
        "atexit.register(lambda: print(*sys.modules))\n"
        "os.environ |= {'_MOODREEL_COMPLETE': 'complete_bash', 'COMP_CWORD': '3',\n"
        "               'COMP_WORDS': 'moodreel predict --model '}\n"
        "from moodreel.cli import main\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    *names, modules = done.stdout.splitlines()
    assert names == BUNDLES, done.stderr
    assert {"numpy", "av", "PIL", "onnxruntime", "pyarrow"} & set(modules.split()) == set()
