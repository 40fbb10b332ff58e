"""The library over HTTP: search, places, thumbnails, and nothing outside its folder."""

import json
import os

import numpy as np
import pytest

from moodreel.emotions import GIFGIF_17
from moodreel.errors import SettingsError
from moodreel.media import Limits
from moodreel.media.pool import DecoderPool
from moodreel.runtime.table import list_columns, open_table
from moodreel.web.library import tell_positions
from moodreel.web.problems import Problem
from moodreel.web.reading import Watch
from moodreel.web.settings import WebSettings
from moodreel.web.shelf import SMALL, Shelf, list_clips
from web.fakes import draw_clip, open_client, read_webp

pytest.importorskip("duckdb", reason="the extra web is not installed")

RED, BLACK = (255, 0, 0), (0, 0, 0)
CLIPS = {
    # happiness, anger, valence, arousal, category
    "joy.gif": (0.9, -0.9, 0.8, 0.3, "pleasure_arousal"),
    "calm.gif": (0.2, -1.0, 0.6, -0.5, "pleasure_sleepiness"),
    "rage.gif": (-1.0, 0.7, -0.7, 0.6, "misery_arousal"),
    "gone.gif": (0.8, -0.8, 0.7, 0.2, "pleasure_arousal"),
}


def make_row(path, happiness=None, anger=None, valence=None, arousal=None, category=None, **changes):
    row = {column.name: None for column in list_columns("kavan")}
    scores = {} if happiness is None else dict.fromkeys(GIFGIF_17, -1.0)
    row |= {"path": path, "status": "ok", "model": "kavan", "model_version": "1", **scores}
    row |= {"happiness": happiness, "anger": anger, "valence": valence, "arousal": arousal}
    return {**row, "category": category, **changes}


def make_library(tmp_path):
    """A folder of clips and their table; one clip is not there, one could not be read, two lead out of it."""
    root = tmp_path / "clips"
    root.mkdir()
    for name in CLIPS:
        if name != "gone.gif":
            draw_clip(root / name, RED, BLACK, durations=[0.2, 0.3])
    draw_clip(tmp_path / "secret.gif", RED)
    (root / "link.gif").symlink_to(tmp_path / "secret.gif")
    with open_table(root / "moods.parquet", list_columns("kavan")) as table:
        for name, facts in CLIPS.items():
            table.write(make_row(f"clips/{name}", *facts))
        table.write(make_row("clips/bad.gif", status="error", error="no <b>picture</b>"))
        table.write(make_row("../secret.gif"))
        table.write(make_row(str(tmp_path / "secret.gif")))
        table.write(make_row("clips/link.gif"))
        table.write(make_row("clips/../clips/joy.gif"))
    return root


@pytest.fixture
def root(tmp_path):
    return make_library(tmp_path)


@pytest.fixture(scope="module")
def client(tmp_path_factory):
    root = make_library(tmp_path_factory.mktemp("library"))
    with open_client(table=root / "moods.parquet", media=root) as client:
        yield client


def find(client, **params):
    answer = client.get("/api/library/rows", params=params)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    return body["total"], [row["values"]["path"].rpartition("/")[2] for row in body["rows"]]


def test_a_query(client):
    assert find(client, query="happiness > 0.5 and anger < 0") == (2, ["joy.gif", "gone.gif"])


def test_filters_order_and_pages(client):
    assert find(client, quadrant="misery_arousal") == (1, ["rage.gif"])
    assert find(client, range=["happiness:0:1", "anger:-1:-0.95"]) == (1, ["calm.gif"])
    names = ["rage.gif", "calm.gif", "gone.gif", "joy.gif"]
    bounds = {"query": "happiness is not null", "sort": "happiness"}
    assert find(client, **bounds, descending="false") == (4, names)
    assert find(client, **bounds) == (4, names[::-1])
    assert find(client, **bounds, offset=1, limit=2) == (4, ["gone.gif", "calm.gif"])


def test_what_is_near(client):
    total, names = find(client, near="-0.5,0.5")
    assert (total, names[0]) == (4, "rage.gif")
    total, names = find(client, like=0)  # joy
    assert (total, names) == (3, ["gone.gif", "calm.gif", "rage.gif"])
    row = client.get("/api/library/rows", params={"near": "0.8,0.3", "limit": 1}).json()["rows"][0]
    assert row["distance"] == 0


def test_a_wrong_query_says_where(client):
    answer = client.get("/api/library/rows", params={"query": "happines > 0.5"})
    assert answer.status_code == 422
    body = answer.json()
    assert (body["error"], body["position"], body["found"]) == ("query", 0, "happines")
    assert "did you mean happiness" in body["reason"]


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"query": "1=1; drop table x"}, "query"),
        ({"query": "path in (select path from read_csv('/etc/passwd'))"}, "query"),
        ({"range": "happiness:low:high"}, "invalid"),
        ({"range": "happiness"}, "invalid"),
        ({"range": "nobody:0:1"}, "invalid"),
        ({"near": "1"}, "invalid"),
        ({"near": "5,0"}, "invalid"),
        ({"like": "-1"}, "invalid"),
        ({"like": "999"}, "no_row"),
        ({"like": "4"}, "invalid"),  # the one that could not be read has no scores
        ({"quadrant": "north"}, "invalid"),
        ({"sort": "nobody"}, "query"),
        ({"limit": "501"}, "invalid"),
        ({"offset": "-1"}, "invalid"),
        ({"query": "x" * 5000}, "invalid"),
    ],
)
def test_wrong_requests_are_told_why(client, params, word):
    answer = client.get("/api/library/rows", params=params)
    assert answer.status_code in (404, 422)
    assert answer.json()["error"] == word
    assert answer.json()["reason"]


