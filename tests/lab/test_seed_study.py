"""Studies over seeds with made-up fits: what is written, resumed, refused, and numbers computed by hand."""

import json
import math

import numpy as np
import pytest

from moodreel.cli.seed_pictures import draw_seed_study
from moodreel.errors import DataError, SettingsError
from moodreel.lab.ablation.seed_report import (
    Outline,
    format_differences,
    format_medians,
    format_orders,
    format_parts,
    list_confusions,
    write_seed_report,
)
from moodreel.lab.ablation.seed_scores import HeldOut, Metric, Ordering, SeedScores, on_rows, rate_accuracy
from moodreel.lab.metrics import resample_groups
from moodreel.lab.seed_study import Outcome, StudyRow, read_seed_study, run_seed_study

FACE = StudyRow("face", "Face-RNN", 1_579_528, {"accuracy": 52.72, "error": 0.5})
CACA = StudyRow("caca-a", "CACA-RNN A", 790_792, {"accuracy": 53.01})
CHANCE = StudyRow("chance", "chance")
FACTS = {"manifest": "here.csv", "sha256": "abc", "recipe": {"train": {"epochs": 3, "rates": (1e-3, 5e-3)}}}

LABELS = np.array([0, 0, 1, 1, 2, 2, 0, 1])
GROUPS = ["a", "a", "b", "b", "c", "c", "d", "d"]
SCENE = np.array([1, 0, 1, 0, 1, 0, 0, 0], bool)
RIGHT = {
    "face": ["11100000", "11110000", "11000001", "11111000", "00000001"],  # 3, 4, 3, 5 and 1 of 8
    "caca-a": ["11111100", "11110100", "11000111", "11111111", "10000001"],  # 6, 5, 5, 8 and 2 of 8
}
ERROR = {"face": [0.5, 0.25, 0.75, 1.0, 0.125], "caca-a": [0.5, 0.25, 0.5, 0.25, 0.125]}

ACCURACY = Metric(
    "accuracy", "ACC", percent=True, statistic=on_rows(rate_accuracy, "probabilities", "labels")
)
ERRORS = Metric("error", "RMSE", percent=False, better="less", digits=3)
HELD_OUT = HeldOut(GROUPS, {"scene": SCENE, "rest": ~SCENE}, ("happy", "sad", "angry"))
OUTLINE = Outline(
    "Table I",
    "MEC 2017",
    (
        Ordering("caca-a", "face", "accuracy", "Table I"),
        Ordering("face", "caca-a", "error"),
        Ordering("caca-a", "face", "accuracy", part="scene"),
    ),
    notes=("Drawn by hand.",),
)


def predict(key, seed):
    """[8, 3] probabilities that are right where the table above has a 1, else one class too high."""
    right = np.array([mark == "1" for mark in RIGHT[key][seed]])
    return np.eye(3, dtype=np.float32)[np.where(right, LABELS, (LABELS + 1) % 3)]


def fit(row, seed):
    if row.key == "chance":
        return Outcome({"accuracy": 0.375}, {"probabilities": np.eye(3)[[0] * 8], "labels": LABELS})
    scores = {"accuracy": RIGHT[row.key][seed].count("1") / 8, "error": ERROR[row.key][seed]}
    arrays = {"probabilities": predict(row.key, seed), "labels": LABELS}
    return Outcome(scores, arrays, {"epoch": np.int64(4)})


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    return run_seed_study(tmp_path_factory.mktemp("a") / "s", FACTS, [FACE, CACA, CHANCE], range(5), fit)


@pytest.fixture(scope="module")
def scores(study):
    return SeedScores(study, [ACCURACY, ERRORS], HELD_OUT, rounds=400)


def test_every_run_is_kept(study):
    assert [(run.row, run.seed) for run in study.runs] == [
        (key, seed) for key in ("face", "caca-a", "chance") for seed in range(5)
    ]
    content = json.loads((study.out / "seeds" / "3" / "face.json").read_text())
    assert content.pop("seconds") >= 0
    assert content == {
        "row": "face",
        "seed": 3,
        "parameters": 1_579_528,
        "scores": {"accuracy": 0.625, "error": 1.0},
        "facts": {"epoch": 4},
    }
    stored = study.list_runs("caca-a")[2].arrays
    assert stored["probabilities"].dtype == np.float32
    assert np.array_equal(stored["probabilities"], predict("caca-a", 2))
    assert stored["labels"].tolist() == LABELS.tolist()
    assert json.loads((study.out / "study.json").read_text())["recipe"]["train"]["rates"] == [1e-3, 5e-3]


