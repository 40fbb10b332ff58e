"""Training on two processes: shares of batches, and a run of two CPU processes beside one of one."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch.utils.data import DataLoader

import moodreel
from moodreel.errors import SettingsError
from moodreel.lab import devices
from moodreel.lab.data.clips import WeightedSampler
from moodreel.lab.data.faces import BatchSampler
from moodreel.lab.data.manifest import Row, write_manifest
from moodreel.lab.devices import ListShare, Share, check_devices, split_loader
from moodreel.lab.networks import load_run
from moodreel.lab.settings import TrainSettings


def as_rank(monkeypatch, rank):
    monkeypatch.setattr(devices, "find_rank", lambda: rank)


@pytest.mark.parametrize("epoch", [0, 3])
def test_shares_of_lists_are_the_batch(monkeypatch, epoch):
    """18 rows in lists of 6: three a share of each, none twice, those of one process."""
    whole = BatchSampler(18, 6, shuffle=True, seed=5)
    whole.set_epoch(epoch)
    batches, shares = list(whole), []
    for rank in (0, 1):
        as_rank(monkeypatch, rank)
        share = ListShare(BatchSampler(18, 6, shuffle=True, seed=5), 2)
        share.set_epoch(epoch)
        shares.append(list(share))
        assert [len(part) for part in shares[-1]] == [3, 3, 3]
        assert len(share) == 3
    for batch, one, other in zip(batches, *shares, strict=True):
        assert sorted(one + other) == sorted(batch)
        assert one == batch[::2]


def test_a_last_list_may_be_of_some(monkeypatch):
    lists = []
    for rank in (0, 1, 2):
        as_rank(monkeypatch, rank)
        share = ListShare(BatchSampler(10, 4, shuffle=False), 3)
        lists.append(list(share))
        assert len(share) == len(lists[-1])
    assert lists == [[[0, 3], [4, 7], [8]], [[1], [5], [9]], [[2], [6]]]


@pytest.mark.parametrize("count", [16, 17, 18, 19])
def test_all_take_as_many_steps(monkeypatch, count):
    """Items, batches of 4 in two shares: whole batches alone in training, everything in validation."""
    seen, held = [], []
    for rank in (0, 1):
        as_rank(monkeypatch, rank)
        sampler = WeightedSampler(np.full(9, 1 / 9), count, seed=1)
        echo = type("Echo", (), {"__getitem__": lambda self, key: key})()
        loader = DataLoader(
            echo, sampler=sampler, batch_size=4, drop_last=True, collate_fn=lambda items: items
        )
        split = split_loader(loader, 2, train=True)
        split.sampler.set_epoch(2)
        assert len(split) == 4
        seen.append(list(split))
        held.append(
            [i for part in split_loader(DataLoader(range(count), batch_size=4), 2, False) for i in part]
        )
    sampler.set_epoch(2)
    drawn = list(sampler)[:16]
    for step in range(4):
        batch = seen[0][step] + seen[1][step]
        assert sorted(batch) == sorted(drawn[4 * step : 4 * step + 4])
    assert sorted(int(i) for part in held for i in part) == list(range(count))


def test_one_process_reads_all_alone():
    assert devices.find_rank() == 0
    assert list(Share(range(5), 1)) == [0, 1, 2, 3, 4]
    entries = [torch.ones(1)]
    assert devices.gather(entries) is entries


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("sta", 2, 16, 9), "train.devices = 2: expected 1: sta trains on one device"),
        (("caca-rnn", 2, 16, 9), "train.devices = 2: expected 1: caca-rnn trains on one device"),
        (("face", 2, 7, 9), "train.batch = 7: expected a multiple of 2 devices"),
        (("face", 4, 4, 9), "train.batch = 4: expected a multiple of 4 devices, at least 2 for each"),
        (("kavan", 4, 8, 3), "train.devices = 4: expected at most 3, the validation rows"),
    ],
)
def test_what_cannot_be_shared(monkeypatch, args, said):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    check_devices(args[0], 1, *args[2:])
    with pytest.raises(SettingsError, match=said):
        check_devices(*args)


def test_no_more_devices_than_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(SettingsError, match="at most 1, the GPUs here"):
        check_devices("face", 2, 16, 9)
    with pytest.raises(SettingsError, match=r"train.devices = 0: expected at least 1"):
        TrainSettings(devices=0)


WATCHED = """
import json, os, sys
from pathlib import Path
from moodreel.lab.data import faces
from moodreel.lab import train as room
from moodreel.lab.weights import hash_tensors
real = faces.FaceDataset.__getitem__
def watched(self, index):
    name = Path(sys.argv[1], f"seen-{os.environ.get('LOCAL_RANK', '0')}")
    with name.open("a") as file:
        file.write(json.dumps([self.augment is not None, list(index)]) + chr(10))
    return real(self, index)
