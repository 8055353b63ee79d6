"""A life table from noisy counts of people by interval, without and with an event. Post-processing only.

Guarantees: the curve at the end of each interval is the product of one less deaths over those at risk, who are all that
had not left before it began (somebody whose time ends within an interval without an event counts as at risk in all of
it). `error` carries the noise of every count through the product, `sampling` is Greenwood's. From where the noise hides
how many are left, the curve is None.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

from tre.statistics.components import Component
from tre.statistics.estimates import Estimate
from tre.statistics.noise import Z_GAUSSIAN


def curve(component: Component, estimate: Estimate, i: int, z: float) -> Iterator[dict[str, object]]:
    bins = component.bins
    if bins is None:
        raise ValueError("a life table has intervals")
    m, edges = bins.count, bins.edges
    mine = estimate.values[i * 2 * m : (i + 1) * 2 * m]
    events = np.maximum(mine[m:], 0)
    left = np.cumsum((mine[:m] + mine[m:])[::-1])[::-1]  # at risk when each interval begins
    value, hazards, greenwood = 1.0, np.zeros(m), 0.0
    on_risk, on_event = np.zeros(m), np.zeros(m)
    for j in range(m):
        at_risk = float(left[j])
        cell: dict[str, object] = {"bin": (edges[j], edges[j + 1])}
        if at_risk < 3 * estimate.sigma * math.sqrt(2 * (m - j)) or events[j] >= at_risk:
            for k in range(j, m):
                yield {"bin": (edges[k], edges[k + 1]), "value": None, "error": None, "low": 0.0, "high": value}
            return
        hazards[j] = events[j] / at_risk
        value *= 1 - hazards[j]
        on_risk[j] = 1 / (at_risk - events[j]) - 1 / at_risk
        on_event[j] = 1 / (at_risk - events[j])
        greenwood += hazards[j] / (at_risk - events[j])
        # A count in interval k is at risk in all intervals up to it; an event lowers its own factor besides.
        reach = np.cumsum(on_risk)[np.minimum(np.arange(m), j)]
        own = np.where(np.arange(m) <= j, on_event, 0)
        slope = math.sqrt(float(np.sum(reach**2 + (reach - own) ** 2)))
        error = z * value * slope * estimate.sigma
        yield cell | {
            "value": value, "error": error, "low": max(0.0, value - error), "high": min(1.0, value + error),
            "sampling": Z_GAUSSIAN * value * math.sqrt(greenwood),
        }  # fmt: skip
