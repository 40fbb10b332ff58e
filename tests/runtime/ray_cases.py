"""A run on a local Ray: an actor killed, a driver killed, a file that kills. One Ray for all tests here.

test_cluster.py runs these in a process of their own: Ray may end the process of its driver.
"""

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from functools import partial
from pathlib import Path

import pytest

if importlib.util.find_spec("ray") is None:
    pytest.skip('Ray is not installed (the "cluster" extra)', allow_module_level=True)

import moodreel
from moodreel.errors import DataError
from moodreel.runtime.batch import Input, Inputs, Key
from moodreel.runtime.blocks import Block, Work, hash_bundle
from moodreel.runtime.cluster import BlockReader, ClusterSettings, open_cluster, run_on_cluster
from moodreel.runtime.large import open_run
from moodreel.runtime.listing import list_all_roots, stream_all
from moodreel.runtime.parts import RunSettings, Stamp, merge_runs
from moodreel.runtime.recognizer import load
from runtime.deadly import Deadly
from runtime.tiny import BLUE, GREEN, RED, draw_gif, write_bundle

COLOURS = (RED, GREEN, BLUE)
SOURCE = Path(moodreel.__file__).parents[1]


def list_ray():
    """Process numbers of Ray's own that descend from this one."""
    parents, rays = {}, set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int(folder.joinpath("stat").read_text().rpartition(")")[2].split()[1])
            if b"ray" in folder.joinpath("cmdline").read_bytes():
                rays.add(int(folder.name))
        except OSError:
            continue

    def descends(pid):
        return pid == os.getpid() or (pid in parents and descends(parents[pid]))

    return {pid for pid in rays if pid != os.getpid() and descends(pid)}


def open_cluster_here(patch):
    """A local Ray whose actors find this folder's modules."""
    patch.setenv("PYTHONPATH", os.pathsep.join([str(Path(__file__).parents[1]), str(SOURCE)]))
    return open_cluster(ClusterSettings("local", 2))


@pytest.fixture(scope="module")
def cluster():
    """A local Ray of two cores, and its address. Taken down, it leaves no process."""
    with pytest.MonkeyPatch.context() as patch, open_cluster_here(patch) as cores:
        import ray  # not before: what it reads of the environment is set there

        assert cores == 2
        assert os.environ["RAY_USAGE_STATS_ENABLED"] == "0"
        address = ray.get_runtime_context().gcs_address
        assert address.startswith("127.0.0.1:")  # nobody else can reach it
        assert list_ray()
        yield address
    deadline = time.monotonic() + 20
    while left := list_ray():
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A working folder with a bundle, and 24 GIFs, one of which is none."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pids").mkdir()
    write_bundle(tmp_path / "bundle")
    for k in range(23):
        draw_gif(tmp_path / "gifs" / f"{k // 8}" / f"{k:02}.gif", COLOURS[k % 3])
    (tmp_path / "gifs" / "0" / "bad.gif").write_text("no picture")
    return tmp_path


def describe(paths):
    recognizer = load("./bundle", threads=1)
    return RunSettings("kavan", "tiny-kavan", "0.0.1", hash_bundle(recognizer), paths=tuple(paths))


def go(paths, make, out="run", block=2, retry_failed=False):
    """One pass. Yields its counts after each block."""
    notes = Inputs()
    found = stream_all(list_all_roots(paths, None, notes), notes)
    with open_run(Path(out).absolute(), describe(paths), resume=True) as run:
        for _ in run_on_cluster(run, found, make, ClusterSettings("local", 2, block), retry_failed):
            yield run.counts
        yield run.counts


def merged(out="run"):
    """The rows of the merged table, without the scores, and how many part files were read for them."""
    merge_runs([Path(out)], Path("merged.jsonl"))
    rows = [json.loads(line) for line in Path("merged.jsonl").read_text("utf-8").splitlines()]
    return {row["path"]: (row["status"], row["error"], row["category"]) for row in rows}, len(rows)


def expected(paths):
    """What one process says of the same inputs."""
    notes = Inputs()
    inputs = [f.input.path for f in stream_all(list_all_roots(paths, None, notes), notes)]
    results = load("./bundle", threads=1).map(inputs)
    return {r.source: ("ok" if r.ok else "error", r.error, r.category) for r in results}


