"""Lines that a user would type, with this package on the path."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def run_lines(lines, folder, shell=("bash", "-euo", "pipefail")):
    """Runs lines as a user would who installed the package; returns what they print."""
    binaries = str(Path(sys.executable).parent)
    environment = {
        **os.environ,
        "PATH": os.pathsep.join([binaries, os.environ["PATH"]]),
        "PYTHONPATH": str(ROOT / "src"),
    }
    done = subprocess.run([*shell, "-c", lines], cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{lines}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
    return done.stdout
