"""STA from a manifest to a bundle: composed traces, regions, training, export, evaluation, the study."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from typer.testing import CliRunner

from lab.test_face_video import make_frames, make_row, write_points
from moodreel.cli import app
from moodreel.emotions import CIRCUMPLEX
from moodreel.errors import DataError, SettingsError
from moodreel.faces.align import ANCHORS
from moodreel.faces.detect import DetectorSettings
from moodreel.lab.ablate_sta import ablate_sta, choose_rows
from moodreel.lab.ablation.seed_report import write_seed_report
from moodreel.lab.card import write_card
from moodreel.lab.data.compose import main as compose
from moodreel.lab.data.compose_traces import class_valence, draw_weight
from moodreel.lab.data.face_video import FaceCutter, FaceVideoDataset
from moodreel.lab.data.manifest import Row, read_manifest, write_manifest
from moodreel.lab.data.traces import read_trace
from moodreel.lab.evaluate import evaluate
from moodreel.lab.evaluate_sta import score_sta
from moodreel.lab.export import export
from moodreel.lab.networks import load_bundle, load_run
from moodreel.lab.seed_study import StudyOptions
from moodreel.lab.settings_sta import StaSettings
from moodreel.lab.trace_regions import Regions, mask_clip, mean_regions, score_regions
from moodreel.lab.train import train
from moodreel.media import open_media, read_clip, write_gif
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.postprocess import PostProcess
from moodreel.runtime.recognizer import load
from moodreel.runtime.trace import trace_media
from moodreel.runtime.trace_reader import open_trace_reader
from runtime.tiny import write_sta

RECIPE = """
system = "sta"
[model]
input_size = 16
encoder = [4, 4]
decoder = [4, 4]
filters = [8, 8, 8]
hidden = 16
recurrent = 8
dropout = 0.0
light = false
[train]
epochs = {epochs}
batch = 8
learning_rate = 1e-2
"""


def add_mouth(path):
    """Points of a mouth at (20, 28), 8 px wide: in the picture cut out, 32 px from (4, 4), at (16, 24)."""
    content = json.loads(path.read_text())
    for frame in content["frames"]:
        for person in frame["people"]:
            flat = np.array(person["face_keypoints_2d"]).reshape(70, 3)
            flat[48:68] = [20, 28, 0.9]
            flat[48, 0], flat[54, 0] = 16, 24
            person["face_keypoints_2d"] = flat.ravel().tolist()
    path.write_text(json.dumps(content))
    return path


def shade_of(n):
    """[45] greens of clip n: a rise and a fall."""
    return np.round(90 + 60 * np.sin(np.arange(45) / 10 + n)).astype(int)


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Clips whose faces' green is their valence; one of the test clips shows no face."""
    folder = tmp_path_factory.mktemp("data")
    rows = []
    for n in range(20):
        split = "train" if n < 12 else "val" if n < 15 else "test"
        shades = shade_of(n)
        missing = range(45) if n == 19 else ()
        row = make_row(folder, f"c{n:02d}", shades, missing, gold=np.round((shades - 90) / 75, 4))
        labels = {"ekman": "happiness" if n % 2 else "fear"}
        add_mouth(row.keypoints)
        rows.append(Row(row.clip, row.group, split, labels=labels, keypoints=row.keypoints, trace=row.trace))
    write_manifest(folder / "manifest.csv", rows)
    return folder / "manifest.csv"


@pytest.fixture(scope="module")
def run(manifest, tmp_path_factory):
    out = tmp_path_factory.mktemp("run")
    (out / "r.toml").write_text(RECIPE.format(epochs=12))
    train("sta", [manifest], out / "run", out / "r.toml")
    return out / "run"


@pytest.fixture(scope="module")
def bundle(run):
    export(run, run.parent / "traces")
    return run.parent / "traces"


