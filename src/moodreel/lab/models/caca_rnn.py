"""CACA-RNN and the RNNs it is compared with (Sun, Hsu, Yang, Chien; ACII Asia 2018).

All read two streams of features, ``face`` and ``context``, of clips of any length, padded to one length; what
stands in the padding never matters. Sizes are those of Sec. V-D (Table I) and V-C (the submission).
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from moodreel.errors import DataError, SettingsError
from moodreel.lab.layers.dot_attention import AttentiveLSTM, SequenceLSTM, clear_padding, mask_padding, widen
from moodreel.lab.settings_caca_rnn import CacaRnnSettings

HIDDEN = 128
"""d of the networks that fuse two LSTMs, and the size of a stream's encoded features (Sec. V-C, V-D)."""

WIDE = 256
"""d of the networks of one LSTM (Sec. V-D)."""


@dataclass
class CacaRnnOutput:
    """What a network says of a batch of clips.

    Attributes:
        logits: [N, classes].
        attention: [N, T2, T1], of every moment of the second LSTM over those of the first; rows sum to 1, and
            rows and columns are 0 where padded. None for a network without attention.
    """

    logits: Tensor
    attention: Tensor | None = None


class CacaRnn(nn.Module):
    """What the six networks share: two streams in, classes out. Final classes implement ``run``.

    Args:
        settings: of the network.
        classes: how many.
        state: size of the state that is classified.
    """

    def __init__(self, settings: CacaRnnSettings, classes: int, state: int) -> None:
        super().__init__()
        self.reads_face, self.reads_context = settings.reads_face, settings.reads_context
        self.features = {"face": settings.face_features, "context": settings.context_features}
        self.dropout = nn.Dropout(settings.dropout)
        self.classify = nn.Linear(state, classes)

    def forward(
        self,
        face: Tensor | None,
        context: Tensor | None,
        face_lengths: Tensor | None,
        context_lengths: Tensor | None,
    ) -> CacaRnnOutput:
        """Reads a batch of clips; a stream that the network does not read may be None.

        Args:
            face: [N, T, face_features] float.
            context: [N, S, context_features] float.
            face_lengths, context_lengths: [N] int64, moments of each clip that are no padding.

        Raises:
            DataError: a stream that the network reads is missing, empty or of another size.
        """
        streams = {}
        for name, x, lengths in (("face", face, face_lengths), ("context", context, context_lengths)):
            if self.reads_face if name == "face" else self.reads_context:
                streams[name] = self._check(name, x, lengths)
        state, attention = self.run(streams)
        return CacaRnnOutput(widen(self.classify(self.dropout(state))), attention)

    def run(self, streams: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor | None]:
        """What happens between the features and the classifier.

        Args:
            streams: those that the network reads, by name: [N, T, F], zero where padded, and lengths [N].

        Returns:
            the state after the last moment [N, d], and the attention [N, T2, T1] or None.
        """
        raise NotImplementedError

    def _check(self, name: str, x: Tensor | None, lengths: Tensor | None) -> tuple[Tensor, Tensor]:
        if x is None or lengths is None:
            raise DataError(f"the network reads the {name} stream: none was given")
        size = self.features[name]
        if x.dim() != 3 or x.shape[2] != size or tuple(lengths.shape) != (x.shape[0],):
            came = f"{list(x.shape)} and {list(lengths.shape)}"
            raise DataError(f"{name}: expected [N, T, {size}] and N lengths, got {came}")
        wrong = (lengths < 1) | (lengths > x.shape[1])
        if wrong.any():
            clip = int(wrong.nonzero()[0])
            raise DataError(
                f"{name}: clip {clip} has length {int(lengths[clip])}, expected 1 to {x.shape[1]}"
            )
        return clear_padding(x, mask_padding(lengths, x.shape[1])), lengths


