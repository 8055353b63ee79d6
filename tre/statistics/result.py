"""From noisy whole numbers to values with 95 % intervals. Post-processing only: nothing here sees a row.

Guarantees: an interval is about the noise alone and covers as stated for count, count_people and sum exactly, for what
is made of several sums by the delta method, for a quantile by its own draws (statistics.quantiles). Where rows are a
sample, `sampling` says that error apart. A value that the noise has drowned is None with the widest interval that is
known, never a number that looks like one.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import duckdb

from tre.statistics import found as found_keys
from tre.statistics import logistic, models, quantiles, survival
from tre.statistics.aggregate import Exact, exact
from tre.statistics.components import Component, Grid, Measure
from tre.statistics.estimates import Estimate, estimates
from tre.statistics.kinds import (
    Correlation,
    Covariance,
    Histogram,
    Key,
    LinearModel,
    LogisticModel,
    Mean,
    Quantile,
    Ratio,
    Share,
    StandardDeviation,
    Statistic,
    Sum,
    Survival,
    Top,
    Variance,
)
from tre.statistics.noise import OPENDP, Z_GAUSSIAN, Z_LAPLACE, Drawn, noised, scale_for, sigma_for
from tre.statistics.prepare import Finding, Prepared, Use
from tre.statistics.quantiles import Pick
from tre.statistics.table import Cell, Mechanism, Table

By = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Noised:
    """What was drawn: whole numbers, the places of quantiles by group, and a model's last step."""

    drawn: Mapping[Component, Drawn]
    picks: Mapping[Component, tuple[Pick, ...]]
    fits: Mapping[Component, logistic.Fit]


def draw(prepared: Prepared, vectors: Exact) -> Noised:
    """Noise on every exact vector, each paid for by its share."""
    drawn: dict[Component, Drawn] = {}
    picks: dict[Component, tuple[Pick, ...]] = {}
    for c, vector in vectors.items():
        if c.measure is Measure.RANKS:
            picks[c] = tuple(_picks(prepared, c, vector))
        else:
            drawn[c] = noised(vector, l1=c.l1, l2=c.l2, units=prepared.units[c], pure=prepared.pure)
    return Noised(drawn=drawn, picks=picks, fits={})


def _picks(prepared: Prepared, c: Component, vector: tuple[int, ...]) -> Iterator[Pick]:
    if c.bins is None or c.probability is None:
        raise ValueError("a quantile has bins and a probability")
    for start in range(0, len(vector), c.bins.count):
        counts = vector[start : start + c.bins.count]
        yield quantiles.pick(counts, c.probability, sensitivity=c.l1, units=prepared.units[c], pure=prepared.pure)


def evaluate(connection: duckdb.DuckDBPyConnection, prepared: Prepared) -> Table:
    """Exact vectors, noise, values: the whole way. The caller has paid for `prepared.rho_units`."""
    if prepared.finding is not None:
        return _of_found_keys(connection, prepared, prepared.finding)
    found = draw(prepared, exact(connection, prepared))
    fits = {c: logistic.fit(connection, prepared, c) for c in prepared.components if c.measure is Measure.GRADIENTS}
    return table(prepared, Noised(drawn=found.drawn, picks=found.picks, fits=fits))


def _of_found_keys(connection: duckdb.DuckDBPyConnection, prepared: Prepared, finding: Finding) -> Table:
    """First the keys, then the statistics by them; where no key was found and none is missing, a table of nothing."""
    keys, mechanism = found_keys.find(connection, prepared, finding)
    if not keys and not finding.nullable:
        return _table(prepared, [], [mechanism])
    told = evaluate(connection, finding.again(keys))
    return told.model_copy(update={"mechanisms": (mechanism, *told.mechanisms)})


def table(prepared: Prepared, noised: Noised) -> Table:
    maker = Maker(prepared, noised, estimates(prepared, noised.drawn))
    cells = [
        cell
        for label, statistic in prepared.request.statistics.items()
        for use in prepared.uses[label]
        for cell in maker.cells(label, statistic, use)
    ]
    return _table(prepared, cells, [_mechanism(prepared, c) for c in prepared.components])


def _table(prepared: Prepared, cells: Sequence[Cell], mechanisms: Sequence[Mechanism]) -> Table:
    return Table(
        columns=tuple(g.column for g in prepared.request.group_by),
        cells=tuple(cells),
        mechanisms=tuple(mechanisms),
        libraries={"opendp": OPENDP, "duckdb": duckdb.__version__},
        measure="pure" if prepared.pure else "zcdp",
        rho_units=prepared.rho_units,
    )


