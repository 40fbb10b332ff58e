"""A run's temperature fitted anew: against the networks' own logits, every set weighing the same."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch

from lab.stills import write_stills
from moodreel.lab import recalibrate
from moodreel.lab.data.clips import ClipDataset
from moodreel.lab.data.manifest import read_manifest, write_manifest
from moodreel.lab.export import export
from moodreel.lab.networks import load_run
from moodreel.lab.recalibrate import main
from moodreel.lab.train import train
from moodreel.runtime.bundle import read_bundle

RECIPE = """system = "kavan"
[model]
input_size = 32
[train]
epochs = 1
batch = 6
precision = "32"
validation_clips = 2
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of two sets, 6 and 2 of whose validation clips have a quadrant."""
    folder = tmp_path_factory.mktemp("recalibrate")
    manifests = []
    for name, count in (("many", 9), ("few", 3)):
        (folder / name).mkdir()
        manifests.append(write_stills(folder / name, ("happiness", "sadness", "neutral"), 9, count, 3))
        rows = [replace(row, group=f"{name} {row.group}") for row in read_manifest(manifests[-1]).rows]
        write_manifest(manifests[-1], rows)  # groups of their own
    (folder / "r.toml").write_text(RECIPE)
    train("kavan", manifests, folder / "run", folder / "r.toml")
    return folder / "run"


def test_every_set_weighs_the_same_by_hand(run, tmp_path, capsys, monkeypatch):
    """Logit gap 2, right in 6 of 6 and in 1 of 2: sigmoid(2 / T) = (1 + 1/2) / 2, so T = 2 / ln 3.

    By rows it would be right in 7 of 8, and T = 2 / ln 7.
    """

    def read(net, clips):
        label = torch.zeros(len(clips), dtype=torch.int64)
        label[0] = 1 if len(clips) == 2 else 0
        return torch.tensor([[2.0, 0.0, -torch.inf, -torch.inf]]).repeat(len(clips), 1), label

    monkeypatch.setattr(recalibrate, "_read", read)
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = json.loads((copy / "best.json").read_text())
    assert main([str(copy)]) == 0
    after = json.loads((copy / "best.json").read_text())
    assert after["temperature"]["classify"] == pytest.approx(2 / math.log(3), rel=1e-3)
    assert after["calibrated_on"] == {"many": 6, "few": 2}
    assert {k: v for k, v in after.items() if k not in ("temperature", "calibrated_on")} == {
        k: v for k, v in before.items() if k != "temperature"
    }
    assert "many (6), few (2)" in capsys.readouterr().out


def test_logits_are_those_of_validation_clips_that_have_a_quadrant(run, monkeypatch):
    recipe, net = load_run(run)
    sets = []
    for entry in json.loads((run / "data.json").read_text()):
        rows = read_manifest(entry["manifest"]).select("val")
        rows = [row for row in rows if row.labels["ekman"] != "neutral"]
        clips = ClipDataset(rows, recipe.model, recipe.train.seed, train=False)
        read = [clips[i] for i in range(len(rows))]
        with torch.inference_mode():
            out = net(net.normalise(torch.stack([clip["frames"] for clip in read]))).logits[:, -1]
        sets.append((out, torch.stack([clip["category"] for clip in read])))
    asked = []
    monkeypatch.setattr(recalibrate, "fit_temperature", lambda *given: asked.append(given) or 1.0)
    monkeypatch.setattr(recalibrate, "write_json", lambda path, value: None)
    recalibrate.recalibrate(run)
    ((logits, labels, _),) = asked
    torch.testing.assert_close(logits, torch.cat([out for out, _ in sets]))
    assert torch.equal(labels, torch.cat([label for _, label in sets]))


def test_bundle_and_card_say_so(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    main([str(copy)])
    found = json.loads((copy / "best.json").read_text())["temperature"]["classify"]
    export(copy, tmp_path / "b", score=False)
    bundle = read_bundle(str(tmp_path / "b"))
    assert bundle.info.training["calibrated_on"] == {"many": 6, "few": 2}
    assert f"on validation, every set weighing the same: classify {found:.3f}" in bundle.read_card()


def test_refusals(run, tmp_path, capsys):
    assert main([str(tmp_path)]) == 2
    assert "not a run folder" in capsys.readouterr().err
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    facts = json.loads((copy / "data.json").read_text())
    facts[1]["sha256"] = "0" * 64
    (copy / "data.json").write_text(json.dumps(facts))
    kept = (copy / "best.json").read_bytes()
    assert main([str(copy)]) == 2
    assert "is not the one the run was given" in capsys.readouterr().err
    assert (copy / "best.json").read_bytes() == kept


def test_refuses_another_system(run, tmp_path, capsys):
    manifest = json.loads((run / "data.json").read_text())[0]["manifest"]
    (tmp_path / "r.toml").write_text(RECIPE.replace("kavan", "face").replace("validation_clips = 2\n", ""))
    train("face", [manifest], tmp_path / "run", tmp_path / "r.toml")
    assert main([str(tmp_path / "run")]) == 2
    assert "expected 'kavan'" in capsys.readouterr().err
