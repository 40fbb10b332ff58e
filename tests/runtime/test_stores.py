"""Inputs and runs on stores, in fsspec's memory; blocks that a fake pool of actors reads. No Ray here."""

import datetime
import hashlib
import io
from contextlib import nullcontext, suppress
from functools import partial
from pathlib import Path

import pyarrow.parquet as parquet
import pytest

from moodreel.errors import DataError, LimitExceeded, MediaError
from moodreel.media import Limits
from moodreel.runtime import blocks, cluster, stores
from moodreel.runtime.batch import Inputs
from moodreel.runtime.blocks import Block, Work, hash_bundle, read_block
from moodreel.runtime.cluster import BlockReader, ClusterSettings, run_on_cluster
from moodreel.runtime.large import open_run
from moodreel.runtime.listing import list_all_roots, stream_all
from moodreel.runtime.parts import RunSettings, Stamp, merge_runs
from moodreel.runtime.recognizer import load
from moodreel.runtime.stores import StorePath, is_url, join_url, make_stamp, read_url, strip_local
from runtime.tiny import BLUE, GREEN, RED, draw_gif, write_bundle


@pytest.fixture
def memory():
    """An empty store."""
    fsspec = pytest.importorskip("fsspec", reason='the "cluster" extra is not installed')
    store = fsspec.filesystem("memory")
    store.store.clear()
    store.pseudo_dirs[:] = [""]
    yield store
    store.store.clear()
    store.pseudo_dirs[:] = [""]


@pytest.fixture
def place(tmp_path, monkeypatch, memory):
    """A bundle, and a store with GIFs, one of which is none, and other files."""
    monkeypatch.chdir(tmp_path)
    write_bundle(tmp_path / "bundle")
    for k, name in enumerate(["a.gif", "b/1.gif", "b/2.gif", "b-.gif", "b.gif", "c/x/y.gif"]):
        draw_gif(tmp_path / "gif.gif", (RED, GREEN, BLUE)[k % 3])
        memory.pipe_file(f"/lib/{name}", (tmp_path / "gif.gif").read_bytes())
    memory.pipe_file("/lib/b/bad.gif", b"no picture")
    memory.pipe_file("/lib/b/notes.txt", b"no media")
    return tmp_path


@pytest.fixture
def pool(monkeypatch):
    """What stands for the pool of actors: reads in this process; kills are names with "deadly"."""
    ran = []

    def run(given, work, actors):
        reader = BlockReader(work)
        ran.append([len(block.inputs) for block in given])
        for block in reversed(given):  # any order
            if not any("deadly" in entry.path for entry, _ in block.inputs):
                told = reader({"block": [block.to_json()]})
                yield {name: values[0] for name, values in told.items()}

    monkeypatch.setattr(cluster, "open_cluster", lambda settings: nullcontext(2))
    monkeypatch.setattr(cluster, "_run_blocks", run)
    return ran


def describe(paths, **changes):
    bundle = hash_bundle(load("./bundle", threads=1))
    facts = {"system": "kavan", "model": "tiny-kavan", "model_version": "0.0.1", "bundle": bundle}
    return RunSettings(**{**facts, "paths": tuple(paths), **changes})


def find(paths, stdin=None):
    notes = Inputs()
    return list(stream_all(list_all_roots(paths, stdin, notes), notes)), notes


def go(paths, out="memory://run", block=4, retry_failed=False, **changes):
    notes = Inputs()
    found = stream_all(list_all_roots(paths, None, notes), notes)
    make = partial(load, str(Path("bundle").absolute()), threads=1)
    with open_run(stores.open_folder(out), describe(paths, **changes), resume=True) as run:
        for _ in run_on_cluster(run, found, make, ClusterSettings("local", 2, block), retry_failed):
            pass
    return run.counts


