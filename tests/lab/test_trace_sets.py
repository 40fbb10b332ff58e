"""Public layouts of ratings along time, built small: exact times, values, splits, and what is named."""

import json

import numpy as np
import pytest
from PIL import Image

from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.manifest import read_manifest
from moodreel.lab.data.trace_files import Trace, read_recording, write_trace
from moodreel.lab.data.trace_sets import import_afewva, import_affwild2, import_avec, main
from moodreel.media import open_media, write_mp4

# The header of AVEC 2016's gold standard, as its baseline's template has it
ARFF = """@relation GOLDSTANDARD

@attribute Instance_name string
@attribute frameTime numeric
@attribute GoldStandard numeric


@data

"""


def save_video(path, durations):
    path.parent.mkdir(parents=True, exist_ok=True)
    frames = np.random.default_rng(len(durations)).integers(0, 256, (len(durations), 16, 16, 3), np.uint8)
    write_mp4(path, frames, np.array(durations))
    return path


def save_text(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


class TestRecordings:
    def test_arff_of_a_gold_standard(self, tmp_path):
        text = ARFF + "dev_1,0,-0.022925\n% remark\n'dev_1',0.04,?\n\ndev_1,0.08,0.1\n"
        trace = read_recording(save_text(tmp_path / "dev_1.arff", text), "valence")
        assert trace.times.tolist() == [0, 0.04, 0.08]
        assert list(trace.columns) == ["valence"]
        assert trace.columns["valence"] == pytest.approx([-0.022925, np.nan, 0.1], nan_ok=True)

    def test_csv_of_raters(self, tmp_path):
        text = "time;FM1 ;FM2 ;FF1\n0.00;0.00;-0.1;1\n0.04;0.02;NaN;\n"
        trace = read_recording(save_text(tmp_path / "P16.csv", text), "valence")
        assert list(trace.columns) == ["FM1", "FM2", "FF1"]
        assert trace.times.tolist() == [0, 0.04]
        assert trace.columns["FM2"] == pytest.approx([-0.1, np.nan], nan_ok=True)
        assert trace.columns["FF1"] == pytest.approx([1, np.nan], nan_ok=True)

    @pytest.mark.parametrize("header", ["name;timestamp;arousal;valence;liking\n", ""])
    @pytest.mark.parametrize(("dimension", "values"), [("valence", [0.2, -0.5]), ("liking", [0.3, 0.6])])
    def test_csv_of_sewa(self, tmp_path, header, dimension, values):
        text = header + "'Train_DE_01';0.0;0.1;0.2;0.3\n'Train_DE_01';0.1;0.4;-0.5;0.6\n"
        trace = read_recording(save_text(tmp_path / "Train_DE_01.csv", text), dimension)
        assert trace.times.tolist() == [0, 0.1]
        assert {name: column.tolist() for name, column in trace.columns.items()} == {dimension: values}

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("a.csv", "", "no ratings in it"),
            ("a.csv", "time;valence\n", "no ratings in it"),
            ("a.csv", "index;valence\n0;1\n", r"no column of times \(got index, valence\)"),
            ("a.csv", "time;arousal\n0;1\n", r"no column valence \(got time, arousal\)"),
            ("a.csv", "time;valence\n0;0\n0;0\n", r"a\.csv:3: time 0: expected seconds, ascending"),
            ("a.csv", "time;valence\n-1;0\n", r"a\.csv:2: time -1: expected"),
            ("a.csv", "time;valence\n?;0\n", r"a\.csv:2: time nan: expected"),
            ("a.csv", "time;valence\n0;0\n0.1;x\n", r"a\.csv:3: 'x': expected a number"),
            ("a.csv", "time;valence\n0;0\n0.1;0;0\n", r"a\.csv:3: 2 values expected, got 3"),
            ("a.csv", "time;valence\n0;0\n0.1;-12\n", r"a\.csv:3: valence -12: expected -1 to 1"),
            ("a.csv", "time;valence\n0;inf\n", r"a\.csv:2: 'inf': expected a number"),
            ("a.csv", "0;0.5\n0.1;0.5\n", r"a\.csv:1: no header, and not the columns name, timestamp"),
            ("a.csv", "name;time;valence\na;0;0\nb;1;0\n", "several recordings in one file"),
            ("a.csv", "time;FM1;FM1\n0;0;0\n", "names of raters repeat"),
            ("a.arff", "time;valence\n0;0\n", "no @data"),
            ("a.arff", ARFF + "a,0\n", r"a\.arff:10: 3 values expected, got 2"),
            ("a.arff", "@attribute time\n@data\n0\n", r"a\.arff:1: expected @attribute NAME TYPE"),
        ],
    )
    def test_what_is_wrong(self, tmp_path, name, text, message):
        with pytest.raises(DataError, match=message):
            read_recording(save_text(tmp_path / name, text), "valence")

    def test_what_is_written(self, tmp_path):
        times = np.array([0.0, 1 / 3, 1234.5678914, 2000.0])
        columns = {"valence": np.array([-1, 0.25, np.nan, 1 / 3]), "b": np.array([0.0, 1e-9, 1, np.nan])}
        write_trace(tmp_path / "t" / "a.csv", Trace(times, columns))
        assert (tmp_path / "t" / "a.csv").read_text() == (
            "time_s,valence,b\n0,-1,0\n0.333333,0.25,0\n1234.567891,,1\n2000,0.333333,\n"
        )


