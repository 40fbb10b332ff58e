"""Kills ``moodreel predict --out DIR --resume`` at random moments and looks at what is left.

    python tests/runtime/kill.py FOLDER KILLS SEED

Each run is the real command line in a process of its own, forked from this one, which has imported everything
but started nothing: so a run takes little more than its work, and most kills hit that. Parts have few rows,
so that much of the work is writing them. After each kill the partial table must hold true rows of inputs and
none twice; after each run that ends, the table must be exact. Then files change, come and go. Prints a line
of JSON.
"""

import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy  # noqa: F401 (imported before the fork)
import onnxruntime  # noqa: F401
import pyarrow.parquet  # noqa: F401

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from moodreel import cli
from moodreel.report import terminal  # noqa: F401
from moodreel.runtime import frame_reader, large, parts, recognizer  # noqa: F401
from runtime.tiny import BLUE, GREEN, RED, draw_gif, write_bundle

COLOURS = {"r": RED, "g": GREEN, "b": BLUE}
FILES = 12
SCORES = ("amusement", "anger", "contempt")  # the tiny network's red, green and blue


def start(rows, *args):
    """Forks the command line. Returns the process id."""
    pid = os.fork()
    if pid:
        return pid
    silent = os.open("child.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    large.PART_ROWS = rows
    sys.argv = ["moodreel", *map(str, args)]
    code = 99
    try:
        cli.main()
    except SystemExit as end:
        code = end.code
    finally:
        os._exit(code)


def run(rows, *args):
    return os.waitstatus_to_exitcode(os.waitpid(start(rows, *args), 0)[1])


def draw(name, truth, seed):
    colour = seed.choice("rgb")
    draw_gif(Path("lib") / name, COLOURS[colour])
    truth[f"lib/{name}"] = colour


def change(truth, seed):
    for path in seed.sample(sorted(truth), 4):
        draw(path.removeprefix("lib/"), truth, seed)
    gone = seed.choice(sorted(truth))
    Path(gone).unlink()
    del truth[gone]
    draw(f"new/{seed.randrange(10**6)}.gif", truth, seed)


def read_rows(*extra):
    """Colour by path of the merged table; None where there is no part yet. A path twice is an error."""
    Path("table.jsonl").unlink(missing_ok=True)
    code = run(1, "merge", "run", "--out", "table.jsonl", *extra)
    if code:
        said = Path("child.log").read_text("utf-8")
        assert "no parts of a run" in said or "no such folder" in said, said
        return None
    rows = [json.loads(line) for line in Path("table.jsonl").read_text("utf-8").splitlines()]
    paths = [row["path"] for row in rows]
    assert paths == sorted(paths, key=lambda path: path.split("/")), "order"
    assert len(set(paths)) == len(paths), "a row twice"
    assert all(row["status"] == "ok" for row in rows)
    return {row["path"]: "rgb"[[row[name] for name in SCORES].index(1.0)] for row in rows}


def main(folder, kills, seed):
    seed = random.Random(seed)
    os.chdir(folder)
    write_bundle("tiny")
    told = {"kills": 0, "ended": 0, "in_writing": 0, "with_parts": 0, "files": FILES}
    truth, earlier = {}, {}
    predict = ("predict", "lib", "--model", "./tiny", "--out", "run", "--resume", "--workers", "1")
    span, age = 0.35, 0
    while told["kills"] < kills:
        if age == 0:
            for place in (Path("run"), Path("lib")):
                for file in sorted(place.rglob("*"), reverse=True):
                    file.rmdir() if file.is_dir() else file.unlink()
            truth.clear()
            earlier.clear()
            for k in range(FILES):
                draw(f"{k % 3}/{k}.gif", truth, seed)
        for path, colour in truth.items():
            earlier.setdefault(path, set()).add(colour)
        rows = seed.choice([1, 2, 5])
        began = time.monotonic()
        pid = start(rows, *predict)
        time.sleep(seed.uniform(0, span))
        os.kill(pid, signal.SIGKILL)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if code == -signal.SIGKILL:
            told["kills"] += 1
            told["in_writing"] += any(Path("run").glob(".part-*.tmp"))
            held = read_rows("--partial")
            told["with_parts"] += held is not None
            for path, colour in (held or {}).items():
                assert colour in earlier[path], path
            if told["kills"] % 5:
                continue
            began = time.monotonic()
            code = run(rows, *predict)  # else a run that ends would be rare
            span = 0.9 * span + 0.1 * (time.monotonic() - began) * 1.1
        assert code == 0, Path("child.log").read_text("utf-8")
        assert read_rows() == truth
        assert not any(Path("run").glob(".part-*.tmp"))
        told["ended"] += 1
        age = (age + 1) % 4
        if age:
            change(truth, seed)
    assert run(2, *predict) == 0
    assert read_rows() == truth
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
