"""Decoders in processes of their own: the same frames, and what a crash costs."""

import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from media_gif_builder import Gif, Picture, fill

from fragile import BROKEN
from moodreel.errors import CorruptMedia, LimitExceeded, MediaError, UnsupportedMedia
from moodreel.media import Limits, open_media, pool, read_clip, sample_media
from moodreel.media.base import NoDecoderError
from moodreel.media.pool import DecoderPool
from moodreel.types import Clip

GIF = Gif(5, 4, [Picture(fill(k, 5, 4), delay=10 * k) for k in (2, 3, 4)], loop=3).to_bytes()


@pytest.fixture
def files(tmp_path):
    def make(*names):
        paths = [tmp_path / f"{name}.gif" for name in names]
        for path in paths:
            path.write_bytes(GIF)
        return paths

    return make


@pytest.fixture
def fragile(monkeypatch):
    monkeypatch.setattr(pool, "START", BROKEN)


def test_the_same_frames_and_times(files):
    (path,) = files("a")
    here = open_media(path)
    with DecoderPool(Limits(), 1) as decoders:
        for source in (path, str(path), GIF, memoryview(GIF)):
            with decoders.opened(source) as there:
                name = "<bytes>" if isinstance(source, bytes | memoryview) else str(path)
                assert (there.source, there.width, there.height) == (name, 5, 4)
                assert there.timeline.loop == 3
                for field in ("starts", "durations", "raw_durations"):
                    assert np.array_equal(getattr(there.timeline, field), getattr(here.timeline, field))
                for mode in ("rgb", "rgba"):
                    clip = read_clip(there, mode)
                    assert np.array_equal(clip.frames, read_clip(path, mode).frames)
                    assert clip.durations.tolist() == [0.2, 0.3, 0.4]
                sampled = sample_media(there, [0.0, 0.6, 0.1], (7, 3))
                assert np.array_equal(sampled.frames, sample_media(here, [0.0, 0.6, 0.1], (7, 3)).frames)


def test_what_is_in_memory_stays_here(monkeypatch):
    monkeypatch.setattr(pool, "START", "raise SystemExit(1)")
    frames = np.zeros((2, 3, 4, 3), np.uint8)
    clip = Clip(frames, np.array([0, 0.1]), np.full(2, 0.1), np.full(2, 0.1))
    with DecoderPool(Limits(), 1) as decoders:
        for source in (frames, clip):
            with decoders.opened(source) as media:
                assert len(media) == 2


def test_a_relative_name_stays_as_it_is(files, monkeypatch):
    (path,) = files("a")
    with DecoderPool(Limits(), 1) as decoders:
        monkeypatch.chdir(path.parent)  # after its start
        with decoders.opened("a.gif") as media:
            assert media.source == "a.gif"
        path.rename(os.fsdecode(b"\xff.gif"))
        with decoders.opened(os.fsdecode(b"\xff.gif")) as media:
            assert len(media) == 3


@pytest.mark.parametrize(
    ("name", "content", "kind", "reason"),
    [
        ("missing.gif", None, MediaError, "no such file"),
        ("nul\0.gif", None, MediaError, "cannot be opened"),
        ("text.gif", b"text", UnsupportedMedia, "not a GIF"),
        ("half.gif", GIF[:20], CorruptMedia, "ends before its first image"),
        ("large.gif", b"GIF89a\xff\xff\xff\xff" + GIF[10:], LimitExceeded, "canvas_pixels"),
    ],
)
def test_errors_are_those_of_this_process(tmp_path, name, content, kind, reason):
    path = str(tmp_path / name)
    if content is not None:
        Path(path).write_bytes(content)
    with DecoderPool(Limits(), 1) as decoders:
        with pytest.raises(MediaError, match=reason) as caught, decoders.opened(path):
            pass
        assert type(caught.value) is kind
        assert caught.value.source == path
        with decoders.opened(GIF) as media:
            assert len(media) == 3


