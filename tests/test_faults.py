"""Writers that meet a full disk, a closed folder, Ctrl-C and kill -9: tests/faults.py, once over."""

import json
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.skipif(sys.platform != "linux", reason="forks; takes root's privilege off a process")
def test_no_half_file_whatever_happens(tmp_path):
    script = Path(__file__).with_name("faults.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "1", "0"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert (told["full"], told["read_only"], told["SIGINT"], told["SIGKILL"]) == (13, 13, 13, 13)
