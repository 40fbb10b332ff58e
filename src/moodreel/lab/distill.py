"""Learning from networks that are trained already: their probabilities beside the labels.

Hinton, Vinyals, Dean: Distilling the Knowledge in a Neural Network, 2015. A teacher may have the student's
own shape (Furlanello et al.: Born-Again Neural Networks, ICML 2018).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils import convert_conv2d_weight_memory_format

from moodreel.errors import DataError, SettingsError
from moodreel.lab.models.face_cnn import FaceCNN
from moodreel.lab.networks import load_bundle, load_run, read_run_best
from moodreel.lab.settings import FaceSettings
from moodreel.lab.weights import describe_weights
from moodreel.runtime.bundle import read_bundle


class Teachers:
    """Face networks that do not learn, and what they say together.

    Args:
        sources: run folders or bundles of the system ``face``.

    Attributes:
        notes: name and sha256 of each one's weights.

    Raises:
        BundleError, DataError: a source cannot be read.
        SettingsError: it is of another system.
    """

    def __init__(self, sources: Sequence[str]) -> None:
        # kept apart from the student: no part of its weights, their average or its checkpoints
        self._nets = [_load_face(source) for source in sources]
        self.notes = [describe_weights(source) for source in sources]

    @torch.no_grad()
    def read(self, pixels: Tensor, temperature: float) -> Tensor:
        """Their mean probabilities.

        Args:
            pixels: [N, 3, S, S], normalised; each teacher reads them at its own size.
            temperature: that their logits are divided by.

        Returns:
            [N, 7], rows sum to 1.
        """
        told = []
        for net, size in self._nets:
            net.to(pixels.device)
            shown = pixels
            if pixels.shape[-1] != size:
                shown = functional.interpolate(pixels, (size, size), mode="bilinear", antialias=True)
            told.append(torch.softmax(net(shown)[0].float() / temperature, 1))
        return torch.stack(told).mean(0)


def _load_face(source: str) -> tuple[FaceCNN, int]:
    is_run = (Path(source) / "recipe.json").is_file()
    recipe, net = load_run(Path(source)) if is_run else load_bundle(read_bundle(source))
    if not isinstance(recipe.model, FaceSettings) or not isinstance(net, FaceCNN):
        raise SettingsError("teacher", source, "a run or bundle of the system 'face'")
    convert_conv2d_weight_memory_format(net.requires_grad_(False), torch.channels_last)
    return net, recipe.model.input_size


def distillation_loss(logits: Tensor, told: Tensor, temperature: float) -> Tensor:
    """T^2 times the cross entropy between the teachers' and the student's softened probabilities (Sec. 2).

    Less the teachers' entropy, so that it is 0 where both agree.

    Args:
        logits: [N, C] of the student.
        told: [N, C] probabilities of the teachers at ``temperature``.
        temperature: T.
    """
    student = torch.log_softmax(logits / temperature, 1)
    return temperature**2 * functional.kl_div(student, told, reduction="batchmean")


def choose_teachers(model: Any, sources: Sequence[str], run: Path | None) -> Teachers | None:
    """The teachers of a training, if it has any.

    Args:
        model: settings of the network that learns.
        sources: run folders or bundles.
        run: folder of a run that goes on, and needs the teachers it was started with; None for a new one.

    Raises:
        SettingsError: teachers without a ``teacher_weight``, or one without teachers.
        DataError: the run had other teachers.
        BundleError: one cannot be read.
    """
    weight = model.teacher_weight if isinstance(model, FaceSettings) else 0.0
    if bool(sources) != (weight > 0):
        expected = "above 0, in a recipe of face, with --teacher" if sources else "0 without --teacher"
        raise SettingsError("model.teacher_weight", weight, expected)
    if not sources:
        return None
    teachers = Teachers(sources)
    if run is not None and read_run_best(run).get("teachers") != teachers.notes:
        raise DataError(f"{run}: the teachers are not those the run was started with (see best.json)")
    return teachers
