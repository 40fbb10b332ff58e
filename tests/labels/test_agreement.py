"""Rater disagreement: variances by hand and by the standard library, intervals by a plain loop, bad rows."""

import csv
import io
import math
from statistics import mean, variance

import numpy as np
import pytest

from moodreel.errors import DataError, SettingsError
from moodreel.labels.agreement import Bootstrap, RaterSpread, estimate_disagreement
from moodreel.labels.agreement_table import read_ratings, write_agreement
from moodreel.labels.rows import BadRow

HEADER = "clip,condition,rater,emotion,intensity\n"

CREMA = (
    '"","A","D","F","H","N","S","fileName","numResponses"\n'
    '"100001",2,0,0,0,2,0,"one",4\n'
    '"200001",4,0,0,0,0,0,"one",4\n'
    '"300001",1,0,0,0,9,0,"one",10\n'
)


@pytest.fixture
def read(tmp_path):
    def read(content, *counts):
        path = tmp_path / "r.csv"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_ratings(path, counts)

    return read


def find(entries, emotion, condition, other=None):
    (entry,) = (e for e in entries if (e.emotion, e.condition, e.other) == (emotion, condition, other))
    return entry


def draw_ratings(seed=0, clips=60):
    """Rows with clips, conditions and raters missing here and there."""
    rng = np.random.default_rng(seed)
    rows = []
    for clip in range(clips):
        for condition, noise in (("face", 1.5), ("scene", 0.8)):
            if rng.random() < 0.1:
                continue
            for emotion, level in (("joy", 1.0), ("fear", 3.0)):
                for rater in range(rng.integers(1, 6)):
                    value = round(float(np.clip(rng.normal(level + clip % 3, noise), 0, 5)), 3)
                    rows.append((f"c{clip}", condition, f"r{rater}", emotion, value))
    order = rng.permutation(len(rows))
    return [rows[k] for k in order]


def join(rows):
    return HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows)


def take_variances(rows, condition, emotion):
    """Clip -> variance, by the standard library."""
    cells = {}
    for clip, c, _, e, value in rows:
        if (c, e) == (condition, emotion):
            cells.setdefault(clip, []).append(value)
    return {clip: variance(values) for clip, values in cells.items() if len(values) > 1}


class TestMeans:
    def test_by_hand(self, read):
        held = read(
            HEADER + "a,face,x,joy,1\na,face,y,joy,3\n"  # variance 2
            "b,face,x,joy,0\nb,face,y,joy,0\nb,face,z,joy,3\n"  # mean 1: (1 + 1 + 4) / 2 = 3
            "c,face,x,joy,5\n"  # one rater: none
            "a,scene,x,joy,2\na,scene,y,joy,2\n"
        )
        assert (held.rows, held.bad, held.spread.alone) == (8, (), 1)
        found = estimate_disagreement(held.spread)
        face, scene = find(found.means, "joy", "face"), find(found.means, "joy", "scene")
        assert (face.value, face.clips, face.raters) == (2.5, 2, 2.5)
        assert (scene.value, scene.clips) == (0, 1)
        assert math.isnan(scene.low)
        assert math.isnan(scene.high)
        difference = find(found.differences, "joy", "face", "scene")
        assert (difference.value, difference.clips, difference.raters) == (2, 1, 2)  # of clip a alone
        assert find(found.means, None, "face").value == 2.5

    def test_by_the_standard_library(self, read):
        rows = draw_ratings()
        held = read(join(rows))
        assert held.rows == len(rows)
        found = estimate_disagreement(held.spread)
        for emotion in ("joy", "fear"):
            of = {c: take_variances(rows, c, emotion) for c in ("face", "scene")}
            for condition, values in of.items():
                entry = find(found.means, emotion, condition)
                assert entry.clips == len(values) < 60
                assert entry.value == pytest.approx(mean(values.values()), abs=1e-12)
                assert entry.low < entry.value < entry.high
            first = found.conditions[0]
            second = found.conditions[1]
            both = [of[first][clip] - of[second][clip] for clip in of[first] if clip in of[second]]
            entry = find(found.differences, emotion, first, second)
            assert (entry.clips, entry.value) == (len(both), pytest.approx(mean(both), abs=1e-12))
        joy, fear = (find(found.means, emotion, "face").value for emotion in ("joy", "fear"))
        assert find(found.means, None, "face").value == pytest.approx((joy + fear) / 2, abs=1e-12)

    def test_large_intensities_do_not_lose_the_variance(self, read):
        held = read(HEADER + "a,f,x,joy,1e9\na,f,y,joy,1000000001\na,f,z,joy,1000000002\n")
        assert held.spread.variance.item() == pytest.approx(1)

    def test_a_file_without_conditions(self, read):
        held = read("rater,clip,intensity,emotion,note\nx,a,1,joy,?\ny,a,2,joy,\n")
        assert held.spread.conditions == ("all",)
        found = estimate_disagreement(held.spread)
        assert (find(found.means, "joy", "all").value, found.differences) == (0.5, ())

    def test_no_clip_in_both(self, read):
        held = read(HEADER + "a,f,x,joy,1\na,f,y,joy,2\nb,g,x,joy,1\nb,g,y,joy,3\n")
        found = estimate_disagreement(held.spread)
        (difference, over_all) = found.differences
        assert (difference.clips, over_all.clips) == (0, 0)
        assert math.isnan(difference.value)
        assert math.isnan(over_all.value)