def _mechanism(prepared: Prepared, c: Component) -> Mechanism:
    units, pure = prepared.units[c], prepared.pure
    name, size = ("discrete laplace", c.l1) if pure else ("discrete gaussian", c.l2)
    sigma = sigma_for(size, units // max(c.steps, 1), pure=pure)
    if c.measure is Measure.RANKS:
        name, size, sigma = "noisy minimum", c.l1, scale_for(c.l1, units * quantiles.VALUE // 100, pure=pure)
    bounds = tuple((f.grid.low, f.grid.high) for f in c.factors)
    if c.bins is not None:
        bounds = ((c.bins.low, c.bins.edges[-1]),)
    return Mechanism(
        measure=c.measure.value, by=c.by, column=c.column, mechanism=name, sensitivity=size, sigma=sigma, step=c.unit,
        bounds=bounds, rho_units=units,
    )  # fmt: skip


def _clamp(value: float, low: float, high: float) -> float:
    return min(max(value, low), high)


class Maker:
    """Makes a statistic's cells from the estimates of its vectors."""

    def __init__(self, prepared: Prepared, noised: Noised, found: Mapping[Component, Estimate]) -> None:
        self.prepared = prepared
        self.noised = noised
        self.estimates = found
        # Rows of one person are no independent sample: with several of them, nothing is said about sampling.
        self.sampled = prepared.max_rows == 1
        self.z = Z_LAPLACE if prepared.pure else Z_GAUSSIAN

    def cells(self, label: str, statistic: Statistic, use: Use) -> Iterator[Cell]:
        by = None if use.by == tuple(g.column for g in self.prepared.request.group_by) else use.by
        for i, keys in enumerate(self.prepared.keys(use.by)):
            for found in self.at(statistic, use, i):
                if not self.sampled:
                    found.pop("sampling", None)
                yield Cell(keys=keys, by=by, statistic=label, **found)

    def at(self, statistic: Statistic, use: Use, i: int) -> Iterator[dict[str, object]]:
        """The numbers of the i-th group: one, or as many as the statistic has bins or terms."""
        parts = [self.estimates[c] for c in use.parts if c in self.estimates]
        match statistic:
            case Mean() | Share():
                yield self._mean(use, parts, i)
            case Variance() | StandardDeviation():
                yield self._variance(use, parts, i, root=isinstance(statistic, StandardDeviation))
            case Ratio():
                yield self._ratio(use, parts, i)
            case Quantile():
                yield self._quantile(use, parts[0], i)
            case Sum():
                yield self._sum(use.parts[0], parts[0], i)
            case Histogram():
                yield from self._histogram(use.parts[0], parts[0], i)
            case Top():
                yield from self._top(statistic, parts[0], i)
            case Survival():
                yield from survival.curve(use.parts[0], parts[0], i, self.z)
            case Covariance() | Correlation():
                yield models.association(statistic, use.parts, parts, i, self.z)
            case LinearModel():
                yield from models.linear(statistic, use.parts, parts, i, self.z)
            case LogisticModel():
                yield from logistic.coefficients(statistic, use.parts[0], self.noised.fits[use.parts[0]], self.z)
            case _:
                yield self._count(parts[0], i)

    def _count(self, estimate: Estimate, i: int) -> dict[str, object]:
        value, shown = float(estimate.values[i]), float(estimate.shown[i])
        error = self.z * estimate.sigma
        if estimate.whole:
            # Whole-number noise is rounded outwards from its normal or Laplace shape.
            whole, out = int(value), math.ceil(error)
            return {"value": whole, "error": out, "low": max(0, whole - out), "high": max(0, whole + out)}
        return {"value": shown, "error": error, "low": max(0.0, value - error), "high": max(0.0, value + error)}

    def _sum(self, component: Component, estimate: Estimate, i: int) -> dict[str, object]:
        half = self.z * estimate.sigma
        value, error = float(estimate.values[i]) * component.unit, math.ceil(half) * component.unit
        return {"value": value, "error": error, "low": value - error, "high": value + error}

    def _histogram(self, component: Component, estimate: Estimate, i: int) -> Iterator[dict[str, object]]:
        if component.bins is None:
            raise ValueError("a histogram has bins")
        edges, m = component.bins.edges, component.bins.count
        for b in range(m):
            yield {"bin": (edges[b], edges[b + 1])} | self._count(estimate, i * m + b)

    def _top(self, statistic: Top, estimate: Estimate, i: int) -> Iterator[dict[str, object]]:
        keys = self.prepared.groups[statistic.column].keys
        mine = range(i * len(keys), (i + 1) * len(keys))
        ranked = sorted(mine, key=lambda j: (-float(estimate.values[j]), j))[: statistic.k]
        for j in ranked:
            key: Key = keys[j - i * len(keys)]
            yield {"term": "(missing)" if key is None else key} | self._count(estimate, j)

    def _mean(self, use: Use, parts: list[Estimate], i: int) -> dict[str, object]:
        """centre + total / count. Its variance, by the delta method: (s_total^2 + ratio^2 s_count^2) / count^2."""
        (total, count), grid = parts, _grid(use.parts[0])
        n = float(count.values[i])
        # With fewer rows than three standard deviations of the count's noise the ratio means nothing.
        if n < 3 * count.sigma or n <= 0:
            return {"value": None, "error": None, "low": grid.low, "high": grid.high}
        ratio = float(total.values[i]) / n
        error = self.z * math.hypot(total.sigma, ratio * count.sigma) / n * grid.step
        value = grid.centre + ratio * grid.step
        low, high, shown = (_clamp(v, grid.low, grid.high) for v in (value - error, value + error, value))
        sampling = self._sampling(use, i, n, shown)
        return {"value": shown, "error": error, "low": low, "high": high, "sampling": sampling}

    def _sampling(self, use: Use, i: int, n: float, value: float) -> float | None:
        """Of a share by its own formula; of a mean where the request measures the squares too."""
        factor = use.parts[0].factors[0]
        if factor.flag:
            return Z_GAUSSIAN * math.sqrt(value * (1 - value) / n)
        for c, estimate in self.estimates.items():
            if c.measure is Measure.SQUARES and c.factors == (factor,) and c.by == use.by and not c.given:
                steps = (value - factor.grid.centre) / factor.grid.step
                spread = float(estimate.values[i]) / (2 * n) + factor.grid.largest**2 / 2 - steps**2
                return Z_GAUSSIAN * math.sqrt(max(spread, 0) / n) * factor.grid.step
        return None

    def _variance(self, use: Use, parts: list[Estimate], i: int, *, root: bool) -> dict[str, object]:
        """squares / n - (total / n)^2, in steps; its noise by the delta method over the three vectors."""
        (total, count, squares), grid = parts, _grid(use.parts[0])
        unit, most = grid.step**2, ((grid.high - grid.low) / 2) ** 2  # no variance within bounds is larger
        n = float(count.values[i])
        if n < 3 * count.sigma or n <= 0:
            return {"value": None, "error": None, "low": 0, "high": math.sqrt(most) if root else most}
        mean, u = float(total.values[i]) / n, float(squares.values[i]) / (2 * n)
        value = (u + grid.largest**2 / 2 - mean**2) * unit
        slopes = (squares.sigma / 2, 2 * mean * total.sigma, (2 * mean**2 - u) * count.sigma)
        error = self.z * math.hypot(*slopes) / n * unit
        low, high, value = (_clamp(v, 0, most) for v in (value - error, value + error, value))
        if root:
            low, high, value = math.sqrt(low), math.sqrt(high), math.sqrt(value)
            error = (high - low) / 2
        return {"value": value, "error": error, "low": low, "high": high}

    def _ratio(self, use: Use, parts: list[Estimate], i: int) -> dict[str, object]:
        (above, below), (over, under) = parts, use.parts
        bottom = float(below.values[i]) * under.unit
        spread = below.sigma * under.unit
        if abs(bottom) < 3 * spread or bottom == 0:
            return {"value": None, "error": None, "low": None, "high": None}
        value = float(above.values[i]) * over.unit / bottom
        error = self.z * math.hypot(above.sigma * over.unit, value * spread) / abs(bottom)
        return {"value": value, "error": error, "low": value - error, "high": value + error}

    def _quantile(self, use: Use, count: Estimate, i: int) -> dict[str, object]:
        """The candidate drawn, between those drawn for lower and higher ranks.

        An end whose ranks lie beyond the first or last row, as far as the noisy count can tell, is the bound instead.
        """
        component, bins, p = use.parts[0], use.parts[0].bins, use.parts[0].probability
        if bins is None or p is None:
            raise ValueError("a quantile has bins and a probability")
        rows = float(count.values[i]) - 3 * count.sigma
        below, above = p.numerator * rows, (p.denominator - p.numerator) * rows
        given = bins.count, component.l1, self.prepared.units[component]
        margin = quantiles.margin(*given, pure=self.prepared.pure)
        pick = self.noised.picks[component][i]
        places = (pick.low if below >= margin else 0, pick.value, pick.high if above >= margin else bins.count - 1)
        low, high = bins.span(min(places))[0], bins.span(max(places))[1]
        if quantiles.hidden(rows, p, *given[1:], pure=self.prepared.pure):
            return {"value": None, "error": None, "low": bins.low, "high": bins.span(bins.count - 1)[1]}
        return {"value": bins.value(pick.value), "error": (high - low) / 2, "low": low, "high": high}


def _grid(component: Component) -> Grid:
    return component.factors[0].grid
