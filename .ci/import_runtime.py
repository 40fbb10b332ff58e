"""Imports every runtime module, in an environment without the lab's packages."""

import importlib
import importlib.util
import pkgutil

import moodreel

LAB = ("torch", "torchvision", "lightning", "onnx", "scipy")
present = [name for name in LAB if importlib.util.find_spec(name)]
assert not present, f"the core install brought {present}"
names = [
    module.name
    for module in pkgutil.walk_packages(moodreel.__path__, "moodreel.")
    if not module.name.startswith("moodreel.lab") and module.name != "moodreel.__main__"
]
for name in names:
    importlib.import_module(name)
print(f"imported {len(names)} runtime modules")
