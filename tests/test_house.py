"""The house rules: imports run one way, torch stays in the lab, public names are stated and sorted."""

import ast
import importlib
import subprocess
import sys
from pathlib import Path

import pytest

import moodreel

HOUSE = Path(moodreel.__file__).parent

LAYERS = {
    "types": 0,
    "errors": 0,
    "emotions": 0,
    "media": 1,
    "labels": 1,
    "faces": 2,
    "runtime": 3,
    "lab": 4,
    "report": 5,
    "web": 6,
    "cli": 7,
    "__init__": 8,
    "__main__": 8,
}
"""Room -> layer; a room imports from lower layers, and inside itself."""

ALSO = {("types", "errors")}
"""Imports inside one layer that are allowed."""

TRAINING = {"torch", "torchvision", "lightning", "torchmetrics", "safetensors", "onnx", "onnxscript", "scipy",
            "tensorboard", "rlottie_python"}  # fmt: skip
"""Libraries of the lab extra."""


def list_modules():
    return sorted(HOUSE.rglob("*.py"))


def name_room(path):
    parts = path.relative_to(HOUSE).with_suffix("").parts
    return parts[0]


def list_imports(path, source=None):
    """Yields (dotted module, whether inside a function) of a file's imports, TYPE_CHECKING blocks too."""
    tree = ast.parse(path.read_text("utf-8") if source is None else source)
    inside = {
        id(child)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
        for child in ast.walk(node)
    }
    package = ("moodreel", *path.relative_to(HOUSE).parent.parts)
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            start = ".".join(package[: len(package) - node.level + 1]) if node.level else ""
            base = ".".join(part for part in (start, node.module) if part)
            names = [f"{base}.{alias.name}" for alias in node.names] if base == "moodreel" else [base]
        else:
            continue
        for name in names:
            yield name, id(node) in inside


def find_breaches(path, source=None):
    """Imports of one file that break the rules, as texts."""
    room = name_room(path)
    for name, is_inside in list_imports(path, source):
        top, _, rest = name.partition(".")
        if top in TRAINING and room != "lab":
            yield f"{path.name} imports {name}: only the lab may"
        if top != "moodreel":
            continue
        target = rest.partition(".")[0]
        if rest == "__version__":
            continue
        if target not in LAYERS:  # a name of the package itself
            target = "__init__"
        if target == "lab" and room != "lab":
            if room != "cli" or not is_inside:
                yield f"{path.name} imports {name}: only the cli may, inside functions"
        elif (
            target == room or (room, target) in ALSO or (room == "cli" and target == "__init__" and is_inside)
        ):
            continue
        elif LAYERS[target] >= LAYERS[room]:
            yield f"{path.name} ({room}) imports {name}: upwards"


@pytest.mark.parametrize("path", list_modules(), ids=lambda path: str(path.relative_to(HOUSE)))
def test_imports_run_one_way(path):
    assert name_room(path) in LAYERS
    assert list(find_breaches(path)) == []


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("media/x.py", "from moodreel.runtime.bundle import Bundle"),
        ("media/x.py", "from ..runtime import bundle"),
        ("media/x.py", "def f():\n    import moodreel.report.terminal"),
        ("media/x.py", "import moodreel"),
        ("media/x.py", "from moodreel import load"),
        ("labels/x.py", "from moodreel.media import read_clip"),
        ("runtime/x.py", "def f():\n    import torch"),
        ("runtime/x.py", "import onnx"),
        ("runtime/x.py", "from moodreel.lab.train import train"),
        ("lab/x.py", "from moodreel.report.terminal import Style"),
        ("cli.py", "from moodreel.lab.train import train"),
        ("errors.py", "from moodreel.types import Clip"),
    ],
)
def test_a_breach_is_found(file, source):
    assert list(find_breaches(HOUSE / file, source))


@pytest.mark.parametrize(
    ("file", "source"),
    [
        ("cli.py", "def f():\n    from moodreel.lab.train import train"),
        ("lab/x.py", "import torch\nfrom moodreel.runtime.bundle import BundleInfo"),
        ("runtime/x.py", "import onnxruntime\nfrom .bundle import Bundle\nfrom moodreel import errors"),
        ("types.py", "from moodreel.errors import SettingsError"),
    ],
)
def test_what_is_allowed_is_no_breach(file, source):
    assert list(find_breaches(HOUSE / file, source)) == []


def order_name(name):
    """Constants, then classes, then functions, as ruff sorts ``__all__``."""
    return (0 if name.isupper() else 1 if name[:1].isupper() else 2), name


@pytest.mark.parametrize("name", ["moodreel", "moodreel.media", "moodreel.report"])
def test_public_names_are_sorted_and_there(name):
    module = importlib.import_module(name)
    assert module.__all__ == sorted(module.__all__, key=order_name)
    assert len(set(module.__all__)) == len(module.__all__)
    assert all(getattr(module, public) is not None for public in module.__all__)


def test_public_names_are_these():
    assert moodreel.__all__ == [
        "BundleError", "Clip", "CorruptMedia", "DataError", "LimitExceeded", "Limits", "MediaError",
        "MissingExtra", "MoodreelError", "QueryError", "Recognizer", "Result", "SettingsError",
        "UnsupportedMedia", "__version__", "load", "read_clip",
    ]  # fmt: skip
    assert set(moodreel.__all__) <= set(dir(moodreel))
    with pytest.raises(AttributeError, match="no attribute 'paint'"):
        moodreel.paint  # noqa: B018


def test_every_error_is_public():
    from moodreel import errors

    tree = {
        name
        for name, value in vars(errors).items()
        if isinstance(value, type) and value.__module__ == errors.__name__
    }
    assert tree <= set(moodreel.__all__)
    assert all(issubclass(getattr(errors, name), errors.MoodreelError) for name in tree)


def test_importing_the_package_is_light():
    code = "import sys, moodreel; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    ).stdout.split()
    assert {"numpy", "av", "PIL", "onnxruntime", "typer"} & set(loaded) == set()


def test_no_module_is_longer_than_a_room():
    """The style's bound is about 400 lines."""
    lengths = {
        str(path.relative_to(HOUSE)): len(path.read_text("utf-8").splitlines()) for path in list_modules()
    }
    assert {name: length for name, length in lengths.items() if length > 420} == {}
