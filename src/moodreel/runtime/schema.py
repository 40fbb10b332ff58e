"""What ``bundle.json`` says: one dataclass to write it and to read it.

Only the standard library is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from moodreel.emotions import EKMAN_7, GIFGIF_17, MEC_8, QUADRANTS
from moodreel.errors import BundleError, SettingsError, require

FORMAT = 1
"""Version of ``bundle.json`` that this package reads and writes."""

DEEPEST = 32
"""Lists and objects that may stand in one another: what is free (``training``, ``scores``) has any shape."""

LONGEST_MEDIAN = 4.0
"""Widest median filter of a bundle, seconds: a live trace is late by half of it."""


@dataclass(frozen=True)
class System:
    """What the bundles of one system have in common.

    Attributes:
        emotions: emotions it gives an intensity for.
        categories: classes it gives a probability for.
        files: graphs of a bundle; ``model.onnx`` is the first.
        axes: of the network's input ``frames``: ``NTHWC`` (clips) or ``NHWC`` (single frames); of a system of
            several graphs, that of the extractors.
        outputs: outputs of ``model.onnx`` the runtime reads -> size of the last axis, None where free.
        optional: those of ``outputs`` that a network may lack.
        shapes: axes of each output, a letter each: N and T are those of the frames, C is the last one of
            ``outputs``; others are free.
    """

    emotions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    files: tuple[str, ...] = ("model.onnx",)
    axes: str = "NTHWC"
    outputs: Mapping[str, int | None] = field(default_factory=dict)
    optional: frozenset[str] = frozenset()
    shapes: Mapping[str, str] = field(default_factory=dict)


SYSTEMS: Mapping[str, System] = {
    "kavan": System(
        emotions=GIFGIF_17,
        categories=QUADRANTS,
        axes="NTHWC",
        outputs={
            "intensities": 17,
            "probabilities": 4,
            "attention": None,
            "frame_intensities": 17,
            "frame_probabilities": 4,
        },
        optional=frozenset({"attention"}),  # a network without attention has none to show
        shapes={
            "intensities": "NC",
            "probabilities": "NC",
            "attention": "NTHW",
            "frame_intensities": "NTC",
            "frame_probabilities": "NTC",
        },
    ),
    "face": System(
        categories=EKMAN_7, axes="NHWC", outputs={"probabilities": 7}, shapes={"probabilities": "NC"}
    ),
    "caca-rnn": System(
        categories=MEC_8,
        files=("model.onnx", "fallback.onnx", "face.onnx", "context.onnx"),
        axes="NHWC",
        outputs={"probabilities": 8, "attention": None},
        optional=frozenset({"attention"}),  # only the cascade attends
        shapes={"probabilities": "C", "attention": "QK"},
    ),
    # STA: the axis behind N is time in both; a network without attention (a peer of Table 1) has none to show
    "sta": System(
        outputs={"valence": None, "attention": None},
        optional=frozenset({"attention"}),
        shapes={"valence": "NT", "attention": "NTHW"},
    ),
}
"""The systems a bundle may name."""


def _is_whole(value: object, low: int, high: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and low <= value <= high


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300


@dataclass(frozen=True)
class Labels:
    """Names of scores: emotions with an intensity, and classes with a probability."""

    emotions: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()


@dataclass(frozen=True)
class InputSpec:
    """What the network looks at. Normalisation happens inside the graph; mean and std are facts.

    Attributes:
        height, width: pixels.
        resize: ``stretch``: the full frame is resized to height x width, whatever its shape; ``centre``: its
            middle square is.
        mean, std: per RGB channel, of pixel values in [0, 1].
        face: side of a face that is cut out, pixels; None where none is.
        pairing: with ``face``: the frames that are read beside the faces, ``paired`` (those that show the
            face) or ``all``.
    """

    height: int
    width: int
    resize: str = "stretch"
    mean: tuple[float, ...] = (0.0, 0.0, 0.0)
    std: tuple[float, ...] = (1.0, 1.0, 1.0)
    face: int | None = None
    pairing: str | None = None

    def __post_init__(self) -> None:
        for name in ("height", "width"):
            value = getattr(self, name)
            require(_is_whole(value, 1, 4096), f"input.{name}", value, "a whole number of pixels, 1 to 4096")
        require(self.resize in ("stretch", "centre"), "input.resize", self.resize, "'stretch' or 'centre'")
        ok = self.face is None or _is_whole(self.face, 1, 4096)
        require(ok, "input.face", self.face, "a whole number of pixels, 1 to 4096, or nothing")
        allowed = (None,) if self.face is None else ("paired", "all")
        told = "nothing without input.face" if self.face is None else "'paired' or 'all'"
        require(self.pairing in allowed, "input.pairing", self.pairing, told)
        for name in ("mean", "std"):
            value = getattr(self, name)
            require(len(value) == 3 and all(map(_is_number, value)), f"input.{name}", value, "three numbers")


@dataclass(frozen=True)
class Sampling:
    """Which instants of a clip the network sees.

    Attributes:
        method: ``segments``: the middle of each of ``count`` equal segments of time; ``rate``: ``fps``
            instants a second from the start, or ``limit`` segments where those would be more than ``limit``.
        count: for ``segments``.
        fps, limit: for ``rate``; a limit of None is no limit.
    """

    method: str
    count: int | None = None
    fps: float | None = None
    limit: int | None = None

    def __post_init__(self) -> None:
        at = "sampling."
        require(self.method in ("segments", "rate"), f"{at}method", self.method, "'segments' or 'rate'")
        if self.method == "segments":
            require(_is_whole(self.count, 1, 4096), f"{at}count", self.count, "a whole number, 1 to 4096")
            require(self.fps is None, f"{at}fps", self.fps, "nothing, with method 'segments'")
            require(self.limit is None, f"{at}limit", self.limit, "nothing, with method 'segments'")
        else:
            ok = _is_number(self.fps) and self.fps is not None and 0 < self.fps <= 1000
            require(ok, f"{at}fps", self.fps, "frames a second, above 0, at most 1000")
            ok = self.limit is None or _is_whole(self.limit, 1, 4096)
            require(ok, f"{at}limit", self.limit, "a whole number, 1 to 4096, or nothing")
            require(self.count is None, f"{at}count", self.count, "nothing, with method 'rate'")


@dataclass(frozen=True)
class Post:
    """How a trace is post-processed: :class:`moodreel.runtime.postprocess.PostProcess` without its shift.

    Attributes:
        median_s: width of the median filter in seconds, 0 (none) to :data:`LONGEST_MEDIAN`: each value waits
            for half of it.
        centre: added to the scaled values.
        scale: factor on the values, above 0.
    """

    median_s: float = 0.0
    centre: float = 0.0
    scale: float = 1.0

    def __post_init__(self) -> None:
        ok = _is_number(self.median_s) and 0 <= self.median_s <= LONGEST_MEDIAN
        require(ok, "post.median_s", self.median_s, f"seconds, 0 to {LONGEST_MEDIAN:g}")
        require(_is_number(self.centre), "post.centre", self.centre, "a number")
        require(_is_number(self.scale) and self.scale > 0, "post.scale", self.scale, "a number above 0")


@dataclass(frozen=True)
class BundleInfo:
    """What ``bundle.json`` says.

    Attributes:
        name: of the bundle.
        system: a key of :data:`SYSTEMS`.
        version: of the bundle.
        labels: of the network's outputs, in their order: the system's own.
        supervised: those of ``labels`` that a training source supervised; any other comes out as None.
        input: size and normalisation.
        sampling: which instants of a clip are looked at.
        training: free: sources, recipe, seed.
        scores: free: measured scores. ``scores["headline"]`` (name -> number) is what ``moodreel models``
            prints.
        licences: notes on code, weights and data.
        sha256: file name -> hex digest; the system's graphs must be there.
        format: of the file.
        post: sta: what is done to a trace; None: nothing.
        flops: graph that takes pixels -> floating-point operations of one row of its first axis; or empty.

    Raises:
        SettingsError: a field has a value that is not allowed.
    """

    name: str
    system: str
    version: str
    labels: Labels
    supervised: Labels
    input: InputSpec
    sampling: Sampling
    training: Mapping[str, Any] = field(default_factory=dict)
    scores: Mapping[str, Any] = field(default_factory=dict)
    licences: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=dict)
    format: int = FORMAT
    post: Post | None = None
    flops: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require(self.format == FORMAT, "format", self.format, f"{FORMAT}, the format this version reads")
        for name in ("name", "version"):
            value = getattr(self, name)
            require(isinstance(value, str) and value.isprintable() and value != "", name, value, "a text")
        require(self.system in SYSTEMS, "system", self.system, "one of " + ", ".join(SYSTEMS))
        for name in ("emotions", "categories"):
            own: tuple[str, ...] = getattr(SYSTEMS[self.system], name)
            given: tuple[str, ...] = getattr(self.labels, name)
            expected = f"those of {self.system}: {', '.join(own) or 'none'}"
            require(given == own, f"labels.{name}", list(given), expected)
            given = getattr(self.supervised, name)
            ok = set(given) <= set(own) and len(set(given)) == len(given)
            require(ok, f"supervised.{name}", list(given), f"some of labels.{name}, each once")
        for file in SYSTEMS[self.system].files:
            require(file in self.sha256, "sha256", dict(self.sha256), f"an entry {file!r}")
        cuts_faces = self.system == "caca-rnn"
        told = "pixels" if cuts_faces else f"nothing for {self.system}"
        require((self.input.face is not None) == cuts_faces, "input.face", self.input.face, told)
        resize = "centre" if cuts_faces else "stretch"
        told = f"{resize!r} for {self.system}"
        require(self.input.resize == resize, "input.resize", self.input.resize, told)
        if cuts_faces:
            size = (self.input.height, self.input.width)
            require(size[0] == size[1], "input.width", size[1], f"{size[0]}, the height: a square")
            require(self.sampling.method == "rate", "sampling.method", self.sampling.method, "'rate'")
        for file, count in self.flops.items():
            ok = file in SYSTEMS[self.system].files and _is_whole(count, 1, 10**18)
            require(ok, f"flops.{file}", count, "a graph of the bundle, and a whole number above 0")
        ok = self.post is None or self.system == "sta"
        require(ok, "post", "an object", f"nothing for {self.system}: only sta gives traces")

    def to_json(self) -> str:
        """The text of ``bundle.json``, ending in a newline."""
        content = asdict(self)
        for part in ("input", "sampling"):
            content[part] = {k: v for k, v in content[part].items() if v is not None}
        for part in ("post", "flops"):
            if not content[part]:
                del content[part]
        return json.dumps({"format": content.pop("format"), **content}, indent=2, ensure_ascii=False) + "\n"

    @classmethod
    def from_json(cls, text: str, source: str = "bundle.json") -> BundleInfo:
        """Reads the text of ``bundle.json``.

        Args:
            text: of the file.
            source: name of the file, for messages.

        Raises:
            BundleError: naming file and field.
        """
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise BundleError(f"{source}: not JSON: {error}") from error
        if _is_deeper(content, DEEPEST):
            raise BundleError(f"{source}: lists and objects in one another, more than {DEEPEST} deep")
        try:
            return cls(**_shape_fields(content))
        except SettingsError as error:
            raise BundleError(f"{source}: {error}") from error


_FIELDS: Mapping[str, tuple[type, bool]] = {
    "format": (int, True),
    "name": (str, True),
    "system": (str, True),
    "version": (str, True),
    "labels": (dict, True),
    "supervised": (dict, True),
    "input": (dict, True),
    "sampling": (dict, True),
    "training": (dict, False),
    "scores": (dict, False),
    "licences": (list, False),
    "sha256": (dict, True),
    "post": (dict, False),
    "flops": (dict, False),
}
"""Field of ``bundle.json`` -> its type, and whether it must be there."""

_TYPE_NAMES = {int: "a whole number", str: "a text", dict: "an object", list: "a list"}


def _shape_fields(content: object) -> dict[str, Any]:
    """Checks the types of JSON fields, and builds the nested dataclasses."""
    if not isinstance(content, dict):
        raise SettingsError("(top level)", type(content).__name__, "an object")
    if "format" in content:  # first: another format may have other fields
        ok = content["format"] == FORMAT
        require(ok, "format", content["format"], f"{FORMAT}, the format this version reads")
    for name, (kind, needed) in _FIELDS.items():
        require(name in content or not needed, name, None, f"{_TYPE_NAMES[kind]}, but it is missing")
        if name in content:
            require(isinstance(content[name], kind), name, content[name], _TYPE_NAMES[kind])
    for name in content:
        require(name in _FIELDS, name, content[name], f"no such field in format {FORMAT}")
    fields = dict(content)
    fields["labels"] = Labels(**_shape_nested(content, "labels", Labels))
    fields["supervised"] = Labels(**_shape_nested(content, "supervised", Labels))
    fields["input"] = InputSpec(**_shape_nested(content, "input", InputSpec))
    fields["sampling"] = Sampling(**_shape_nested(content, "sampling", Sampling))
    if "post" in content:
        fields["post"] = Post(**_shape_nested(content, "post", Post))
    fields["licences"] = _read_texts("licences", content.get("licences", []))
    for name, digest in content["sha256"].items():
        ok = isinstance(digest, str) and len(digest) == 64 and set(digest) <= set("0123456789abcdef")
        require(ok, f"sha256.{name}", digest, "64 hex digits in lower case")
    return fields


def _shape_nested(content: dict[str, Any], name: str, kind: type) -> dict[str, Any]:
    known = kind.__dataclass_fields__  # type: ignore[attr-defined]
    required = {InputSpec: ("height", "width"), Sampling: ("method",)}.get(kind, ())
    fields: dict[str, Any] = {}
    for key in required:
        require(key in content[name], f"{name}.{key}", None, "a value, but it is missing")
    for key, value in content[name].items():
        require(key in known, f"{name}.{key}", value, f"no such field; known: {', '.join(known)}")
        if key in ("mean", "std"):
            require(isinstance(value, list), f"{name}.{key}", value, "three numbers")
            value = tuple(value)
        elif kind is Labels:
            value = _read_texts(f"{name}.{key}", value)
        fields[key] = value
    return fields


def _read_texts(name: str, value: object) -> tuple[str, ...]:
    ok = isinstance(value, list) and all(isinstance(entry, str) for entry in value)
    require(ok, name, value, "a list of texts")
    assert isinstance(value, list)
    return tuple(value)


def _is_deeper(content: object, most: int) -> bool:
    """Whether more than ``most`` lists and objects stand in one another."""
    level: list[object] = [content]
    for _ in range(most + 1):
        if not (level := [value for value in level if isinstance(value, dict | list)]):
            return False
        level = [inner for value in level for inner in (value.values() if isinstance(value, dict) else value)]
    return True
