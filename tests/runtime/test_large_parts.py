"""Parts and shards of large runs, each alone."""

import hashlib
from dataclasses import replace

import pytest

from moodreel.errors import SettingsError
from moodreel.runtime import parts
from moodreel.runtime.batch import Key
from moodreel.runtime.large import find_shard, parse_shard
from moodreel.runtime.parts import (
    Entry,
    Stamp,
    list_parts,
    read_entries,
    write_part,
)
from runtime.large_runs import SETTINGS


def test_the_hash_of_a_shard_is_blake2b():
    """Worked out beside: another version of this package must put an input into the same shard."""
    for name in ["a.gif", "sub/b.gif", "caf\udce9.gif"]:
        digest = hashlib.blake2b(name.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
        assert find_shard(name, 7) == int(digest, 16) % 7 + 1
    assert [find_shard(name, 4) for name in ["a.gif", "sub/b.gif", "c.gif"]] == [1, 4, 3]


@pytest.mark.parametrize("text", ["0/4", "5/4", "1", "a/b", "1/0", "-1/4", "1/4/2", " 1/4"])
def test_a_wrong_shard(text):
    with pytest.raises(SettingsError, match="shard"):
        parse_shard(text)


def test_shard():
    assert parse_shard("2/4") == (2, 4)


def test_the_newest_entry_holds_and_order_is_kept(tmp_path):
    """Against a dictionary, over passes that overlap in every way."""
    import random

    random.seed(3)
    settings = replace(SETTINGS)
    truth = {}
    keys = [Key(p, r, i) for p in range(3) for r in ("", "r") for i in ("", "a", "a\0b", "a.gif", "b", "é")]
    for number in range(1, 15):
        chosen = sorted(random.sample(keys, random.randint(0, 12)))
        entries = []
        for key in chosen:
            rows = []
            if random.random() < 0.8:
                row = dict.fromkeys(c.name for c in settings.columns())
                rows = [{**row, "path": str(number), "status": "ok"}] * random.randint(1, 3)
            entries.append(Entry(key, Stamp(number, number), rows))
            truth[key] = (number, len(rows))
        write_part(tmp_path, number, entries, settings, False)
    found = list(read_entries(list_parts(tmp_path)))
    assert [entry.key for entry in found] == sorted(truth)
    assert {e.key: (e.stamp.size, len(e.rows)) for e in found} == truth
    assert all(row["path"] == str(e.stamp.size) for e in found for row in e.rows)


def test_parts_that_follow_one_another_are_read_one_at_a_time(tmp_path, monkeypatch):
    row = {**dict.fromkeys(c.name for c in SETTINGS.columns()), "status": "ok"}
    for number in range(1, 7):
        entries = [Entry(Key(0, "", f"{number}{k}"), Stamp(1, 1), [row]) for k in range(5)]
        write_part(tmp_path, number, entries, SETTINGS, False)
    opened = []
    real = parts._read_part

    def watch(part, columns):
        opened.append(part.number)
        yield from real(part, columns)
        opened.append(-part.number)

    monkeypatch.setattr(parts, "_read_part", watch)
    assert len(list(read_entries(list_parts(tmp_path)))) == 30
    assert opened == [x for n in range(1, 7) for x in (n, -n)]
