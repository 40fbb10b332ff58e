"""The whole way on the command line: train, resume, export, evaluate, predict."""

import json
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from moodreel.lab.data.manifest import Row, write_manifest


def moodreel(*arguments, folder):
    command = [sys.executable, "-m", "moodreel", *map(str, arguments)]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=300, check=False)


@pytest.fixture
def place(tmp_path):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(24):
        kind, level = [("happiness", 200), ("anger", 60)][i % 2]
        Image.fromarray(rng.normal(level, 10, (32, 32)).clip(0, 255).astype(np.uint8)).save(
            tmp_path / f"{i}.png"
        )
        split = "train" if i < 12 else "val" if i < 18 else "test"
        rows.append(Row(tmp_path / f"{i}.png", f"g{i}", split, labels={"ekman": kind}))
    write_manifest(tmp_path / "m.csv", rows)
    settings = '[model]\ninput_size = 32\n[train]\nepochs = 1\nbatch = 4\nprecision = "32"\n'
    (tmp_path / "r.toml").write_text(settings)
    return tmp_path


def test_train_export_evaluate_predict(place):
    done = moodreel("train", "face", "--data", "m.csv", "--out", "run", "--recipe", "r.toml", folder=place)
    assert done.returncode == 0, done.stderr
    done = moodreel("export", "run", "--out", "mine", folder=place)
    assert done.returncode == 0, done.stderr
    done = moodreel("evaluate", "mine", "--data", "m.csv", "--out", "s.json", folder=place)
    assert done.returncode == 0, done.stderr
    scores = json.loads((place / "s.json").read_text())
    assert scores["m"]["clips"] == 6
    assert "accuracy" in done.stdout
    done = moodreel("predict", "0.png", "--model", "./mine", "--json", folder=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "face", "--data", "none.csv", "--out", "run"], "none.csv: cannot read the manifest"),
        (["train", "sta", "--data", "m.csv", "--out", "run"], "system = 'sta': expected face or kavan"),
        (["export", "nowhere", "--out", "b"], "nowhere: not a run folder"),
        (["evaluate", "nowhere", "--data", "m.csv"], "nowhere"),
    ],
)
def test_wrong_commands_are_one_line(place, arguments, message):
    done = moodreel(*arguments, folder=place)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
