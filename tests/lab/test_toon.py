"""The toon data set: what is drawn is where the truth says, and the same seed gives the same bytes."""

import csv
import hashlib
import json
import subprocess
import sys
from collections import Counter

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17, QUADRANT_OF
from moodreel.errors import DataError, SettingsError
from moodreel.lab.data import toon
from moodreel.lab.data.labels import category_of
from moodreel.lab.data.manifest import read_manifest
from moodreel.lab.data.toon import write_toon
from moodreel.lab.data.toon_clip import draw_acting, draw_character, draw_clip
from moodreel.lab.data.toon_poses import ACTION_UNITS, CHANNELS, INDEX
from moodreel.lab.data.toon_programmes import (
    ORDER_PAIRS,
    PROGRAMMES,
    apex_of,
    find_programme,
    list_programmes,
    score_emotions,
)
from moodreel.lab.data.toon_raters import TRACE_STEP, cast_votes, detect_keypoints, rate_valence
from moodreel.lab.data.toon_sheet import draw_sheet
from moodreel.labels.votes_table import read_votes
from moodreel.media import read_clip


def read_table(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def hash_files(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def toons(tmp_path_factory):
    """A whole block of 20 clips, so that every kind of clip is in it, and two more."""
    folder = tmp_path_factory.mktemp("toon") / "set"
    write_toon(folder, clips=22, seed=3, workers=1)
    return folder


class TestProgrammes:
    def test_every_emotion_has_one_and_states_stay_in_range(self):
        assert {programme.emotion for programme in PROGRAMMES} == set(GIFGIF_17)
        for programme in PROGRAMMES:
            states = programme.evaluate(np.linspace(0, 1, 101))
            units = states[:, : len(ACTION_UNITS)]
            assert units.min() >= 0
            assert units.max() <= 1
            assert np.abs(states[:, INDEX["valence"]]).max() <= 1

    def test_titles_are_unique(self):
        assert len({(p.emotion, p.name) for p in PROGRAMMES}) == len(PROGRAMMES)

    @pytest.mark.parametrize("pair", ORDER_PAIRS, ids=lambda pair: pair[0])
    def test_order_pairs_show_the_same_states_in_opposite_order(self, pair):
        first, second = map(find_programme, pair)
        assert first.emotion != second.emotion
        instants = (np.arange(16) + 0.5) / 16
        one, other = first.evaluate(instants), second.evaluate(instants)
        np.testing.assert_allclose(one, other[::-1], atol=1e-12)
        assert sorted(map(tuple, one.round(9))) == sorted(map(tuple, other.round(9)))
        # and the order is far from the same
        assert np.abs(one - other).mean() > 0.05

    def test_there_are_at_least_three_order_pairs_with_relief_and_embarrassment(self):
        emotions = [{find_programme(title).emotion for title in pair} for pair in ORDER_PAIRS]
        assert len(emotions) >= 3
        assert {"relief", "fear"} in emotions
        assert any("embarrassment" in pair for pair in emotions)

    def test_valence_of_the_apex_agrees_with_the_quadrant(self):
        for emotion in GIFGIF_17:
            valence = apex_of(emotion)[INDEX["valence"]]
            assert (valence > 0) == QUADRANT_OF[emotion].startswith("pleasure"), emotion

    def test_embarrassment_is_a_smile_then_a_look_away(self):
        (programme,) = list_programmes("embarrassment")
        start, end = programme.evaluate(np.array([0.1, 0.9]))
        assert start[INDEX["AU12"]] > 0.7 > end[INDEX["AU12"]]
        for channel in ("gaze_y", "pan", "AU24"):
            assert end[INDEX[channel]] > 0.6 > start[INDEX[channel]] + 0.5

    def test_scores(self):
        assert set(score_emotions({}).values()) == {-1.0}
        scores = score_emotions({"sadness": 0.8, "relief": 0.3})
        assert list(scores) == list(GIFGIF_17)
        assert scores["sadness"] == pytest.approx(0.6)
        assert scores["relief"] == pytest.approx(-0.4)
        assert -0.3 < scores["guilt"] < -0.15  # 7.5 degrees from sadness: nearly half of its strength
        assert scores["excitement"] == -1.0


class TestClip:
    def test_clip_does_not_depend_on_the_others(self):
        one, again = draw_clip(1, 5), draw_clip(1, 5)
        assert all((a == b).all() for a, b in zip(one.frames, again.frames, strict=True))
        assert one.group == "toon:1:0000"
        assert draw_character(1, 0) == draw_character(1, 0) != draw_character(2, 0)

    def test_shape_and_times(self):
        sizes = []
        for index in range(12):
            clip = draw_clip(5, index)
            height, width = clip.frames[0].shape[:2]
            assert 120 <= min(width, height) <= max(width, height) <= 320
            assert 8 <= len(clip.frames) <= 30
            assert (clip.durations >= 0.03).all()
            if clip.boxes is not None:
                sizes += ((clip.plan.scales * 2) / min(width, height)).tolist()
        assert 1 / 8 <= min(sizes) < 0.5 < max(sizes) <= 1

    def test_bystanders_are_beside_the_face_and_not_in_the_keypoints(self):
        clip = next(c for c in (draw_clip(0, i) for i in range(60)) if c.bystanders.shape[1])
        assert clip.bystanders.shape == (len(clip.frames), clip.plan.bystanders, 4)
        middle = clip.bystanders.reshape(len(clip.frames), -1, 2, 2).mean(axis=2)
        own = clip.boxes.reshape(-1, 1, 2, 2).mean(axis=2)
        assert (np.abs(middle - own)[..., 0] > clip.plan.scales[:, None]).all()

    def test_strength_scales_the_action_units(self):
        acting = draw_acting("anger", np.random.default_rng(1))
        strength = acting.strengths["anger"]
        apex = acting.programme.evaluate(np.array([1.0]))[0, INDEX["AU4"]]
        end = acting.evaluate(np.array([1.0]))[0, INDEX["AU4"]]
        assert end >= strength * apex - 1e-9

    def test_sheet(self):
        assert draw_sheet(PROGRAMMES[:2], ("emoji", "cat"), columns=2).size[1] == 264


class TestFiles:
    def test_manifest(self, toons):
        manifest = read_manifest(toons / "manifest.csv")  # refuses a group in two splits
        assert len(manifest.rows) == 22
        for row in manifest.rows:
            assert row.clip.is_file()
            assert row.keypoints.is_file()
            if row.scores:
                assert list(row.scores) == list(GIFGIF_17)
                assert row.trace.is_file()
            truth = json.loads((toons / "truth" / f"{row.clip.stem}.json").read_text())
            assert truth["group"] == row.group
            if truth["strengths"]:
                main = next(iter(truth["strengths"]))
                assert max(row.scores, key=row.scores.get) == main
                assert row.scores[main] == pytest.approx(2 * truth["strengths"][main] - 1, abs=1e-3)
                assert row.labels["quadrant"] == QUADRANT_OF[main]
                assert category_of(row) == QUADRANT_OF[main]

    def test_a_block_has_every_emotion_a_neutral_face_and_nobody(self, toons):
        truths = [json.loads((toons / "truth" / f"{i:05d}.json").read_text()) for i in range(20)]
        titles = Counter((t["programme"] or "nobody").partition(":")[0] for t in truths)
        assert set(titles) == {*GIFGIF_17, "neutral", "nobody"}

    def test_clips_without_a_face_have_no_labels_but_empty_keypoints(self, toons):
        (row,) = (row for row in read_manifest(toons / "manifest.csv").rows if not row.scores)
        assert row.trace is None
        assert row.labels == {}
        assert "scene" in row.group
        frames = json.loads(row.keypoints.read_text())["frames"]
        assert all(frame["people"] == [] for frame in frames)
        assert len(frames) == len(read_clip(row.clip))
        assert not (toons / "traces" / f"{row.clip.stem}.csv").exists()

    def test_neutral_faces_have_all_scores_at_the_bottom(self, toons):
        rows = [
            row for row in read_manifest(toons / "manifest.csv").rows if set(row.scores.values()) == {-1.0}
        ]
        assert rows
        assert all(category_of(row) is None for row in rows)

    def test_delays_and_size_read_back_exactly(self, toons):
        uneven = 0
        for row in read_manifest(toons / "manifest.csv").rows:
            truth = json.loads((toons / "truth" / f"{row.clip.stem}.json").read_text())
            clip = read_clip(row.clip)
            np.testing.assert_allclose(clip.raw_durations, truth["durations"], atol=1e-9)
            assert (clip.width, clip.height) == (truth["width"], truth["height"])
            uneven += len(set(truth["durations"])) > 1
        assert uneven >= 5

    def test_keypoints_in_openpose_form_near_the_truth(self, toons):
        missing = wrong = total = 0
        for row in read_manifest(toons / "manifest.csv").rows:
            truth = json.loads((toons / "truth" / f"{row.clip.stem}.json").read_text())
            if "points" not in truth:
                continue
            exact = np.array(truth["points"]) * [truth["width"], truth["height"]]
            frames = json.loads(row.keypoints.read_text())["frames"]
            found = np.array([f["people"][0]["face_keypoints_2d"] for f in frames]).reshape(-1, 70, 3)
            inside = ((exact > 0) & (exact < [truth["width"], truth["height"]])).all(axis=-1)
            height = np.ptp(exact[..., 1], axis=1)[:, None]
            far = np.linalg.norm(found[..., :2] - exact, axis=-1) / height
            seen = found[..., 2] > 0
            assert (found[~seen] == 0).all()
            assert np.median(far[seen]) < 0.03
            missing += (inside & ~seen).sum()
            wrong += (seen & (found[..., 2] < 0.5)).sum()
            total += inside.sum()
        assert missing / total == pytest.approx(0.12, abs=0.03)
        assert wrong / total == pytest.approx(0.05, abs=0.015)

    def test_boxes_in_the_truth_contain_the_points(self, toons):
        for path in (toons / "truth").glob("*.json"):
            truth = json.loads(path.read_text())
            if "points" in truth:
                points, boxes = np.array(truth["points"]), np.array(truth["boxes"])[:, None]
                assert (points >= boxes[..., :2] - 2e-4).all()
                assert (points <= boxes[..., 2:] + 2e-4).all()
                assert set(truth["curves"]) == set(CHANNELS)

    def test_traces(self, toons):
        row = next(row for row in read_manifest(toons / "manifest.csv").rows if row.scores)
        table = read_table(row.trace)
        assert list(table[0]) == ["time_s", *(f"rater_{n}" for n in range(1, 6)), "truth"]
        times = np.array([float(record["time_s"]) for record in table])
        np.testing.assert_allclose(np.diff(times), TRACE_STEP, atol=1e-9)
        duration = read_clip(row.clip).duration
        assert duration - TRACE_STEP - 1e-6 <= times[-1] < duration

    def test_votes_name_clips_that_have_scores(self, toons):
        rows = {row.clip.stem for row in read_manifest(toons / "manifest.csv").rows if row.scores}
        votes = read_table(toons / "votes.csv")
        assert {v["left"] for v in votes} | {v["right"] for v in votes} == rows
        assert {v["choice"] for v in votes} == {"left", "right", "neither"}
        assert {v["emotion"] for v in votes} == set(GIFGIF_17)
        assert all(v["left"] != v["right"] for v in votes)
        times = [v["time"] for v in votes]
        assert times == sorted(times)
        held = read_votes(toons / "votes.csv")
        assert (len(held.votes), held.bad) == (len(votes), ())
        assert set(held.votes.voters) == {v["voter"] for v in votes}

    def test_same_seed_same_bytes_with_any_number_of_workers(self, tmp_path):
        write_toon(tmp_path / "a", clips=6, seed=1, workers=1)
        write_toon(tmp_path / "b", clips=6, seed=1, workers=2)
        write_toon(tmp_path / "c", clips=3, seed=1, workers=1)
        write_toon(tmp_path / "d", clips=2, seed=2, workers=1)
        first = hash_files(tmp_path / "a")
        assert len(first) >= 6 * 3 + 3
        assert hash_files(tmp_path / "b") == first
        shorter = hash_files(tmp_path / "c")
        assert all(first[name] == shorter[name] for name in shorter if "/" in name)
        assert hash_files(tmp_path / "d")["clips/00000.gif"] != first["clips/00000.gif"]

    def test_an_older_set_is_replaced_and_anything_else_refused(self, tmp_path):
        write_toon(tmp_path / "a", clips=3, workers=1)
        write_toon(tmp_path / "a", clips=1, workers=1)
        assert [path.name for path in (tmp_path / "a" / "clips").iterdir()] == ["00000.gif"]
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "letter.txt").write_text("mine")
        with pytest.raises(DataError, match="not empty and holds no toon set"):
            write_toon(tmp_path / "b", clips=1)
        with pytest.raises(DataError, match="is no folder"):
            write_toon(tmp_path / "b" / "letter.txt", clips=1)
        assert [path.name for path in (tmp_path / "b").iterdir()] == ["letter.txt"]

    @pytest.mark.parametrize(("field", "value"), [("clips", 0), ("seed", -1), ("workers", 0)])
    def test_wrong_settings(self, tmp_path, field, value):
        with pytest.raises(SettingsError, match=f"{field} = {value}"):
            write_toon(tmp_path / "a", **{"clips": 1, field: value})
        assert not (tmp_path / "a").exists()

    def test_no_manifest_before_the_end(self, tmp_path, monkeypatch):
        write_toon(tmp_path / "a", clips=1, workers=1)

        def fail(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(toon, "cast_votes", fail)
        with pytest.raises(KeyboardInterrupt):
            write_toon(tmp_path / "a", clips=1, workers=1)
        assert not (tmp_path / "a" / "manifest.csv").exists()
        assert (tmp_path / "a" / "clips" / "00000.gif").exists()

    def test_command_line(self, tmp_path):
        def run(*arguments):
            command = [sys.executable, "-m", "moodreel", "synth", *arguments]
            return subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)

        done = run("toons", "--clips", "2", "--seed", "4", "--workers", "1")
        assert done.returncode == 0, done.stderr
        assert done.stdout == ""
        assert "2 clips" in done.stderr
        assert len(read_manifest(tmp_path / "toons" / "manifest.csv").rows) == 2
        (tmp_path / "file").write_text("x")
        done = run("file")
        assert done.returncode == 2
        assert done.stderr == "moodreel: file: is no folder\n"


class TestRaters:
    def test_votes_agree_with_intensities_on_average(self):
        rng = np.random.default_rng(0)
        scores = {f"{i:05d}": dict.fromkeys(GIFGIF_17, float(2 * i / 19 - 1)) for i in range(20)}
        votes = cast_votes(scores, rng)
        decided = [v for v in votes if v.choice != "neither"]
        assert 0.1 < 1 - len(decided) / len(votes) < 0.4
        right = sum((v.left > v.right) == (v.choice == "left") for v in decided)
        assert 0.8 < right / len(decided) < 0.97  # noisy, but not blind
        far = [v for v in decided if abs(int(v.left) - int(v.right)) > 10]
        assert sum((v.left > v.right) == (v.choice == "left") for v in far) / len(far) > 0.93

    def test_where_nobody_shows_it_the_answer_is_neither(self):
        scores = {str(i): dict.fromkeys(GIFGIF_17, -1.0) for i in range(10)}
        choices = Counter(v.choice for v in cast_votes(scores, np.random.default_rng(0)))
        assert choices["neither"] > 0.6 * choices.total()

    def test_one_clip_gets_no_votes(self):
        assert cast_votes({"a": dict.fromkeys(GIFGIF_17, 0.0)}, np.random.default_rng(0)) == []

    def test_lag_is_recoverable_by_cross_correlation(self):
        truth = np.repeat(np.random.default_rng(2).uniform(-0.8, 0.8, 12), 12)
        lags = [0.16, 0.32, 0.48, 0.6]
        traces = rate_valence(truth, lags, np.random.default_rng(3))
        assert traces.shape == (len(truth), 4)
        assert np.abs(traces).max() <= 1
        for lag, trace in zip(lags, traces.T, strict=True):
            shifts = range(25)
            fits = [np.corrcoef(trace[s:], truth[: len(truth) - s])[0, 1] for s in shifts]
            found = int(np.argmax(fits)) * TRACE_STEP
            assert found == pytest.approx(lag + 0.04, abs=0.05)  # smoothing over three steps adds one
            assert max(fits) > 0.9

    def test_detector_marks_what_is_outside_as_missing(self):
        points = np.full((1, 70, 2), 50.0) + np.linspace(-10, 10, 70)[None, :, None]
        points[0, :5] = -30
        found = detect_keypoints(points, (100, 100), np.random.default_rng(0))
        assert (found[0, :5] == 0).all()
        assert (found[..., 2] <= 1).all()
