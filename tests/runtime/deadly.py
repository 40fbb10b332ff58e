"""A recogniser for the tests of a cluster: slow, and it kills its process where a file's name says so."""

import os
import signal
import time
from pathlib import Path

from moodreel.runtime.recognizer import load


class Deadly:
    """Reads as the bundle does, noted in the folder ``pids`` by its process; "deadly" in a name kills it."""

    def __init__(self, bundle, pids, pause):
        self._recognizer = load(bundle, threads=1)
        self._pause = pause
        Path(pids, str(os.getpid())).touch()

    def __getattr__(self, name):
        return getattr(self._recognizer, name)

    def map(self, sources, **options):
        def watched():
            for source in sources:
                if "deadly" in str(source):
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(self._pause)
                yield source

        return self._recognizer.map(watched(), **options)
