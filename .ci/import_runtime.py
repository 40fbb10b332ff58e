"""Imports every runtime module, in an environment without the lab's packages.

The web app is left out: it is an extra of its own, of which nothing else may import anything at once.
"""

import importlib
import importlib.util
from pathlib import Path

import moodreel

EXTRAS = ("torch", "torchvision", "lightning", "onnx", "scipy", "numba", "fastapi", "duckdb", "sqlalchemy")
present = [name for name in EXTRAS if importlib.util.find_spec(name)]
assert not present, f"the core install brought {present}"
ROOT = Path(moodreel.__file__).parent
files = [path.relative_to(ROOT.parent) for path in sorted(ROOT.rglob("*.py"))]
names = [
    ".".join(path.with_suffix("").parts).removesuffix(".__init__")
    for path in files
    if path.parts[1] not in ("lab", "web") and path.name != "__main__.py"
]
assert len(names) > 20, names
for name in names:
    importlib.import_module(name)
print(f"imported {len(names)} runtime modules")
