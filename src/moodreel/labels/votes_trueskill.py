"""TrueSkill of two players with draws, in closed form, finite however unlikely the vote.

Herbrich, Minka, Graepel: *TrueSkill: A Bayesian Skill Rating System*, NIPS 2006. With two players the factor
graph needs one pass, and its messages collapse into a few lines (``rate`` in :func:`build_sequential`). What
is left to care for are the paper's functions V and W: quotients of normal densities and tails, both of which
vanish when a favourite loses badly or two very unequal items draw. Each is written so as to keep its digits.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from moodreel.errors import SettingsError
from moodreel.types import FloatArray

IndexArray = npt.NDArray[np.integer[Any]]

FAR = 5.0
"""Standard deviations from which a normal tail is taken as a continued fraction."""

DEPTH = 25
"""Terms of that fraction: beyond :data:`FAR` its relative error is below 1e-15."""

THIN = 1e-4
"""Draw margin (standard deviations of the difference) below which the density across it is exponential."""

ROOT_HALF = math.sqrt(0.5)
PEAK = 1 / math.sqrt(2 * math.pi)


@dataclass(frozen=True)
class TrueSkill:
    """What TrueSkill assumes. The defaults are the usual ones; none of them follows from another.

    Attributes:
        mu: mean of an item without votes, at most 1e9 either way.
        sigma: its standard deviation, 1e-9 to 1e9.
        beta: noise of one showing (standard deviation), 1e-9 to 1e9.
        tau: by how much a rating may drift between two votes (standard deviation), 0 to 1e9.
        draw_probability: share of "neither" between equal items, at least 0 and below 1.

    Raises:
        SettingsError: a field is out of these bounds.
    """

    mu: float = 25.0
    sigma: float = 25.0 / 3
    beta: float = 25.0 / 6
    tau: float = 25.0 / 300
    draw_probability: float = 0.10

    def __post_init__(self) -> None:
        bounds = {"mu": (-1e9, 1e9), "sigma": (1e-9, 1e9), "beta": (1e-9, 1e9), "tau": (0.0, 1e9)}
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name in bounds:
                low, high = bounds[field.name]
                if not low <= value <= high:
                    raise SettingsError(field.name, value, f"a number from {low:g} to {high:g}")
            elif not 0 <= value < 1:
                raise SettingsError(field.name, value, "a probability, at least 0 and below 1")

    @property
    def margin(self) -> float:
        """Performances that differ by less are a draw: the paper's epsilon, from the draw probability."""
        from statistics import NormalDist

        # From the lower tail, which keeps its digits when the probability is close to 1.
        return -NormalDist().inv_cdf((1 - self.draw_probability) / 2) * math.sqrt(2) * self.beta


class Sequential(NamedTuple):
    """The update, one vote after another.

    Attributes:
        tail: z >= :data:`FAR` -> phi(z) / (1 - Phi(z)) - z.
        correct_win: x = t - epsilon -> (V, W) of a win.
        correct_draw: (t, epsilon) -> (V, W) of a draw.
        rate: (mu, variance, first, second, drawn, margin, noise, drift) -> None; see
            :func:`moodreel.labels.votes.rate_votes`.
    """

    tail: Callable[[float], float]
    correct_win: Callable[[float], tuple[float, float]]
    correct_draw: Callable[[float, float], tuple[float, float]]
    rate: Callable[..., None]


