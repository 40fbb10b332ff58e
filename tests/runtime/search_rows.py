"""Rows and tables that searches are tried on."""

import random

import pytest

from moodreel.emotions import QUADRANTS
from moodreel.runtime.batch import Key
from moodreel.runtime.parts import Entry, RunSettings, Stamp, write_part
from moodreel.runtime.search import open_table
from moodreel.runtime.table import list_columns
from moodreel.runtime.table import open_table as open_writer

FORMATS = (".parquet", ".jsonl", ".csv")
COUNT = 60
SCORED = ("anger", "fear", "happiness", "sadness")


def make_row(number, system="kavan", **values):
    """A row of the table of a system, null but for what every row has."""
    row = {column.name: None for column in list_columns(system, per_frame=True)}
    row |= {"path": f"lib/{number:03}.gif", "status": "ok", "model": "tiny", "model_version": "1"}
    return row | values


def make_rows(count=COUNT, seed=3):
    """Rows of kavan: four emotions scored, the others never; every tenth row an error; ties."""
    rng = random.Random(seed)
    rows = []
    for number in range(count):
        if number % 10 == 7:
            rows.append(make_row(number, status="error", error='no picture, "really"\nnone'))
            continue
        scores = {name: round(rng.uniform(-1, 1), 1) for name in SCORED}
        place = {"valence": round(rng.uniform(-1, 1), 3), "arousal": round(rng.uniform(-1, 1), 3)}
        category = rng.choice([*QUADRANTS, None])
        shares = {f"p_{name}": 0.25 for name in QUADRANTS}
        facts = {"width": 10 * number, "height": 7, "frames": 3, "duration_s": 0.25, "confidence": 0.5}
        per_frame = {"frame_times": [0.5, 1.5], "frame_anger": [0.1, 0.2]}
        rows.append(make_row(number, category=category, **facts, **place, **scores, **shares, **per_frame))
    return rows


ROWS = make_rows()


def write_table(path, rows=ROWS, system="kavan", per_frame=False, metadata=None):
    columns = list_columns(system, per_frame)
    with open_writer(path, columns, metadata) as writer:
        for row in rows:
            writer.write({column.name: row[column.name] for column in columns})
    return path


@pytest.fixture(name="table", scope="module")
def table_fixture(tmp_path_factory):
    with open_table(write_table(tmp_path_factory.mktemp("search") / "t.parquet")) as opened:
        yield opened


def numbers(page):
    return [hit.row for hit in page.rows]


SETTINGS = RunSettings("kavan", "tiny", "1", "0" * 64, per_frame=True, paths=("lib",))


def make_entry(position, inside, *rows, root=""):
    names = [column.name for column in SETTINGS.columns()]
    made = [{name: row.get(name) for name in names} for row in rows]
    return Entry(Key(position, root, inside), Stamp(10, 20), made)


def write_run(folder, settings=SETTINGS):
    """A run of three passes: rows changed, gone, come back, and a clip of several rows."""
    folder.mkdir(parents=True)
    first = [make_entry(0, f"{n:02}.gif", make_row(n, anger=0.1)) for n in range(6)]
    write_part(folder, 1, first, settings, False)
    several = make_entry(0, "03.gif", make_row(3, anger=0.2), make_row(3, anger=0.3), make_row(3, anger=0.25))
    second = [
        make_entry(0, "01.gif"),
        make_entry(0, "02.gif", make_row(2, anger=0.9)),
        several,
        make_entry(0, "05.gif"),
    ]
    write_part(folder, 2, second, settings, True)
    inside = make_entry(0, "00\0a.gif", make_row(77, anger=-1.0))
    again = make_entry(0, "05.gif", make_row(5, anger=0.5))
    third = [inside, again, make_entry(1, "", make_row(88), root="x")]
    write_part(folder, 3, third, settings, True)
