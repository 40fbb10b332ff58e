"""A run on many machines: Ray Data hands blocks of inputs to a pool of actors, which read and write parts.

The driver lists the inputs, leaves out those that have rows, and gives the rest to Ray Data in rounds of
blocks. An actor holds one recogniser. It reads a block, writes its rows as one part
(:mod:`moodreel.runtime.blocks`), and returns nothing but how it went. A block whose actor died goes to
another one. What killed its actors again and again is cut into smaller blocks, down to the one input. That
one is read alone once more, for its actors may have died of others; then it gets a row that says so.
"""

from __future__ import annotations

import logging
import os
import platform
import signal
import threading
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any

from moodreel.errors import DataError, MissingExtra, MoodreelError, require
from moodreel.runtime.batch import Input
from moodreel.runtime.blocks import Block, Work, hash_bundle, read_block, write_block
from moodreel.runtime.large import RunFolder
from moodreel.runtime.listing import Found
from moodreel.runtime.parts import Entry, Stamp, name_part, write_part
from moodreel.runtime.recognizer import Recognizer
from moodreel.runtime.table import make_row
from moodreel.types import Result

BLOCK_INPUTS = 1024
"""Inputs of a block, and so of a part, at most; about a minute of one core's work."""

BLOCKS_AN_ACTOR = 16
"""Blocks of a round for each actor: its tail, in which some have nothing to do, is a few per cent."""

STORE_BYTES = 128 * 2**20
"""Object store of a local Ray: nothing but lists of inputs goes through it."""

DEATHS = 2
"""Actors that a block may take with it before it is cut up."""


@dataclass(frozen=True)
class ClusterSettings:
    """Where and how wide.

    Attributes:
        address: "local" for a Ray of this command's own, else an address as ``ray.init`` takes it
            ("auto", "host:6379", "ray://host:10001").
        actors: recognisers; None takes one a core of the cluster.
        block: inputs of a block at most.

    Raises:
        SettingsError: a field has a value that is not allowed.
    """

    address: str = "local"
    actors: int | None = None
    block: int = BLOCK_INPUTS

    def __post_init__(self) -> None:
        require(bool(self.address), "cluster", self.address, "'local' or the address of a Ray cluster")
        require(self.actors is None or self.actors >= 1, "workers", self.actors, "at least 1")
        require(self.block >= 1, "block", self.block, "at least 1")


class BlockReader:
    """The actor: loads a recogniser once, then reads block after block.

    What goes wrong with a whole block is told, not raised: Ray would try it again without end.
    """

    def __init__(self, work: Work) -> None:
        self._work = work
        self._recognizer: Recognizer | None = None

    def __call__(self, batch: dict[str, Any]) -> dict[str, list[Any]]:
        """Reads one block, a row with the text of a :class:`Block`, and says how it went."""
        block = Block.from_json(str(batch["block"][0]))
        try:
            rows, failed = self._read(block)
            fault = ""
        except Exception as error:
            rows = failed = 0
            text = " ".join(str(error).split())
            fault = text if isinstance(error, MoodreelError) else f"{type(error).__name__}: {text}"
        return {"number": [block.number], "rows": [rows], "failed": [failed], "fault": [fault]}

    def _read(self, block: Block) -> tuple[int, int]:
        work = self._work
        if self._recognizer is None:
            self._recognizer = work.load()
            found = hash_bundle(self._recognizer)
            if found != work.settings.bundle:
                raise DataError(f"{work.settings.model}: another bundle on {platform.node()} than here")
        entries = read_block(self._recognizer, block.inputs, work)
        write_block(work.folder, block, entries, work.settings)
        return sum(len(entry.rows) for entry in entries), sum(entry.failed for entry in entries)


@contextmanager
def open_cluster(settings: ClusterSettings) -> Iterator[int]:
    """Connects to a Ray cluster, or starts a local one and takes it down again. Yields its cores.

    A local one listens on the loopback address alone, has no dashboard and a small object store, and sends no
    usage statistics; of a cluster, that is with who started it.

    Raises:
        MissingExtra: Ray is not installed.
        DataError: there is no cluster at the address.
    """
    is_local = settings.address == "local"
    os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    if is_local:
        os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # on every system: the loopback address
    try:
        import ray
        import ray.data
    except ModuleNotFoundError as error:
        raise MissingExtra("cluster", f"--cluster {settings.address}") from error
    from moodreel.runtime.engine import count_cores

    logging.getLogger("ray").setLevel(logging.CRITICAL)
    options: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.CRITICAL}
    if is_local:
        options |= {
            "address": "local",
            "_node_ip_address": "127.0.0.1",
            "num_cpus": settings.actors or count_cores(),
            "include_dashboard": False,
            "object_store_memory": STORE_BYTES,
        }
    else:
        options["address"] = settings.address
    was_there = ray.is_initialized()
    try:
        if not was_there:
            with warnings.catch_warnings(), _silence():
                warnings.simplefilter("ignore")
                ray.init(**options)
    except (ConnectionError, ValueError, RuntimeError) as error:
        told = " ".join(str(error).split())[:200]
        raise DataError(f"--cluster {settings.address}: no Ray cluster there ({told})") from None
    try:
        yield max(1, int(ray.cluster_resources().get("CPU", 1)))  # type: ignore[no-untyped-call]
    finally:
        if not was_there:
            ray.shutdown()


