"""Training on several devices of one machine: each process takes its share of every batch.

Lightning starts the processes (DDP: NCCL between GPUs, gloo between CPU processes) by running the command
again, and averages the gradients. The samplers stay ours: what a batch holds follows from (seed, epoch),
whatever the number of devices, and each process reads every n-th item of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import torch
from torch import distributed
from torch.utils.data import DataLoader, Sampler

from moodreel.errors import SettingsError, require

SPLIT_SYSTEMS = ("face", "kavan")
"""Systems whose batches can be shared out."""


def check_devices(system: str, devices: int, batch: int, validation: int) -> None:
    """Finds what does not go with several devices before any process is started.

    Args:
        system: of the recipe.
        devices: how many.
        batch: clips of a step, of all devices together.
        validation: rows to validate on.

    Raises:
        SettingsError: the system cannot be split, a share of a batch would have one clip or part of one, or
            there are fewer GPUs or validation rows than devices.
    """
    if devices == 1:
        return
    require(system in SPLIT_SYSTEMS, "train.devices", devices, f"1: {system} trains on one device")
    fits = batch % devices == 0 and batch // devices >= 2
    require(fits, "train.batch", batch, f"a multiple of {devices} devices, at least 2 for each (batch norm)")
    if torch.cuda.is_available():
        count = torch.cuda.device_count()
        require(devices <= count, "train.devices", devices, f"at most {count}, the GPUs here")
    if validation < devices:
        raise SettingsError("train.devices", devices, f"at most {validation}, the validation rows")


def is_first_process() -> bool:
    """Whether this process writes what the run folder holds: not one that Lightning started beside it."""
    return os.environ.get("LOCAL_RANK", "0") == "0"


def find_rank() -> int:
    """Number of this process among those that train together; 0 where it trains alone."""
    return distributed.get_rank() if distributed.is_available() and distributed.is_initialized() else 0


def gather(entries: list[Any]) -> list[Any]:
    """What all processes hold, in all of them, the first one's first; alone, what this one holds.

    Args:
        entries: of this process, on the CPU.
    """
    if not (distributed.is_available() and distributed.is_initialized()):
        return entries
    parts: list[Any] = [None] * distributed.get_world_size()
    distributed.all_gather_object(parts, entries)
    return [entry for part in parts for entry in part]


class Share(Sampler[Any]):
    """Every n-th item of a sampler, from the process's own number on.

    Args:
        whole: what one process alone would read.
        devices: processes.
        batch: items of a whole batch: a training share ends with the last whole one, so that all processes
            take as many steps; None reads to the end.
    """

    def __init__(self, whole: Any, devices: int, batch: int | None = None) -> None:
        self.whole = whole
        self.devices = devices
        self.batch = batch

    def set_epoch(self, epoch: int) -> None:
        """Called by Lightning before each epoch."""
        if hasattr(self.whole, "set_epoch"):
            self.whole.set_epoch(epoch)

    def _end(self) -> int:
        count = len(self.whole)
        return count if self.batch is None else count // self.batch * self.batch

    def __len__(self) -> int:
        return len(range(find_rank(), self._end(), self.devices))

    def __iter__(self) -> Iterator[Any]:
        end, rank = self._end(), find_rank()
        for place, item in enumerate(self.whole):
            if place < end and place % self.devices == rank:
                yield item


class ListShare(Share):
    """As :class:`Share`, of a sampler that yields a list a batch: its items of each, where it has any."""

    def __len__(self) -> int:
        return sum(len(batch) > find_rank() for batch in self.whole)

    def __iter__(self) -> Iterator[Any]:
        rank = find_rank()
        for batch in self.whole:
            if len(batch) > rank:
                yield batch[rank :: self.devices]


def split_loader(loader: DataLoader[Any], devices: int, train: bool) -> DataLoader[Any]:
    """The same loader for one of several processes: batches of their share.

    Args:
        loader: of one process.
        devices: processes.
        train: whether all must take as many steps.
    """
    kept: dict[str, Any] = {
        "num_workers": loader.num_workers,
        "worker_init_fn": loader.worker_init_fn,
        "persistent_workers": loader.persistent_workers,
        "collate_fn": loader.collate_fn,
    }
    if loader.batch_size is None:  # the sampler yields lists
        return DataLoader(loader.dataset, sampler=ListShare(loader.sampler, devices), batch_size=None, **kept)
    whole = loader.batch_size
    return DataLoader(
        loader.dataset,
        sampler=Share(loader.sampler, devices, whole if train else None),
        batch_size=max(1, whole // devices),
        drop_last=loader.drop_last,
        **kept,
    )
