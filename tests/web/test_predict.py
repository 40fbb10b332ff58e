"""POST /api/predict and its neighbours: rows as in the table, errors with their codes, nothing left."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from moodreel.emotions import GIFGIF_17
from moodreel.runtime.table import list_columns
from web.fakes import PROBLEM, draw_clip, make_models, open_client

RED, BLACK, GREEN = (255, 0, 0), (0, 0, 0), (0, 255, 0)


@pytest.fixture
def server():
    models, engines = make_models()
    with open_client(models, file_bytes=200_000, files=4, canvas_pixels=1 << 20) as client:
        client.engines = engines
        yield client


@pytest.fixture
def clip(tmp_path):
    """Red for 0.3 s, then black for 0.1 s."""
    return draw_clip(tmp_path / "clip.gif", RED, BLACK, durations=[0.3, 0.1]).read_bytes()


def send(client, *contents, path="/api/predict", **options):
    files = [("files", (f"{k}.gif", content)) for k, content in enumerate(contents)]
    return client.post(path, files=files, **options)


def list_left(client):
    """Bytes that uploads hold, and the files they have left on disk."""
    intake = client.app.state.kitchen.intake
    assert intake.active == 0
    return intake.held, [path.name for path in intake.folder.iterdir()]


def test_a_row_is_that_of_the_table(server, clip):
    answer = send(server, clip)
    assert answer.status_code == 200
    body = answer.json()
    assert body["schema"] == 1
    (row,) = body["results"]
    # four segments of 0.4 s: their middles at 0.05, 0.15, 0.25 (red) and 0.35 (black)
    assert row["frame_times"] == [0.05, 0.15, 0.25, 0.35]
    assert row["frame_anger"] == [1.0, 1.0, 1.0, 0.0]
    assert {row[name] for name in GIFGIF_17} == {0.0}
    facts = {"path": "0.gif", "status": "ok", "error": None, "width": 20, "height": 20, "frames": 2}
    facts |= {"duration_s": 0.4, "category": "misery_arousal", "confidence": 1.0, "model": "tiny-kavan"}
    assert {name: row[name] for name in facts} == facts
    assert (row["attention_x"], row["attention_y"]) == (0.75, 0.25)
    assert row["attention"] == {
        "times_s": [0.05, 0.15, 0.25, 0.35],
        "height": 2,
        "width": 2,
        "maps": [[0.0, 1.0, 0.0, 0.0]] * 4,
    }
    columns = [column.name for column in list_columns("kavan", per_frame=True)]
    assert list(row) == [*columns, "attention"]


def test_several_files_and_models(server, clip, tmp_path):
    other = draw_clip(tmp_path / "other.gif", RED).read_bytes()
    answer = send(server, clip, other, params={"model": ["tiny-face", "tiny-kavan", "tiny-face"]})
    found = [(row["path"], row["model"], row["category"]) for row in answer.json()["results"]]
    assert found == [
        ("0.gif", "tiny-face", "anger"),
        ("0.gif", "tiny-kavan", "misery_arousal"),
        ("1.gif", "tiny-face", "anger"),
        ("1.gif", "tiny-kavan", "pleasure_arousal"),
    ]


def test_of_several_files_a_bad_one_has_its_row(server, clip):
    rows = send(server, clip, b"no picture", clip).json()["results"]
    assert [row["status"] for row in rows] == ["ok", "error", "ok"]
    assert rows[1]["path"] == "1.gif"
    assert rows[1]["error"].startswith("not a GIF, PNG, WebP")
    assert rows[1]["anger"] is None


def bomb_png(side):
    """A PNG that says it is side x side, of zeros."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    head = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1 << 20), 9)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("content", "status", "error", "reason"),
    [
        (b"plain text", 415, "unsupported_media", "not a GIF"),
        (b"", 422, "corrupt_media", "the file is empty"),
        (b"GIF89a", 422, "corrupt_media", ""),
        (b"\0" * 200_001, 413, "limit", "0.gif: larger than 200000 bytes (file_bytes)"),
        (bomb_png(50_000), 413, "limit", "50000 x 50000 pixels"),
    ],
)
def test_what_cannot_be_read_is_an_error_with_its_code(server, content, status, error, reason):
    answer = send(server, content)
    assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert answer.json()["reason"].startswith(reason)
    assert list_left(server) == (0, [])