def make_encoder(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    """The fully connected layer that encodes a stream's features (Sec. V-C, V-D).

    The paper names no activation, and parameter counts leave it free. Without one the layer and the LSTM's
    own input map would be a single linear map in two factors, so there is one: ReLU, as after the face
    network's features.
    """
    return nn.Sequential(nn.Linear(inputs, outputs), nn.ReLU(), nn.Dropout(dropout))


class SingleRnn(CacaRnn):
    """Face-RNN and Context-RNN (Sec. IV, Fig. 3a): one stream, an LSTM, its last state classified.

    The encoder of Face-RNN keeps all 512 features: with the 128 of Sec. V-D the network would have 0.99 M
    parameters, with 512 it has the 1.58 M of Table I.
    """

    def __init__(self, settings: CacaRnnSettings, classes: int) -> None:
        super().__init__(settings, classes, WIDE)
        self.stream = settings.network
        encoded = settings.face_features if self.stream == "face" else HIDDEN
        self.encoder = make_encoder(self.features[self.stream], encoded, settings.dropout)
        self.rnn = SequenceLSTM(encoded, WIDE, layers=2)

    def run(self, streams: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, None]:
        """See :meth:`CacaRnn.run`."""
        x, lengths = streams[self.stream]
        _, (h, _) = self.rnn(self.encoder(x), lengths)
        return h, None


class ParallelRnn(CacaRnn):
    """Parallel-RNN (Sec. IV, Fig. 3b): an LSTM a stream, their last states joined and classified."""

    def __init__(self, settings: CacaRnnSettings, classes: int) -> None:
        super().__init__(settings, classes, 2 * HIDDEN)
        self.face_encoder = make_encoder(settings.face_features, HIDDEN, settings.dropout)
        self.context_encoder = make_encoder(settings.context_features, HIDDEN, settings.dropout)
        self.face_rnn = SequenceLSTM(HIDDEN, HIDDEN, layers=2)
        self.context_rnn = SequenceLSTM(HIDDEN, HIDDEN, layers=2)

    def run(self, streams: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, None]:
        """See :meth:`CacaRnn.run`."""
        (face, face_lengths), (context, context_lengths) = streams["face"], streams["context"]
        _, (face_h, _) = self.face_rnn(self.face_encoder(face), face_lengths)
        _, (context_h, _) = self.context_rnn(self.context_encoder(context), context_lengths)
        return torch.cat([face_h, context_h], dim=1), None


class ConcatenatedRnn(CacaRnn):
    """Concatenated-RNN (Sec. IV, Fig. 3c): both streams' features of a moment joined, one LSTM."""

    def __init__(self, settings: CacaRnnSettings, classes: int) -> None:
        super().__init__(settings, classes, WIDE)
        self.face_encoder = make_encoder(settings.face_features, HIDDEN, settings.dropout)
        self.context_encoder = make_encoder(settings.context_features, HIDDEN, settings.dropout)
        self.rnn = SequenceLSTM(2 * HIDDEN, WIDE, layers=2)

    def run(self, streams: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, None]:
        """See :meth:`CacaRnn.run`.

        Raises:
            DataError: a clip has another number of faces than of context frames.
        """
        (face, lengths), (context, context_lengths) = streams["face"], streams["context"]
        if not torch.equal(lengths, context_lengths):
            came = f"{lengths.tolist()} and {context_lengths.tolist()}"
            raise DataError(f"network 'concatenated' joins faces and context frames one to one, got {came}")
        longest = int(lengths.max())  # one stream may be padded further than the other
        x = [self.face_encoder(face[:, :longest]), self.context_encoder(context[:, :longest])]
        _, (h, _) = self.rnn(torch.cat(x, dim=2), lengths)
        return h, None


class CascadeRnn(CacaRnn):
    """CACA-RNN A and B (Sec. III-D, Fig. 2, 3d): the second LSTM starts where the first ended, and asks it.

    A reads the context first and the face second, B the reverse. In preset ``submitted`` (Sec. V-C) the
    first LSTM has one layer and reads the context features as they are, the second has two layers.
    """

    def __init__(self, settings: CacaRnnSettings, classes: int) -> None:
        super().__init__(settings, classes, HIDDEN)
        self.order = ("context", "face") if settings.network == "caca-a" else ("face", "context")
        first, second = (self.features[name] for name in self.order)
        submitted = settings.preset == "submitted"
        self.first_encoder: nn.Module = (
            nn.Identity() if submitted else make_encoder(first, HIDDEN, settings.dropout)
        )
        self.second_encoder = make_encoder(second, HIDDEN, settings.dropout)
        self.first = SequenceLSTM(first if submitted else HIDDEN, HIDDEN, layers=1 if submitted else 2)
        self.second = AttentiveLSTM(HIDDEN, HIDDEN, layers=2 if submitted else 1)

    def run(self, streams: dict[str, tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
        """See :meth:`CacaRnn.run`."""
        (x, lengths), (y, steps) = (streams[name] for name in self.order)
        memory, state = self.first(self.first_encoder(x), lengths)
        h, attention = self.second(
            self.second_encoder(y), steps, memory, mask_padding(lengths, x.shape[1]), state
        )
        return h, attention


def build_caca_rnn(settings: CacaRnnSettings) -> CacaRnn:
    """The network that settings name, at random, for the classes of their vocabulary.

    Raises:
        SettingsError: it is the 2D-3D-CNN, which reads feature maps: :class:`moodreel.lab.models.cnn_2d_3d`.
    """
    classes = len(settings.classes)
    if settings.network in ("face", "context"):
        return SingleRnn(settings, classes)
    if settings.network == "parallel":
        return ParallelRnn(settings, classes)
    if settings.network == "concatenated":
        return ConcatenatedRnn(settings, classes)
    if settings.network in ("caca-a", "caca-b"):
        return CascadeRnn(settings, classes)
    raise SettingsError("model.network", settings.network, "a recurrent network")
