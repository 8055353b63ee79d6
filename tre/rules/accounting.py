"""Privacy loss as exact numbers: whole units of 10^-12, and their conversion to (epsilon, delta).

Guarantees: a loss is an integer count of units everywhere between a request and the ledger, so sums are exact and
nothing is shrunk silently. Budgets round down, charges round up, and the conversion from a wished epsilon rounds down:
the loss shown is never less than the loss charged.
What a unit counts is the population's measure, and its delta tells which: with a delta, zCDP's rho; with delta 0, pure
epsilon itself, which adds up as it stands. Nothing here can tell units of one from units of the other: the ledger does.
A delta that is charged for itself (group keys found in data) is counted in whole units of 10^-15, and adds up.
Source: Canonne, Kamath, Steinke, "The Discrete Gaussian for Differential Privacy" (2020), Corollary 13:
rho-zCDP gives (epsilon, delta) with delta = inf over a > 1 of exp((a-1)(a rho - epsilon)) (1 - 1/a)^a / (a - 1).
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from functools import lru_cache

UNIT = 1e-12
UNITS_PER_RHO = 10**12
UNITS_PER_DELTA = 10**15


@lru_cache(maxsize=4096)
def epsilon_of(rho_units: int, delta: float) -> float:
    """The smallest epsilon for which `rho_units` of zCDP are (epsilon, delta)-DP; 0 for no loss at all.

    With delta 0 the units are of pure epsilon, and the answer is exactly theirs.
    """
    if rho_units <= 0:
        return 0.0
    if delta == 0:
        return rho_units / UNITS_PER_RHO
    rho = rho_units * UNIT
    low, high = 0.0, rho + 2 * math.sqrt(rho * math.log(1 / delta)) + 1e-9  # the textbook bound is above the tight one
    for _ in range(60):
        middle = (low + high) / 2
        if _log_delta(rho, middle) <= math.log(delta):
            high = middle
        else:
            low = middle
    return high


@lru_cache(maxsize=1024)  # the ledger asks for the same limits with every charge, while others wait
def rho_of(epsilon: float, delta: float) -> int:
    """The largest whole number of units whose loss is within (epsilon, delta): of rho, or, with delta 0, of pure epsilon.

    Raises ValueError unless epsilon is positive and delta at least 0 and below 1.
    """
    if not (0 < epsilon < math.inf and 0 <= delta < 1):
        raise ValueError("epsilon must be positive and finite, delta at least 0 and below 1")
    if delta == 0:
        return _whole(epsilon, UNITS_PER_RHO, ROUND_FLOOR)
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


def delta_limit(delta: float) -> int:
    """A limit on delta as whole units, rounded down."""
    return _whole(delta, UNITS_PER_DELTA, ROUND_FLOOR)


def delta_charge(delta: float) -> int:
    """A charge of delta as whole units, rounded up."""
    return _whole(delta, UNITS_PER_DELTA, ROUND_CEILING)


def delta_of(delta_units: int) -> float:
    return delta_units / UNITS_PER_DELTA


def _whole(number: float, units_in_one: int, rounding: str) -> int:
    """As the number is written, not as it is stored: 0.1 and 0.2 are together exactly 0.3."""
    return int((Decimal(repr(number)) * units_in_one).to_integral_value(rounding))


def share(total: int, parts: int) -> int:
    """What each of `parts` equal mechanisms may spend of `total` units, rounded down: together never above the total."""
    return total // parts
