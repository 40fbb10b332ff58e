"""``predict --cluster`` on the command line, with actors that are none: Ray itself is in tests/runtime."""

import sys
from contextlib import nullcontext

import pytest

from cli_runs import bundles_fixture, names_in, place_fixture, run_fixture  # noqa: F401 (fixtures)
from moodreel.runtime import cluster


@pytest.fixture
def pool(monkeypatch):
    """Reads blocks in this process, and notes what was asked for."""
    pytest.importorskip("fsspec", reason='the "cluster" extra is not installed')
    asked = []

    def read(blocks, work, actors):
        reader = cluster.BlockReader(work)
        for block in blocks:
            print("what Ray says")
            told = reader({"block": [block.to_json()]})
            yield {name: values[0] for name, values in told.items()}

    def open_none(settings):
        asked.append((settings.address, settings.actors))
        return nullcontext(3)

    monkeypatch.setattr(cluster, "open_cluster", open_none)
    monkeypatch.setattr(cluster, "_run_blocks", read)
    return asked


def test_a_run_on_a_cluster_is_a_run(run, place, pool):
    (place / "gifs" / "bad.gif").write_text("no picture")
    (place / "gifs" / "notes.txt").touch()
    run("predict", "gifs", "--cluster", "local", "--out", "moods", "--workers", "2")
    assert (run.code, run.out) == (1, "")
    assert pool == [("local", 2)]
    lines = [line for line in run.err.splitlines() if line != "what Ray says"]
    assert lines == [
        "moodreel: 1 files in folders skipped: no known media suffix",
        f"moodreel: 4 inputs, 4 read, 0 unchanged, 1 failed: {place}/moods "
        "(moodreel merge makes one table of it)",
    ]
    for out in ("merged", "fresh"):
        run(*(["merge", "moods"] if out == "merged" else ["predict", "gifs"]), "--out", f"{out}.csv")
    assert (place / "merged.csv").read_bytes() == (place / "fresh.csv").read_bytes()
    # the same folder, on one machine: the same run
    (place / "gifs" / "bad.gif").unlink()
    run("predict", "gifs", "--out", "moods", "--resume")
    assert run.code == 0
    assert "3 inputs, 0 read, 3 unchanged, 1 gone: moods" in run.err
    run("predict", "gifs", "--cluster", "local", "--out", "moods")
    assert run.code == 2
    assert "moods: has a run already: --resume goes on with it" in run.err


def test_out_may_be_a_store(run, place, pool):
    import fsspec

    run("predict", "gifs/red.gif", "--cluster", "auto", "--out", "memory://moods/")
    assert run.code == 0
    assert "1 inputs, 1 read, 0 unchanged: memory://moods/" in run.err
    assert names_in(place) == ["gifs"]
    run("merge", "memory://moods", "--out", "m.jsonl")
    assert run.err == "moodreel: 1 rows: m.jsonl (schema 1)\n"
    fsspec.filesystem("memory").rm("/moods", recursive=True)
    run("merge", "memory://moods", "--out", "m.jsonl")
    assert (run.code, run.err) == (2, "moodreel: memory://moods: no such folder\n")


@pytest.mark.parametrize(
    ("args", "said"),
    [
        ([], "--cluster: needs --out DIR, a folder or URL for the parts of a table"),
        (["--out", "m.csv"], "--out m.csv: with --cluster, a folder: one that is there, or a name without"),
        (["--out", "s3://b/m.parquet"], "--out s3://b/m.parquet: expected a folder: a name without a dot"),
        (["--out", "moods", "--json"], "--json: not with --out DIR"),
        (["--out", "nosuch://moods"], "nosuch://moods: "),
        (["--out", "moods", "--cluster", ""], "cluster = '': expected 'local' or the address"),
        (["--out", "moods", "--detector", "auto"], "--detector auto: "),
        (["nosuch://gifs", "--out", "moods"], "nosuch://gifs: "),
    ],
)
def test_wrong_commands(run, place, pool, args, said):
    run("predict", "gifs", "--cluster", "local", *args)
    assert (run.code, run.out) == (2, "")
    assert run.err.startswith(f"moodreel: {said}")
    assert run.err.count("\n") == 1
    assert names_in(place) == ["gifs"]


def test_no_media_at_all(run, place, pool):
    (place / "empty").mkdir()
    run("predict", "empty", "--cluster", "local", "--out", "moods")
    assert run.code == 2
    assert run.err.startswith("moodreel: no media in 'empty'")
    assert pool == []
    assert names_in(place) == ["empty", "gifs"]


def test_a_missing_extra_is_told(run, place, monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    run("predict", "gifs", "--cluster", "local", "--out", "moods")
    assert run.code == 2
    assert run.err.splitlines()[0] == (
        'moodreel: --cluster local needs the "cluster" extra: pip install "moodreel[cluster]"'
    )
    monkeypatch.setitem(sys.modules, "fsspec.core", None)
    run("predict", "s3://bucket/gifs", "--cluster", "local", "--out", "moods")
    assert run.code == 2
    assert (
        run.err
        == 'moodreel: reading s3://bucket/gifs needs the "cluster" extra: pip install "moodreel[cluster]"\n'
    )
