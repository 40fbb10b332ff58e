"""A tiny study: every row, resumed, refused, and its scores computed again by hand."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17, QUADRANT_OF, QUADRANTS
from moodreel.errors import DataError, SettingsError
from moodreel.lab import ablate as ablate_module
from moodreel.lab.ablate import ablate
from moodreel.lab.ablation.fit import Fitted, Labels, Prediction
from moodreel.lab.ablation.folder import AblationOptions, choose_init, has_seen, read_study
from moodreel.lab.ablation.report import write_report
from moodreel.lab.ablation.rows import ROWS, name_row
from moodreel.lab.ablation.scores import find_hidden, score_order
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.data.toon_programmes import ORDER_PAIRS
from moodreel.lab.data.toon_truth import read_truths
from moodreel.lab.protocols import split_groups
from moodreel.lab.settings import KavanSettings, recipe_from_dict
from moodreel.media import write_gif

CLIPS = 48


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """48 noisy clips of 24 characters in a folder that says it is a toon set; the last clip is neutral."""
    folder = tmp_path_factory.mktemp("toon")
    rng = np.random.default_rng(0)
    (folder / "truth").mkdir()
    (folder / "toon.json").write_text(json.dumps({"format": "moodreel toon 1"}))
    rows = []
    programmes = [name for pair in ORDER_PAIRS for name in pair]
    for i in range(CLIPS):
        clip = folder / f"{i:05d}.gif"
        shown = GIFGIF_17[i % 17]
        scores = {e: float(round(rng.uniform(-1, 0.3), 2)) for e in GIFGIF_17}
        scores[shown] = 0.9
        if i == CLIPS - 1:
            scores = dict.fromkeys(GIFGIF_17, -1.0)
        level = 40 + 12 * (i % 17)
        frames = rng.integers(level, level + 20, (4, 32, 32, 3)).astype(np.uint8)
        write_gif(clip, frames, np.full(4, 0.1))
        flat = [v for n in range(70) for v in (8.0 + n % 12, 6.0 + n % 15, 0.9)]
        keypoints = folder / f"{i:05d}.json"
        people = [{"people": [{"face_keypoints_2d": flat}]}] * 4
        keypoints.write_text(json.dumps({"version": 1.3, "width": 32, "height": 32, "frames": people}))
        truth = {"style": ("cat", "line", "emoji")[i % 3], "programme": programmes[i % len(programmes)]}
        (folder / "truth" / f"{i:05d}.json").write_text(json.dumps(truth))
        rows.append(Row(clip, f"character {i // 2}", None, scores, {}, keypoints))
    write_manifest(folder / "manifest.csv", rows)
    return folder


RECIPE = """
[model]
input_size = 32
frames = 2
tiers = [2, 1]
hidden = 6
attention = 3
[train]
epochs = 1
batch = 8
learning_rate = 1e-2
precision = "32"
keep_by = "nmse"
"""


@pytest.fixture(scope="module")
def options(data, tmp_path_factory):
    recipe = data / "recipe.toml"
    recipe.write_text(RECIPE)
    out = tmp_path_factory.mktemp("studies") / "study"
    return AblationOptions(data / "manifest.csv", out, recipe, splits=2, withhold="style=cat")


@pytest.fixture(scope="module")
def study(options):
    done = ablate(options)
    write_report(done)
    return done


def test_every_row_of_every_split(study, options):
    keys = [row.key for row in ROWS] + ["mtl-withheld"]
    assert {(r["row"], r["split"]) for r in study.results} == {(key, n) for key in keys for n in (0, 1)}
    assert all(r["mode"] == "cached" for r in study.results)
    text = (options.out / "report.md").read_text()
    for row in ROWS:
        assert name_row(row, KavanSettings()) in text
        if row.nmse:
            assert "{:.4f} ± {:.4f}".format(*row.nmse) in text
        if row.accuracy:
            assert f"{row.accuracy:.2f}" in text
    for words in ("another data set", "62.55 to ResNet-50 + HS-LSTM", "What holds here", "corrected"):
        assert words in text
    assert study.facts["init"] == "face"


def read_row(out, split, key):
    result = json.loads((out / "splits" / str(split) / f"{key}.json").read_text())
    return result, dict(np.load(out / "splits" / str(split) / f"{key}.npz"))


@pytest.mark.parametrize("key", ["mean", "histogram", "face", "lstm", "mtl"])
def test_scores_are_those_of_the_predictions(study, options, key):
    rows = read_manifest(options.data).rows
    for number in (0, 1):
        result, arrays = read_row(options.out, number, key)
        split = split_groups([row.group for row in rows], number, 0)
        assert arrays["index"].tolist() == split.test.tolist()
        nmse, ranks = [], []
        for e, name in enumerate(GIFGIF_17):
            y = np.array([rows[i].scores[name] for i in split.test])
            f = arrays["intensities"][:, e]
            assert len(set(y.tolist())) > 5  # so every emotion counts
            nmse.append(np.mean((y - f) ** 2) / np.mean((y - y.mean()) ** 2))
            order = [(a[:, None] > a).sum(axis=1) + (a[:, None] == a).sum(axis=1) / 2 for a in (y, f)]
            ranks.append(0.0 if np.ptp(f) == 0 else np.corrcoef(*order)[0, 1])
        assert result["nmse"] == pytest.approx(np.mean(nmse), rel=1e-4)
        assert result["spearman"] == pytest.approx(np.mean(ranks), abs=1e-6)
        truth = [max(rows[i].scores, key=rows[i].scores.get) for i in split.test]
        strongest = [GIFGIF_17[k] for k in arrays["intensities"].argmax(axis=1)]
        right = []
        for place, i in enumerate(split.test):
            if max(rows[i].scores.values()) <= -0.5:
                continue  # neutral: no quadrant
            said = QUADRANTS[arrays["category"][place]]
            if key not in ("mean", "mtl"):
                assert said == QUADRANT_OF[strongest[place]]
            right.append(said == QUADRANT_OF[truth[place]])
        assert result["accuracy"] == pytest.approx(np.mean(right))
        assert result["clips_with_category"] == len(right)


def test_training_mean_is_that_of_what_is_not_test(study, options):
    rows = read_manifest(options.data).rows
    split = split_groups([row.group for row in rows], 1, 0)
    _, arrays = read_row(options.out, 1, "mean")
    rest = sorted(set(range(CLIPS)) - set(split.test.tolist()))
    expected = np.mean([[rows[i].scores[e] for e in GIFGIF_17] for i in rest], axis=0)
    assert arrays["intensities"] == pytest.approx(np.tile(expected, (len(split.test), 1)), abs=1e-6)


def test_a_killed_study_goes_on_to_the_same_tables(study, options, tmp_path, monkeypatch):
    again = replace(options, out=tmp_path / "again", cache=options.out / "features")
    plain, calls = ablate_module.fit_cached, []

    def stop_at_the_fourth(*arguments):
        calls.append(1)
        if len(calls) == 4:
            raise InterruptedError("as if killed")
        return plain(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ablate_module, "fit_cached", stop_at_the_fourth)
        with pytest.raises(InterruptedError):
            ablate(again)
    finished = {path.name for path in (again.out / "splits" / "0").glob("*.json")}
    assert len(finished) == 8  # five without a network, three with one
    before = {p: p.stat().st_mtime_ns for p in (again.out / "splits" / "0").glob("*.json")}
    write_report(ablate(again))
    assert {p: p.stat().st_mtime_ns for p in before} == before  # nothing is done twice
    tables = [path.name for path in options.out.glob("*.*") if path.suffix in (".md", ".csv")]
    assert len(tables) >= 12
    for name in tables:
        assert (again.out / name).read_bytes() == (options.out / name).read_bytes(), name


def test_keypoints_are_withheld_from_one_row_alone(options, tmp_path, monkeypatch):
    seen = {}
    plain = ablate_module.fit_cached

    def note(clips, split, recipe, model, hidden=()):
        seen[len(seen)] = sorted(hidden)
        return plain(clips, split, recipe, model, hidden)

    monkeypatch.setattr(ablate_module, "fit_cached", note)
    few = ("mtl", "mtl-withheld")
    mine = replace(options, out=tmp_path / "s", cache=options.out / "features", rows=few, splits=1)
    done = ablate(mine)
    assert seen == {0: [], 1: list(range(0, CLIPS, 3))}  # every third clip is a cat
    for result in done.results:
        assert set(result["attention"]) == {"test clips, keypoints shown", "test clips, keypoints withheld"}


def test_validation_chooses_the_rate(options, tmp_path, monkeypatch):
    scores = {1e-3: -0.9, 1e-2: -0.7, 1e-1: -0.8}

    def fit(clips, split, recipe, model, hidden=()):
        rate = recipe.train.learning_rate
        said = Prediction(np.full((len(split.test), 17), rate), np.zeros(len(split.test), int))
        return Fitted(lambda index: said, scores[rate])

    monkeypatch.setattr(ablate_module, "fit_cached", fit)
    mine = replace(options, out=tmp_path / "s", cache=options.out / "features", rows=("lstm",))
    done = ablate(replace(mine, rates=tuple(scores)))
    assert [result["rate"] for result in done.results] == [1e-2, 1e-2]
    _, arrays = read_row(tmp_path / "s", 0, "lstm")
    assert arrays["intensities"] == pytest.approx(1e-2)


def test_more_splits_may_follow_and_leave_the_others_alone(study, options):
    more = ablate(replace(options, splits=3, rows=("mean",)))
    assert [r["split"] for r in more.results if r["row"] == "mean"] == [0, 1, 2]
    (options.out / "splits" / "2" / "mean.json").unlink()


def test_another_study_is_refused(study, options, data, tmp_path):
    for change, name in (
        ({"seed": 1}, "seed"),
        ({"withhold": ""}, "withhold"),
        ({"recipe": None}, "training"),
    ):
        with pytest.raises(DataError, match=f"another {name}"):
            ablate(replace(options, **change))
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and holds no study"):
        ablate(replace(options, out=tmp_path))


def test_changed_clips_are_refused(data, options, study, tmp_path):
    copy = tmp_path / "toon"
    shutil.copytree(data, copy)
    mine = replace(options, data=copy / "manifest.csv", out=tmp_path / "s", rows=("mean",))
    ablate(mine)
    shutil.copy(copy / "00001.gif", copy / "00000.gif")
    with pytest.raises(DataError, match="clips are not those"):
        ablate(mine)


def test_unreadable_clips_are_left_out_and_named(data, options, tmp_path):
    copy = tmp_path / "toon"
    shutil.copytree(data, copy)
    (copy / "00003.gif").write_bytes(b"GIF89a, or not")
    done = ablate(replace(options, data=copy / "manifest.csv", out=tmp_path / "s", rows=("mean",)))
    assert [failure.clip.name for failure in done.failures] == ["00003.gif"]
    assert sum(done.results[0]["clips"].values()) == CLIPS - 1


def test_end_to_end_stands_beside(study, options, tmp_path):
    copy = replace(options, out=tmp_path / "s", cache=options.out / "features", rows=("lstm",), splits=1)
    ablate(copy)
    done = ablate(replace(copy, end_to_end=True))
    assert [(r["row"], r["mode"]) for r in done.results] == [("lstm", "cached"), ("lstm", "end-to-end")]
    assert (tmp_path / "s" / "runs" / "lstm-0-0.01" / "best.safetensors").is_file()
    write_report(done)
    table = (tmp_path / "s" / "differences2.csv").read_text()
    assert '"Compact backbone + LSTM, end to end",Compact backbone + LSTM,' in table


def test_cases_are_not_chosen_by_score(study):
    cases = study.cases
    assert cases.row == "mtl"
    assert [case.category for case in cases.predictions] == list(
        dict.fromkeys(case.category for case in cases.predictions)
    )
    case = cases.predictions[0]
    assert case.predicted.keys() == case.target.keys() == set(GIFGIF_17)
    assert case.attention.shape == (2, 2, 2)
    assert case.attention.sum(axis=(1, 2)) == pytest.approx([1, 1], abs=1e-2)
    assert all(case.heatmap is not None for case in cases.supervised)


def test_exact_reversals_are_apart(data):
    rows = read_manifest(data / "manifest.csv").rows
    truths = read_truths(data / "manifest.csv", rows)
    truths[1:] = [replace(truth, programme="anger: shouting") for truth in truths[1:]]
    scores = np.full((3, 17), -1.0)
    scores[:, GIFGIF_17.index("fear")] = 0.5
    predicted = np.zeros((3, 17))
    predicted[:, GIFGIF_17.index("fear")] = [0.1, 0.1, -0.1]
    labels = Labels(scores, np.ones((3, 17), bool), np.zeros(3, int))
    order = score_order(Prediction(predicted, np.zeros(3, int)), labels, np.arange(3), truths)
    assert order["all"] == {"clips": 3, "accuracy": pytest.approx(2 / 3)}
    assert order["reversals"] == {"clips": 1, "accuracy": 1.0}
    assert score_order(Prediction(predicted, np.zeros(3, int)), labels, np.arange(3), None) == {}


def test_what_is_withheld(data, tmp_path):
    rows = read_manifest(data / "manifest.csv").rows
    truths = read_truths(data / "manifest.csv", rows)
    hidden = find_hidden("style=cat,line", rows, truths)
    assert hidden.tolist() == [i % 3 != 2 for i in range(CLIPS)]
    by_group = find_hidden("groups=0.4", rows, None)
    assert 0.1 < by_group.mean() < 0.7
    assert by_group[::2].tolist() == by_group[1::2].tolist()  # a character's two clips
    assert not find_hidden("", rows, None).any()
    for wrong in ("style=dog", "style=cat,line,emoji", "groups=1.5", "groups=x", "all"):
        with pytest.raises(SettingsError, match="--withhold"):
            find_hidden(wrong, rows, truths)
    with pytest.raises(SettingsError, match="only a toon set"):
        find_hidden("style=cat", rows, None)


def test_a_backbone_that_has_seen_the_data_is_passed_over(data, tmp_path):
    from moodreel.runtime.bundle import read_bundle

    source = read_bundle("kavan").info.training["data"][0]
    manifest = read_manifest(data / "manifest.csv")
    recipe = recipe_from_dict({}, "kavan")
    assert choose_init(None, recipe, manifest) == "face"
    assert choose_init("kavan", recipe, manifest) == "kavan"
    seen = replace(manifest, digest=source["sha256"])
    assert has_seen("kavan", seen)
    assert has_seen("kavan", replace(manifest, path=tmp_path / source["name"] / "manifest.csv"))
    with pytest.raises(SettingsError, match="--init"):
        choose_init(None, recipe, seen)  # fer2013: both were trained on it


def test_options_are_checked(data, tmp_path):
    for wrong, name in (
        ({"splits": 0}, "--splits"),
        ({"seed": -1}, "--seed"),
        ({"rates": (0.0,)}, "--rates"),
        ({"rows": ("x",)}, "--rows"),
    ):
        with pytest.raises(SettingsError, match=name):
            AblationOptions(data / "manifest.csv", tmp_path, **wrong)
    with pytest.raises(SettingsError, match="beside --withhold"):
        AblationOptions(data / "manifest.csv", tmp_path, rows=("mtl-withheld",))
    with pytest.raises(DataError, match=r"study\.json"):
        read_study(tmp_path)
