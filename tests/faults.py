"""Runs every verb that writes into faults, and looks at what is left.

    python tests/faults.py FOLDER ROUNDS SEED

Faults: a disk that is full after some bytes (RLIMIT_FSIZE), a folder that may not be written (in a process
without root's privilege), Ctrl-C and kill -9 at a random moment. After each, every file that the verb writes
is the old one or the new one, whole; nothing else is there (of a killed one, hidden files ending in .tmp may
be); the exit code is the one that the documents state. Each case is a process forked from this one, which has
imported everything. Prints a line of JSON.
"""

import contextlib
import ctypes
import json
import os
import random
import resource
import shutil
import signal
import sys
import time
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import av  # noqa: F401 (imported before the fork)
import matplotlib.figure  # noqa: F401
import numpy as np
import onnxruntime  # noqa: F401
import pyarrow.parquet  # noqa: F401

from moodreel import cli
from moodreel.faces.openpose import format_faces
from moodreel.report import html, overlay, terminal, trace_figures  # noqa: F401
from moodreel.runtime import keypoints, large, parts, recognizer, trace_files  # noqa: F401
from moodreel.types import ClipFaces, Face, FaceTrack
from runtime.tiny import BLUE, GREEN, RED, draw_gif, write_bundle, write_sta
from test_cli_ratings import RATINGS, draw_traces

VOTES = "emotion,left,right,choice\n" + "".join(f"joy,i{k % 7},i{k % 5 + 7},left\n" for k in range(60))

CASES = {
    "csv": (["predict", "gifs", "--model", "./tiny", "--out", "out/t.csv"], ["t.csv"]),
    "jsonl": (["predict", "gifs", "--model", "./tiny", "--out", "out/t.jsonl"], ["t.jsonl"]),
    "parquet": (["predict", "gifs", "--model", "./tiny", "--out", "out/t.parquet"], ["t.parquet"]),
    "report": (["predict", "gifs", "--model", "./tiny", "--report", "out"], ["index.html"]),
    "overlay gif": (["predict", "gifs/a.gif", "--model", "./tiny", "--overlay", "out"], [".gif"]),
    "overlay webp": (
        ["predict", "gifs/a.gif", "--model", "./tiny", "--overlay", "out", "--overlay-format", "webp"],
        [".webp"],
    ),
    "overlay mp4": (
        ["predict", "gifs/a.gif", "--model", "./tiny", "--overlay", "out", "--overlay-format", "mp4"],
        [".mp4"],
    ),
    "merge": (["merge", "run", "--out", "out/m.csv"], ["m.csv"]),
    "trace": (
        ["trace", "gifs/a.gif", "--model", "./sta", "--detector", "frame", "--out", "out/t.csv",
         "--plot", "out/p.png"],
        ["t.csv", "p.png"],
    ),
    "keypoints": (
        ["keypoints", "gifs", "--openpose", "points", "--out", "out", "--workers", "1"],
        ["a.json", "b.json", "c.json"],
    ),
    "votes": (["votes", "score", "votes.csv", "--out", "out/s.csv"], ["s.csv"]),
    "agreement": (["ratings", "agreement", "r.csv", "--out", "out/a.csv"], ["a.csv"]),
    "gold": (["ratings", "gold", "t.csv", "--out", "out/g.csv"], ["g.csv"]),
}  # fmt: skip
"""Verb -> its arguments, and what it writes into ``out`` (a suffix stands for any name)."""

ROWS = ("overlay gif", "overlay webp", "overlay mp4", "keypoints")
"""Verbs of which a file that cannot be written is one input that failed (exit code 1)."""


def prepare():
    write_bundle("tiny")
    write_sta("sta")
    Path("points").mkdir()
    for name, colour in (("a", RED), ("b", GREEN), ("c", BLUE)):
        clip = draw_gif(Path("gifs") / f"{name}.gif", colour, RED, BLUE)
        face = Face(np.array([2.0, 2, 12, 12]), np.full((70, 2), 5.0), np.ones(70))
        track = FaceTrack(0, np.arange(3), np.arange(3) / 2, (face,) * 3)
        faces = ClipFaces(clip.name, "composed", 20, 20, np.arange(3), np.arange(3) / 2, (track,))
        Path(f"points/{name}.json").write_bytes(format_faces(faces))
    Path("votes.csv").write_text(VOTES, "utf-8")
    Path("r.csv").write_text(RATINGS, "utf-8")
    Path("t.csv").write_text(draw_traces(), "utf-8")


