"""A folder of GIFs, scores and OpenPose's files as a manifest; what is missing is listed."""

import json
import shutil

import numpy as np
import pytest

from moodreel.errors import DataError
from moodreel.lab.data.gifgif import import_gifgif, main, rate_items, read_scores
from moodreel.lab.data.manifest import read_manifest
from moodreel.media import write_gif

FLAT = [v for n in range(70) for v in (5.0 + n % 9, 4.0 + n % 7, 0.8)]


@pytest.fixture
def place(tmp_path):
    gifs, pose = tmp_path / "gifs", tmp_path / "pose"
    gifs.mkdir()
    pose.mkdir()
    for n, name in enumerate("abcd"):
        frames = np.full((3, 20, 24, 3), 30 * n + 10, np.uint8)
        frames[1:] += 20
        frames[2:] += 20
        write_gif(gifs / f"{name}.gif", frames, np.full(3, 0.1))
    shutil.copy(gifs / "a.gif", gifs / "a_again.gif")
    for n in range(3):  # a file a frame, as OpenPose writes
        people = [{"face_keypoints_2d": FLAT}] if n != 1 else []
        (pose / f"a_{n:012d}_keypoints.json").write_text(json.dumps({"people": people}))
    (pose / "b_000000000000_keypoints.json").write_text(json.dumps({"people": []}))  # two frames are missing
    (tmp_path / "scores.csv").write_text(
        "item,emotion,mu,sigma,score,votes\n"
        "a,anger,40,1,0.6,9\na,fear,10,1,-0.6,9\nb.gif,anger,25,1,0,9\na_again,anger,40,1,0.6,9\nlost,anger,25,1,0,9\n"
    )
    return tmp_path


def test_scores_are_joined_by_name(place):
    scores, problems = read_scores(place / "scores.csv")
    assert problems == []
    found = import_gifgif(place / "gifs", scores, place / "out")
    assert [row.clip.name for row in found.rows] == ["a.gif", "a_again.gif", "b.gif"]
    assert found.rows[0].scores == {"anger": 0.6, "fear": -0.6}
    assert found.rows[0].group == found.rows[1].group != found.rows[2].group  # copies stay together
    assert found.problems == (
        f"1 items with scores have no GIF in {place / 'gifs'}: lost",
        "2 GIFs have no score: c, d",
    )


def test_keypoints_are_imported_or_named(place):
    scores, _ = read_scores(place / "scores.csv")
    found = import_gifgif(place / "gifs", scores, place / "out", place / "pose")
    rows = {row.clip.stem: row for row in found.rows}
    from moodreel.faces.openpose import read_keypoints

    keypoints = read_keypoints(rows["a"].keypoints)
    assert keypoints.found.tolist() == [True, False, True]
    assert keypoints.points[0, 0] == pytest.approx([5 / 24, 4 / 20])
    assert rows["b"].keypoints is None
    assert any("b.gif: no keypoints" in line for line in found.problems)


def test_mu_becomes_a_score(tmp_path):
    (tmp_path / "s.csv").write_text("item,emotion,mu\na,anger,25\na,fear,60\na,guilt,-3\na,shame,30\n")
    scores, problems = read_scores(tmp_path / "s.csv")
    assert scores == {"a": {"anger": 0.0, "fear": 1.0, "guilt": -1.0, "shame": pytest.approx(0.2)}}
    assert problems == []


def test_votes_are_rated(place):
    """One vote: TrueSkill's first step with its usual settings, whose result is widely printed."""
    (place / "votes.csv").write_text(
        "emotion,left,right,choice\nanger,a,b,left\njoy,a,b,left\nfear,c,d,maybe\n"
    )
    scores, problems = rate_items(place / "votes.csv")
    assert scores["a"]["anger"] == pytest.approx(29.39583 / 25 - 1, abs=1e-4)
    assert scores["b"]["anger"] == pytest.approx(20.60417 / 25 - 1, abs=1e-4)
    assert set(scores) == {"a", "b"}
    assert any("votes.csv:4: " in line for line in problems)
    assert any("'joy'" in line for line in problems)
    arguments = [str(place / "gifs"), "--votes", str(place / "votes.csv"), "--out", str(place / "out")]
    assert main(arguments) == 1
    rows = read_manifest(place / "out" / "manifest.csv").rows
    assert [row.clip.stem for row in rows] == ["a", "b"]


def test_bad_rows_are_named_and_the_rest_is_read(tmp_path):
    (tmp_path / "s.csv").write_text(
        "item,emotion,score\na,anger,0.5\na,joy,0.5\nb,fear,much\n,fear,0\nb,fear,2\na,anger,0.1\nb,guilt,-1\n"
    )
    scores, problems = read_scores(tmp_path / "s.csv")
    assert scores == {"a": {"anger": 0.5}, "b": {"guilt": -1.0}}
    for line, words in ((3, "'joy'"), (4, "'much'"), (5, "no item"), (6, "'2'"), (7, "already")):
        assert any(f"s.csv:{line}: " in problem and words in problem for problem in problems), line
    assert len(problems) == 5


def test_what_cannot_be_done_at_all(place, tmp_path):
    scores, _ = read_scores(place / "scores.csv")
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match=r"no \.gif in this folder"):
        import_gifgif(tmp_path / "none", scores, place / "out")
    with pytest.raises(DataError, match="no GIF has a score; 1 items with scores"):
        import_gifgif(place / "gifs", {"zzz": {"anger": 0.0}}, place / "out")
    with pytest.raises(DataError, match="no such folder of keypoints"):
        import_gifgif(place / "gifs", scores, place / "out", place / "nowhere")
    (tmp_path / "s.csv").write_text("item,emotion,sigma\n")
    with pytest.raises(DataError, match="column score or mu is missing"):
        read_scores(tmp_path / "s.csv")


def test_command(place, capsys):
    arguments = [str(place / "gifs"), "--scores", str(place / "scores.csv"), "--out", str(place / "out")]
    assert main(arguments) == 1  # something was missing, all else done
    assert "2 GIFs have no score: c, d" in capsys.readouterr().err
    manifest = read_manifest(place / "out" / "manifest.csv")
    assert [row.scores.get("anger") for row in manifest.rows] == [0.6, 0.6, 0.0]
    assert {row.split for row in manifest.rows} <= {"train", "val", "test"}
    for name in ("c", "d"):
        (place / "gifs" / f"{name}.gif").unlink()
    lines = (place / "scores.csv").read_text().splitlines()[:-1]
    (place / "scores.csv").write_text("\n".join(lines) + "\n")
    assert main(arguments) == 0
    assert main([str(place), *arguments[1:]]) == 2
