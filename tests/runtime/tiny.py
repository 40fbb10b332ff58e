"""Tiny bundles whose scores can be worked out by hand, and clips of known colours.

kavan: at each step, intensity k is 2 c - 1, with c the frame's mean (0-1) of channel k % 3; the quadrants are
a softmax of 10 (red, green, blue, 0); the last step is the clip's. face: a softmax of 10 c over the seven
classes, c the mean of channel k for k < 3, else 0.
"""

import hashlib
import json
import zipfile
from pathlib import Path

import numpy as np

from moodreel.emotions import EKMAN_7, GIFGIF_17, QUADRANTS
from moodreel.media import write_gif

SIZE = 14


def make_info(system="kavan", **changes):
    """Content of bundle.json as a dict."""
    known = {"kavan": (GIFGIF_17, QUADRANTS), "face": ((), EKMAN_7)}
    emotions, categories = known.get(system, ((), ()))
    labels = {"emotions": list(emotions), "categories": list(categories)}
    segments, rate = {"method": "segments", "count": 4}, {"method": "rate", "fps": 4.0, "limit": 6}
    info = {
        "format": 1,
        "name": f"tiny-{system}",
        "system": system,
        "version": "0.0.1",
        "labels": labels,
        "supervised": labels,
        "input": {"height": SIZE, "width": SIZE, "resize": "stretch", "mean": [0.5] * 3, "std": [0.25] * 3},
        "sampling": segments if system == "kavan" else rate,
        "training": {"sources": ["none"]},
        "scores": {"headline": {"accuracy": 0.25}},
        "licences": ["Apache-2.0"],
        "sha256": {"model.onnx": "0" * 64},
    }
    return {**info, **changes}


