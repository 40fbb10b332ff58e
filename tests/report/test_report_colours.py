"""The quadrants' colours: seen on both grounds, told apart with every kind of colour vision."""

from itertools import combinations

import numpy as np
import pytest

from moodreel.emotions import QUADRANTS
from moodreel.report.colours import NEUTRAL, PALETTE, find_colour, label_name
from moodreel.report.terminal import COLOURS

# Machado, Oliveira, Fernandes (2009), severity 1.0, on linear RGB, row by row.
SIGHT = {
    "full": [1, 0, 0, 0, 1, 0, 0, 0, 1],
    "protan": [0.1523, 1.0526, -0.2049, 0.1145, 0.7863, 0.0993, -0.0039, -0.0481, 1.0520],
    "deutan": [0.3673, 0.8606, -0.2280, 0.2801, 0.6725, 0.0474, -0.0118, 0.0429, 0.9689],
    "tritan": [1.2555, -0.0767, -0.1788, -0.0784, 0.9308, 0.1476, 0.0047, 0.6914, 0.3039],
}
# Ottosson (2020), Oklab: distances of 0.02 are just seen.
CONES = np.array([[0.41222, 0.53633, 0.05145], [0.2119, 0.6807, 0.1074], [0.0883, 0.28172, 0.62998]])
LAB = np.array([[0.21045, 0.79362, -0.00407], [1.978, -2.42859, 0.45059], [0.0259, 0.78277, -0.80868]])


def to_linear(code):
    value = np.array([int(code[k : k + 2], 16) for k in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def to_oklab(linear):
    return LAB @ np.cbrt(CONES @ np.clip(linear, 0, 1))


def contrast(one, other):
    dark, light = sorted(float(to_linear(code) @ [0.2126, 0.7152, 0.0722]) for code in (one, other))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize(("ground", "code", "least"), [("light", "#ffffff", 3.0), ("dark", "#171a20", 4.5)])
def test_contrast(ground, code, least):
    for colour in (*PALETTE.values(), NEUTRAL):
        assert contrast(getattr(colour, ground), code) >= least


@pytest.mark.parametrize("ground", ["light", "dark"])
@pytest.mark.parametrize("sight", SIGHT)
def test_told_apart(ground, sight):
    matrix = np.reshape(SIGHT[sight], (3, 3))
    seen = [to_oklab(matrix @ to_linear(getattr(colour, ground))) for colour in PALETTE.values()]
    assert min(float(np.linalg.norm(a - b)) for a, b in combinations(seen, 2)) > 0.1


def test_one_table():
    assert tuple(PALETTE) == QUADRANTS
    assert {name: COLOURS[name] for name in QUADRANTS} == {n: c.ansi for n, c in PALETTE.items()}
    assert len({colour.sign for colour in PALETTE.values()}) == 4
    assert find_colour("guilt") is find_colour("misery_sleepiness") is PALETTE["misery_sleepiness"]
    assert find_colour("neutral") is NEUTRAL
    assert label_name("pleasure_arousal") == "pleasure-arousal"