def test_medians_and_extremes_by_hand(scores):
    head, face, caca, chance = format_medians(scores, OUTLINE)
    assert head == [
        "network",
        "parameters",
        "ACC, %",
        "ACC, %: paper, MEC 2017 (another data set)",
        "RMSE",
        "RMSE: paper, MEC 2017 (another data set)",
        "seeds",
    ]
    # sorted: 1 3 3 4 5 of 8 and 2 5 5 6 8 of 8
    assert face == [
        "Face-RNN", "1,579,528", "37.50 (12.50 to 62.50)", "52.72", "0.500 (0.125 to 1.000)", "0.500", "5",
    ]  # fmt: skip
    assert caca == [
        "CACA-RNN A", "790,792", "62.50 (25.00 to 100.00)", "53.01", "0.250 (0.125 to 0.500)", "", "5",
    ]  # fmt: skip
    assert chance == ["chance", "", "37.50 (37.50 to 37.50)", "", "", "", "5"]


def test_the_median_run_is_the_first_with_the_median(scores):
    assert scores.find_median_run("face", "accuracy").seed == 0  # 3 of 8, as seed 2
    assert scores.find_median_run("caca-a", "accuracy").seed == 1
    assert scores.find_median_run("caca-a", "error").seed == 1
    assert scores.find_median_run("chance", "error") is None


def test_an_even_number_of_runs(tmp_path):
    study = run_seed_study(tmp_path / "s", FACTS, [FACE], [3, 0, 4, 1], fit)
    scores = SeedScores(study, [ACCURACY], HELD_OUT)
    assert scores.summarise("face", "accuracy").median == 3.5 / 8  # of 1 3 4 5
    assert scores.summarise("face", "accuracy").values == (3 / 8, 4 / 8, 5 / 8, 1 / 8)  # by seed
    assert scores.find_median_run("face", "accuracy").seed == 0  # the lower of the middle two


def test_paired_differences_by_hand(scores):
    found = scores.compare("caca-a", "face", "accuracy")
    # 3 1 2 3 1 of 8: mean 2, sample variance (1 + 1 + 0 + 1 + 1) / 4 = 1, t of 4 degrees 2.776445
    half = 2.776445 / math.sqrt(5)
    assert found.interval.mean == pytest.approx(2 / 8)
    assert found.interval.deviation == pytest.approx(1 / 8)
    assert (found.interval.low, found.interval.high) == pytest.approx(
        ((2 - half) / 8, (2 + half) / 8), abs=1e-7
    )
    line = format_differences(scores, ACCURACY, [("caca-a", "face")])[1]
    low, high = (f"{100 * (2 + sign * half) / 8:+.2f}" for sign in (-1, 1))
    assert line[:4] == ["CACA-RNN A", "Face-RNN", "+25.00", f"{low} to {high}"]
    assert line[5] == "5"
    pairs = [line[:2] for line in format_differences(scores, ACCURACY)[1:]]
    assert pairs == [["CACA-RNN A", "Face-RNN"], ["chance", "Face-RNN"], ["chance", "CACA-RNN A"]]
    assert format_differences(scores, ERRORS)[1][4] == ""  # no statistic, no interval over groups


def test_groups_are_resampled_whole(scores):
    """The same by means of each group: a draw of groups gives the mean of their differences."""
    gain = np.zeros(8)
    for seed in range(5):
        right = [np.array([mark == "1" for mark in RIGHT[key][seed]], float) for key in ("caca-a", "face")]
        gain += (right[0] - right[1]) / 5
    of_group = dict(zip("abcd", gain.reshape(4, 2).mean(axis=1), strict=True))
    drawn = [
        np.mean([of_group[GROUPS[i]] for i in chosen[::2]]) for chosen in resample_groups(GROUPS, 400, seed=0)
    ]
    low, high = scores.compare("caca-a", "face", "accuracy").groups
    assert (low, high) == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-6)
    # clips of each group that caca-a has right more often than face, of 10: 9 - 8, 6 - 5, 6 - 1 and 5 - 2
    assert list(of_group.values()) == pytest.approx([0.1, 0.1, 0.5, 0.3])
    assert 0.09 < low < 0.25 < high < 0.51
    for chosen in resample_groups(GROUPS, 20):
        pairs = chosen.reshape(4, 2)
        assert (pairs[:, 0] % 2 == 0).all()  # groups are clips 0 and 1, 2 and 3, ...
        assert (pairs[:, 1] == pairs[:, 0] + 1).all()


