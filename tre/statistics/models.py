"""Covariance, correlation and least squares from noisy counts, sums and sums of products. Post-processing only.

Guarantees: `error` is the noise's, carried through the formula by its derivatives (the delta method), `sampling` the
usual standard error's; both are half-widths at 95 %, to be added as squares. Where the noise is so large against the
sums that the formula cannot be trusted, the value is None.
Source: "differentially private simple linear regression" by sufficient statistics, with the noise's own covariance
propagated (Alabi, McMillan, Sarathy, Smith, Vadhan 2020; Evans, King, Schwenzfeier, Thakurta 2022).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tre.statistics.components import Component, Factor, Measure
from tre.statistics.estimates import Estimate
from tre.statistics.kinds import Correlation, Covariance, LinearModel
from tre.statistics.noise import Z_GAUSSIAN

Array = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Moments:
    """Noisy numbers and their standard deviations: rows, sums, and products by pairs of columns.

    Numbers lie between -1 and 1: (value - centre) / half-width of the bounds. `squares` are sums of 2 z^2 - 1.
    """

    rows: float
    sums: tuple[float, ...]
    products: dict[tuple[int, int], float]
    noise: tuple[float, ...]  # of rows, sums, products in this order
    factors: tuple[Factor, ...]

    def vector(self) -> Array:
        return np.array([self.rows, *self.sums, *self.products.values()])

    def matrix(self, vector: Array | None = None) -> Array:
        """Sums of products of (1, z_1, z_2, …), as an array."""
        v = self.vector() if vector is None else vector
        size = 1 + len(self.sums)
        found = np.zeros((size, size))
        found[0, :] = found[:, 0] = v[:size]
        for (i, j), value in zip(self.products, v[size:], strict=True):
            found[i + 1, j + 1] = found[j + 1, i + 1] = (value + v[0]) / 2 if i == j else value
        return found


def moments(columns: int, components: Sequence[Component], parts: Sequence[Estimate], i: int) -> Moments:
    scaled = [_scaled(c, e, i) for c, e in zip(components, parts, strict=True)]
    singles = components[1 : 1 + columns]
    at = {c.factors[0].column: k for k, c in enumerate(singles)}
    products = {}
    for c, (value, _) in zip(components[1 + columns :], scaled[1 + columns :], strict=True):
        places = [at[f.column] for f in c.factors]
        products[(places[0], places[-1])] = value
    return Moments(
        rows=scaled[0][0],
        sums=tuple(v for v, _ in scaled[1 : 1 + columns]),
        products=products,
        noise=tuple(s for _, s in scaled),
        factors=tuple(c.factors[0] for c in singles),
    )


def _scaled(component: Component, estimate: Estimate, i: int) -> tuple[float, float]:
    largest = math.prod(f.grid.largest for f in component.factors)
    if component.measure is Measure.SQUARES:
        largest = component.factors[0].grid.largest ** 2
    return float(estimate.values[i]) / largest, estimate.sigma / largest


def half(factor: Factor) -> float:
    """What z = 1 is in the column's own unit."""
    return factor.grid.largest * factor.grid.step


def spread(formula: Callable[[Array], Array], at: Array, noise: Sequence[float]) -> Array:
    """The covariance of `formula` under independent noise, by central differences a tenth of the noise wide."""
    slopes = []
    for k, s in enumerate(noise):
        step = np.zeros(len(at))
        step[k] = s / 10
        slopes.append((formula(at + step) - formula(at - step)) / (2 * step[k]) * s)
    jacobian = np.array(slopes)
    return np.asarray(jacobian.T @ jacobian)


# Association


