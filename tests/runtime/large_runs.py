"""What large runs of the tests have in common."""

import pyarrow.parquet as parquet
import pytest

from moodreel.runtime import parts
from moodreel.runtime.batch import Inputs, list_roots, stream_inputs
from moodreel.runtime.large import open_run
from moodreel.runtime.parts import (
    RunSettings,
    merge_runs,
)
from moodreel.types import Result

SETTINGS = RunSettings("face", "tiny", "0.0.1", "ab" * 32, paths=("lib",))


@pytest.fixture(name="lib")
def lib_fixture(tmp_path, monkeypatch):
    """Files whose content is their score; the words "no" fail."""
    monkeypatch.chdir(tmp_path)
    for name in ["a.gif", "b/1.gif", "b/2.gif", "b.gif", "b-.gif", "c/x/y.gif", "d.gif"]:
        (tmp_path / "lib" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "lib" / name).write_text(name)
    return tmp_path / "lib"


def guess(path, faces=1):
    """What stands for the network: as many results as faces."""
    try:
        text = parts.Path(path).read_text()
    except OSError:
        return [Result(path, "tiny", "0.0.1", error="no such file")]
    if text == "no":
        return [Result(path, "tiny", "0.0.1", error="no picture")]
    return [
        Result(path, "tiny", "0.0.1", width=len(text), height=k, frames=1, duration=0.0, category="fear")
        for k in range(faces)
    ]


def go(out="run", settings=SETTINGS, resume=True, retry_failed=False, stop_after=None, faces=1):
    """One pass. Returns the paths that were read, and the counts."""
    read = []

    def results(paths):
        for path in paths:
            if len(read) == stop_after:
                raise KeyboardInterrupt
            read.append(path)
            yield from guess(path, faces)

    roots = list_roots(settings.paths, None, Inputs())
    with open_run(parts.Path(out), settings, resume) as run:
        try:
            for _ in run.record(results(run.choose(stream_inputs(roots, Inputs()), retry_failed))):
                pass
        except KeyboardInterrupt:
            assert stop_after is not None
    return read, run.counts


def merged(*folders, partial=False):
    """(path, status, width, height) of each row of the merged table."""
    out = parts.Path("merged.parquet")
    told = merge_runs([parts.Path(folder) for folder in folders or ["run"]], out, partial)
    rows = parquet.read_table(out).to_pylist()
    assert told.rows == len(rows)
    return [(row["path"], row["status"], row["width"], row["height"]) for row in rows]


def fresh():
    """What :func:`merged` must be, from the files that are there now."""
    found = stream_inputs(list_roots(["lib"], None, Inputs()), Inputs())
    results = [result for entry in found for result in guess(entry.path)]
    return [(r.source, "ok" if r.ok else "error", r.width, r.height) for r in results]
