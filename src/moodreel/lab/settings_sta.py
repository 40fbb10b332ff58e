"""Settings of STA (3D-CNN with spatiotemporal attention) and of the networks its paper compares it with."""

from __future__ import annotations

import math
from dataclasses import dataclass

from moodreel.errors import require

NETWORKS = ("sta", "3d-cnn", "2d-cnn", "2d-cnn-channels", "cnn-rnn-1s", "cnn-rnn-4s", "cnn-lstm")
"""STA, its rows of Table 1 and those of Tables 2 and 3 that are rebuilt."""

CLIP_NETWORKS = ("sta", "3d-cnn", "2d-cnn-channels")
"""Networks that see all frames at once and so can give one value a clip."""


@dataclass(frozen=True)
class StaSettings:
    """STA or one of its peers. The defaults are the paper's, at 64 pixels."""

    network: str = "sta"
    """"sta"; "3d-cnn" (no attention); "2d-cnn" (each frame alone); "2d-cnn-channels" (frames as channels);
    "cnn-rnn-1s" and "cnn-rnn-4s" (an RNN over the last second, the last four); "cnn-lstm"."""
    frames: int = 16
    """T: frames of one input; with head "clip" three poolings in time must divide it."""
    fps: float = 4.0
    """Frames a second; T / fps is the length of one input, 4 s in the paper."""
    input_size: int = 64
    """Side of the aligned face, pixels."""
    head: str = "frame"
    """"frame": a value for every frame, no pooling in time. "clip": one value that stands for all frames."""
    output: str = "linear"
    """"linear" as the paper has it, or "tanh", which keeps to (-1, 1)."""
    loss: str = "mse"
    """"mse" (the paper), "ccc" (1 - CCC of the batch) or "epsilon" (epsilon-insensitive)."""
    epsilon: float = 0.1
    """What the loss "epsilon" forgives."""
    encoder: tuple[int, ...] = (16, 32, 64)
    """Channels of the attention's encoder stages (3x3 convolution, ReLU, 2x2 max-pool), fine to coarse."""
    decoder: tuple[int, ...] = (32, 16, 8)
    """Channels of its decoder stages (deconvolution by 2, 3x3 ConvLSTM, tanh), coarse to fine; as many."""
    attention_from: str = "previous"
    """State that Eq. 2 reads: "previous" (H_{t-1} as printed: uniform at t = 1) or "current" (H_t)."""
    peepholes: str = "hadamard"
    """Of Eq. 1: "hadamard" as in Shi et al., "convolution" for i and f as printed, or "none"."""
    filters: tuple[int, ...] = (32, 64, 128, 256)
    """Of the convolutions that read the emotion; a max-pool follows all but the last."""
    hidden: int = 256
    """Size of the first fully-connected layer."""
    recurrent: int = 128
    """State of the RNN or LSTM of the networks that have one."""
    dropout: float = 0.5
    """Between the two fully-connected layers."""
    target: str = "auto"
    """What of a trace is learnt: "mean" (of the raters), the name of a column, or "auto": the first
    of gold and valence that is there, else the mean."""
    faces: str = "auto"
    """Where faces of training clips come from: "auto" (the manifest's keypoints, else a detector), or
    "keypoints" (rows without them cannot be read)."""
    still_windows: int = 0
    """Windows of an epoch that are drawn from labelled stills, beside those of clips with a trace: of the
    manifests' training rows with ``label_ekman`` and no trace (:mod:`moodreel.lab.data.still_windows`)."""
    mirror: bool = True
    """Whether training clips are mirrored at random."""
    light: bool = True
    """Whether their contrast and colours are changed at random, alike in all frames."""

    @property
    def pools(self) -> int:
        """Max-pools of the emotion network."""
        return len(self.filters) - 1

    def __post_init__(self) -> None:
        require(self.network in NETWORKS, "model.network", self.network, f"one of {', '.join(NETWORKS)}")
        require(self.frames >= 1, "model.frames", self.frames, "at least 1")
        require(math.isfinite(self.fps) and self.fps > 0, "model.fps", self.fps, "above 0")
        for name in ("encoder", "decoder", "filters"):
            sizes = getattr(self, name)
            good = len(sizes) >= 1 and all(type(n) is int and n >= 1 for n in sizes)
            require(good, f"model.{name}", sizes, "whole numbers of at least 1")
        require(
            len(self.decoder) == len(self.encoder),
            "model.decoder",
            self.decoder,
            f"{len(self.encoder)} sizes, as the encoder has",
        )
        cell = 2 ** max(self.pools, len(self.encoder) if self.network == "sta" else 0)
        size = self.input_size
        require(size >= cell and size % cell == 0, "model.input_size", size, f"a multiple of {cell}")
        heads = ("frame", "clip") if self.network in CLIP_NETWORKS else ("frame",)
        require(self.head in heads, "model.head", self.head, f"of {self.network}, {' or '.join(heads)}")
        if self.head == "clip" and self.network != "2d-cnn-channels":
            step = 2**self.pools
            require(self.frames % step == 0, "model.frames", self.frames, f"a multiple of {step} (head clip)")
        require(self.output in ("linear", "tanh"), "model.output", self.output, "'linear' or 'tanh'")
        losses = ("mse", "ccc", "epsilon")
        require(self.loss in losses, "model.loss", self.loss, f"one of {', '.join(losses)}")
        require(self.epsilon >= 0, "model.epsilon", self.epsilon, "at least 0")
        states = ("previous", "current")
        require(
            self.attention_from in states, "model.attention_from", self.attention_from, " or ".join(states)
        )
        kinds = ("hadamard", "convolution", "none")
        require(self.peepholes in kinds, "model.peepholes", self.peepholes, f"one of {', '.join(kinds)}")
        require(self.hidden >= 1, "model.hidden", self.hidden, "at least 1")
        require(self.recurrent >= 1, "model.recurrent", self.recurrent, "at least 1")
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        require(self.still_windows >= 0, "model.still_windows", self.still_windows, "at least 0")
        known = self.faces in ("auto", "keypoints")
        require(known, "model.faces", self.faces, "'auto' or 'keypoints'")
        require(bool(self.target), "model.target", self.target, "'auto', 'mean' or the name of a column")
