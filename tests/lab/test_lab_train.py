"""Training, resuming, exporting and evaluating, on tiny data."""

import json
import shutil

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from safetensors.torch import load_file

from lab.stills import write_stills
from moodreel.emotions import EKMAN_7
from moodreel.errors import BundleError, DataError, SettingsError
from moodreel.lab import metrics
from moodreel.lab.calibrate import fold_temperature
from moodreel.lab.data.manifest import Row, write_manifest
from moodreel.lab.evaluate import evaluate
from moodreel.lab.export import export
from moodreel.lab.layers.backbones import ResNet50Backbone, build_backbone
from moodreel.lab.models.kavan import Kavan
from moodreel.lab.modules import FaceModule
from moodreel.lab.networks import OUTPUTS, build_graph, example_input, load_bundle, load_run
from moodreel.lab.settings import recipe_from_dict
from moodreel.lab.train import train
from moodreel.lab.weights import hash_tensors, read_bundle_weights, start_from
from moodreel.runtime.bundle import read_bundle
from moodreel.runtime.recognizer import load


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """45 stills: bright ones are happy, dark ones are sad, the rest neutral."""
    return write_stills(tmp_path_factory.mktemp("stills"), ("happiness", "sadness", "neutral"), 18, 9, 18)


def write_recipe(path, system, **train_settings):
    size = {"face": 32, "kavan": 32}[system]
    values = {"epochs": 2, "batch": 6, "precision": "32", "ema": 0.5, **train_settings}
    lines = [f'system = "{system}"', "[model]", f"input_size = {size}", "[train]"]
    lines += [f"{k} = {json.dumps(v)}" for k, v in values.items()]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


@pytest.fixture(scope="module", params=["face", "kavan"])
def run(request, manifest, tmp_path_factory):
    """A finished run of two epochs."""
    folder = tmp_path_factory.mktemp(request.param)
    recipe = write_recipe(folder / "recipe.toml", request.param)
    train(request.param, [manifest], folder / "run", recipe)
    return folder / "run"


def test_run_folder(run):
    names = {path.name for path in run.iterdir()}
    assert {"recipe.json", "data.json", "best.safetensors", "best.json", "last.ckpt", "logs"} <= names
    header = (run / "logs" / "version_0" / "metrics.csv").read_text().splitlines()[0]
    assert "val/score" in header
    if load_run(run)[0].system == "kavan":
        for part in ("nmse", "category", "ranking", "keypoints"):
            assert f"train/{part}" in header  # each loss alone


def test_interrupted_run_resumes_to_the_same_weights(run, manifest, tmp_path, monkeypatch):
    system = load_run(run)[0].system
    recipe = write_recipe(tmp_path / "recipe.toml", system)

    from moodreel.lab import modules

    original = modules.TrainModule.on_train_batch_start

    def stop_in_second_epoch(self, batch, index):
        if self.current_epoch == 1 and index == 1:
            raise InterruptedError("as if killed")
        original(self, batch, index)

    with monkeypatch.context() as patch:
        patch.setattr(modules.TrainModule, "on_train_batch_start", stop_in_second_epoch)
        with pytest.raises(InterruptedError):
            train(system, [manifest], tmp_path / "run", recipe)
    with pytest.raises(DataError, match="holds a run already"):
        train(system, [manifest], tmp_path / "run", recipe)
    train(system, [manifest], tmp_path / "run", resume=True)
    for mine, theirs in zip(
        *(load_file(r / "best.safetensors").items() for r in (tmp_path / "run", run)), strict=True
    ):
        assert mine[0] == theirs[0]
        torch.testing.assert_close(mine[1], theirs[1], msg=mine[0])


def test_the_last_weights_are_kept_where_that_is_asked_for(manifest, tmp_path, monkeypatch):
    recipe = write_recipe(tmp_path / "recipe.toml", "face", epochs=3, keep_by="last")
    scores = iter([0.5, 0.9, 0.1])
    real = FaceModule.validation_scores
    monkeypatch.setattr(FaceModule, "validation_scores", lambda self: real(self) | {"score": next(scores)})
    train("face", [manifest], tmp_path / "run", recipe)
    assert json.loads((tmp_path / "run" / "best.json").read_text())["epoch"] == 2


