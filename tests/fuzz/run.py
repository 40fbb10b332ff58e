"""Reads damaged files and counts what comes of them: read, refused with one line, or a fault.

    python tests/fuzz/run.py --cases 100000 [--kinds gif,webp,...] [--first 0] [--keep DIR] [--out FILE.json]

Every case is made from its kind and its number alone, and read in a process of its own kind, forked from
this one, with bounds on memory and time: a crash costs one case, is counted and kept. A case is fine when it
gives finite times and frames of the right shape, or a MoodreelError of one line. Anything else is a fault:
another exception, anything printed, a crash, more memory or time than allowed.
"""

from __future__ import annotations

import argparse
import contextlib
import faulthandler
import io
import json
import os
import random
import resource
import signal
import sys
import tempfile
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from fuzz.damage import change_bytes, damage, damage_json
from fuzz.seeds import make_seeds
from moodreel.errors import BundleError, MediaError, MoodreelError
from moodreel.media import Limits, open_media, read_clip, sample_media, segment_times

SHARES = {"gif": 30, "png": 16, "webp": 16, "mov": 12, "matroska": 8, "avi": 4, "jpeg": 3, "bmp": 3,
          "bundle-json": 3, "bundle-zip": 3, "bundle-model": 2}  # fmt: skip
"""Kinds, and how many of 100 cases are of each."""

LIMITS = Limits(canvas_pixels=1 << 20, frames=5000, decoded_bytes=64 << 20, seconds=3)
MEMORY = 768 << 20
"""Bytes of address space beyond what the process had before."""

SECONDS = 15
"""Of wall time, for one case."""


def make_case(kind: str, number: int) -> bytes:
    """The file of a case."""
    rng = random.Random(f"{kind} {number}")
    if kind == "bundle-json":
        return damage_json(_bundle()["bundle.json"].decode(), rng)
    if kind == "bundle-zip":
        stream = io.BytesIO()
        stored = rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))
        with zipfile.ZipFile(stream, "w", stored) as archive:
            for name, content in _bundle().items():
                archive.writestr(name, content)
        data = stream.getvalue()
        for _ in range(rng.choice((1, 2, 5))):
            # the names and lengths stand at the end, and before each file
            tail = rng.random() < 0.6
            cut = max(0, len(data) - 300) if tail else 0
            data = data[:cut] + change_bytes(data[cut:], (data,), rng)
        return data
    if kind == "bundle-model":
        data = _bundle()["model.onnx"]
        for _ in range(rng.choice((1, 1, 2, 4))):
            data = change_bytes(data, (data,), rng)
        return data
    return damage(kind, make_seeds(kind), rng)


@cache
def _bundle() -> dict[str, bytes]:
    from runtime.tiny import write_bundle

    with tempfile.TemporaryDirectory() as folder:
        place = write_bundle(Path(folder) / "tiny")
        return {path.name: path.read_bytes() for path in sorted(place.iterdir())}


def read_case(kind: str, data: bytes, folder: Path) -> str:
    """Reads a file as a user would. Returns "read", or the name of the error that refused it."""
    try:
        if kind.startswith("bundle"):
            _read_bundle(kind, data, folder)
        else:
            _read_media(data)
    except MoodreelError as error:
        refused = error
    else:
        return "read"
    text, name = str(refused), type(refused).__name__
    assert text, "nothing said"
    assert "\n" not in text, f"not one line: {text!r}"
    # libav makes room for the entries that an index states, up to 2 GiB; the others know better
    assert "out of memory" not in text or kind in ("mov", "matroska", "avi"), text
    assert isinstance(refused, BundleError if kind.startswith("bundle") else MediaError), f"{name}: {text}"
    return name


def _read_media(data: bytes) -> None:
    media = open_media(data, LIMITS)
    line = media.timeline
    for times in (line.starts, line.durations, line.raw_durations):
        assert np.isfinite(times).all(), "times"
        assert (times >= 0).all(), "times"
    assert line.starts[0] == 0, "first start"
    assert (np.diff(line.starts) >= 0).all(), "starts"
    sample = sample_media(media, segment_times(media.duration, 4), (16, 16))
    assert sample.frames.shape == (4, 16, 16, 3), "sample"
    if len(media) * media.width * media.height < 1 << 20:
        clip = read_clip(data, "rgba", LIMITS)
        assert clip.frames.shape == (len(media), media.height, media.width, 4), "clip"