class TestSystem:
    def test_it_learns_a_visible_valence(self, bundle, manifest):
        scores = evaluate(str(bundle), [manifest])
        known = scores[f"{manifest.parent.name}, faces known"]
        assert known["ccc"] > 0.9
        assert known["follows"] == 1.0
        assert known["smile_rises_clips"] == 2
        assert known["follows_clips"] == 4
        assert known["ticks"] == 4 * 18
        assert known["clips_without_a_face"] == 1
        assert known["rmse"] < known["rmse_of_training_mean"] / 2

    def test_a_detector_that_finds_nobody_leaves_counts(self, bundle, manifest):
        """dlib sees no face in these plain pictures."""
        plain = evaluate(str(bundle), [manifest])[manifest.parent.name]
        assert plain == {"clips": 5, "failed": 0, "ticks": 0, "clips_without_a_face": 5}

    def test_scores_are_those_of_the_traces(self, bundle, manifest):
        """RMSE of the post-processed traces, by hand, over ticks with a face."""
        detector = DetectorSettings("openpose", files=manifest.parent)
        reader = open_trace_reader(str(bundle), detector, raw=True)
        post = read_bundle(str(bundle)).info.post
        errors = []
        for row in read_manifest(manifest).select("test"):
            media = open_media(row.clip)
            points = list(trace_media(media, reader.make_tracer(media)))
            if points[0].valence is None:
                continue
            times = np.array([p.time for p in points])
            values = PostProcess(post.median_s, post.centre, post.scale).apply(
                times, [p.valence for p in points]
            )
            errors += ((values - read_trace(row.trace).at(times, 0.125)) ** 2).tolist()
        scores = evaluate(str(bundle), [manifest])[f"{manifest.parent.name}, faces known"]
        assert scores["rmse"] == pytest.approx(np.sqrt(np.mean(errors)), abs=1e-9)

    def test_the_runtime_says_what_torch_says(self, run, bundle, manifest, tmp_path):
        recipe, net = load_run(run)
        _, shipped = load_bundle(read_bundle(str(bundle)))
        row = read_manifest(manifest).select("test")[0]
        cutter = FaceCutter(tmp_path / "store", recipe.model)
        cutter.fill([row])
        clips = FaceVideoDataset([row], cutter, 0, train=False)
        batch = torch.stack([clips[n]["frames"] for n in range(2)])
        with torch.no_grad():
            ours, theirs = (n.eval()(n.normalise(batch)).valence.clamp(-1, 1).numpy() for n in (shipped, net))
        np.testing.assert_allclose(ours, theirs, atol=5e-3)  # stored as halves
        detector = DetectorSettings("openpose", files=manifest.parent)
        reader = open_trace_reader(str(bundle), detector, stride=16, raw=True)
        media = open_media(row.clip)
        points = list(trace_media(media, reader.make_tracer(media)))
        np.testing.assert_allclose([p.valence for p in points[:16]], ours[0], atol=1e-4)

    def test_bundle_and_card_say_what_was_fitted(self, bundle, run):
        info = read_bundle(str(bundle)).info
        facts = json.loads((run / "best.json").read_text())
        assert vars(info.post) == facts["post"]
        assert (info.sampling.fps, info.sampling.limit, info.input.height) == (4.0, 16, 16)
        card = read_bundle(str(bundle)).read_card()
        assert f"CCC there {facts['post_validation']['ccc_without']:.3f} without it" in card
        assert "8, 8, 8 filters (the paper's: 32, 64, 128, 256)" in card
        assert "real person" not in card  # of data that the card does not know, it says nothing
        assert "Of 2 held-out clips of happiness whose gold standard moves" in card
        assert "nobody rated" not in card
        ours = [{**source, "name": "toon"} for source in info.training["data"]]
        training = {**info.training, "data": ours}
        known = next(scores for name, scores in info.scores.items() if name.endswith(", faces known"))
        card = write_card(replace(info, training=training, scores={"stills_traces_test": known}))
        assert "nobody rated a moving face for this bundle" in card
        assert "a real person's neutral face" in card

    def test_what_cannot_be_scored(self, bundle, tmp_path):
        row = make_row(tmp_path, "a")
        untraced = Row(row.clip, "g", "test", labels={"ekman": "fear"})
        write_manifest(tmp_path / "m.csv", [untraced])
        with pytest.raises(DataError, match="names a trace"):
            evaluate(str(bundle), [tmp_path / "m.csv"])
        row.clip.write_bytes(b"GIF89a")
        write_manifest(tmp_path / "n.csv", [Row(row.clip, "g", "test", trace=row.trace)])
        with pytest.raises(DataError, match=r"none of the 1 clips with a trace could be read: .*a\.gif: "):
            evaluate(str(bundle), [tmp_path / "n.csv"])

    def test_faces_are_those_of_the_named_file_and_interpolated_ticks_are_told_apart(self, tmp_path):
        """A bundle that states no recipe, on a clip whose first 4 of 18 ticks show no face."""
        row = make_row(tmp_path, "a", missing=range(10))
        keypoints = row.keypoints.rename(tmp_path / "of_another_name.json")
        folder = write_sta(tmp_path / "tiny")
        recognizer = load(folder)
        scores = score_sta(recognizer, [replace(row, keypoints=keypoints)], known=True)
        assert (scores["clips"], scores["failed"], scores["ticks"]) == (1, 0, 14)
        assert scores["face_share"] == pytest.approx(14 / 18)
        reader = open_trace_reader(folder, DetectorSettings("openpose", files=keypoints))
        media = open_media(row.clip)
        values = np.array([p.valence for p in trace_media(media, reader.make_tracer(media))])
        assert (values[:4] == values[4]).all()  # held
        errors = (values - np.arange(18) / 40) ** 2  # the gold standard is a tenth of the seconds
        assert scores["rmse"] == pytest.approx(np.sqrt(errors[4:].mean()), abs=1e-6)
        assert scores["rmse_interpolated"] == pytest.approx(np.sqrt(errors.mean()), abs=1e-6)
        assert scores["rmse"] != pytest.approx(scores["rmse_interpolated"], abs=1e-3)


