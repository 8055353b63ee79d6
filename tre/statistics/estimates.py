"""From noisy vectors to the best estimates of the exact ones: tables that differ in their groups alone are made to agree.

Guarantees: post-processing only. Every estimate says its standard deviation, exactly. A vector that stands alone stays
the whole numbers that were drawn, unbiased. Counts of tables with margins are, for showing, made non-negative; their
unbiased estimates are kept beside for means and intervals.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from tre.statistics import margins
from tre.statistics.components import ADDITIVE, Component, Measure
from tre.statistics.margins import Array
from tre.statistics.noise import Drawn, sigma_for
from tre.statistics.prepare import Prepared


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """A vector: unbiased `values`, what is `shown` of them, the standard deviation of each, and whether they are whole."""

    values: Array
    shown: Array
    sigma: float
    whole: bool


def families(components: Iterable[Component]) -> Iterable[list[Component]]:
    """Vectors that differ in their groups alone, together; all others alone."""
    found: dict[object, list[Component]] = {}
    for c in components:
        found.setdefault(c.family if c.measure in ADDITIVE else c, []).append(c)
    return found.values()


def sigmas(prepared: Prepared) -> dict[Component, float]:
    """The standard deviation that each estimate will have: from the request and its price alone."""
    found: dict[Component, float] = {}
    for members in families(c for c in prepared.components if c.measure not in (Measure.RANKS, Measure.GRADIENTS)):
        drawn = {c: sigma_for(c.l1 if prepared.pure else c.l2, prepared.units[c], pure=prepared.pure) for c in members}
        precision = {c.by: s**-2 for c, s in drawn.items()}
        for c in members:
            found[c] = drawn[c] if len(members) == 1 else margins.variance(c.by, precision, prepared.sizes) ** 0.5
    return found


def estimates(prepared: Prepared, drawn: Mapping[Component, Drawn]) -> dict[Component, Estimate]:
    found: dict[Component, Estimate] = {}
    for members in families(drawn):
        if len(members) == 1:
            values = np.array(drawn[members[0]].values, dtype=float)
            found[members[0]] = Estimate(values=values, shown=values, sigma=drawn[members[0]].sigma, whole=True)
        else:
            found |= _agreed(prepared, members, drawn)
    return found


def _agreed(
    prepared: Prepared, members: Sequence[Component], drawn: Mapping[Component, Drawn]
) -> dict[Component, Estimate]:
    sizes = prepared.sizes
    tables = {c.by: np.array(drawn[c].values, dtype=float).reshape([sizes[g] for g in c.by]) for c in members}
    precision = {c.by: drawn[c].sigma ** -2 for c in members}
    values = margins.consistent(tables, precision, sizes, tables)
    shown = _nonnegative(prepared, members, values, precision)
    return {
        c: Estimate(
            values=values[c.by].ravel(), shown=shown[c.by].ravel(), whole=False,
            sigma=margins.variance(c.by, precision, sizes) ** 0.5,
        )
        for c in members
    }  # fmt: skip


def _nonnegative(
    prepared: Prepared,
    members: Sequence[Component],
    values: Mapping[margins.By, Array],
    precision: Mapping[margins.By, float],
) -> Mapping[margins.By, Array]:
    """Only for counts, where one table holds all the others, and is not too large."""
    widest = max(members, key=lambda c: len(c.by))
    holds = all(set(c.by) <= set(widest.by) for c in members)
    if widest.measure not in (Measure.ROWS, Measure.PRESENT) or not holds or widest.cells > margins.MOST_CELLS:
        return values
    table = margins.nonnegative(values[widest.by], widest.by, precision, prepared.sizes)
    return {c.by: margins.marginal(table, widest.by, c.by) for c in members}
