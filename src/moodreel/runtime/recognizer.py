"""The recogniser: a bundle's facts, an engine, and everything between a file and a Result."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np

from moodreel.errors import BundleError, MediaError, MoodreelError, SettingsError
from moodreel.faces.detect import DetectorSettings
from moodreel.media import Limits, open_media, rate_times, sample_media, segment_times
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.engine import Engine, OnnxEngine
from moodreel.runtime.readout import READERS
from moodreel.runtime.schema import SYSTEMS, BundleInfo
from moodreel.runtime.trace_reader import TracedSample, TraceReader
from moodreel.types import Float32Array, Result, Sample

FRAMES_PER_RUN = 128
"""Single frames that go into one run of the network, at most."""


def load(name_or_path: str | os.PathLike[str], *, threads: int | None = None) -> Recognizer:
    """Opens a bundle for recognition.

    Args:
        name_or_path: name of a bundle that ships with the package, or a bundle's folder or .zip.
        threads: cores the network may use; None is all that this process may use.

    Raises:
        BundleError: there is no such bundle, it is broken, or this version cannot run its system.
        MissingExtra: a bundle of ``sta``, and no face detector is installed.
        SettingsError: ``threads`` is below 1.
    """
    bundle = read_bundle(name_or_path)
    _require_reader(bundle.info)
    system = SYSTEMS[bundle.info.system]
    engine = OnnxEngine(bundle.read_model(), system, source=bundle.source, threads=threads)
    return Recognizer(bundle.info, engine)


def _require_reader(info: BundleInfo) -> None:
    if info.system not in READERS:
        known = ", ".join(READERS)
        raise BundleError(f"bundle {info.name!r}: this version runs {known}, not system {info.system!r}")


@dataclass(frozen=True)
class _Failure:
    """An input that could not be sampled."""

    source: str
    error: str


class Recognizer:
    """Reads emotion in clips.

    Args:
        info: what the bundle says.
        engine: runs the bundle's network.
        limits: what may be decoded.
        detector: of ``sta``: who finds faces; None takes the whole frame as the face.

    Raises:
        BundleError: this version cannot run the bundle's system.
        MissingExtra: of ``sta``: the detector is not installed.
    """

    def __init__(
        self,
        info: BundleInfo,
        engine: Engine,
        *,
        limits: Limits | None = None,
        detector: DetectorSettings | None = DetectorSettings(),  # noqa: B008 (frozen)
    ) -> None:
        _require_reader(info)
        self.info = info
        self.engine = engine
        self.limits = Limits() if limits is None else limits
        self.traces = TraceReader(info, engine, detector) if info.system == "sta" else None

    def __repr__(self) -> str:
        return f"Recognizer({self.info.name!r}, system={self.info.system!r}, version={self.info.version!r})"

    def __call__(self, source: Any, *, per_frame: bool = False, abstain: float | None = None) -> Result:
        """Reads one input.

        Args:
            source: path, bytes, PIL image, numpy array [T, H, W, 3] or [H, W, 3] uint8, or Clip.
            per_frame: whether to fill ``Result.per_frame``: score name (as in the table's columns) -> [t],
                and ``time_s`` -> [t] seconds.
            abstain: below this confidence the category is None; the scores stay. In [0, 1].

        Returns:
            The scores. ``error`` is set when the network gave scores that are not finite.

        Raises:
            MediaError: the input cannot be read.
            BundleError: the network fails on it.
            SettingsError: ``abstain`` is outside [0, 1].
        """
        _check_abstain(abstain)
        sample = self._sample(source)
        return self._score([sample], per_frame, abstain)[0]

    def map(
        self,
        sources: Iterable[Any],
        *,
        workers: int = 2,
        batch: int = 8,
        per_frame: bool = False,
        abstain: float | None = None,
    ) -> Iterator[Result]:
        """Reads many inputs: one Result each, in their order, while decoding goes on.

        At most ``2 * batch + workers`` inputs are held, as sampled frames; ``sources`` is read no further.

        Args:
            sources: as in :meth:`__call__`, any iterable.
            workers: threads that decode.
            batch: inputs that go through the network together.
            per_frame, abstain: as in :meth:`__call__`.

        Yields:
            Results; a failed input is a Result with ``error`` set, never an exception.

        Raises:
            SettingsError: an option is out of its range (at once, not at the first Result).
        """
        if workers < 1:
            raise SettingsError("workers", workers, "at least 1")
        if batch < 1:
            raise SettingsError("batch", batch, "at least 1")
        _check_abstain(abstain)
        return self._stream(iter(sources), workers, batch, per_frame, abstain)

    def _stream(
        self, sources: Iterator[Any], workers: int, batch: int, per_frame: bool, abstain: float | None
    ) -> Iterator[Result]:
        pool = ThreadPoolExecutor(workers, thread_name_prefix="moodreel-decode")
        window: deque[Future[Sample | _Failure]] = deque()
        try:
            while True:
                for source in islice(sources, 2 * batch + workers - len(window)):
                    window.append(pool.submit(self._try_sample, source))
                if not window:
                    return
                ready = [window.popleft().result() for _ in range(min(batch, len(window)))]
                samples = [entry for entry in ready if isinstance(entry, Sample)]
                scored = iter(self._try_score(samples, per_frame, abstain))
                del samples
                while ready:
                    entry = ready.pop(0)
                    yield (
                        self._fail(entry.source, entry.error) if isinstance(entry, _Failure) else next(scored)
                    )
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    def _sample(self, source: Any) -> Sample:
        """Decodes what the bundle's sampling asks for; of ``sta``, reads the whole clip."""
        if self.traces is not None:
            return self.traces.sample(source, self.limits)
        spec, sampling = self.info.input, self.info.sampling
        size = (spec.height, spec.width)
        media = open_media(source, self.limits)
        count = sampling.count
        if sampling.fps is not None:
            if sampling.limit is None or media.duration * sampling.fps <= sampling.limit:
                return sample_media(media, rate_times(media.duration, sampling.fps), size, pick="nearest")
            count = sampling.limit  # a longer clip is seen from end to end, only more sparsely
        assert count is not None
        return sample_media(media, segment_times(media.duration, count), size)

    def _try_sample(self, source: Any) -> Sample | _Failure:
        try:
            return self._sample(source)
        except MediaError as error:
            return _Failure(name_source(source), error.reason)
        except Exception as error:  # one bad input among thousands: its row says what happened
            return _Failure(name_source(source), _describe(error))

    def _fail(self, source: str, error: str) -> Result:
        return Result(source, self.info.name, self.info.version, error=error)

    def _try_score(self, samples: Sequence[Sample], per_frame: bool, abstain: float | None) -> list[Result]:
        """Scores samples together, and one by one where that fails."""
        if not samples:
            return []
        try:
            return self._score(samples, per_frame, abstain)
        except Exception as error:
            if len(samples) == 1:
                return [self._fail(samples[0].source, _describe(error))]
        return [result for sample in samples for result in self._try_score([sample], per_frame, abstain)]

    def _score(self, samples: Sequence[Sample], per_frame: bool, abstain: float | None) -> list[Result]:
        results = []
        for sample, outputs in zip(samples, self._run(samples), strict=True):
            facts: dict[str, Any] = {
                "source": sample.source,
                "model": self.info.name,
                "model_version": self.info.version,
                "width": sample.width,
                "height": sample.height,
                "frames": sample.frame_count,
                "duration": sample.duration,
            }
            if not all(np.isfinite(array).all() for array in outputs.values()):
                results.append(Result(**facts, error="the model gave scores that are not finite"))
                continue
            scores = READERS[self.info.system](self.info, outputs, sample, per_frame)
            result = Result(**facts, **scores)
            if abstain is not None and result.confidence is not None and result.confidence < abstain:
                result = replace(result, category=None)
            results.append(result)
        return results

    def _run(self, samples: Sequence[Sample]) -> list[dict[str, Float32Array]]:
        """Runs the network on samples: as few runs as their lengths allow, the outputs split by sample."""
        if self.traces is not None:
            return [dict(sample.outputs) for sample in samples if isinstance(sample, TracedSample)]
        outputs: list[dict[str, Float32Array]] = [{} for _ in samples]
        if SYSTEMS[self.info.system].axes == "NTHWC":  # clips of one length go together
            lengths: dict[int, list[int]] = {}
            for k, sample in enumerate(samples):
                lengths.setdefault(len(sample.frames), []).append(k)
            for members in lengths.values():
                whole = self.engine.run(np.stack([samples[k].frames for k in members]))
                for row, k in enumerate(members):
                    outputs[k] = {name: array[row] for name, array in whole.items()}
            return outputs
        frames = np.concatenate([sample.frames for sample in samples])
        parts = [
            self.engine.run(frames[start : start + FRAMES_PER_RUN])
            for start in range(0, len(frames), FRAMES_PER_RUN)
        ]
        joined = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        ends = np.cumsum([len(sample.frames) for sample in samples]).tolist()
        for k, sample in enumerate(samples):
            outputs[k] = {
                name: array[ends[k] - len(sample.frames) : ends[k]] for name, array in joined.items()
            }
        return outputs


def name_source(source: Any) -> str:
    """The text that stands for an input in its Result."""
    if isinstance(source, str | os.PathLike):
        return os.fsdecode(os.fspath(source))
    return str(getattr(source, "source", f"<{type(source).__name__}>"))


def _check_abstain(abstain: float | None) -> None:
    if abstain is not None and not 0 <= abstain <= 1:
        raise SettingsError("abstain", abstain, "a probability from 0 to 1, or None")


def _describe(error: Exception) -> str:
    text = " ".join(str(error).split())
    if isinstance(error, MoodreelError):
        return text
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
