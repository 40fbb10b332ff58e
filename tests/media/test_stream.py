"""Streams: a local file over HTTP, times that jump, endings; cameras by what libav is asked for."""

import functools
import http.server
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest

from moodreel.errors import LimitExceeded, MediaError, UnsupportedMedia
from moodreel.media import Limits, read_clip, write_mp4
from moodreel.media import stream as rooms
from moodreel.media.stream import Stream, is_address, name_address


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


@pytest.fixture
def server(tmp_path):
    """Serves tmp_path; returns its address."""
    handler = functools.partial(Quiet, directory=str(tmp_path))
    served = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=served.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{served.server_address[1]}"
    served.shutdown()
    served.server_close()


def write(path, count=20):
    frames = [np.full((32, 48, 3), 4 * k, np.uint8) for k in range(count)]
    durations = [0.04 + 0.05 * (k % 3) for k in range(count)]
    write_mp4(path, frames, durations)


def test_a_file_over_http_gives_its_frames_and_times(server, tmp_path):
    write(tmp_path / "a.mp4", 60)  # more than are held at once: none is dropped
    clip = read_clip(tmp_path / "a.mp4")
    with Stream(f"{server}/a.mp4?token=secret") as stream:
        frames = list(stream.read())
        assert "secret" not in stream.name
    np.testing.assert_allclose([frame.time for frame in frames], clip.starts, atol=1e-6)
    assert all((a.pixels == b).all() for a, b in zip(frames, clip.frames, strict=True))
    assert stream.dropped == 0
    assert np.diff([frame.arrived for frame in frames]).min() >= 0


def test_what_is_no_stream_says_so_without_its_password(server, tmp_path):
    (tmp_path / "text.mp4").write_text("no video at all")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXTINF:1,\nfile:///etc/hostname\n#EXT-X-ENDLIST\n")
    for name in ("gone.mp4", "text.mp4", "list.m3u8"):
        address = f"{server}/{name}".replace("://", "://user:secret@")
        with pytest.raises(MediaError) as caught:
            Stream(address)
        assert "secret" not in str(caught.value)
        assert str(caught.value).startswith(f"{server}/{name}: ")
        assert "\n" not in str(caught.value)


def test_limits_hold_for_streams(server, tmp_path):
    write(tmp_path / "a.mp4")
    with (
        Stream(f"{server}/a.mp4", Limits(canvas_pixels=100)) as stream,
        pytest.raises(LimitExceeded, match="48 x 32"),
    ):
        list(stream.read())


def test_reading_ends_when_it_is_told_to(server, tmp_path):
    write(tmp_path / "a.mp4")
    taken = []
    with Stream(f"{server}/a.mp4") as stream:
        for frame in stream.read(lambda: len(taken) >= 3):
            taken.append(frame.time)
    assert len(taken) == 3


class Picture:
    format, width, height = None, 4, 4

    def __init__(self, time):
        self.time = time

    def to_ndarray(self, format):
        return np.zeros((4, 4, 3), np.uint8)


class Container:
    """What libav would open: packets of one picture each; an exception among the times is raised."""

    def __init__(self, times, pause=0.0):
        self.streams = SimpleNamespace(video=[object()])
        self.times, self.pause, self.closed = times, pause, False

    def demux(self, stream):
        for when in self.times:
            if isinstance(when, Exception):
                raise when
            time.sleep(self.pause)
            yield SimpleNamespace(decode=lambda when=when: [Picture(when)])

    def close(self):
        self.closed = True


def open_fake(monkeypatch, times, address="http://x/y", pause=0.0):
    container = Container(times, pause)
    monkeypatch.setattr(rooms, "_open", lambda address, name: container)
    return Stream(address), container