class TestRegions:
    def test_scores_by_hand(self):
        eyes, mouth = np.zeros((2, 4, 4), bool)
        eyes[0, :2], mouth[3, 1:3] = True, True
        attention = np.full((4, 4), 0.02)
        attention[0, 0], attention[3, 2] = 0.5, 0.22
        attention /= attention.sum()
        scores = score_regions(attention, Regions(eyes, mouth))
        assert scores.eyes == pytest.approx(0.52)
        assert scores.mouth == pytest.approx(0.24)
        assert (scores.mass, scores.mass_chance) == (pytest.approx(0.76), 0.25)
        assert (scores.eyes_chance, scores.mouth_chance, scores.pointing) == (0.125, 0.125, 1.0)
        flat = score_regions(np.full((4, 4), 1 / 16), Regions(np.zeros((4, 4), bool), mouth))
        assert (flat.mass, flat.pointing) == (0.125, 0.0)
        assert mean_regions([scores, flat]).mass == pytest.approx((0.76 + 0.125) / 2)

    def test_regions_lie_around_the_points(self, tmp_path):
        write_gif(tmp_path / "a.gif", make_frames(90), np.full(45, 0.1), palette="frame")
        path = add_mouth(write_points(tmp_path / "a.json", missing=range(5)))
        regions = mask_clip(Row(tmp_path / "a.gif", "g", keypoints=path), 4.0, 32)
        assert len(regions) == 18
        assert regions[0] is None  # no face yet
        mouth = regions[4].mouth
        rows, columns = np.flatnonzero(mouth.any(axis=1)), np.flatnonzero(mouth.any(axis=0))
        # y 24 +- 0.04 x 32, x 12 to 20 with the same margin, by the middles of cells of 1 px
        assert (rows[0], rows[-1], columns[0], columns[-1]) == (23, 24, 11, 20)
        left = ANCHORS[0] * 32
        assert regions[4].eyes[int(left[1]), int(left[0])]
        assert not (regions[4].eyes & mouth).any()


