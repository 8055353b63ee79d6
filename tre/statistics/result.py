"""From noisy whole numbers to values with 95 % intervals. Post-processing only: nothing here sees a row.

Guarantees: an interval is about the noise alone (sampling is not in it) and covers as stated for count, count_people and
sum exactly, for mean by the delta method, for a quantile of the grid by inverting the noisy distribution. A value that
the noise has drowned is None with the widest interval that is known, never a number that looks like one.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import duckdb

from tre.statistics.aggregate import Exact, exact
from tre.statistics.noise import Drawn, gaussian, sigma_for
from tre.statistics.prepare import Component, Grid, Measure, Prepared
from tre.statistics.request import Histogram, Key, Mean, Quantile, Sum, Variance
from tre.statistics.table import Cell, Mechanism, Table

# Two-sided 95 % of the normal distribution; whole-number noise is rounded outwards from it.
Z = 1.959963984540054


Noised = Mapping[Component, Drawn]


def draw(prepared: Prepared, vectors: Exact) -> Noised:
    """Noise on every exact vector, each paid for by its share."""
    return {
        c: gaussian(vectors[c], sensitivity=c.sensitivity, rho_units=prepared.units_each) for c in prepared.components
    }


def evaluate(connection: duckdb.DuckDBPyConnection, prepared: Prepared) -> Table:
    """Exact vectors, noise, values: the whole way. The caller has paid for `prepared.rho_units`."""
    return table(prepared, draw(prepared, exact(connection, prepared)))


def table(prepared: Prepared, noised: Noised) -> Table:
    cells: list[Cell] = []
    for label, statistic in prepared.request.statistics.items():
        parts = [(c, noised[c]) for c in prepared.uses[label]]
        for i, keys in enumerate(prepared.keys):
            match statistic:
                case Mean():
                    cells.append(_mean(label, keys, i, parts))
                case Variance():
                    cells.append(_variance(label, keys, i, parts))
                case Quantile():
                    cells.append(_quantile(label, keys, i, parts[0], statistic.probability))
                case Histogram():
                    cells += _histogram(label, keys, i, parts[0])
                case Sum():
                    cells.append(_sum(label, keys, i, parts[0]))
                case _:
                    cells.append(_count(label, keys, parts[0][1].values[i], parts[0][1].sigma))
    return Table(
        columns=tuple(g.column for g in prepared.groups),
        cells=tuple(cells),
        mechanisms=tuple(_mechanism(c, prepared.units_each) for c in prepared.components),
        rho_units=prepared.rho_units,
    )


def _mechanism(component: Component, rho_units: int) -> Mechanism:
    return Mechanism(
        measure=component.measure.value,
        column=component.column,
        sensitivity=component.sensitivity,
        sigma=sigma_for(component.sensitivity, rho_units),
        step=component.grid.step if component.grid and component.measure is Measure.TOTAL else 1.0,
        rho_units=rho_units,
    )


def _half_width(sigma: float) -> int:
    return math.ceil(Z * sigma)


def _count(
    label: str, keys: tuple[Key, ...], value: int, sigma: float, edge: tuple[float, float] | None = None
) -> Cell:
    error = _half_width(sigma)
    return Cell(
        keys=keys, statistic=label, bin=edge, value=value, error=error,
        low=max(0, value - error), high=max(0, value + error),
    )  # fmt: skip


def _grid_of(component: Component) -> Grid:
    if component.grid is None:
        raise ValueError("a total has a grid")
    return component.grid


def _sum(label: str, keys: tuple[Key, ...], i: int, part: tuple[Component, Drawn]) -> Cell:
    component, drawn = part
    step = _grid_of(component).step
    value, error = drawn.values[i] * step, _half_width(drawn.sigma) * step
    return Cell(keys=keys, statistic=label, value=value, error=error, low=value - error, high=value + error)


def _mean(label: str, keys: tuple[Key, ...], i: int, parts: list[tuple[Component, Drawn]]) -> Cell:
    """centre + total / count. Its variance, by the delta method: (s_total^2 + ratio^2 s_count^2) / count^2."""
    (component, total), (_, count) = parts
    grid = _grid_of(component)
    n = count.values[i]
    # With fewer rows than three standard deviations of the count's noise the ratio means nothing.
    if n < 3 * count.sigma or n <= 0:
        return Cell(keys=keys, statistic=label, value=None, error=None, low=grid.low, high=grid.high)
    ratio = total.values[i] / n
    error = Z * math.hypot(total.sigma, ratio * count.sigma) / n * grid.step
    value = grid.centre + ratio * grid.step
    low, high = (min(max(v, grid.low), grid.high) for v in (value - error, value + error))
    return Cell(keys=keys, statistic=label, value=min(max(value, grid.low), grid.high), error=error, low=low, high=high)


def _variance(label: str, keys: tuple[Key, ...], i: int, parts: list[tuple[Component, Drawn]]) -> Cell:
    """squares / n - (total / n)^2, in steps; its noise by the delta method over the three vectors."""
    (component, total), (_, count), (_, squares) = parts
    grid = _grid_of(component)
    unit, most = grid.step**2, ((grid.high - grid.low) / 2) ** 2  # no variance within bounds is larger
    n = count.values[i]
    if n < 3 * count.sigma or n <= 0:
        return Cell(keys=keys, statistic=label, value=None, error=None, low=0, high=most)
    mean, u = total.values[i] / n, squares.values[i] / (2 * n)
    value = (u + grid.largest**2 / 2 - mean**2) * unit
    slopes = (squares.sigma / 2, 2 * mean * total.sigma, (2 * mean**2 - u) * count.sigma)
    error = Z * math.hypot(*slopes) / n * unit
    low, high, value = (min(max(v, 0), most) for v in (value - error, value + error, value))
    return Cell(keys=keys, statistic=label, value=value, error=error, low=low, high=high)


def _edges(component: Component) -> list[float]:
    grid = _grid_of(component)
    width = (grid.high - grid.low) / component.bins
    return [grid.low + width * b for b in range(component.bins)] + [grid.high]


def _histogram(label: str, keys: tuple[Key, ...], i: int, part: tuple[Component, Drawn]) -> list[Cell]:
    component, drawn = part
    edges = _edges(component)
    values = drawn.values[i * component.bins : (i + 1) * component.bins]
    return [_count(label, keys, v, drawn.sigma, (edges[b], edges[b + 1])) for b, v in enumerate(values)]


def _quantile(label: str, keys: tuple[Key, ...], i: int, part: tuple[Component, Drawn], p: float) -> Cell:
    """Where the noisy distribution crosses p; the interval holds every edge that the noise cannot rule out.

    At an edge with j bins below, T = (1 - p) below - p above has noise of variance s^2 ((1-p)^2 j + p^2 (m - j)) and is
    negative below the quantile, positive above.
    """
    component, drawn = part
    edges, m = _edges(component), component.bins
    counts = drawn.values[i * m : (i + 1) * m]
    total = sum(counts)
    below, crossings, possible = 0, [], []
    for j in range(m + 1):
        t = (1 - p) * below - p * (total - below)
        noise = drawn.sigma * math.sqrt((1 - p) ** 2 * j + p**2 * (m - j))
        crossings.append(t)
        if abs(t) <= Z * noise:
            possible.append(j)
        below += counts[j] if j < m else 0
    if total < 3 * drawn.sigma * math.sqrt(m):
        return Cell(keys=keys, statistic=label, value=None, error=None, low=edges[0], high=edges[-1])
    last, first = _around(crossings)
    value = _crossing(edges, crossings, last, first)
    low, high = edges[min(last, first)], edges[max(last, first)]
    if possible:
        low, high = min(low, edges[max(possible[0] - 1, 0)]), max(high, edges[min(possible[-1] + 1, m)])
    return Cell(keys=keys, statistic=label, value=value, error=(high - low) / 2, low=low, high=high)


def _around(t: list[float]) -> tuple[int, int]:
    """The last edge where T is negative, and the first where it is not."""
    last = max((j for j, v in enumerate(t) if v < 0), default=0)
    return last, min((j for j, v in enumerate(t) if v >= 0), default=len(t) - 1)


def _crossing(edges: list[float], t: list[float], last: int, first: int) -> float:
    """Where T crosses 0, linearly inside a bin; where noise makes it cross often, the middle of the first and last."""
    if first == last + 1 and t[first] > t[last]:
        return edges[last] + (edges[first] - edges[last]) * -t[last] / (t[first] - t[last])
    return (edges[first] + edges[last]) / 2