class TestAvec:
    def make(self, tmp_path):
        """Two dimensions, three recordings, one video each; and one recording without a video."""
        gold = tmp_path / "ratings_gold_standard"
        for name in ("train_1", "train_2", "dev_1", "test_1"):
            for dimension, value in (("arousal", 0.9), ("valence", -0.25)):
                lines = "".join(f"{name},{i * 0.04:g},{value}\n" for i in range(3))
                save_text(gold / dimension / f"{name}.arff", ARFF + lines)
        for name in ("train_1", "dev_1", "test_1"):
            save_video(tmp_path / "recordings_video" / f"{name}.mp4", [0.04] * 4)
        return gold, tmp_path / "recordings_video"

    def test_recola(self, tmp_path):
        gold, videos = self.make(tmp_path)
        for labels in (gold, gold / "valence"):
            found = import_avec(labels, videos, "valence", tmp_path / "out")
            assert [(row.clip, row.group, row.split) for row in found.rows] == [
                (videos / "dev_1.mp4", "subject:dev_1", "val"),
                (videos / "test_1.mp4", "subject:test_1", "test"),
                (videos / "train_1.mp4", "subject:train_1", "train"),
            ]
            assert found.rows[0].trace == tmp_path / "out" / "traces" / "dev_1.csv"
            assert found.rows[0].trace.read_text() == "time_s,valence\n0,-0.25\n0.04,-0.25\n0.08,-0.25\n"
            assert found.problems == (
                f"1 recordings with ratings have no video of their own in {videos}: train_2",
            )
            assert found.notes == ()
        with pytest.raises(DataError, match="the name says arousal, but valence is asked for"):
            import_avec(gold / "arousal", videos, "valence", tmp_path / "out")

    def test_raters_without_partitions(self, tmp_path):
        save_text(tmp_path / "r" / "P16.csv", "time;FM1 ;FF1\n0.00;0.5;0\n2;0.5;0.1\n")
        save_text(tmp_path / "r" / "P17.csv", "time;FM1 ;FF1\n0.00;0.5;7\n")
        save_text(tmp_path / "r" / "P18.csv", "time;FM1 ;FF1\n0.00;?;\n1;NaN;?\n")
        for name in ("P16", "P17", "P18"):
            save_video(tmp_path / "v" / "deep" / f"{name}.mp4", [0.5, 0.25])
        found = import_avec(tmp_path / "r", tmp_path / "v", "valence", tmp_path / "out")
        assert [(row.group, row.split) for row in found.rows] == [("subject:P16", None)]
        assert found.rows[0].trace.read_text() == "time_s,FM1,FF1\n0,0.5,0\n2,0.5,0.1\n"
        assert found.problems == (
            f"{tmp_path / 'r' / 'P17.csv'}:2: FF1 7: expected -1 to 1",
            "1 clips are rated at no time: P18",
        )
        assert found.notes == ("1 recordings are rated for more than 1 s after their video has ended: P16",)

    def test_broken_videos_and_names_that_repeat(self, tmp_path):
        gold, videos = self.make(tmp_path)
        (videos / "dev_1.mp4").write_bytes(b"no video at all")
        (videos / "one").mkdir()
        (videos / "test_1.mp4").rename(videos / "one" / "test_1.mp4")
        save_video(videos / "two" / "test_1.mp4", [0.1])
        save_text(gold / "valence" / "train_1.csv", "time;valence\n0;0\n")
        found = import_avec(gold / "valence", videos, "valence", tmp_path / "out")
        assert [row.clip.stem for row in found.rows] == ["train_1"]
        broken, missing, twice = found.problems
        assert broken.startswith(f"{videos / 'dev_1.mp4'}: ")
        arff, again = (gold / "valence" / f"train_1.{suffix}" for suffix in ("arff", "csv"))
        assert twice == f"{again}: {arff} is named alike: left out"
        assert "-0.25" in found.rows[0].trace.read_text()
        assert missing.endswith(": test_1 (2 found), train_2")


