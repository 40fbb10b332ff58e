"""A recogniser for the tests of a cluster: slow, and it kills its process where a file's name says so."""

import os
import signal
import tempfile
import time
from pathlib import Path

from moodreel.runtime.recognizer import load


class Deadly:
    """Reads as the bundle does, noted in the folder ``pids`` by its process.

    "deadly" in a file's name kills it. So does "unlucky", the first two times that it is met: to who looks
    on, a file that twice stood behind a deadly one. The folder ``unlucky``, where there is one, counts them.
    """

    def __init__(self, bundle, pids, pause):
        self._recognizer = load(bundle, threads=1)
        self._pause = pause
        self._unlucky = Path(pids).with_name("unlucky")
        Path(pids, str(os.getpid())).touch()

    def __getattr__(self, name):
        return getattr(self._recognizer, name)

    def map(self, sources, **options):
        def watched():
            for source in sources:
                if "deadly" in str(source) or self._strikes(source):
                    os.kill(os.getpid(), signal.SIGKILL)
                time.sleep(self._pause)
                yield source

        return self._recognizer.map(watched(), **options)

    def _strikes(self, source):
        if "unlucky" not in str(source) or len(list(self._unlucky.iterdir())) == 2:
            return False
        tempfile.mkstemp(dir=self._unlucky)
        return True
