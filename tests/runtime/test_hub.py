import hashlib
import json
import os
import subprocess
import sys
import threading
from fnmatch import fnmatch
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace

import pytest

from moodreel.errors import BundleError, MissingExtra
from moodreel.runtime import hub
from moodreel.runtime.bundle import BUNDLED, read_bundle

ROOT = Path(__file__).resolve().parents[2]
SHA = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("hf:me/mine", ("me/mine", None)),
        ("hf:me/mine@v1.0", ("me/mine", "v1.0")),
        ("hf:me/mine@refs/pr/1", ("me/mine", "refs/pr/1")),
    ],
)
def test_names(name, expected):
    assert hub.parse_name(name) == expected


@pytest.mark.parametrize("name", ["hf:", "hf:mine", "hf:a/b/c", "hf:a/b@", "hf:../x", "hf:a/b c"])
def test_no_names(name):
    with pytest.raises(BundleError, match="expected hf:owner/name"):
        read_bundle(name)


class StandIn:
    """The Hub's library over a folder: repository -> files."""

    def __init__(self, root):
        self.root = root
        self.made = {}

    def snapshot_download(self, repository, *, revision, allow_patterns):
        folder = self.root / repository / (revision or "main")
        if not folder.is_dir():
            raise OSError(f"404: no {repository} at {revision}")
        out = self.root / "cache" / repository
        out.mkdir(parents=True, exist_ok=True)
        for path in folder.iterdir():
            if any(fnmatch(path.name, pattern) for pattern in allow_patterns):
                (out / path.name).write_bytes(path.read_bytes())
        return str(out)

    def HfApi(self, library_name):
        def create_repo(repository, *, private, exist_ok):
            assert exist_ok
            self.made[repository] = private
            (self.root / repository / "main").mkdir(parents=True, exist_ok=True)
            return f"https://hub/{repository}"

        def upload_folder(*, repo_id, folder_path, commit_message):
            for path in Path(folder_path).iterdir():
                (self.root / repo_id / "main" / path.name).write_bytes(path.read_bytes())

        return SimpleNamespace(create_repo=create_repo, upload_folder=upload_folder)


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    library = StandIn(tmp_path / "hub")
    monkeypatch.setitem(sys.modules, "huggingface_hub", library)
    return library


def test_what_is_pushed_can_be_loaded(stand_in):
    assert hub.push_bundle(BUNDLED / "face", "hf:me/mine") == "https://hub/me/mine"
    assert stand_in.made == {"me/mine": True}  # private unless asked for
    pushed = stand_in.root / "me/mine/main"
    assert {path.name for path in pushed.iterdir()} == {
        "bundle.json", "card.md", "model.onnx", "weights.safetensors", "README.md"
    }  # fmt: skip
    (pushed / "evil.pkl").write_bytes(b"no pickle is fetched")
    bundle = read_bundle("hf:me/mine")
    assert bundle.info == read_bundle("face").info
    assert bundle.read_model() == read_bundle("face").read_model()
    assert not (stand_in.root / "cache/me/mine/evil.pkl").exists()


def test_an_altered_file_is_noticed(stand_in):
    hub.push_bundle(BUNDLED / "face", "hf:me/mine", public=True)
    model = stand_in.root / "me/mine/main/model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    with pytest.raises(BundleError, match=r"model\.onnx was altered"):
        read_bundle("hf:me/mine").read_model()


def test_what_fails_is_one_line(stand_in, monkeypatch):
    with pytest.raises(BundleError, match=r"hf:me/none: cannot be fetched: OSError: 404: no me/none"):
        read_bundle("hf:me/none")
    with pytest.raises(BundleError, match="not to a revision"):
        hub.push_bundle(BUNDLED / "face", "hf:me/mine@main")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    with pytest.raises(MissingExtra, match=r'pip install "moodreel\[hub\]"'):
        read_bundle("hf:me/mine")


class Server(BaseHTTPRequestHandler):
    """As much of the Hub's HTTP as fetching a repository takes."""

    folder = BUNDLED / "face"

    def do_HEAD(self):
        self.answer(False)

    def do_GET(self):
        self.answer(True)

    def answer(self, with_body):
        path = self.path.partition("?")[0]
        content, headers = None, {"X-Repo-Commit": SHA}
        names = sorted(p.name for p in self.folder.iterdir() if p.is_file())
        if path.startswith("/api/models/me/mine/tree/"):
            files = [(n, (self.folder / n).stat().st_size) for n in names]
            content = json.dumps(
                [{"type": "file", "path": n, "size": s, "oid": SHA} for n, s in files]
            ).encode()
        elif path in ("/api/models/me/mine", "/api/models/me/mine/revision/main"):
            files = [{"rfilename": n} for n in names]
            content = json.dumps({"id": "me/mine", "sha": SHA, "siblings": files}).encode()
        elif path.startswith(f"/me/mine/resolve/{SHA}/") and path.rpartition("/")[2] in names:
            content = (self.folder / path.rpartition("/")[2]).read_bytes()
            headers["ETag"] = f'"{hashlib.sha256(content).hexdigest()}"'
        self.send_response(404 if content is None else 200)
        content = content or b"{}"
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if with_body:
            self.wfile.write(content)

    def log_message(self, *_):
        pass


def test_the_real_library_against_a_server(tmp_path):
    pytest.importorskip("huggingface_hub")
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT / "src"),
        "HF_ENDPOINT": f"http://127.0.0.1:{server.server_port}",
        "HF_HOME": str(tmp_path),
        "HF_HUB_DISABLE_XET": "1",
        "NO_PROXY": "127.0.0.1",
    }
    clip = str(ROOT / "examples" / "anger.gif")
    command = [sys.executable, "-m", "moodreel", "predict", clip, "--model", "hf:me/mine", "--json"]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
    finally:
        server.shutdown()
        server.server_close()
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == "face"