class TestAfewva:
    def save(self, folder, values, actor="Ann", names=None, **more):
        """A clip's folder: stills numbered from 00000, and the JSON beside them."""
        folder.mkdir(parents=True)
        for n in names if names is not None else range(len(values)):
            Image.new("RGB", (16, 16), (40 * n, 10, 10)).save(folder / f"{n:05d}.png")
        frames = {
            f"{n:05d}": {"landmarks": [[1.0, 2.0]], "valence": value, "arousal": -value}
            for n, value in enumerate(values)
            if value is not None
        }
        content = {"video_id": folder.name, "actor": actor, "frames": frames, **more}
        save_text(folder / f"{folder.name}.json", json.dumps(content))

    def test_stills_become_clips_with_times(self, tmp_path):
        self.save(tmp_path / "AFEW-VA" / "01" / "001", [-10, 0, None, 5])
        self.save(tmp_path / "AFEW-VA" / "01" / "002", [1, 2], actor="Ben")
        self.save(tmp_path / "AFEW-VA" / "12" / "600", [3.0, 4.0])
        found = import_afewva(tmp_path / "AFEW-VA", 25.0, "valence", tmp_path / "out")
        assert [(row.clip.name, row.group, row.split) for row in found.rows] == [
            ("001.mp4", "actor:Ann", None),
            ("002.mp4", "actor:Ben", None),
            ("600.mp4", "actor:Ann", None),
        ]
        assert found.problems == found.notes == ()
        assert open_media(found.rows[0].clip).timeline.starts == pytest.approx(
            [0, 0.04, 0.08, 0.12], abs=1e-5
        )
        text = found.rows[0].trace.read_text()
        assert text == "time_s,valence\n0,-1\n0.04,0\n0.08,\n0.12,0.5\n"
        found = import_afewva(tmp_path / "AFEW-VA", 25.0, "arousal", tmp_path / "out")
        assert found.rows[1].trace.read_text() == "time_s,arousal\n0,-0.1\n0.04,-0.2\n"

    def test_a_video_has_times_of_its_own(self, tmp_path):
        self.save(tmp_path / "set" / "001", [10, -10, 2], names=())
        video = save_video(tmp_path / "set" / "001" / "001.mp4", [0.5, 0.1, 0.2])
        found = import_afewva(tmp_path / "set", None, "valence", tmp_path / "out")
        assert found.rows[0].clip == video
        assert found.rows[0].trace.read_text() == "time_s,valence\n0,1\n0.5,-1\n0.6,0.2\n"

    def test_what_is_wrong_is_named_and_the_rest_is_read(self, tmp_path):
        root = tmp_path / "set"
        self.save(root / "001", [1, 2, 3, 4], names=(1, 3))  # stills 0 and 2 are gone
        self.save(root / "002", [1, 2], actor="")
        self.save(root / "003", [11, 2])
        self.save(root / "004", [1], names=())
        save_text(root / "005" / "005.json", "{")
        save_text(root / "006" / "006.json", '{"frames": {"00000": {"arousal": 1}}}')
        found = import_afewva(root, 10.0, "valence", tmp_path / "out")
        assert [(row.clip.stem, row.group) for row in found.rows] == [
            ("001", "actor:Ann"),
            ("002", "afewva:002"),
        ]
        assert found.rows[0].trace.read_text() == "time_s,valence\n0,0.2\n0.1,0.4\n"
        assert found.notes == ("1 clips name no actor: each is a group of its own: 002",)
        lost, scale, bare, broken, other = found.problems
        assert lost == f"{root / '001' / '001.json'}: 2 labels are no frames of the clip: 0, 2"
        assert scale == f"{root / '003' / '003.json'}: at 0 s: valence 1.1: expected -1 to 1"
        assert bare.endswith("neither a video 004 nor numbered frames beside it")
        assert "005.json: not JSON" in broken
        assert "006.json: expected frames -> number -> valence" in other
        found = import_afewva(root, None, "valence", tmp_path / "out")
        assert (
            "3 clips are folders of frames, without times: state their --fps: 001, 002, 003" in found.problems
        )
        with pytest.raises(SettingsError, match="--fps"):
            import_afewva(root, 0.0, "valence", tmp_path / "out")


