"""``moodreel ablate sta``: Tables 1 to 3 of STA on any manifest with traces, several seeds a network.

Lee et al. 2018, Sec. 3. All networks learn from the same aligned faces. What is scored is post-processed as
the paper's predictions are: median, centring and scaling, fitted on the validation clips of each run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch

from moodreel.errors import DataError, SettingsError
from moodreel.lab import metrics
from moodreel.lab.ablation.facts import list_facts
from moodreel.lab.ablation.memory import tell_rates, train_at_rates
from moodreel.lab.ablation.seed_report import Outline
from moodreel.lab.ablation.seed_scores import HeldOut, Metric, Ordering, SeedScores, Statistic, on_rows
from moodreel.lab.data.face_video import FaceVideoDataset, cut_faces
from moodreel.lab.data.manifest import Manifest, Row, read_manifest
from moodreel.lab.fit_postprocess import LIVE_MEDIANS, fit_postprocess
from moodreel.lab.models.sta import TraceNetwork
from moodreel.lab.models.sta_peers import build_trace_network
from moodreel.lab.modules_sta import StaModule, join_windows, load_windows
from moodreel.lab.protocols import t_interval
from moodreel.lab.seed_study import (
    Outcome,
    SeedStudy,
    StudyOptions,
    StudyRow,
    read_seed_study,
    run_seed_study,
)
from moodreel.lab.settings import Recipe, choose_recipe
from moodreel.lab.settings_sta import StaSettings
from moodreel.lab.trace_metrics import join_traces, score_traces
from moodreel.lab.trace_regions import Regions, mask_clip, score_regions
from moodreel.types import Float32Array, FloatArray, IntArray

PAPER_SET = "RECOLA"

TABLE: Mapping[str, tuple[str, tuple[float, float, float] | None]] = {
    "2d-cnn": ("2D-CNN", (0.113, 0.426, 0.326)),
    "2d-cnn-channels": ("2D-CNN, frames as channels", None),
    "3d-cnn": ("3D-CNN", (0.104, 0.510, 0.493)),
    "cnn-rnn-1s": ("CNN + RNN, 1 s", (0.111, 0.501, 0.474)),
    "cnn-rnn-4s": ("CNN + RNN, 4 s", (0.108, 0.544, 0.506)),
    "cnn-lstm": ("CNN + LSTM + epsilon-loss", (0.116, 0.561, 0.538)),
    "sta": ("3D-CNN + STA", (0.102, 0.572, 0.546)),
}
"""Tables 1 and 2: network -> name; RMSE, CC and CCC on RECOLA. Table 2's "CNN" is Table 1's 2D-CNN."""

PAPER_NOTE = (
    "The paper's Table 1 (2D-CNN, 3D-CNN, 3D-CNN + STA) and Table 2 are of RECOLA, with post-processing. Not "
    "rebuilt there: the baseline (RMSE 0.117, CC 0.358, CCC 0.273), LGBP-TOP with an LSTM (0.114, 0.430, "
    "0.354), with a bidirectional one (0.105, 0.501, 0.346), with an LSTM and epsilon-loss (0.121, 0.488, "
    "0.463). Table 3, AV+EC 2017: baseline CCC 0.400; CNN 0.114, 0.564, 0.528; CNN + RNN, 4 s 0.104, 0.616, "
    "0.588; 3D-CNN + STA 0.099, 0.638, 0.612."
)
"""Stands in the report: numbers that belong to no row of ours."""

ORDERINGS = (
    Ordering("3d-cnn", "2d-cnn", "ccc", "Table 1"),
    Ordering("sta", "3d-cnn", "ccc", "Table 1"),
    Ordering("sta", "3d-cnn", "cc", "Table 1"),
    Ordering("sta", "3d-cnn", "rmse", "Table 1"),
    Ordering("cnn-rnn-1s", "2d-cnn", "ccc", "Table 2"),
    Ordering("cnn-rnn-4s", "cnn-rnn-1s", "ccc", "Table 2"),
    Ordering("cnn-lstm", "cnn-rnn-4s", "ccc", "Table 2"),
    Ordering("sta", "cnn-lstm", "ccc", "Table 2"),
    Ordering("sta", "cnn-rnn-4s", "ccc", "Tables 2, 3"),
    Ordering("cnn-rnn-4s", "2d-cnn", "ccc", "Table 3"),
)
"""What the paper says is better than what."""


def _measure(name: str, predicted: str = "valence") -> Statistic:
    def measure(values: FloatArray, gold: FloatArray) -> float:
        return float(getattr(score_traces([values], [gold]), name))

    return on_rows(measure, predicted, "gold")


METRICS = (
    Metric("rmse", "RMSE", False, better="less", digits=3, statistic=_measure("rmse")),
    Metric("cc", "CC", False, digits=3, statistic=_measure("cc")),
    Metric("ccc", "CCC", False, digits=3, statistic=_measure("ccc")),
    Metric("ccc_raw", "CCC, not post-processed", False, digits=3, statistic=_measure("ccc", "raw")),
    Metric("ccc_validation", "CCC, validation", False, digits=3),
)

Ticks = dict[str, Float32Array]
"""Name -> [n], one value a tick of the test clips that has a gold standard."""


def ablate_sta(
    options: StudyOptions,
    report: Callable[[str], None] = lambda line: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> tuple[SeedScores, Outline]:
    """Runs what is not finished yet, and returns everything the tables are made of.

    Args:
        options: see there.
        report: called with a line on each finished run.
        progress: called with (done, total) while faces are cut out.

    Raises:
        SettingsError, DataError: the command or the data is wrong.
        MissingExtra: rows without keypoints, and no detector.
    """
    recipe = choose_recipe(options.recipe, "sta")
    model = recipe.model
    assert isinstance(model, StaSettings)
    if model.head != "frame":
        raise SettingsError("model.head", model.head, "'frame', which all rows have")
    rows = choose_rows(options.rows, model)
    manifest = read_manifest(options.data)
    parts = {split: _traced(manifest, split) for split in ("train", "val", "test")}
    everything = [row for part in parts.values() for row in part]
    rates = options.rates or (recipe.train.learning_rate,)
    facts = list_facts(manifest, options.data, recipe, rates)
    options.out.mkdir(exist_ok=True)
    folder = options.cache or options.out / "features"
    cutter, failures = cut_faces(folder, model, everything, lambda done: progress(done, len(everything)))
    for failure in failures:
        report(f"left out: {failure.reason}")
    clips = {
        split: FaceVideoDataset(part, cutter, recipe.train.seed, train=split == "train")
        for split, part in parts.items()
    }
    test = _TestClips(parts["test"], clips["test"], model)
    fitter = _Fitter(recipe, model, clips, rates, test)
    run_seed_study(options.out, facts, rows, range(options.seeds), fitter.fit, report)
    study = read_seed_study(options.out, rows)
    return SeedScores(study, METRICS, test.held_out), _outline(study, clips, test, model, len(failures))


def choose_rows(keys: Sequence[str], model: StaSettings) -> list[StudyRow]:
    """Rows of the study, in the paper's order.

    Raises:
        SettingsError: an unknown key.
    """
    for key in keys:
        if key not in TABLE:
            raise SettingsError("rows", key, f"some of {', '.join(TABLE)}")
    rows = []
    for key, (name, paper) in TABLE.items():
        if not keys or key in keys:
            count = sum(weight.numel() for weight in build_row(key, model).parameters())
            told = {} if paper is None else dict(zip(("rmse", "cc", "ccc"), paper, strict=True))
            rows.append(StudyRow(key, name, count, told))
    return rows


def build_row(key: str, model: StaSettings) -> TraceNetwork:
    """The network of a row, at random: another network and, of ``cnn-lstm``, its loss; all else the same."""
    loss = "epsilon" if key == "cnn-lstm" else model.loss
    return build_trace_network(replace(model, network=key, loss=loss))


@dataclass(frozen=True, eq=False)
class _Said:
    """What a network says of the windows of a split.

    Attributes:
        batches: as :func:`join_windows` takes them.
        attention: [windows, T, S, S] in the order of the windows; None for a network without.
    """

    batches: list[dict[str, torch.Tensor]]
    attention: Float32Array | None


class _TestClips:
    """The test clips: gold standards, groups, and where eyes and mouth are."""

    def __init__(self, rows: Sequence[Row], clips: FaceVideoDataset, model: StaSettings) -> None:
        self.clips = clips
        self.numbers: list[int] = sorted(set(clips.clip.tolist()))
        self.regions: dict[int, list[Regions | None]] = {
            number: mask_clip(rows[number], model.fps, model.input_size)
            for number in self.numbers
            if rows[number].keypoints is not None
        }
        known = (clips.labelled & clips.inside).numpy()
        counts = [int(known[clips.clip.numpy() == number].sum()) for number in self.numbers]
        self.held_out = HeldOut(
            [rows[k].group for k, n in zip(self.numbers, counts, strict=True) for _ in range(n)]
        )

    def look(self, attention: Float32Array) -> Ticks:
        """Attention on eyes and mouth, and their area, of each tick with a gold standard; NaN where unknown.

        Args:
            attention: [windows, T, S, S].
        """
        out: dict[str, list[float]] = {"mass": [], "area": [], "pointing": []}
        clip, inside = self.clips.clip.numpy(), self.clips.inside.numpy()
        labelled, found = self.clips.labelled.numpy(), self.clips.found.numpy()
        for number in self.numbers:
            mine = clip == number
            maps = attention[mine][inside[mine]]
            asked, seen = labelled[mine][inside[mine]], found[mine][inside[mine]]
            for tick in np.flatnonzero(asked).tolist():
                regions = self.regions[number][tick] if seen[tick] and number in self.regions else None
                told = (float("nan"),) * 3
                if regions is not None and np.ptp(maps[tick]) > 0:  # even by construction at a window's start
                    scores = score_regions(maps[tick], regions)
                    told = scores.mass, scores.mass_chance, scores.pointing
                for values, value in zip(out.values(), told, strict=True):
                    values.append(value)
        return {name: np.array(values, np.float32) for name, values in out.items()}


class _Fitter:
    """Trains rows and scores them."""

    def __init__(
        self,
        recipe: Recipe,
        model: StaSettings,
        clips: Mapping[str, FaceVideoDataset],
        rates: Sequence[float],
        test: _TestClips,
    ) -> None:
        self.recipe, self.model, self.clips, self.rates, self.test = recipe, model, clips, rates, test

    def fit(self, row: StudyRow, seed: int) -> Outcome:
        """See :data:`moodreel.lab.seed_study.Fit`."""
        net, facts = self._train(row.key, seed)
        held = join_windows(_ask(net, self.clips["val"]).batches)
        fitted = fit_postprocess(held, LIVE_MEDIANS)
        said = _ask(net, self.clips["test"])
        traces = join_windows(said.batches)
        shipped = [fitted.chain.apply(trace.times, trace.predicted) for trace in traces]
        gold = [trace.gold for trace in traces]
        valence, known = join_traces(shipped, gold)
        raw, _ = join_traces([trace.predicted for trace in traces], gold)
        arrays: Ticks = {
            name: values.astype(np.float32)
            for name, values in (("valence", valence), ("raw", raw), ("gold", known))
        }
        whole = np.arange(len(arrays["gold"]))
        scores = {m.key: m.statistic(arrays, whole) for m in METRICS if m.statistic is not None}
        scores["ccc_validation"] = fitted.after.ccc
        if said.attention is not None:
            arrays |= self.test.look(said.attention)
        return Outcome(scores, arrays, {**facts, "post": fitted.post})

    def _train(self, key: str, seed: int) -> tuple[TraceNetwork, dict[str, Any]]:
        train, held = self.clips["train"], self.clips["val"]
        train.seed = seed
        net, facts = train_at_rates(
            lambda settings: StaModule(build_row(key, self.model), settings),
            lambda settings: load_windows(train, held, settings),
            replace(self.recipe.train, seed=seed),
            self.rates,
        )
        assert isinstance(net, TraceNetwork)
        return net, facts


def _ask(net: TraceNetwork, clips: FaceVideoDataset) -> _Said:
    batches, maps = [], []
    with torch.no_grad():
        for start in range(0, len(clips), 16):
            batch = torch.utils.data.default_collate(
                [clips[index] for index in range(start, min(start + 16, len(clips)))]
            )
            out = net(net.normalise(batch.pop("frames")))
            batches.append({**batch, "valence": out.valence.clamp(-1, 1)})
            if out.attention is not None:
                maps.append(out.attention.numpy())
    return _Said(batches, np.concatenate(maps) if maps else None)


def _traced(manifest: Manifest, split: str) -> list[Row]:
    rows = [row for row in manifest.select(split) if row.trace is not None]
    if not rows:
        raise DataError(f"{manifest.path}: no row of split {split!r} names a trace")
    return rows


def _outline(
    study: SeedStudy,
    clips: Mapping[str, FaceVideoDataset],
    test: _TestClips,
    model: StaSettings,
    failed: int,
) -> Outline:
    rows = {row.key for row in study.rows}
    counts = {split: len(set(part.clip.tolist())) for split, part in clips.items()}
    windows, ticks = len(clips["train"]), len(test.held_out.groups)
    notes = [
        f"Data: {study.facts['name']}, manifest sha256 {study.facts['sha256'][:12]}; {counts['train']} clips "
        f"with a face and a gold standard to train on ({windows} windows of {model.frames} ticks), "
        f"{counts['val']} to validate, {counts['test']} to test ({ticks} ticks); {failed} unreadable.",
        f"Faces: those of the manifest's keypoints, or else found, aligned to {model.input_size} px, "
        f"{model.fps:g} a second. All networks have filters {', '.join(map(str, model.filters))} (the "
        "paper's: 32, 64, 128, 256).",
        f"Learning rate: {tell_rates(study.facts['rates'])}; the epoch with the best CCC on validation is "
        "kept, and post-processing is fitted there; the test clips choose nothing.",
        PAPER_NOTE,
        *_tell_attention(study, test),
    ]
    orderings = [order for order in ORDERINGS if {order.better, order.worse} <= rows]
    return Outline("STA and its rivals", PAPER_SET, tuple(orderings), notes=tuple(notes), failed=failed)


def _tell_attention(study: SeedStudy, test: _TestClips) -> list[str]:
    """Whether attention sits on eyes and mouth (Fig. 5): its mass there against their area."""
    runs = study.list_runs("sta")
    if not runs:
        return []
    known = ~np.isnan(np.stack([run.arrays["mass"] for run in runs])).any(axis=0)
    if not known.any():
        return ["Where eyes and mouth are is not known of any test clip."]
    mass, area, pointing = (
        np.stack([run.arrays[name][known] for run in runs]).astype(float)
        for name in ("mass", "area", "pointing")
    )
    groups = np.asarray(test.held_out.groups)[known].tolist()
    return [
        f"Attention of 3D-CNN + STA on eyes and mouth, which are {area.mean():.1%} of the area: "
        f"{mass.mean():.1%} of its mass ({_tell_gain(mass - area, groups)}); its peak in "
        f"{pointing.mean():.1%} of {len(groups)} ticks ({_tell_gain(pointing - area, groups)}). A window's "
        "first tick is even by construction and left out."
    ]


def _tell_gain(gain: FloatArray, groups: Sequence[str]) -> str:
    """A mean [seeds, ticks] of shares in points, with what other seeds and other test clips would change."""
    over_seeds = t_interval(gain.mean(axis=1).tolist())
    every = gain.mean(axis=0)

    def mean(chosen: IntArray) -> float:
        return float(every[chosen].mean())

    bounds = [(over_seeds.low, over_seeds.high), metrics.bootstrap_interval(mean, groups)]
    seeds, clips = (f"{100 * low:+.1f} to {100 * high:+.1f}" for low, high in bounds)
    return f"{100 * over_seeds.mean:+.1f} points; 95 %: {seeds} over seeds, {clips} over test groups"