class TestComposedTraces:
    def test_course(self):
        rng = np.random.default_rng(0)
        times = np.linspace(0, 4, 200)
        for _ in range(20):
            weight = draw_weight(times, rng)
            assert weight[0] == 0
            assert weight.max() == pytest.approx(1)
            top = int(weight.argmax())
            assert (np.diff(weight[: top + 1]) >= 0).all()

    def test_valence_is_the_circumplexs(self):
        assert class_valence("happiness") == CIRCUMPLEX["happiness"][0] > 0
        assert class_valence("sadness") < 0
        assert class_valence("neutral") == 0

    @pytest.fixture
    def stills(self, tmp_path):
        rows = []
        for name, value, group, label, split in (
            ("a", 250, "p1", "happiness", "train"),
            ("b", 5, "p1", "neutral", "train"),
            ("c", 128, "p2", "fear", "val"),
        ):
            Image.fromarray(np.full((60, 50), value, np.uint8)).save(tmp_path / f"{name}.png")
            rows.append(Row(tmp_path / f"{name}.png", group, split, labels={"ekman": label}))
        write_manifest(tmp_path / "m.csv", rows)
        return tmp_path / "m.csv"

    def test_trace_is_what_the_picture_shows(self, stills, tmp_path, capsys):
        out = tmp_path / "out"
        args = [str(stills), "--out", str(tmp_path / "blind"), "--split", "train", "--traces", "--blind"]
        assert compose(args) == 0
        blind = read_manifest(tmp_path / "blind" / "manifest.csv").rows
        assert [(row.keypoints, row.trace is None) for row in blind] == [(None, False)] * 2
        capsys.readouterr()
        code = compose([str(stills), "--out", str(out), "--split", "train", "val", "--traces"])
        assert code == 0
        assert "3 clips" in capsys.readouterr().out
        rows = read_manifest(out / "manifest.csv").rows
        assert [(row.group, row.split) for row in rows] == [("p1", "train"), ("p1", "train"), ("p2", "val")]
        assert rows[2].clip == out / "val" / "clips" / "00000.gif"
        smile, plain, fear = rows
        clip = read_clip(smile.clip)
        assert 2.5 < clip.duration <= 4.0
        trace = read_trace(smile.trace)
        np.testing.assert_allclose(trace.times, clip.starts, atol=1e-4)
        weight = trace.values[:, 0] / CIRCUMPLEX["happiness"][0]
        assert weight[0] == 0
        assert weight.max() == pytest.approx(1, abs=1e-3)
        places = json.loads(smile.keypoints.read_text())["frames"]
        assert len(places) == len(clip)
        shown = []
        for frame, place in zip(clip.frames, places, strict=True):
            points = np.array(place["people"][0]["face_keypoints_2d"]).reshape(70, 3)[:, :2]
            x, y = np.clip(points.mean(axis=0).round().astype(int), 0, 175)
            shown.append(frame[y, x].mean())
        # lit and coloured anew, yet brighter the more of the white picture is shown over the dark one
        assert np.corrcoef(shown, weight)[0, 1] > 0.9
        assert (read_trace(plain.trace).values == 0).all()
        assert np.ptp(read_trace(fear.trace).values) == 0  # no neutral picture of p2: throughout
        assert read_trace(fear.trace).values[0, 0] == pytest.approx(CIRCUMPLEX["fear"][0], abs=1e-4)

    def test_stills_without_a_class_are_refused(self, stills, tmp_path, capsys):
        rows = [Row(tmp_path / "a.png", "p1", "test")]
        write_manifest(tmp_path / "n.csv", rows)
        assert compose([str(tmp_path / "n.csv"), "--out", str(tmp_path / "out"), "--traces"]) == 2
        assert "a.png has no label_ekman" in capsys.readouterr().err

    def test_wrong_commands_are_one_line(self, stills, capsys):
        given = [str(stills), "--split", "train", "--traces", "--out"]
        assert compose([*given, str(stills)]) == 2  # a file, not a folder
        said = capsys.readouterr().err
        assert said.count("\n") == 1
        assert f"{stills}/clips: Not a directory" in said
        for option in ("--limit", "--per-class"):
            with pytest.raises(SystemExit) as ended:
                compose([*given, str(stills.parent / "out"), option, "-1"])
            assert ended.value.code == 2
            assert f"{option} -1: expected 0 or above" in capsys.readouterr().err


