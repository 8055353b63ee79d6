"""The only place where noise is drawn, by OpenDP's discrete Gaussian on vectors of whole numbers.

Guarantees: the values that come in are Python integers, the noise is OpenDP's (Canonne, Kamath, Steinke 2020: an exact
sampler, no floating point), and OpenDP's own `map` has confirmed, before a single value is drawn, that the loss at the
stated L2 sensitivity is within the units paid for. Scales are in closed form: sigma = sensitivity / sqrt(2 rho).
Not done here: sensitivities (statistics.sensitivity), charging (secure.ledger), or hiding how long a draw takes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian
from opendp.metrics import l2_distance
from opendp.mod import Measurement, enable_features

from tre.rules.accounting import UNIT

# Everything in OpenDP is behind this switch; the two parts used here are the ones with published proofs.
enable_features("contrib")

# Totals saturate here, so that no sum of real rows can make a draw fail: a failure would be a bit that nobody paid for.
# Saturation brings neighbours no further apart. (It takes some 4 million rows at the widest bounds to come here.)
LARGEST = 2**62


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """Noisy whole numbers, in the order given, and the standard deviation of the noise in each (same unit)."""

    values: tuple[int, ...]
    sigma: float


def sigma_for(sensitivity: float, rho_units: int) -> float:
    """The noise's standard deviation that costs at most `rho_units` at this L2 sensitivity."""
    if rho_units <= 0 or not 0 < sensitivity < math.inf:
        raise ValueError("sensitivity and privacy loss must be positive")
    # A part in 10^9 more noise than the formula, so that rounding can never leave the loss above what is paid.
    return sensitivity / math.sqrt(2 * rho_units * UNIT) * (1 + 1e-9)


def gaussian(values: Sequence[int], *, sensitivity: float, rho_units: int) -> Drawn:
    """`values` with discrete Gaussian noise. Raises ValueError before drawing if the loss would exceed `rho_units`."""
    sigma = sigma_for(sensitivity, rho_units)
    measurement = _measurement(sigma)
    if measurement.map(math.nextafter(sensitivity, math.inf)) > rho_units * UNIT:
        raise ValueError("the mechanism's loss exceeds what was paid for")
    return Drawn(values=tuple(measurement([max(-LARGEST, min(LARGEST, v)) for v in values])), sigma=sigma)


def _measurement(sigma: float) -> Measurement:
    space = vector_domain(atom_domain(T="i64")), l2_distance(T="f64")
    return make_gaussian(*space, sigma, MO="ZeroConcentratedDivergence")