class TestCounts:
    def test_by_hand(self, read):
        held = read(CREMA)
        assert held.spread.clips == ("one",)
        assert held.spread.conditions == ("voice", "face", "face and voice")
        assert held.spread.emotions == ("anger", "disgust", "fear", "happiness", "neutral", "sadness")
        voice, face, both = held.spread.variance[0]
        assert voice.tolist() == pytest.approx([1 / 3, 0, 0, 0, 1 / 3, 0])  # 4/3 * 1/2 * 1/2
        assert face.tolist() == [0] * 6
        assert both.tolist() == pytest.approx([0.1, 0, 0, 0, 0.1, 0])  # 10/9 * 1/10 * 9/10
        assert held.spread.raters[:, :, 0].tolist() == [[4, 4, 10]]

    def test_same_as_ratings_of_0_and_1(self, read):
        rng = np.random.default_rng(4)
        table = rng.integers(0, 5, (30, 3)) + np.array([1, 1, 0])
        counts = "clip,joy,fear,anger\n" + "".join(
            f"c{k},{','.join(map(str, row))}\n" for k, row in enumerate(table.tolist())
        )
        rows = []
        for k, row in enumerate(table.tolist()):
            votes = [e for e, count in enumerate(row) for _ in range(count)]
            rows += [
                (f"c{k}", "all", f"r{n}", emotion, int(vote == e))
                for n, vote in enumerate(votes)
                for e, emotion in enumerate(("joy", "fear", "anger"))
            ]
        by_counts, by_ratings = read(counts, "joy", "fear", "anger"), read(join(rows))
        np.testing.assert_allclose(by_counts.spread.variance, by_ratings.spread.variance, atol=1e-12)
        assert (by_counts.spread.raters == by_ratings.spread.raters).all()

    def test_conditions_of_counts(self, read):
        held = read("condition,clip,joy,fear\nf,a,1,1\ns,a,2,0\nf,b,1,0\n", "joy", "fear")
        assert held.spread.conditions == ("f", "s")
        assert np.isnan(held.spread.variance[1]).all()  # one vote, or none
        assert held.spread.alone == 2

    def test_bad_rows(self, read):
        lines = [
            '"400001",2,0,0,0,2,0,"one",4',
            '"100002",2,0,0,0,2,0,"",4',
            '"100003",2,0,0,x,2,0,"three",4',
            '"100004",2,0,0,0,2,-1,"four",4',
            '"100005",2,0,0,0,2,0,"five",5',
            '"100006",2,0,0,0,2,0,"one",4',
            '"100007",2,0,0',
        ]
        held = read(CREMA + "\n".join(lines))
        assert [(row.line, row.reason) for row in held.bad] == [
            (5, "row number '400001': expected one that begins with 1, 2 or 3"),
            (6, "fileName is empty"),
            (7, "H = 'x': expected a count of votes"),
            (8, "S = '-1': expected a count of votes"),
            (9, "numResponses = '5', but the votes add up to 4"),
            (10, "the clip's second row in this condition (first: line 2)"),
            (11, "9 cells expected, got 4"),
        ]
        assert (held.rows, held.spread.clips) == (3, ("one",))

    def test_crema_d(self, data):
        """The real file against sums made with the standard library."""
        path = data("ratings/crema_d_votes.csv")
        held = read_ratings(path)
        assert (held.rows, held.bad) == (14703, ())
        found = estimate_disagreement(held.spread, Bootstrap(rounds=20))
        of = {"1": [], "2": [], "3": []}
        with path.open(newline="") as stream:
            for row in csv.DictReader(stream):
                n, k = int(row["numResponses"]), int(row["H"])
                of[row[""][0]].append(variance([1] * k + [0] * (n - k)))
        for block, condition in zip("123", ("voice", "face", "face and voice"), strict=True):
            entry = find(found.means, "happiness", condition)
            assert (entry.clips, entry.value) == (4901, pytest.approx(mean(of[block]), abs=1e-12))


