"""The verb trace: rows, times, exit codes. A tiny network stands for STA, squares for faces."""

import csv
import functools
import http.server
import signal
import sys
import threading
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from faces.fakes import Squares, draw
from moodreel import cli
from moodreel.cli import trace as verb
from moodreel.errors import MediaError
from moodreel.media import open_media, read_clip, write_gif, write_mp4
from moodreel.media.stream import StreamFrame
from moodreel.runtime import trace_reader as rooms
from runtime.tiny import make_sta, write_bundle, write_sta


def face(level, left=8):
    return (left, 8, 40, (level, 100))


def write_frames(path, plan, durations):
    """A face of some level a frame, or None; GIF keeps them exactly, MP4 nearly."""
    frames = [draw((56, 80), *([] if level is None else [face(level)])) for level in plan]
    (write_gif if path.suffix == ".gif" else write_mp4)(path, frames, durations)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    monkeypatch.setattr(rooms, "choose_detector", lambda settings: settings)
    real = rooms.open_detector
    monkeypatch.setattr(
        rooms, "open_detector", lambda s: real(s) if s.kind == "openpose" else nullcontext(Squares())
    )
    write_sta(tmp_path / "tiny")
    return tmp_path


@pytest.fixture
def run(place, capfd, monkeypatch):
    def call(*args):
        monkeypatch.setattr(sys, "argv", ["moodreel", "trace", *map(str, args)])
        capfd.readouterr()
        before = [signal.getsignal(s) for s in (signal.SIGTERM, signal.SIGINT)]
        try:
            with pytest.raises(SystemExit) as caught:
                cli.main()
        finally:
            assert signal.getsignal(signal.SIGINT) == before[1]
            signal.signal(signal.SIGTERM, before[0])
        out, err = capfd.readouterr()
        assert "Traceback" not in err
        return caught.value.code, out, err

    return call


def read_rows(path):
    with Path(path).open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["time_s", "valence", "face", "status"]
    return rows[1:]


def statuses(rows):
    return "".join(row[3][0] for row in rows)


def test_a_row_a_tick(run, place):
    write_frames(place / "a.gif", [0, 128, 240, None, 240], [0.3, 0.2, 0.6, 0.1, 0.3])
    code, out, err = run("a.gif", "--model", "tiny", "--out", "t.csv")
    assert (code, out) == (0, "")
    assert err == "moodreel: 6 rows, 5 ok, 1 interpolated: t.csv\n"
    rows = read_rows("t.csv")
    # Frames start at 0, 0.3, 0.5, 1.1 and 1.2 s; ticks at 0, 0.25 ... 1.25 show frames 0, 1, 2, 2 (of 0.5 and
    # 1.1 s the nearer), 3 and 4. At 1.2 s the face was last seen 0.7 s before: it is another turn.
    assert [row[0] for row in rows] == ["0", "0.25", "0.5", "0.75", "1", "1.25"]
    assert [row[2:] for row in rows] == [*[["1", "ok"]] * 4, ["0", "interpolated"], ["2", "ok"]]
    green = 0.1 * 100 / 255
    expected = [2 * level / 255 - 1 + green for level in (0, 128, 240, 240)]
    values = [float(row[1]) for row in rows]
    np.testing.assert_allclose(values, [*expected, expected[-1], expected[-1]], atol=0.02)
    np.testing.assert_allclose(values[4], (values[3] + values[5]) / 2, atol=1e-6)


CLIPS = {  # name: plan of frames, durations, statuses
    "still.png": ([200], None, "o"),
    "one.gif": ([200], [0.7], "ooo"),
    "nobody.mp4": ([None] * 5, [0.2] * 5, "nnnn"),
    "nobody.png": ([None], None, "n"),
    "goes.mp4": ([200] * 10 + [None] * 20 + [90] * 10, [0.1] * 40, "oooo" + "i" * 8 + "oooo"),
    "uneven.mp4": ([10, 200, 90, 60, 30, 200], [0.013, 0.4, 1 / 3, 0.05, 0.7, 0.021], "o" * 7),
}


