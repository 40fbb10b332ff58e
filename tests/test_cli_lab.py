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
    done = moodreel("evaluate", "mine", "--data", "m.csv", "--against", "run", folder=place)
    assert done.returncode == 0, done.stderr
    assert "+0.0000 to +0.0000" in done.stdout  # a bundle against the run it was made of
    done = moodreel("predict", "0.png", "--model", "./mine", "--json", folder=place)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "mine"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["train", "face", "--data", "none.csv", "--out", "run"], "none.csv: cannot read the manifest"),
        (["train", "emo", "--data", "m.csv", "--out", "run"], "system = 'emo': expected face or kavan"),
        (["export", "nowhere", "--out", "b"], "nowhere: not a run folder"),
        (["evaluate", "nowhere", "--data", "m.csv"], "nowhere"),
    ],
)
def test_wrong_commands_are_one_line(place, arguments, message):
    done = moodreel(*arguments, folder=place)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.fixture
def clips(tmp_path):
    """GIFs of twenty groups, one of them broken."""
    from moodreel.media import write_gif

    rng = np.random.default_rng(0)
    rows = []
    for i in range(40):
        frames = rng.integers(0, 255, (3, 24, 24, 3)).astype(np.uint8)
        write_gif(tmp_path / f"{i}.gif", frames, np.full(3, 0.1))
        scores = {name: float(rng.uniform(-1, 1)) for name in ("anger", "fear", "relief")}
        rows.append(Row(tmp_path / f"{i}.gif", f"g{i // 2}", scores=scores))
    (tmp_path / "5.gif").write_bytes(b"GIF89a?")
    write_manifest(tmp_path / "m.csv", rows)
    model = "[model]\ninput_size = 32\nframes = 2\ntiers = [2, 1]\nhidden = 4\n"
    train = '[train]\nepochs = 1\nbatch = 4\nprecision = "32"\nkeep_by = "nmse"\n'
    (tmp_path / "r.toml").write_text(model + train)
    return tmp_path


def test_ablate(clips):
    command = ["ablate", "kavan", "--data", "m.csv", "--out", "s", "--recipe", "r.toml", "--splits", "1"]
    command += ["--rows", "mean,histogram,mtl"]
    done = moodreel(*command, folder=clips)
    assert done.returncode == 1, done.stderr  # one clip is broken, all else done
    assert "5.gif" in done.stderr
    assert "1 clips could not be read" in done.stderr
    assert done.stdout.startswith("# Ablation of KAVAN on m")
    names = {path.name for path in (clips / "s").iterdir()}
    assert {f"table{n}.{kind}" for n in (1, 2) for kind in ("md", "csv", "png")} <= names
    assert {"report.md", "fig1.png", "fig5.png", "values.csv", "differences1.csv"} <= names


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["ablate", "face", "--data", "m.csv", "--out", "s"],
            "ablate face: expected one of kavan, caca-rnn, sta",
        ),
        (["ablate", "kavan", "--data", "m.csv", "--out", "a/b"], "no folder a"),
        (["ablate", "kavan", "--data", "m.csv", "--out", "s", "--detector", "x"], "--detector x: expected"),
    ],
)
def test_wrong_ablations_are_one_line(clips, arguments, message):
    done = moodreel(*arguments, folder=clips)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (clips / "s").exists()
