"""A server without weights: recognisers over an engine whose scores can be worked out by hand."""

import json
import re
import threading
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
from PIL import Image

from moodreel.media import write_gif
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.schema import BundleInfo
from moodreel.web.app import create_app
from moodreel.web.reading import Served
from moodreel.web.settings import WebSettings
from runtime.tiny import make_info

HOST = "http://127.0.0.1:8765"
PROBLEM = "moodreel[faces] is not there"


class RedEngine:
    """Scores are the frames' mean red, 0 to 1; waits for ``gate`` where a frame is pure green."""

    def __init__(self, system):
        self.system = system
        self.gate = threading.Event()
        self.gate.set()
        self.calls = 0
        self.is_broken = False

    def run(self, frames):
        self.calls += 1
        if self.is_broken:
            raise RuntimeError("secret detail")
        if (frames.reshape(-1, 3).max(axis=0) == [0, 255, 0]).all():
            assert self.gate.wait(30)
        red = frames[..., 0].mean(axis=(-1, -2), dtype=np.float64).astype(np.float32) / 255
        if self.system == "face":
            rest = (1 - red)[..., None] * np.eye(6, dtype=np.float32)[0]
            return {"probabilities": np.concatenate([red[..., None], rest], axis=-1)}
        steps = np.repeat(red[..., None], 17, axis=-1)
        chances = np.stack([red, 1 - red, 0 * red, 0 * red], axis=-1)
        attention = np.zeros((*red.shape, 2, 2), np.float32)
        attention[..., 0, 1] = 1
        return {
            "intensities": steps[:, -1],
            "probabilities": chances[:, -1],
            "attention": attention,
            "frame_intensities": steps,
            "frame_probabilities": chances,
        }


def make_models():
    """Three models: two that work, and one that cannot be used here. The engines are beside them."""
    engines = {system: RedEngine(system) for system in ("kavan", "face")}
    models = {}
    for system, engine in engines.items():
        info = BundleInfo.from_json(json.dumps(make_info(system)))
        models[info.name] = Served(info, 1234, lambda info=info, engine=engine: Recognizer(info, engine))
    info = BundleInfo.from_json(json.dumps(make_info("kavan", name="broken")))
    models["broken"] = Served(info, 1, lambda: 1 / 0, PROBLEM)
    return models, engines


@contextmanager
def open_client(models=None, **settings):
    """A TestClient of an app that is alive."""
    from fastapi.testclient import TestClient

    app = create_app(WebSettings(**settings), models or make_models()[0])
    with TestClient(app, base_url=HOST) as client:
        yield client


@contextmanager
def run_server(models=None, **settings):
    """A real server in a thread: yields its port."""
    from moodreel.web.serve import make_server, open_socket

    with open_socket("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        app = create_app(replace(WebSettings(**settings), port=port), models or make_models()[0])
        server = make_server(app)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield port
        finally:
            server.should_exit = True
            thread.join(20)
            assert not thread.is_alive()


def draw_clip(path, *colours, durations=None, size=20):
    """Writes a GIF of plain colours."""
    frames = [np.full((size, size, 3), colour, np.uint8) for colour in colours]
    write_gif(path, frames, durations or [0.5] * len(colours))
    return path


def take_csrf(client, page="/"):
    """Opens a page: the session's cookie is kept, its CSRF token returned as a header."""
    found = re.search(r'name="csrf-token" content="([0-9a-f]+)"', client.get(page).text)
    return {"X-CSRF-Token": found[1]}


def read_webp(content):
    """[T, H, W, 3] and the durations in milliseconds."""
    import io

    with Image.open(io.BytesIO(content)) as image:
        frames, times = [], []
        for index in range(image.n_frames):
            image.seek(index)
            image.load()
            frames.append(np.asarray(image.convert("RGB")))
            times.append(image.info.get("duration"))
    return np.stack(frames), times