@pytest.mark.parametrize("name", CLIPS)
def test_odd_clips_have_the_right_rows(run, place, name):
    plan, durations, expected = CLIPS[name]
    if durations is None:
        Image.fromarray(draw((56, 80), *([] if plan[0] is None else [face(plan[0])]))).save(name)
    else:
        write_frames(place / name, plan, durations)
    assert run(name, "--model", "tiny", "--out", "t.csv")[0] == 0
    rows = read_rows("t.csv")
    assert statuses(rows) == expected
    assert [float(row[0]) for row in rows] == [k / 4 for k in range(len(expected))]
    assert all((row[1] == "") == (row[3] == "no_face") for row in rows)
    assert all((row[2] == "0") == (row[3] != "ok") for row in rows)


def test_a_video_without_a_duration(run, place):
    """Matroska as it is streamed, its end unknown: the last frame lasts as long as the one before."""
    import av

    with av.open("live.mkv", "w", format="matroska", options={"live": "1"}) as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.pix_fmt = 80, 56, "yuv420p"
        for k in range(12):
            frame = av.VideoFrame.from_ndarray(draw((56, 80), face(10 * k)), format="rgb24")
            frame.pts = k
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    assert open_media("live.mkv").duration == pytest.approx(1.2, abs=1e-3)
    assert run("live.mkv", "--model", "tiny", "--out", "t.csv")[0] == 0
    assert statuses(read_rows("t.csv")) == "ooooo"


def test_without_out_a_curve_and_a_table(run, place):
    write_frames(place / "a.mp4", [20] * 10 + [240] * 10 + [None] * 10, [0.1] * 30)
    code, out, err = run("a.mp4", "--model", "tiny")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[:2] == ["a.mp4", "  12 ticks, 8 with a face, 4 interpolated"]
    assert "least -0.8" in lines[2]
    assert "most +0.8" in lines[2]
    assert [line.rsplit("  ", 1)[1] for line in lines[-12:]] == ["1 of 1 ticks"] * 8 + ["0 of 1 ticks"] * 4
    code, out, _ = run("a.mp4", "--model", "tiny", "--detector", "frame")
    assert "12 ticks, 12 with a face" in out
    Image.fromarray(draw((56, 80))).save("nobody.png")
    assert "no face in the whole clip" in run("nobody.png", "--model", "tiny")[1]
    Image.fromarray(draw((56, 80), face(200))).save("still.png")
    assert "1 tick, 1 with a face" in run("still.png", "--model", "tiny")[1]


def test_faces_from_files(run, place, monkeypatch):
    write_frames(place / "a.gif", [200, 100, None], [0.25, 0.25, 0.25])
    from moodreel.faces.openpose import format_faces
    from moodreel.faces.track import find_faces

    (place / "found").mkdir()
    (place / "found/a.json").write_bytes(format_faces(find_faces(open_media("a.gif"), Squares())))
    assert run("a.gif", "--model", "tiny", "--out", "one.csv")[0] == 0
    for where in ("keypoints:found", "keypoints:found/a.json"):
        assert run("a.gif", "--model", "tiny", "--out", "two.csv", "--detector", where)[0] == 0
        assert Path("two.csv").read_text() == Path("one.csv").read_text()
    write_frames(place / "b.gif", [200], [0.25])
    code, _, err = run("b.gif", "--model", "tiny", "--out", "b.csv", "--detector", "keypoints:found")
    assert (code, Path("b.csv").exists()) == (1, False)
    assert "no b.json" in err
    code, _, err = run("http://x/y", "--model", "tiny", "--detector", "keypoints:found")
    assert (code, "belong to a clip" in err) == (2, True)