def test_groups_of_a_part_are_resampled(scores):
    gains = np.array([0.0, 0.2, 0.8, 0.4, 0.2])  # of clips 1, 3, 5, 6, 7, over the seeds
    drawn = [gains[chosen].mean() for chosen in resample_groups(["a", "b", "c", "d", "d"], 400)]
    found = scores.compare("caca-a", "face", "accuracy", "rest")
    assert found.interval.mean == pytest.approx(1.6 / 5)
    assert found.groups == pytest.approx(tuple(np.quantile(drawn, [0.025, 0.975])), abs=1e-6)


def test_orderings(scores):
    head, first, second = format_orders(scores, OUTLINE.orderings[:2])
    assert head[:5] == ["paper", "says", "its numbers", "here", "mean difference"]
    assert first[:4] == ["Table I, ACC", "CACA-RNN A better than Face-RNN", "53.01 and 52.72", "holds"]
    # face minus caca-a: 0 0 0.25 0.75 0, more error; sample deviation 0.326, half width 0.405
    assert second[:3] == ["RMSE", "Face-RNN better than CACA-RNN A", ""]
    assert second[3:5] == ["does not hold (interval includes 0)", "+0.200"]
    assert second[6] == ""


@pytest.mark.parametrize(
    ("by_seed", "one_group_against", "verdict"),
    [
        ([1, 1, 1, 1, 1], False, "holds"),
        ([-1, -1, -1, -1, -1], False, "does not hold"),
        ([1, 1, 1, 1, -1], False, "holds (interval includes 0)"),
        ([1, 1, 1, 1, 1], True, "holds (interval includes 0)"),  # sure of the seeds, not of the clips
        ([1], False, "holds (one seed)"),
    ],
)
def test_a_verdict_needs_both_intervals(tmp_path, by_seed, one_group_against, verdict):
    def fit(row, seed):
        gain = np.full(8, 0.0 if row.key == "face" else by_seed[seed] + 0.01 * seed)
        if row.key != "face" and one_group_against:
            gain[:2] = -2.5
        return Outcome({"gain": float(gain.mean())}, {"gain": gain})

    metric = Metric("gain", "gain", percent=False, statistic=on_rows(np.mean, "gain"))
    study = run_seed_study(tmp_path / "s", FACTS, [FACE, CACA], range(len(by_seed)), fit)
    scores = SeedScores(study, [metric], HELD_OUT, rounds=400)
    assert format_orders(scores, [Ordering("caca-a", "face", "gain")])[1][3] == verdict


def test_parts_by_hand(scores):
    head, face, caca, chance = format_parts(scores, ACCURACY)
    assert head == ["network", "all (8)", "scene (3)", "rest (5)"]
    # of clips 0, 2, 4: 2 2 1 3 0 of 3; of clips 1, 3, 5, 6, 7: 1 2 2 2 1 of 5
    assert face[1:] == ["37.50 (12.50 to 62.50)", "66.67 (0.00 to 100.00)", "40.00 (20.00 to 40.00)"]
    # 3 2 1 3 1 of 3; 3 3 4 5 1 of 5
    assert caca[1:] == ["62.50 (25.00 to 100.00)", "66.67 (33.33 to 100.00)", "60.00 (20.00 to 100.00)"]
    assert chance[2] == "33.33 (33.33 to 33.33)"  # labels 0 1 2
    assert len(format_parts(scores, ERRORS)) == 1  # no statistic
    line = format_orders(scores, OUTLINE.orderings[2:])[1]
    assert line[1:3] == ["CACA-RNN A better than Face-RNN; on scene", ""]
    assert line[4] == "+13.33"  # 1 0 0 0 1 of 3
    with pytest.raises(SettingsError, match="'night'"):
        format_orders(scores, [Ordering("caca-a", "face", "accuracy", part="night")])


def test_confusions_are_of_the_median_run(scores):
    found = {row.key: (run.seed, scores.count_confusions(run)) for row, run, _ in list_confusions(scores)}
    assert {key: seed for key, (seed, _) in found.items()} == {"face": 0, "caca-a": 1, "chance": 0}
    # face, seed 0: right on clips 0, 1, 2, else one class too high; labels 0 0 1 1 2 2 0 1
    assert found["face"][1].tolist() == [[2, 1, 0], [0, 1, 2], [2, 0, 0]]


