"""Settings of training runs: frozen dataclasses, and TOML recipes that map onto them one to one."""

from __future__ import annotations

import dataclasses
import itertools
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from moodreel.errors import SettingsError, require
from moodreel.lab.settings_caca_rnn import CacaRnnSettings
from moodreel.lab.settings_sta import StaSettings

T = TypeVar("T")


@dataclass(frozen=True)
class TrainSettings:
    """How a network is trained; the same for every system."""

    epochs: int = 40
    """Passes over the training rows."""
    batch: int = 128
    """Clips (or faces) a step."""
    learning_rate: float = 1e-3
    """Peak: after a linear warm-up, before a cosine decay to 0."""
    warmup: float = 0.1
    """Share of the steps spent warming up, in [0, 1)."""
    weight_decay: float = 0.05
    """AdamW's; biases and norms are exempt."""
    ema: float = 0.0
    """Decay of the exponential moving average of the weights that is validated and kept; 0 turns it off."""
    precision: str = "bf16"
    """"bf16" (autocast; measured 2.2 times as fast as "32" on a CPU with AVX-512 BF16) or "32"."""
    seed: int = 0
    """Of weights, order, sampling and augmentation."""
    workers: int = 0
    """Processes that make training clips; 0 makes them in the training process."""
    epoch_clips: int = 0
    """Clips an epoch draws (kavan); 0 takes as many as there are training rows."""
    validation_clips: int = 0
    """Labelled validation rows to use (kavan), evenly spread; 0 takes all."""
    shares: tuple[float, ...] = ()
    """How much of an epoch each manifest gives, in the order of --data (kavan); empty: by its rows."""
    keep_by: str = "score"
    """What the kept weights were best at on validation: "score", the system's own (kavan: concordance; face:
    accuracy and F1), "nmse" (kavan: L_RG, with the training targets' variance), or "last": nothing, the last
    epoch's weights (where validation is too small to choose by)."""
    devices: int = 1
    """GPUs, or without any processes on the CPU, that share each batch (face, kavan)."""

    def __post_init__(self) -> None:
        require(self.epochs >= 1, "train.epochs", self.epochs, "at least 1")
        require(self.batch >= 2, "train.batch", self.batch, "at least 2 (batch norm)")
        require(self.learning_rate > 0, "train.learning_rate", self.learning_rate, "above 0")
        require(0 <= self.warmup < 1, "train.warmup", self.warmup, "in [0, 1)")
        require(self.weight_decay >= 0, "train.weight_decay", self.weight_decay, "at least 0")
        require(0 <= self.ema < 1, "train.ema", self.ema, "in [0, 1)")
        require(self.precision in ("32", "bf16"), "train.precision", self.precision, "'32' or 'bf16'")
        require(self.workers >= 0, "train.workers", self.workers, "at least 0")
        require(self.epoch_clips >= 0, "train.epoch_clips", self.epoch_clips, "at least 0")
        few = self.validation_clips
        require(few >= 0, "train.validation_clips", few, "at least 0")
        good = all(isinstance(s, int | float) and s >= 0 for s in self.shares)
        require(
            good and (not self.shares or sum(self.shares) > 0), "train.shares", self.shares, "numbers >= 0"
        )
        kept = ("score", "nmse", "last")
        require(self.keep_by in kept, "train.keep_by", self.keep_by, "'score', 'nmse' or 'last'")
        require(self.devices >= 1, "train.devices", self.devices, "at least 1")


@dataclass(frozen=True)
class FaceSettings:
    """The still-image face network."""

    input_size: int = 96
    """Side of the square input, pixels; a multiple of 16."""
    features: int = 512
    """Size of the layer before the classes."""
    dropout: float = 0.3
    """On those features."""
    label_smoothing: float = 0.1
    """Of the cross entropy."""
    mixup: float = 0.0
    """Beta parameter of mixup; 0 turns it off."""
    teacher_weight: float = 0.0
    """Share of the loss that asks for the probabilities of teachers (``--teacher``), not for the labels."""
    teacher_temperature: float = 2.0
    """Of those probabilities."""

    def __post_init__(self) -> None:
        size = self.input_size
        require(size >= 32 and size % 16 == 0, "model.input_size", size, "a multiple of 16 from 32 on")
        require(self.features >= 1, "model.features", self.features, "at least 1")
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        require(0 <= self.label_smoothing < 1, "model.label_smoothing", self.label_smoothing, "in [0, 1)")
        require(self.mixup >= 0, "model.mixup", self.mixup, "at least 0")
        require(0 <= self.teacher_weight <= 1, "model.teacher_weight", self.teacher_weight, "in [0, 1]")
        warm = self.teacher_temperature
        require(warm > 0, "model.teacher_temperature", warm, "above 0")


