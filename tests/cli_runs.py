"""Runs of the command line in this process, and a place with files and bundles for them."""

import io
import signal
import subprocess
import sys
import time

import pytest

from moodreel import cli
from moodreel.runtime import bundle as bundle_rooms
from runtime.tiny import BLUE, GREEN, RED, draw_gif, make_model, write_bundle


class Run:
    """Runs the command line here and holds what came of it: code, out, err."""

    def __init__(self, capfd, monkeypatch):
        self._capfd, self._monkeypatch = capfd, monkeypatch

    def __call__(self, *args, stdin=b""):
        self._monkeypatch.setattr(sys, "argv", ["moodreel", *map(str, args)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        self._capfd.readouterr()
        before = signal.getsignal(signal.SIGTERM)
        try:
            with pytest.raises(SystemExit) as caught:
                cli.main()
        finally:
            signal.signal(signal.SIGTERM, before)
        self.code = caught.value.code
        self.out, self.err = self._capfd.readouterr()
        assert "Traceback" not in self.err
        return self


@pytest.fixture(name="run")
def run_fixture(capfd, monkeypatch, place):
    return Run(capfd, monkeypatch)


@pytest.fixture(name="bundles", scope="session")
def bundles_fixture(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundles")
    some = {
        "emotions": ["happiness", "anger", "sadness"],
        "categories": ["pleasure_arousal", "misery_arousal"],
    }
    write_bundle(folder / "kavan")
    write_bundle(folder / "face", "face")
    write_bundle(folder / "some", supervised=some)
    write_bundle(folder / "broken", model=make_model(broken=True))
    return folder


@pytest.fixture(name="place")
def place_fixture(tmp_path, monkeypatch, bundles):
    """A working folder with three GIFs and the shipped bundles replaced by tiny ones."""
    monkeypatch.setattr(bundle_rooms, "BUNDLED", bundles)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)
    for name, colour in [("red", RED), ("green", GREEN), ("blue", BLUE)]:
        draw_gif(tmp_path / "gifs" / f"{name}.gif", colour, colour)
    return tmp_path


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def command(*args, **options):
    """Runs the command line in a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "moodreel", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=120,
        **options,
    )


def interrupt(program, arguments, sent, wait):
    """Runs a program until it says that it is reading, sends a signal; returns its code and its errors."""
    process = subprocess.Popen(
        [sys.executable, "-c", program, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background job ignores it
    )
    assert process.stdout.readline() == "reading\n"
    time.sleep(wait)
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    return process.returncode, err
