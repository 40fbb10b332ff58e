"""Prints the exact versions of what the project and its extras need, as they are installed here.

.venv-test/bin/python .ci/lock.py > .ci/constraints.txt
"""

import re
import tomllib
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement


def normalise(name: str) -> str:
    """The name as registries write it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def collect(name: str, extras: frozenset[str], found: dict[str, str], seen: set[tuple[str, str]]) -> None:
    """Walks the requirements of an installed package that hold here."""
    try:
        package = distribution(name)
    except PackageNotFoundError:
        return
    found[normalise(name)] = package.version.partition("+")[0]
    for line in package.requires or ():
        wanted = Requirement(line)
        for extra in extras or {""}:
            if (normalise(wanted.name), extra) in seen:
                continue
            if wanted.marker is None or wanted.marker.evaluate({"extra": extra}):
                seen.add((normalise(wanted.name), extra))
                collect(wanted.name, frozenset(wanted.extras), found, seen)


def main() -> None:
    """Prints them."""
    text = (Path(__file__).resolve().parents[1] / "pyproject.toml").read_text("utf-8")
    project = tomllib.loads(text)["project"]
    lines = [line for kind in project["optional-dependencies"].values() for line in kind]
    found: dict[str, str] = {}
    seen: set[tuple[str, str]] = set()
    for line in [*project["dependencies"], *lines]:
        wanted = Requirement(line)
        if wanted.name != "moodreel":
            collect(wanted.name, frozenset(wanted.extras), found, seen)
    print("# What CI installs: made by .ci/lock.py. The bounds that users get are those of pyproject.toml.")
    for name in sorted(found):
        print(f"{name}=={found[name]}")


if __name__ == "__main__":
    main()
