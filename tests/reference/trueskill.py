"""TrueSkill of two players, from the definition, with 60 digits.

Herbrich, Minka, Graepel, NIPS 2006: performances are normal around the skills, a vote says that their
difference is above epsilon (a win) or within it (a draw), and the posterior of each skill is replaced by a
normal distribution of the same mean and variance. V and W are the paper's; nothing is rearranged.
"""

import mpmath

CONTEXT = mpmath.mp.clone()
CONTEXT.dps = 60


def density(x):
    return CONTEXT.exp(-x * x / 2) / CONTEXT.sqrt(2 * CONTEXT.pi)


def mass(low, high):
    """P(low < standard normal < high), from the tail that is smaller."""
    if low > 0:
        low, high = -high, -low
    root = CONTEXT.sqrt(2)
    return (CONTEXT.erfc(-high / root) - CONTEXT.erfc(-low / root)) / 2


def correct_win(x):
    """(V, W) at x = t - epsilon."""
    x = CONTEXT.mpf(x)
    v = density(x) / mass(-CONTEXT.inf, x)
    return v, v * (v + x)


def correct_draw(t, epsilon):
    """(V, W)."""
    t, epsilon = CONTEXT.mpf(t), CONTEXT.mpf(epsilon)
    low, high = -epsilon - t, epsilon - t
    area = mass(low, high)
    v = (density(low) - density(high)) / area
    return v, v * v + (high * density(high) - low * density(low)) / area


def update(first, second, drawn, margin, beta, tau):
    """((mu, sigma), (mu, sigma)) after a vote that ``first`` won, or a draw."""
    (mu_a, sigma_a), (mu_b, sigma_b) = ((CONTEXT.mpf(m), CONTEXT.mpf(s)) for m, s in (first, second))
    beta, tau, margin = CONTEXT.mpf(beta), CONTEXT.mpf(tau), CONTEXT.mpf(margin)
    var_a, var_b = sigma_a**2 + tau**2, sigma_b**2 + tau**2
    c = CONTEXT.sqrt(2 * beta**2 + var_a + var_b)
    t, epsilon = (mu_a - mu_b) / c, margin / c
    v, w = correct_draw(t, epsilon) if drawn else correct_win(t - epsilon)
    return (
        (mu_a + var_a / c * v, CONTEXT.sqrt(var_a * (1 - var_a / c**2 * w))),
        (mu_b - var_b / c * v, CONTEXT.sqrt(var_b * (1 - var_b / c**2 * w))),
    )
