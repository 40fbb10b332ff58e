"""Is this installation whole? Packages, extras, engines, decoders, and a prediction of every bundle."""

from __future__ import annotations

import platform
import re
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

import numpy as np

from moodreel.errors import MissingExtra
from moodreel.types import UInt8Array

DECODERS = ("h264", "hevc", "vp8", "vp9", "libdav1d")
"""Decoders of video that clips are likely to need, by FFmpeg's names (libdav1d: AV1)."""

SIDE = 96
"""Pixels a side of the clip that is predicted."""


@dataclass(frozen=True)
class Check:
    """One thing that was looked at.

    Attributes:
        part: of the installation: "system", "package", "extra", "engine", "decoder", "model" or "folder".
        name: of the thing.
        ok: True; False where something is broken; None where something optional is not there.
        detail: a version, a time, or what is wrong and how to mend it.
    """

    part: str
    name: str
    ok: bool | None
    detail: str


def examine() -> Iterator[Check]:
    """Looks at everything, one thing after the other; nothing is fetched."""
    from moodreel.runtime.engine import count_cores

    yield Check("system", "python", True, f"{platform.python_version()} ({sys.executable})")
    yield Check("system", "platform", True, f"{platform.platform()}, {count_cores()} cores")
    yield from _examine_packages()
    yield _try("engine", "onnxruntime", _list_providers)
    yield from _examine_decoders()
    yield _try("folder", "temporary", _write_temporary)
    from moodreel.runtime.bundle import list_bundles

    for name in list_bundles():
        yield _examine_model(name)


def parse_requirement(text: str) -> tuple[str, list[tuple[str, str]], str | None]:
    """A line of ``Requires-Dist`` -> (package, [(operator, version)], extra or None)."""
    need, _, marker = text.partition(";")
    match = re.match(r"\s*([A-Za-z0-9._-]+)\s*(?:\[[^\]]*\])?\s*(.*)", need)
    assert match is not None
    bounds = re.findall(r"([<>=!~]=?)\s*([^,\s)]+)", match[2])
    extra = re.search(r"extra\s*==\s*['\"]([^'\"]+)['\"]", marker)
    return match[1], bounds, extra[1] if extra else None


def is_within(version: str, bounds: list[tuple[str, str]]) -> bool:
    """Whether a version keeps its bounds, by its leading numbers; only ``>=`` and ``<`` are looked at."""

    def numbers(text: str) -> list[int]:
        return [int(n) for n in re.findall(r"\d+", re.split(r"[^0-9.]", text)[0])]

    have = numbers(version)
    return all(
        (have >= numbers(bound)) if operator == ">=" else (have < numbers(bound))
        for operator, bound in bounds
        if operator in (">=", "<")
    )


def _examine_packages() -> Iterator[Check]:
    """Core packages one by one; of an extra, what is missing."""
    extras: dict[str, list[str]] = {}
    for line in metadata.requires("moodreel") or []:
        name, bounds, extra = parse_requirement(line)
        try:
            version = metadata.version(name)
            fault = None if is_within(version, bounds) else f"{version} is installed"
        except metadata.PackageNotFoundError:
            version, fault = "", "is missing"
        asked = name + ",".join(operator + bound for operator, bound in bounds)
        if extra is None:
            detail = version if fault is None else f'{fault}: pip install "{asked}"'
            yield Check("package", name, fault is None, detail)
        else:
            missing = extras.setdefault(extra, [])
            if fault is not None and name != "moodreel":
                missing.append(asked)
    for extra, missing in sorted(extras.items()):
        detail = "installed"
        if missing:
            detail = f'lacks {", ".join(missing)}: pip install "moodreel[{extra}]"'
        yield Check("extra", extra, None if missing else True, detail)


def _try(part: str, name: str, look: Callable[[], str]) -> Check:
    try:
        return Check(part, name, True, look())
    except Exception as error:  # whatever is broken is what is asked for
        return Check(part, name, False, " ".join(f"{type(error).__name__}: {error}".split()))


def _list_providers() -> str:
    from moodreel.runtime.engine import import_onnxruntime

    onnxruntime = import_onnxruntime()
    return f"{onnxruntime.__version__}: {', '.join(onnxruntime.get_available_providers())}"


def _examine_decoders() -> Iterator[Check]:
    try:
        from av.codec import codecs_available
    except Exception as error:
        yield Check("decoder", "av", False, f"{type(error).__name__}: {error}")
        return
    for name in DECODERS:
        there = name in codecs_available
        yield Check(
            "decoder", name, True if there else None, "there" if there else "not in this build of PyAV"
        )


def _write_temporary() -> str:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"moodreel")
        file.flush()
        return str(Path(file.name).parent)


def _examine_model(name: str) -> Check:
    """A prediction of a clip drawn here: finite scores, and how long it took from the bundle's file on."""
    from moodreel.media import write_gif
    from moodreel.runtime.recognizer import load

    begin = time.perf_counter()
    try:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "smile.gif"
            write_gif(path, draw_smile(), [0.2, 0.2])
            result = load(name)(path)
    except MissingExtra as error:
        return Check("model", name, None, str(error))
    except Exception as error:
        return Check("model", name, False, " ".join(f"{type(error).__name__}: {error}".split()))
    if result.error is not None:
        return Check("model", name, False, result.error)
    seconds = time.perf_counter() - begin
    said = f"a drawn smile is {result.category}" if result.category else "it reads a clip"
    return Check("model", name, True, f"{result.model_version}: {said}, {seconds:.2f} s")


def draw_smile() -> UInt8Array:
    """Two frames [2, H, W, 3] of a plain smiling face."""
    y, x = np.mgrid[:SIDE, :SIDE] / SIDE
    frames = np.full((2, SIDE, SIDE, 3), 255, np.uint8)
    for frame, width in zip(frames, (0.16, 0.2), strict=True):
        frame[(x - 0.5) ** 2 + (y - 0.5) ** 2 < 0.42**2] = (255, 204, 77)
        for left in (0.36, 0.64):
            frame[(x - left) ** 2 + (y - 0.4) ** 2 < 0.05**2] = 0
        mouth = abs(y - 0.62 - 0.1 * (1 - ((x - 0.5) / width) ** 2)) < 0.02
        frame[mouth & (abs(x - 0.5) < width)] = 0
    return frames