def test_what_cannot_be_read_is_exit_code_1_and_leaves_older_files(run, place):
    (place / "broken.gif").write_bytes(b"GIF89a but no more")
    (place / "t.csv").write_text("older")
    for name in ("broken.gif", "gone.mp4"):
        code, out, err = run(name, "--model", "tiny", "--out", "t.csv", "--plot", "p.png")
        assert (code, out) == (1, "")
        assert err.startswith(f"moodreel: {name}: ")
        assert err.count("\n") == 1
        assert (Path("t.csv").read_text(), Path("p.png").exists()) == ("older", False)


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ([], "expected either CLIP or --camera N"),
        (["a.gif", "--camera", "0"], "expected either CLIP or --camera N"),
        (["--camera", "-1"], "--camera -1"),
        (["a.gif", "--out", "t.txt"], "--out t.txt: expected a name that ends in .csv"),
        (["a.gif", "--out", "no/t.csv"], "--out no/t.csv: no folder no"),
        (["a.gif", "--plot", "p.jpg"], "--plot p.jpg: expected"),
        (["a.gif", "--overlay", "o.png"], "--overlay o.png: expected"),
        (["a.gif", "--gold", "g.csv"], "--gold g.csv: is drawn by --plot"),
        (["a.gif", "--plot", "p.png", "--gold", "g.csv"], "g.csv: No such file"),
        (["a.gif", "--detector", "haar"], "detector = 'haar': expected auto, dlib"),
        (["a.gif", "--detector", "keypoints:gone"], "--detector keypoints:gone: no such file"),
        (["a.gif", "--stride", "17"], "stride = 17"),
        (["a.gif", "--model", "kavan"], "a trace needs system 'sta'"),
        (["a.gif", "--model", "nowhere"], "no bundle 'nowhere'"),
        (["a.gif", "--model", "nan"], "not finite"),
    ],
)
def test_wrong_commands(run, place, args, message):
    write_frames(place / "a.gif", [200], [0.25])
    from onnx import load_model_from_string, numpy_helper

    broken = load_model_from_string(make_sta())
    for constant in broken.graph.initializer:
        if constant.name == "two":
            constant.CopyFrom(numpy_helper.from_array(np.float32("nan"), "two"))
    facts = {"labels": {}, "supervised": {}, "input": {"height": 14, "width": 14}}
    rate = {"method": "rate", "fps": 4.0}
    write_bundle(place / "nan", "sta", broken.SerializeToString(), sampling=rate, **facts)
    model = [] if "--model" in args else ["--model", "tiny"]
    code, out, err = run(*args, *model)
    assert (code, out) == (2, "")
    assert message in err
    assert err.startswith("moodreel: ")
    assert err.count("\n") == 1


def test_plot_and_overlay(run, place):
    write_frames(place / "a.mp4", [60] * 10 + [None] * 10 + [200] * 10, [0.1] * 30)
    Path("gold.csv").write_text("time_s,gold,ann,bob\n0,0.1,0.2,\n1,0.2,0.1,0.3\n2,-0.1,-0.2,0\n")
    code, _, err = run(
        "a.mp4", "--model", "tiny", "--plot", "p.png", "--gold", "gold.csv", "--overlay", "o.webp"
    )
    assert code == 0
    assert err == "moodreel: plot: p.png\nmoodreel: overlay: o.webp\n"
    with Image.open("p.png") as picture:
        assert picture.size == (1200, 552)
        blue = np.asarray(picture.convert("RGB")).astype(int)
    assert ((blue[..., 2] - blue[..., 0]) > 100).sum() > 500  # the curve is there
    clip = read_clip("o.webp")
    # Ticks with a face: 0 to 0.75 s, then 2 to 2.75 s; the gap of 1.25 s is shown for 1 s.
    np.testing.assert_allclose(clip.durations, [0.25, 0.25, 0.25, 1.0, 0.25, 0.25, 0.25, 0.25])
    for name in ("o.gif", "o.mp4"):
        assert run("a.mp4", "--model", "tiny", "--overlay", name)[0] == 0
        assert len(read_clip(name)) == 8
    for name in ("p.svg", "p.pdf"):
        assert run("a.mp4", "--model", "tiny", "--plot", name)[0] == 0
        assert Path(name).stat().st_size > 2000


def test_an_overlay_of_nobody_is_a_failure_and_the_rest_is_done(run, place):
    Image.fromarray(draw((56, 80))).save("nobody.png")
    code, _, err = run(
        "nobody.png", "--model", "tiny", "--out", "t.csv", "--overlay", "o.gif", "--plot", "p.png"
    )
    assert code == 1
    assert "nobody.png: no overlay" in err
    assert statuses(read_rows("t.csv")) == "n"
    assert Path("p.png").exists()
    assert not Path("o.gif").exists()


