"""Context extractors: what they pool, and where their weights come from."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from moodreel.errors import BundleError, SettingsError
from moodreel.lab.layers.context import CompactContext, SqueezeNetContext, build_context, pool_maxima
from moodreel.lab.settings_caca_rnn import SUBMITTED_CACA_RNN, CacaRnnSettings
from reference.kavan import adaptive_average_pool


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def make_pixels(count=2, size=224):
    return torch.randint(0, 256, (count, size, size, 3), dtype=torch.uint8)


@pytest.mark.parametrize(("features", "side"), [(2048, 2), (25088, 7)])
class TestPooling:
    def test_squeezenet_is_torchvision_pooled(self, features, side):
        net = SqueezeNetContext(features, "none").eval()
        pixels = make_pixels(1)
        mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
        x = torch.from_numpy(((pixels.numpy() / 255 - mean) / std).transpose(0, 3, 1, 2)).float()
        torch.testing.assert_close(net.normalise(pixels), x)
        with torch.no_grad():
            maps, got = net.layers(x), net(x)
        assert maps.shape == (1, 512, 13, 13)
        cells = [adaptive_average_pool(channel, (side, side)) for channel in maps[0].numpy()]
        np.testing.assert_allclose(got[0], np.ravel(cells), atol=1e-5)

    def test_compact_is_means_then_maxima(self, features, side):
        net = CompactContext(features).eval()
        pixels = make_pixels()
        x = net.normalise(pixels)
        torch.testing.assert_close(x, pixels.movedim(-1, 1).float() / 255 * 4 - 2)
        with torch.no_grad():
            maps, got = net.backbone(x).numpy(), net(x)
        assert maps.shape == (2, 256, 14, 14)
        cells = maps.reshape(2, 256, side, 14 // side, side, 14 // side)
        means, maxima = cells.mean(axis=(3, 5)), cells.max(axis=(3, 5))
        expected = np.concatenate([means.reshape(2, -1), maxima.reshape(2, -1)], axis=1)
        assert got.shape == (2, features)
        np.testing.assert_allclose(got, expected, atol=1e-5)


@pytest.mark.parametrize("size", [9, 13, 14, 1])
@pytest.mark.parametrize("cells", [1, 2, 7])
def test_maxima_are_torchs_where_cells_do_not_divide_the_grid(size, cells):
    grid = torch.randn(2, 3, size, size + 2)
    expected = functional.adaptive_max_pool2d(grid, cells)
    torch.testing.assert_close(pool_maxima(grid, cells), expected, rtol=0, atol=0)


def test_squeezenet_loads_torchvisions_weights(tmp_path):
    from torchvision.models import squeezenet1_1  # after moodreel.lab, which makes it importable

    theirs = squeezenet1_1(weights=None)
    torch.save(theirs.state_dict(), tmp_path / "squeeze.pth")
    ours = SqueezeNetContext(weights=str(tmp_path / "squeeze.pth"))
    for name, value in theirs.features.state_dict().items():
        assert torch.equal(ours.layers.state_dict()[name], value)
    without = {name: value for name, value in theirs.state_dict().items() if "classifier" not in name}
    torch.save(without, tmp_path / "headless.pth")
    SqueezeNetContext(weights=str(tmp_path / "headless.pth"))
    torch.save({"features.0.weight": torch.zeros(1)}, tmp_path / "other.pth")
    for file in ("other.pth", "absent.pth"):
        with pytest.raises(BundleError, match=f"{file}: not readable as torchvision's squeezenet1_1"):
            SqueezeNetContext(weights=str(tmp_path / file))


def test_imagenet_without_a_network_says_what_to_do(monkeypatch):
    def refuse(*args, **kwargs):
        raise OSError("no route to host")

    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    message = r"SqueezeNet 1\.1 cannot be fetched \(no route to host\).*squeezenet1_1.*extractor_weights"
    with pytest.raises(BundleError, match=message):
        build_context(SUBMITTED_CACA_RNN)


def test_settings_choose_the_extractor():
    assert isinstance(build_context(CacaRnnSettings()), CompactContext)
    chosen = CacaRnnSettings(extractor="squeezenet", context_features=4608)
    assert isinstance(build_context(chosen), SqueezeNetContext)
    for extractor in ("compact", "squeezenet"):
        with pytest.raises(
            SettingsError, match=r"model\.context_features = 1000: expected 512 times a square"
        ):
            build_context(CacaRnnSettings(extractor=extractor, context_features=1000))
