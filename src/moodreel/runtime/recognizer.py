"""The recogniser: a bundle's facts, an engine, and everything between a file and a Result."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, cast

import numpy as np

from moodreel.errors import MediaError, MoodreelError, SettingsError, require
from moodreel.faces.detect import DetectorSettings
from moodreel.media import Limits
from moodreel.media.base import NoDecoderError
from moodreel.runtime.bundle import Bundle, read_bundle
from moodreel.runtime.engine import Engine, EngineSettings, OnnxEngine
from moodreel.runtime.frame_reader import FrameReader
from moodreel.runtime.readout import read_face, read_kavan
from moodreel.runtime.scene_reader import OnnxSceneEngine, SceneEngine, SceneReader, read_caca_rnn
from moodreel.runtime.schema import SYSTEMS, BundleInfo
from moodreel.runtime.trace_reader import TraceReader, read_sta
from moodreel.types import Float32Array, Result, Sample

if TYPE_CHECKING:
    from moodreel.media.pool import DecoderPool

DEFAULT_DETECTOR = DetectorSettings()


class Reader(Protocol):
    """What lies between a file and the scores of one system."""

    def sample(self, source: Any, limits: Limits) -> Sequence[Sample]:
        """Looks at a clip; several samples become several Results. Called from several threads.

        Raises:
            MediaError: the input cannot be read.
        """
        ...

    def run(self, samples: Sequence[Any]) -> Sequence[Mapping[str, Float32Array]]:
        """Runs the network on samples of this reader: one mapping each, as the system's readout takes it."""
        ...


READERS: Mapping[str, Callable[[BundleInfo, Mapping[str, Float32Array], Sample, bool], dict[str, Any]]] = {
    "kavan": read_kavan,
    "face": read_face,
    "caca-rnn": read_caca_rnn,
    "sta": read_sta,
}
"""What makes Result's fields of a sample's outputs, system by system."""


def load(
    name_or_path: str | os.PathLike[str],
    *,
    threads: int | None = None,
    limits: Limits | None = None,
    detector: DetectorSettings | None = DEFAULT_DETECTOR,
    every_face: bool = False,
    engine: str = "auto",
    device: str = "auto",
) -> Recognizer:
    """Opens a bundle for recognition.

    Args:
        name_or_path: name of a bundle that ships with the package, or a bundle's folder or .zip.
        threads: cores the network may use; None is all that this process may use.
        limits, detector, every_face: as in :class:`Recognizer`.
        engine, device: what runs the network; see :class:`moodreel.runtime.engine.EngineSettings`.

    Raises:
        BundleError: there is no such bundle, or it is broken.
        MissingExtra: a bundle of ``caca-rnn`` or ``sta``, and the detector is not installed; or the engine is
            not.
        SettingsError: ``threads`` is below 1, no such engine or device, or this machine has no such device.
    """
    settings = EngineSettings(engine, device, threads)
    bundle = read_bundle(name_or_path)
    return Recognizer(
        bundle.info, open_engine(bundle, settings), limits=limits, detector=detector, every_face=every_face
    )


def open_engine(bundle: Bundle, settings: EngineSettings) -> Engine | SceneEngine:
    """Opens the network of a bundle, or its networks.

    Raises:
        BundleError, MissingExtra, SettingsError: as :func:`load`.
    """
    name = bundle.info.system
    if name == "caca-rnn":
        return OnnxSceneEngine(bundle, settings)
    return OnnxEngine(bundle.read_model(), SYSTEMS[name], source=bundle.source, settings=settings, name=name)


@dataclass(frozen=True)
class _Failure:
    """An input that could not be sampled."""

    source: str
    error: str