def test_a_stream_gives_the_numbers_of_the_file(run, place):
    write_frames(place / "a.mp4", [60] * 10 + [None] * 10 + [200] * 30, [0.1, 0.07, 0.13, 0.05, 0.15] * 10)
    assert run("a.mp4", "--model", "tiny", "--out", "file.csv")[0] == 0

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *args):
            pass

    handler = functools.partial(Quiet, directory=str(place))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{served.server_address[1]}/a.mp4"
        code, out, err = run(address, "--model", "tiny", "--out", "live.csv", "--plot", "p.png")
        served.shutdown()
    assert code == 0, err
    assert Path("live.csv").read_text() == Path("file.csv").read_text()
    lines = out.splitlines()
    assert len(lines) == len(read_rows("file.csv")) == 20
    assert lines[0].startswith("     0.00 s  -0.")
    assert lines[5].endswith("no face")
    assert err.splitlines()[0] == f"moodreel: {address}: Ctrl-C ends"
    assert "latency a tick: median " in err
    assert "computing " in err
    assert Path("p.png").exists()


class Camera:
    """Frames of a face that gets redder, at 10 a second; does something after some of them."""

    def __init__(self, count, act=None):
        self.name, self.dropped, self.count, self.act = "camera 0", 0, count, act

    def __enter__(self):
        return self

    def __exit__(self, *args):
        pass

    def read(self, is_over):
        for k in range(self.count):
            if is_over():
                return
            yield StreamFrame(draw((56, 80), face(2 * k)), k / 10, 0.0)
        if self.act:
            self.act()
        while not is_over():
            pass


@pytest.mark.parametrize(("kind", "expected"), [(signal.SIGINT, 0), (signal.SIGTERM, 143)])
def test_ctrl_c_ends_a_camera_with_all_rows(run, place, monkeypatch, kind, expected):
    # The handler is called as Python would: a real signal ends this process where OpenVINO was loaded before.
    camera = Camera(60, lambda: signal.getsignal(kind)(kind, None))
    monkeypatch.setattr(verb, "open_stream", lambda source: camera)
    code, out, err = run("--camera", 0, "--model", "tiny", "--out", "live.csv", "--overlay", "o.gif")
    assert code == expected, err
    rows = read_rows("live.csv")
    assert statuses(rows) == "o" * 24  # 59 frames of 0.1 s, and the last as long as the one before: 6 s
    assert len(out.splitlines()) == 24
    assert len(read_clip("o.gif")) == 24


def test_a_stream_that_breaks_off_keeps_its_rows(run, place, monkeypatch):
    def fail():
        raise MediaError("camera 0", "the stream broke off: unplugged")

    monkeypatch.setattr(verb, "open_stream", lambda source: Camera(20, fail))
    code, _, err = run("--camera", 0, "--model", "tiny", "--out", "live.csv", "--plot", "p.png")
    assert code == 1
    assert "moodreel: camera 0: the stream broke off: unplugged\n" in err
    assert statuses(read_rows("live.csv")) == "o" * 8
    assert Path("p.png").exists()
    monkeypatch.setattr(verb, "open_stream", lambda source: Camera(0, fail))
    code, _, err = run("--camera", 0, "--model", "tiny", "--out", "other.csv")
    assert (code, Path("other.csv").exists()) == (1, False)
    assert "unplugged" in err


def test_a_camera_that_is_not_there(run, place):
    if Path("/dev/video9").exists():
        pytest.skip("there is a camera 9")
    code, out, err = run("--camera", 9, "--model", "tiny")
    assert (code, out) == (1, "")
    assert "moodreel: camera 9: " in err


def test_a_person_who_leaves_the_picture(data, place, monkeypatch, run):
    pytest.importorskip("dlib")
    monkeypatch.undo()
    monkeypatch.chdir(place)
    clip = data("clips/face_noface.mov")
    write_sta(place / "large", size=64)
    import subprocess

    command = [sys.executable, "-m", "moodreel", "trace", str(clip), "--model", "large", "--out", "t.csv"]
    done = subprocess.run(command, cwd=place, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    assert statuses(read_rows("t.csv")) == "o" * 10 + "i" * 16
