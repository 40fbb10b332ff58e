"""Labels softened by a face network: values by hand, which rows are written, what is refused."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from lab.stills import write_stills
from moodreel.lab.card import write_card
from moodreel.lab.data.labels import label_arrays
from moodreel.lab.data.manifest import read_manifest
from moodreel.lab.distill import Teachers
from moodreel.lab.soft_labels import main, soften_rows
from moodreel.runtime.bundle import read_bundle


class Biased:
    """A teacher that takes what it is shown first for happy, and anything after that for sad."""

    def __init__(self):
        self.shown = []

    def read(self, pixels, temperature):
        assert temperature == 1.0
        first = not self.shown
        self.shown.append(pixels)
        told = [0.1, 0.0, 0.0, 0.6, 0.3, 0.0, 0.0] if first else [0.1, 0.0, 0.0, 0.2, 0.2, 0.5, 0.0]
        return torch.tensor(told).expand(len(pixels), 7)


@pytest.fixture
def manifest(tmp_path):
    return write_stills(tmp_path, ("happiness", "sadness", "neutral"), 3, 1, 1)


def test_intensities_by_hand(manifest):
    teacher = Biased()
    happy, sad, neutral = soften_rows(read_manifest(manifest).select("train"), teacher, 24, share=0.25)
    assert torch.equal(teacher.shown[1], teacher.shown[0].flip(3))
    # probabilities: anger 0.1, happiness (0.6 + 0.2) / 2 = 0.4, sadness 0.25; 2 p - 1: -0.8, -0.2, -0.5
    assert happy.scores == pytest.approx(
        {"anger": -0.95, "disgust": -1, "fear": -1, "happiness": 0.7, "sadness": -0.875, "surprise": -1}
    )
    assert sad.scores["sadness"] == pytest.approx(0.75 - 0.125)
    assert sad.scores["happiness"] == pytest.approx(-0.75 - 0.05)
    assert max(neutral.scores.values()) == pytest.approx(-0.75 - 0.05)
    assert [row.labels["ekman"] for row in (happy, sad, neutral)] == ["happiness", "sadness", "neutral"]


def test_no_share_is_the_label(manifest):
    rows = read_manifest(manifest).select("train")
    for soft, hard in zip(soften_rows(rows, Biased(), 24, share=0.0), rows, strict=True):
        for a, b in zip(label_arrays(soft), label_arrays(hard), strict=True):
            np.testing.assert_array_equal(a, b)


def test_command_writes_training_rows_where_the_pictures_are(manifest, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["manifest.csv", "--share", "1", "--size", "48", "--out", "soft"]) == 0
    assert "3 rows" in capsys.readouterr().out
    written = read_manifest(tmp_path / "soft" / "manifest.csv")
    rows = read_manifest(manifest).select("train")
    assert [(r.clip, r.group, r.split, r.labels) for r in written.rows] == [
        (r.clip, r.group, "train", r.labels) for r in rows
    ]
    expected = soften_rows(rows, Teachers(["face"]), 48, share=1.0)
    assert [r.scores for r in written.rows] == [pytest.approx(r.scores, abs=1e-4) for r in expected]
    assert expected[0].scores != expected[1].scores


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--share", "1.5"], "share"),
        (["--teacher", "kavan"], "teacher"),
        (["--teacher", "nowhere"], "nowhere"),
    ],
)
def test_refusals(manifest, tmp_path, capsys, options, told):
    assert main([str(manifest), "--out", str(tmp_path / "soft"), *options]) == 2
    assert told in capsys.readouterr().err
    assert not (tmp_path / "soft").exists()


def test_a_folder_that_cannot_be_made_is_one_error(manifest, tmp_path, capsys):
    (tmp_path / "soft").write_text("in the way")
    assert main([str(manifest), "--size", "24", "--out", str(tmp_path / "soft")]) == 2
    assert "soft" in capsys.readouterr().err


def test_card_tells_sets_that_trained_nothing():
    info = read_bundle("kavan").info
    recipe = info.training["recipe"]
    assert recipe["train"]["shares"], "the shipped bundle draws its sources by shares"
    data = [{**info.training["data"][0], "name": name, "supervises": [name]} for name in ("a", "b")]
    recipe = {**recipe, "train": {**recipe["train"], "shares": [0.0, 1.0]}}
    card = write_card(replace(info, training={**info.training, "data": data, "recipe": recipe}))
    assert "**a** (0 rows trained on" in card
    assert "Supervises a." not in card
    assert f"**b** ({data[1]['rows']['train']} rows trained on" in card
    assert "Supervises b." in card