def test_what_is_no_upload_is_refused(server, clip):
    assert server.post("/api/predict", content=clip).status_code == 415
    assert server.post("/api/predict", data={"files": "a text"}).json()["error"] == "form"
    assert server.post("/api/predict", files={"files": ("", b"")}).status_code in (415, 422)
    kind = {"Content-Type": "multipart/form-data; boundary=x"}
    for body in (
        b"nonsense",
        b'--x\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\nno end',
    ):
        answer = server.post("/api/predict", content=body, headers=kind)
        assert (answer.status_code, answer.json()["error"]) == (422, "form")
    body = b'--x\r\nContent-Disposition: form-data; name="note"\r\n\r\nhello\r\n--x--\r\n'
    assert server.post("/api/predict", content=body, headers=kind).json()["error"] == "no_files"
    assert send(server, *[clip] * 5).json()["reason"] == "more than 4 files in one request (files)"
    assert list_left(server) == (0, [])


def test_models_that_are_not_there(server, clip):
    answer = send(server, clip, params={"model": "nobody"})
    assert answer.status_code == 422
    assert answer.json()["reason"] == "no model 'nobody'; known: tiny-kavan, tiny-face, broken"
    answer = send(server, clip, params={"model": "broken"})
    assert (answer.status_code, answer.json()) == (503, {"error": "model_unavailable", "reason": PROBLEM})


def test_a_fault_of_ours_tells_no_details(server, clip, caplog):
    server.engines["kavan"].is_broken = True
    answer = send(server, clip)
    assert answer.status_code == 500
    assert answer.json() == {"error": "failed", "reason": "reading failed: RuntimeError"}
    assert "secret detail" in caplog.text  # who runs the server is told
    assert list_left(server) == (0, [])


def test_names_are_shown_without_folders(server, clip):
    files = [("files", ("../../etc/pass\nwd.gif", clip)), ("files", ("C:\\dir\\" + "x" * 500 + ".gif", clip))]
    rows = server.post("/api/predict", files=files).json()["results"]
    assert "/" not in rows[0]["path"]
    assert rows[0]["path"].startswith("pass")
    assert len(rows[1]["path"]) == 200
    assert rows[1]["path"].endswith("x.gif")


def test_uploads_are_deleted_and_counted(server, clip):
    send(server, clip, clip)
    assert list_left(server) == (0, [])


def test_many_files_of_one_request_do_not_fill_the_queue(clip):
    with open_client(workers=1, waiting=1, files=12) as client:
        answer = send(client, *[clip] * 12)
        assert answer.status_code == 200
        assert [row["path"] for row in answer.json()["results"]] == [f"{k}.gif" for k in range(12)]


def test_the_space_for_uploads_is_bounded(clip):
    with open_client(upload_bytes=100, file_bytes=2000) as client:
        answer = send(client, b"x" * 150)
        assert (answer.status_code, answer.json()["error"]) == (503, "busy")
        assert answer.headers["Retry-After"]
        assert list_left(client) == (0, [])


def test_a_clip_that_takes_too_long_is_given_up(tmp_path):
    clip = draw_clip(tmp_path / "a.gif", *[RED, BLACK] * 4).read_bytes()
    with open_client(seconds=1e-9) as client:
        answer = send(client, clip)
    assert answer.status_code == 413
    assert answer.json()["reason"] == "reading it takes longer than the limit of 1e-09 s (seconds)"


def test_models_are_listed(server):
    found = server.get("/api/models").json()
    assert [(model["name"], model["available"], model["reason"]) for model in found] == [
        ("tiny-kavan", True, None),
        ("tiny-face", True, None),
        ("broken", False, PROBLEM),
    ]
    assert found[0]["scores"] == {"accuracy": 0.25}
    assert found[0]["size_bytes"] == 1234


def test_an_overlay_keeps_the_times(server, clip):
    answer = server.post("/api/overlay", files={"files": ("my clip.gif", clip)})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "image/gif")
    assert answer.headers["x-filename"].startswith("my_clip-")
    with Image.open(io.BytesIO(answer.content)) as image:
        times = []
        for index in range(image.n_frames):
            image.seek(index)
            times.append(image.info["duration"])
        frame = np.asarray(image.convert("RGB"))
    assert times == [300, 100]
    # all of the attention is in the upper right quarter of a black picture
    assert frame[10, 150].max() > 60
    assert frame[150, 10].max() < 30
    assert list_left(server) == (0, [])


def test_openapi_has_examples_and_errors(server):
    spec = server.get("/openapi.json").json()
    predict = spec["paths"]["/api/predict"]["post"]
    assert predict["responses"]["200"]["content"]["application/json"]["example"]["results"][0]["model"]
    for code in ("413", "415", "422", "429", "503"):
        assert predict["responses"][code]["content"]["application/json"]["schema"] == {
            "$ref": "#/components/schemas/Problem"
        }
    assert "multipart/form-data" in predict["requestBody"]["content"]
    assert "HTTPValidationError" not in str(spec)
    for path in ("/docs", "/redoc"):  # they load scripts from elsewhere
        assert server.get(path).status_code == 404


def test_health(server):
    assert server.get("/healthz").json() == {"status": "ok"}
