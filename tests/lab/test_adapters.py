"""Adapters: public sets as manifests."""

import pytest
from PIL import Image

from moodreel.lab.data.adapters import export_emoji, export_emoji_words, export_fer2013, main
from moodreel.lab.data.emoji_words import guess_scores
from moodreel.lab.data.manifest import split_by_group
from moodreel.media import read_clip


class TestAdapters:
    def test_split_is_stable_and_of_about_the_right_size(self):
        splits = [split_by_group(f"g{i}", val=0.1, test=0.3) for i in range(4000)]
        assert splits[:5] == [split_by_group(f"g{i}", val=0.1, test=0.3) for i in range(5)]
        assert splits.count("test") / 4000 == pytest.approx(0.3, abs=0.03)
        assert splits.count("val") / 4000 == pytest.approx(0.1, abs=0.02)

    def test_missing_source_is_one_line(self, tmp_path, capsys):
        assert main(["fer2013", str(tmp_path), "--out", str(tmp_path / "o")]) == 2
        assert capsys.readouterr().err.startswith("moodreel: ")

    def test_fer2013_leaves_copies_of_test_pictures_out(self, tmp_path):
        import io

        import pyarrow as pa
        import pyarrow.parquet as pq

        def png(value):
            stream = io.BytesIO()
            Image.new("L", (4, 4), value).save(stream, "png")
            return stream.getvalue()

        for part, values in (("public_test", [1, 2]), ("train", [2, 3, 3, 4])):
            table = {"name": ["same.jpg"] * len(values), "emotion": ["fear"] * len(values)}
            pq.write_table(
                pa.table({**table, "image": [png(v) for v in values]}), tmp_path / f"fer2013_{part}.parquet"
            )
        rows = export_fer2013(tmp_path, tmp_path / "out")
        assert [row.split == "test" for row in rows] == [True, True, False, False, False]
        assert rows[2].group == rows[3].group != rows[4].group  # copies cannot cross a split
        assert len({row.clip for row in rows}) == 5  # one name, five files

    def test_emoji(self, tmp_path, data):
        source = tmp_path / "source"
        (source / "lottie").mkdir(parents=True)
        for name in ("1f604", "1f44b", "1f44b_1f3fb"):
            (source / "lottie" / f"{name}.json").write_bytes(data(f"emoji/lottie/{name}.json").read_bytes())
        (source / "ratings.csv").write_bytes(data("emoji/ratings.csv").read_bytes())
        rows = {row.clip.stem: row for row in export_emoji(source, tmp_path / "out")}
        assert rows["1f44b"].group == rows["1f44b_1f3fb"].group == "emoji:1f44b"
        assert rows["1f44b"].split == rows["1f44b_1f3fb"].split
        assert not rows["1f44b_1f3fb"].scores  # the raters saw the base emoji
        clip = read_clip(rows["1f604"].clip, mode="rgba")
        assert clip.frames.shape[1:] == (160, 160, 4)
        assert 12 <= len(clip) <= 24  # equal frames are stored once
        assert clip.frames[:, 0, 0, 3].max() == 0  # the corners of a smiley are clear
        import csv

        with data("emoji/ratings.csv").open() as stream:
            joy = next(float(r["joy"]) for r in csv.DictReader(stream) if r["codepoint"] == "1f604")
        assert rows["1f604"].scores["happiness"] == pytest.approx(2 * joy - 1)

    def test_emoji_words_are_for_training_and_for_unrated_emoji_alone(self, tmp_path, data):
        source = tmp_path / "source"
        (source / "lottie").mkdir(parents=True)
        drawing = data("emoji/lottie/1f604.json").read_bytes()
        names = {
            "1f620": "angry",  # rated
            "1f92c": "cursing",
            "1f929": "star struck",  # its group is of the validation split
            "1f92e": "vomit",  # of the test split
            "1f44b_1f3fb": "wave",  # no word that is known
        }
        for name in names:
            (source / "lottie" / f"{name}.json").write_bytes(drawing)
        lines = [f"{code},{tags},1" for code, tags in names.items()]
        (source / "names.csv").write_text("\n".join(["codepoint,tags,popularity", *lines]))
        (source / "ratings.csv").write_text("codepoint,name,joy\n1f620,angry face,0\n")
        rows = export_emoji_words(source, tmp_path / "out")
        given = [("1f929", None), ("1f92c", "train"), ("1f92e", None)]  # held out elsewhere: no split here
        assert [(row.clip.stem, row.split) for row in rows] == given
        assert rows[1].scores == guess_scores("cursing")

    def test_words_of_a_name(self):
        assert guess_scores("robot") == {}
        angry = guess_scores("Angry face")
        assert angry == {
            "anger": 0.9, "disgust": 0.0, "fear": -0.8, "happiness": -1.0, "sadness": -0.6, "surprise": -0.8
        }  # fmt: skip
        # a phrase counts once, not also by its words; two words give their mean
        assert guess_scores("money face") != guess_scores("face")
        both = guess_scores("happy cry")
        assert both["happiness"] == pytest.approx((2 * 0.75 - 1 - 1) / 2)
        assert both["sadness"] == pytest.approx((-1 + 2 * 0.95 - 1) / 2)
        assert guess_scores("smiles") == {}  # whole words only
