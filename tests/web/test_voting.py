"""Votes over HTTP: cast, counted, ranked, taken back by nobody else, exported."""

import pytest

from moodreel.errors import SettingsError
from moodreel.labels.votes import score_votes
from moodreel.labels.votes_table import read_votes
from web.fakes import draw_clip, open_client, read_webp, take_csrf

pytest.importorskip("sqlalchemy", reason="the extra web is not installed")

COLOURS = {"a.gif": (255, 0, 0), "b.gif": (0, 0, 255), "c.gif": (0, 0, 0)}


@pytest.fixture
def root(tmp_path):
    root = tmp_path / "clips"
    root.mkdir()
    for name, colour in COLOURS.items():
        draw_clip(root / name, colour, size=30)
    draw_clip(tmp_path / "secret.gif", (9, 9, 9))
    return root


@pytest.fixture
def place(root, tmp_path):
    return {"media": root, "votes": str(tmp_path / "votes.sqlite"), "emotions": ("happiness", "fear")}


@pytest.fixture
def client(place):
    with open_client(**place) as client:
        client.headers.update(take_csrf(client, "/vote"))
        yield client


def cast(client, left="a.gif", right="b.gif", choice="left", token="t1", emotion="happiness", **options):
    body = {"emotion": emotion, "left": left, "right": right, "choice": choice, "token": token}
    return client.post("/api/votes", json=body, **options)


def count(client):
    return client.get("/api/votes/counts").json()


def test_a_pair_is_of_two_clips(client):
    pair = client.get("/api/votes/next", params={"emotion": "happiness"}).json()
    assert pair["emotion"] == "happiness"
    assert len({pair["left"], pair["right"]} & set(COLOURS)) == 2


def test_a_vote_counts(client):
    answer = cast(client)
    assert answer.status_code == 201
    vote = answer.json()
    assert (vote["left"], vote["right"], vote["choice"], vote["is_new"]) == ("a.gif", "b.gif", "left", True)
    counts = count(client)
    assert (counts["votes"], counts["voters"]) == (1, 1)
    assert counts["own"] == {"happiness": 1, "fear": 0}
    ranks = client.get("/api/votes/ranking", params={"emotion": "happiness"}).json()
    assert [rank["item"] for rank in ranks] == ["a.gif", "b.gif"]
    assert ranks[0]["mu"] == pytest.approx(29.2, abs=0.3)  # TrueSkill's first win, with draws


def test_a_vote_that_is_sent_twice_counts_once(client):
    assert cast(client).json()["number"] == cast(client).json()["number"]
    assert count(client)["votes"] == 1
    assert cast(client, choice="right").json()["error"] == "invalid"  # another vote under the same token


def test_a_vote_is_taken_back_by_its_voter_alone(client, place):
    number = cast(client).json()["number"]
    other = client.__class__(client.app, base_url=client.base_url)
    other.headers.update(take_csrf(other, "/vote"))
    assert other.post("/api/votes/undo", json={"number": number}).json() is None
    assert other.post("/api/votes/undo", json={}).json() is None
    assert count(other)["own"] == {"happiness": 0, "fear": 0}
    assert count(other)["votes"] == 1
    assert client.post("/api/votes/undo", json={"number": number}).json()["is_undone"]
    assert count(client)["votes"] == 0


def test_votes_need_the_csrf_token_and_a_session(client):
    assert cast(client, headers={"X-CSRF-Token": ""}).json()["error"] == "csrf"
    client.cookies.clear()
    assert cast(client).status_code == 403
    assert client.get("/api/votes/next", params={"emotion": "happiness"}).json()["error"] == "session"
    with open_client() as alone:
        assert alone.get("/api/votes/counts").status_code == 404
        assert "moodreel serve --media clips/ --votes" in alone.get("/vote").text


@pytest.mark.parametrize(
    "wrong",
    [
        {"choice": "both"},
        {"right": "a.gif"},
        {"left": "../secret.gif"},
        {"emotion": "hunger"},
        {"token": "x" * 101},
        {"left": 5},
    ],
)
def test_wrong_votes_are_refused(client, wrong):
    answer = cast(client, **wrong)
    assert (answer.status_code, answer.json()["error"]) == (422, "invalid")
    assert count(client)["votes"] == 0


def test_what_is_no_vote_is_refused(client):
    for content in (b"", b"{", b"[]", b'{"emotion": "happiness"}'):
        answer = client.post("/api/votes", content=content, headers={"Content-Type": "application/json"})
        assert (answer.status_code, answer.json()["error"]) == (422, "invalid")


def test_the_export_goes_into_votes_score(client, tmp_path):
    cast(client, "a.gif", "b.gif", "left", "1")
    cast(client, "b.gif", "c.gif", "left", "2")
    cast(client, "a.gif", "c.gif", "neither", "3")
    number = cast(client, "c.gif", "a.gif", "left", "4").json()["number"]
    client.post("/api/votes/undo", json={"number": number})
    answer = client.get("/api/votes/export")
    assert 'filename="votes.csv"' in answer.headers["content-disposition"]
    path = tmp_path / "votes.csv"
    path.write_bytes(answer.content)
    held = read_votes(path, strict=True)
    assert len(held.votes) == 3
    scored = score_votes(held.votes, compiled=False)
    ranks = client.get("/api/votes/ranking", params={"emotion": "happiness"}).json()
    expected = {held.votes.items[item]: mu for item, mu in zip(scored.item, scored.mu, strict=True)}
    assert {rank["item"]: rank["mu"] for rank in ranks} == pytest.approx(expected, abs=1e-8)


def test_votes_stay_when_the_server_goes(client, place):
    cast(client)
    with open_client(**place) as again:
        again.cookies.update(client.cookies)
        again.headers.update(take_csrf(again, "/vote"))
        assert count(again)["own"]["happiness"] == 1  # the same browser is the same voter


def test_pictures_are_of_the_folder_alone(client, tmp_path):
    answer = client.get("/api/votes/picture", params={"item": "b.gif"})
    frames, _ = read_webp(answer.content)
    assert frames.shape == (1, 30, 30, 3)
    assert frames[0, 15, 15, 2] > 230
    for item in ("../secret.gif", str(tmp_path / "secret.gif"), "", "votes.sqlite"):
        assert client.get("/api/votes/picture", params={"item": item}).status_code == 404


def test_there_must_be_a_pair(tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    draw_clip(folder / "a.gif", (0, 0, 0))
    where = {"media": folder, "votes": str(tmp_path / "v.sqlite")}
    with pytest.raises(SettingsError, match="at least two clips"), open_client(**where):
        pass


def test_the_page_asks_about_what_is_offered(client):
    page = client.get("/vote").text
    assert page.count("<option>") == 2
    assert "<option>fear</option>" in page