def make_model(system="kavan", broken=False, drop_output=None):
    """Content of model.onnx. With broken, a black frame gives scores that are not finite."""
    from onnx import TensorProto, checker, helper, numpy_helper

    node = helper.make_node
    constants, nodes = {}, []

    def constant(name, value):
        constants[name] = np.asarray(value)
        return name

    is_clip = system == "kavan"
    nodes.append(node("Cast", ["frames"], ["cast"], to=TensorProto.FLOAT))
    nodes.append(node("Div", ["cast", constant("white", np.float32(255))], ["pixels"]))
    axes = constant("axes", np.array([2, 3] if is_clip else [1, 2]))
    nodes.append(node("ReduceMean", ["pixels", axes], ["rgb"], keepdims=0))
    mean = "rgb"
    if broken:
        nodes.append(node("ReduceMax", ["rgb", constant("last", np.array([-1]))], ["bright"], keepdims=1))
        nodes.append(node("Div", ["rgb", "bright"], ["broken"]))
        mean = "broken"
    classes = 4 if is_clip else 7
    pick = np.zeros((3, classes), np.float32)
    pick[range(3), range(3)] = 10
    nodes.append(node("MatMul", [mean, constant("pick", pick)], ["logits"]))
    shapes = {}
    if is_clip:
        heads = np.zeros((3, 17), np.float32)
        heads[[k % 3 for k in range(17)], range(17)] = 2
        nodes += [
            node("Softmax", ["logits"], ["frame_probabilities"], axis=-1),
            node("MatMul", [mean, constant("heads", heads)], ["doubled"]),
            node("Sub", ["doubled", constant("one", np.float32(1))], ["frame_intensities"]),
            node("Gather", ["frame_intensities", constant("end", np.array(-1))], ["intensities"], axis=1),
            node("Gather", ["frame_probabilities", "end"], ["probabilities"], axis=1),
            node("ReduceSum", ["pixels", constant("channels", np.array([4]))], ["grey"], keepdims=0),
            node("AveragePool", ["grey"], ["cells"], kernel_shape=[2, 2], strides=[2, 2]),
            node("Reshape", ["cells", constant("flat", np.array([0, 0, -1]))], ["row"]),
            node("Softmax", ["row"], ["shares"], axis=-1),
            node(
                "Reshape", ["shares", constant("grid", np.array([0, 0, SIZE // 2, SIZE // 2]))], ["attention"]
            ),
        ]
        shapes = {
            "intensities": ["N", 17],
            "probabilities": ["N", 4],
            "attention": ["N", "T", SIZE // 2, SIZE // 2],
            "frame_intensities": ["N", "T", 17],
            "frame_probabilities": ["N", "T", 4],
        }
        frames = ["N", "T", SIZE, SIZE, 3]
    else:
        nodes.append(node("Softmax", ["logits"], ["probabilities"], axis=-1))
        nodes.append(node("MatMul", [mean, constant("wide", np.ones((3, 512), np.float32))], ["features"]))
        shapes = {"probabilities": ["N", 7], "features": ["N", 512]}
        frames = ["N", SIZE, SIZE, 3]
    shapes.pop(drop_output, None)
    graph = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, frames)],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()


def write_bundle(folder, system="kavan", model=None, **changes):
    """Writes a bundle's folder and returns it."""
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    model = make_model(system) if model is None else model
    digest = {"model.onnx": hashlib.sha256(model).hexdigest()}
    info = make_info(system, **{"sha256": digest, **changes})
    (folder / "model.onnx").write_bytes(model)
    (folder / "bundle.json").write_text(json.dumps(info), encoding="utf-8")
    (folder / "card.md").write_text("# tiny\n", encoding="utf-8")
    return folder


def zip_bundle(folder, path, prefix=""):
    """Zips a bundle's folder and returns the path."""
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(Path(folder).iterdir()):
            archive.write(file, prefix + file.name)
    return path


RED, GREEN, BLUE, BLACK = (255, 0, 0), (0, 255, 0), (0, 0, 255), (0, 0, 0)


def paint(*colours, size=20):
    """[T, size, size, 3] uint8, one plain colour a frame."""
    frames = np.zeros((len(colours), size, size, 3), np.uint8)
    for frame, colour in zip(frames, colours, strict=True):
        frame[:] = colour
    return frames


def draw_gif(path, *colours, seconds=0.5, size=20):
    """Writes a GIF of one plain colour a frame and returns its path."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_gif(path, paint(*colours, size=size), [seconds] * len(colours))
    return path


def make_sta(size=SIZE, window=16, drop_output=None):
    """Content of model.onnx of the system sta.

    The value of a tick is 2 c - 1 with c the mean (0-1) of its picture's red channel, plus 0.1 times the mean
    of green over the window's ticks: so it depends on the window that shows it. Attention is red's share of
    its picture, plus a little everywhere.
    """
    from onnx import TensorProto, checker, helper, numpy_helper

    node = helper.make_node
    constants = {
        "white": np.float32(255), "two": np.float32(2), "one": np.float32(1), "tenth": np.float32(0.1),
        "red": np.array(0), "green": np.array(1), "space": np.array([2, 3]), "all": np.array([1, 2, 3]),
        "little": np.float32(1e-3),
    }  # fmt: skip
    nodes = [
        node("Cast", ["frames"], ["cast"], to=TensorProto.FLOAT),
        node("Div", ["cast", "white"], ["pixels"]),
        node("Gather", ["pixels", "red"], ["reds"], axis=4),
        node("Gather", ["pixels", "green"], ["greens"], axis=4),
        node("ReduceMean", ["reds", "space"], ["level"], keepdims=0),
        node("ReduceMean", ["greens", "all"], ["whole"], keepdims=0),
        node("Mul", ["level", "two"], ["doubled"]),
        node("Sub", ["doubled", "one"], ["centred"]),
        node("Mul", ["whole", "tenth"], ["share"]),
        node("Unsqueeze", ["share", "last"], ["column"]),
        node("Add", ["centred", "column"], ["valence"]),
        node("Add", ["reds", "little"], ["lit"]),
        node("ReduceSum", ["lit", "space"], ["total"], keepdims=1),
        node("Div", ["lit", "total"], ["attention"]),
    ]
    constants["last"] = np.array([1])
    shapes = {"valence": ["N", window], "attention": ["N", window, size, size]}
    shapes.pop(drop_output, None)
    graph = helper.make_graph(
        nodes,
        "tiny-sta",
        [helper.make_tensor_value_info("frames", TensorProto.UINT8, ["N", window, size, size, 3])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    checker.check_model(model)
    return model.SerializeToString()


def write_sta(folder, size=SIZE, **changes):
    """Writes a bundle of the system sta and returns its folder."""
    facts = {
        "labels": {},
        "supervised": {},
        "input": {"height": size, "width": size},
        "sampling": {"method": "rate", "fps": 4.0, "limit": 16},
    }
    return write_bundle(folder, "sta", make_sta(size), **{**facts, **changes})
