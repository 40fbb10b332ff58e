"""The verb ``serve``: what it refuses, what it says, how it ends."""

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request

import pytest

from moodreel.errors import BundleError
from moodreel.web.serve import list_models, open_socket
from runtime.tiny import write_bundle
from web.fakes import draw_clip

TOKEN = "a-token-of-enough-characters"


def run(*arguments, **options):
    command = [sys.executable, "-m", "moodreel", "serve", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["--token", "short"], "token"),
        (["--port", "70000"], "port"),
        (["--max-mb", "0"], "--max-mb 0"),
        (["--workers", "0"], "workers"),
        (["--model", "nobody"], "no bundle 'nobody'"),
        (["--votes", "v.sqlite"], "clips to vote on"),
        (["--table", "none.parquet"], "none.parquet"),
        (["--media", "none"], "a folder"),
        (["--host", "0.0.0.0"], "or a token for anything else"),
    ],
)
def test_wrong_commands(arguments, reason, monkeypatch, capsys, tmp_path):
    from moodreel.cli import main

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(sys, "argv", ["moodreel", "serve", "--port", "0", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    said = capsys.readouterr().err
    assert (caught.value.code, said.count("\n")) == (2, 1)
    assert reason in said


def test_a_port_that_is_taken():
    with open_socket("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(OSError, match=f"127.0.0.1:{port}"):
            open_socket("127.0.0.1", port)


def test_without_the_extra_it_says_what_to_install(tmp_path):
    (tmp_path / "fastapi.py").write_text("raise ModuleNotFoundError('no', name='fastapi')", encoding="utf-8")
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = run(env={**os.environ, "PYTHONPATH": path})
    assert done.returncode == 2
    assert done.stderr == (
        'moodreel: moodreel serve (fastapi) needs the "web" extra: pip install "moodreel[web]"\n'
    )


@pytest.mark.parametrize(("kind", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_it_serves_until_it_is_told_to_end(tmp_path, kind, code):
    bundle = write_bundle(tmp_path / "tiny")
    command = [sys.executable, "-m", "moodreel", "serve", "--port", "0", "--model", str(bundle)]
    environment = {**os.environ, "MOODREEL_TOKEN": TOKEN, "TMPDIR": str(tmp_path)}
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    killer = threading.Timer(60, server.kill)
    killer.start()
    try:
        line = server.stderr.readline()
        port = int(
            re.fullmatch(rf"moodreel: serving http://127\.0\.0\.1:(\d+)/\?token={TOKEN} .*\n", line)[1]
        )
        content = draw_clip(tmp_path / "a.gif", (255, 0, 0)).read_bytes()
        body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.gif"\r\n\r\n%s\r\n--x--\r\n'
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/api/predict",
            body % content,
            {"Content-Type": "multipart/form-data; boundary=x", "Authorization": f"Bearer {TOKEN}"},
        )
        with urllib.request.urlopen(request, timeout=30) as answer:
            assert json.load(answer)["results"][0]["category"] == "pleasure_arousal"
        server.send_signal(kind)
        _, rest = server.communicate(timeout=30)
    finally:
        killer.cancel()
        server.kill()
        server.wait()
    assert (server.returncode, rest) == (code, "")
    assert list(tmp_path.glob("moodreel-*")) == []  # the folder for uploads is gone


def test_models_are_named_and_not_loaded(tmp_path):
    models = list_models([], workers=2)
    assert list(models) == ["kavan", "caca-rnn", "sta", "face"]
    assert all(served.size > 100_000 for served in models.values())
    own = list_models([str(write_bundle(tmp_path / "tiny"))], workers=2)
    assert list(own) == ["tiny-kavan"]
    with pytest.raises(BundleError):
        list_models(["nobody"], workers=1)


def test_models_that_look_for_faces_need_a_detector(monkeypatch):
    import moodreel.web.serve as serve
    from moodreel.errors import MissingExtra

    def refuse(_):
        raise MissingExtra("faces", "finding faces")

    monkeypatch.setattr(serve, "choose_detector", refuse)
    problems = {name: served.problem for name, served in list_models([], workers=2).items()}
    assert problems["kavan"] is problems["face"] is None
    assert "moodreel[faces]" in problems["sta"]
    assert "moodreel[faces]" in problems["caca-rnn"]
