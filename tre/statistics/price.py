"""What a request would cost and how exact its answers would be, before anything is paid.

Guarantees: a function of the request, the schema and the dataset's declared size alone; no row is read (there is no
connection to read one with). Errors of counts and sums are exact. Those of other statistics depend on values that are
not known beforehand: they are computed by the very formulas of the result, at typical values (a mean halfway between the
middle of its bounds and one of them, groups of equal size), and say at how many rows a group.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from tre.errors import RequestError
from tre.rules.accounting import epsilon_of, rho_of
from tre.rules.schema import TableSchema
from tre.statistics import logistic, quantiles
from tre.statistics.components import Component, Measure
from tre.statistics.estimates import Estimate, sigmas
from tre.statistics.kinds import Count, CountPeople, Histogram, Quantile, Statistic, Sum, Top
from tre.statistics.prepare import Prepared, Use, prepare
from tre.statistics.request import MAX_EPSILON, Request
from tre.statistics.result import Maker, Noised
from tre.statistics.table import Expected, Price

# Rows a group where the dataset's size is not declared: an example, and said to be one.
EXAMPLE = 1000
# Numbers between -1 and 1 at the values assumed: mean, and mean of squares.
MIDDLE, SQUARE = 0.5, 0.35


def price(prepared: Prepared, *, delta: float, size: int | None = None) -> Price:
    return Price(
        epsilon=prepared.request.epsilon,
        delta=delta,
        rho_units=prepared.rho_units,
        keys_delta=prepared.finding.delta if prepared.finding else 0.0,
        cells=prepared.cells,
        expected=tuple(
            _expected(prepared, label, statistic, use, size)
            for label, statistic in prepared.request.statistics.items()
            for use in prepared.uses[label]
        ),
    )


def _expected(prepared: Prepared, label: str, statistic: Statistic, use: Use, size: int | None) -> Expected:
    groups = math.prod(prepared.sizes[g] for g in use.by)
    rows = max(1, size // groups) if size is not None else EXAMPLE
    if isinstance(statistic, Quantile):
        c = use.parts[0]
        if c.bins is None or c.probability is None:
            raise ValueError("a quantile has bins and a probability")
        off = quantiles.typical(c.bins.count, c.l1, prepared.units[c], pure=prepared.pure)
        return Expected(statistic=label, by=use.by, error=off / c.probability.denominator, unit="ranks")
    told = list(_typical(prepared, use, rows).at(statistic, use, 0))
    errors = [float(cell["error"]) for cell in told if cell["error"] is not None]  # type: ignore[arg-type]
    error = sorted(errors)[len(errors) // 2] if len(errors) == len(told) else None
    known = isinstance(statistic, Count | CountPeople | Sum | Histogram | Top)
    return Expected(statistic=label, by=use.by, error=error, rows=None if known else rows)


def _typical(prepared: Prepared, use: Use, rows: int) -> Maker:
    """A maker of results whose vectors are typical and whose noise is what will be drawn."""
    noise = sigmas(prepared)
    parts = dict.fromkeys(use.parts)
    found = {c: _estimate(c, noise[c], rows) for c in parts if c in noise}
    fits = {c: _fit(prepared, c, rows) for c in parts if c.measure is Measure.GRADIENTS}
    return Maker(prepared, Noised(drawn={}, picks={}, fits=fits), found)


def _estimate(c: Component, sigma: float, rows: int) -> Estimate:
    values = np.full(c.cells, float(rows))
    largest = math.prod(f.grid.largest for f in c.factors)
    if c.measure is Measure.SQUARES:
        values *= (2 * SQUARE - 1) * c.factors[0].grid.largest ** 2
    elif c.measure is Measure.TOTAL:
        values *= MIDDLE ** len(c.factors) * largest
    elif c.bins is not None and c.measure is Measure.EVENTS:
        values = np.tile(np.repeat([0.7, 0.3], c.bins.count) * rows / c.bins.count, c.cells // (2 * c.bins.count))
    elif c.bins is not None:
        values /= c.bins.count
    return Estimate(values=values, shown=values, sigma=sigma, whole=True)


def _fit(prepared: Prepared, c: Component, rows: int) -> logistic.Fit:
    size = len(c.factors) + 1
    design = np.full((size, size), MIDDLE**2)
    np.fill_diagonal(design, SQUARE)
    design[0, 1:] = design[1:, 0] = MIDDLE
    design[0, 0] = 1
    return logistic.expected(prepared, c, design * rows * 0.2)


# The other way round: from errors to the least epsilon


@dataclass(frozen=True)
class _Priced:
    price: Price
    worst: float  # the largest ratio of an error to what is wanted of it; infinite where drowned


def epsilon_for(
    request: Request, schema: TableSchema, targets: dict[str, float], *, delta: float, size: int | None = None
) -> float:
    """The least epsilon, rounded up to three decimals, at which each statistic named is as exact as wanted at 95 %.

    `targets` are errors of the statistics' own tables; in ranks for a quantile. Raises RequestError: error_invalid, or
    error_too_small where even the largest epsilon is not enough.
    """
    for label, wanted in targets.items():
        if label not in request.statistics or not 0 < wanted < math.inf:
            raise RequestError(
                "error_invalid",
                "An error to aim for is a positive number for a statistic that is asked for.",
                f"Statistics here: {', '.join(request.statistics)}. For instance error=50, or error={{'rows': 50}}.",
            )

    def at(epsilon: float) -> _Priced:
        changed = request.model_copy(update={"epsilon": epsilon})
        found = price(prepare(changed, schema, delta=delta), delta=delta, size=size)
        told = found.errors()
        return _Priced(found, max((_ratio(told[label], w) for label, w in targets.items()), default=0.0))

    # Errors fall with the root of rho (with pure epsilon itself): a first guess, then bisection of what is left.
    low, high = 0.0, MAX_EPSILON
    guess = 1.0
    for _ in range(40):
        found = at(guess)
        low, high = (low, min(high, guess)) if found.worst <= 1 else (max(low, guess), high)
        if high - low <= 5e-4 or low >= MAX_EPSILON * 0.9999:
            break
        guess = _next(found, low, high, delta)
    if high >= MAX_EPSILON:
        raise RequestError(
            "error_too_small",
            f"Even epsilon {MAX_EPSILON:g} does not make it as exact as that.",
            "Narrow the bounds, group by less, or accept a larger error.",
        )
    return min(MAX_EPSILON, math.ceil(high * 1000) / 1000)


def _ratio(error: float | None, wanted: float) -> float:
    return math.inf if error is None else error / wanted


def _next(found: _Priced, low: float, high: float, delta: float) -> float:
    middle = (low + high) / 2
    if not math.isfinite(found.worst):
        return middle
    units = found.price.rho_units * (found.worst if delta == 0 else found.worst**2)
    aimed = epsilon_of(math.ceil(units * 1.0005), delta) if units < rho_of(MAX_EPSILON, delta) else MAX_EPSILON
    return aimed if low < aimed < high else middle
