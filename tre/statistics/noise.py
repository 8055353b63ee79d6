"""The only place where noise is drawn: OpenDP's discrete Gaussian and discrete Laplace, and its noisy minimum.

Guarantees: the values that come in are Python integers, the noise is OpenDP's (exact samplers, no floating point), and
OpenDP's own `map` has confirmed, before a single value is drawn, that the loss at the stated sensitivity is within the
units paid for. Scales are in closed form: with rho of zCDP sigma = L2 / sqrt(2 rho) (Canonne, Kamath, Steinke 2020) and
a choice's Gumbel scale is the same of its scores; with pure epsilon a Laplace scale is L1 / epsilon and a choice's
2 / epsilon of its scores. Not done here: sensitivities (statistics.sensitivity), charging (secure.ledger), or hiding
how long a draw takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata  # noqa: TID251  # reads a version, imports nothing

from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian, make_laplace, make_noisy_max
from opendp.measures import max_divergence, zero_concentrated_divergence
from opendp.metrics import l1_distance, l2_distance, linf_distance
from opendp.mod import Measurement, enable_features

from tre.rules.accounting import UNIT

# Everything in OpenDP is behind this switch; the parts used here are the ones with published proofs.
enable_features("contrib")

OPENDP = metadata.version("opendp")

# Totals saturate here, so that no sum of real rows can make a draw fail: a failure would be a bit that nobody paid for.
# Saturation brings neighbours no further apart. (It takes some 4 million rows at the widest bounds to come here.)
LARGEST = 2**62
# Two-sided 95 % of a normal distribution, and of a Laplace distribution in its standard deviations.
Z_GAUSSIAN = 1.959963984540054
Z_LAPLACE = math.log(20) / math.sqrt(2)
# A part in 10^9 more noise than the formula, so that rounding can never leave the loss above what is paid.
MORE = 1 + 1e-9


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Noisy whole numbers, in the order given, and the standard deviation of the noise in each (same unit)."""

    values: tuple[int, ...]
    sigma: float


def _checked(sensitivity: float, units: int) -> float:
    """The loss that `units` pay for. Raises ValueError."""
    if units <= 0 or not 0 < sensitivity < math.inf:
        raise ValueError("sensitivity and privacy loss must be positive")
    return units * UNIT


def sigma_for(sensitivity: float, units: int, *, pure: bool = False) -> float:
    """The noise's standard deviation that costs at most `units` at this sensitivity (L2; L1 where pure)."""
    loss = _checked(sensitivity, units)
    return (math.sqrt(2) * sensitivity / loss if pure else sensitivity / math.sqrt(2 * loss)) * MORE


def scale_for(sensitivity: float, units: int, *, pure: bool = False) -> float:
    """The scale of a choice's noise: an option whose score is worse by s is chosen exp(-s / scale) times as often."""
    loss = _checked(sensitivity, units)
    return (2 * sensitivity / loss if pure else sensitivity / math.sqrt(2 * loss)) * MORE


def noised(values: Sequence[int], *, l1: float, l2: float, units: int, pure: bool) -> Drawn:
    """`values` with noise. Raises ValueError before drawing if the loss would exceed `units`."""
    return laplace(values, sensitivity=l1, units=units) if pure else gaussian(values, sensitivity=l2, rho_units=units)


def gaussian(values: Sequence[int], *, sensitivity: float, rho_units: int) -> Drawn:
    """`values` with discrete Gaussian noise. Raises ValueError before drawing if the loss would exceed `rho_units`."""
    sigma = sigma_for(sensitivity, rho_units)
    space = vector_domain(atom_domain(T="i64")), l2_distance(T="f64")
    measurement = make_gaussian(*space, sigma, MO="ZeroConcentratedDivergence")
    _paid(measurement, math.nextafter(sensitivity, math.inf), rho_units)
    return Drawn(values=tuple(measurement(_saturated(values))), sigma=sigma)


def laplace(values: Sequence[int], *, sensitivity: float, units: int) -> Drawn:
    """`values` with discrete Laplace noise, paid for in pure epsilon."""
    sigma = sigma_for(sensitivity, units, pure=True)
    space = vector_domain(atom_domain(T="i64")), l1_distance(T="f64")
    measurement = make_laplace(*space, sigma / math.sqrt(2) * MORE)
    _paid(measurement, math.nextafter(sensitivity, math.inf), units)
    return Drawn(values=tuple(measurement(_saturated(values))), sigma=sigma)


def choose(scores: Sequence[int], *, sensitivity: float, units: int, pure: bool) -> int:
    """The place of (nearly) the least score. `sensitivity` is the largest change of any one score."""
    measurement = _chooser(scale_for(sensitivity, units, pure=pure), pure)
    _paid(measurement, math.ceil(sensitivity), units)
    return int(measurement(_saturated(scores)))


@lru_cache(maxsize=256)
def _chooser(scale: float, pure: bool) -> Measurement:
    space = vector_domain(atom_domain(T="i64")), linf_distance(T="i64")
    return make_noisy_max(*space, max_divergence() if pure else zero_concentrated_divergence(), scale, negate=True)


def _paid(measurement: Measurement, distance: float, units: int) -> None:
    if measurement.map(distance) > units * UNIT:
        raise ValueError("the mechanism's loss exceeds what was paid for")


def _saturated(values: Sequence[int]) -> list[int]:
    return [max(-LARGEST, min(LARGEST, v)) for v in values]
