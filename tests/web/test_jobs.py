"""Jobs of the page Look: pictures at their times, progress, results, and that nothing stays."""

import time
from types import SimpleNamespace

import numpy as np
import pytest

import moodreel.web.jobs as jobs
from moodreel.errors import LimitExceeded
from moodreel.media import Limits, open_media
from moodreel.web.reading import Watch, WatchedMedia, is_long
from web.fakes import draw_clip, make_models, open_client, read_webp, take_csrf

RED, BLACK, GREEN = (255, 0, 0), (0, 0, 0), (0, 255, 0)


@pytest.fixture
def server():
    models, engines = make_models()
    with open_client(models) as client:
        client.engines = engines
        client.headers.update(take_csrf(client))
        yield client


@pytest.fixture
def clip(tmp_path):
    """Red, black and red for 0.2, 0.05 and 0.35 s."""
    return draw_clip(tmp_path / "clip.gif", RED, BLACK, RED, durations=[0.2, 0.05, 0.35]).read_bytes()


def start(client, content, **params):
    answer = client.post("/api/jobs", files={"files": ("clip.gif", content)}, params=params)
    assert answer.status_code == 202, answer.text
    return answer.json()["id"]


def finish(client, key):
    for _ in range(400):
        told = client.get(f"/api/jobs/{key}").json()
        if told["state"] in ("done", "failed"):
            return told
        time.sleep(0.02)
    raise AssertionError(told)


def list_left(client):
    intake = client.app.state.kitchen.intake
    return intake.held, list(intake.folder.iterdir())


def test_pictures_have_the_files_own_times(server, clip):
    key = start(server, clip)
    told = finish(server, key)
    assert (told["state"], told["results"]) == ("done", ["tiny-kavan"])
    preview = told["preview"]
    assert preview["starts_s"] == [0.0, 0.2, 0.25]
    assert preview["durations_s"] == [0.2, 0.05, 0.35]
    assert (preview["duration_s"], preview["frames"], preview["note"]) == (0.6, 3, None)
    assert (preview["source_width"], preview["width"]) == (20, 160)  # a tiny picture grows by a whole factor
    packed = server.get(f"/api/jobs/{key}/frames").content
    assert sum(preview["sizes"]) == len(packed)
    at = 0
    for size, colour in zip(preview["sizes"], (RED, BLACK, RED), strict=True):
        frames, _ = read_webp(packed[at : at + size])
        assert frames.shape == (1, 160, 160, 3)
        assert np.abs(frames[0, 80, 80].astype(int) - colour).max() < 12
        at += size


def test_a_result_is_a_row_and_a_part_of_the_page(server, clip):
    key = start(server, clip, model=["tiny-face", "tiny-kavan"])
    assert finish(server, key)["results"] == ["tiny-face", "tiny-kavan"]
    result = server.get(f"/api/jobs/{key}/results/tiny-kavan").json()
    assert (result["path"], result["status"], result["frames"]) == ("clip.gif", "ok", 3)
    assert result["attention"]["maps"][0] == [0, 1, 0, 0]
    html = result["html"]
    assert 'data-model="tiny-kavan"' in html
    assert html.count('scope="row"') == 17
    assert "Circumplex: valence" in html
    assert "style=" not in html
    face = server.get(f"/api/jobs/{key}/results/tiny-face").json()
    assert face["attention"] is None
    assert face["html"].count('scope="row"') == 7
    assert server.get(f"/api/jobs/{key}/results/nobody").status_code == 404


def test_a_file_is_deleted_when_it_is_read(server, clip):
    finish(server, start(server, clip))
    assert list_left(server) == (0, [])


def test_pictures_are_left_out_where_they_are_there_already(server, clip):
    key = start(server, clip, draw=False)
    assert finish(server, key)["preview"] is None
    assert server.get(f"/api/jobs/{key}/frames").content == b""


def test_what_cannot_be_read_fails(server):
    told = finish(server, start(server, b"GIF89a"))
    assert (told["state"], told["error"]) == ("failed", "corrupt_media")
    assert told["reason"]
    assert "/tmp" not in told["reason"]
    assert list_left(server) == (0, [])


def test_a_model_that_fails_says_so(server, clip):
    server.engines["face"].is_broken = True
    told = finish(server, start(server, clip, model=["tiny-face"]))
    assert (told["state"], told["error"], told["reason"]) == (
        "failed",
        "failed",
        "reading failed: RuntimeError",
    )
    assert list_left(server) == (0, [])


def test_names_are_not_markup(server, clip):
    files = {"files": ("<img src=x onerror=alert(1)>.gif", clip)}
    key = server.post("/api/jobs", files=files).json()["id"]
    finish(server, key)
    assert "<img" not in server.get(f"/api/jobs/{key}/results/tiny-kavan").json()["html"]