def merged(*runs):
    merge_runs([stores.open_folder(run) for run in runs or ["memory://run"]], Path("m.parquet"))
    return [
        (row["path"], row["status"], row["category"]) for row in parquet.read_table("m.parquet").to_pylist()
    ]


LIB = [
    ("memory://lib/a.gif", "ok", "pleasure_arousal"),
    ("memory://lib/b/1.gif", "ok", "misery_arousal"),
    ("memory://lib/b/2.gif", "ok", "misery_sleepiness"),
    ("memory://lib/b/bad.gif", "error", None),
    ("memory://lib/b-.gif", "ok", "pleasure_arousal"),
    ("memory://lib/b.gif", "ok", "misery_arousal"),
    ("memory://lib/c/x/y.gif", "ok", "misery_sleepiness"),
]
"""Rows of the store's folder, in the order of a local folder of the same names."""


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        ("s3://b/k", True),
        ("zip://a::file:///b", True),
        ("C:\\a", False),
        ("a/b:c", False),
        ("./s3://", False),
    ],
)
def test_what_is_a_url(text, is_one):
    assert is_url(text) == is_one


def test_urls():
    assert strip_local("file:///a/b c") == "/a/b c"
    assert strip_local("a/file:///b") == "a/file:///b"
    assert join_url("s3://b/k/", "x/y") == "s3://b/k/x/y"
    assert join_url("zip://::file:///z.zip", "x") == "zip://x::file:///z.zip"
    assert join_url("zip://in::file:///z.zip", "x") == "zip://in/x::file:///z.zip"


def test_stamps_tell_a_change():
    when = datetime.datetime(2020, 1, 1, tzinfo=datetime.UTC)
    assert make_stamp({"size": 3, "LastModified": when}) == Stamp(3, 1577836800 * 10**9)
    assert make_stamp({"size": 3, "mtime": 1.5}) == Stamp(3, 1_500_000_000)
    assert make_stamp({"size": None}) == Stamp(None, None)
    one = make_stamp({"size": 3, "ETag": '"ab"', "LastModified": when})
    digest = int.from_bytes(hashlib.blake2b(b'"ab"', digest_size=8).digest(), "big") // 2
    assert one == Stamp(3, digest)
    assert one.mtime_ns < 2**63
    assert make_stamp({"size": 3, "ETag": '"ac"', "LastModified": when}) != one


def test_a_folder_of_a_store_has_the_order_of_a_local_one(place, memory):
    found, notes = find(["memory://lib"])
    assert [entry.input.path for entry in found] == [row[0] for row in LIB]
    keys = [entry.input.key for entry in found]
    assert keys == sorted(keys)
    assert notes.skipped == 1
    assert all(entry.stamp.size == memory.info(entry.input.path)["size"] for entry in found)
    draw_gif(place / "local" / "one.gif", RED)
    found, notes = find(["memory://lib/b", "local", "memory://lib", "memory://lib/b/1.gif", "memory://no/x"])
    assert [entry.input.path for entry in found] == [
        *(row[0] for row in LIB[1:4]), "local/one.gif", *(row[0] for row in LIB[:1] + LIB[4:]), "memory://no/x",
    ]  # fmt: skip
    assert notes.repeated == 4
    assert found[-1].input.closed


def test_globs_and_lists(place):
    found, _ = find(["memory://lib/b/[12].gif"])
    assert [entry.input.path.replace("memory:///", "memory://") for entry in found] == [
        "memory://lib/b/1.gif",
        "memory://lib/b/2.gif",
    ]
    assert find(["memory://lib/*.mp4"])[1].notes == ["nothing matches 'memory://lib/*.mp4'"]
    found, _ = find(["-"], io.BytesIO(b"memory://lib/a.gif\nabsent.gif\n"))
    assert [(entry.input.path, entry.stamp) for entry in found] == [
        ("memory://lib/a.gif", Stamp(None, None)),
        ("absent.gif", Stamp(None, None)),
    ]


