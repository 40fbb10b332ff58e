import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.stats import spearmanr

from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.manifest import Manifest, Row, read_manifest, write_manifest
from moodreel.lab.out_of_fold import (
    EMOTIONS,
    Plan,
    assign_folds,
    check_start,
    cross_validate,
    main,
    score_pooled,
    split_fold,
)

SCORES = dict.fromkeys(EMOTIONS, -1.0)


def rows(scored=7, plain=5):
    kinds = [SCORES] * scored + [{}] * plain
    return [Row(Path(f"{k}.gif"), f"g{k}", "test", kind) for k, kind in enumerate(kinds)]


class TestFolds:
    def test_each_group_once_and_scored_ones_evenly(self):
        dealt = assign_folds(rows(), 3, 0)
        assert set(dealt) == {f"g{k}" for k in range(12)}
        assert sorted(sum(dealt[f"g{k}"] == fold for k in range(7)) for fold in range(3)) == [2, 2, 3]
        assert dealt == assign_folds(rows()[::-1], 3, 0)
        assert dealt != assign_folds(rows(), 3, 1)

    def test_too_few(self):
        with pytest.raises(DataError, match="2 groups with scores cannot fill 3 folds"):
            assign_folds(rows(2), 3, 0)

    def test_a_tested_group_is_in_no_other_part(self):
        target = Manifest(Path("t.csv"), tuple(rows()), "0" * 64)
        words = [Row(Path("w.webp"), "g1", "train", SCORES), Row(Path("x.webp"), "g2", None, SCORES)]
        faces = [Row(Path("f.png"), "p1", "val"), Row(Path("h.png"), "p2", "test")]
        others = [Manifest(Path(f"{n}.csv"), tuple(r), n) for n, r in (("w", words), ("f", faces))]
        dealt = assign_folds(target.rows, 3, 0)
        for fold in range(3):
            mine, more, rest = split_fold(target, others, dealt, fold)
            tested = {row.group for row in mine if row.split == "test"}
            assert tested == {group for group, place in dealt.items() if place == fold}
            assert {row.split for row in mine} == {"train", "test"}
            assert {row.group for row in more} == {"g1", "g2"} - tested
            assert all(row.split == "train" for row in more)  # a group of the set validates nowhere
            assert rest == faces
        with pytest.raises(DataError, match="validation"):
            split_fold(target, others[:1], dealt, 0)

    def test_settings(self):
        with pytest.raises(SettingsError, match="folds = 1"):
            Plan(Path("a"), (), "x", Path("r"), 1, 0, Path("o"))


def test_pooled_scores_are_those_of_all_folds_together():
    rng = np.random.default_rng(0)
    target, noise = rng.uniform(-1, 1, (20, 6)), rng.normal(0, 0.5, (20, 6))
    table = [
        Row(Path(f"{k}.gif"), f"g{k // 2}", None, dict(zip(EMOTIONS, map(float, values), strict=True)))
        for k, values in enumerate(target)
    ]
    found = {f"{k}.gif": list(map(float, target[k] + noise[k])) for k in range(20)}
    del table[3].scores["fear"]  # a missing score is masked
    out = score_pooled([*table, Row(Path("other.gif"), "o")], found)
    assert (out["clips"], out["groups"]) == (20, 10)
    expected = []
    for e, name in enumerate(EMOTIONS):
        known = [k for k in range(20) if not (k == 3 and name == "fear")]
        expected.append(float(spearmanr(target[known, e], (target + noise)[known, e])[0]))
        assert out["spearman"][name]["value"] == pytest.approx(expected[-1])
        low, high = out["spearman"][name]["interval"]
        assert low < expected[-1] < high
    assert out["spearman"]["mean"]["value"] == pytest.approx(np.mean(expected))


@pytest.fixture
def sets(tmp_path):
    """A rated set of stills and a set to train beside it."""
    rng = np.random.default_rng(0)
    paths = []
    for k in range(16):
        paths.append(tmp_path / f"{k}.png")
        Image.fromarray(rng.integers(0, 256, (24, 24, 3), np.uint8)).save(paths[-1])
    rated = [Row(p, f"r{k}", "train", SCORES | {EMOTIONS[k % 6]: 0.5}) for k, p in enumerate(paths[:6])]
    beside = [
        Row(p, f"b{k}", "val" if k < 4 else "train", labels={"ekman": ("happiness", "sadness")[k % 2]})
        for k, p in enumerate(paths[6:])
    ]
    write_manifest(tmp_path / "rated.csv", rated)
    write_manifest(tmp_path / "beside.csv", beside)
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'system = "kavan"\n[model]\ninput_size = 32\nframes = 4\ntiers = [2, 1]\nhidden = 8\n'
        '[train]\nepochs = 1\nbatch = 4\nepoch_clips = 8\nprecision = "32"\n'
    )
    return Plan(tmp_path / "rated.csv", (tmp_path / "beside.csv",), "kavan", recipe, 2, 0, tmp_path / "out")


def test_two_folds_from_a_start_that_never_saw_the_set(sets, monkeypatch):
    scores = cross_validate(sets)
    assert (scores["clips"], scores["groups"]) == (6, 6)
    kept = [json.loads((sets.out / f"fold-{k}" / "predictions.json").read_text()) for k in range(2)]
    assert sorted([*kept[0], *kept[1]]) == [f"{k}.png" for k in range(6)]
    for fold in range(2):
        text = (sets.out / f"fold-{fold}" / "0-rated.csv").read_text()
        assert sum(",test," in line for line in text.splitlines()) == 3
    # finished folds are not trained again
    monkeypatch.setattr("moodreel.lab.out_of_fold.train", None)
    assert cross_validate(sets) == scores
    # and a run of them has seen the set
    with pytest.raises(DataError, match="no fold of it would be held out"):
        check_start(
            str(sets.out / "fold-0" / "run"), replace(read_manifest(sets.target), path=Path("0-rated.csv"))
        )


def test_command(sets, capsys):
    arguments = [str(sets.target), "--init", "kavan", "--recipe", str(sets.recipe), "--out", str(sets.out)]
    assert main([*arguments, "--folds", "2"]) == 2  # nothing validates
    assert "none of these manifests has validation rows" in capsys.readouterr().err