@dataclass(frozen=True)
class KavanSettings:
    """KAVAN: sizes, tiers and loss weights. The defaults are the preset ``compact``."""

    preset: str = "compact"
    """Backbone: "compact" (stride 16, D = 256) or "paper" (ResNet-50, stride 32, D = 2048)."""
    input_size: int = 112
    """Side of the square input, pixels."""
    frames: int = 8
    """T: frames a clip, one from each equal segment of time."""
    hidden: int = 128
    """Size of every LSTM state, d."""
    attention: int = 32
    """Rows of A_h, A_H and A_c (Eq. 5 and 10)."""
    tiers: tuple[int, ...] = (4, 1)
    """Frames a node sees, tier by tier, coarse to fine; the last is 1. (1,) is the plain LSTM."""
    use_attention: bool = True
    """False replaces Eq. 4 by the mean over cells (the paper's rows without Soft-Att)."""
    dropout: float = 0.3
    """On h_T before the heads."""
    feature_dropout: float = 0.0
    """Share of the backbone's D channels that training takes from a whole clip, all frames and cells alike:
    with few clips no head can lean on one of them."""
    still_size: int = 0
    """Pixels a side at most of the stills that clips are composed from; 0: 1.5 times ``input_size``, so that
    a close-up, whose picture reaches beyond the frame, is reduced and not blown up."""
    whole_stills: float = 0.0
    """Share of the stills that training shows as they are, cropped, mirrored and lit anew, instead of
    composed into a clip with something around them; in [0, 1]."""
    whole_figures: float = 0.0
    """The same of cut-out figures (emoji), over white."""
    heatmap_temperature: float = 1.0
    """Of the softmax that makes M_t (after Eq. 8); 1 in the paper."""
    weight_category: float = 0.5
    """w_C of Eq. 12; 0 leaves the class head out of the loss."""
    weight_ranking: float = 0.1
    """w_RANK of Eq. 12."""
    weight_keypoints: float = 1.0
    """w_kp of Eq. 9."""
    ranking_margin: float = 0.0
    """Margin of the pairwise logistic surrogate of Eq. 11."""
    backbone_weights: str = "none"
    """For preset "paper": "imagenet", "none" or a path."""
    backbone_rate: float = 1.0
    """Learning rate of the backbone relative to the rest; 0 freezes it."""

    @property
    def stride(self) -> int:
        """Pixels a side of one cell of the backbone's grid."""
        return 16 if self.preset == "compact" else 32

    @property
    def grid(self) -> int:
        """Cells a side, h = w; K of the paper is its square."""
        return self.input_size // self.stride

    @property
    def longest_still(self) -> int:
        """``still_size``, or what follows from the input's size."""
        return self.still_size or self.input_size * 3 // 2

    def __post_init__(self) -> None:
        require(self.preset in ("compact", "paper"), "model.preset", self.preset, "'compact' or 'paper'")
        stride, size = self.stride, self.input_size
        require(size >= stride and size % stride == 0, "model.input_size", size, f"a multiple of {stride}")
        still = self.still_size
        require(still == 0 or still >= 16, "model.still_size", still, "0, or at least 16")
        for name in ("whole_stills", "whole_figures"):
            require(0 <= getattr(self, name) <= 1, f"model.{name}", getattr(self, name), "in [0, 1]")
        require(self.frames >= 1, "model.frames", self.frames, "at least 1")
        require(self.hidden >= 1, "model.hidden", self.hidden, "at least 1")
        require(self.attention >= 1, "model.attention", self.attention, "at least 1")
        tiers = self.tiers
        whole = len(tiers) >= 1 and all(type(n) is int for n in tiers)
        require(whole and tiers[-1] == 1, "model.tiers", tiers, "whole numbers that end in 1")
        good = all(n >= 1 and self.frames % n == 0 for n in tiers)
        require(good, "model.tiers", tiers, f"sizes that divide {self.frames} frames")
        nested = all(a % b == 0 for a, b in itertools.pairwise(tiers))
        require(nested, "model.tiers", tiers, "each size a multiple of the next")
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        drop = self.feature_dropout
        require(0 <= drop < 1, "model.feature_dropout", drop, "in [0, 1)")
        require(
            self.heatmap_temperature > 0, "model.heatmap_temperature", self.heatmap_temperature, "above 0"
        )
        for name in ("weight_category", "weight_ranking", "weight_keypoints", "backbone_rate"):
            value = getattr(self, name)
            require(value >= 0, f"model.{name}", value, "at least 0")


