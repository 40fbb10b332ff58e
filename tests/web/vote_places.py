"""A store of votes in each kind of place."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

from moodreel.web.votes import VoteStore

ITEMS = [f"lib/{k}.gif" for k in range(6)]
EMOTIONS = ["joy", "fear"]


@pytest.fixture(name="postgres", scope="session")
def postgres_fixture():
    """URL of a PostgreSQL server of our own, without a network; skips where there is none installed."""
    pytest.importorskip("psycopg")
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")) or [
        Path(shutil.which("initdb") or "/absent")
    ]
    tools = found[-1].parent
    if not (tools / "initdb").exists():
        pytest.skip("PostgreSQL is not installed")
    folder = Path(tempfile.mkdtemp())  # pytest's own folders are closed to others than their owner
    data = folder / "data"
    as_user = []
    if os.geteuid() == 0:  # the server does not run as root
        as_user = ["runuser", "-u", "postgres", "--"]
        folder.chmod(0o711)
    start = [str(tools / "pg_ctl"), "-D", str(data), "-w", "-l", str(folder / "log")]
    options = f"-c listen_addresses='' -c unix_socket_directories={folder}"
    quiet = {"check": True, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    try:
        if as_user:
            shutil.chown(folder, "postgres")
        make = [str(tools / "initdb"), "-D", str(data), "-A", "trust", "-U", "moodreel", "--no-sync"]
        subprocess.run([*as_user, *make], **quiet)
        subprocess.run([*as_user, *start, "-o", options, "start"], **quiet)
    except (LookupError, OSError, subprocess.CalledProcessError) as error:
        shutil.rmtree(folder)
        pytest.skip(f"PostgreSQL does not start here: {error}")
    yield f"postgresql+psycopg://moodreel@/{{}}?host={folder}"
    subprocess.run([*as_user, *start[:3], "-m", "immediate", "stop"], **quiet)
    shutil.rmtree(folder)


@pytest.fixture(name="place", params=["sqlite", "postgresql"])
def place_fixture(request, tmp_path):
    """Where a store can be opened, several times and from several processes."""
    if request.param == "sqlite":
        return tmp_path / "votes.sqlite"
    url = request.getfixturevalue("postgres")
    import sqlalchemy

    name = f"votes_{os.urandom(6).hex()}"
    server = sqlalchemy.create_engine(url.format("postgres"), isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    server.dispose()
    return url.format(name)


@pytest.fixture(name="store")
def store_fixture(place):
    with VoteStore(place, seed=1) as opened:
        opened.offer(ITEMS, EMOTIONS)
        yield opened