def fork(args, before=lambda: None):
    """Runs the command line in a process of its own. Returns its id, and a pipe with its standard error."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid:
        os.close(writer)
        return pid, reader
    os.dup2(os.open("/dev/null", os.O_WRONLY), 1)
    os.dup2(writer, 2)
    code = 99
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.argv = ["moodreel", *args]
        before()
        cli.main()
    except SystemExit as end:
        code = end.code or 0
    except KeyboardInterrupt:  # before or after main
        code = 130
    finally:
        os._exit(code)


def finish(pid, reader):
    """Exit code and standard error of such a process."""
    with os.fdopen(reader, encoding="utf-8", errors="replace") as stream:
        said = stream.read()
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said


def drop_privilege():
    """Root may write anywhere: takes CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH off this process."""
    if os.geteuid():
        return
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc = ctypes.CDLL(None, use_errno=True)
    assert libc.capget(header, sets) == 0
    sets[0] &= ~0b110
    assert libc.capset(header, sets) == 0


def list_files(folder):
    return {path.name: path.read_bytes() for path in sorted(Path(folder).iterdir())}


def is_one_of(name, wanted):
    return any(name == entry or (entry.startswith(".") and name.endswith(entry)) for entry in wanted)


def set_up(old):
    """An output folder with the files of an older run."""
    with contextlib.suppress(FileNotFoundError):
        Path("out").chmod(0o755)
        shutil.rmtree("out")
    Path("out").mkdir()
    for name, content in old.items():
        (Path("out") / name).write_bytes(content)


def check(name, new, old, killed):
    """Every file is old or new; of one whose bytes may differ, what is not old has the size of the new."""
    found = list_files("out")
    for file, content in found.items():
        if killed and file.startswith(".") and file.endswith(".tmp"):
            continue
        assert file in new, f"{name}: {file} was left"
        whole = content in (old[file], new[file]) or len(content) == len(new[file])
        assert whole, f"{name}: {file} is neither the old nor the new one"
    assert set(new) <= set(found), f"{name}: {set(new) - set(found)} is gone"


def main(folder, rounds, seed):
    rng = random.Random(seed)
    os.chdir(folder)
    prepare()
    assert finish(*fork(["predict", "gifs", "--model", "./tiny", "--out", "run"]))[0] == 0
    told = Counter()
    for name, (args, wanted) in CASES.items():
        set_up({})
        began = time.monotonic()
        code, said = finish(*fork(args))
        assert code == 0, f"{name}: {code}: {said}"
        span = time.monotonic() - began
        new = list_files("out")
        assert all(is_one_of(file, wanted) for file in new), f"{name}: {sorted(new)}"
        assert new, name
        old = dict.fromkeys(new, b'<meta name="generator" content="moodreel old')
        largest = max(map(len, new.values()))
        for _ in range(rounds):
            bound = rng.choice([0, rng.randrange(largest)])
            set_up(old)
            bounded = lambda b=bound: resource.setrlimit(resource.RLIMIT_FSIZE, (b, b))  # noqa: E731
            code, said = finish(*fork(args, bounded))
            check(name, new, old, killed=False)
            assert code == (1 if name in ROWS else 2), f"{name} full at {bound}: {code}: {said}"
            told["full"] += 1
            set_up(old)
            Path("out").chmod(0o555)
            code, said = finish(*fork(args, drop_privilege))
            Path("out").chmod(0o755)
            check(name, new, old, killed=False)
            assert code == (1 if name in ROWS else 2), f"{name} read-only: {code}: {said}"
            told_in_table = name == "keypoints"  # on standard output
            assert told_in_table or "ermission denied" in said, f"{name}: {said}"
            assert "Traceback" not in said, f"{name}: {said}"
            told["read_only"] += 1
            for sent in (signal.SIGINT, signal.SIGKILL):
                set_up(old)
                pid, reader = fork(args)
                time.sleep(rng.uniform(0, span))
                os.kill(pid, sent)
                code, said = finish(pid, reader)
                check(name, new, old, killed=sent == signal.SIGKILL)
                assert code in (0, 130, -sent), f"{name} {sent.name}: {code}: {said}"
                assert "Traceback" not in said, f"{name} {sent.name}: {said}"
                told[sent.name] += 1
                told[f"{sent.name}_in_time"] += code != 0
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
