"""Fixtures that every room's tests share."""

import os
from pathlib import Path

import pytest
from hypothesis import settings

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # a process a core: before torch is imported

settings.register_profile("moodreel", deadline=None)  # no test is of timing
settings.load_profile("moodreel")

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("MOODREEL_DATA", ROOT.parent / "shared" / "data"))


@pytest.fixture
def data():
    """Returns the path of a real data file or folder; skips the test where it is absent."""

    def find(relative: str) -> Path:
        path = DATA / relative
        if not path.exists():
            pytest.skip(f"real data {relative} not found under {DATA} (set MOODREEL_DATA)")
        return path

    return find