class TestIntervals:
    def test_by_a_plain_loop(self, read):
        rows = draw_ratings(1, 12)
        held = read(join(rows))
        found = estimate_disagreement(held.spread, Bootstrap(150, 0.8, 5))
        rng = np.random.default_rng(5)
        face, scene = (take_variances(rows, c, "joy") for c in ("face", "scene"))
        clips = held.spread.clips
        means, differences = [], []
        for _ in range(150):
            drawn = [clips[k] for k in rng.integers(len(clips), size=len(clips))]
            means.append(mean(face[c] for c in drawn if c in face))
            differences.append(mean(face[c] - scene[c] for c in drawn if c in face and c in scene))
        sign = 1 if found.conditions[0] == "face" else -1
        difference = find(found.differences, "joy", *found.conditions)
        for entry, values in ((find(found.means, "joy", "face"), means), (difference, differences)):
            low, high = np.quantile(np.array(values) * (1 if values is means else sign), [0.1, 0.9])
            assert (entry.low, entry.high) == (pytest.approx(low), pytest.approx(high))

    def test_as_wide_as_the_normal_one(self):
        values = np.random.default_rng(0).exponential(1, (900, 1, 1))
        spread = RaterSpread(tuple(map(str, range(900))), ("a",), ("joy",), values, np.full((900, 1, 1), 5))
        (entry, _) = estimate_disagreement(spread).means
        half = 1.96 * values.std() / 30
        assert entry.high - entry.value == pytest.approx(half, rel=0.1)
        assert entry.value - entry.low == pytest.approx(half, rel=0.1)

    def test_differences_are_paired(self):
        """Conditions that differ by the same in every clip: the clips' own spread must not show."""
        rng = np.random.default_rng(0)
        first = rng.exponential(1, 200)
        values = np.stack([first + 0.25, first], axis=1)[..., None]
        spread = RaterSpread(
            tuple(map(str, range(200))), ("a", "b"), ("joy",), values, np.full((200, 2, 1), 5)
        )
        (entry, over_all) = estimate_disagreement(spread).differences
        assert (entry.low, entry.value, entry.high) == (pytest.approx(0.25),) * 3
        assert (over_all.low, over_all.high) == (pytest.approx(0.25),) * 2

    def test_groups_are_drawn_whole(self, read):
        """Clips of a person alike, persons not: the interval is as wide as the persons make it."""
        person = np.random.default_rng(0).exponential(1, 30)
        values = np.repeat(person, 20)[:, None, None]
        names = tuple(map(str, range(600)))
        spread = RaterSpread(
            names, ("a",), ("joy",), values, np.full((600, 1, 1), 5), np.repeat(np.arange(30), 20)
        )
        clips, groups = (estimate_disagreement(spread, Bootstrap(grouped=g)).means[0] for g in (False, True))
        assert clips.value == groups.value == pytest.approx(person.mean())
        assert (groups.high - groups.low) / 2 == pytest.approx(1.96 * person.std() / 30**0.5, rel=0.15)
        assert groups.high - groups.low > 3 * (clips.high - clips.low)
        with pytest.raises(SettingsError, match="grouped = True: expected a file that names the groups"):
            estimate_disagreement(read(join(draw_ratings())).spread, Bootstrap(grouped=True))

    def test_groups_of_files(self, read):
        held = read(
            "clip,group,rater,emotion,intensity\na,p,x,joy,1\nb,q,x,joy,1\nc,p,x,joy,1\na,q,y,joy,1\na,,y,joy,1\n"
        )
        assert held.spread.group.tolist() == [0, 1, 0]
        assert [(row.line, row.reason) for row in held.bad] == [
            (5, "group = 'q', but the clip's was 'p' before"),
            (6, "group is empty"),
        ]
        assert read("group,clip,joy\np,a,1\nq,b,2\n", "joy").spread.group.tolist() == [0, 1]
        assert read(CREMA.replace('"one"', '"1001_x"')).spread.group.tolist() == [0]
        assert read("clip,joy\na,1\n", "joy").spread.group is None

    def test_the_seed_decides(self, read):
        spread = read(join(draw_ratings())).spread
        one, same, other = (estimate_disagreement(spread, Bootstrap(100, seed=s)) for s in (1, 1, 2))
        assert one.means == same.means
        assert one.means != other.means
        assert [e.value for e in one.means] == [e.value for e in other.means]

    @pytest.mark.parametrize("empty", [0, 1, 2])
    def test_nothing_to_estimate(self, empty):
        shape = [0 if axis == empty else 1 for axis in range(3)]
        names = [("x",) * count for count in shape]
        with pytest.raises(SettingsError, match="at least one"):
            estimate_disagreement(RaterSpread(*names, np.zeros(shape), np.zeros(shape, np.int64)))

    @pytest.mark.parametrize(
        ("field", "value"), [("rounds", 0), ("level", 1.0), ("level", math.nan), ("seed", -1)]
    )
    def test_settings(self, field, value):
        with pytest.raises(SettingsError, match=field):
            Bootstrap(**{field: value})