def test_an_unknown_store_is_one_error(memory):
    with pytest.raises(DataError, match=r"nosuch://x: .*nosuch"):
        find(["nosuch://x"])


def test_a_large_file_is_not_read(place, memory, monkeypatch):
    size = memory.info("/lib/a.gif")["size"]
    assert len(read_url("memory://lib/a.gif", None, size)) == size
    assert len(read_url("memory://lib/a.gif", size, size)) == size
    monkeypatch.setattr(type(memory), "cat_file", lambda *_, **__: pytest.fail("read"))
    for known in (None, size):
        with pytest.raises(LimitExceeded, match=f"{size} bytes, more than the limit of {size - 1}"):
            read_url("memory://lib/a.gif", known, size - 1)
    monkeypatch.undo()
    with pytest.raises(LimitExceeded, match="more bytes than"):  # grown since it was listed
        read_url("memory://lib/a.gif", 1, size - 1)
    with pytest.raises(MediaError, match="no such file"):
        read_url("memory://lib/none.gif", 3, 10)


def test_a_passing_failure_is_tried_again(place, memory, monkeypatch):
    pauses, real = [], type(memory).cat_file
    failures = [ConnectionError("reset"), TimeoutError("slow")]

    def flaky(self, *args, **options):
        if failures:
            raise failures.pop()
        return real(self, *args, **options)

    monkeypatch.setattr(stores.time, "sleep", pauses.append)
    monkeypatch.setattr(type(memory), "cat_file", flaky)
    assert read_url("memory://lib/a.gif", 1, 1000)[:3] == b"GIF"
    assert pauses == [0.5, 1.0]
    failures += [ConnectionError("reset")] * 3
    with pytest.raises(MediaError, match="cannot be opened: reset"):
        read_url("memory://lib/a.gif", 1, 1000)


def test_a_block_reads_near_and_far(place, memory):
    draw_gif(place / "near" / "one.gif", GREEN)
    found, _ = find(["memory://lib/b", "near", "memory://lib/none.gif", "memory://lib/a.gif"])
    work = Work(None, describe([]), Path("out"), str(place))
    recognizer = load("./bundle", threads=1)
    pairs = [(entry.input, entry.stamp) for entry in found]
    entries = read_block(recognizer, pairs, work)
    assert [entry.key for entry in entries] == [entry.input.key for entry in found]
    rows = [(row["path"], row["error"] or row["category"]) for entry in entries for row in entry.rows]
    why = "not a GIF, PNG, WebP, JPEG, BMP, MP4, MOV, WebM, Matroska or AVI file (by its content)"
    assert rows == [
        ("memory://lib/b/1.gif", "misery_arousal"),
        ("memory://lib/b/2.gif", "misery_sleepiness"),
        ("memory://lib/b/bad.gif", why),
        ("near/one.gif", "misery_arousal"),
        ("memory://lib/none.gif", "no such file"),
        ("memory://lib/a.gif", "pleasure_arousal"),
    ]
    recognizer.limits = Limits(file_bytes=20)
    assert "limit of 20" in read_block(recognizer, pairs[:1], work)[0].rows[0]["error"]


def test_a_blocks_name_is_of_what_it_holds(place):
    pairs = tuple((entry.input, entry.stamp) for entry in find(["memory://lib"])[0])
    assert Block(1, pairs).mark == Block(2, pairs).mark == Block(1, pairs[:9]).mark
    assert len({Block(1, pairs[:k]).mark for k in range(8)}) == 8
    changed = (pairs[0][0], Stamp(1, 2))
    assert Block(1, (changed, *pairs[1:])).mark != Block(1, pairs).mark
    assert [len(piece) for piece in Block(1, pairs).cut(3)] == [3, 3, 1]


