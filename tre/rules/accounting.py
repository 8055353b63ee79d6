"""Privacy loss as exact numbers: zCDP's rho in whole units of 10^-12, and its conversion to (epsilon, delta).

Guarantees: rho is an integer count of `UNIT`s everywhere between a request and the ledger, so sums are exact and
nothing is shrunk silently. Budgets round down, charges round up, and the conversion from a wished epsilon rounds down:
the loss shown is never less than the loss charged.
Source: Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (2020), Corollary 13:
rho-zCDP gives (epsilon, delta) with delta = inf over a > 1 of exp((a-1)(a rho - epsilon)) (1 - 1/a)^a / (a - 1).
"""

from __future__ import annotations

import math

UNIT = 1e-12
UNITS_PER_RHO = 10**12


def epsilon_of(rho_units: int, delta: float) -> float:
    """The smallest epsilon for which `rho_units` of zCDP are (epsilon, delta)-DP; 0 for no loss at all."""
    if rho_units <= 0:
        return 0.0
    rho = rho_units * UNIT
    low, high = 0.0, rho + 2 * math.sqrt(rho * math.log(1 / delta)) + 1e-9  # the textbook bound is above the tight one
    for _ in range(60):
        middle = (low + high) / 2
        if _log_delta(rho, middle) <= math.log(delta):
            high = middle
        else:
            low = middle
    return high


def rho_of(epsilon: float, delta: float) -> int:
    """The largest whole number of units whose loss is within (epsilon, delta). Raises ValueError unless both are positive."""
    if not (0 < epsilon < math.inf and 0 < delta < 1):
        raise ValueError("epsilon must be positive and finite, delta between 0 and 1")
    low, high = 0, math.ceil(epsilon * UNITS_PER_RHO)  # rho <= epsilon: rho-zCDP never gives less epsilon than rho
    while low < high:
        middle = (low + high + 1) // 2
        if _log_delta(middle * UNIT, epsilon) <= math.log(delta):
            low = middle
        else:
            high = middle - 1
    return low


def _log_delta(rho: float, epsilon: float) -> float:
    """log of the smallest delta, minimised over the order a by ternary search on log(a - 1) (the exponent is convex)."""

    def exponent(t: float) -> float:
        a = 1 + math.exp(t)
        return (a - 1) * (a * rho - epsilon) + a * math.log1p(-1 / a) - math.log(a - 1)

    low, high = -20.0, 20.0
    for _ in range(60):
        first, second = low + (high - low) / 3, high - (high - low) / 3
        if exponent(first) < exponent(second):
            high = second
        else:
            low = first
    return min(0.0, exponent((low + high) / 2))


def units(rho: float) -> int:
    """A charge of `rho` as whole units, rounded up."""
    return math.ceil(rho * UNITS_PER_RHO)


def share(total: int, parts: int) -> int:
    """What each of `parts` equal mechanisms may spend of `total` units, rounded down: together never above the total."""
    return total // parts
