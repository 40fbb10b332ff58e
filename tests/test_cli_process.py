"""The command line as a process: what it loads, signals, closed pipes, full disks."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from cli_runs import bundles_fixture, command, interrupt, names_in, place_fixture, run_fixture  # noqa: F401 (fixtures)
from runtime.tiny import RED, draw_gif


def test_help_imports_nothing_heavy():
    run = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "moodreel", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "predict" in run.stdout
    loaded = {line.rsplit("|", 1)[-1].strip().split(".")[0] for line in run.stderr.splitlines()}
    heavy = {"numpy", "torch", "onnxruntime", "av", "PIL", "pyarrow", "rich", "matplotlib", "jinja2"}
    assert "typer" in loaded
    assert loaded & heavy == set()


def test_predict_imports_no_more_than_it_needs(place, bundles):
    code = (
        "import sys; sys.argv = ['moodreel', 'predict', 'gifs/red.gif', '--model', sys.argv[1]]\n"
        "from moodreel.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print(*sorted({name.split('.')[0] for name in sys.modules}), file=sys.stderr)"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, bundles / "kavan"], capture_output=True, text=True, check=True, cwd=place
    )
    heavy = {"torch", "pyarrow", "rich", "matplotlib", "jinja2", "av", "lightning", "onnx"}
    assert set(run.stderr.split()) & heavy == set()


def test_module_and_ascii_terminal(place, bundles):
    run = command(
        "predict",
        "gifs/red.gif",
        "--model",
        bundles / "kavan",
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (run.returncode, run.stderr) == (0, "")
    assert "|" + "#" * 28 in run.stdout


@pytest.mark.parametrize("extra", [["--json"], []])
def test_a_closed_pipe_is_quiet(place, bundles, extra):
    ours, theirs = os.pipe()
    os.close(ours)  # the reader has left
    run = subprocess.run(
        [sys.executable, "-m", "moodreel", "predict", "gifs", "--model", bundles / "kavan", *extra],
        stdout=theirs,
        stderr=subprocess.PIPE,
        text=True,
        timeout=120,
    )
    os.close(theirs)
    assert (run.returncode, run.stderr) == (141, "")


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_interrupted_leaves_nothing(place, bundles, sent, code):
    for k in range(3):
        draw_gif(place / "many" / f"{k}.gif", RED, size=30)
    slow = (
        "import sys, time\n"
        "from moodreel.runtime import frame_reader\n"
        "real = frame_reader.open_media\n"
        "def slow(*args):\n    print('reading', flush=True)\n    time.sleep(0.5)\n    return real(*args)\n"
        "frame_reader.open_media = slow\n"
        "from moodreel.cli import main\n"
        "main()\n"
    )
    args = ["predict", "many", "--out", "m.csv", "--workers", "1", "--model", bundles / "kavan"]
    returned, err = interrupt(slow, args, sent, 0.1)
    assert returned == code
    assert "Traceback" not in err
    assert names_in(place) == ["gifs", "many"]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_full_disk_is_one_line(place, bundles, suffix):
    (place / f"m{suffix}").write_text("old")
    run = command(
        "predict", "gifs", "--out", f"m{suffix}", "--model", bundles / "kavan",
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100)),
    )  # fmt: skip
    assert run.returncode == 2
    assert run.stderr.startswith("moodreel: ")
    assert run.stderr.count("\n") == 1
    assert names_in(place) == ["gifs", f"m{suffix}"]
    assert (place / f"m{suffix}").read_text() == "old"