def test_places_on_the_circumplex(client):
    places = client.get("/api/library/positions", params={"query": "anger < 0"}).json()
    assert places == {"total": 3, "row": [0, 1, 3], "valence": [0.8, 0.6, 0.7], "arousal": [0.3, -0.5, 0.2]}


def test_of_many_places_some_are_drawn(monkeypatch):
    from moodreel.runtime.search import Positions

    monkeypatch.setattr("moodreel.web.library.MOST_POINTS", 10)
    rows = np.arange(95)
    told = tell_positions(Positions(rows, rows / 95, -rows / 95))
    assert told["total"] == 95
    assert told["row"] == list(range(0, 95, 10))
    assert len(told["valence"]) == len(told["arousal"]) == 10


def test_a_row_in_full(client):
    told = client.get("/api/library/rows/0").json()
    assert told["values"]["path"] == "clips/joy.gif"
    assert told["html"].count('scope="row"') == 17
    failed = client.get("/api/library/rows/4").json()["html"]
    assert "no &lt;b&gt;picture" in failed
    assert client.get("/api/library/rows/99").json()["error"] == "no_row"
    assert client.get("/api/library/rows/x").status_code == 422


def test_a_thumbnail_is_an_animation_of_ours(client):
    answer = client.get("/api/library/thumbs/0")
    assert answer.headers["content-type"] == "image/webp"
    frames, times = read_webp(answer.content)
    assert frames.shape == (2, 20, 20, 3)
    assert times == [200, 300]
    assert frames[0, 10, 10, 0] > 240
    still, _ = read_webp(client.get("/api/library/thumbs/0?still=true").content)
    assert len(still) == 1


@pytest.mark.parametrize("row", [3, 5, 6, 7, 99])
def test_nothing_outside_the_folder_is_drawn(client, row):
    """What is gone, a path upwards, an absolute one, a link that leads out, no such row."""
    answer = client.get(f"/api/library/thumbs/{row}")
    assert answer.status_code == 404
    assert answer.json()["error"] in ("no_file", "no_row")


def test_a_path_that_comes_back_in_is_inside(client):
    assert client.get("/api/library/thumbs/8").status_code == 200


@pytest.mark.parametrize("path", ["", ".", "..", "\0", "x" * 5000, "/", "/etc/passwd", "~", "clips"])
def test_strange_paths_lead_nowhere(root, path):
    with pytest.raises(Problem):
        Shelf(root, DecoderPool(Limits(), 1, at_once=False)).locate(path)


def test_paths_are_tried_from_three_places(root, tmp_path, monkeypatch):
    shelf = Shelf(root, DecoderPool(Limits(), 1, at_once=False))
    joy = root / "joy.gif"
    assert shelf.locate("joy.gif") == shelf.locate("clips/joy.gif") == shelf.locate(str(joy)) == joy
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    assert shelf.locate("../../clips/joy.gif") == joy


def test_drawings_are_kept_within_bounds(root, monkeypatch):
    import moodreel.web.shelf as module

    shelf = Shelf(root, DecoderPool(Limits(), 1, at_once=False))
    drawn = []
    monkeypatch.setattr(shelf, "_draw", lambda file, *_: drawn.append(file.name) or bytes(100))
    monkeypatch.setattr(module, "KEPT_BYTES", 250)
    for name in ("joy.gif", "joy.gif", "calm.gif", "joy.gif", "rage.gif", "joy.gif", "calm.gif"):
        shelf.draw(name, SMALL, Watch())
    assert drawn == ["joy.gif", "calm.gif", "rage.gif", "calm.gif"]
    os.utime(root / "joy.gif", (1, 1))  # another file by now
    shelf.draw("joy.gif", SMALL, Watch())
    assert drawn[-1] == "joy.gif"


def test_clips_of_a_folder(root):
    (root / "sub").mkdir()
    draw_clip(root / "sub" / "more.gif", RED)
    assert list_clips(root) == ["calm.gif", "joy.gif", "rage.gif", "sub/more.gif"]  # the link leads out


def test_the_page_and_what_it_is_told(client):
    page = client.get("/library")
    assert page.status_code == 200
    assert page.text.count('class="dual ') == len(GIFGIF_17)
    told = client.get("/api/library").json()
    assert (told["name"], told["count"], told["is_complete"]) == ("moods.parquet", 9, True)
    assert told["bounds"]["happiness"] == [-1.0, 0.9]
    assert len(told["quadrants"]) == 4
    json.dumps(told, allow_nan=False)


def test_without_a_table_the_page_says_how():
    with open_client() as client:
        assert "moodreel serve --table" in client.get("/library").text
        assert client.get("/api/library/rows").status_code == 404


def test_a_folder_must_be_there(root):
    with pytest.raises(SettingsError, match="a folder"), open_client(media=root / "none"):
        pass
    with pytest.raises(SettingsError, match="clips to vote on"):
        WebSettings(votes="votes.sqlite")
