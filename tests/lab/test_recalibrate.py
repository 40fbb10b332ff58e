"""A run's temperatures fitted anew: against the networks' own logits, every set weighing the same."""

import json
import math
import shutil
from dataclasses import replace

import pytest
import torch

from lab.stills import write_stills
from moodreel.emotions import MEC_8
from moodreel.lab import recalibrate
from moodreel.lab.data.clips import ClipDataset
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.export import export
from moodreel.lab.networks import load_run
from moodreel.lab.recalibrate import main
from moodreel.lab.settings import Recipe
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.train import train
from moodreel.runtime.bundle import read_bundle
from moodreel.types import Result, SceneReading

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


@pytest.mark.parametrize(("enough", "odds"), [(1, 3), (2, 3), (4, 5), (50, 7)])
def test_every_set_weighs_the_same_by_hand(run, tmp_path, capsys, monkeypatch, enough, odds):
    """Logit gap 2, right in 6 of 6 and in 1 of 2: sigmoid(2 / T) = (1 + 1/2) / 2, so T = 2 / ln 3.

    Where a set counts as one from 4 clips on, the second is half a set, with 1/4 right and 1/4 wrong: odds
    of 5/4 to 1/4. From 50 on, clips weigh the same: 7 to 1.
    """

    def read(rows):
        rows = [row for row in rows if row.labels["ekman"] != "neutral"]
        labels = [1 if len(rows) == 2 else 0] + [0] * (len(rows) - 1)
        return [("classify", torch.tensor([2.0, 0.0, -torch.inf, -torch.inf]), label) for label in labels]

    monkeypatch.setitem(recalibrate.READERS, "kavan", lambda run: read)
    monkeypatch.setattr(recalibrate, "ENOUGH_CLIPS", enough)
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    before = json.loads((copy / "best.json").read_text())
    assert main([str(copy)]) == 0
    after = json.loads((copy / "best.json").read_text())
    assert after["temperature"]["classify"] == pytest.approx(2 / math.log(odds), rel=1e-3)
    assert after["calibrated_on"] == {"many": 6, "few": 2}
    assert {k: v for k, v in after.items() if k not in ("temperature", "calibrated_on")} == {
        k: v for k, v in before.items() if k != "temperature"
    }
    assert f"classify {after['temperature']['classify']} on many (6), few (2)" in capsys.readouterr().out


def test_logits_are_those_of_validation_clips_that_have_a_quadrant(run):
    recipe, net = load_run(run)
    read = recalibrate.READERS["kavan"](run)
    for entry, count in zip(json.loads((run / "data.json").read_text()), (6, 2), strict=True):
        rows = read_manifest(entry["manifest"]).select("val")
        known = [row for row in rows if row.labels["ekman"] != "neutral"]
        assert (len(rows), len(known)) == (count * 3 // 2, count)
        clips = ClipDataset(known, recipe.model, recipe.train.seed, train=False)
        batch = [clips[i] for i in range(count)]
        with torch.inference_mode():
            out = net(net.normalise(torch.stack([clip["frames"] for clip in batch]))).logits[:, -1]
        found = read(rows)
        assert {layer for layer, _, _ in found} == {"classify"}
        torch.testing.assert_close(torch.stack([logits for _, logits, _ in found]), out, atol=1e-5, rtol=0)
        assert [label for _, _, label in found] == [int(clip["category"]) for clip in batch]


def test_each_network_of_caca_rnn_answers_for_the_clips_left_to_it(tmp_path, monkeypatch):
    """Probabilities 0.6 and 0.8 at the temperatures of training, 1.5 and 0.9; clips weigh 1/5 and 1/2.

    The RNN is right in 3/5 and wrong in 1/2: 1.5 ln(0.6 / 0.4) / T = ln(6 / 5); Context-RNN in 1/5 + 1/2 and
    in 1/5: 0.9 ln(0.8 / 0.2) / T = ln(7 / 2).
    """
    sets = {  # name -> (class, whether a face is found) of its clips; one has no class
        "five": [("happy", True)] * 3 + [("happy", False), ("sad", False), (None, False)],
        "two": [("sad", True), ("happy", False)],
    }
    data, faces = [], {}
    for name, clips in sets.items():
        (tmp_path / name).mkdir()
        path = tmp_path / name / "manifest.csv"
        labels = [{} if label is None else {"mec": label} for label, _ in clips]
        rows = [
            Row(tmp_path / name / f"{n}.gif", f"{name} {n}", "val", labels=known)
            for n, known in enumerate(labels)
        ]
        write_manifest(path, rows)
        faces |= {row.clip.resolve(): seen for row, (_, seen) in zip(rows, clips, strict=True)}
        data.append({"name": name, "manifest": str(path), "sha256": read_manifest(path).digest})
    folder = tmp_path / "run"
    folder.mkdir()
    best = {"epoch": 3, "temperature": {"rnn.classify": 1.5, "fallback.classify": 0.9}}
    recipe = Recipe("caca-rnn", CacaRnnSettings()).to_dict()
    for name, value in (("best", best), ("data", data), ("recipe", recipe)):
        (folder / f"{name}.json").write_text(json.dumps(value))

    def say(recognizer, rows):
        out = []
        for row in rows:
            seen = faces[row.clip.resolve()]
            sure = 0.6 if seen else 0.8
            given = dict.fromkeys(MEC_8) | {"happy": sure, "sad": 1 - sure}
            scene = SceneReading(1.0, face=0) if seen else SceneReading(0.0, reason="no face was found")
            out.append((row, Result(str(row.clip), "caca-rnn", "1", probabilities=given, scene=scene)))
        return out

    monkeypatch.setattr(recalibrate, "ENOUGH_CLIPS", 2)
    monkeypatch.setattr(recalibrate, "open_target", lambda target: None)
    monkeypatch.setattr(recalibrate, "predict_rows", say)
    found = recalibrate.recalibrate(folder)
    assert found["temperature"] == {
        "rnn.classify": pytest.approx(1.5 * math.log(1.5) / math.log(1.2), rel=1e-3),
        "fallback.classify": pytest.approx(0.9 * math.log(4) / math.log(3.5), rel=1e-3),
    }
    assert found["calibrated_on"] == {"five": 5, "two": 2}
    assert json.loads((folder / "best.json").read_text()) == best | found


def test_bundle_and_card_say_so(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    main([str(copy)])
    found = json.loads((copy / "best.json").read_text())["temperature"]["classify"]
    export(copy, tmp_path / "b", score=False)
    bundle = read_bundle(str(tmp_path / "b"))
    assert bundle.info.training["calibrated_on"] == {"many": 6, "few": 2}
    assert (
        f"on validation, sets weighing the same, few clips less: classify {found:.3f}" in bundle.read_card()
    )


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
    assert "expected 'kavan' or 'caca-rnn'" in capsys.readouterr().err