def test_a_crash_costs_one_file(files, fragile):
    crashes = {
        "segfault": "the decoder crashed: signal SIGSEGV",
        "abort": "the decoder crashed: signal SIGABRT",
        "killed": "the decoder crashed: signal SIGKILL (killed, as when memory runs out)",
        "quits": "the decoder crashed: exit code 3",
    }
    *bad, good = files(*crashes, "good")
    with DecoderPool(Limits(), 1) as decoders:
        for path, reason in zip(bad, crashes.values(), strict=True):
            with pytest.raises(CorruptMedia) as caught, decoders.opened(path):
                pass
            assert caught.value.reason == reason
        with decoders.opened(good) as media:
            assert len(media) == 3


def test_a_crash_between_frames(files, fragile):
    late, good = files("late", "good")
    with DecoderPool(Limits(), 1) as decoders:
        with decoders.opened(late) as media:
            frames = media.read([0, 1, 2])
            assert next(frames)[0] == 0
            with pytest.raises(CorruptMedia, match="crashed: signal SIGSEGV"):
                next(frames)
            with pytest.raises(CorruptMedia, match="crashed"):
                list(media.read([0]))
        with decoders.opened(good) as media:
            assert len(list(media.read([0, 1, 2]))) == 3


def test_out_of_memory_and_faults_are_told(files, fragile):
    fills, raises, good = files("fills", "raises", "good")
    with DecoderPool(Limits(), 1) as decoders:
        with pytest.raises(LimitExceeded, match="out of memory"), decoders.opened(fills):
            pass
        with pytest.raises(RuntimeError, match="ZeroDivisionError: deep inside"), decoders.opened(raises):
            pass
        with decoders.opened(good) as media:
            assert len(media) == 3
        assert len(decoders._all) == 1


def test_what_a_decoder_prints_is_no_answer(files, fragile, capfd):
    (path,) = files("prints")
    with DecoderPool(Limits(), 1) as decoders, decoders.opened(path) as media:
        assert len(list(media.read([0, 2]))) == 2
    assert capfd.readouterr() == ("", "")


def test_a_decoder_that_hangs_is_ended(files, fragile, monkeypatch):
    hangs, good = files("hangs", "good")
    monkeypatch.setattr(pool, "MARGIN", 1.0)
    with DecoderPool(Limits(seconds=0.5), 1) as decoders:
        message = r"longer than the limit of 0.5 s \(seconds\)"
        with pytest.raises(LimitExceeded, match=message), decoders.opened(hangs):
            pass
        with decoders.opened(good) as media:
            assert len(media) == 3


def test_time_that_is_spent_elsewhere_does_not_count(files, monkeypatch):
    monkeypatch.setattr(pool, "MARGIN", 0.0)
    (path,) = files("a")
    with DecoderPool(Limits(seconds=2), 1) as decoders, decoders.opened(path) as media:
        for _ in media.read([0, 1, 2]):
            time.sleep(0.8)


def test_frames_that_nobody_wants_cost_a_process_and_nothing_else(tmp_path):
    path = tmp_path / "long.gif"
    path.write_bytes(Gif(900, 900, [Picture(fill(k % 8, 2, 2)) for k in range(60)]).to_bytes())
    with DecoderPool(Limits(), 1) as decoders:
        with decoders.opened(path) as media:
            frames = media.read(range(60))
            next(frames)
            with pytest.raises(RuntimeError, match="one run of frames at a time"):
                next(media.read([5]))
            frames.close()
        with decoders.opened(path) as media:
            assert len(list(media.read(range(60)))) == 60


def test_more_threads_than_processes(files):
    paths = files(*(f"f{k}" for k in range(12)))
    lengths = []

    def read(path):
        with decoders.opened(path) as media:
            lengths.append(len(list(media.read([0, 1, 2]))))

    with DecoderPool(Limits(), 2) as decoders:
        threads = [threading.Thread(target=read, args=(path,)) for path in paths]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert lengths == [3] * 12


