"""Paired comparison of two bundles, on results made by hand."""

import io

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17
from moodreel.errors import DataError
from moodreel.lab import compare as module
from moodreel.lab.compare import compare
from moodreel.lab.data.manifest import Row, write_manifest
from moodreel.report.terminal import Style, format_differences
from moodreel.types import Result


class FakeSide:
    """A recogniser whose results are a function of the clip's number."""

    def __init__(self, system, emotions, category):
        self.info = type("Info", (), {"system": system})
        self.emotions, self.category = emotions, category

    def map(self, clips):
        for clip in clips:
            number = int(clip.stem)
            error = "broken" if number == 99 else None
            scores = dict.fromkeys(GIFGIF_17) | self.emotions(number)
            yield Result(str(clip), "m", "1", error=error, emotions=scores, category=self.category(number))


def use(monkeypatch, **sides):
    monkeypatch.setattr(module, "open_target", sides.__getitem__)


def write_rows(tmp_path):
    """Twelve clips of six groups: fear rises with the number, anger is known of two clips only."""
    rows = [
        Row(
            tmp_path / f"{i}.gif", f"g{i // 2}", "test", {"fear": i / 12} | ({"anger": -1.0} if i < 2 else {})
        )
        for i in range(12)
    ]
    rows.append(Row(tmp_path / "99.gif", "g9", "test", {"fear": 0.1}))
    write_manifest(tmp_path / "m.csv", rows)
    return tmp_path / "m.csv"


def test_kavan_by_hand(tmp_path, monkeypatch):
    manifest = write_rows(tmp_path)
    # Every quadrant is misery-arousal (fear is the strongest). One is right in order and in all quadrants,
    # the other orders backwards and is right in every second. Only the one scores guilt: it does not count.
    one = FakeSide("kavan", lambda i: {"fear": i / 50, "guilt": 0.3}, lambda i: "misery_arousal")
    two = FakeSide(
        "kavan", lambda i: {"fear": -i / 50}, lambda i: ("misery_arousal", "misery_sleepiness")[i % 2]
    )
    use(monkeypatch, one=one, two=two)
    found = compare("one", "two", [manifest])["m"]
    assert (found["clips"], found["groups"], found["failed"]) == (12, 6, 1)
    assert found["scores"].keys() == {"mean_spearman", "quadrant_accuracy"}
    order, quadrant = found["scores"]["mean_spearman"], found["scores"]["quadrant_accuracy"]
    assert (order["score"], order["other"], order["difference"]) == pytest.approx((1, -1, 2))
    assert (quadrant["score"], quadrant["other"], quadrant["difference"]) == pytest.approx((1, 0.5, 0.5))
    assert quadrant["interval"] == pytest.approx((0.5, 0.5))  # every group has one of each: no spread
    text = format_differences({"m": found}, Style(io.StringIO()))
    assert "quadrant_accuracy" in text
    assert "+0.5000 to +0.5000" in text


def test_equal_sides_differ_by_nothing(tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    noise = rng.normal(size=100).tolist()
    side = FakeSide("kavan", lambda i: {"fear": noise[i]}, lambda i: "misery_arousal")
    use(monkeypatch, a=side, b=side)
    for score in compare("a", "b", [write_rows(tmp_path)])["m"]["scores"].values():
        assert score["difference"] == 0
        assert score["interval"] == (0, 0)


def test_face_and_what_cannot_be_compared(tmp_path, monkeypatch):
    manifest = tmp_path / "f.csv"
    labels = ["happiness", "fear", "fear", "neutral"]
    write_manifest(
        manifest,
        [Row(tmp_path / f"{i}.png", f"p{i}", "test", labels={"ekman": k}) for i, k in enumerate(labels)],
    )
    right = FakeSide("face", lambda i: {}, lambda i: labels[i % 4])
    happy = FakeSide("face", lambda i: {}, lambda i: "happiness")
    use(monkeypatch, right=right, happy=happy, clip=FakeSide("kavan", lambda i: {}, lambda i: None))
    accuracy = compare("happy", "right", [manifest], "all")["f"]["scores"]["accuracy"]
    assert (accuracy["score"], accuracy["other"], accuracy["clips"]) == (0.25, 1.0, 4)
    assert accuracy["interval"][0] <= -0.75 <= accuracy["interval"][1]
    with pytest.raises(DataError, match="right is of face, clip of kavan"):
        compare("right", "clip", [manifest])
    with pytest.raises(DataError, match="no row of 13 with a label that both score"):
        compare("right", "happy", [write_rows(tmp_path)])


def test_classes_of_mec(tmp_path, monkeypatch):
    """Three rows of MEC, one that an Ekman label stands in for, one without a class there."""
    labels = [{"mec": "happy"}, {"mec": "worried"}, {"mec": "sad"}, {"ekman": "anger"}, {"ekman": "fear"}]
    rows = [Row(tmp_path / f"{i}.gif", f"g{i}", "test", labels=label) for i, label in enumerate(labels)]
    write_manifest(tmp_path / "m.csv", rows)
    right = FakeSide("caca-rnn", lambda i: {}, ("happy", "worried", "sad", "angry", "neutral").__getitem__)
    happy = FakeSide("caca-rnn", lambda i: {}, lambda i: "happy")
    use(monkeypatch, right=right, happy=happy)
    (score,) = compare("right", "happy", [tmp_path / "m.csv"])["m"]["scores"].values()
    assert (score["score"], score["other"], score["clips"]) == (1, 0.25, 4)
