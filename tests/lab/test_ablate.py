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
from moodreel.lab.ablation.fit import Fitted, Labels, Prediction, strongest_quadrant
from moodreel.lab.ablation.folder import AblationOptions, choose_init, has_seen, read_study
from moodreel.lab.ablation.report import write_report
from moodreel.lab.ablation.rows import ACCURACY_ORDER, BY_KEY, NMSE_ORDER, ROWS, name_row, settings_of
from moodreel.lab.ablation.scores import find_hidden, score_attention, score_labels, score_order
from moodreel.lab.ablation.sheets import to_csv, to_markdown
from moodreel.lab.ablation.tables import (
    compare,
    format_accuracy,
    format_differences,
    format_nmse,
    judge_orders,
    list_lines,
)
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.data.toon_programmes import ORDER_PAIRS
from moodreel.lab.data.toon_truth import read_truths
from moodreel.lab.protocols import Split, split_groups
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


def test_rows_differ_in_what_they_are_and_nothing_else():
    model = KavanSettings()
    chosen = {key: settings_of(BY_KEY[key], model) for key in BY_KEY if BY_KEY[key].kind == "network"}
    varied = ("use_attention", "tiers", "weight_category", "weight_ranking", "weight_keypoints")
    for settings in chosen.values():
        assert replace(settings, **{name: getattr(model, name) for name in varied}) == model
    assert {k: (s.use_attention, s.tiers) for k, s in chosen.items()} == {
        "lstm": (False, (1,)),
        "att-lstm": (True, (1,)),
        "hs-lstm": (False, (4, 1)),
        "att-hs-lstm": (True, (4, 1)),
        "att-hs-lstm-kp": (True, (4, 1)),
        "mtl": (True, (4, 1)),
        "mtl-withheld": (True, (4, 1)),
    }
    for key, s in chosen.items():
        weights = (s.weight_category, s.weight_ranking, s.weight_keypoints)
        assert weights == {"att-hs-lstm-kp": (0, 0, 1.0)}.get(
            key, (0.5, 0.1, 1.0) if "mtl" in key else (0, 0, 0)
        )


def test_recipes_that_cannot_be_compared_are_refused():
    with pytest.raises(SettingsError, match="two tiers or more"):
        settings_of(BY_KEY["lstm"], KavanSettings(tiers=(1,)))
    with pytest.raises(SettingsError, match="use_attention"):
        settings_of(BY_KEY["lstm"], KavanSettings(use_attention=False))


def test_the_papers_orders_are_those_of_its_numbers():
    for better, worse in ACCURACY_ORDER:
        assert BY_KEY[better].accuracy > BY_KEY[worse].accuracy
    for better, worse in NMSE_ORDER:
        assert BY_KEY[better].nmse[0] < BY_KEY[worse].nmse[0]


def test_strongest_quadrant_is_of_known_emotions():
    intensities = np.full((2, 17), -1.0)
    intensities[:, GIFGIF_17.index("anger")] = [0.5, 0.5]
    intensities[:, GIFGIF_17.index("relief")] = [0.9, 0.1]
    known = np.array([name != "relief" for name in GIFGIF_17])
    misery, calm = QUADRANTS.index("misery_arousal"), QUADRANTS.index("pleasure_sleepiness")
    assert strongest_quadrant(intensities, np.ones(17, bool)).tolist() == [calm, misery]
    assert strongest_quadrant(intensities, known).tolist() == [misery, misery]


def make_labels(rng, count=30):
    scores = rng.uniform(-1, 1, (count, 17))
    return Labels(scores, np.ones((count, 17), bool), rng.integers(0, 4, count))


def test_rare_emotions_do_not_count():
    rng = np.random.default_rng(0)
    labels = make_labels(rng)
    train, test = np.arange(15), np.arange(15, 30)
    labels.scores[test, 0] = -1.0
    labels.scores[test[:4], 0] = 0.5  # four differ: too few
    labels.scores[train, 1] = 0.25  # nothing to learn
    labels.known[test, 2] = False
    prediction = Prediction(rng.uniform(-1, 1, (15, 17)), labels.category[test])
    scores = score_labels(prediction, labels, train, test)
    assert list(scores["emotions"]) == list(GIFGIF_17[3:])
    assert scores["accuracy"] == 1.0


