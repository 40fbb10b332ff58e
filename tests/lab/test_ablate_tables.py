"""Rows, tables and verdicts of the ablation, on numbers made by hand."""

from dataclasses import replace

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17, QUADRANTS
from moodreel.errors import SettingsError
from moodreel.lab import ablate as ablate_module
from moodreel.lab.ablation.fit import Labels, Prediction, strongest_quadrant
from moodreel.lab.ablation.rows import ACCURACY_ORDER, BY_KEY, NMSE_ORDER, settings_of
from moodreel.lab.ablation.scores import score_attention, score_labels
from moodreel.lab.ablation.sheets import to_csv, to_markdown
from moodreel.lab.ablation.tables import (
    compare,
    format_accuracy,
    format_differences,
    format_nmse,
    judge_orders,
    list_lines,
)
from moodreel.lab.protocols import Split
from moodreel.lab.settings import KavanSettings, recipe_from_dict


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


def test_splits_of_a_study_leave_validation_out_of_the_linear_rows_choice():
    """The mean takes what is not test, validation included."""
    labels = make_labels(np.random.default_rng(1), 10)
    split = Split(np.arange(6), np.arange(6, 8), np.arange(8, 10))
    prediction = ablate_module.predict_mean(labels, split)
    assert prediction.intensities[0] == pytest.approx(labels.scores[:8].mean(axis=0))
    assert prediction.category.tolist() == [int(np.bincount(labels.category[:8]).argmax())] * 2
