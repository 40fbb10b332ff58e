"""From a run to a bundle: the network as ONNX, its facts, its card.

Weights are rounded to half precision and stored so in ``model.onnx`` (a Cast after each, folded when the
model is loaded); what it does not hold as it is stands in ``weights.safetensors``, to train on from.
Arithmetic stays in single precision, and the rounded network is what is checked and scored: nothing changes
between what was measured and what ships.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import onnx
import torch
from safetensors.torch import save_file
from torch import nn

from moodreel import __version__
from moodreel.emotions import GIFGIF_17, QUADRANTS
from moodreel.errors import BundleError, require
from moodreel.lab.calibrate import fold_temperature
from moodreel.lab.card import SOURCES, write_card
from moodreel.lab.data.manifest import read_manifest
from moodreel.lab.evaluate import evaluate
from moodreel.lab.flops import count_bundle_flops
from moodreel.lab.graphs_caca_rnn import write_graphs
from moodreel.lab.models.caca_rnn_system import CacaRnnSystem
from moodreel.lab.models.face_cnn import PIXEL_MEAN, PIXEL_STD
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.models.sta import TraceNetwork
from moodreel.lab.networks import (
    OUTPUTS,
    Network,
    build_graph,
    example_input,
    load_run,
    read_run_best,
    read_run_data,
    read_run_start,
)
from moodreel.lab.onnx_files import compare_onnx, save_onnx, trace_onnx
from moodreel.lab.quantise import quantise
from moodreel.lab.settings import FaceSettings, Recipe
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.settings_sta import StaSettings
from moodreel.lab.weights import find_graph_weights, list_parts, omit_stored
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.files import replace_folder
from moodreel.runtime.schema import SYSTEMS, BundleInfo, InputSpec, Labels, Post, Sampling

FACE_SAMPLING = Sampling(method="rate", fps=4.0, limit=16)
"""The face network sees four frames a second, at most sixteen a clip."""

HEADLINES = ("accuracy", "mean_spearman", "ccc")
"""Scores that ``moodreel models`` prints: the first of these that a system has."""


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
    _check_out(out)
    recipe, net = load_run(run)
    data, start, best = read_run_data(run), read_run_start(run), read_run_best(run)
    for layer, temperature in best.get("temperature", {}).items():
        fold_temperature(cast(nn.Linear, net.get_submodule(layer)), temperature)
    _round_weights(net)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        draft.mkdir()
        _write_graphs(recipe, net, draft)
        rest = omit_stored(_half_state(net), _held_weights(recipe.system, draft))
        save_file(rest, draft / "weights.safetensors")
        (draft / "weights.safetensors").chmod((draft / "model.onnx").stat().st_mode)  # it writes 0600
        info = _describe(out.name, recipe, net, data, {**({"start": start} if start else {}), **best}, draft)
        _finish(draft, info)
        if score:
            _finish(draft, replace(info, scores=_measure(draft, data)))
        replace_folder(draft, out)


def export_int8(target: str, out: Path, data: Sequence[Path] = (), score: bool = True) -> None:
    """Writes a bundle in 8 bits: about 2.7 times as fast on processors with VNNI, and not to train on from.

    Args:
        target: run folder, bundle folder or zip, or the name of a bundle that ships.
        out: bundle folder; replaced as a whole if it exists, and only once the new one is complete.
        data: manifests: their training splits calibrate, their test splits are scored; a run has its own.
        score: as in :func:`export`.

    Raises:
        DataError: the run is incomplete, or a manifest is wrong.
        BundleError: ``out`` is a folder of something else, or the target is no bundle in single precision.
        SettingsError: ``data`` is missing, or the target is of a system that loses too much.
    """
    _check_out(out)
    run = Path(target)
    is_run = (run / "recipe.json").is_file()
    entries = read_run_data(run) if is_run and not data else [describe_manifest(path) for path in data]
    require(bool(entries), "data", None, "manifests to calibrate with: a bundle has none of its own")
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        if is_run:
            export(run, Path(folder) / "whole", score=False)
        bundle = read_bundle(Path(folder) / "whole" if is_run else target)
        draft = Path(folder) / out.name
        draft.mkdir()
        trained_on = [Path(entry["manifest"]) for entry in entries if entry["rows"]["train"]]
        require(bool(trained_on), "data", [entry["manifest"] for entry in entries], "rows of split 'train'")
        info = replace(quantise(bundle, draft, trained_on), name=out.name)
        _finish(draft, info)
        if score:
            _finish(draft, replace(info, scores=_measure(draft, entries)))
        replace_folder(draft, out)


def describe_manifest(path: Path) -> dict[str, Any]:
    """A manifest as a run's ``data.json`` names it.

    Raises:
        DataError: it is wrong.
    """
    manifest = read_manifest(path)
    return {
        "manifest": str(path),
        "name": manifest.name,
        "sha256": manifest.digest,
        "rows": manifest.count_rows(),
    }


def _check_out(out: Path) -> None:
    if out.exists() and not (out / "bundle.json").is_file():
        raise BundleError(f"{out}: exists and is no bundle; choose another folder")


def _measure(bundle: Path, data: list[dict[str, Any]]) -> dict[str, Any]:
    """Test scores on each manifest of the run that has a test split, if it is the one the run was given.

    Of sta not on stills, which may teach it and are no traces.
    """
    system = read_bundle(bundle).info.system
    scores: dict[str, Any] = {}
    absent: dict[str, str] = {}
    for entry in data:
        path = Path(entry["manifest"])
        if not entry["rows"]["test"]:
            continue
        if not path.is_file():
            absent[entry["name"]] = "the manifest is gone"
            continue
        manifest = read_manifest(path)
        if manifest.digest != entry["sha256"]:
            absent[entry["name"]] = "the manifest is not the one the run was given"
        elif system != "sta" or any(row.trace is not None for row in manifest.select("test")):
            scores |= evaluate(str(bundle), [path], "test")
    headline = {}
    for name, values in scores.items():
        key = next((key for key in HEADLINES if key in values), None)
        if key is not None:
            headline[f"{name} {key}"] = values[key]
    return {"headline": headline, **scores, **({"not_measured": absent} if absent else {})}


def _round_weights(net: nn.Module) -> None:
    for tensor in net.state_dict().values():  # not what stands in the code, such as the pixels' mean and std
        if tensor.is_floating_point():
            tensor.copy_(tensor.half().float())


def _held_weights(system: str, folder: Path) -> dict[str, torch.Tensor]:
    held: dict[str, torch.Tensor] = {}
    for file, prefix in list_parts(system).items():
        held |= find_graph_weights(onnx.load(folder / file), prefix)
    return held


def _half_state(net: nn.Module) -> dict[str, torch.Tensor]:
    return {k: (v.half() if v.is_floating_point() else v).contiguous() for k, v in net.state_dict().items()}


def _write_graphs(recipe: Recipe, net: Network, folder: Path) -> None:
    if isinstance(net, CacaRnnSystem):
        assert isinstance(recipe.model, CacaRnnSettings)
        write_graphs(net, recipe.model, folder)
        return
    graph = build_graph(net).eval()
    examples = [example_input(recipe, count) for count in (2, 1, 5)]
    names = list(OUTPUTS[recipe.system])[: len(graph(examples[0]))]
    save_onnx(trace_onnx(graph, examples[0], names), folder / "model.onnx")
    with torch.no_grad():
        compare_onnx(folder / "model.onnx", [({"frames": frames}, graph(frames)) for frames in examples])


def _describe(
    name: str,
    recipe: Recipe,
    net: Network,
    data: list[dict[str, Any]],
    facts: dict[str, Any],
    folder: Path,
) -> BundleInfo:
    system = SYSTEMS[recipe.system]
    supervised = Labels(system.emotions, system.categories)
    if isinstance(recipe.model, CacaRnnSettings):
        assert isinstance(net, CacaRnnSystem)
        if recipe.model.vocabulary != "mec":
            raise BundleError(
                f"a caca-rnn bundle has the classes of MEC; this run has those of {recipe.model.vocabulary}"
            )
        learnt = {name for entry in data for name in entry["supervises"]}
        supervised = Labels((), tuple(name for name in system.categories if name in learnt))
        sampling = Sampling(method="rate", fps=recipe.model.fps, limit=recipe.model.limit)
        size = recipe.model.context_size
        spec = InputSpec(
            size,
            size,
            "centre",
            tuple(net.extractors.context.mean.tolist()),
            tuple(net.extractors.context.std.tolist()),
            face=recipe.model.face_size,
            pairing=recipe.model.context,
        )
    elif isinstance(recipe.model, StaSettings):
        assert isinstance(net, TraceNetwork)
        sampling = Sampling(method="rate", fps=recipe.model.fps, limit=recipe.model.frames)
        size = recipe.model.input_size
        spec = InputSpec(size, size, "stretch", tuple(net.mean.tolist()), tuple(net.std.tolist()))
    elif isinstance(recipe.model, FaceSettings):
        sampling = FACE_SAMPLING
        spec = InputSpec(recipe.model.input_size, recipe.model.input_size, "stretch", PIXEL_MEAN, PIXEL_STD)
    else:
        assert isinstance(net, Kavan)
        supervised = Labels(
            tuple(e for e, on in zip(GIFGIF_17, net.supervised_emotions.tolist(), strict=True) if on),
            tuple(q for q, on in zip(QUADRANTS, net.supervised_categories.tolist(), strict=True) if on),
        )
        sampling = Sampling(method="segments", count=recipe.model.frames)
        size = recipe.model.input_size
        spec = InputSpec(size, size, "stretch", tuple(net.mean.tolist()), tuple(net.std.tolist()))
    kept = ("name", "rows", "sha256", "supervises")
    sources = [{k: entry[k] for k in kept if k in entry} for entry in data]
    return BundleInfo(
        name=name,
        system=recipe.system,
        version=__version__,
        labels=Labels(system.emotions, system.categories),
        supervised=supervised,
        input=spec,
        sampling=sampling,
        training={
            "recipe": recipe.to_dict(),
            "data": sources,
            **{name: fact for name, fact in facts.items() if name != "post"},
        },
        licences=tuple(f"{e['name']}: {SOURCES.get(e['name'], 'see its owner')}" for e in data),
        sha256={
            file: hashlib.sha256((folder / file).read_bytes()).hexdigest()
            for file in (*list_parts(recipe.system), "weights.safetensors")
        },
        post=Post(**facts["post"]) if facts.get("post") else None,
    )


def _finish(folder: Path, info: BundleInfo) -> None:
    if not info.flops:
        content = {file: (folder / file).read_bytes() for file in SYSTEMS[info.system].files}
        info = replace(info, flops=count_bundle_flops(info.system, content.__getitem__))
    (folder / "bundle.json").write_text(info.to_json(), encoding="utf-8")
    (folder / "card.md").write_text(write_card(info), encoding="utf-8")
