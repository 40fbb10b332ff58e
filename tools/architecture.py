"""Writes the picture and the table of docs/architecture.md from the imports in src/moodreel.

    python tools/architecture.py [--check]

The page is written by hand but for what stands between its two marks. ``--check`` writes nothing and ends
with 1 where the page is out of date.
"""

from __future__ import annotations

import ast
import sys
from pathlib import Path

from pages import ROOT, replace_part, write_pages

HOUSE = ROOT / "src" / "moodreel"
PAGE = ROOT / "docs" / "architecture.md"
BEGIN, END = "<!-- from the imports: begin -->", "<!-- from the imports: end -->"

FOUNDATION = ("types", "errors", "emotions")
"""Modules that everybody may import: one box in the picture."""


def find_rooms() -> dict[str, list[Path]]:
    """Room -> its modules; what stands beside the rooms (the public names) is none."""
    rooms: dict[str, list[Path]] = {"types, errors, emotions": [HOUSE / f"{name}.py" for name in FOUNDATION]}
    for folder in sorted(path for path in HOUSE.iterdir() if path.is_dir()):
        if modules := sorted(folder.rglob("*.py")):
            rooms[folder.name] = modules
    return rooms


def find_imports(module: Path, names: dict[str, str]) -> set[str]:
    """Rooms that a module imports, functions and type checks included."""
    found = set()
    for node in ast.walk(ast.parse(module.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            dotted = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            dotted = [node.module]
            if node.module == "moodreel":
                dotted = [f"moodreel.{alias.name}" for alias in node.names]
        else:
            continue
        for name in dotted:
            top, _, rest = name.partition(".")
            room = names.get(rest.partition(".")[0])
            if top == "moodreel" and room is not None:
                found.add(room)
    return found


def reduce_edges(edges: dict[str, set[str]]) -> dict[str, set[str]]:
    """The same order with as few arrows as will do: none where a longer way leads there as well."""

    def reach(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = list(edges[start])
        while waiting:
            if (room := waiting.pop()) not in seen:
                seen.add(room)
                waiting += edges[room]
        return seen

    return {
        room: {low for low in lower if not any(low in reach(other) for other in lower - {low})}
        for room, lower in edges.items()
    }


def draw() -> str:
    """The picture (Mermaid) and the table."""
    rooms = find_rooms()
    names = {module.stem: room for room, modules in list(rooms.items())[:1] for module in modules}
    names |= {room: room for room in list(rooms)[1:]}
    edges = {
        room: set().union(*(find_imports(module, names) for module in modules)) - {room}
        for room, modules in rooms.items()
    }
    reduced = reduce_edges(edges)
    keys = {room: room.partition(",")[0] for room in rooms}
    lines = ["```mermaid", "graph BT"]
    lines += [f'    {keys[room]}["{room}"]' for room in rooms]
    lines += [f"    {keys[room]} --> {keys[low]}" for room in rooms for low in sorted(reduced[room])]
    lines += ["```", "", "| room | imports |", "|---|---|"]
    order = sorted(rooms, key=lambda room: (depth(room, edges), room))
    lines += [f"| {room} | {'; '.join(sorted(edges[room])) or 'nothing'} |" for room in order]
    return "\n".join(lines)


def depth(room: str, edges: dict[str, set[str]]) -> int:
    """Rooms on the longest way down."""
    return 1 + max((depth(low, edges) for low in edges[room]), default=0)


if __name__ == "__main__":
    sys.exit(write_pages(__doc__, [PAGE], lambda text: replace_part(text, BEGIN, END, draw())))
