"""Learning from teachers: the loss by hand, what a run keeps of them, what is refused."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file

from lab.stills import write_stills
from moodreel.errors import DataError, SettingsError
from moodreel.lab.distill import Teachers, distillation_loss
from moodreel.lab.export import export
from moodreel.lab.models.face_cnn import FaceCNN
from moodreel.lab.modules import FaceModule
from moodreel.lab.networks import load_run
from moodreel.lab.settings import FaceSettings, TrainSettings
from moodreel.lab.train import train


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    return write_stills(tmp_path_factory.mktemp("stills"), ("happiness", "sadness", "neutral"), 12, 3, 3)


def write_recipe(path, weight=0.0, size=32, epochs=1):
    path.write_text(
        f'system = "face"\n[model]\ninput_size = {size}\nteacher_weight = {weight}\nmixup = 0.2\n'
        f'[train]\nepochs = {epochs}\nbatch = 6\nprecision = "32"\nema = 0.5\n'
    )
    return path


@pytest.fixture(scope="module")
def teacher(manifest, tmp_path_factory):
    """A run at another size than its student's."""
    folder = tmp_path_factory.mktemp("teacher")
    train("face", [manifest], folder / "run", write_recipe(folder / "r.toml", size=48))
    return folder / "run"


def test_loss_by_hand():
    # student softmax([0, ln 9] / 2) = (1/4, 3/4); T^2 sum p ln(p / q)
    told = torch.tensor([[0.5, 0.5]])
    logits = torch.tensor([[0.0, math.log(9)]])
    expected = 4 * (0.5 * math.log(0.5 / 0.25) + 0.5 * math.log(0.5 / 0.75))
    assert float(distillation_loss(logits, told, 2.0)) == pytest.approx(expected, rel=1e-6)
    assert float(distillation_loss(logits, torch.tensor([[0.25, 0.75]]), 2.0)) == pytest.approx(0, abs=1e-6)


def test_teachers_say_their_mean_at_their_own_size(teacher):
    net = load_run(teacher)[1]
    pixels = torch.randn(3, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    alone = Teachers([str(teacher)])
    torch.testing.assert_close(alone.read(pixels, 1.0), torch.softmax(net(pixels)[0], 1))
    torch.testing.assert_close(alone.read(pixels, 3.0), torch.softmax(net(pixels)[0] / 3, 1))
    both = Teachers([str(teacher), "face"]).read(pixels, 1.0)
    torch.testing.assert_close(
        both, (alone.read(pixels, 1.0) + Teachers(["face"]).read(pixels, 1.0)) / 2, rtol=1e-5, atol=1e-6
    )


@pytest.mark.parametrize("weight", [0.25, 1.0])
def test_the_weight_shares_the_loss_between_labels_and_teachers(teacher, weight):
    def lose(weight, labels):
        torch.manual_seed(0)
        model = FaceSettings(input_size=48, teacher_weight=weight, dropout=0.0, label_smoothing=0.0)
        module = FaceModule(FaceCNN(model), model, TrainSettings(), Teachers([str(teacher)]))
        module.log = lambda *_, **__: None
        module.eval()
        pixels = torch.randn(4, 3, 48, 48, generator=torch.Generator().manual_seed(1))
        logits = module.net(pixels)[0]
        loss = module.training_step((pixels, labels), 0)
        return loss.item(), logits.detach(), module.teachers.read(pixels, 2.0)

    labels = torch.tensor([0, 1, 2, 3])
    loss, logits, told = lose(weight, labels)
    picked = -torch.log_softmax(logits, 1)[range(4), labels].mean()
    expected = (1 - weight) * picked + weight * distillation_loss(logits, told, 2.0)
    assert loss == pytest.approx(float(expected), rel=1e-5)
    other = lose(weight, labels.flip(0))[0]
    assert (other == pytest.approx(loss, rel=1e-6)) == (weight == 1.0)  # no label is read any more


def test_run_and_bundle_name_their_teachers_and_hold_nothing_of_them(manifest, teacher, tmp_path):
    before = load_file(teacher / "best.safetensors")
    recipe = write_recipe(tmp_path / "r.toml", weight=0.5)
    train("face", [manifest], tmp_path / "run", recipe, teachers=[str(teacher), "face"])
    notes = json.loads((tmp_path / "run" / "best.json").read_text())["teachers"]
    assert [note["name"] for note in notes] == ["run", "face"]
    state = torch.load(tmp_path / "run" / "last.ckpt", weights_only=True)["state_dict"]
    assert not [name for name in state if "teacher" in name]
    after = load_file(teacher / "best.safetensors")
    assert all(torch.equal(before[name], after[name]) for name in before)
    export(tmp_path / "run", tmp_path / "bundle", score=False)
    card = (tmp_path / "bundle" / "card.md").read_text()
    named = [f"`{note['name']}` (sha256 {note['sha256'][:12]})" for note in notes]
    assert f"A share of 50% of its loss asks for the mean probabilities of {', '.join(named)}." in card

    with pytest.raises(DataError, match="the teachers are not those the run was started with"):
        train("face", [manifest], tmp_path / "run", resume=True, teachers=["face"])
    with pytest.raises(SettingsError, match=r"teacher_weight = 0.5: expected 0 without --teacher"):
        train("face", [manifest], tmp_path / "run", resume=True)


@pytest.mark.parametrize(("system", "weight"), [("face", 0.0), ("kavan", None)])
def test_teachers_that_nothing_asks_for_are_refused(manifest, tmp_path, system, weight):
    recipe = None if weight is None else write_recipe(tmp_path / "r.toml", weight)
    with pytest.raises(SettingsError, match=r"teacher_weight = 0.0: expected above 0, in a recipe of face"):
        train(system, [manifest], tmp_path / "run", recipe, teachers=["face"])
    assert not (tmp_path / "run").exists()


def test_a_teacher_of_another_system_is_refused(manifest, tmp_path):
    recipe = write_recipe(tmp_path / "r.toml", weight=0.5)
    with pytest.raises(SettingsError, match="teacher = 'kavan': expected a run or bundle"):
        train("face", [manifest], tmp_path / "run", recipe, teachers=["kavan"])
