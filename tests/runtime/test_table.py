"""The result table: exact columns, three formats that agree, files that appear whole or not at all."""

import csv
import json
import os
import stat

import numpy as np
import pyarrow.parquet as parquet
import pytest

from moodreel.emotions import EKMAN_7, GIFGIF_17, QUADRANTS
from moodreel.errors import SettingsError
from moodreel.runtime import table
from moodreel.runtime.files import replace_file
from moodreel.runtime.table import list_columns, make_row, open_table
from moodreel.types import Result

FACTS = [
    "path", "status", "error", "model", "model_version", "width", "height", "frames", "duration_s",
    "category", "confidence", "valence", "arousal", "faces", "attention_x", "attention_y",
]  # fmt: skip


def make_result(**changes):
    attention = np.zeros((2, 4, 8), np.float32)
    attention[:, 1, 6] = 1
    fields = {
        "source": 'a, "b"\n.gif',
        "model": "tiny",
        "model_version": "0.0.1",
        "width": 640,
        "height": 360,
        "frames": 12,
        "duration": 0.1 + 0.2,
        "category": "pleasure_arousal",
        "confidence": float(np.float32(0.7)),
        "emotions": {name: None if name == "guilt" else -k / 17 for k, name in enumerate(GIFGIF_17)},
        "probabilities": dict(zip(QUADRANTS, [float(np.float32(0.7)), 0.3, 1e-9, None], strict=True)),
        "valence": -0.12345678,
        "arousal": 1 / 3,
        "attention": attention,
        "attention_times": np.array([0.1, 0.2]),
        "per_frame": {
            "time_s": np.array([0.1, 0.2]),
            "fear": np.array([1 / 3, -1.0]),
            "p_misery_arousal": np.ones(2),
        },
    }
    return Result(**{**fields, **changes})


FAILURE = Result("börk.gif", "tiny", "0.0.1", error="no such file")


def write(path, results, system="kavan", per_frame=False):
    columns = list_columns(system, per_frame)
    with open_table(path, columns, {"moodreel.model": "tiny"}) as writer:
        for result in results:
            writer.write(make_row(result, columns))


def read(path, columns):
    """Reads a table with a library that is not ours into rows of Python values."""
    if path.suffix == ".parquet":
        return parquet.read_table(path).to_pylist()
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    parse = {"text": str, "integer": int, "number": float, "numbers": json.loads}
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [
        {c.name: parse[c.kind](row[c.name]) if row[c.name] != "" else None for c in columns} for row in rows
    ]


def test_columns_of_kavan():
    names = [column.name for column in list_columns("kavan")]
    assert names == [
        *FACTS,
        "amusement", "anger", "contempt", "contentment", "disgust", "embarrassment", "excitement", "fear",
        "guilt", "happiness", "pleasure", "pride", "relief", "sadness", "satisfaction", "shame", "surprise",
        "p_pleasure_arousal", "p_misery_arousal", "p_misery_sleepiness", "p_pleasure_sleepiness",
    ]  # fmt: skip


def test_columns_of_face():
    names = [column.name for column in list_columns("face")]
    assert names[len(FACTS) :] == [
        "p_anger", "p_disgust", "p_fear", "p_happiness", "p_neutral", "p_sadness", "p_surprise",
    ]  # fmt: skip


def test_columns_per_frame():
    names = [column.name for column in list_columns("face", per_frame=True)]
    assert names[len(FACTS) + 7 :] == ["frame_times", *(f"frame_p_{name}" for name in EKMAN_7)]


def test_a_row():
    row = make_row(make_result(), list_columns("kavan", per_frame=True))
    assert row["path"] == 'a, "b"\n.gif'
    assert (row["status"], row["error"]) == ("ok", None)
    assert (row["duration_s"], row["confidence"], row["valence"], row["arousal"]) == (
        0.3,
        0.7,
        -0.123457,
        0.333333,
    )
    assert (row["attention_x"], row["attention_y"]) == (6.5 / 8, 1.5 / 4)
    assert (row["guilt"], row["faces"], row["p_pleasure_sleepiness"]) == (None, None, None)
    assert str(row["amusement"]) == "0.0"  # not -0.0
    assert row["p_misery_sleepiness"] == 0.0
    assert row["frame_times"] == [0.1, 0.2]
    assert row["frame_fear"] == [0.333333, -1.0]
    assert row["frame_guilt"] is None