@contextmanager
def _silence() -> Iterator[None]:
    """Keeps what Ray's libraries write past Python off standard error, and what SIGTERM does as it was."""
    kept, nowhere = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 2)
    handler = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, handler)
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def run_on_cluster(
    run: RunFolder,
    found: Iterable[Found],
    load: Callable[[], Recognizer],
    settings: ClusterSettings,
    retry_failed: bool = False,
    here: str | None = None,
) -> Generator[None]:
    """Passes over all inputs once, on a pool of actors; ``run.counts`` says how far it is at each step.

    However this ends, killed too, what the actors had written is in the folder, and the next pass goes on.

    Args:
        run: from :func:`moodreel.runtime.large.open_run`.
        found: all inputs, of every shard; keys ascending.
        load: makes a recogniser in an actor's process: must pickle.
        settings: where and how wide.
        retry_failed: whether failed inputs that have not changed are read again.
        here: where relative paths begin; None is the working folder.

    Raises:
        MissingExtra: Ray is not installed.
        DataError: there is no cluster, a part could not be written, or the folder is not the same on all
            machines.
    """
    work = Work(load, run.settings, run.folder, here or os.getcwd())  # noqa: PTH109 (a string)
    stamps: dict[Any, Stamp] = {}

    def inputs() -> Iterator[Input]:
        for entry in found:
            stamps.clear()
            stamps[entry.input.key] = entry.stamp
            yield entry.input

    chosen = run.compare(inputs(), retry_failed, lambda entry: stamps[entry.key])
    first = next(chosen, None)
    if first is not None:
        with open_cluster(settings) as cores:
            actors = settings.actors or cores
            waiting = chain([first], chosen)
            while batch := list(islice(waiting, actors * BLOCKS_AN_ACTOR * settings.block)):
                yield from _run_round(run, work, batch, actors, settings.block)
    if run.counts.met and not run.is_told:
        run.number += 1
        write_part(run.folder, run.number, [], run.settings, completes=True)
        run.counts.parts += 1


def _run_round(
    run: RunFolder,
    work: Work,
    batch: Sequence[Entry | tuple[Input, Stamp]],
    actors: int,
    largest: int,
) -> Iterator[None]:
    """Reads a round's inputs."""
    gone = [entry for entry in batch if isinstance(entry, Entry)]
    if gone:
        run.number += 1
        write_part(run.folder, run.number, gone, run.settings, completes=False)
        run.counts.gone += len(gone)
        run.counts.parts += 1
    inputs = tuple(entry for entry in batch if not isinstance(entry, Entry))
    size = min(largest, max(1, -(-len(inputs) // (actors * 4))))  # few inputs: something for each actor
    blocks = []
    for start in range(0, len(inputs), size):
        run.number += 1
        blocks.append(Block(run.number, inputs[start : start + size]))
    while blocks:
        left = yield from _read_blocks(run, work, blocks, actors)
        blocks = []
        for block in left:
            if len(block.inputs) > 1:
                for piece in block.cut(8):
                    run.number += 1
                    blocks.append(Block(run.number, piece))
            elif (yield from _read_blocks(run, work, [block], 1)):  # not of what stood beside it: alone too
                _bury(run, block)
                yield


def _read_blocks(
    run: RunFolder, work: Work, blocks: Sequence[Block], actors: int
) -> Generator[None, None, list[Block]]:
    """Reads blocks on up to so many actors, and counts them.

    Returns:
        those whose actors died, of them or of a block that waited for the same actor.
    """
    left = {block.number: block for block in blocks}
    for told in _run_blocks(blocks, work, min(actors, len(blocks))):
        if told["fault"]:
            raise DataError(f"{run.folder}: {told['fault']} (--resume goes on)")
        block = left.pop(int(told["number"]))
        if not (run.folder / name_part(block.number, block.mark)).exists():
            raise DataError(f"{run.folder}: not the same folder on all machines: name one they share")
        _count(run, len(block.inputs), int(told["failed"]))
        yield
    return list(left.values())


def _bury(run: RunFolder, block: Block) -> None:
    """Writes the row of an input that took its actors with it, alone too."""
    ((entry, stamp),) = block.inputs
    settings = run.settings
    reason = f"the process that read it died, {DEATHS} times"
    result = Result(entry.path, settings.model, settings.model_version, error=reason)
    written = [Entry(entry.key, stamp, [make_row(result, settings.columns())])]
    write_block(run.folder, block, written, settings)
    _count(run, 1, 1)


def _count(run: RunFolder, inputs: int, failed: int) -> None:
    run.counts.parts += 1
    run.counts.done += inputs
    run.counts.failed += failed


def _run_blocks(blocks: Sequence[Block], work: Work, actors: int) -> Iterator[dict[str, Any]]:
    """Gives blocks to a pool of actors, and yields what they say, in any order; of the dead nothing."""
    import ray
    import ray.data

    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.max_errored_blocks = -1  # an actor's death costs its block, not the run
    logging.getLogger("ray.data").setLevel(logging.CRITICAL)
    items = [{"block": block.to_json()} for block in blocks]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*ray_remote_args")  # no other way to bound the retries
        dataset = ray.data.from_items(items, override_num_blocks=len(items)).map_batches(
            BlockReader,
            batch_size=1,
            batch_format="numpy",
            fn_constructor_args=[work],
            compute=ray.data.ActorPoolStrategy(size=actors),
            num_cpus=1,
            ray_remote_args_fn=lambda: {"max_restarts": -1, "max_task_retries": DEATHS - 1},
        )
    try:
        yield from dataset.iter_rows()
    except ray.exceptions.RayError as error:
        lines = [line.strip() for line in str(error).splitlines() if "Error: " in line]
        raise DataError(
            f"the cluster failed: {(lines or [type(error).__name__])[-1]} (--resume goes on)"
        ) from None