def test_a_job_can_be_dropped(server, tmp_path):
    """Its work ends, and its file goes."""
    server.engines["kavan"].gate.clear()
    green = draw_clip(tmp_path / "green.gif", GREEN, GREEN).read_bytes()
    key = start(server, green)
    while server.engines["kavan"].calls == 0:
        time.sleep(0.01)
    assert server.get(f"/api/jobs/{key}").json()["state"] == "working"
    assert server.delete(f"/api/jobs/{key}").status_code == 204
    assert server.get(f"/api/jobs/{key}").json()["error"] == "no_job"
    server.engines["kavan"].gate.set()
    for _ in range(200):
        if list_left(server) == (0, []):
            break
        time.sleep(0.02)
    assert list_left(server) == (0, [])


def test_results_are_kept_for_a_while_only(server, clip, monkeypatch):
    store = server.app.state.kitchen.jobs
    key = start(server, clip)
    finish(server, key)
    now = time.monotonic()
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now + 100)
    store.sweep()
    assert key in store._jobs
    monkeypatch.setattr(jobs.time, "monotonic", lambda: now + 130)
    store.sweep()
    assert store._jobs == {}


def test_results_take_a_bounded_amount_of_memory(clip):
    with open_client(jobs_bytes=1) as client:
        client.headers.update(take_csrf(client))
        first = start(client, clip)
        finish(client, first)
        second = start(client, clip)
        assert client.get(f"/api/jobs/{first}").status_code == 404  # it made room
        finish(client, second)


def test_there_are_only_so_many_jobs(tmp_path, monkeypatch):
    monkeypatch.setattr(jobs, "MOST_JOBS", 2)
    models, engines = make_models()
    green = draw_clip(tmp_path / "green.gif", GREEN).read_bytes()
    with open_client(models) as client:
        client.headers.update(take_csrf(client))
        engines["kavan"].gate.clear()
        keys = [start(client, green) for _ in range(2)]
        answer = client.post("/api/jobs", files={"files": ("a.gif", green)})
        assert (answer.status_code, answer.json()["error"]) == (503, "busy")
        engines["kavan"].gate.set()
        assert [finish(client, key)["state"] for key in keys] == ["done", "done"]
        assert list_left(client) == (0, [])


def test_progress_follows_the_pictures(tmp_path):
    media = open_media(draw_clip(tmp_path / "a.gif", *[RED, BLACK] * 5))
    watch = Watch()
    seen = []
    for index, _ in WatchedMedia(media, "name.gif", Limits(), watch).read([0, 4, 9]):
        seen.append((index, watch.progress))
    assert seen == [(0, 0.0), (4, 0.4), (9, 0.9)]


def test_a_watch_ends_work(tmp_path):
    media = open_media(draw_clip(tmp_path / "a.gif", *[RED, BLACK] * 5))
    watch = Watch()
    frames = WatchedMedia(media, "name.gif", Limits(), watch).read_resized(range(10), (4, 4))
    next(frames)
    watch.cancel()
    with pytest.raises(LimitExceeded, match=r"name\.gif: given up"):
        list(frames)


def test_what_is_done_with_the_pictures_counts_as_time(tmp_path, monkeypatch):
    now = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr("moodreel.media.base.time", SimpleNamespace(monotonic=lambda: now.seconds))
    media = open_media(draw_clip(tmp_path / "a.gif", *[RED, BLACK] * 5), Limits(seconds=10))
    watched = WatchedMedia(media, "name.gif", Limits(seconds=10), Watch())
    for _ in range(3):  # each piece of work has all the time
        watched.begin()
        for _ in watched.read([0, 5, 9]):
            now.seconds += 3  # a network
    watched.begin()

    def read_slowly():
        for _ in watched.read_resized(range(10), (4, 4)):
            now.seconds += 6

    with pytest.raises(LimitExceeded, match=r"^name\.gif: reading it takes longer than the limit of 10 s"):
        read_slowly()


@pytest.mark.parametrize(
    ("frames", "size", "duration", "system", "long"),
    [
        (10, 100, 2.0, "kavan", False),
        (10, 100, 60.0, "kavan", False),
        (10, 100, 9.9, "sta", False),
        (10, 100, 10.1, "sta", True),
        (10, 100, 10.1, "caca-rnn", True),
        (10, 100, 10.1, None, False),
        (2001, 500, 2.0, "kavan", True),
        (2001, 500, 2.0, None, True),
    ],
)
def test_what_is_long_work(frames, size, duration, system, long):
    class Stub:
        width = height = size

        def __len__(self):
            return frames

    stub = Stub()
    stub.duration = duration
    assert is_long(stub, system) is long