def test_a_run_from_a_store_to_a_store(place, memory, pool):
    counts = go(["memory://lib"])
    assert (counts.done, counts.failed, counts.kept) == (7, 1, 0)
    assert pool == [[1] * 7]  # few inputs: something for each actor
    assert merged() == LIB
    counts = go(["memory://lib"])
    assert (counts.done, counts.kept, counts.parts) == (7, 7, 0)
    memory.pipe_file("/lib/b/bad.gif", memory.cat_file("/lib/a.gif"))
    memory.rm_file("/lib/b.gif")
    counts = go(["memory://lib"])
    assert (counts.done, counts.kept, counts.gone, counts.failed) == (6, 5, 1, 0)
    rows = [row for row in LIB if row[0] != "memory://lib/b.gif"]
    rows[3] = ("memory://lib/b/bad.gif", "ok", "pleasure_arousal")
    assert merged() == rows
    with pytest.raises(DataError, match="memory://run: begun with abstain = null, here 0"):
        go(["memory://lib"], abstain=0.5)
    # as a data set, as it is: newer rows stand beside older ones
    table = parquet.read_table("/run", filesystem=memory)
    assert {"path", "status", "valence", "input_gone"} <= set(table.column_names)


def test_the_same_block_again_takes_its_own_place(place, memory, pool, monkeypatch):
    real = blocks.write_part
    monkeypatch.setattr(blocks, "write_part", lambda *a, **k: (real(*a, **k), real(*a, **k)))
    go(["memory://lib"])
    names = [path.name for path in StorePath("memory://run").iterdir()]
    assert len(names) == 8  # seven blocks, and the end
    assert merged() == LIB


def test_what_kills_its_actors_is_cut_out(place, memory, pool):
    memory.pipe_file("/lib/b/deadly.gif", memory.cat_file("/lib/a.gif"))
    for k in range(40):
        memory.pipe_file(f"/lib/d/{k:02}.gif", memory.cat_file("/lib/a.gif"))
    counts = go(["memory://lib"], block=10)
    assert pool == [[6] * 8, [1] * 6, [1]]  # cut up, then alone
    assert (counts.done, counts.failed) == (48, 2)
    rows = merged()
    assert len(rows) == len({row[0] for row in rows}) == 48
    assert [row for row in rows if "/d/" not in row[0] and "deadly" not in row[0]] == LIB
    assert [row[1] for row in rows if "deadly" in row[0]] == ["error"]
    assert go(["memory://lib"]).kept == 48
    memory.mv("/lib/b/deadly.gif", "/lib/b/harmless.gif")
    assert go(["memory://lib"]).failed == 1


def test_rounds_bound_what_is_held(place, memory, pool, monkeypatch):
    monkeypatch.setattr(cluster, "BLOCKS_AN_ACTOR", 1)
    go(["memory://lib"], block=2)
    assert pool == [[1] * 4, [1] * 3]
    assert merged() == LIB


def test_a_folder_that_is_not_shared_is_found(place, pool, monkeypatch):
    monkeypatch.setattr(blocks, "write_part", lambda *args, **options: None)
    with pytest.raises(DataError, match="not the same folder on all machines"):
        go(["memory://lib"], out="run")


def test_a_file_system_without_whole_puts_gets_a_rename(place, memory, monkeypatch):
    seen = []
    real = type(memory).mv
    monkeypatch.setattr(stores, "WHOLE_PUTS", frozenset())
    monkeypatch.setattr(
        type(memory), "mv", lambda self, a, b, **k: (seen.append((a, b)), real(self, a, b, **k))
    )
    with StorePath("memory://out/x.bin").replace() as file:
        file.write(b"12")
    assert memory.cat_file("/out/x.bin") == b"12"
    ((before, after),) = seen
    assert before.startswith("/out/.x.bin.")
    assert after == "/out/x.bin"
    with suppress(KeyboardInterrupt), StorePath("memory://out/x.bin").replace() as file:
        file.write(b"34")
        raise KeyboardInterrupt
    assert [path.name for path in StorePath("memory://out").iterdir()] == ["x.bin"]
    assert memory.cat_file("/out/x.bin") == b"12"
