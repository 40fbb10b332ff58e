"""Runs over large folders: what is read, what is kept, and what a table of it holds. No network runs here."""

import os
from dataclasses import replace

import pyarrow.parquet as parquet
import pytest

from moodreel.errors import DataError
from moodreel.runtime import large, parts, table
from moodreel.runtime.batch import Inputs, list_roots, stream_inputs
from moodreel.runtime.large import open_run, take_stamp
from moodreel.runtime.parts import (
    RunSettings,
    Stamp,
    list_parts,
)
from runtime import large_runs
from runtime.large_runs import SETTINGS, fresh, go, guess, lib_fixture, merged  # noqa: F401 (fixtures)


def test_a_pass_and_the_next(lib):
    read, counts = go()
    assert read == [
        "lib/a.gif", "lib/b/1.gif", "lib/b/2.gif", "lib/b-.gif", "lib/b.gif", "lib/c/x/y.gif", "lib/d.gif",
    ]  # fmt: skip
    assert (counts.met, counts.done, counts.kept, counts.parts) == (7, 7, 0, 1)
    assert merged() == fresh()
    assert [row[0] for row in merged()] == read
    read, counts = go()
    assert (read, counts.done, counts.kept, counts.parts) == ([], 7, 7, 0)
    assert len(list_parts(parts.Path("run"))) == 1


def test_what_changed_is_read_again(lib):
    go()
    (lib / "b" / "2.gif").write_text("longer than before")
    os.utime(lib / "d.gif", ns=(5, 5))  # same size
    (lib / "0.gif").write_text("new")
    (lib / "zz.gif").write_text("new")
    read, counts = go()
    assert read == ["lib/0.gif", "lib/b/2.gif", "lib/d.gif", "lib/zz.gif"]
    assert counts.kept == 5
    assert merged() == fresh()
    assert go()[0] == []


def test_the_stamp_is_that_before_reading(lib, monkeypatch):
    real = guess

    def change_meanwhile(path, faces=1):
        results = real(path, faces)
        if path == "lib/b.gif":
            (lib / "b.gif").write_text("written while it was read")
        return results

    monkeypatch.setattr(large_runs, "guess", change_meanwhile)
    go()
    monkeypatch.setattr(large_runs, "guess", real)
    assert go()[0] == ["lib/b.gif"]
    assert merged() == fresh()


def test_failed_rows_are_read_again_when_asked_or_changed(lib):
    (lib / "a.gif").write_text("no")
    (lib / "d.gif").write_text("no")
    assert go()[1].failed == 2
    read, counts = go()
    assert (read, counts.failed, counts.failed_before) == ([], 2, 2)
    (lib / "a.gif").write_text("yes, now")
    read, counts = go()
    assert (read, counts.failed) == (["lib/a.gif"], 1)
    read, counts = go(retry_failed=True)
    assert (read, counts.failed, counts.failed_before) == (["lib/d.gif"], 1, 0)
    assert merged() == fresh()


def test_what_is_gone_has_no_row_and_comes_back(lib):
    go()
    (lib / "a.gif").unlink()
    (lib / "b" / "1.gif").unlink()
    (lib / "d.gif").unlink()
    read, counts = go()
    assert (read, counts.gone) == ([], 3)
    assert merged() == fresh()
    read, counts = go()
    assert (counts.gone, counts.parts) == (0, 0)
    (lib / "a.gif").write_text("a.gif")
    assert go()[0] == ["lib/a.gif"]
    assert merged() == fresh()


def test_a_folder_that_cannot_be_listed_keeps_its_rows(lib, monkeypatch):
    go()
    real = os.scandir

    def refuse(folder):
        if folder == "lib/b":
            raise PermissionError(13, "Permission denied", folder)
        return real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(os, "scandir", refuse)
        read, counts = go()
    assert (read, counts.gone) == (["lib/b"], 0)
    assert go()[0] == []
    assert merged() == fresh()


def test_a_disk_that_is_missing_costs_no_rows(lib, monkeypatch):
    monkeypatch.setattr(large, "PART_ROWS", 2)
    go()
    lib.rename("away")
    read, counts = go()
    assert (read, counts.failed, counts.gone) == (["lib"], 1, 0)
    lib.mkdir()  # a mount point without its disk
    counts = go()[1]
    assert (counts.met, counts.gone, counts.parts) == (0, 0, 0)
    lib.rmdir()
    parts.Path("away").rename(lib)
    read, counts = go()
    assert (read, counts.gone) == ([], 1)  # the folder's own row
    assert merged() == fresh()


