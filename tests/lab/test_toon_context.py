"""The toon set with context: who is said to decide does, and the other channel knows nothing of the class."""

import csv
import hashlib
import json
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from moodreel.emotions import MEC_8
from moodreel.errors import DataError, SettingsError
from moodreel.lab.data.manifest import read_manifest, split_by_group
from moodreel.lab.data.toon import write_toon
from moodreel.lab.data.toon_brush import Brush
from moodreel.lab.data.toon_context import write_context
from moodreel.lab.data.toon_context_clip import (
    DECIDERS,
    ROOM,
    draw_face,
    draw_spec,
    draw_thing,
    paint_frames,
    render_clip,
    shape_faces,
)
from moodreel.lab.data.toon_context_faces import AMBIGUOUS, FACES
from moodreel.lab.data.toon_cues import CUES, NOTHING
from moodreel.lab.data.toon_poses import CHANNELS
from moodreel.lab.data.toon_sheet import draw_context_sheet
from moodreel.media import read_clip

SPECS = 4800  # 200 whole blocks


def read_truth(folder, index):
    return json.loads((folder / "truth" / f"{index:05d}.json").read_text())


def hash_files(folder):
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


@pytest.fixture(scope="module")
def drawn():
    return [draw_spec(1, index) for index in range(SPECS)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two whole blocks: every class twice for each who may decide."""
    path = tmp_path_factory.mktemp("context") / "set"
    write_context(path, clips=48, seed=0, workers=1)
    return path


def measure_dependence(labels, values):
    """Chi-square of a contingency table over its degrees of freedom: about 1 when nothing depends."""
    classes, kinds = sorted(set(labels)), sorted(set(values))
    table = np.zeros((len(classes), len(kinds)))
    for label, value in zip(labels, values, strict=True):
        table[classes.index(label), kinds.index(value)] += 1
    expected = table.sum(1, keepdims=True) * table.sum(0) / table.sum()
    return ((table - expected) ** 2 / expected).sum() / ((len(classes) - 1) * (len(kinds) - 1))


def bin_values(values):
    """Numbers to six bins of equal size."""
    edges = np.quantile(values, np.linspace(0, 1, 7)[1:-1])
    return np.searchsorted(edges, values).tolist()


def describe_layout(spec):
    plan, (x, y) = spec.plan, spec.plan.centres[0]
    facts = {
        "background": plan.background,
        "caption": str(plan.caption),
        "frames": len(plan.durations),
        "seconds": plan.durations.sum(),
        "width": plan.width,
        "height": plan.height,
        "scale": plan.scales[0],
        "x": x,
        "y": y,
        "hue": plan.pulls.sum(),
        "view": spec.view,
        "thing": str(spec.thing is not None),
    }
    if spec.thing is not None:
        thing = spec.thing
        facts |= {"left": thing.left, "top": thing.top, "side": thing.side, "starts": thing.starts,
                  "stay": thing.stops - thing.starts, "static": str(thing.is_static),
                  "entrance": thing.entrance, "opacity": thing.opacity}  # fmt: skip
    return facts


def describe_face(spec):
    acting = spec.acting
    return {
        "programme": acting.programme.name,
        "strength": next(iter(acting.strengths.values())),
        "flipped": str(acting.flipped),
        "signs": str(acting.signs),
        "warp": acting.warp,
        "blinks": str(len(acting.blinks)),
        "sway": acting.sway[1],
    }


def describe_thing(spec):
    thing = spec.thing
    return {"name": thing.cue.name, "red": thing.paints[0][0], "green": thing.paints[0][1],
            "mirrored": str(thing.mirrored), "entrance": thing.entrance}  # fmt: skip


def list_dependences(specs, describe):
    """Greatest first: (chi-square over its degrees of freedom, what)."""
    labels, facts = [spec.label for spec in specs], [describe(spec) for spec in specs]
    for name in facts[0]:
        values = [fact[name] for fact in facts]
        if not isinstance(values[0], str):
            values = bin_values(values)
        if len(set(values)) > 1:
            yield measure_dependence(labels, values), name


class TestIndependence:
    def test_classes_are_balanced_in_every_third(self, drawn):
        counts = Counter((spec.decides, spec.label) for spec in drawn)
        assert counts == dict.fromkeys(((d, label) for d in DECIDERS for label in MEC_8), SPECS // 24)

    @pytest.mark.parametrize("decides", DECIDERS)
    def test_layout_times_and_background_do_not_depend_on_the_class(self, drawn, decides):
        specs = [spec for spec in drawn if spec.decides == decides]
        with_thing = [spec for spec in specs if spec.thing is not None]
        found = [*list_dependences(specs, lambda s: {**describe_layout(replace(s, thing=None))}),
                 *list_dependences(with_thing, describe_layout)]  # fmt: skip
        assert len(found) > 20
        # 7 degrees of freedom and more: beyond 3.5 once in a thousand draws, at most.
        assert max(found) < (3.5, "")
        assert np.mean([value for value, _ in found]) < 1.4

    def test_the_face_knows_nothing_where_the_scene_decides(self, drawn):
        specs = [spec for spec in drawn if spec.decides == "scene"]
        assert {spec.face_says for spec in specs} == {AMBIGUOUS, None}
        assert max(list_dependences(specs, describe_face)) < (3.5, "")
        assert {spec.acting.programme.name for spec in specs} == {p.name for p in FACES[AMBIGUOUS]}

    def test_the_scene_knows_nothing_where_the_face_decides(self, drawn):
        specs = [spec for spec in drawn if spec.decides == "face"]
        assert {spec.scene_says for spec in specs} == {NOTHING}
        untouched = [spec for spec in specs if spec.thing is None]
        assert len(untouched) / len(specs) == pytest.approx(0.2, abs=0.03)
        shown = [spec for spec in specs if spec.thing is not None]
        assert {spec.thing.cue.name for spec in shown} == {cue.name for cue in CUES[NOTHING]}
        assert max(list_dependences(shown, describe_thing)) < (3.5, "")

    def test_who_decides_says_the_class(self, drawn):
        for spec in drawn:
            if spec.decides != "scene":
                assert spec.face_says == spec.label
                assert spec.acting.programme in FACES[spec.label]
            if spec.decides != "face":
                assert spec.thing.says == spec.scene_says == spec.label
                assert spec.thing.cue in CUES[spec.label]

    def test_the_check_finds_a_channel_that_tells(self, drawn):
        """The same statistics on what does depend on the class, so that they are known to bite."""
        specs = [spec for spec in drawn if spec.decides == "scene"]
        assert {name: value for value, name in list_dependences(specs, describe_thing)}["name"] > 50
        slightly = [spec.plan.width + 12 * MEC_8.index(spec.label) for spec in specs]
        assert measure_dependence([spec.label for spec in specs], bin_values(slightly)) > 3.5

    def test_the_same_chance_gives_the_same_face_and_thing(self):
        """What a channel is told is all that it knows: the same word and stream give the same draw."""
        one, other = (draw_face(AMBIGUOUS, (0.6, 1.0), np.random.default_rng(4)) for _ in range(2))
        assert vars(one) == vars(other)
        times = np.full(20, 0.1)
        things = [draw_thing(NOTHING, (1, 2, 30), np.ones(20, bool), times, 1.0, np.random.default_rng(4))
                  for _ in range(2)]  # fmt: skip
        assert things[0].cue is things[1].cue
        assert things[0].paints == things[1].paints

    def test_few_clips_show_no_face(self, drawn):
        faceless = [spec for spec in drawn if spec.view != "front"]
        assert len(faceless) / SPECS == pytest.approx(0.033, abs=0.01)
        assert {spec.view for spec in faceless} == {"back", "absent"}
        assert {(spec.decides, spec.face_says) for spec in faceless} == {("scene", None)}


class TestPlaces:
    def test_things_are_in_the_middle_square_and_outside_of_the_room_of_the_face(self, drawn):
        for spec in drawn:
            if spec.thing is None:
                continue
            plan, thing = spec.plan, spec.thing
            short = min(plan.width, plan.height)
            for start, edge in ((thing.left, plan.width), (thing.top, plan.height)):
                assert (edge - short) / 2 <= start
                assert start + thing.side <= (edge + short) / 2
            assert thing.side * 224 / short > 57  # of the crop's 224 pixels
            low = (plan.centres - np.outer(plan.scales, ROOM)).min(axis=0)
            high = (plan.centres + np.outer(plan.scales, ROOM)).max(axis=0)
            box = np.array([thing.left, thing.top, thing.left + thing.side, thing.top + thing.side])
            assert (box[:2] > high).any() or (box[2:] < low).any()

    def test_no_face_leaves_its_room(self, drawn):
        for spec in drawn[:SPECS:40]:
            _, shapes = shape_faces(spec)
            boxes = np.array([shape.box for shape in shapes])
            reach = (
                np.abs(boxes.reshape(-1, 2, 2) - spec.plan.centres[:, None]) / spec.plan.scales[:, None, None]
            )
            assert (reach <= ROOM).all(), spec.acting.programme

    @pytest.mark.parametrize("index", range(6))
    def test_the_thing_changes_pixels_in_its_square_and_in_its_time_only(self, index):
        spec = [s for s in map(draw_spec, [2] * 80, range(80)) if s.thing and not s.thing.is_static][index]
        _, shapes = shape_faces(spec)
        with_it = np.stack([np.asarray(p).astype(int) for p in paint_frames(spec, shapes)])
        without = np.stack([np.asarray(p) for p in paint_frames(replace(spec, thing=None), shapes)])
        changed = np.abs(with_it - without).sum(axis=-1) > 0
        thing = spec.thing
        inside = (slice(thing.top, thing.top + thing.side), slice(thing.left, thing.left + thing.side))
        seen = changed[:, *inside].mean(axis=(1, 2))
        changed[:, *inside] = False
        assert not changed.any()
        np.testing.assert_array_equal(seen > 0.03, thing.shown)
        ends = np.cumsum(spec.plan.durations)
        first, last = np.flatnonzero(thing.shown)[[0, -1]]
        assert thing.starts == pytest.approx(ends[first] - spec.plan.durations[first])
        assert thing.stops == pytest.approx(ends[last])
        assert thing.shown[first : last + 1].all()

    def test_times(self, drawn):
        stays = []
        for spec in drawn:
            seconds = spec.plan.durations.sum()
            assert 2 <= seconds <= 5
            assert 10 <= int(seconds * 5 + 1e-9) <= 25
            assert spec.plan.durations.min() >= 0.05 - 1e-9
            if spec.thing is not None:
                stays.append(spec.thing.is_static)
                ticks = np.arange(0, seconds, 0.2)
                assert ((ticks >= spec.thing.starts) & (ticks < spec.thing.stops)).any()
        assert np.mean(stays) == pytest.approx(0.4, abs=0.05)
        assert np.mean([len(set(spec.plan.durations)) > 1 for spec in drawn]) > 0.5

    def test_every_thing_is_legible_from_its_start_and_moves(self):
        for says, cues in CUES.items():
            assert len(cues) >= 2
            for cue in cues:
                pictures = []
                for time, part in ((0.0, 0.0), (0.35, 0.3), (0.71, 0.6)):
                    brush = Brush(60, cue.paints[0], mirrored=False)
                    cue.draw(brush, time, part)
                    pictures.append(np.asarray(brush.finish(1.0)).astype(int))
                covered = [(picture[..., 3] > 0).mean() for picture in pictures]
                assert min(covered) > 0.08, cue.name
                if (says, cue.name) != ("neutral", "plant"):
                    assert (np.abs(pictures[0] - pictures[1]).sum(axis=-1) > 30).any(), cue.name

    def test_things_of_different_classes_look_different(self):
        pictures = {}
        for says, cues in CUES.items():
            for cue in cues:
                brush = Brush(24, cue.paints[0], mirrored=False)
                cue.draw(brush, 0.8, 0.5)
                pictures[says, cue.name] = np.asarray(brush.finish(1.0)).astype(float)
        names = list(pictures)
        for i, one in enumerate(names):
            for other in names[i + 1 :]:
                assert np.abs(pictures[one] - pictures[other]).mean() > 12, (one, other)

    def test_a_mirrored_brush_mirrors(self):
        tiles = []
        for mirrored in (False, True):
            brush = Brush(30, [(250, 0, 0)], mirrored)
            brush.area([(-0.8, -0.5), (0.3, 0.1), (-0.6, 0.7)], brush.paints[0])
            tiles.append(np.asarray(brush.finish(0.5)).astype(int))
        assert np.abs(tiles[0] - tiles[1][:, ::-1]).mean() < 4
        assert np.abs(tiles[0] - tiles[1]).mean() > 20
        assert tiles[0][..., 3].max() == 128


class TestFaces:
    def test_every_class_has_one_and_states_stay_in_range(self):
        assert set(FACES) == {*MEC_8, AMBIGUOUS}
        for label, programmes in FACES.items():
            for programme in programmes:
                assert programme.emotion == label
                states = programme.evaluate(np.linspace(0, 1, 51))
                assert 0 <= states[:, :20].min() <= states[:, :20].max() <= 1

    def test_an_ambiguous_face_is_near_to_no_class(self):
        """Every ambiguous expression is well away from those of each class, in action units."""
        ends = {label: [p.evaluate(np.array([0.62]))[0, :20] for p in ps] for label, ps in FACES.items()}
        for state in ends[AMBIGUOUS]:
            for label in MEC_8:
                assert min(np.linalg.norm(state - other) for other in ends[label]) > 0.55, label

    def test_from_behind_there_is_a_head_but_no_face(self):
        spec = next(s for s in map(draw_spec, [0] * 999, range(999)) if s.view == "back")
        _, shapes = shape_faces(spec)
        pictures = {
            view: np.asarray(paint_frames(replace(spec, view=view, thing=None), shapes)[0]).astype(int)
            for view in ("front", "back", "absent")
        }
        x, y = shapes[0].points[30].astype(int)
        assert np.abs(pictures["back"] - pictures["absent"])[y, x].sum() > 0
        around = shapes[0].points[36:48].astype(int)
        paint = pictures["back"][around[:, 1], around[:, 0]]
        assert np.ptp(paint, axis=0).max() < 40  # one colour where the eyes would be
        assert render_clip(spec).points is None


class TestFiles:
    def test_manifest(self, folder):
        rows = read_manifest(folder / "manifest.csv").rows  # refuses a group in two splits
        with (folder / "manifest.csv").open(newline="", encoding="utf-8") as stream:
            cells = list(csv.DictReader(stream))
        assert set(cells[0]) == {"clip", "group", "split", "label_mec", "decides", "keypoints"}
        assert len(rows) == len(cells) == 48
        counts = Counter((cell["decides"], row.labels["mec"]) for cell, row in zip(cells, rows, strict=True))
        assert counts == dict.fromkeys(((d, label) for d in DECIDERS for label in MEC_8), 2)
        for index, (row, cell) in enumerate(zip(rows, cells, strict=True)):
            truth = read_truth(folder, index)
            assert row.group == truth["group"] == f"toon:0:{index // 8:04d}"
            assert row.split == split_by_group(row.group, 0.1, 0.2)
            assert (truth["label"], truth["decides"]) == (row.labels["mec"], cell["decides"])
            assert row.scores == {}
            assert row.trace is None

    def test_truth_and_clip_agree(self, folder):
        for index in range(48):
            truth, clip = read_truth(folder, index), read_clip(folder / "clips" / f"{index:05d}.gif")
            np.testing.assert_allclose(clip.raw_durations, truth["durations"], atol=1e-9)
            assert (clip.width, clip.height) == (truth["width"], truth["height"])
            thing = truth["thing"]
            if thing is None:
                assert (truth["decides"], truth["scene_says"]) == ("face", NOTHING)
                continue
            assert len(thing["shown"]) == len(clip.frames)
            ends = np.cumsum(truth["durations"])
            middles = ends - np.array(truth["durations"]) / 2
            inside = (middles > thing["start"]) & (middles < thing["stop"])
            np.testing.assert_array_equal(inside, np.array(thing["shown"], bool))
            assert thing["static"] == bool(inside.all())
            if truth["view"] == "front":
                left, top, right, bottom = thing["box"]
                boxes = np.array(truth["boxes"])
                apart = (boxes[:, 0] >= right) | (boxes[:, 2] <= left) | (boxes[:, 1] >= bottom)
                assert (apart | (boxes[:, 3] <= top)).all()

    def test_keypoints_are_there_where_a_face_is(self, folder):
        faceless = 0
        for index in range(48):
            truth = read_truth(folder, index)
            frames = json.loads((folder / "keypoints" / f"{index:05d}.json").read_text())["frames"]
            assert len(frames) == len(truth["durations"])
            people = {len(frame["people"]) for frame in frames}
            assert people == ({1} if truth["view"] == "front" else {0})
            assert ("points" in truth) == (truth["view"] == "front")
            faceless += truth["view"] != "front"
            if truth["view"] == "front":
                assert set(truth["curves"]) == set(CHANNELS)
        assert faceless >= 1

    def test_same_seed_same_bytes_with_any_number_of_workers(self, tmp_path):
        write_context(tmp_path / "a", clips=5, seed=1, workers=1)
        write_context(tmp_path / "b", clips=5, seed=1, workers=2)
        write_context(tmp_path / "c", clips=2, seed=1, workers=1)
        write_context(tmp_path / "d", clips=1, seed=2, workers=1)
        first = hash_files(tmp_path / "a")
        assert len(first) == 5 * 3 + 2
        assert hash_files(tmp_path / "b") == first
        shorter = hash_files(tmp_path / "c")
        assert all(first[name] == shorter[name] for name in shorter if "/" in name)
        assert hash_files(tmp_path / "d")["clips/00000.gif"] != first["clips/00000.gif"]

    def test_plain_and_context_sets_replace_each_other(self, tmp_path):
        write_toon(tmp_path / "a", clips=2, workers=1)
        write_context(tmp_path / "a", clips=1, workers=1)
        names = {str(p.relative_to(tmp_path / "a")) for p in (tmp_path / "a").rglob("*") if p.is_file()}
        stem = {"clips/00000.gif", "keypoints/00000.json", "truth/00000.json"}
        assert names == {*stem, "manifest.csv", "toon.json"}
        assert not (tmp_path / "a" / "traces").exists()
        assert json.loads((tmp_path / "a" / "toon.json").read_text())["kind"] == "context"
        write_toon(tmp_path / "a", clips=1, workers=1)
        assert "kind" not in json.loads((tmp_path / "a" / "toon.json").read_text())
        (tmp_path / "b").mkdir()
        (tmp_path / "b" / "letter.txt").write_text("mine")
        with pytest.raises(DataError, match="not empty and holds no toon set"):
            write_context(tmp_path / "b", clips=1)
        with pytest.raises(SettingsError, match="clips = 0"):
            write_context(tmp_path / "c", clips=0)
        assert not (tmp_path / "c").exists()

    def test_command_line(self, tmp_path):
        command = [sys.executable, "-m", "moodreel", "synth", "set", "--context", "--clips", "2"]
        done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert "2 clips" in done.stderr
        rows = read_manifest(tmp_path / "set" / "manifest.csv").rows
        assert [set(row.labels) for row in rows] == [{"mec"}] * 2

    def test_sheet(self):
        sheet = np.asarray(draw_context_sheet(("emoji", "cat")))
        cells = sheet[20:, 86:].reshape(10, 132, 8, 132, 3)
        filled = cells.std(axis=(1, 3)).max(axis=-1) > 5
        assert filled.sum(axis=1).tolist() == [8] * 8 + [6, 4]