ModelSettings = FaceSettings | KavanSettings | CacaRnnSettings | StaSettings

PAPER_KAVAN = KavanSettings(preset="paper", input_size=224, hidden=2048, backbone_weights="imagenet")
"""The paper's sizes (Sec. 4.2): ResNet-50, 224 pixels, T = 8, hidden 2048, two nodes of four."""


@dataclass(frozen=True)
class Recipe:
    """One training run: the system, its network and how it is trained."""

    system: str
    """A key of :data:`MODEL_SETTINGS`."""
    model: ModelSettings
    """Settings of the network."""
    train: TrainSettings = field(default_factory=TrainSettings)
    """Settings of the training."""

    def __post_init__(self) -> None:
        kept = self.train.keep_by
        allowed = kept != "nmse" or isinstance(self.model, KavanSettings)
        require(allowed, "train.keep_by", kept, f"'score' or 'last', of {self.system}")

    def to_dict(self) -> dict[str, Any]:
        """As plain values; :func:`recipe_from_dict` reads it back."""
        return {"system": self.system, **dataclasses.asdict(self)}


MODEL_SETTINGS: Mapping[str, type[ModelSettings]] = {
    "face": FaceSettings,
    "kavan": KavanSettings,
    "caca-rnn": CacaRnnSettings,
    "sta": StaSettings,
}
"""The settings class of each system that can be trained."""

PAPER_TRAINING = TrainSettings(batch=16, learning_rate=1e-4, weight_decay=0.0, warmup=0.0, precision="32")
"""STA's (Sec. 3.1): Adam, which AdamW without decay is, at 1e-4, minibatches of 16 clips. The rate decays by
a cosine; the paper calls its rate the initial one and names no schedule."""

TRAIN_DEFAULTS: Mapping[str, TrainSettings] = {"sta": PAPER_TRAINING}
"""What a recipe leaves out of ``train``, where a system has defaults of its own."""


def recipe_from_dict(values: Mapping[str, Any], system: str | None = None) -> Recipe:
    """Builds a recipe from plain values, as a TOML file gives them.

    Args:
        values: keys ``system``, ``model`` and ``train``; what is left out has its default.
        system: the system that was asked for; must agree with ``values["system"]`` where that is given.

    Raises:
        SettingsError: an unknown key, a wrong type or a value that is not allowed.
    """
    for key in values:
        require(key in ("system", "model", "train"), key, values[key], "one of system, model, train")
    name = values.get("system", system)
    require(name in MODEL_SETTINGS, "system", name, " or ".join(MODEL_SETTINGS))
    require(system in (None, name), "system", name, f"{system!r}, as asked for")
    return Recipe(
        system=name,
        model=_build(MODEL_SETTINGS[name], "model", values.get("model", {})),
        train=_build(TrainSettings, "train", values.get("train", {}), TRAIN_DEFAULTS.get(name)),
    )


def read_recipe(path: Path, system: str | None = None) -> Recipe:
    """Reads a TOML recipe.

    Raises:
        SettingsError: it cannot be read or parsed, or holds something unknown or not allowed.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise SettingsError("recipe", str(path), f"a readable TOML file ({error})") from error
    return recipe_from_dict(values, system)


def choose_recipe(path: Path | None, system: str) -> Recipe:
    """The recipe of a file, or without one the defaults of the system's settings.

    Raises:
        SettingsError: as :func:`read_recipe`.
    """
    return read_recipe(path, system) if path is not None else recipe_from_dict({}, system)


def _build(cls: type[T], prefix: str, values: Mapping[str, Any], base: T | None = None) -> T:
    require(isinstance(values, Mapping), prefix, values, "a table")
    fields = {f.name: f for f in dataclasses.fields(cls)}  # type: ignore[arg-type]
    chosen: dict[str, Any] = {}
    for key, value in values.items():
        require(key in fields, f"{prefix}.{key}", value, f"one of {', '.join(fields)}")
        default = fields[key].default
        if isinstance(default, tuple) and isinstance(value, list):
            value = tuple(value)
        if isinstance(default, float) and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
        wanted = type(default).__name__
        require(type(value) is type(default), f"{prefix}.{key}", value, f"a value of type {wanted}")
        chosen[key] = value
    return cls(**chosen) if base is None else dataclasses.replace(base, **chosen)  # type: ignore[type-var]
