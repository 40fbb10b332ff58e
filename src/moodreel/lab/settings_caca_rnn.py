"""Settings of CACA-RNN, of the networks it is compared with and of the 2D-3D-CNN."""

from __future__ import annotations

from dataclasses import dataclass

from moodreel.emotions import VOCABULARIES
from moodreel.errors import require

NETWORKS = ("face", "context", "parallel", "concatenated", "caca-a", "caca-b", "2d-3d")
"""Sec. IV in order, then the 2D-3D-CNN of Sec. VI."""

SUBMITTED_CONTEXT = 512 * 7 * 7
"""Features of a context frame in the submitted network (Sec. V-C): 25,088."""


@dataclass(frozen=True)
class CacaRnnSettings:
    """CACA-RNN and its relatives. The defaults are the paper's CACA-RNN A as in Table I."""

    network: str = "caca-a"
    """"face", "context", "parallel", "concatenated", "caca-a" (context first, face second), "caca-b" (face
    first), or "2d-3d" (3D convolutions over feature maps of faces)."""
    preset: str = "table"
    """Sizes: "table" (Table I) or "submitted" (Sec. V-C, of CACA-RNN A alone)."""
    face_features: int = 512
    """Features of a face, as the face network gives them."""
    context_features: int = 2048
    """Features of a context frame; 25,088 in preset "submitted"."""
    dropout: float = 0.0
    """On what an LSTM reads from an encoder and on the state that is classified."""
    context: str = "paired"
    """Which context frames are read: "paired" (those with a face, as in Sec. V-B) or "all"."""
    face_size: int = 128
    """Side of a face, pixels; a multiple of 16."""
    context_size: int = 224
    """Side of a context frame, pixels; a multiple of 16."""
    fps: float = 5.0
    """Frames a second that are read of a clip."""
    limit: int = 1024
    """Frames that are read of a clip at most; a longer one is seen more sparsely, from end to end."""
    phases: int = 4
    """First frames that training draws from, evenly spread over the first 1 / fps seconds; evaluation takes
    the first (Sec. V-C)."""
    vocabulary: str = "mec"
    """Classes: a vocabulary of :mod:`moodreel.emotions`; labels are the manifest's ``label_<vocabulary>``."""
    faces: str = "auto"
    """Where faces of training clips come from: "auto" (the manifest's keypoints, else a detector),
    "keypoints" (the manifest's alone) or "frame" (the whole frame is the face)."""
    face_bundle: str = "face"
    """The ``face`` bundle whose network, without its last layer, gives the features of faces."""
    context_bundle: str = "kavan"
    """For extractor "compact": the bundle whose backbone it takes."""
    extractor: str = "compact"
    """Of context features: "compact" (our small backbone) or "squeezenet" (the paper's)."""
    extractor_weights: str = "none"
    """For extractor "squeezenet": "imagenet", "none" or the path of a state dict of torchvision."""

    def __post_init__(self) -> None:
        require(self.network in NETWORKS, "model.network", self.network, f"one of {', '.join(NETWORKS)}")
        known = self.preset in ("table", "submitted")
        require(known, "model.preset", self.preset, "'table' or 'submitted'")
        require(self.face_features >= 1, "model.face_features", self.face_features, "at least 1")
        require(self.context_features >= 1, "model.context_features", self.context_features, "at least 1")
        if self.preset == "submitted":
            require(self.network == "caca-a", "model.network", self.network, "'caca-a' in preset 'submitted'")
            right = self.context_features == SUBMITTED_CONTEXT
            expected = f"{SUBMITTED_CONTEXT} in preset 'submitted'"
            require(right, "model.context_features", self.context_features, expected)
        require(0 <= self.dropout < 1, "model.dropout", self.dropout, "in [0, 1)")
        require(self.context in ("paired", "all"), "model.context", self.context, "'paired' or 'all'")
        joined = self.network == "concatenated" and self.context == "all"
        require(not joined, "model.context", self.context, "'paired': network 'concatenated' joins frames")
        size = self.face_size
        require(size >= 32 and size % 16 == 0, "model.face_size", size, "a multiple of 16 from 32 on")
        size = self.context_size
        require(size >= 32 and size % 16 == 0, "model.context_size", size, "a multiple of 16 from 32 on")
        require(self.fps > 0, "model.fps", self.fps, "above 0")
        require(self.limit >= 1, "model.limit", self.limit, "at least 1")
        require(self.phases >= 1, "model.phases", self.phases, "at least 1")
        known = self.faces in ("auto", "keypoints", "frame")
        require(known, "model.faces", self.faces, "'auto', 'keypoints' or 'frame'")
        known = self.vocabulary in VOCABULARIES
        require(known, "model.vocabulary", self.vocabulary, f"one of {', '.join(VOCABULARIES)}")
        known = self.extractor in ("compact", "squeezenet")
        require(known, "model.extractor", self.extractor, "'compact' or 'squeezenet'")
        given = self.extractor == "squeezenet" or self.extractor_weights == "none"
        expected = "'none' for extractor 'compact', which a bundle starts"
        require(given, "model.extractor_weights", self.extractor_weights, expected)

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the output."""
        return VOCABULARIES[self.vocabulary]

    @property
    def reads_face(self) -> bool:
        """Whether the network reads the face stream."""
        return self.network != "context"

    @property
    def reads_context(self) -> bool:
        """Whether the network reads the context stream."""
        return self.network not in ("face", "2d-3d")


SUBMITTED_CACA_RNN = CacaRnnSettings(
    preset="submitted",
    context_features=SUBMITTED_CONTEXT,
    extractor="squeezenet",
    extractor_weights="imagenet",
)
"""The network of the paper's submission (Sec. V-C and VI)."""
