import json
from importlib import metadata

import numpy as np
import pytest
from typer.testing import CliRunner

from moodreel.cli import app
from moodreel.errors import BundleError, MissingExtra
from moodreel.runtime import doctor
from moodreel.runtime.doctor import draw_smile, examine, is_within, parse_requirement


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("numpy>=1.26", ("numpy", [(">=", "1.26")], None)),
        ("dlib<20,>=19.24; extra == 'x'", ("dlib", [("<", "20"), (">=", "19.24")], "x")),
        ("moodreel[lab,faces]; extra == \"dev\"", ("moodreel", [], "dev")),
        ("ray[data] (>=2.40) ; os_name == 'a' and extra == 'y'", ("ray", [(">=", "2.40")], "y")),
    ],
)  # fmt: skip
def test_requirements(text, expected):
    assert parse_requirement(text) == expected


@pytest.mark.parametrize(
    ("version", "bound", "expected"),
    [
        ("1.26.0", (">=", "1.26"), True),
        ("1.9", (">=", "1.26"), False),  # as numbers, not as text
        ("2.0rc1", (">=", "1.26"), True),
        ("2.13.0+cpu", (">=", "2.8"), True),
        ("0.10.33", ("<", "0.10.34"), True),
        ("0.10.34", ("<", "0.10.34"), False),
    ],
)
def test_versions(version, bound, expected):
    assert is_within(version, [bound]) is expected


def test_what_is_missing_or_old_is_named_with_its_remedy(monkeypatch):
    versions = {"numpy": "1.20", "av": "15.0"}

    def version(name):
        if name not in versions:
            raise metadata.PackageNotFoundError(name)
        return versions[name]

    lines = ["numpy>=1.26", "av>=14", "typer>=1", "numba>=0.61; extra == 'fast'", "av>=14; extra == 'video'"]
    monkeypatch.setattr(doctor.metadata, "requires", lambda _: lines)
    monkeypatch.setattr(doctor.metadata, "version", version)
    found = {(c.part, c.name): c for c in doctor._examine_packages()}
    assert found["package", "numpy"].ok is False
    assert found["package", "numpy"].detail == '1.20 is installed: pip install "numpy>=1.26"'
    assert found["package", "typer"].detail == 'is missing: pip install "typer>=1"'
    assert found["package", "av"] == doctor.Check("package", "av", True, "15.0")
    assert found["extra", "fast"].ok is None
    assert found["extra", "fast"].detail == 'lacks numba>=0.61: pip install "moodreel[fast]"'
    assert found["extra", "video"].ok


def test_the_drawn_clip_is_a_face_that_moves():
    frames = draw_smile()
    assert frames.shape == (2, 96, 96, 3)
    assert np.any(frames[0] != frames[1])
    assert (frames[:, 48, 20] == (255, 204, 77)).all()  # its cheek
    assert (frames[:, 0, 0] == 255).all()


@pytest.fixture
def one_model(monkeypatch):
    monkeypatch.setattr("moodreel.runtime.bundle.list_bundles", lambda: ["face"])


def test_a_whole_installation(one_model):
    checks = list(examine())
    assert not [c for c in checks if c.ok is False]
    model = checks[-1]
    assert (model.part, model.name, model.ok) == ("model", "face", True)
    assert {c.part for c in checks} >= {"system", "package", "extra", "engine", "decoder", "folder"}


def test_command(one_model, monkeypatch):
    done = CliRunner().invoke(app, ["doctor", "--json"])
    assert done.exit_code == 0
    assert {row["name"]: row["ok"] for row in map(json.loads, done.stdout.splitlines())}["face"] is True

    def fail(error):
        def load(name):
            raise error

        monkeypatch.setattr("moodreel.runtime.recognizer.load", load)
        return CliRunner().invoke(app, ["doctor"])

    broken = fail(BundleError("x: model.onnx was altered"))
    assert broken.exit_code == 1
    assert "FAULT" in broken.stdout
    assert "model.onnx was altered" in broken.stdout
    optional = fail(MissingExtra("faces", "finding faces"))
    assert optional.exit_code == 0
    assert 'pip install "moodreel[faces]"' in optional.stdout
