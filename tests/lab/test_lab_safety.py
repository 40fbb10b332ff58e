"""What a stranger's weights can do: nothing. And what a kill costs: nothing either."""

import ast
import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper
from safetensors.torch import load_file, save, save_file

import moodreel
from lab.kill import RECIPE, write_data
from moodreel.errors import BundleError, DataError
from moodreel.lab.data.cached import ArrayStore
from moodreel.lab.layers.backbones import ResNet50Backbone
from moodreel.lab.networks import load_bundle, load_run
from moodreel.lab.train import train
from moodreel.lab.weights import check_checkpoint, read_weights, start_from
from moodreel.runtime import files as file_rooms
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.files import replace_folder
from runtime.tiny import make_model, write_bundle

HOUSE = Path(moodreel.__file__).parent
FACE = HOUSE / "bundles" / "face"


class Trap:
    """Unpickled, it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def trap(tmp_path):
    path = tmp_path / "sprung"
    yield Trap(path)
    assert not path.exists(), "something was unpickled"


def find_unpickling(source):
    """Calls that may unpickle, as texts."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
            yield from (name for name in names if name in {"pickle", "dill", "joblib", "marshal", "shelve"})
        if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
            continue
        call = ast.unparse(node.func)
        given = {word.arg: ast.unparse(word.value) for word in node.keywords}
        if call == "np.load" and given.get("allow_pickle") != "False":
            yield call
        is_checkpoint = call == "torch.load" or "load_from_checkpoint" in call or "ckpt_path" in given
        if is_checkpoint and given.get("weights_only") != "True":
            yield call


def test_nothing_unpickles():
    found = {}
    for path in sorted(HOUSE.rglob("*.py")):
        if calls := list(find_unpickling(path.read_text("utf-8"))):
            found[path.name] = calls
    assert found == {}
    for breach in (
        "import pickle", "from joblib import load", "np.load(p)", "torch.load(p)", "t.fit(m, ckpt_path=p)",
        "np.load(p, allow_pickle=True)", "torch.load(p, weights_only=False)",
    ):  # fmt: skip
        assert list(find_unpickling(breach)), breach


def write_torch_trap(path, trap):
    torch.save({"state_dict": trap, "optimizer_states": [], "loops": {}, "epoch": 1}, path)


def test_a_trap_springs_where_it_is_unpickled(tmp_path):
    """Else the tests below would show nothing."""
    write_torch_trap(tmp_path / "t.pth", Trap(tmp_path / "sprung"))
    torch.load(tmp_path / "t.pth", weights_only=False)
    assert (tmp_path / "sprung").exists()


def test_traps_do_not_spring(tmp_path, trap):
    plain = pickle.dumps(trap, 2)
    run = tmp_path / "run"
    run.mkdir()
    write_torch_trap(run / "last.ckpt", trap)
    with pytest.raises(DataError, match=r"last\.ckpt: no checkpoint that can be read"):
        check_checkpoint(run / "last.ckpt")
    (run / "best.safetensors").write_bytes(plain)
    with pytest.raises(BundleError, match="cannot read the weights"):
        read_weights(str(run))
    write_torch_trap(tmp_path / "r.pth", trap)
    with pytest.raises(BundleError, match="not readable as torchvision's resnet50"):
        ResNet50Backbone(str(tmp_path / "r.pth"))
    with pytest.raises(BundleError, match="cannot be run"):
        moodreel.load(write_bundle(tmp_path / "tiny", model=plain))
    store = ArrayStore(tmp_path / "store", {})
    store.add(["a"], {"x": np.zeros((1, 2))})
    (array,) = store.folder.glob("*.npy")
    stream = io.BytesIO()
    np.save(stream, np.array([trap], object), allow_pickle=True)
    for content in (plain, stream.getvalue()):
        array.write_bytes(content)
        again = ArrayStore(tmp_path / "store", {})
        assert "a" not in again  # computed anew