def test_times_begin_at_0_go_up_and_go_on(monkeypatch):
    times = [100.0, 100.5, 100.25, 100.5, 101.0, 50.0, 50.5]
    stream, container = open_fake(monkeypatch, times)
    with stream:
        found = [frame.time for frame in stream.read()]
    # 100.25 and the second 100.5 come out of order; at 50 the times begin anew, one step (0.5) later.
    np.testing.assert_allclose(found, [0, 0.5, 1.0, 1.5, 2.0])
    assert (stream.dropped, container.closed) == (2, True)


def test_frames_without_times_get_those_of_arrival(monkeypatch):
    stream, _ = open_fake(monkeypatch, [None, None, None], pause=0.05)
    with stream:
        found = [frame.time for frame in stream.read()]
    assert found[0] == 0
    assert len(found) == 3
    assert np.diff(found).min() >= 0.04


def test_a_stream_that_breaks_off_says_so_after_its_frames(monkeypatch):
    stream, _ = open_fake(monkeypatch, [0.0, 0.1, OSError(5, "Input/output error")])
    with stream:
        frames = stream.read()
        assert [next(frames).time, next(frames).time] == [0.0, 0.1]
        with pytest.raises(MediaError, match="http://x/y: the stream broke off: Input/output error"):
            next(frames)


def test_what_does_not_wait_drops_the_oldest(monkeypatch):
    stream, _ = open_fake(monkeypatch, [k / 10 for k in range(100)], "rtsp://x/y")
    stream._thread.join(5)
    with stream:
        taken = iter(stream.read())
        first = next(taken)
        assert first.time == 0
        rest = [frame.time for frame in taken]
    # The mark of the end waits for a place of its own: it drops none.
    assert len(rest) == rooms.HELD - 1
    assert stream.dropped == 100 - rooms.HELD
    np.testing.assert_allclose(np.diff(rest), 0.1)


def test_no_video(monkeypatch):
    container = Container([])
    container.streams.video = []
    monkeypatch.setattr(rooms, "_open", lambda address, name: container)
    with pytest.raises(UnsupportedMedia, match="camera 3: there is no video"):
        Stream(3)
    assert container.closed


@pytest.mark.parametrize(
    ("platform", "expected"),
    [
        ("linux", ("/dev/video2", "v4l2")),
        ("darwin", ("2:none", "avfoundation")),
        ("win32", ("2", "vfwcap")),
    ],
)
def test_cameras_by_platform(monkeypatch, platform, expected):
    import av

    asked = []

    def refuse(file, format, **options):
        asked.append((file, format))
        raise av.error.FileNotFoundError(2, "No such file or directory", file)

    monkeypatch.setattr(sys, "platform", platform)
    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(MediaError, match="camera 2: cannot be opened: No such file or directory"):
        Stream(2)
    assert asked == [expected]
    monkeypatch.setattr(sys, "platform", "plan9")
    with pytest.raises(UnsupportedMedia, match="plan9"):
        Stream(2)


def test_addresses():
    assert is_address("rtsp://camera/1")
    assert is_address("HTTPS://host/live.m3u8")
    assert not any(
        map(is_address, ["a.mp4", "dir/a.mp4", "file:///a.mp4", "C:\\a.mp4", "concat:a|b", "://x"])
    )
    assert name_address("rtsp://me:pw@host:554/a?key=1#x") == "rtsp://host:554/a"


def test_an_address_may_open_no_local_file_and_asks_rtsp_over_tcp(monkeypatch):
    import av

    asked = {}

    def refuse(file, **options):
        asked.update(options)
        raise av.error.ExitError(1, "Immediate exit requested", file)

    monkeypatch.setattr(av, "open", refuse)
    with pytest.raises(MediaError, match="rtsp://h/1: cannot be opened: Immediate exit requested"):
        Stream("rtsp://me:pw@h/1")
    assert asked["options"] == {"rtsp_transport": "tcp"}
    allowed = asked["container_options"]["protocol_whitelist"].split(",")
    assert {"rtsp", "http", "tls"} <= set(allowed)
    assert not {"file", "concat", "subfile", "pipe"} & set(allowed)
    assert asked["timeout"] == (rooms.PATIENCE, rooms.PATIENCE)
