"""Measuring: floors, stages and reports on networks and files whose counts can be worked out by hand."""

import json

import numpy as np
import onnxruntime
import pytest
from typer.testing import CliRunner

from moodreel.cli import app
from moodreel.cli.bench import format_report
from moodreel.errors import SettingsError
from moodreel.runtime import machine
from moodreel.runtime.bench import measure_stages
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.engine import EngineSettings
from moodreel.runtime.recognizer import open_engine
from runtime.tiny import BLUE, RED, SIZE, draw_gif, write_bundle


class Ticks:
    """A clock that goes on by one second each time it is looked at."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        self.now += 1.0
        return self.now


@pytest.fixture
def clips(tmp_path):
    """Two clips of two frames each, and a file that is none."""
    paths = [str(draw_gif(tmp_path / f"{k}.gif", RED, BLUE, size=20)) for k in range(2)]
    (tmp_path / "no.gif").write_bytes(b"GIF89a?")
    return [*paths, str(tmp_path / "no.gif")]


def open_tiny(tmp_path, system="kavan"):
    bundle = read_bundle(write_bundle(tmp_path / "tiny", system))
    return bundle.info, open_engine(bundle, EngineSettings("onnx", "cpu", 1))


def test_stages_are_told_apart(tmp_path, clips):
    info, engine = open_tiny(tmp_path)
    found = measure_stages(
        info, engine, clips, repeats=3, workers=1, flops={"model.onnx": 600}, matrix_rate=100.0,
        copy_rate=1000.0, clock=Ticks(),
    )  # fmt: skip
    assert (found.inputs, found.left_out, found.frames, found.flops) == (2, 1, 4, 1200)
    assert [stage.name for stage in found.stages] == ["open", "decode", "resize", "network", "post", "write"]
    assert all(len(stage.seconds) == 3 for stage in found.stages)
    assert len(found.whole) == 3
    stages = {stage.name: stage for stage in found.stages}
    # the clock is looked at: before, opened, (ready, done) a frame, ended; twice around network and batch
    assert stages["open"].median == 2
    assert stages["resize"].median == 4
    assert stages["decode"].median == 2 * (5 - 2)
    assert stages["network"].median == 1
    assert stages["post"].median == 3 - 1
    assert stages["write"].median == 1
    assert stages["network"].floor == 12
    assert stages["decode"].floor == 4 * 20 * 20 * 3 / 1000
    assert stages["resize"].floor == 4 * (20 * 20 + SIZE * SIZE) * 3 / 1000
    assert stages["post"].floor is None


def test_without_counts_there_is_no_floor(tmp_path, clips):
    info, engine = open_tiny(tmp_path, "face")
    found = measure_stages(info, engine, clips[:1], repeats=1, workers=1, matrix_rate=1.0)
    assert found.flops is None
    assert {stage.name: stage.floor for stage in found.stages}["network"] is None


def test_a_face_is_counted_by_frames(tmp_path, clips):
    info, engine = open_tiny(tmp_path, "face")
    found = measure_stages(info, engine, clips[:1], repeats=1, workers=1, flops={"model.onnx": 7})
    assert found.flops == 4 * 7  # one second at 4 frames a second


@pytest.mark.parametrize(
    ("repeats", "paths", "said"), [(0, 1, "repeats = 0"), (1, 0, "one file that can be")]
)
def test_nothing_to_measure(tmp_path, clips, repeats, paths, said):
    info, engine = open_tiny(tmp_path)
    with pytest.raises(SettingsError, match=said):
        measure_stages(info, engine, clips[:1] if paths else clips[2:], repeats=repeats)


@pytest.mark.parametrize("operator", ["MatMul", "MatMulInteger"])
def test_the_products_that_are_timed_are_products(operator, monkeypatch):
    monkeypatch.setattr(machine, "SIDE", 3)
    session = onnxruntime.InferenceSession(machine.encode_product(operator))
    kind = machine._TYPES[operator][0]
    left = np.arange(9).reshape(3, 3)
    right = left.astype(np.int8 if operator == "MatMulInteger" else kind)
    (out,) = session.run(None, {"a": left.astype(kind), "b": right})
    np.testing.assert_array_equal(out, left @ left)


def test_rates_are_work_over_time(monkeypatch):
    monkeypatch.setattr(machine, "SIDE", 100)
    monkeypatch.setattr(machine, "COPIED", 300)
    assert machine.measure_matrix_rate(False, 1, 3, Ticks()) == 2e6
    assert machine.measure_matrix_rate(True, 1, 3, Ticks()) == 2e6
    assert machine.measure_copy_rate(3, Ticks()) == 300


def test_outside_of_a_checkout_there_is_no_commit(tmp_path):
    assert machine.name_commit(tmp_path) == "unknown"


def test_the_report_says_share_rate_and_ratio():
    stage = {"name": "network", "seconds": [2.0, 1.0, 9.0], "floor": 0.5}
    other = {"name": "decode", "seconds": [6.0, 6.0, 6.0], "floor": None}
    text = format_report(
        {
            "date": "d",
            "model": {"name": "m", "system": "kavan", "version": "1", "precision": "f", "sha256": "0" * 64},
            "machine": {"cpu": "c", "cores": 1, "load_at_start": 0, "system": "s", "versions": {}},
            "rates": {"matrix": 100.0, "copy": 1.0}, "engine": "onnx", "device": "cpu", "inputs": 4,
            "clock": "wall",
            "left_out": 0, "whole": [4.0, 4.0, 4.0], "flops": 50, "stages": [other, stage],
            "plain": {
                "files": 4, "seconds": {"ours": [1.0, 1.0], "plain": [3.0, 5.0]}, "score_difference": 1e-7,
            },
        }
    )  # fmt: skip
    assert "| network | 500.00 | 25% | 2.0 | 4.00 |" in text
    assert "| decode | 1500.00 | 75% | 0.7 | - |" in text
    assert "| files to scores, beside each other | 1000.00 | | 1.0 | |" in text
    assert "25% of the matrix rate" in text
    assert "1.0 against 4.0 clips/s, 4.00 times (3.00 to 5.00); scores differ by 1.0e-07" in text


def test_bench_on_the_command_line(tmp_path, clips, monkeypatch):
    monkeypatch.setattr(machine, "SIDE", 32)
    monkeypatch.setattr(machine, "COPIED", 1000)
    folder = write_bundle(tmp_path / "tiny", "face")
    (tmp_path / "out").mkdir()
    arguments = ["bench", *clips, "--model", str(folder), "--repeats", "1", "--threads", "1", "--no-plain"]
    done = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert "| network |" in done.stdout
    assert "2 files, 1 left out" in done.stdout
    (stored,) = (tmp_path / "out").glob("*-bench.json")
    facts = json.loads(stored.read_text())
    assert facts["inputs"] == ["0.gif", "1.gif", "no.gif"]
    assert facts["flops"] == 2 * 4 * 2 * (3 * 7 + 3 * 512)  # counted: two clips of four frames, two products
    assert stored.with_suffix(".md").read_text() == done.stdout
    for wrong in (["--repeats", "0"], ["--out", str(tmp_path / "nowhere")], ["--engine", "tpu"]):
        assert CliRunner().invoke(app, [*arguments, *wrong]).exit_code != 0


def test_without_paths_it_draws_its_own(tmp_path):
    from moodreel.cli.bench import draw_inputs
    from moodreel.media import open_media

    first, second = draw_inputs(tmp_path, count=2, side=32, frames=3)
    assert len(open_media(first)) == 3
    assert open_media(first).width == 32
    with open(first, "rb") as a, open(second, "rb") as b:  # noqa: PTH123
        assert a.read() != b.read()