def test_a_process_that_cannot_start_is_no_fault_of_the_file(files, monkeypatch):
    monkeypatch.setattr(pool, "START", "import sys; sys.exit(7)")
    (path,) = files("a")
    message = r"no decoder can be started \(exit code 7\)"
    with DecoderPool(Limits(), 1) as decoders:  # noqa: SIM117 (it ends after the error)
        with pytest.raises(NoDecoderError, match=message), decoders.opened(path):
            pass


def test_a_process_that_cannot_be_made(files, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(NoDecoderError, match="no decoder can be started: No such file"):
        DecoderPool(Limits(), 2)


def is_there(pid):
    try:
        return "Z" not in Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False


def wait_for(condition):
    for _ in range(200):
        if condition():
            return True
        time.sleep(0.05)
    return False


LONELY = """
import os, sys, time
from moodreel.media import Limits, pool
pool.START = sys.argv[2]
decoders = pool.DecoderPool(Limits(), 1)
with decoders.opened(sys.argv[3]):
    pass
print(*(decoder._process.pid for decoder in decoders._all), flush=True)
with decoders.opened(sys.argv[1]):
    pass
"""


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_no_orphans(files, end):
    """Also while a decoder hangs in a file."""
    hangs, good = files("hangs", "good")
    command = [sys.executable, "-c", LONELY, hangs, BROKEN, good]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 1
        assert all(map(is_there, pids))
        process.send_signal(end)
        process.wait()
    assert wait_for(lambda: not any(map(is_there, pids)))


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
def test_the_bounds_of_a_process(files):
    (path,) = files("a")
    with DecoderPool(Limits(process_bytes=3 << 30), 1) as decoders, decoders.opened(path):
        (decoder,) = decoders._all
        facts = Path(f"/proc/{decoder._process.pid}/limits").read_text()
        told = {line[:26].strip(): line[26:].split()[0] for line in facts.splitlines()[1:]}
        assert told["Max address space"] == str(3 << 30)
        assert told["Max core file size"] == "0"
        assert told["Max file size"] == "0"
        assert Path(f"/proc/{decoder._process.pid}/oom_score_adj").read_text() == "1000\n"
        names = Path(f"/proc/{decoder._process.pid}/maps").read_text()
        assert "onnxruntime" not in names


def test_kept_files_share_a_decoder(files):
    a, b = files("a", "b")
    with DecoderPool(Limits(), 1, at_once=False) as decoders:
        assert not decoders._all  # none before it is wanted
        kept = [decoders.keep(a), decoders.keep(b), decoders.keep(a)]
        for media in kept:
            assert len(media) == 3
            assert np.array_equal(read_clip(media).frames, read_clip(a).frames)
            sampled = sample_media(media, [0.0, 0.6], (7, 3))
            assert np.array_equal(sampled.frames, sample_media(open_media(a), [0.0, 0.6], (7, 3)).frames)
        assert len(decoders._all) == 1
        with pytest.raises(UnsupportedMedia):
            decoders.keep(Path(__file__))


def test_a_kept_file_that_changes_is_told(files):
    (path,) = files("a")
    with DecoderPool(Limits(), 1) as decoders:
        media = decoders.keep(path)
        path.write_bytes(Gif(5, 4, [Picture(fill(2, 5, 4), delay=10)]).to_bytes())
        with pytest.raises(CorruptMedia, match="changed while it was read"):
            next(media.read([0]))


def test_a_crash_costs_a_kept_file_one_reading(files, fragile):
    good, late = files("good", "late")
    with DecoderPool(Limits(), 1, at_once=False) as decoders:
        kept = decoders.keep(good), decoders.keep(late)
        for _ in range(2):
            with pytest.raises(CorruptMedia, match="SIGSEGV"):
                read_clip(kept[1])
            assert len(read_clip(kept[0]).frames) == 3