faces.FaceDataset.__getitem__ = watched
fit = room.fit
def hashed(module, *rest):
    fit(module, *rest)
    name = f"weights-{os.environ.get('LOCAL_RANK', '0')}"
    Path(sys.argv[1], name).write_text(hash_tensors(dict(module.net.named_parameters())))
room.fit = hashed
room.train("face", [Path(sys.argv[1], "m.csv")], Path(sys.argv[1], "run"), Path(sys.argv[1], "r.toml"),
      devices=int(sys.argv[2]))
"""


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The same run by one process and by two, three epochs: folder by number of devices."""
    made = {}
    rng = np.random.default_rng(0)
    pictures = [
        rng.normal((200, 50, 125)[i % 3], 12, (40, 40)).clip(0, 255).astype(np.uint8) for i in range(33)
    ]
    for count in (1, 2):
        folder = tmp_path_factory.mktemp(f"devices{count}")
        rows = []
        for i, pixels in enumerate(pictures):
            Image.fromarray(pixels).save(folder / f"{i}.png")
            kind = ("happiness", "sadness", "neutral")[i % 3]
            rows.append(
                Row(folder / f"{i}.png", f"p{i}", "train" if i < 24 else "val", labels={"ekman": kind})
            )
        write_manifest(folder / "m.csv", rows)
        (folder / "r.toml").write_text(
            'system = "face"\n[model]\ninput_size = 32\ndropout = 0.0\n'
            '[train]\nepochs = 3\nbatch = 8\nprecision = "32"\nema = 0.5\nlearning_rate = 1e-3\n'
        )
        (folder / "train.py").write_text(WATCHED)
        start(folder, str(count))
        made[count] = folder
    return made


def start(folder, how):
    env = {name: value for name, value in os.environ.items() if name not in ("LOCAL_RANK", "MASTER_PORT")}
    env |= {"PYTHONPATH": str(Path(moodreel.__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    env["CUDA_VISIBLE_DEVICES"] = ""
    done = subprocess.run(
        [sys.executable, folder / "train.py", folder, how],
        env=env,
        capture_output=True,
        text=True,
        timeout=400,
    )
    assert done.returncode == 0, done.stderr[-2000:]


def read_seen(folder, rank):
    lines = [json.loads(line) for line in (folder / f"seen-{rank}").read_text().splitlines()]
    return [index for train, index in lines if train], [index for train, index in lines if not train]


def test_two_processes_see_disjoint_halves(runs):
    alone, held = read_seen(runs[1], 0)
    halves = [read_seen(runs[2], rank) for rank in (0, 1)]
    assert len(alone) == len(halves[0][0]) == len(halves[1][0]) == 9  # three steps of each of three epochs
    for batch, one, other in zip(alone, halves[0][0], halves[1][0], strict=True):
        assert len(batch) == 8
        assert set(one) | set(other) == set(batch)
        assert len(one) == len(other) == 4
    epoch = [i for batch in halves[0][1][:2] + halves[1][1][: len(halves[1][1]) // 3] for i in batch]
    assert sorted(epoch) == sorted(i for batch in held[:2] for i in batch) == list(range(9))


def test_two_processes_end_near_one(runs):
    """Gradients are averaged; batch norms are of each process's own half: the ends differ a little."""
    nets = {}
    for count, folder in runs.items():
        recipe, net = load_run(folder / "run")
        assert recipe.train.devices == count
        nets[count] = load_file(folder / "run" / "best.safetensors")
        assert set(nets[count]) == set(net.state_dict())
        best = json.loads((folder / "run" / "best.json").read_text())
        assert best["validation"].keys() == {"accuracy", "macro_f1", "score"}
    scores = {n: json.loads((runs[n] / "run" / "best.json").read_text())["validation"] for n in runs}
    rows = scores[2]["accuracy"] * 9  # of nine rows: those of both halves are counted
    assert rows == pytest.approx(round(rows), abs=1e-9)
    assert abs(scores[1]["accuracy"] - scores[2]["accuracy"]) <= 2 / 9 + 1e-9
    ends = [(runs[2] / f"weights-{rank}").read_text() for rank in (0, 1)]
    assert ends[0] == ends[1]  # what each saw was the other's too
    names = [name for name, value in nets[1].items() if value.ndim > 1]
    one, two = (torch.cat([nets[count][name].flatten() for name in names]) for count in (1, 2))
    assert torch.nn.functional.cosine_similarity(one, two, dim=0) > 0.99
    assert not torch.equal(one, two)


def test_only_the_first_process_writes(runs):
    names = {path.name for path in (runs[2] / "run").iterdir()}
    assert names == {path.name for path in (runs[1] / "run").iterdir()}
    assert [path.name for path in (runs[2] / "run" / "logs").iterdir()] == ["version_0"]
    values = (runs[2] / "run" / "logs" / "version_0" / "metrics.csv").read_text().splitlines()
    assert sum("val/score" in line or line.count(",") > 0 for line in values) >= 4