@pytest.mark.parametrize("stop_after", range(8))
@pytest.mark.parametrize("rows", [1, 2, 100])
def test_interrupted_anywhere(lib, monkeypatch, stop_after, rows):
    monkeypatch.setattr(large, "PART_ROWS", rows)
    first, counts = go(stop_after=stop_after)
    assert len(first) == min(stop_after, 7)
    assert counts.done >= len(first) - 1  # of the last it was not known that no further row follows
    if stop_after < 7 and counts.parts:
        with pytest.raises(DataError, match="not finished"):
            merged()
        assert len(merged(partial=True)) == counts.done
    second, counts = go()
    assert len(first) + len(second) in (7, 8)
    assert counts.done == 7
    assert merged() == fresh()
    assert go()[0] == []


def test_a_part_is_written_when_its_first_row_is_old(lib):
    now = [0.0]
    with open_run(parts.Path("run"), SETTINGS, False) as run:
        run._clock = lambda: now[0]
        roots = list_roots(["lib"], None, Inputs())
        results = (r for path in run.choose(stream_inputs(roots, Inputs())) for r in guess(path))
        for _ in run.record(results):
            now[0] += 20
    assert [file.num_rows for file in open_files("run")] == [3, 3, 1]


def open_files(folder):
    return [parquet.ParquetFile(part.path).metadata for part in list_parts(parts.Path(folder))]


def test_rows_of_one_input_stay_together(lib, monkeypatch):
    monkeypatch.setattr(large, "PART_ROWS", 4)
    go(faces=3, stop_after=5)
    assert all(file.num_rows % 3 == 0 for file in open_files("run"))
    (lib / "a.gif").write_text("one face now, and longer")
    go(faces=1)
    rows = merged()
    assert [row[0] for row in rows].count("lib/a.gif") == 1
    assert [row[0] for row in rows].count("lib/b/1.gif") == 3
    assert [row[3] for row in rows if row[0] == "lib/b/1.gif"] == [0, 1, 2]


def test_shards_share_nothing_and_leave_nothing_out(lib):
    for k in range(40):
        (lib / f"{k}.gif").write_text("x" * k)
    read = [set(go("run", replace(SETTINGS, shard=i, shards=3))[0]) for i in (1, 2, 3)]
    assert sum(map(len, read)) == 47
    assert len(set.union(*read)) == 47
    assert min(map(len, read)) > 5
    assert merged() == fresh()
    assert merged("run/shard-3-of-3", "run/shard-1-of-3", "run/shard-2-of-3") == fresh()
    (lib / "7.gif").unlink()
    (lib / "8.gif").write_text("changed")
    assert sum(go("run", replace(SETTINGS, shard=i, shards=3))[1].gone for i in (1, 2, 3)) == 1
    assert merged() == fresh()


def test_a_shard_does_not_depend_on_where_the_folder_is(lib):
    (lib / "deep").mkdir()
    lib.joinpath("a.gif").rename(lib / "deep" / "a.gif")
    by_root = [
        {e.relative for e in stream_inputs(list_roots([root], None, Inputs()), Inputs())}
        for root in ["lib", "./lib/", str(lib)]
    ]
    assert by_root[0] == by_root[1] == by_root[2]
    assert "deep/a.gif" in by_root[0]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model": "other"}, 'begun with model = "tiny", here "other"'),
        ({"model_version": "2"}, 'begun with model_version = "0.0.1", here "2"'),
        ({"bundle": "00"}, "begun with bundle = "),
        ({"per_frame": True}, "begun with per_frame = false, here true"),
        ({"abstain": 0.5}, "begun with abstain = null, here 0.5"),
        ({"every_face": True}, "begun with every_face"),
        ({"detector": "dlib"}, "begun with detector"),
        ({"paths": ("lib", "more")}, 'begun with paths = ["lib"], here ["lib", "more"]'),
        ({"list_sha256": "00"}, "begun with list_sha256"),
        ({"shards": 2}, "begun with shards = 1, here 2"),
    ],
)
def test_other_settings_are_refused_by_name(lib, changes, said):
    go()
    with pytest.raises(DataError) as caught:
        go(settings=replace(SETTINGS, **changes))
    assert said in str(caught.value)
    assert merged() == fresh()


def test_every_setting_is_compared():
    other = RunSettings("kavan", "b", "c", "d", True, 0.1, True, "e", ("f",), "g", 2, 3)
    ours = RunSettings("face", "tiny", "0.0.1", "ab" * 32)
    for name in vars(ours):
        changed = replace(ours, **{name: getattr(other, name)})
        assert f"{name} = " in ours.find_difference(changed)
        assert ours.find_difference(changed, ignore=[name]) is None


def test_a_run_is_not_begun_twice(lib):
    go(resume=False)
    with pytest.raises(DataError, match="has a run already: --resume goes on with it"):
        go(resume=False)


