"""Pages whose commands are run as they stand: what a newcomer types works.

A fence after the line ``<!-- run -->`` is run by bash, in a folder that has what the page speaks of.
"""

import math
import re
import shutil

import pyarrow.parquet as pq
import pytest

from shell import ROOT, run_lines

RUN = re.compile(r"^<!-- run -->\n```\n(.*?)^```", re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def toons(tmp_path_factory):
    """Clips of the six emotions that Ekman has, by emotion, drawn small in number."""
    from moodreel.lab.data.manifest import read_manifest

    folder = tmp_path_factory.mktemp("toons")
    run_lines("moodreel synth toon --clips 90 --seed 5", folder)
    by_emotion = {}
    for row in read_manifest(folder / "toon" / "manifest.csv").rows:
        if row.scores:
            by_emotion.setdefault(max(row.scores, key=row.scores.get), []).append(row.clip)
    return by_emotion


def list_commands(page):
    found = RUN.findall((ROOT / "docs" / page).read_text("utf-8"))
    assert found, f"{page} has nothing to run"
    return found


def test_own_labels(toons, tmp_path):
    shutil.copytree(ROOT / "recipes", tmp_path / "recipes")
    for emotion in ("anger", "happiness", "sadness"):
        (tmp_path / "mine" / emotion).mkdir(parents=True)
        for clip in toons[emotion]:
            shutil.copy(clip, tmp_path / "mine" / emotion)
    for commands in list_commands("own_data.md"):
        # a handful of clips fills no batch of 16, and one pass shows that the lines work
        recipe = tmp_path / "recipes" / "own.toml"
        recipe.write_text(
            recipe.read_text().replace("batch = 16", "batch = 4").replace("epochs = 12", "epochs = 1")
        )
        run_lines(commands, tmp_path)
    table = pq.read_table(tmp_path / "moods.parquet").to_pydict()
    assert set(table["status"]) == {"ok"}
    assert None not in table["anger"]
    assert set(table["relief"]) == {None}  # the page says so


def run_snippet(name, folder, monkeypatch):
    """Runs a fence of Python of datasets.md after its mark, in a folder."""
    pytest.importorskip("pandas")
    page = (ROOT / "docs" / "datasets.md").read_text("utf-8")
    (lines,) = re.findall(rf"^<!-- run: {name} -->\n```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    monkeypatch.chdir(folder)
    exec(lines, {})


def touch(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path.resolve()


def test_manifest_from_names(tmp_path, monkeypatch):
    from moodreel.lab.data.manifest import read_manifest

    names = [
        "01/02-01-06-01-02-01-01",
        "12/02-01-03-02-01-01-12",
        "12/02-01-02-01-01-01-12",
        "12/03-01-05-01-01-01-12",
    ]
    clips = [touch(tmp_path / "ravdess" / f"Actor_{name}.mp4") for name in names]
    run_snippet("names", tmp_path, monkeypatch)
    rows = read_manifest("ravdess.csv").rows
    assert [(row.clip, row.group, row.labels) for row in rows] == [
        (clips[0], "ravdess:01", {"ekman": "fear"}),
        (clips[1], "ravdess:12", {"ekman": "happiness"}),
    ]


def test_manifest_from_a_table(tmp_path, monkeypatch):
    from moodreel.lab.data.manifest import read_manifest

    clip = touch(tmp_path / "rated" / "clips" / "a.mp4")
    (tmp_path / "rated" / "labels.csv").write_text(
        "file,speaker,part,anger,happiness\na.mp4,7,training,1,5.5\nb.mp4,8,development,,4\nc.mp4,9,evaluation,7,1\n"
    )
    run_snippet("table", tmp_path, monkeypatch)
    rows = read_manifest("rated.csv").rows
    assert rows[0].clip == clip
    assert [(row.group, row.split, row.scores) for row in rows] == [
        ("rated:7", "train", {"anger": -1, "happiness": 0.5}),
        ("rated:8", "val", {"happiness": 0}),
        ("rated:9", "test", {"anger": 1, "happiness": -1}),
    ]


def test_manifest_from_frames(tmp_path, monkeypatch):
    from moodreel.lab.data.manifest import read_manifest
    from moodreel.labels.traces import read_traces

    folder = tmp_path / "rated_frames"
    clips = [touch(folder / f"{name}.mp4") for name in ("ann_1", "ann_2")]
    (folder / "ann_1.csv").write_text("valence\n-100\n\n50\n")
    (folder / "ann_2.csv").write_text("valence\n0\n")
    run_snippet("frames", tmp_path, monkeypatch)
    rows = read_manifest("rated_frames.csv").rows
    assert [(row.clip, row.group) for row in rows] == [(clip, "ann") for clip in clips]
    traces = read_traces(rows[0].trace)
    assert traces.times.tolist() == [0, 0.04, 0.08]
    assert traces.values.ravel().tolist() == pytest.approx([-1, math.nan, 0.5], nan_ok=True)


def test_notebook():
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(ROOT / "examples" / "tour.ipynb", as_version=4)
    assert not any(cell.get("outputs") for cell in notebook.cells)  # what is shown is what is run
    resources = {"metadata": {"path": str(ROOT / "examples")}}
    done = NotebookClient(notebook, timeout=300, resources=resources).execute()
    shown = [kind for cell in done.cells for out in cell.get("outputs", []) for kind in out.get("data", {})]
    assert shown.count("image/png") == 3
    assert shown.count("image/gif") == 1


def test_a_table_opens_elsewhere(tmp_path, monkeypatch):
    """The lines of formats.md, word for word."""
    for name in ("pandas", "polars", "duckdb", "datasets"):
        pytest.importorskip(name)
    import datasets
    import duckdb
    import pandas
    import polars

    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    run_lines(f"moodreel predict '{ROOT / 'examples'}' --out moods.parquet", tmp_path)
    page = (ROOT / "docs" / "formats.md").read_text("utf-8")
    lines = re.search(r"opens in one line elsewhere:\n\n```python\n(.*?)```", page, re.DOTALL)[1].splitlines()
    modules = {"pandas": pandas, "polars": polars, "duckdb": duckdb, "datasets": datasets}
    opened = {line.partition(".")[0]: eval(line, modules) for line in lines}
    count = len(list((ROOT / "examples").glob("*.gif")))
    assert len(opened["pandas"]) == len(opened["polars"]) == count
    assert opened["pandas"]["happiness"].dtype == "float64"
    happy = [(row["path"], row["happiness"]) for row in opened["polars"].to_dicts() if row["happiness"] > 0]
    assert opened["duckdb"].fetchall() == happy
    assert opened["datasets"]["train"].num_rows == count