def test_killed_actors_lose_and_double_nothing(cluster, place):
    """In a folder and, by its URL, in an archive; a bad file, and one that kills whoever reads it."""
    with zipfile.ZipFile("gifs.zip", "w") as archive:
        for path in sorted((place / "gifs").rglob("*.gif")):
            archive.write(path, f"in/{path.relative_to(place / 'gifs')}")
        archive.writestr("in/notes.txt", "no media")
    chain = f"::file://{place}/gifs.zip"
    paths = ["gifs", f"zip://in{chain}", f"file://{place}/gifs/2"]
    truth = expected(["gifs"])
    truth |= {path.replace("gifs/", "zip://in/") + chain: told for path, told in truth.items()}
    assert len(truth) == 48
    draw_gif(place / "gifs" / "1" / "deadly.gif", RED)
    truth["gifs/1/deadly.gif"] = ("error", "the process that read it died, 2 times", None)
    make = partial(Deadly, str(place / "bundle"), str(place / "pids"), 0.05)
    going = go(paths, make, block=1)
    next(going)
    os.kill(max(int(path.name) for path in (place / "pids").iterdir()), signal.SIGKILL)
    *_, counts = going
    assert (counts.done, counts.failed, counts.met) == (49, 3, 49)
    assert merged() == (truth, 49)
    assert len(list((place / "pids").iterdir())) >= 4  # two died at least, and others took over
    # what is gone has no row, and nothing is read
    parts = set(Path("run").glob("part-*"))
    for name in ("0/00.gif", "1/deadly.gif"):
        (place / "gifs" / name).unlink()
        del truth[f"gifs/{name}"]
    *_, counts = go(paths, make)
    assert (counts.kept, counts.gone, counts.done) == (47, 2, 47)
    assert parts < set(Path("run").iterdir())
    assert merged() == (truth, 47)
    *_, counts = go(paths, make)
    assert (counts.kept, counts.parts) == (47, 0)


def test_a_file_whose_actors_died_of_others_is_read(cluster, place):
    """Twice in company is no proof: it is tried alone before it gets the row of one that kills."""
    (place / "unlucky").mkdir()
    draw_gif(place / "gifs" / "1" / "unlucky.gif", RED)
    draw_gif(place / "gifs" / "2" / "deadly.gif", RED)
    *_, counts = go(["gifs"], partial(Deadly, str(place / "bundle"), str(place / "pids"), 0), block=1)
    assert len(list((place / "unlucky").iterdir())) == 2
    assert (counts.done, counts.failed) == (26, 2)
    found, parts = merged()
    assert found["gifs/1/unlucky.gif"][0] == "ok"
    assert found["gifs/2/deadly.gif"] == ("error", "the process that read it died, 2 times", None)
    assert parts == 26


DRIVER = """
from functools import partial
from moodreel.runtime.cluster import ClusterSettings
from runtime import ray_cases as t
t.ClusterSettings = lambda *args: ClusterSettings({address!r}, 2, 2)
for counts in t.go(["gifs"], partial(t.Deadly, {bundle!r}, {pids!r}, 0.3)):
    print(counts.done, flush=True)
"""


def test_a_killed_driver_loses_and_doubles_nothing(cluster, place):
    names = {"bundle": str(place / "bundle"), "pids": str(place / "pids")}
    code = DRIVER.format(address=cluster, **names)
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as driver:
        assert driver.stdout is not None
        assert int(driver.stdout.readline()) < 24
        driver.kill()
    with pytest.raises(DataError, match="not finished"):
        merged()
    # its actors may still write what they had begun: it counts once
    make = partial(load, names["bundle"], threads=1)
    *_, counts = go(["gifs"], make)
    assert 1 <= counts.kept < 24
    assert counts.done == 24
    assert merged() == (expected(["gifs"]), 24)


def test_a_block_as_text(place):
    stamps = (Stamp(1, 2**62 + 1), Stamp(None, None))
    names = ("gifs/\udcff.gif", "s3://bucket/\u00e9")
    inputs = tuple(
        (Input(name, name, Key(3, "root", "a\0b"), k == 1), stamp)
        for k, (name, stamp) in enumerate(zip(names, stamps, strict=True))
    )
    assert Block.from_json(Block(7, inputs).to_json()) == Block(7, inputs)
    assert Block.from_json(Block(7, inputs).to_json()).mark == Block(7, inputs).mark


def test_faults_of_a_block_are_told(place):
    """Here no Ray runs: what an actor says."""
    notes = Inputs()
    found = tuple((f.input, f.stamp) for f in stream_all(list_all_roots(["gifs/2"], None, notes), notes))
    write_bundle(place / "other", version="9")
    for name, out, fault in [
        ("other", "run", "another bundle on"),
        ("absent", "run", "absent: no such folder or .zip"),
        ("bundle", "nowhere", "No such file or directory"),
    ]:
        (place / "run").mkdir(exist_ok=True)
        work = Work(partial(load, str(place / name), threads=1), describe(["gifs"]), Path(out), str(place))
        told = BlockReader(work)({"block": [Block(5, found).to_json()]})
        assert fault in told["fault"][0]
        assert (told["number"], told["rows"]) == ([5], [0])
    assert list((place / "run").iterdir()) == []