def test_shards_of_other_numbers_are_refused(lib):
    go(settings=replace(SETTINGS, shard=1, shards=2))
    for shards in (1, 3):
        with pytest.raises(DataError, match="begun with shards = 2"):
            go(settings=replace(SETTINGS, shards=shards))


def test_only_one_process_at_a_time(lib):
    with open_run(parts.Path("run"), SETTINGS, True), pytest.raises(DataError, match="another process"):
        go()
    go()


def test_an_older_schema_is_refused(lib, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(parts, "SCHEMA_VERSION", 0)
        patch.setattr(table, "SCHEMA_VERSION", 0)
        go()
    for act in (go, merged):
        with pytest.raises(DataError, match=r"part-00000001-.*: schema 0, this version of moodreel writes 1"):
            act()


def test_a_broken_part_is_named_and_can_be_deleted(lib, monkeypatch):
    monkeypatch.setattr(large, "PART_ROWS", 2)
    go()
    broken = sorted(parts.Path("run").iterdir())[1]
    broken.write_bytes(broken.read_bytes()[:-20])
    for act in (go, merged):
        with pytest.raises(DataError, match=rf"{broken.name}: cannot be read .*delete it"):
            act()
    broken.unlink()
    assert len(go()[0]) == 2
    assert merged() == fresh()


def test_a_part_that_is_another_parquet_file(lib):
    go()
    with table.open_table(parts.Path("run/part-00000002-00000000.parquet"), SETTINGS.columns()):
        pass
    with pytest.raises(DataError, match="no part of a run that this version wrote"):
        go()


def test_what_is_left_of_a_kill_is_swept_up(lib):
    go()
    left = parts.Path("run/.part-00000002-aaaaaaaa.parquet.01234567.tmp")
    left.write_bytes(b"half")
    parts.Path("run/notes.txt").write_text("mine")
    go()
    assert not left.exists()
    assert parts.Path("run/notes.txt").exists()


def test_nothing_is_left_where_nothing_was_found(lib):
    for name in list(lib.rglob("*.gif")):
        name.unlink()
    assert go()[1].met == 0
    assert not parts.Path("run").exists()


def test_a_full_disk_is_raised(lib, monkeypatch):
    def refuse(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(large, "write_part", refuse)
    with pytest.raises(OSError, match="No space left"):
        go()


def test_keys_sort_as_the_walk_does(lib):
    (lib / "b+").mkdir()
    (lib / "b+" / "z.gif").touch()
    (lib / "\U0001f642.gif").touch()
    (lib / "\uffee.gif").touch()
    os.close(os.open(os.fsencode(lib) + b"/caf\xe9.gif", os.O_CREAT | os.O_WRONLY))
    keys = [entry.key for entry in stream_inputs(list_roots(["lib", "lib/b", "d"], None, Inputs()), Inputs())]
    assert keys == sorted(set(keys))
    assert len(keys) == 12
    go()
    assert merged() == [(path.replace("\udce9", "\\xe9"), *rest) for path, *rest in fresh()]
    assert go()[0] == []


def test_lists_and_globs_have_keys_in_their_order(lib):
    import io

    counts = Inputs()
    roots = list_roots(["lib/b*", "-"], io.BytesIO(b"lib/d.gif\nlib/c\nlib/a.gif\n"), counts)
    found = list(stream_inputs(roots, counts))
    assert [entry.path for entry in found] == [
        "lib/b/1.gif", "lib/b/2.gif", "lib/b-.gif", "lib/b.gif", "lib/d.gif", "lib/c/x/y.gif", "lib/a.gif",
    ]  # fmt: skip
    assert [entry.key for entry in found] == sorted(entry.key for entry in found)


def test_stamps(lib):
    assert take_stamp("lib/a.gif") == Stamp(5, (lib / "a.gif").stat().st_mtime_ns)
    assert take_stamp("lib") == take_stamp("lib/none") == take_stamp("a\0b") == Stamp(None, None)


def test_merge_refuses_what_does_not_belong_together(lib):
    halves = [replace(SETTINGS, shard=i, shards=2) for i in (1, 2)]
    go("run", halves[0])
    with pytest.raises(DataError, match="shard 2/2 is missing"):
        merged()
    assert 0 < len(merged(partial=True)) < 7
    go("other", replace(halves[1], abstain=0.5))
    with pytest.raises(DataError, match=r"of another run than .*: abstain = 0.5, here null"):
        merged("run", "other")
    go("again", halves[0])
    with pytest.raises(DataError, match="shard 1/2 again"):
        merged("run", "again")
    with pytest.raises(DataError, match="no parts of a run"):
        merged("lib")
    with pytest.raises(DataError, match="no such folder"):
        merged("nowhere")
    (lib / "a.gif").touch()
    go("second", halves[1])
    assert merged("second", "run") == fresh()
