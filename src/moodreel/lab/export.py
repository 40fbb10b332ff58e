"""From a run to a bundle: the network as ONNX, its facts, its card.

Weights are rounded to half precision and stored so in ``model.onnx`` (a Cast after each, folded when the
model is loaded); what it does not hold as it is stands in ``weights.safetensors``, to train on from.
Arithmetic stays in single precision, and the rounded network is what is checked and scored: nothing changes
between what was measured and what ships.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnxscript import optimizer
from safetensors.torch import save_file
from torch import nn

from moodreel import __version__
from moodreel.emotions import GIFGIF_17, QUADRANTS
from moodreel.errors import BundleError
from moodreel.lab.card import SOURCES, write_card
from moodreel.lab.data.manifest import read_manifest
from moodreel.lab.evaluate import evaluate
from moodreel.lab.models.face_cnn import PIXEL_MEAN, PIXEL_STD, FaceCNN
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.networks import (
    OUTPUTS,
    build_graph,
    example_input,
    load_run,
    read_run_best,
    read_run_data,
    read_run_start,
)
from moodreel.lab.settings import KavanSettings, Recipe
from moodreel.lab.weights import HALF_SUFFIX, omit_stored
from moodreel.runtime.schema import SYSTEMS, BundleInfo, InputSpec, Labels, Sampling

TOLERANCE = 1e-4
"""Largest difference between ONNX Runtime and torch on any output before an export is refused."""

FACE_SAMPLING = Sampling(method="rate", fps=4.0, limit=16)
"""The face network sees four frames a second, at most sixteen a clip."""

HALVE_FROM = 64
"""Initializers with fewer values stay in single precision: nothing to save."""


def export(run: Path, out: Path, score: bool = True) -> None:
    """Writes the best weights of a run as a bundle folder.

    Args:
        run: run folder.
        out: bundle folder; replaced as a whole if it exists, and only once the new one is complete.
        score: measure the test split of each manifest of the run, and put the scores into the bundle.

    Raises:
        DataError: the run is incomplete.
        BundleError: ONNX Runtime and torch disagree, or ``out`` is a folder of something else.
    """
    if out.exists() and not (out / "bundle.json").is_file():
        raise BundleError(f"{out}: exists and is no bundle; choose another folder")
    recipe, net = load_run(run)
    data, start, best = read_run_data(run), read_run_start(run), read_run_best(run)
    _round_weights(net)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        draft.mkdir()
        _write_onnx(recipe, net, draft / "model.onnx")
        rest = omit_stored(_half_state(net), onnx.load(draft / "model.onnx"))
        save_file(rest, draft / "weights.safetensors")
        (draft / "weights.safetensors").chmod((draft / "model.onnx").stat().st_mode)  # it writes 0600
        info = _describe(out.name, recipe, net, data, {**({"start": start} if start else {}), **best}, draft)
        _finish(draft, info)
        if score:
            _finish(draft, replace(info, scores=_measure(draft, data)))
        if out.exists():
            shutil.rmtree(out)
        draft.rename(out)


def _measure(bundle: Path, data: list[dict[str, Any]]) -> dict[str, Any]:
    """Test scores on each manifest of the run that has a test split, if it is the one the run was given."""
    scores: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for entry in data:
        path = Path(entry["manifest"])
        if not entry["rows"]["test"]:
            continue
        if not path.is_file():
            absent[entry["name"]] = "the manifest is gone"
        elif read_manifest(path).digest != entry["sha256"]:
            absent[entry["name"]] = "the manifest is not the one the run was given"
        else:
            scores |= evaluate(str(bundle), [path], "test")
    headline = {}
    for name, values in scores.items():
        key = "accuracy" if "accuracy" in values else "mean_spearman"
        if key in values:
            headline[f"{name} {key}"] = values[key]
    return {"headline": headline, **scores, **({"not_measured": absent} if absent else {})}


def _round_weights(net: nn.Module) -> None:
    for tensor in net.state_dict().values():  # not what stands in the code, such as the pixels' mean and std
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())


def _half_state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in net.state_dict().items()}


def _write_onnx(recipe: Recipe, net: FaceCNN | Kavan, path: Path) -> None:
    graph = build_graph(net).eval()
    example = example_input(recipe)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of its own deprecations
        program = torch.onnx.export(
            graph,
            (example,),
            input_names=["frames"],
            output_names=list(OUTPUTS[recipe.system])[: len(graph(example))],
            dynamic_shapes=({0: torch.export.Dim("clips", min=1, max=4096)},),
            opset_version=18,
            dynamo=True,
            optimize=False,
            verbose=False,
        )
    assert program is not None
    # Constants are folded, batch norms not: folded ones would be rounded again, away from the torch network.
    # ONNX Runtime folds them, in single precision, when it loads the model.
    optimizer.fold_constants(program.model)
    optimizer.remove_unused_nodes(program.model)
    model = program.model_proto
    _strip_metadata(model)
    _halve_initializers(model)
    onnx.checker.check_model(model)
    path.write_bytes(model.SerializeToString())
    _compare(graph, path, [example, example_input(recipe, 1), example_input(recipe, 5)])


def _strip_metadata(model: onnx.ModelProto) -> None:
    """Drops what the exporter notes of its own run: stack traces, with the paths of the machine."""
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.value_info,
        *graph.input,
        *graph.output,
        *graph.initializer,
    ):
        del part.metadata_props[:]
        if isinstance(part, onnx.NodeProto):
            part.ClearField("doc_string")
    for function in model.functions:
        for inner in (function, *function.node, *function.value_info):
            del inner.metadata_props[:]


def _halve_initializers(model: onnx.ModelProto) -> None:
    """Stores large float32 initializers as float16, each followed by a Cast back."""
    casts = []
    for tensor in model.graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT:
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < HALVE_FROM:
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(values.astype(np.float16), name + HALF_SUFFIX))
        casts.append(helper.make_node("Cast", [name + HALF_SUFFIX], [name], to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)


def _compare(graph: nn.Module, path: Path, inputs: list[torch.Tensor]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    for frames in inputs:
        with torch.no_grad():
            expected = graph(frames)
        for name, ours, theirs in zip(
            (o.name for o in session.get_outputs()),
            session.run(None, {"frames": frames.numpy()}),
            expected,
            strict=True,
        ):
            difference = float(np.abs(ours - theirs.numpy()).max())
            if not difference <= TOLERANCE:
                raise BundleError(
                    f"{path}: output {name} differs from torch by {difference:.2g}, allowed {TOLERANCE:g}"
                )


def _describe(
    name: str,
    recipe: Recipe,
    net: FaceCNN | Kavan,
    data: list[dict[str, Any]],
    facts: dict[str, Any],
    folder: Path,
) -> BundleInfo:
    system = SYSTEMS[recipe.system]
    supervised = Labels(system.emotions, system.categories)
    sampling = FACE_SAMPLING
    mean, std = PIXEL_MEAN, PIXEL_STD
    if isinstance(net, Kavan):
        assert isinstance(recipe.model, KavanSettings)
        supervised = Labels(
            tuple(e for e, on in zip(GIFGIF_17, net.supervised_emotions.tolist(), strict=True) if on),
            tuple(q for q, on in zip(QUADRANTS, net.supervised_categories.tolist(), strict=True) if on),
        )
        sampling = Sampling(method="segments", count=recipe.model.frames)
        mean, std = tuple(net.mean.tolist()), tuple(net.std.tolist())
    size = recipe.model.input_size
    kept = ("name", "rows", "sha256", "supervises")
    sources = [{k: entry[k] for k in kept if k in entry} for entry in data]
    return BundleInfo(
        name=name,
        system=recipe.system,
        version=__version__,
        labels=Labels(system.emotions, system.categories),
        supervised=supervised,
        input=InputSpec(size, size, "stretch", mean, std),
        sampling=sampling,
        training={
            "recipe": recipe.to_dict(),
            "data": sources,
            **facts,
        },
        licences=tuple(f"{e['name']}: {SOURCES.get(e['name'], 'see its owner')}" for e in data),
        sha256={
            file: hashlib.sha256((folder / file).read_bytes()).hexdigest()
            for file in ("model.onnx", "weights.safetensors")
        },
    )


def _finish(folder: Path, info: BundleInfo) -> None:
    (folder / "bundle.json").write_text(info.to_json(), encoding="utf-8")
    (folder / "card.md").write_text(write_card(info), encoding="utf-8")
