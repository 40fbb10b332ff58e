"""Public layouts of clips with one class each, built small: exact rows, labels, splits, and what is named."""

import hashlib
import itertools
import re

import numpy as np
import pytest
from PIL import Image

from moodreel.emotions import CLASS_ALIASES, DFEW_CODES, EKMAN_7, VOCABULARIES, name_class
from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.class_sets import ClassSettings, import_dfew, import_folder, import_lists, main
from moodreel.lab.data.imports import ClipFinder, keep_apart, list_some, share_validation, split_of_name
from moodreel.lab.data.manifest import Row, read_manifest, split_by_group
from moodreel.media import open_media, write_gif, write_mp4

SEEN = itertools.count(1000)


def save_clip(path, value=None):
    """A clip of two frames; without ``value`` no two are the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(next(SEEN) if value is None else value)
    frames = rng.integers(0, 256, (2, 8, 8, 3), np.uint8)
    (write_gif if path.suffix == ".gif" else write_mp4)(path, frames, np.full(2, 0.2))
    return path


def save_frames(folder, values):
    folder.mkdir(parents=True)
    for number, value in enumerate(values, start=1):
        Image.new("RGB", (8, 8), (value, value, value)).save(folder / f"{number}.png")


def group_of(path):
    return f"clip:{hashlib.sha256(hashlib.sha256(path.read_bytes()).digest()).hexdigest()[:16]}"


def pick(rows, *fields):
    """(path below the data, wanted fields) of each row."""
    return [tuple(getattr(row, name) for name in fields) for row in rows]


class TestNames:
    @pytest.mark.parametrize(
        ("name", "split"),
        [
            ("train", "train"), ("Train_AFEW", "train"), ("Training", "train"),
            ("train(single-labeled)", "train"), ("Train_DE_01", "train"), ("train_1", "train"),
            ("Val_AFEW", "val"), ("validation", "val"),
            ("Validation_Set", "val"), ("valid", "val"), ("dev_9", "val"), ("Devel_HU_03", "val"),
            ("Development", "val"), ("TEST", "test"), ("testing", "test"), ("Test_CN_70", "test"),
            ("P16", None), ("trainer", None), ("Angry", None), ("valence", None), ("device", None),
        ],
    )  # fmt: skip
    def test_splits(self, name, split):
        assert split_of_name(name) == split

    def test_classes(self):
        words = ("Angry", " HAPPY", "Sad", "Surprise", "Neutral", "Fear")
        assert [name_class(n, "ekman") for n in words] == [
            "anger", "happiness", "sadness", "surprise", "neutral", "fear",
        ]  # fmt: skip
        # The words of MEC 2017's task description
        words = ("Angry", "Disgust", "Happiness", "Sad", "Surprise", "Anxious", "Worried", "Neutral")
        assert [name_class(n, "mec") for n in words] == [
            "angry", "disgust", "happy", "sad", "surprise", "anxious", "worried", "neutral",
        ]  # fmt: skip
        assert name_class("contempt", "ekman") is None
        assert name_class("happiness", "mec") == "happy"
        for vocabulary, aliases in CLASS_ALIASES.items():
            assert set(aliases.values()) <= set(VOCABULARIES[vocabulary])
            assert not aliases.keys() & set(VOCABULARIES[vocabulary])
        assert set(DFEW_CODES.values()) == set(EKMAN_7)

    def test_lists_are_cut(self):
        assert list_some("are gone", [], "clips") == []
        assert list_some("are gone", ["b", "a"], "clips") == ["2 clips are gone: a, b"]
        assert list_some("are gone", "gfedcba", "clips") == ["7 clips are gone: a, b, c, d, e and 2 more"]


class TestFinder:
    def test_names(self, tmp_path):
        for place in ("a/0001.avi", "b/0001.mp4", "b/deep/0002.mp4", "x.y.mp4"):
            (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / place).write_bytes(b"x")
        save_frames(tmp_path / "c" / "0003", (1, 2))
        finder = ClipFinder(tmp_path)
        root = tmp_path.resolve()
        assert finder.find("a/0001.avi") == [root / "a/0001.avi"]
        assert finder.find("a/0001") == [root / "a/0001.avi"]
        assert finder.find("a/0001.mp4") == [root / "a/0001.avi"]  # converted since the list was made
        assert finder.find("0002") == finder.find("0002.avi") == [root / "b/deep/0002.mp4"]
        assert finder.find("0001") == [root / "a/0001.avi", root / "b/0001.mp4"]
        assert finder.find("a/0002") == []  # numbers begin anew in every folder: not looked for elsewhere
        assert finder.find("c/0003") == [root / "c/0003"]
        assert finder.find("x.y") == [root / "x.y.mp4"]
        assert (
            finder.find("c")
            == finder.find("")
            == finder.find("../other")
            == finder.find("/etc/hostname")
            == []
        )
        with pytest.raises(DataError, match="no such folder of clips"):
            ClipFinder(tmp_path / "none")


class TestRules:
    def test_held_out_groups_leave_training(self, tmp_path):
        stated = [
            ("a", "train"),
            ("a", "test"),
            ("b", "val"),
            ("b", "train"),
            ("c", "train"),
            ("a", "val"),
            ("a", None),
        ]
        rows = [Row(tmp_path / f"{n}.gif", group, split) for n, (group, split) in enumerate(stated)]
        kept, lines = keep_apart(rows)
        assert [row.clip.stem for row in kept] == ["1", "2", "4", "6"]
        assert lines == [
            "3 clips left out: their group stands in a later split too: "
            "0.gif (train), 3.gif (train), 5.gif (val)"
        ]

    def test_a_tenth_of_the_training_groups_validates(self, tmp_path):
        rows = [Row(tmp_path / f"{n}.gif", f"g{n // 2}", "train" if n < 400 else "test") for n in range(500)]
        shared = share_validation(rows)
        assert [row.split for row in shared[400:]] == ["test"] * 100
        for row in shared[:400]:
            assert row.split == split_by_group(row.group, 0.1, 0.0)
        assert 20 <= sum(row.split == "val" for row in shared) <= 60
        rows[0] = Row(rows[0].clip, "other", "val")
        assert share_validation(rows) == rows


class TestFolder:
    def test_afew(self, tmp_path):
        root = tmp_path / "AFEW"
        places = (
            "Train_AFEW/Angry/000046280.avi",
            "Train_AFEW/Sad/000064680.avi",
            "Val_AFEW/Happy/011603980.avi",
        )
        clips = [save_clip(root / place.replace(".avi", ".mp4")) for place in places]
        save_clip(root / "Test_AFEW" / "000112320.mp4")
        found = import_folder(root, ClassSettings(), tmp_path / "out")
        assert pick(found.rows, "clip", "group", "split", "labels") == [
            (clips[0].resolve(), group_of(clips[0]), "train", {"ekman": "anger"}),
            (clips[1].resolve(), group_of(clips[1]), "train", {"ekman": "sadness"}),
            (clips[2].resolve(), group_of(clips[2]), "val", {"ekman": "happiness"}),
        ]
        assert found.problems == ()
        assert found.notes == (
            f"1 clips in {root / 'Test_AFEW'} lie in no folder of a class: no label, left out: 000112320.mp4",
        )

    def test_caer_numbers_its_clips_anew(self, tmp_path):
        places = [f"{s}/{c}/0001.mp4" for s in ("test", "train", "validation") for c in ("Anger", "Fear")]
        clips = [save_clip(tmp_path / "CAER" / place) for place in places]
        found = import_folder(tmp_path / "CAER", ClassSettings(), tmp_path / "out")
        assert [row.clip for row in found.rows] == clips
        assert [row.split for row in found.rows] == ["test", "test", "train", "train", "val", "val"]
        assert [row.labels["ekman"] for row in found.rows] == ["anger", "fear"] * 3
        assert len({row.group for row in found.rows}) == 6

    def test_a_copy_of_a_test_clip_is_left_out_of_training(self, tmp_path):
        for place, value in (("train/Anger/1.gif", 7), ("train/Anger/2.gif", 8), ("test/Fear/1.gif", 7)):
            save_clip(tmp_path / "set" / place, value)
        found = import_folder(tmp_path / "set", ClassSettings(), tmp_path / "out")
        assert [(row.clip.parent.name, row.clip.name) for row in found.rows] == [
            ("Fear", "1.gif"),
            ("Anger", "2.gif"),
        ]
        assert found.notes == ("1 clips left out: their group stands in a later split too: 1.gif (train)",)

    def test_without_splits_and_with_groups_in_the_name(self, tmp_path):
        for place in ("happy/film1_a.gif", "happy/film2_b.gif", "worried/film1_c.gif", "sad/other.gif"):
            save_clip(tmp_path / "mec" / place)
        (tmp_path / "mec" / "happy" / "readme.txt").write_text("no clip")
        settings = ClassSettings("mec", group=r"(film\d+)_")
        found = import_folder(tmp_path / "mec", settings, tmp_path / "out")
        assert pick(found.rows, "group", "split", "labels") == [
            ("mec:film1", None, {"mec": "happy"}),
            ("mec:film2", None, {"mec": "happy"}),
            ("mec:film1", None, {"mec": "worried"}),
        ]
        assert found.problems == (r"1 clips left out: --group '(film\\d+)_' finds nothing in: sad/other.gif",)

    def test_an_unknown_class_is_named_with_what_is_known(self, tmp_path):
        save_clip(tmp_path / "set" / "Angry" / "1.gif")
        for n in range(3):
            save_clip(tmp_path / "set" / "Smug" / f"{n}.gif")
        (tmp_path / "set" / "Sad").mkdir()
        found = import_folder(tmp_path / "set", ClassSettings(), tmp_path / "out")
        assert len(found.rows) == 1
        empty, unknown = found.problems
        assert empty == f"{tmp_path / 'set' / 'Sad'}: no clip in this folder of a class"
        assert unknown.startswith(
            f"{tmp_path / 'set' / 'Smug'}: 'Smug' is no label known for ekman (known: anger, "
        )
        assert "happy, " in unknown
        assert unknown.endswith("): 3 clips left out")
        with pytest.raises(DataError, match=r"no folder of a class with clips in it: .*'Smug'"):
            import_folder(tmp_path / "set", ClassSettings("quadrant"), tmp_path / "out")

    def test_folders_of_frames_need_a_rate(self, tmp_path):
        save_frames(tmp_path / "set" / "Happy" / "0267", (0, 120, 240))
        save_clip(tmp_path / "set" / "Sad" / "1.gif")
        found = import_folder(tmp_path / "set", ClassSettings(), tmp_path / "out")
        assert len(found.rows) == 1
        assert found.problems == (
            "1 clips are folders of frames, without times: state their --fps: Happy/0267",
        )
        found = import_folder(tmp_path / "set", ClassSettings(fps=20.0), tmp_path / "out")
        assert found.rows[0].clip == tmp_path / "out" / "clips" / "Happy" / "0267.mp4"
        media = open_media(found.rows[0].clip)
        assert media.timeline.starts == pytest.approx([0, 0.05, 0.1], abs=1e-4)
        assert [frame.mean() for _, frame in media.read([0, 1, 2])] == pytest.approx([0, 120, 240], abs=4)


class TestLists:
    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return path

    def test_mec(self, tmp_path):
        clips = [save_clip(tmp_path / "video" / "part1" / f"{name}.mp4") for name in ("t1", "t2", "v1", "e1")]
        lists = {
            "train": self.write(tmp_path / "train.txt", "t1 Worried\n\nt2.avi\thappiness\n"),
            "val": self.write(tmp_path / "val.csv", "file,label\nv1,Anxious\n"),
            "test": self.write(tmp_path / "test.csv", "'e1';'neutral'\n"),
        }
        found = import_lists(lists, tmp_path / "video", ClassSettings("mec"), tmp_path / "out")
        assert pick(found.rows, "clip", "split", "labels") == [
            (clips[0], "train", {"mec": "worried"}),
            (clips[1], "train", {"mec": "happy"}),
            (clips[2], "val", {"mec": "anxious"}),
            (clips[3], "test", {"mec": "neutral"}),
        ]
        assert found.problems == found.notes == ()

    def test_ferv39k(self, tmp_path):
        root = tmp_path / "2_ClipsforFaceCrop"
        for n, place in enumerate(("Action/Happy/0267", "Action/Sad/0267", "Crime/Fear/0001")):
            save_frames(root / place, (50 * n, 50 * n + 20))
        lists = {
            "train": self.write(tmp_path / "train_All.csv", "Action/Happy/0267 Happy\nAction/Sad/0267 Sad\n"),
            "test": self.write(tmp_path / "test_All.csv", "Crime/Fear/0001 Fear\n"),
        }
        found = import_lists(lists, root, ClassSettings(fps=25.0), tmp_path / "out")
        assert [row.labels["ekman"] for row in found.rows] == ["happiness", "sadness", "fear"]
        assert [row.clip.relative_to(tmp_path / "out" / "clips").as_posix() for row in found.rows] == [
            "Action/Happy/0267.mp4", "Action/Sad/0267.mp4", "Crime/Fear/0001.mp4",
        ]  # fmt: skip
        assert found.rows[2].split == "test"
        assert {row.split for row in found.rows[:2]} <= {"train", "val"}

    def test_what_is_wrong_is_named_and_the_rest_is_read(self, tmp_path):
        for place in ("a.mp4", "x/b.mp4", "y/b.mp4"):
            save_clip(tmp_path / "v" / place)
        (tmp_path / "v" / "still").mkdir()
        lines = ["a 1", "b 2", "gone1 1", "gone2 1", "a 1", "lonely", "a 9", "x/b 9"]
        file = self.write(tmp_path / "train.txt", "\n".join(lines))
        settings = ClassSettings(codes={"1": "happy", "2": "sad"})
        found = import_lists({"train": file}, tmp_path / "v", settings, tmp_path / "out")
        assert [(row.clip.name, row.labels) for row in found.rows] == [("a.mp4", {"ekman": "happiness"})]
        assert found.problems == (
            f"{file}:6: expected a clip and a label, got 'lonely'",
            f"{file}:7: '9' is no label known for ekman (known: 1, 2): 2 clips left out",
            f"2 clips are not in {tmp_path / 'v'}: gone1, gone2",
            "1 clips can be several files each: name the folder they are in: b (x/b.mp4, y/b.mp4)",
            f"1 clips are named again: left out there: a ({file}:5)",
        )

    def test_a_clip_in_two_lists_stays_in_the_test(self, tmp_path):
        save_clip(tmp_path / "v" / "a.gif")
        lists = {
            "train": self.write(tmp_path / "train.txt", "a sad"),
            "test": self.write(tmp_path / "test.txt", "a sad"),
        }
        found = import_lists(lists, tmp_path / "v", ClassSettings(), tmp_path / "out")
        assert [row.split for row in found.rows] == ["test"]
        assert len(found.notes) == 1

    def test_unreadable_lists(self, tmp_path):
        (tmp_path / "v").mkdir()
        for content, reason in ((b"\xff\xfe", "not UTF-8"), (b"file,label\n", "the list is empty")):
            (tmp_path / "l.csv").write_bytes(content)
            with pytest.raises(DataError, match=reason):
                import_lists({"test": tmp_path / "l.csv"}, tmp_path / "v", ClassSettings(), tmp_path / "out")

    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"vocabulary": "zodiac"}, "vocabulary = 'zodiac'"),
            ({"codes": {"1": "smug"}}, "codes 1 = 'smug': expected one of anger"),
            ({"group": "("}, "--group = '('"),
            ({"fps": 0.0}, "fps = 0.0"),
            ({"fps": float("nan")}, "fps = nan"),
        ],
    )
    def test_settings(self, settings, message):
        with pytest.raises(SettingsError, match=re.escape(message)):
            ClassSettings(**settings)


class TestDfew:
    def make(self, tmp_path):
        labels = tmp_path / "DFEW" / "EmoLabel_DataSplit"
        for fold, (train, test) in enumerate(((("1", "2", "3"), ("12",)), (("12",), ("1",))), start=1):
            for part, names in (("train", train), ("test", test)):
                file = labels / f"{part}(single-labeled)" / f"set_{fold}.csv"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text("video_name,label\n" + "".join(f"{n},{int(n) % 7 or 7}\n" for n in names))
        return tmp_path / "DFEW"

    def test_fold(self, tmp_path):
        root = self.make(tmp_path)
        for place in ("part_1/1.mp4", "part_1/2.mp4", "part_2/12.mp4"):
            save_clip(root / "Clip" / "original" / place)
        settings = ClassSettings("ekman", DFEW_CODES)
        found = import_dfew(root, root / "Clip" / "original", 1, settings, tmp_path / "out")
        by_name = {row.clip.stem: row for row in found.rows}
        assert {name: row.labels["ekman"] for name, row in by_name.items()} == {
            "1": "happiness", "2": "sadness", "12": "surprise",
        }  # fmt: skip
        assert by_name["12"].split == "test"
        assert {by_name["1"].split, by_name["2"].split} <= {"train", "val"}
        assert found.problems == (f"1 clips are not in {root / 'Clip' / 'original'}: 00003",)

    def test_frames_and_another_fold(self, tmp_path):
        root = self.make(tmp_path)
        for n in (1, 12):
            save_frames(root / "Clip" / "clip_224x224" / f"{n:05d}", (n, n + 30))
        arguments = ["dfew", str(root), "--clips", str(root / "Clip" / "clip_224x224"), "--fold", "2"]
        assert main([*arguments, "--fps", "25", "--out", str(tmp_path / "out")]) == 0
        rows = read_manifest(tmp_path / "out" / "manifest.csv").rows
        assert [(row.clip.name, row.labels["ekman"]) for row in rows] == [
            ("00012.mp4", "surprise"), ("00001.mp4", "happiness"),
        ]  # fmt: skip
        assert rows[1].split == "test"
        assert "clips/00012.mp4," in (tmp_path / "out" / "manifest.csv").read_text()  # relative: can be moved

    def test_lists_that_are_not_there(self, tmp_path):
        root = self.make(tmp_path)
        with pytest.raises(DataError, match=r"no set_5\.csv in a folder whose name begins with 'train'"):
            import_dfew(root, root, 5, ClassSettings("ekman", DFEW_CODES), tmp_path / "out")
        again = root / "copy" / "train" / "set_1.csv"
        again.parent.mkdir(parents=True)
        again.write_text("video_name,label\n1,1\n")
        with pytest.raises(DataError, match="are both lists of train"):
            import_dfew(root, root, 1, ClassSettings("ekman", DFEW_CODES), tmp_path / "out")


def test_command(tmp_path, capsys):
    for place in ("train/Anger/1.gif", "validation/Anger/1.gif", "test/Sad/1.gif"):
        save_clip(tmp_path / "CAER" / place)
    arguments = ["folder", str(tmp_path / "CAER"), "--out", str(tmp_path / "out")]
    assert main(arguments) == 0
    assert capsys.readouterr().out == (
        f"{tmp_path / 'out' / 'manifest.csv'}: 3 clips of 3 groups (train 1, val 1, test 1)\n"
    )
    manifest = read_manifest(tmp_path / "out" / "manifest.csv")
    assert manifest.count_rows() == {"train": 1, "val": 1, "test": 1}
    (tmp_path / "list.txt").write_text("train/Anger/1 1\nnowhere 2\n")
    listed = ["list", str(tmp_path / "CAER"), "--out", str(tmp_path / "out"), "--codes", "1=angry,2=sad"]
    assert main([*listed, "--test", str(tmp_path / "list.txt")]) == 1
    assert "moodreel: 1 clips are not in " in capsys.readouterr().err
    assert main(listed) == 2
    assert "--train, --val, --test = None: expected at least one list" in capsys.readouterr().err
    assert main([*listed[:-1], "1:angry", "--test", str(tmp_path / "list.txt")]) == 2
    assert "--codes" in capsys.readouterr().err
    (tmp_path / "list.txt").write_text("nowhere 2\n")
    assert main([*listed, "--test", str(tmp_path / "list.txt")]) == 2
    assert "no clip is left for a manifest" in capsys.readouterr().err