def test_attention_over_frames_with_a_face():
    attention = np.zeros((3, 2, 2, 2))
    attention[:, :, 0, 0] = 1.0  # all at the upper left
    attention[2, 0] = 0.25
    boxes = np.zeros((3, 2, 4))
    boxes[0] = [0.0, 0.0, 0.5, 0.5]  # hit, twice
    boxes[1, 0] = [0.5, 0.5, 1.0, 1.0]  # missed; the other frame has no face
    boxes[2, 0] = [0.0, 0.0, 1.0, 0.5]  # even attention: half of it inside
    sets = {"a": np.array([True, True, False]), "b": np.array([False, False, True]), "c": np.zeros(3, bool)}
    scores = score_attention(attention, boxes, sets)
    assert scores["a"] == pytest.approx(
        {"frames": 3, "hits": 2 / 3, "hit_chance": 0.25, "mass": 2 / 3, "mass_chance": 0.25}
    )
    assert scores["b"] == {"frames": 1, "hits": 1.0, "hit_chance": 0.5, "mass": 0.5, "mass_chance": 0.5}
    assert "c" not in scores


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


def make_results(values):
    """Results of rows: key -> (accuracies, nMSEs) of the splits."""
    return [
        {"row": key, "mode": "cached", "split": n, "accuracy": a, "nmse": e, "spearman": 0.5}
        for key, (accuracies, errors) in values.items()
        for n, (a, e) in enumerate(zip(accuracies, errors, strict=True))
    ]


FACTS = {"training": {"cached": {"recipe": recipe_from_dict({}, "kavan").to_dict(), "rates": [1e-3]}}}


def test_tables_by_hand():
    results = make_results(
        {
            "lstm": ([0.5, 0.6], [1.0, 1.1]),
            "att-lstm": ([0.6, 0.7], [0.9, 1.1]),
            "mtl": ([0.4, 0.5], [1.2, 1.0]),
        }
    )
    lines = list_lines(FACTS, results)
    accuracy = format_accuracy(lines)
    assert accuracy[1] == ["ResNet-50 + LSTM", "Compact backbone + LSTM", "55.00 ± 7.07", "2", "61.47"]
    assert [row[0] for row in accuracy[1:]] == [
        "ResNet-50 + LSTM",
        "Soft-Att + LSTM",
        "MTL Soft-Att + HS-LSTM",
    ]
    nmse = format_nmse(lines)
    assert nmse[2][2:] == ["1.0000 ± 0.1414", "0.500 ± 0.000", "2", "1.0100 ± 0.0085"]
    # 12.7062 is the 97.5 % quantile of t with one degree of freedom; differences -0.1 and 0: s = 0.0707.
    interval = compare(lines[1], lines[0], "nmse")
    assert interval.mean == pytest.approx(-0.05)
    assert interval.high == pytest.approx(-0.05 + 12.7062 * 0.070711 / 2**0.5, rel=1e-4)
    differences = format_differences(lines, "accuracy", 100, 2)
    assert differences[1][:3] == ["Compact backbone + Soft-Att + LSTM", "Compact backbone + LSTM", "+10.00"]
    assert len(differences) == 2  # what mtl is set against was not run


def test_verdicts():
    steady = {"lstm": ([0.5, 0.6, 0.7], [1.0] * 3), "att-lstm": ([0.6, 0.701, 0.8], [1.1, 1.3, 0.8])}
    table = judge_orders(list_lines(FACTS, make_results(steady)))
    assert [line[:3] for line in table[1:]] == [
        ["Table 1, accuracy", "Soft-Att + LSTM better than ResNet-50 + LSTM", "holds"],
        [
            "Table 2, nMSE",
            "Soft-Att + LSTM better than ResNet-50 + LSTM",
            "does not hold (interval includes 0)",
        ],
    ]
    one = {key: ([a[0]], [e[0]]) for key, (a, e) in steady.items()}
    table = judge_orders(list_lines(FACTS, make_results(one)))
    assert [line[2] for line in table[1:]] == ["holds (one split)", "does not hold (one split)"]


def test_markdown_and_csv():
    table = [["a", "b"], ["x, y", ""]]
    assert to_markdown(table) == "| a | b |\n| --- | --- |\n| x, y |   |\n"
    assert to_csv(table) == 'a,b\n"x, y",\n'


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


def test_splits_of_a_study_leave_validation_out_of_the_linear_rows_choice():
    """The mean takes what is not test, validation included."""
    labels = make_labels(np.random.default_rng(1), 10)
    split = Split(np.arange(6), np.arange(6, 8), np.arange(8, 10))
    prediction = ablate_module.predict_mean(labels, split)
    assert prediction.intensities[0] == pytest.approx(labels.scores[:8].mean(axis=0))
    assert prediction.category.tolist() == [int(np.bincount(labels.category[:8]).argmax())] * 2