class Recognizer:
    """Reads emotion in clips.

    Args:
        info: what the bundle says.
        engine: runs the bundle's network; of ``caca-rnn``, its networks.
        limits: what may be decoded.
        detector: of ``caca-rnn`` and ``sta``: who finds faces; None takes the whole frame as the face.
        every_face: of ``caca-rnn``: one Result a face, not the main face alone (:meth:`map`).

    Raises:
        MissingExtra: of ``caca-rnn`` and ``sta``: the detector is not installed.
        SettingsError: ``every_face`` of another system.
    """

    def __init__(
        self,
        info: BundleInfo,
        engine: Engine | SceneEngine,
        *,
        limits: Limits | None = None,
        detector: DetectorSettings | None = DEFAULT_DETECTOR,
        every_face: bool = False,
    ) -> None:
        allowed = info.system == "caca-rnn" or not every_face
        require(allowed, "every_face", every_face, f"False: {info.system} reads no single faces")
        self.info = info
        self.engine = engine
        self.limits = Limits() if limits is None else limits
        self.every_face = every_face
        self._reader: Reader
        if info.system == "caca-rnn":
            self._reader = SceneReader(info, cast(SceneEngine, engine), detector, every_face)
        elif info.system == "sta":
            self._reader = TraceReader(info, cast(Engine, engine), detector)
        else:
            self._reader = FrameReader(info, cast(Engine, engine))

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
            The scores, of the main face where there are several. ``error`` is set when the network gave
            scores that are not finite.

        Raises:
            MediaError: the input cannot be read.
            DataError: faces come from files, and they are wrong or of another clip.
            BundleError: the network fails on it.
            SettingsError: ``abstain`` is outside [0, 1].
        """
        _check_abstain(abstain)
        samples = self._reader.sample(source, self.limits)
        return self._score(samples[:1], per_frame, abstain)[0]

    def map(
        self,
        sources: Iterable[Any],
        *,
        workers: int = 2,
        batch: int = 8,
        per_frame: bool = False,
        abstain: float | None = None,
        isolate: bool | DecoderPool = False,
    ) -> Iterator[Result]:
        """Reads many inputs: one Result each (one a face with ``every_face``), in their order, while decoding
        goes on.

        At most ``2 * batch + workers`` inputs are held, as sampled frames; ``sources`` is read no further.

        Args:
            sources: as in :meth:`__call__`, any iterable.
            workers: threads that decode.
            batch: inputs that go through the network together.
            per_frame, abstain: as in :meth:`__call__`.
            isolate: whether files are decoded in processes of their own, ``workers`` of them, so that a
                decoder that crashes costs one Result; or the processes, which are then left running.

        Yields:
            Results; a failed input is a Result with ``error`` set, never an exception.

        Raises:
            SettingsError: an option is out of its range (at once, not at the first Result).
            NoDecoderError: ``isolate``, and no process can be started.
        """
        if workers < 1:
            raise SettingsError("workers", workers, "at least 1")
        if batch < 1:
            raise SettingsError("batch", batch, "at least 1")
        _check_abstain(abstain)
        return self._stream(iter(sources), workers, batch, per_frame, abstain, isolate)

    def _stream(
        self,
        sources: Iterator[Any],
        workers: int,
        batch: int,
        per_frame: bool,
        abstain: float | None,
        isolate: bool | DecoderPool,
    ) -> Iterator[Result]:
        own: DecoderPool | None = None
        if isolate is True:
            from moodreel.media.pool import DecoderPool

            own = DecoderPool(self.limits, workers)
        decoders = own if isinstance(isolate, bool) else isolate
        pool = ThreadPoolExecutor(workers, thread_name_prefix="moodreel-decode")
        window: deque[Future[Sequence[Sample] | _Failure]] = deque()
        try:
            while True:
                for source in islice(sources, 2 * batch + workers - len(window)):
                    window.append(pool.submit(self._try_sample, source, decoders))
                if not window:
                    return
                ready = [window.popleft().result() for _ in range(min(batch, len(window)))]
                samples = [s for entry in ready if not isinstance(entry, _Failure) for s in entry]
                scored = iter(self._try_score(samples, per_frame, abstain))
                del samples
                while ready:
                    entry = ready.pop(0)
                    if isinstance(entry, _Failure):
                        yield self._fail(entry.source, entry.error)
                    else:
                        yield from islice(scored, len(entry))
        finally:
            if own is not None:
                own.close()  # first: nobody waits any more for what is being decoded
            pool.shutdown(wait=True, cancel_futures=True)

    def _try_sample(self, source: Any, decoders: DecoderPool | None = None) -> Sequence[Sample] | _Failure:
        try:
            if decoders is None:
                return self._reader.sample(source, self.limits)
            with decoders.opened(source) as media:
                return self._reader.sample(media, self.limits)
        except MediaError as error:
            return _Failure(name_source(source), error.reason)
        except NoDecoderError:
            raise
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
        for sample, outputs in zip(samples, self._reader.run(samples), strict=True):
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