class TestStudy:
    def test_rows(self):
        rows = choose_rows((), StaSettings())
        assert [row.key for row in rows][-1] == "sta"
        assert rows[-1].paper == {"rmse": 0.102, "cc": 0.572, "ccc": 0.546}
        assert [row.key for row in choose_rows(("sta", "2d-cnn"), StaSettings())] == ["2d-cnn", "sta"]
        with pytest.raises(SettingsError, match="some of 2d-cnn"):
            choose_rows(("lstm",), StaSettings())

    def test_a_study_goes_on_and_tells_where_attention_lies(self, manifest, tmp_path):
        (tmp_path / "r.toml").write_text(RECIPE.format(epochs=2))

        def study(out, rows, seeds=2):
            lines = []
            options = StudyOptions(
                manifest, out, tmp_path / "r.toml", seeds, rows=rows, cache=tmp_path / "faces"
            )
            scores, outline = ablate_sta(options, lines.append)
            return scores, outline, lines

        rows = ("2d-cnn", "3d-cnn", "cnn-lstm", "sta")
        whole, outline, lines = study(tmp_path / "whole", rows)
        assert len(lines) == 8
        study(tmp_path / "cut", ("sta",), seeds=1)
        cut, _, lines = study(tmp_path / "cut", rows)
        assert len(lines) == 7
        for one, other in zip(whole.study.runs, cut.study.runs, strict=True):
            assert (one.row, one.seed, one.scores) == (other.row, other.seed, other.scores)
        assert len(whole.held_out.groups) == 4 * 18  # of c19 no tick has a face
        run = whole.study.list_runs("sta")[0]
        assert set(run.arrays) == {"valence", "raw", "gold", "mass", "area", "pointing"}
        # windows begin at ticks 0 and 16: their attention is even by construction, and left out
        unknown = np.isnan(run.arrays["mass"]).reshape(4, 18)
        assert (np.flatnonzero(unknown.all(axis=0)) == [0, 16]).all()
        gold = (shade_of(15)[np.arange(18) * 5 // 2] - 90) / 75  # ticks lie between pictures: near enough
        np.testing.assert_allclose(run.arrays["gold"][:18], gold, atol=0.05)
        error = np.sqrt(((run.arrays["valence"] - run.arrays["gold"]) ** 2).mean())
        assert run.scores["rmse"] == pytest.approx(error, abs=1e-5)
        write_seed_report(whole, outline)
        report = (tmp_path / "whole" / "report.md").read_text()
        assert "RECOLA (another data set)" in report
        assert "on eyes and mouth" in report
        assert "0.102" in report

    def test_a_clip_that_cannot_be_read_is_left_out_and_told(self, manifest, tmp_path):
        (tmp_path / "r.toml").write_text(RECIPE.format(epochs=1))
        (tmp_path / "broken.gif").write_bytes(b"GIF89a")
        rows = read_manifest(manifest).rows
        broken = replace(rows[0], clip=tmp_path / "broken.gif")
        write_manifest(tmp_path / "m.csv", [*rows, broken])
        given = ["--data", tmp_path / "m.csv", "--out", tmp_path / "s", "--recipe", tmp_path / "r.toml"]
        given += ["--rows", "2d-cnn", "--seeds", "1"]
        done = CliRunner().invoke(app, ["ablate", "sta", *map(str, given)])
        assert done.exit_code == 1
        assert "left out: " in done.stderr
        assert "broken.gif" in done.stderr
        assert "1 clips could not be read" in done.stderr
        assert "1 unreadable" in done.stdout

    def test_refused(self, manifest, tmp_path):
        (tmp_path / "clip.toml").write_text('system = "sta"\n[model]\nhead = "clip"\n')
        with pytest.raises(SettingsError, match=r"model\.head"):
            ablate_sta(StudyOptions(manifest, tmp_path / "out", tmp_path / "clip.toml"))
        row = make_row(tmp_path, "a")
        write_manifest(tmp_path / "m.csv", [Row(row.clip, "g", "train", keypoints=row.keypoints)])
        with pytest.raises(DataError, match="no row of split 'train' names a trace"):
            ablate_sta(StudyOptions(tmp_path / "m.csv", tmp_path / "out"))