def association(
    statistic: Covariance | Correlation, components: Sequence[Component], parts: Sequence[Estimate], i: int, z: float
) -> dict[str, object]:
    found = moments(2, components, parts, i)
    correlation = isinstance(statistic, Correlation)
    unit = 1.0 if correlation else half(found.factors[0]) * half(found.factors[1])
    drowned: dict[str, object] = {"value": None, "error": None, "low": -unit, "high": unit}
    if found.rows < 3 * found.noise[0] or found.rows <= 0:
        return drowned
    formula = _correlation(found) if correlation else _covariance(found)
    value = float(formula(found.vector())[0])
    error = z * math.sqrt(float(spread(formula, found.vector(), found.noise)[0, 0]))
    if not (math.isfinite(value) and math.isfinite(error)):
        return drowned
    value, error = value * unit, error * unit
    low, high, shown = (min(max(v, -unit), unit) for v in (value - error, value + error, value))
    sampling = Z_GAUSSIAN * (1 - shown**2) / math.sqrt(found.rows) if correlation else None
    return {"value": shown, "error": error, "low": low, "high": high, "sampling": sampling}


def _covariance(found: Moments) -> Callable[[Array], Array]:
    def formula(v: Array) -> Array:
        m = found.matrix(v)
        return np.array([m[1, 2] / m[0, 0] - m[0, 1] * m[0, 2] / m[0, 0] ** 2])

    return formula


def _correlation(found: Moments) -> Callable[[Array], Array]:
    def formula(v: Array) -> Array:
        m = found.matrix(v)
        xy, xx, yy = (m[i, j] / m[0, 0] - m[0, i] * m[0, j] / m[0, 0] ** 2 for i, j in ((1, 2), (1, 1), (2, 2)))
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.array([xy / np.sqrt(xx * yy)])  # NaN where the noise leaves no spread: drowned

    return formula


# Least squares


def linear(
    statistic: LinearModel, components: Sequence[Component], parts: Sequence[Estimate], i: int, z: float
) -> Iterator[dict[str, object]]:
    """The intercept, then each predictor's coefficient, in the columns' own units."""
    found = moments(len(statistic.columns), components, parts, i)
    terms = ("(intercept)", *statistic.predictors)

    def formula(v: Array) -> Array:
        m = found.matrix(v)
        keep = [0, *range(2, len(m))]  # the outcome is column 1
        solved: Array = np.linalg.solve(m[np.ix_(keep, keep)], m[keep, 1]).astype(np.float64)
        return _own_units(solved, found)

    matrix = found.matrix()
    keep = [0, *range(2, len(matrix))]
    design = matrix[np.ix_(keep, keep)]
    # The noise in the design matrix must be small against its smallest direction, or the solution is mostly noise.
    if np.linalg.eigvalsh(design)[0] < 3 * max(found.noise) * math.sqrt(len(keep)):
        for term in terms:
            yield {"term": term, "value": None, "error": None, "low": None, "high": None}
        return
    values = formula(found.vector())
    errors = z * np.sqrt(np.diag(spread(formula, found.vector(), found.noise)))
    sampling = Z_GAUSSIAN * np.sqrt(np.diag(_sampling(found, design, matrix, keep)))
    for term, value, error, s in zip(terms, values, errors, sampling, strict=True):
        v, e = float(value), float(error)
        yield {"term": term, "value": v, "error": e, "low": v - e, "high": v + e, "sampling": float(s)}


def _transform(found: Moments) -> Array:
    """From coefficients of z to those of the columns: y = c_y + h_y (b_0 + sum of b_i (x_i - c_i) / h_i)."""
    outcome, *others = found.factors
    change = np.zeros((1 + len(others), 1 + len(others)))
    change[0, 0] = half(outcome)
    for i, f in enumerate(others, start=1):
        change[i, i] = half(outcome) / half(f)
        change[0, i] = -half(outcome) * f.grid.centre / half(f)
    return change


def _own_units(solved: Array, found: Moments) -> Array:
    moved = _transform(found) @ solved
    moved[0] += found.factors[0].grid.centre
    return np.asarray(moved)


def _sampling(found: Moments, design: Array, matrix: Array, keep: list[int]) -> Array:
    """The usual covariance of least squares: residual variance times the inverse of the design."""
    solved = np.linalg.solve(design, matrix[keep, 1])
    left = matrix[1, 1] - 2 * solved @ matrix[keep, 1] + solved @ design @ solved
    residual = max(left, 0.0) / max(found.rows - len(keep), 1)
    change = _transform(found)
    return np.asarray(change @ (residual * np.linalg.inv(design)) @ change.T)
