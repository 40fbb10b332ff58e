"""--report and --overlay on the command line: what they write, and what they leave as it was."""

import json

import pytest

from cli_runs import bundles_fixture, names_in, place_fixture, run_fixture  # noqa: F401 (fixtures)
from moodreel.media import read_clip
from moodreel.report import name_overlay
from runtime.tiny import BLUE, RED, draw_gif


@pytest.mark.parametrize("model", ["kavan", "face"])
def test_one_file_with_both(run, place, model):
    run("predict", "gifs/red.gif", "--model", model, "--report", "r", "--overlay", "o")
    assert run.code == 0
    assert run.out.startswith("gifs/red.gif\n  20 x 20, 2 frames")
    assert run.err == "moodreel: report: r/index.html\nmoodreel: overlays: o\n"
    assert names_in(place / "r") == ["index.html"]
    assert names_in(place / "o") == [name_overlay("gifs/red.gif", "gif")]
    page = (place / "r" / "index.html").read_text("utf-8")
    assert "red.gif" in page
    assert f"tiny-{model} 0.0.1" in page


@pytest.mark.parametrize("kind", ["gif", "webp", "mp4"])
def test_overlay_formats_keep_the_times(run, place, kind):
    draw_gif(place / "a" / "x.gif", RED, BLUE, RED, seconds=0.25)
    draw_gif(place / "b" / "x.gif", RED, seconds=0.25)
    run("predict", "a", "b", "--overlay", "o", "--overlay-format", kind)
    assert run.code == 0
    assert len(names_in(place / "o")) == 2
    clip = read_clip(place / "o" / name_overlay("a/x.gif", kind))
    assert clip.durations.tolist() == [0.25] * 3


def test_rows_are_the_same_with_and_without(run, place):
    run("predict", "gifs", "absent.gif", "--json")
    rows, code = run.out, run.code
    run("predict", "gifs", "absent.gif", "--json", "--report", "r", "--overlay", "o", "--out", "m.csv")
    assert (run.out, run.code) == (rows, code) == (rows, 1)
    assert run.err.splitlines() == [
        "moodreel: 4 rows, 1 failed: m.csv (schema 1)",
        "moodreel: report: r/index.html",
        "moodreel: overlays: o",
    ]
    page = (place / "r" / "index.html").read_text("utf-8")
    assert page.count("<article") == 4
    assert "no such file" in page
    assert len(names_in(place / "o")) == 3


def test_only_errors_still_give_a_report(run, place):
    run("predict", "absent.gif", "--report", "r", "--overlay", "o")
    assert (run.code, run.out) == (1, "")
    assert run.err.startswith("moodreel: absent.gif: no such file\n")
    assert names_in(place / "r") == ["index.html"]
    assert names_in(place / "o") == []


def test_what_cannot_be_drawn_keeps_its_row(run, place, monkeypatch):
    """The first frames can be scored, the whole cannot be drawn."""

    def refuse(result, *_):
        raise OSError(28, "No space left on device") if "red" in result.source else ValueError("odd\nsize")

    monkeypatch.setattr("moodreel.report.overlay.write_overlay", refuse)
    run("predict", "gifs/red.gif", "gifs/blue.gif", "--overlay", "o", "--json")
    assert run.code == 1
    assert [json.loads(line)["status"] for line in run.out.splitlines()] == ["ok", "ok"]
    assert run.err.splitlines() == [
        "moodreel: gifs/red.gif: no overlay: OSError: [Errno 28] No space left on device",
        "moodreel: gifs/blue.gif: no overlay: ValueError: odd size",
        "moodreel: overlays: o",
    ]
    run("predict", "gifs/red.gif", "--overlay", "o")
    assert run.code == 1
    assert "category pleasure_arousal" in run.out
    assert run.err.startswith("moodreel: gifs/red.gif: no overlay: OSError")


def test_a_report_that_cannot_be_written_leaves_the_old_one(run, place, monkeypatch):
    run("predict", "gifs", "--report", "r")
    before = (place / "r" / "index.html").read_bytes()

    def refuse(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("moodreel.report.html.shutil.copyfileobj", refuse)
    run("predict", "gifs", "absent.gif", "--report", "r")
    assert run.code == 2
    assert run.err == "moodreel: No space left on device\n"
    assert names_in(place / "r") == ["index.html"]
    assert (place / "r" / "index.html").read_bytes() == before


def test_without_them_nothing_of_it_is_imported(place, bundles):
    import subprocess
    import sys

    code = (
        "import sys; sys.argv = ['moodreel', 'predict', 'gifs/red.gif', '--model', sys.argv[1]]\n"
        "from moodreel.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code, end.code\n"
        "print(*sorted(sys.modules), file=sys.stderr)"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code, str(bundles / "kavan")], capture_output=True, text=True, check=True
    )
    loaded = set(ran.stderr.split())
    rooms = {name for name in loaded if name.startswith("moodreel.report")}
    names = ("", ".colours", ".scene_text", ".terminal")
    assert rooms == {f"moodreel.report{name}" for name in names}
    assert not {"jinja2", "matplotlib"} & loaded
