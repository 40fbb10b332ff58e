"""Kills trainings and exports at random moments and looks at what is left.

    python tests/lab/kill.py FOLDER TRAININGS KILLS EXPORTS SEED

Each of TRAININGS runs is killed KILLS times (SIGKILL) on its way and resumed after each; when
it ends, its weights and optimiser state are compared bit for bit with those of a run that nobody disturbed.
Then a bundle is exported over an older one EXPORTS times, killed each time: what stands there must be the old
bundle or the new one, whole. Each run is a process forked from this one, which has imported everything but
computed nothing. Prints a line of JSON.
"""

import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from safetensors.torch import load_file

from moodreel.lab.data.manifest import Row, write_manifest
from moodreel.lab.export import export
from moodreel.lab.train import train
from moodreel.runtime.bundle import read_bundle

RECIPE = """system = "face"
[model]
input_size = 32
[train]
epochs = 3
batch = 6
precision = "32"
ema = 0.5
"""


def fork(log, work):
    """Runs a function in a process of its own. Returns the process id."""
    pid = os.fork()
    if pid:
        return pid
    silent = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(silent, 1)
    os.dup2(silent, 2)
    code = 1
    try:
        work()
        code = 0
    except BaseException as error:
        print(repr(error), flush=True)
    finally:
        os._exit(code)


def finish(pid):
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def kill_after(pid, seconds):
    """Kills a process some time from now; whether it still ran then."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.005)
    os.kill(pid, signal.SIGKILL)
    return finish(pid) == -signal.SIGKILL


def write_data(folder):
    rng = np.random.default_rng(0)
    rows = []
    for i in range(27):
        kind, level = [("happiness", 200), ("sadness", 50), ("neutral", 125)][i % 3]
        pixels = rng.normal(level, 12, (40, 40)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / f"{i}.png")
        rows.append(Row(folder / f"{i}.png", f"p{i}", "train" if i < 18 else "val", labels={"ekman": kind}))
    write_manifest(folder / "manifest.csv", rows)
    (folder / "recipe.toml").write_text(RECIPE, "utf-8")


def read_run(run):
    """All numbers of a finished run."""
    last = torch.load(run / "last.ckpt", weights_only=True)
    best = json.loads((run / "best.json").read_text("utf-8"))
    return load_file(run / "best.safetensors"), last["state_dict"], last["optimizer_states"], best


def are_equal(one, other):
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(are_equal(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(are_equal, one, other))
    return one == other


def main(folder, trainings, kills, exports, seed):
    rng = random.Random(seed)
    os.chdir(folder)
    write_data(Path())
    torch.set_num_threads(1)
    log = Path("child.log")

    def train_into(run):
        resume = (run / "last.ckpt").exists()
        train("face", [Path("manifest.csv")], run, None if resume else Path("recipe.toml"), resume=resume)

    began = time.monotonic()
    assert finish(fork(log, lambda: train_into(Path("whole")))) == 0, log.read_text("utf-8")
    span = time.monotonic() - began
    expected = read_run(Path("whole"))
    told = {"training_kills": 0, "resumed": 0, "export_kills": 0, "export_old": 0, "export_new": 0}
    for number in range(trainings):
        run = Path(f"run{number}")
        done = 0
        while done < kills:
            resumes = (run / "last.ckpt").exists()
            if kill_after(fork(log, lambda run=run: train_into(run)), rng.uniform(0.1, 0.9) * span):
                done += 1
                told["training_kills"] += 1
                told["resumed"] += resumes
            else:  # it came to its end before: once more, quicker
                shutil.rmtree(run)
                span, done = 0.8 * span, 0
        assert finish(fork(log, lambda run=run: train_into(run))) == 0, log.read_text("utf-8")
        assert are_equal(read_run(run), expected), run
        assert not list(run.glob("*.tmp")) or told["training_kills"]
    if exports:
        began = time.monotonic()
        assert finish(fork(log, lambda: export(Path("whole"), Path("mine"), False))) == 0, log.read_text(
            "utf-8"
        )
        span = time.monotonic() - began
    for _ in range(exports):
        facts = json.loads(Path("mine/bundle.json").read_text("utf-8"))
        Path("mine/bundle.json").write_text(json.dumps({**facts, "version": "old"}), "utf-8")
        # the folder changes its name near the end
        killed = kill_after(
            fork(log, lambda: export(Path("whole"), Path("mine"), False)),
            span * (1 - rng.random() ** 2 * 0.6 if rng.random() < 0.7 else rng.random()),
        )
        told["export_kills"] += killed
        bundle = read_bundle("./mine")
        for name in bundle.info.sha256:
            bundle.read_checked(name)
        told["export_old" if bundle.info.version == "old" else "export_new"] += 1
        for left in Path().glob(".mine.*"):
            shutil.rmtree(left)
    print(json.dumps(told))


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
