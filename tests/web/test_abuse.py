"""A real server under abuse: ten bad requests at once do not stop the eleventh good one."""

import http.client
import json
import socket
import threading
import time
from itertools import chain

import moodreel.web.reading as reading
import moodreel.web.serve as serve
from web.fakes import draw_clip, make_models, run_server
from web.test_predict import bomb_png

RED, BLACK, GREEN = (255, 0, 0), (0, 0, 0), (0, 255, 0)
HEAD = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.gif"\r\n\r\n'
TAIL = b"\r\n--x--\r\n"


def send(port, content, timeout=20):
    """Sends a file; returns the connection, on which nobody has answered yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    headers = {"Content-Type": "multipart/form-data; boundary=x"}
    connection.request("POST", "/api/predict", HEAD + content + TAIL, headers)
    return connection


def post(port, content, timeout=20):
    """Sends a file; returns (status, body)."""
    connection = send(port, content, timeout)
    try:
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def talk(port, pieces, pause=0.0):
    """Sends pieces over a socket; returns what came back. ``pieces`` may be endless."""
    with socket.create_connection(("127.0.0.1", port), 20) as sock:
        sock.settimeout(0.001)
        got = b""
        for piece in pieces:
            try:
                sock.settimeout(20)
                sock.sendall(piece)
                sock.settimeout(max(pause, 0.001))
                got += sock.recv(65536)
                if got:
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        sock.settimeout(20)
        try:
            while more := sock.recv(65536):
                got += more
        except ConnectionError:
            pass
        return got  # the server has shut the connection: a timeout would be an error


def ask(length=None):
    size = b"Transfer-Encoding: chunked" if length is None else b"Content-Length: %d" % length
    return (
        b"POST /api/predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        + size
        + b"\r\n\r\n"
    )


def chunk(content):
    return b"%x\r\n%s\r\n" % (len(content), content)


def endless(piece):
    while True:
        yield piece


def test_a_huge_upload_is_refused_before_it_is_sent():
    with run_server(file_bytes=1 << 20, files=1) as port:
        assert talk(port, [ask(1 << 40)]).startswith(b"HTTP/1.1 413")


def test_a_huge_upload_of_unknown_length_is_cut_off():
    with run_server(file_bytes=1 << 20, files=1) as port:
        pieces = chain([ask(), chunk(HEAD)], endless(chunk(bytes(65536))))
        got = talk(port, pieces)
        assert got.startswith(b"HTTP/1.1 413"), got[:100]
        assert b"larger than 1048576 bytes (file_bytes)" in got


def test_an_upload_that_stalls_is_given_up():
    with run_server(stall_seconds=0.3) as port:
        got = talk(port, [ask(5000), HEAD])
        assert got.startswith(b"HTTP/1.1 408"), got[:100]
        assert b"no byte came for 0.3 seconds" in got


def test_a_slow_upload_is_given_up(monkeypatch):
    import moodreel.web.guard as guard

    monkeypatch.setattr(guard, "GRACE_SECONDS", 0.4)
    with run_server(slowest=1000) as port:
        pieces = chain([ask(50_000), HEAD], endless(b"x"))
        got = talk(port, pieces, pause=0.05)
        assert got.startswith(b"HTTP/1.1 408"), got[:100]
        assert b"slower than 1000 bytes a second" in got


def test_a_connection_that_never_asks_is_dropped(monkeypatch):
    monkeypatch.setattr(serve, "HEADER_SECONDS", 0.3)
    with run_server() as port:
        assert talk(port, [b"POST /api/predict HTTP/1.1\r\nHo"]) == b""


def test_too_many_uploads_at_once_are_told_to_come_again(tmp_path):
    good = draw_clip(tmp_path / "good.gif", RED).read_bytes()
    with run_server(uploads=2) as port:
        held = [socket.create_connection(("127.0.0.1", port)) for _ in range(2)]
        for sock in held:
            sock.sendall(ask(100_000) + HEAD)
        time.sleep(0.3)
        status, body = post(port, good)
        assert (status, body["error"]) == (503, "busy")
        for sock in held:
            sock.close()
        for _ in range(100):  # their places are free when the server has seen them go
            status, body = post(port, good)
            if status == 200:
                break
            time.sleep(0.05)
        assert status == 200


def test_ten_abusive_requests_do_not_stop_a_good_one(tmp_path, monkeypatch):
    """Of every kind, all at once: huge, endless, slow, stalled, bombs, and clips that take for ever."""
    monkeypatch.setattr(reading, "LONG_PIXELS", 4_000)
    monkeypatch.setattr(serve, "HEADER_SECONDS", 2.0)
    models, engines = make_models()
    engines["kavan"].gate.clear()  # green clips take for ever
    green = draw_clip(tmp_path / "green.gif", *[GREEN] * 12).read_bytes()  # 4,800 pixels: long work
    good = draw_clip(tmp_path / "good.gif", RED, BLACK).read_bytes()
    outcomes = {}

    def abuse(name, work):
        def run():
            outcomes[name] = work()

        thread = threading.Thread(target=run, name=name)
        thread.start()
        return thread

    with run_server(models, file_bytes=1 << 20, canvas_pixels=1 << 20, stall_seconds=3, workers=2) as port:
        endless_form = chain([ask(), chunk(HEAD)], endless(chunk(bytes(65536))))
        slow = chain([ask(90_000), HEAD], endless(b"x"))
        threads = [
            abuse("huge", lambda: talk(port, [ask(1 << 40)])),
            abuse("endless", lambda: talk(port, endless_form)),
            abuse("slow", lambda: talk(port, slow, pause=0.2)),
            abuse("stalled", lambda: talk(port, [ask(5000), HEAD])),
            abuse("silent", lambda: talk(port, [b"POST"])),
            abuse("canvas bomb", lambda: post(port, bomb_png(60_000))),
            abuse("data bomb", lambda: post(port, bomb_png(1000))),
            *[abuse(f"for ever {k}", lambda: post(port, green, 60)) for k in range(4)],
        ]  # fmt: skip
        while engines["kavan"].calls == 0:
            time.sleep(0.01)
        for _ in range(3):
            status, body = post(port, good)
            assert (status, body["results"][0]["status"]) == (200, "ok")
        still = [thread.name for thread in threads if thread.is_alive()]
        assert {f"for ever {k}" for k in range(4)} <= set(still)  # they were in the way all the time
        assert engines["kavan"].calls == 4  # one of them and three good ones: the others wait for their turn
        engines["kavan"].gate.set()
        for thread in threads:
            thread.join(40)
        status, body = post(port, good)
        assert status == 200
    assert outcomes["huge"].startswith(b"HTTP/1.1 413")
    assert outcomes["endless"].startswith(b"HTTP/1.1 413")
    assert outcomes["slow"].startswith(b"HTTP/1.1 408")
    assert outcomes["stalled"].startswith(b"HTTP/1.1 408")
    assert outcomes["silent"] == b""
    assert outcomes["canvas bomb"][0] == 413
    assert outcomes["data bomb"][0] in (200, 422)
    assert [outcomes[f"for ever {k}"][0] for k in range(4)] == [200] * 4


def test_work_ends_when_its_client_has_gone(tmp_path):
    models, engines = make_models()
    engines["kavan"].gate.clear()
    green = draw_clip(tmp_path / "green.gif", GREEN).read_bytes()
    good = draw_clip(tmp_path / "good.gif", RED).read_bytes()
    with run_server(models, workers=1) as port:
        # one that is being read, and one that waits behind it; both clients leave
        first = send(port, green)
        while engines["kavan"].calls == 0:
            time.sleep(0.01)
        second = send(port, green)
        time.sleep(0.5)
        first.close()
        second.close()
        assert engines["kavan"].calls == 1
        time.sleep(1)  # for the server to see that they have gone
        engines["kavan"].gate.set()
        assert post(port, good)[0] == 200
        assert engines["kavan"].calls == 2  # the second of them was never read


CRASHES = """
import ctypes, sys
sys.path[:] = sys.argv[1:]
from moodreel.media import worker
real = worker.open_media
def crash(source, limits):
    with open(source, "rb") as file:
        if b"CRASH" in file.read():
            ctypes.string_at(0)
    return real(source, limits)
worker.open_media = crash
worker.main()
"""
"""For moodreel.media.pool.START: no file is known that crashes a real decoder."""


def test_a_crash_in_a_decoder_costs_its_request_alone(tmp_path, monkeypatch):
    monkeypatch.setattr("moodreel.media.pool.START", CRASHES)
    good = draw_clip(tmp_path / "good.gif", RED, GREEN)
    bad = tmp_path / "bad.gif"
    bad.write_bytes(good.read_bytes() + b"CRASH")
    with run_server(media=tmp_path, votes=str(tmp_path / "votes.sqlite"), workers=1) as port:
        for _ in range(3):
            status, told = post(port, bad.read_bytes())
            assert (status, told["error"]) == (422, "corrupt_media")
            assert told["reason"] == "the decoder crashed: signal SIGSEGV"
            status, told = post(port, good.read_bytes())
            assert (status, told["results"][0]["status"]) == (200, "ok")
        for name, expected in (("bad.gif", 422), ("good.gif", 200), ("bad.gif", 422), ("good.gif", 200)):
            connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
            connection.request("GET", f"/api/votes/picture?item={name}")
            assert connection.getresponse().status == expected
            connection.close()