class TestAffwild2:
    def make(self, tmp_path):
        labels = tmp_path / "VA_Estimation_Challenge"
        uneven = save_video(tmp_path / "batch1" / "video1.mp4", [0.04, 0.5, 0.04, 0.2])
        save_video(tmp_path / "batch2" / "10-60-1280x720.mp4", [0.1, 0.1])
        save_text(labels / "Train_Set" / "video1.txt", "valence,arousal\n0.5,0.1\n-5,-5\n-1,1\n-0.25,0\n")
        save_text(labels / "Validation_Set" / "10-60-1280x720.txt", "valence,arousal\n0.1,0.2\n-0.1,-5.0\n")
        return labels, uneven

    def test_lines_belong_to_frames(self, tmp_path):
        labels, video = self.make(tmp_path)
        found = import_affwild2(labels, tmp_path, "valence", tmp_path / "out")
        assert [(row.clip.stem, row.group, row.split) for row in found.rows] == [
            ("video1", "affwild2:video1", "train"),
            ("10-60-1280x720", "affwild2:10-60-1280x720", "val"),
        ]
        assert found.rows[0].clip == video
        text = found.rows[0].trace.read_text()
        assert text == "time_s,valence\n0,0.5\n0.04,\n0.54,-1\n0.58,-0.25\n"  # the file's own, uneven times
        assert found.problems == found.notes == ()
        found = import_affwild2(labels, tmp_path, "arousal", tmp_path / "out")
        assert found.rows[1].trace.read_text() == "time_s,arousal\n0,0.2\n0.1,\n"

    def test_what_is_left_out(self, tmp_path):
        labels, _ = self.make(tmp_path)
        rated = "valence,arousal\n" + "0,0\n" * 4
        save_text(labels / "Train_Set" / "video2_left.txt", rated)
        save_text(labels / "Train_Set" / "gone.txt", rated)
        save_text(labels / "Train_Set" / "expr.txt", "Neutral,Anger\n0\n")
        save_text(labels / "Train_Set" / "short.txt", rated)
        save_text(labels / "Train_Set" / "torn.txt", rated + "0\n")
        save_text(labels / "Train_Set" / "empty.txt", "valence,arousal\n" + "-5,-5\n" * 4)
        save_text(labels / "Train_Set" / "long.txt", "valence,arousal\n" + "0,0\n" * 201)
        for name, count in (("expr", 4), ("short", 9), ("torn", 4), ("empty", 4), ("long", 200)):
            save_video(tmp_path / "batch1" / f"{name}.mp4", [0.04] * count)
        found = import_affwild2(labels, tmp_path, "valence", tmp_path / "out")
        rows = {row.clip.stem: row for row in found.rows}
        assert set(rows) == {"video1", "10-60-1280x720", "long"}
        assert len(rows["long"].trace.read_text().splitlines()) == 201
        expr, short, torn, gone, empty = found.problems
        assert expr.endswith("expr.txt:1: expected the header valence,arousal, got 'neutral,anger'")
        assert short.endswith(f"short.txt: 4 labels, but 9 frames in {tmp_path / 'batch1' / 'short.mp4'}")
        assert torn.endswith("torn.txt:6: 2 values expected, got '0'")
        assert gone == f"1 recordings with labels have no video of their own in {tmp_path}: gone"
        assert empty == "1 clips are rated at no time: empty"
        assert found.notes == (
            "1 recordings differ in labels and frames: cut, or left missing at the end: long (+1)",
            "1 texts rate one of two people in the picture: left out: video2_left",
        )

    def test_a_video_of_two_sets_stays_in_the_later_one(self, tmp_path):
        labels, _ = self.make(tmp_path)
        save_text(labels / "Test_Set" / "video1.txt", "valence,arousal\n" + "0.125,0\n" * 4)
        found = import_affwild2(labels, tmp_path, "valence", tmp_path / "out")
        assert {row.clip.stem: row.split for row in found.rows} == {"video1": "test", "10-60-1280x720": "val"}
        assert found.rows[0].trace.read_text().splitlines()[1:] == [
            "0,0.125",
            "0.04,0.125",
            "0.54,0.125",
            "0.58,0.125",
        ]
        assert found.problems == ()
        assert found.notes == (
            "1 clips left out: their group stands in a later split too: video1.mp4 (train)",
        )


def test_command(tmp_path, capsys, monkeypatch):
    labels, _ = TestAffwild2().make(tmp_path)
    monkeypatch.chdir(tmp_path)
    assert main(["affwild2", str(labels), str(tmp_path), "--out", "out"]) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'out' / 'manifest.csv'}: 2 clips of 2 groups (train 1, val 1)\n"
    )
    rows = read_manifest(tmp_path / "out" / "manifest.csv").rows
    assert rows[0].trace == tmp_path / "out" / "traces" / "video1.csv"
    assert "traces/video1.csv" in (tmp_path / "out" / "manifest.csv").read_text()
    assert main(["affwild2", str(labels), str(tmp_path / "batch2"), "--out", "out"]) == 1
    assert "moodreel: 1 recordings with labels have no video" in capsys.readouterr().err
    assert main(["avec", str(labels), str(tmp_path), "--out", "out"]) == 2
    assert "no .arff or .csv in it" in capsys.readouterr().err
    assert main(["afewva", str(tmp_path / "none"), "--out", "out"]) == 2
    assert "no such folder" in capsys.readouterr().err