def test_report_and_pictures(study, scores):
    written = {path.name for path in write_seed_report(scores, OUTLINE)}
    both = ("table", "orders", "orders-parts", "differences-accuracy", "differences-error", "parts-accuracy",
            "confusion-face", "confusion-caca-a", "confusion-chance")  # fmt: skip
    assert written == {f"{name}.{kind}" for name in both for kind in ("md", "csv")} | {
        "values.csv",
        "report.md",
    }
    text = (study.out / "report.md").read_text()
    for words in (
        "# Table I\n",
        "- Drawn by hand.",
        "with the seeds 0, 1, 2, 3, 4.",
        "8, in 4 groups",
        "median over the seeds, metric by metric",
        "another data set: only orderings can be compared",
        "recipe.train.epochs = 3",
        "RMSE (less is better)",
        "400 resamplings",
    ):
        assert words in text, words
    assert "here.csv" not in text
    assert "Not finished" not in text
    values = (study.out / "values.csv").read_text().splitlines()
    assert values[0] == "row,name,seed,accuracy,error"
    assert values[1] == "face,Face-RNN,0,0.375,0.5"
    assert values[-1] == "chance,chance,4,0.375,"
    assert len(values) == 16
    pictures = dict(draw_seed_study(scores, OUTLINE))
    assert all(f"({name})" in text for name in pictures)
    assert set(pictures) == {f"{name}.png" for name in ("table", *both[-3:])}
    figure = pictures["table.png"]
    figure.canvas.draw()
    told = [item.get_text() for item in figure.findobj(lambda item: hasattr(item, "get_text"))]
    for words in ("37.50 (12.50 to 62.50)", "(52.72)", "0.250 (0.125 to 0.500)", "CACA-RNN A (0.79 M)"):
        assert words in told, words
    assert "RMSE, less is better" in told


def test_a_killed_study_goes_on_to_the_same_tables(study, scores, tmp_path):
    write_seed_report(scores, OUTLINE)
    out, calls = tmp_path / "s", []

    def stop_at_the_eighth(row, seed):
        calls.append((row.key, seed))
        if len(calls) == 8:
            raise KeyboardInterrupt
        return fit(row, seed)

    with pytest.raises(KeyboardInterrupt):
        run_seed_study(out, FACTS, [FACE, CACA, CHANCE], range(5), stop_at_the_eighth)
    finished = {path: path.stat().st_mtime_ns for path in out.glob("seeds/*/*")}
    assert len(finished) == 14  # seven runs, a JSON and arrays each
    (out / "seeds" / "2" / "caca-a.npz").write_bytes(b"cut off before its JSON")
    partial = SeedScores(read_seed_study(out, [FACE, CACA, CHANCE]), [ACCURACY, ERRORS], HELD_OUT, rounds=9)
    write_seed_report(partial, OUTLINE)
    assert (
        "**Not finished**, runs that are lacking: CACA-RNN A 1, chance 1" in (out / "report.md").read_text()
    )

    said = []
    again = run_seed_study(out, FACTS, [FACE, CACA, CHANCE], range(5), fit, said.append)
    assert len(said) == 8
    assert said[0].startswith("seed 3 of 5, caca-a: accuracy 0.625, error 0.500 (")
    assert {path: path.stat().st_mtime_ns for path in finished} == finished  # nothing is done twice
    written = write_seed_report(SeedScores(again, [ACCURACY, ERRORS], HELD_OUT, rounds=400), OUTLINE)
    for path in written:
        assert path.read_bytes() == (study.out / path.name).read_bytes(), path.name