def test_resume_with_a_trap_or_a_torn_checkpoint(tmp_path, trap, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_data(tmp_path)
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("epochs = 3", "epochs = 1"), "utf-8")
    run = tmp_path / "run"
    train("face", [tmp_path / "manifest.csv"], run, tmp_path / "recipe.toml")
    whole = (run / "last.ckpt").read_bytes()
    with zipfile.ZipFile(run / "last.ckpt") as archive:
        names = {name: archive.read(name) for name in archive.namelist()}
    for damage in ("torn", "trap", "text", "other"):
        if damage == "torn":
            (run / "last.ckpt").write_bytes(whole[: len(whole) // 2])
        elif damage == "text":
            (run / "last.ckpt").write_bytes(b"a checkpoint")
        elif damage == "other":
            torch.save({"a": torch.zeros(2)}, run / "last.ckpt")
        else:  # the real one, with a trap in its pickle
            with zipfile.ZipFile(run / "last.ckpt", "w") as archive:
                for name, content in names.items():
                    archive.writestr(name, pickle.dumps(trap, 2) if name.endswith("data.pkl") else content)
        with pytest.raises(DataError, match=r"last\.ckpt: no checkpoint") as caught:
            train("face", [tmp_path / "manifest.csv"], run, resume=True)
        assert "\n" not in str(caught.value)
    (run / "last.ckpt").write_bytes(whole)
    train("face", [tmp_path / "manifest.csv"], run, resume=True)


def alter(folder, **tensors):
    """Copies the face bundle with weights.safetensors changed, its digest made to match."""
    import hashlib
    import shutil

    shutil.copytree(FACE, folder)
    weights = {**load_file(FACE / "weights.safetensors"), **tensors}
    save_file(weights, folder / "weights.safetensors")
    facts = json.loads((folder / "bundle.json").read_text("utf-8"))
    content = (folder / "weights.safetensors").read_bytes()
    facts["sha256"]["weights.safetensors"] = hashlib.sha256(content).hexdigest()
    (folder / "bundle.json").write_text(json.dumps(facts), "utf-8")
    return folder


def test_weights_of_other_shapes_or_values(tmp_path):
    _, net = load_bundle(read_bundle("face"))
    name = next(name for name, value in net.state_dict().items() if value.is_floating_point())
    with pytest.raises(BundleError, match=f"the weights do not fit its recipe: .*{name}"):
        load_bundle(read_bundle(alter(tmp_path / "shape", **{name: torch.zeros(7, 7)})))
    own = net.state_dict()[name]
    folder = alter(tmp_path / "nan", **{name: torch.full(own.shape, float("nan"), dtype=own.dtype)})
    for reader in (lambda: load_bundle(read_bundle(folder)), lambda: start_from(net, str(folder))):
        with pytest.raises(BundleError, match=f"{name} has values that are not finite"):
            reader()
    assert torch.isfinite(net.state_dict()[name]).all()
    folder = alter(tmp_path / "flip")
    content = bytearray((folder / "weights.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "weights.safetensors").write_bytes(content)
    with pytest.raises(BundleError, match=r"weights\.safetensors was altered"):
        read_weights(str(folder))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff" * 8,
        (1 << 40).to_bytes(8, "little") + b"{}",
        save({"a": torch.zeros(4)})[:-3],
        b'\x40\0\0\0\0\0\0\0{"a":{"dtype":"F32","shape":[9999999999],"data_offsets":[0,4]}}      ' + bytes(4),
    ],
)
def test_safetensors_that_lie(tmp_path, content):
    (tmp_path / "best.safetensors").write_bytes(content)
    (tmp_path / "recipe.json").write_text(json.dumps({"system": "face"}), "utf-8")
    with pytest.raises(BundleError, match=r"best\.safetensors: cannot read the weights"):
        read_weights(str(tmp_path))
    with pytest.raises(DataError):
        load_run(tmp_path)


def test_a_graph_may_not_refer_to_other_files(tmp_path, monkeypatch):
    """ONNX keeps large weights beside the graph, under any name: /etc/passwd would be one."""
    monkeypatch.chdir(tmp_path)
    model = onnx.load_from_string(make_model())
    secret = tmp_path / "secret.bin"
    secret.write_bytes(np.zeros(12, np.float32).tobytes())
    tensor = next(t for t in model.graph.initializer if t.name == "pick")
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "secret.bin"
    folder = write_bundle(tmp_path / "tiny", model=model.SerializeToString())
    for reader in (moodreel.load, lambda path: read_weights(str(path))):
        with pytest.raises(BundleError, match=r"model\.onnx refers to other files"):
            reader(folder)


def make_graph(*nodes, **inputs):
    values = [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", 14, 14, 3])]
    outputs = [helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ["N", 7])]
    graph = helper.make_graph(list(nodes), "g", values, outputs, [])
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9
    ).SerializeToString()


def test_a_graph_that_wants_more_memory_than_there_is(tmp_path):
    shape = helper.make_tensor("s", TensorProto.INT64, [2], [1 << 40, 7])
    model = make_graph(
        helper.make_node("Constant", [], ["shape"], value=shape),
        helper.make_node("ConstantOfShape", ["shape"], ["probabilities"]),
    )
    with pytest.raises(BundleError):
        moodreel.load(write_bundle(tmp_path / "big", "face", model=model))(np.zeros((2, 14, 14, 3), np.uint8))


def test_replacing_a_folder(tmp_path, monkeypatch):
    def make(name, text):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(text)
        return tmp_path / name

    place = tmp_path / "place"
    for exchanges in (True, False):
        if not exchanges:
            monkeypatch.setattr(file_rooms, "_exchange", lambda *_: False)
        replace_folder(make("draft", "new"), place)
        replace_folder(make("draft", "newer"), place)
        assert (place / "file").read_text() == "newer"
        assert [path.name for path in tmp_path.iterdir()] == ["place"]
        real = Path.rename

        def fail(self, target, real=real):
            if self.name == "draft":
                raise PermissionError(13, "Permission denied")
            return real(self, target)

        if not exchanges:
            draft = make("draft", "newest")
            with monkeypatch.context() as patch:
                patch.setattr(Path, "rename", fail)
                with pytest.raises(PermissionError):
                    replace_folder(draft, place)
            assert (place / "file").read_text() == "newer"
            assert sorted(path.name for path in tmp_path.iterdir()) == ["draft", "place"]


@pytest.mark.skipif(sys.platform != "linux", reason="forks, and kills what it forked")
def test_kills_cost_nothing(tmp_path):
    script = Path(__file__).with_name("kill.py")
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "1", "2", "0", "0"],
        capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout)
    assert told["training_kills"] >= 1
