"""Pages whose commands are run as they stand: what a newcomer types works.

A fence after the line ``<!-- run -->`` is run by bash, in a folder that has what the page speaks of.
"""

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