def test_a_failure_has_no_scores():
    row = make_row(FAILURE, list_columns("kavan", per_frame=True))
    assert {name: value for name, value in row.items() if value is not None} == {
        "path": "börk.gif",
        "status": "error",
        "error": "no such file",
        "model": "tiny",
        "model_version": "0.0.1",
    }


@pytest.mark.parametrize("per_frame", [False, True])
def test_the_three_formats_agree(tmp_path, per_frame):
    columns = list_columns("kavan", per_frame)
    results = [make_result(), FAILURE, make_result(source="🙂.gif", faces=0)]
    expected = [make_row(result, columns) for result in results]
    for suffix in table.SUFFIXES:
        path = tmp_path / f"moods{suffix}"
        write(path, results, per_frame=per_frame)
        rows = read(path, columns)
        assert rows == expected, suffix
        assert [list(row) for row in rows] == [[c.name for c in columns]] * 3


def test_parquet_types_and_schema_version(tmp_path):
    path = tmp_path / "moods.parquet"
    write(path, [FAILURE], per_frame=True)  # all null: the types do not come from the values
    schema = parquet.read_schema(path)
    assert schema.metadata[b"moodreel.schema"] == str(table.SCHEMA_VERSION).encode()
    assert schema.metadata[b"moodreel.model"] == b"tiny"
    assert str(schema.field("frames").type) == "int64"
    assert str(schema.field("fear").type) == "double"
    assert str(schema.field("category").type) == "string"
    assert str(schema.field("frame_fear").type.value_type) == "double"


def test_parquet_is_written_in_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr(table, "ROWS_PER_GROUP", 4)
    path = tmp_path / "moods.parquet"
    write(path, [FAILURE] * 10)
    facts = parquet.ParquetFile(path).metadata
    assert [facts.row_group(k).num_rows for k in range(facts.num_row_groups)] == [4, 4, 2]


@pytest.mark.parametrize("suffix", table.SUFFIXES)
def test_file_names_of_any_bytes(tmp_path, suffix):
    path = tmp_path / f"moods{suffix}"
    write(path, [Result(os.fsdecode(b"caf\xe9.gif"), "tiny", "1", error="x")])
    assert read(path, list_columns("kavan"))[0]["path"] == "caf\\xe9.gif"


@pytest.mark.parametrize("suffix", table.SUFFIXES)
def test_no_rows_is_a_table_still(tmp_path, suffix):
    path = tmp_path / f"moods{suffix}"
    write(path, [])
    assert read(path, list_columns("kavan")) == []


@pytest.mark.parametrize("suffix", table.SUFFIXES)
@pytest.mark.parametrize("fault", [RuntimeError, KeyboardInterrupt])
def test_a_fault_midway_leaves_the_old_file(tmp_path, suffix, fault, recwarn):
    path = tmp_path / f"moods{suffix}"
    path.write_bytes(b"old")
    columns = list_columns("kavan")

    def break_off():
        with open_table(path, columns) as writer:
            writer.write(make_row(FAILURE, columns))
            raise fault

    with pytest.raises(fault):
        break_off()
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert not recwarn.list


@pytest.mark.parametrize("suffix", table.SUFFIXES)
def test_a_writer_that_fails_leaves_nothing(tmp_path, suffix):
    path = tmp_path / f"moods{suffix}"
    columns = list_columns("kavan")

    class Unwritable:
        def __str__(self):
            raise OSError(28, "No space left on device")

    with pytest.raises(Exception), open_table(path, columns) as writer:  # noqa: B017, PT011
        writer.write({**make_row(FAILURE, columns), "path": Unwritable()})
    assert list(tmp_path.iterdir()) == []


def test_the_file_is_not_there_before_the_end(tmp_path):
    path = tmp_path / "moods.csv"
    columns = list_columns("kavan")
    with open_table(path, columns) as writer:
        writer.write(make_row(FAILURE, columns))
        assert not path.exists()
    assert path.exists()


def test_a_new_file_has_the_usual_mode(tmp_path):
    before = os.umask(0o027)
    try:
        with replace_file(tmp_path / "a") as file:
            file.write(b"new")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_link_is_followed(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "moods.csv")
    with replace_file(tmp_path / "link.csv") as file:
        file.write(b"new")
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "real" / "moods.csv").read_bytes() == b"new"


def test_bad_places(tmp_path):
    with (
        pytest.raises(SettingsError, match=r"ends in \.parquet, \.jsonl, \.csv"),
        open_table(tmp_path / "a.xlsx", ()),
    ):
        pass
    with pytest.raises(FileNotFoundError), open_table(tmp_path / "no" / "a.csv", ()):
        pass