class TestFiles:
    def test_bad_rows(self, read):
        held = read(
            (HEADER + "a,f,x,joy,1\na,f,y,joy\n,f,x,joy,1\na,,x,joy,1\na,f,x,joy,2\na,f,x, ,2\n"
             "a,f,z,joy,inf\na,f,z,joy,three\na,f,z,joy,1_0\n\na,f,y,joy,2\n").encode()
            + b"a,f,\xff,joy,1\n"
            + b'a,f,"w,joy,1\n'
        )  # fmt: skip
        assert held.bad == (
            BadRow(3, "5 cells expected, got 4"),
            BadRow(4, "clip is empty"),
            BadRow(5, "condition is empty"),
            BadRow(6, "the rater's second rating of this clip and emotion in this condition (first: line 2)"),
            BadRow(7, "emotion is empty"),
            BadRow(8, "intensity = 'inf': expected a number from -1e+15 to 1e+15"),
            BadRow(9, "intensity = 'three': expected a number from -1e+15 to 1e+15"),
            BadRow(10, "intensity = '1_0': expected a number from -1e+15 to 1e+15"),
            BadRow(13, "not UTF-8"),
            BadRow(14, "a quote is opened and never closed"),
        )
        assert (held.rows, held.spread.variance.tolist()) == (2, [[[0.5]]])

    @pytest.mark.parametrize(
        ("content", "counts", "said"),
        [
            ("", (), "r.csv: the file is empty"),
            (HEADER, (), "r.csv: no ratings under the header"),
            (HEADER + "a,f,x,joy,?\n", (), "r.csv: no good ratings under the header"),
            ("clip,rater,emotion\n", (), "r.csv:1: column 'intensity' is missing"),
            ("clip,rater,emotion,intensity,clip\n", (), "r.csv:1: column 'clip' stands there twice"),
            ("clip,joy\na,1\n", ("joy", "fear"), "r.csv:1: column 'fear' is missing"),
            ("clip,joy\na,-\n", ("joy",), "r.csv: no good rows under the header"),
            (CREMA.replace('"N"', '"A"', 1), (), "r.csv:1: column 'clip' is missing"),
            ("clip,joy\n".encode("utf-16"), ("joy",), "r.csv: UTF-16 text, expected UTF-8"),
        ],
    )
    def test_wrong_files(self, read, content, counts, said):
        with pytest.raises(DataError, match=said.replace(".", r"\.")):
            read(content, *counts)

    def test_a_column_named_twice(self, read):
        with pytest.raises(SettingsError, match="counts"):
            read("clip,joy\na,1\n", "joy", "joy")

    def test_what_is_written(self, read):
        spread = read(HEADER + "a,f,x,joy,1\na,f,y,joy,2\na,s,x,joy,1\na,s,y,joy,1\n").spread
        stream = io.BytesIO()
        write_agreement(estimate_disagreement(spread), stream)
        assert stream.getvalue().decode().splitlines() == [
            "emotion,condition,minus,clips,raters,disagreement,low,high",
            "joy,f,,1,2,0.5,,",
            "(mean),f,,1,2,0.5,,",
            "joy,s,,1,2,0,,",
            "(mean),s,,1,2,0,,",
            "joy,f,s,1,2,0.5,,",
            "(mean),f,s,1,2,0.5,,",
        ]