def _read_bundle(kind: str, data: bytes, folder: Path) -> None:
    import hashlib

    import moodreel

    files = dict(_bundle())
    if kind == "bundle-zip":
        place = folder / "case.zip"
        place.write_bytes(data)
    else:
        place = folder / "case"
        place.mkdir(exist_ok=True)
        if kind == "bundle-json":
            files["bundle.json"] = data
        else:
            files["model.onnx"] = data
            content = json.loads(files["bundle.json"])
            content["sha256"]["model.onnx"] = hashlib.sha256(data).hexdigest()
            files["bundle.json"] = json.dumps(content).encode()
        for name, content in files.items():
            (place / name).write_bytes(content)
    mood = moodreel.load(place, threads=1, detector=None)
    result = mood(np.full((2, 20, 20, 3), 90, np.uint8))
    scores = [*result.emotions.values(), *result.probabilities.values(), result.valence, result.confidence]
    assert all(score is None or np.isfinite(score) for score in scores), "scores"


def _work(kind: str, numbers: Iterator[int], out: int, keep: Path | None) -> None:
    """The forked process: a line before each case and one after it."""
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY, used + MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    faulthandler.disable()  # pytest's: a crash is counted, not shown
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as noise:
        os.dup2(noise.fileno(), 1)
        os.dup2(noise.fileno(), 2)
        sys.stdout, sys.stderr = (os.fdopen(number, "w", closefd=False) for number in (1, 2))
        for number in numbers:
            os.write(out, f"{number} begin\n".encode())
            signal.alarm(SECONDS)
            data = make_case(kind, number)
            began = time.process_time()  # other processes may want the cores too
            try:
                outcome = read_case(kind, data, Path(folder))
                sys.stdout.flush()
                sys.stderr.flush()
                if os.fstat(2).st_size:
                    os.lseek(2, 0, os.SEEK_SET)
                    outcome = f"FAULT printed {os.read(2, 300).decode('utf-8', 'replace')}"
                    os.ftruncate(2, 0)
                    os.lseek(2, 0, os.SEEK_SET)
            except BaseException as error:
                outcome = f"FAULT {type(error).__name__}: {str(error)[:300]}"
            took = time.process_time() - began
            if took > 2 * LIMITS.seconds:
                outcome = f"FAULT took {took:.1f} s"
            os.write(out, f"{number} {' '.join(outcome.split())}\n".encode())


def run(kind: str, numbers: range, keep: Path | None = None) -> tuple[Counter[str], list[tuple[int, str]]]:
    """Reads cases of one kind. Returns how often each thing happened, and the faults."""
    counts: Counter[str] = Counter()
    faults: list[tuple[int, str]] = []
    rest = iter(numbers)
    following = next(rest, None)
    make_case(kind, numbers.start)  # imports and seeds, before the fork
    while following is not None:
        reader, writer = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reader)
            code = 1
            try:
                _work(kind, iter(numbers[following - numbers.start :]), writer, keep)
                code = 0
            finally:
                os._exit(code)
        os.close(writer)
        begun: int | None = None
        with os.fdopen(reader, encoding="utf-8", errors="replace") as lines:
            for line in lines:
                number, _, outcome = line.rstrip("\n").partition(" ")
                if outcome == "begin":
                    begun = int(number)
                    continue
                begun = None
                following = int(number) + 1
                if outcome.startswith("FAULT"):
                    faults.append((int(number), outcome))
                    outcome = "FAULT"
                counts[outcome] += 1
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if begun is not None:
            name = signal.Signals(-status).name if status < 0 else f"exit code {status}"
            faults.append((begun, f"FAULT crash: {name}"))
            counts["FAULT"] += 1
            following = begun + 1
        if following >= numbers.stop:
            following = None
    for number, _ in faults:
        if keep is not None:
            keep.mkdir(parents=True, exist_ok=True)
            (keep / f"{kind}-{number}.bin").write_bytes(make_case(kind, number))
    return counts, faults


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cases", type=int, default=1000, help="of all kinds together")
    parser.add_argument("--kinds", default=",".join(SHARES), help="separated by commas")
    parser.add_argument("--first", type=int, default=0, help="number of the first case of each kind")
    parser.add_argument("--keep", type=Path, help="a folder for files that were a fault")
    parser.add_argument("--out", type=Path, help="a file for the counts, as JSON")
    options = parser.parse_args()
    kinds = options.kinds.split(",")
    whole = sum(SHARES[kind] for kind in kinds)
    told: dict[str, dict[str, int]] = {}
    bad = 0
    for kind in kinds:
        began = time.monotonic()
        count = -(-options.cases * SHARES[kind] // whole)
        counts: Counter[str] = Counter()
        for start in range(options.first, options.first + count, 2000):
            some = range(start, min(start + 2000, options.first + count))
            part, faults = run(kind, some, options.keep)
            counts += part
            bad += len(faults)
            for number, text in faults:
                print(f"{kind} {number}: {text}", flush=True)
        told[kind] = dict(sorted(counts.items()))
        print(f"{kind}: {count} cases, {time.monotonic() - began:.0f} s: {told[kind]}", flush=True)
    if options.out:
        with contextlib.suppress(FileNotFoundError):
            told = {**json.loads(options.out.read_text("utf-8")), **told}
        options.out.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
