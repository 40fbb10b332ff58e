"""Measures ``moodreel serve`` under load.

    python benchmarks/serve.py [FILE|FOLDER ...] [--uploads 200] [--clients 8] [--rounds 3] [--model kavan]

A server in a process of its own, with its defaults; clients in threads of this one, each with a connection of
its own, send one clip after another to ``/api/predict``. Every answer must be 200 and have the scores that
``moodreel.load(MODEL)`` gives for the file: anything else counts as lost. Rounds are the same again, to see
whether memory grows. Told are: seconds from the first byte sent to the last one received (median, 95th
percentile, maximum), uploads a second, the server's resident memory after the first answer, after each round
and at most, open files, and what is left of the uploads on disk. Writes DATE-COMMIT-serve.md and .json into
benchmarks/results. Needs the ``web`` extra.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

from machine import RESULTS, ROOT, describe_machine, stamp, write_results

import moodreel
from moodreel.runtime.batch import collect_paths
from moodreel.runtime.machine import format_machine
from moodreel.runtime.table import list_columns, make_row

PACKAGES = ("moodreel", "numpy", "onnxruntime", "fastapi", "uvicorn", "python-multipart")
BOUNDARY = "moodreel-load"


def make_body(name: str, content: bytes) -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="files"; filename="{name}"\r\n\r\n'
    return head.encode() + content + f"\r\n--{BOUNDARY}--\r\n".encode()


class Meter:
    """The server's memory and open files, sampled while it works."""

    def __init__(self, pid: int) -> None:
        self._folder = Path("/proc") / str(pid)
        self.highest = 0.0

    def read(self) -> dict[str, float]:
        status = (self._folder / "status").read_text("utf-8")
        megabytes = int(re.search(r"VmRSS:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]
        self.highest = max(self.highest, megabytes)
        return {"megabytes": megabytes, "files": len(list((self._folder / "fd").iterdir()))}

    def follow(self, ended: threading.Event) -> None:
        while not ended.wait(0.1):
            self.read()


def send_all(
    port: int, model: str, bodies: Sequence[tuple[str, bytes, dict[str, Any]]], uploads: int, clients: int
) -> dict[str, Any]:
    """One round: seconds of each upload, and what was lost."""
    waiting: SimpleQueue[int] = SimpleQueue()
    for number in range(uploads):
        waiting.put(number)
    seconds: list[float] = []
    lost: list[str] = []

    def work() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
        while True:
            try:
                number = waiting.get_nowait()
            except Empty:
                connection.close()
                return
            name, body, expected = bodies[number % len(bodies)]
            begin = time.perf_counter()
            try:
                headers = {"Content-Type": f"multipart/form-data; boundary={BOUNDARY}"}
                connection.request("POST", f"/api/predict?model={model}", body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except OSError as error:
                lost.append(f"{name}: {error}")
                connection.close()
                continue
            seconds.append(time.perf_counter() - begin)
            row = json.loads(content).get("results", [{}])[0]
            if answer.status != 200 or any(row.get(key) != value for key, value in expected.items()):
                lost.append(f"{name}: {answer.status} {content[:200]!r}")

    begin = time.perf_counter()
    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return {"seconds": seconds, "lost": lost, "clock": time.perf_counter() - begin}


def measure(options: argparse.Namespace) -> dict[str, Any]:
    paths = collect_paths(options.inputs).paths
    mood = moodreel.load(options.model)
    columns = list_columns(mood.info.system, per_frame=True)
    bodies = []
    for path in paths:
        content = Path(path).read_bytes()
        name = Path(path).name
        expected = {**make_row(mood(path, per_frame=True), columns), "path": name}
        bodies.append((name, make_body(name, content), expected))
    facts: dict[str, Any] = {
        **stamp(),
        "machine": describe_machine(PACKAGES),
        "model": mood.info.name,
        "clips": len(paths),
        "megabytes_of_clips": sum(len(body) for _, body, _ in bodies) / 1e6,
        "uploads": options.uploads,
        "clients": options.clients,
        "rounds": [],
    }
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "moodreel", "serve", "--port", "0", "--model", options.model]
        environment = {**os.environ, "TMPDIR": folder}
        server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        try:
            assert server.stderr is not None
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", server.stderr.readline())
            if found is None:
                raise SystemExit("the server did not start")
            port = int(found[1])
            meter = Meter(server.pid)
            send_all(port, options.model, bodies, 1, 1)  # loads the model
            facts["first"] = meter.read()
            ended = threading.Event()
            threading.Thread(target=meter.follow, args=(ended,), daemon=True).start()
            for _ in range(options.rounds):
                spent = send_all(port, options.model, bodies, options.uploads, options.clients)
                facts["rounds"].append({**spent, **meter.read()})
            ended.set()
            facts["most_megabytes"] = meter.highest
            facts["left_on_disk"] = sum(path.is_file() for path in Path(folder).rglob("*"))
        finally:
            server.terminate()
            server.wait()
    return facts


def percentile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, round(share * (len(ordered) - 1)))]


def format_report(facts: dict[str, Any]) -> str:
    lines = [
        f"# serve, {facts['date']}, {facts['commit']}",
        "",
        *format_machine(facts["machine"]),
        f"- Model {facts['model']}; {facts['clips']} clips, {facts['megabytes_of_clips']:.1f} MB; rounds of "
        f"{facts['uploads']} uploads from {facts['clients']} clients, who run on the same cores",
        f"- Lost: {sum(len(entry['lost']) for entry in facts['rounds'])} of "
        f"{facts['uploads'] * len(facts['rounds'])}; an answer counts when its scores are those of "
        "`moodreel.load`",
        f"- Resident memory after the first answer: {facts['first']['megabytes']:.0f} MB, "
        f"{facts['first']['files']:.0f} open files; at most {facts['most_megabytes']:.0f} MB; left on disk: "
        f"{facts['left_on_disk']} files",
        "",
        "| round | uploads a second | median s | 95 % s | most s | lost | MB after | open files after |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for number, entry in enumerate(facts["rounds"], 1):
        times = entry["seconds"]
        lines.append(
            f"| {number} | {len(times) / entry['clock']:.1f} | {statistics.median(times):.2f} "
            f"| {percentile(times, 0.95):.2f} | {max(times):.2f} | {len(entry['lost'])} "
            f"| {entry['megabytes']:.0f} | {entry['files']:.0f} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("inputs", nargs="*", default=[str(ROOT / "examples")], metavar="FILE|FOLDER")
    parser.add_argument("--uploads", type=int, default=200, metavar="N")
    parser.add_argument("--clients", type=int, default=8, metavar="N")
    parser.add_argument("--rounds", type=int, default=3, metavar="N")
    parser.add_argument("--model", default="kavan", metavar="NAME|BUNDLE")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER")
    options = parser.parse_args()
    facts = measure(options)
    report = format_report(facts)
    for entry in facts["rounds"]:
        print(*entry["lost"][:5], sep="\n", end="\n" * bool(entry["lost"]))
    write_results(facts, report, options.out, "serve")


if __name__ == "__main__":
    main()