def build_sequential(jit: Callable[[Any], Any] = lambda function: function) -> Sequential:
    """The same source, plain or compiled.

    Args:
        jit: a decorator that compiles, e.g. ``numba.njit``; the default leaves the functions as they are.
    """

    @jit
    def tail(z: float) -> float:
        # Laplace's continued fraction of the inverse Mills ratio, without its leading z.
        rest = z
        for k in range(DEPTH, 1, -1):
            rest = z + k / rest
        return 1.0 / rest

    @jit
    def correct_win(x: float) -> tuple[float, float]:
        if x < -FAR:
            excess = tail(-x)  # V + x, which the difference itself would lose
            v = excess - x
            return v, v * excess
        v = PEAK * math.exp(-0.5 * x * x) / (0.5 * math.erfc(-x * ROOT_HALF))
        return v, v * (v + x)

    @jit
    def correct_draw(t: float, epsilon: float) -> tuple[float, float]:
        # -V is the mean and 1 - W the variance of a standard normal cut to low..high (t > 0; else mirrored).
        u = abs(t)
        low, high = u - epsilon, u + epsilon
        ratio = math.exp(-2.0 * u * epsilon)  # phi(high) / phi(low)
        if epsilon < THIN:  # density falls like exp(-slope s) over low..high, s from -1 to 1
            slope = u * epsilon
            lean, spread = slope / 3.0, 1.0 / 3.0  # mean (towards -1) and variance of s
            if slope > 1e-4:
                lean = 1.0 / math.tanh(slope) - 1.0 / slope
                spread = 1.0 - lean * lean - 2.0 * lean / slope
            mean, w = u - epsilon * lean, 1.0 - epsilon * epsilon * spread
        elif low > FAR:
            near, far = tail(low), tail(high)
            share_near, share_far = 1.0 / (low + near), ratio / (high + far)
            mass = share_near - share_far  # over phi(low)
            above = (near * share_near - (far + 2.0 * epsilon) * share_far) / mass
            mean = low + above
            w = mean * above + 2.0 * epsilon * ratio / mass
        else:
            mass = 0.5 * (math.erfc(low * ROOT_HALF) - math.erfc(high * ROOT_HALF))
            scale = PEAK * math.exp(-0.5 * low * low) / mass
            mean = -math.expm1(-2.0 * u * epsilon) * scale
            w = mean * (mean - low) + 2.0 * epsilon * ratio * scale
        return (-mean if t > 0 else mean), min(w, 1.0)

    @jit
    def rate(
        mu: Any, variance: Any, first: Any, second: Any, drawn: Any, margin: float, noise: float, drift: float
    ) -> None:
        for k in range(len(first)):
            a, b = first[k], second[k]
            var_a, var_b = variance[a] + drift, variance[b] + drift
            total = var_a + var_b + noise
            c = math.sqrt(total)
            t = (mu[a] - mu[b]) / c
            v, w = correct_draw(t, margin / c) if drawn[k] else correct_win(t - margin / c)
            mu[a] += var_a / c * v
            mu[b] -= var_b / c * v
            # var (1 - var w / total), written so that it cannot reach 0
            variance[a] = var_a * (var_b + noise + var_a * (1.0 - w)) / total
            variance[b] = var_b * (var_a + noise + var_b * (1.0 - w)) / total

    return Sequential(tail, correct_win, correct_draw, rate)


PLAIN = build_sequential()


def tail_many(z: FloatArray) -> FloatArray:
    """``Sequential.tail`` of many."""
    rest = z
    for k in range(DEPTH, 1, -1):
        rest = z + k / rest
    return 1.0 / rest


def correct_wins(x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``Sequential.correct_win`` of many."""
    near = np.maximum(x, -FAR)
    v = PEAK * np.exp(-0.5 * near * near) / (0.5 * _erfc(-near * ROOT_HALF))
    w = v * (v + near)
    far = np.flatnonzero(x < -FAR)
    if len(far):
        excess = tail_many(-x[far])
        v[far] = excess - x[far]
        w[far] = v[far] * excess
    return v, w


def correct_draws(t: FloatArray, epsilon: FloatArray) -> tuple[FloatArray, FloatArray]:
    """``Sequential.correct_draw`` of many."""
    u = np.abs(t)
    low, high = u - epsilon, u + epsilon
    special = np.flatnonzero((epsilon < THIN) | (low > FAR))  # rare: taken one by one
    lower = np.minimum(low, FAR)
    with np.errstate(divide="ignore", invalid="ignore"):
        mass = 0.5 * (_erfc(lower * ROOT_HALF) - _erfc(high * ROOT_HALF))
        scale = PEAK * np.exp(-0.5 * lower * lower) / mass
        slope = -2.0 * u * epsilon
        mean = -np.expm1(slope) * scale
        w = mean * (mean - lower) + 2.0 * epsilon * np.exp(slope) * scale
    v = np.where(t > 0, -mean, mean)
    for k in special.tolist():
        v[k], w[k] = PLAIN.correct_draw(float(t[k]), float(epsilon[k]))
    return v, np.minimum(w, 1.0)


def rate_batch(
    mu: FloatArray,
    variance: FloatArray,
    first: IndexArray,
    second: IndexArray,
    drawn: bool,
    margin: float,
    noise: float,
    drift: float,
) -> None:
    """``Sequential.rate`` of votes that share no item, all drawn or all won by ``first``."""
    var_a, var_b = variance[first] + drift, variance[second] + drift
    total = var_a + var_b + noise
    c = np.sqrt(total)
    mu_a, mu_b = mu[first], mu[second]
    t, epsilon = (mu_a - mu_b) / c, margin / c
    v, w = correct_draws(t, epsilon) if drawn else correct_wins(t - epsilon)
    mu[first] = mu_a + var_a / c * v
    mu[second] = mu_b - var_b / c * v
    variance[first] = var_a * (var_b + noise + var_a * (1.0 - w)) / total
    variance[second] = var_b * (var_a + noise + var_b * (1.0 - w)) / total


def _erfc(x: FloatArray) -> FloatArray:
    """Complementary error function: numpy has none, and the C library's a value at a time is quick enough."""
    return np.fromiter(map(math.erfc, x.tolist()), np.float64, len(x))