def test_resume_refuses_what_does_not_fit(run, manifest, tmp_path):
    with pytest.raises(DataError, match="nothing to resume"):
        train("face", [manifest], tmp_path, resume=True)
    other = "kavan" if load_run(run)[0].system == "face" else "face"
    with pytest.raises(SettingsError, match="as the run in"):
        train(other, [manifest], run, resume=True)


def test_resume_refuses_other_data(run, manifest, tmp_path):
    text = manifest.read_text().replace("train", "TEMP").replace("test", "train").replace("TEMP", "test")
    other = manifest.parent / "swapped.csv"
    other.write_text(text)
    with pytest.raises(DataError, match="not those the run was started with"):
        train(load_run(run)[0].system, [other], run, resume=True)


def test_export_does_not_score_on_changed_data(run, manifest, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    facts = json.loads((copy / "data.json").read_text())
    facts[0]["sha256"] = "0" * 64
    (copy / "data.json").write_text(json.dumps(facts))
    export(copy, tmp_path / "b")
    assert "is not the one the run was given" in (tmp_path / "b" / "card.md").read_text()
    assert load(tmp_path / "b").info.scores["headline"] == {}


@pytest.mark.parametrize(
    ("system", "kinds", "message"),
    [
        ("face", ["happiness"] * 4, "train.batch = 6: expected at most 4"),
        ("kavan", ["happiness"] * 12, "no emotion has training labels that differ"),
        ("kavan", ["neutral"] * 12, "no emotion has training labels that differ"),
    ],
)
def test_data_too_poor_to_train_on_is_one_error(manifest, tmp_path, system, kinds, message):
    pictures = [manifest.parent / f"{i}.png" for i in range(len(kinds) + 1)]
    rows = [Row(p, p.stem, "train", labels={"ekman": k}) for p, k in zip(pictures, kinds, strict=False)]
    write_manifest(tmp_path / "m.csv", [*rows, Row(pictures[-1], "v", "val", labels={"ekman": "happiness"})])
    with pytest.raises((DataError, SettingsError), match=message):
        train(system, [tmp_path / "m.csv"], tmp_path / "run", write_recipe(tmp_path / "r.toml", system))


def test_leak_between_manifests(manifest, tmp_path):
    write_manifest(
        tmp_path / "other.csv", [Row(manifest.parent / "0.png", "p0", "test", labels={"ekman": "fear"})]
    )
    with pytest.raises(DataError, match="a leak"):
        train("face", [manifest, tmp_path / "other.csv"], tmp_path / "run")


@pytest.fixture(scope="module")
def bundle(run, tmp_path_factory):
    out = tmp_path_factory.mktemp("bundle") / "mine"
    export(run, out)
    return out


def test_bundle_equals_torch_on_other_batch_sizes(run, bundle):
    recipe, net = load_bundle(read_bundle(str(bundle)))
    graph = build_graph(net).eval()
    session = onnxruntime.InferenceSession(str(bundle / "model.onnx"))
    for count in (1, 3, 7):
        frames = example_input(recipe, count)
        with torch.no_grad():
            expected = graph(frames)
        for ours, theirs in zip(session.run(None, {"frames": frames.numpy()}), expected, strict=True):
            np.testing.assert_allclose(ours, theirs.numpy(), atol=1e-4)


def test_confidence_is_scaled_by_the_temperature_that_validation_asked_for(run, bundle):
    recipe, net = load_run(run)
    temperature = json.loads((run / "best.json").read_text())["temperature"]["classify"]
    assert abs(temperature - 1) > 0.02  # else this says nothing
    place = OUTPUTS[recipe.system].index("probabilities")
    frames = example_input(recipe, 4)
    with torch.no_grad():
        before = build_graph(net).eval()(frames)[place].double()
        after = build_graph(load_bundle(read_bundle(str(bundle)))[1]).eval()(frames)[place].double()
    expected = torch.softmax(before.log() / temperature, dim=-1)
    torch.testing.assert_close(after, expected, atol=2e-3, rtol=0)  # weights are rounded to half precision


def test_bundle_says_what_it_is(run, bundle, manifest):
    info = load(bundle).info
    system = load_run(run)[0].system
    assert (info.name, info.system) == ("mine", system)
    assert info.training["data"][0]["rows"] == {"train": 18, "val": 9, "test": 18}
    name = manifest.parent.name
    assert info.scores[name]["clips"] == 18
    card = (bundle / "card.md").read_text(encoding="utf-8")
    for words in ("Held-out scores", "Limits", name, "prohibited"):
        assert words in card
    if system == "kavan":
        assert set(info.supervised.emotions) == {"happiness", "sadness"}
        assert set(info.supervised.categories) == {"pleasure_arousal", "misery_sleepiness"}
        assert "No source supervised" in card
        assert info.training["data"][0]["supervises"] == ["happiness", "sadness"]
        assert "Supervises happiness, sadness." in card
    assert "start" not in info.training
    assert b"stack_trace" not in (bundle / "model.onnx").read_bytes()  # paths of the machine that exported


def test_export_replaces_only_bundles_and_only_when_complete(run, bundle, tmp_path):
    (tmp_path / "precious").mkdir()
    with pytest.raises(BundleError, match="is no bundle"):
        export(run, tmp_path / "precious")
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    (copy / "best.safetensors").write_bytes(b"torn")
    before = (bundle / "model.onnx").read_bytes()
    with pytest.raises(DataError, match=r"best\.safetensors"):
        export(copy, bundle)
    assert (bundle / "model.onnx").read_bytes() == before
    assert [p.name for p in bundle.parent.iterdir()] == ["mine"]


def test_evaluate_through_the_runtime(run, bundle, manifest):
    scores = evaluate(str(bundle), [manifest], "test")[manifest.parent.name]
    assert scores["clips"] == 18
    assert scores["failed"] == 0
    predicted = [r.category for r in load(bundle).map(manifest.parent / f"{i}.png" for i in range(27, 45))]
    if load_run(run)[0].system == "face":
        truth = ["happiness", "sadness", "neutral"] * 6
        assert scores["accuracy"] == pytest.approx(
            np.mean([a == b for a, b in zip(predicted, truth, strict=True)])
        )
        assert sum(map(sum, scores["confusion"])) == 18
    else:
        assert scores["quadrant_clips"] == 12  # neutral has no quadrant
        assert set(scores["emotions"]) == {"happiness", "sadness"}
        # A third is positive: saying the training mean errs by 1 + (mean - m)^2 / variance.
        mean = load(bundle).info.training["target_mean"]["happiness"]
        expected = 1 + (mean + 1 / 3) ** 2 / (8 / 9)
        assert scores["emotions"]["happiness"]["nmse_of_training_mean"] == pytest.approx(expected, abs=1e-3)
    assert evaluate(str(bundle), [manifest], "all")[manifest.parent.name]["clips"] == 45
    with pytest.raises(DataError, match="no row with split = 'holdout'"):
        evaluate(str(bundle), [manifest], "holdout")


def test_evaluate_counts_what_cannot_be_read(bundle, manifest, tmp_path):
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    good = Row(manifest.parent / "35.png", "p35", "test", labels={"ekman": "neutral"})
    more = Row(manifest.parent / "33.png", "p33", "test", labels={"ekman": "happiness"})
    bad = Row(tmp_path / "bad.png", "b", "test", labels={"ekman": "neutral"})
    write_manifest(tmp_path / "m.csv", [good, bad, more])
    scores = evaluate(str(bundle), [tmp_path / "m.csv"])["m"]
    assert (scores["clips"], scores["failed"]) == (2, 1)


def test_a_bundle_holds_each_weight_once(run, bundle):
    _, net = load_run(run)
    fold_temperature(net.classify, json.loads((run / "best.json").read_text())["temperature"]["classify"])
    stored = read_bundle_weights(read_bundle(str(bundle)))
    for name, value in net.state_dict().items():
        rounded = value.half().float() if value.is_floating_point() else value
        torch.testing.assert_close(stored[name].float(), rounded.float(), rtol=0, atol=0, msg=name)
    rest = load_file(bundle / "weights.safetensors")
    graph = {t.name: t for t in onnx.load(bundle / "model.onnx").graph.initializer}
    for name, value in rest.items():  # here only what the graph lacks, or holds in another shape
        for held in (f"net.{name}", f"net.{name}.half"):
            assert held not in graph or list(graph[held].dims) != list(value.shape)
    assert not any(name.startswith("backbone.") and value.ndim == 4 for name, value in rest.items())


def test_start_from_takes_what_fits(run, bundle):
    recipe, net = load_run(run)
    for source in (run, bundle):
        fresh = type(net)(recipe.model)
        taken = start_from(fresh, str(source))
        assert set(taken) == {name for name in net.state_dict() if not name.startswith("supervised_")}
        if isinstance(fresh, Kavan):
            assert fresh.supervised_emotions.all()  # the data's to say, not the start's
    with pytest.raises(BundleError, match="logs"):
        start_from(net, str(run / "logs"))


def test_kavan_starts_from_a_face_run(manifest, tmp_path):
    train("face", [manifest], tmp_path / "face", write_recipe(tmp_path / "f.toml", "face", epochs=1))
    recipe = write_recipe(tmp_path / "k.toml", "kavan", epochs=1)
    recipe.write_text(recipe.read_text().replace("input_size", "backbone_rate = 0.0\ninput_size"))
    train("kavan", [manifest], tmp_path / "kavan", recipe, init=str(tmp_path / "face"))
    (_, face), (_, net) = load_run(tmp_path / "face"), load_run(tmp_path / "kavan")
    for name, value in net.backbone.state_dict().items():  # frozen: weights and batch-norm statistics
        torch.testing.assert_close(value, face.backbone.state_dict()[name], msg=name)
    export(tmp_path / "kavan", tmp_path / "mine", score=False)
    digest = hash_tensors(face.state_dict())
    assert load(tmp_path / "mine").info.training["start"] == {"name": "face", "sha256": digest}
    assert f"weights of `face` (sha256 {digest[:12]})" in (tmp_path / "mine" / "card.md").read_text()


class TestBackbones:
    def test_compact_is_stride_16(self):
        backbone = build_backbone("compact")
        assert backbone(torch.zeros(1, 3, 112, 112)).shape == (1, 256, 7, 7)

    def test_paper_is_resnet50_layer4(self):
        backbone = build_backbone("paper")
        assert backbone(torch.zeros(1, 3, 224, 224)).shape == (1, 2048, 7, 7)
        # torchvision's ResNet-50 has 25,557,032 parameters, 2,049,000 of them in fc.
        assert sum(p.numel() for p in backbone.parameters()) == 25_557_032 - 2_049_000

    def test_weights_by_path(self, tmp_path):
        from torchvision.models import resnet50

        state = resnet50().state_dict()
        torch.save(state, tmp_path / "r.pth")
        backbone = ResNet50Backbone(str(tmp_path / "r.pth"))
        torch.testing.assert_close(backbone.layers[0].weight, state["conv1.weight"])
        torch.save({"a": torch.zeros(1)}, tmp_path / "bad.pth")
        with pytest.raises(BundleError, match="not readable as torchvision's resnet50"):
            ResNet50Backbone(str(tmp_path / "bad.pth"))
        with pytest.raises(BundleError, match="not readable"):
            ResNet50Backbone(str(tmp_path / "none.pth"))

    def test_offline_says_what_to_do(self, monkeypatch):
        def refuse(*_, **__):
            raise OSError("no network")

        monkeypatch.setattr("torch.hub.load_state_dict_from_url", refuse)
        monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
        with pytest.raises(BundleError, match=r"cannot be fetched.*backbone_weights"):
            ResNet50Backbone("imagenet")

    def test_unknown_preset(self):
        with pytest.raises(SettingsError, match="preset = 'tiny'"):
            build_backbone("tiny")

    def test_paper_preset_of_kavan_runs(self):
        model = {"preset": "paper", "input_size": 64, "hidden": 16, "backbone_weights": "none"}
        recipe = recipe_from_dict({"model": model}, "kavan")
        net = Kavan(recipe.model).eval()
        out = net(net.normalise(example_input(recipe, 1)))
        assert out.intensities.shape == (1, 8, 17)
        assert out.attention.shape == (1, 8, 4)


class TestMetrics:
    def test_by_hand(self):
        predicted, label = [0, 0, 1, 1, 2], [0, 1, 1, 1, 0]
        assert metrics.accuracy(predicted, label) == pytest.approx(3 / 5)
        assert metrics.confusion_matrix(predicted, label, 3).tolist() == [[1, 0, 1], [1, 2, 0], [0, 0, 0]]
        # class 0: 2 predicted, 2 true, 1 right -> 0.5; class 1: 2, 3, 2 -> 0.8; class 2: 1, 0, 0 -> 0
        np.testing.assert_allclose(metrics.class_f1(predicted, label, 3), [0.5, 0.8, 0])
        assert metrics.macro_f1(predicted, label, 3) == pytest.approx(0.65)
        assert metrics.macro_f1(predicted, label, 3, minimum=3) == pytest.approx(0.8)

    def test_against_scikit_learn_definitions_on_many(self):
        rng = np.random.default_rng(0)
        predicted, label = rng.integers(0, 7, (2, 500))
        f1 = metrics.class_f1(predicted, label, len(EKMAN_7))
        for k in range(7):
            hit = ((predicted == k) & (label == k)).sum()
            precision, recall = hit / (predicted == k).sum(), hit / (label == k).sum()
            assert f1[k] == pytest.approx(2 * precision * recall / (precision + recall))

    def test_spearman(self):
        assert metrics.spearman([1, 2, 3, 4], [10, 20, 40, 30]) == pytest.approx(0.8)
        assert metrics.spearman([1, 1, 1], [1, 2, 3]) == 0
        assert np.isnan(metrics.spearman([1], [1]))

    def test_concordance(self):
        # Targets 0 0 1 2: five pairs differ; 0.3 (target 0) above 0.2 (target 1) is wrong, 0.2 = 0.2 is half.
        assert metrics.concordance([0.3, 0.2, 0.2, 0.9], [0, 0, 1, 2]) == pytest.approx(3.5 / 5)
        assert np.isnan(metrics.concordance([1, 2], [5, 5]))
        rng = np.random.default_rng(0)
        a, b = rng.integers(0, 9, 80), rng.integers(0, 4, 80)
        pairs = [(i, j) for i in range(80) for j in range(80) if b[i] > b[j]]
        expected = np.mean([(a[i] > a[j]) + 0.5 * (a[i] == a[j]) for i, j in pairs])
        assert metrics.concordance(a, b) == pytest.approx(expected)

    def test_nmse_of_the_mean_is_one(self):
        target = np.array([[1.0, 0], [3.0, 5], [8.0, 5]])
        mask = np.array([[True, False], [True, True], [True, True]])
        each = metrics.nmse(np.full((3, 2), 4.0), target, mask)
        assert each[0] == pytest.approx(1)
        assert np.isnan(each[1])  # both known targets are equal

    def test_calibration(self):
        # Two bins: 0.95 confident and half right (gap 0.45), 0.55 confident and half right (gap 0.05).
        confidence, correct = [0.95, 0.95, 0.55, 0.55], [1, 0, 1, 0]
        assert metrics.expected_calibration_error(confidence, correct) == pytest.approx((0.45 + 0.05) / 2)

    def test_bootstrap_resamples_groups(self):
        values, groups = np.repeat([0.0, 1.0], 500), np.repeat(["a", "b"], 500)
        low, high = metrics.bootstrap_interval(lambda i: values[i].mean(), groups)
        assert (low, high) == (0.0, 1.0)  # two groups: either may be missing
        low, high = metrics.bootstrap_interval(lambda i: values[i].mean(), np.arange(1000))
        assert 0.46 < low < 0.5 < high < 0.54