def test_rows_and_seeds_may_follow(tmp_path):
    out = tmp_path / "s"
    first = run_seed_study(out, FACTS, [FACE], [1], fit)
    moved = FACTS | {"manifest": "elsewhere.csv"}
    more = run_seed_study(out, moved, [FACE, CACA], [1, 2], fit)
    assert [(run.row, run.seed) for run in more.runs] == [
        ("face", 1),
        ("face", 2),
        ("caca-a", 1),
        ("caca-a", 2),
    ]
    assert json.loads((out / "study.json").read_text())["manifest"] == "elsewhere.csv"
    scores = SeedScores(first, [ACCURACY], HELD_OUT)
    table = format_differences(SeedScores(more, [ACCURACY], HELD_OUT), ACCURACY)
    assert len(table) == 2
    assert format_medians(scores, OUTLINE)[1][2] == "50.00"  # one seed has no extremes


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"sha256": "abd"}, r'another sha256 \("abc"; now "abd"\)'),
        (
            {"recipe": {"train": {"epochs": 4, "rates": [1e-3, 5e-3]}}},
            r"another recipe.train.epochs \(3; now 4\)",
        ),
        ({"recipe": {"train": {"epochs": 3}}}, r"another recipe.train.rates \(\[0.001, 0.005\]; now null\)"),
        ({"more": None}, r"another more \(null; now null\)"),
    ],
)
def test_other_facts_are_refused(study, change, message):
    before = (study.out / "study.json").read_bytes()
    with pytest.raises(DataError, match=message):
        run_seed_study(study.out, FACTS | change, [FACE], [9], fit)
    assert (study.out / "study.json").read_bytes() == before
    assert not (study.out / "seeds" / "9").exists()


def test_other_folders_are_refused(study, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(DataError, match="is not empty and holds no study"):
        run_seed_study(tmp_path, FACTS, [FACE], [0], fit)
    with pytest.raises(DataError, match=r"face.json: parameters is 1579528, expected 7"):
        run_seed_study(study.out, FACTS, [StudyRow("face", "Face-RNN", 7)], [0], fit)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("outcome", "message"),
    [
        (Outcome({"accuracy": math.nan}), "face, seed 0: accuracy is nan"),
        (Outcome({}, {"a": np.zeros(3), "b": np.zeros(4)}), "arrays differ in length"),
        (Outcome({}, {"a": np.array([None])}), "a is no array of numbers or texts"),
    ],
)
def test_what_cannot_be_compared_is_not_kept(tmp_path, outcome, message):
    with pytest.raises(DataError, match=message):
        run_seed_study(tmp_path / "s", FACTS, [FACE], [0], lambda row, seed: outcome)
    assert not (tmp_path / "s" / "seeds").exists()


@pytest.mark.parametrize(("rows", "seeds"), [([], [0]), ([FACE, FACE], [0]), ([FACE], []), ([FACE], [1, 1])])
def test_rows_and_seeds_are_checked(tmp_path, rows, seeds):
    with pytest.raises(SettingsError, match="none twice"):
        run_seed_study(tmp_path / "s", FACTS, rows, seeds, fit)
    with pytest.raises(SettingsError, match=r"StudyRow.key"):
        StudyRow("../face", "x")


def test_scores_must_be_those_of_the_arrays(study, tmp_path):
    def lie(row, seed):
        return Outcome({"accuracy": 0.5}, fit(row, seed).arrays)

    wrong = run_seed_study(tmp_path / "s", FACTS, [FACE], [0], lie)
    with pytest.raises(DataError, match=r"face.json: accuracy is 0.5, but 0.375 by its arrays"):
        SeedScores(wrong, [ACCURACY], HELD_OUT)
    with pytest.raises(DataError, match="of 8 test items, expected 9"):
        SeedScores(study, [ACCURACY], HeldOut([*GROUPS, "e"]))
    with pytest.raises(DataError, match="holds no array 'values'"):
        SeedScores(study, [Metric("accuracy", "ACC", True, statistic=on_rows(np.mean, "values"))], HELD_OUT)
    with pytest.raises(SettingsError, match="held_out"):
        SeedScores(study, [ACCURACY])
    two = SeedScores(study, [ACCURACY], HeldOut(GROUPS, classes=("a", "b")))
    with pytest.raises(DataError, match="not of 2 classes"):
        list(list_confusions(two))


def test_broken_files_are_named(tmp_path):
    out = tmp_path / "s"
    run_seed_study(out, FACTS, [FACE], [0], fit)
    path = out / "seeds" / "0" / "face.npz"
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(DataError, match=r"face.npz: not readable"):
        read_seed_study(out, [FACE])
    path.with_suffix(".json").write_text("{")
    with pytest.raises(DataError, match=r"face.json: not readable"):
        run_seed_study(out, FACTS, [FACE], [0], fit)
    with pytest.raises(DataError, match=r"study.json: not readable"):
        read_seed_study(tmp_path / "none", [FACE])
