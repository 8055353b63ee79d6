"""Logistic regression by Newton's method: at each step noisy sums of gradients and of curvatures, then a step.

Guarantees: each step asks the rows for whole numbers of a fixed range, whatever the coefficients so far, so that one
person changes each sum by at most `UNIT` times their rows; every sum of every step has an equal share of the loss, and
steps are as many as the request says, never as many as the data seem to need. Coefficients are kept within `FARTHEST`.
Source: noisy Newton steps, as in Ganesh, Haghifam, Steinke, Thakurta, "Faster differentially private convex
optimization via second-order methods" (2023).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import duckdb
import numpy as np
from numpy.typing import NDArray

from tre.statistics.aggregate import source
from tre.statistics.components import Component, Factor
from tre.statistics.kinds import LogisticModel
from tre.statistics.models import half
from tre.statistics.noise import Z_GAUSSIAN, noised, sigma_for
from tre.statistics.prepare import Prepared
from tre.statistics.sql import quote

Array = NDArray[np.float64]

# Row-wise fractions are counted in this many parts of one.
UNIT = 2**20
# Coefficients of numbers between -1 and 1: beyond it a probability is 0 or 1 to six digits.
FARTHEST = 15.0


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Coefficients of z (see models.half), their noise's covariance and sampling covariance; None if drowned."""

    values: Array | None
    noise: Array
    sampling: Array


def fit(connection: duckdb.DuckDBPyConnection, prepared: Prepared, component: Component) -> Fit:
    size = len(component.factors) + 1
    steps = component.steps // component.cells
    units = prepared.units[component] // component.steps
    values = np.zeros(size)
    curvature, sigma = np.eye(size), 0.0
    for _ in range(steps):
        asked = _sums(connection, prepared, component, values)
        reach = float(UNIT * prepared.max_rows)
        drawn = [noised([v], l1=reach, l2=reach, units=units, pure=prepared.pure) for v in asked]
        sigma = drawn[0].sigma / UNIT
        told = np.array([d.values[0] / UNIT for d in drawn])
        gradient, curvature = told[:size], _matrix(told[size:], size) / 4
        if np.linalg.eigvalsh(curvature)[0] < 3 * sigma / 4 * math.sqrt(size):
            return Fit(values=None, noise=curvature, sampling=curvature)
        values = np.clip(values + np.linalg.solve(curvature, gradient), -FARTHEST, FARTHEST)
    inverse: Array = np.linalg.inv(curvature).astype(np.float64)
    return Fit(values=values, noise=inverse @ inverse.T * sigma**2, sampling=inverse)


def _sums(
    connection: duckdb.DuckDBPyConnection, prepared: Prepared, component: Component, values: Array
) -> tuple[int, ...]:
    """Sums of (y - p) z_i and of 4 p (1 - p) z_i z_j, each row's in whole parts of UNIT and clamped to one."""
    event = quote(component.event or "")
    numbers = ["CAST(1 AS DOUBLE)", *(quote(f"tre:z{i}") for i in range(len(component.factors)))]
    columns = [f"{_unit(f)} AS {name}" for f, name in zip(component.factors, numbers[1:], strict=True)]
    columns.append(f"CASE WHEN {event} THEN 1.0::DOUBLE WHEN NOT {event} THEN 0.0::DOUBLE END AS {quote('tre:y')}")
    there = " AND ".join(f"{c} IS NOT NULL" for c in [*numbers[1:], quote("tre:y")])
    linear = " + ".join(f"CAST({float(b)!r} AS DOUBLE) * {z}" for b, z in zip(values, numbers, strict=True))
    p, y = quote("tre:p"), quote("tre:y")
    sql = f"SELECT {', '.join(columns)} FROM ({source(prepared)})"
    sql = f"SELECT *, 1 / (1 + exp(-({linear}))) AS {p} FROM ({sql}) WHERE {there}"
    asked = [f"({y} - {p}) * {z}" for z in numbers]
    asked += [f"4 * {p} * (1 - {p}) * {a} * {b}" for i, a in enumerate(numbers) for b in numbers[i:]]
    sums = ", ".join(f"coalesce(sum({_whole(a)}), 0)" for a in asked)
    row = connection.execute(f"SELECT {sums} FROM ({sql})").fetchone()
    return tuple(int(v) for v in row or ())


def _unit(factor: Factor) -> str:
    """The number between -1 and 1; NULL where it is missing or not finite."""
    column, grid = quote(factor.column), factor.grid
    if factor.flag:
        return f"CASE WHEN {column} THEN 1.0::DOUBLE WHEN NOT {column} THEN -1.0::DOUBLE END"
    number = f"TRY_CAST({column} AS DOUBLE)"
    clamped = f"greatest(least({number}, CAST({grid.high!r} AS DOUBLE)), CAST({grid.low!r} AS DOUBLE))"
    moved = f"({clamped} - CAST({grid.centre!r} AS DOUBLE)) / CAST({half(factor)!r} AS DOUBLE)"
    return f"CASE WHEN isfinite({number}) THEN greatest(least({moved}, 1.0::DOUBLE), -1.0::DOUBLE) END"


def _whole(expression: str) -> str:
    """Clamped before it is cast, so that no value can make the cast fail; a NaN (there is none to be had) counts as 0."""
    parts = f"greatest(least(round(({expression}) * {UNIT}.0::DOUBLE), {UNIT}.0::DOUBLE), -{UNIT}.0::DOUBLE)"
    return f"CASE WHEN isnan({expression}) THEN 0 ELSE CAST({parts} AS BIGINT) END"


def _matrix(upper: Array, size: int) -> Array:
    found = np.zeros((size, size))
    found[np.triu_indices(size)] = upper
    return np.asarray(np.triu(found) + np.triu(found, 1).T)


def coefficients(statistic: LogisticModel, component: Component, fit: Fit, z: float) -> Iterator[dict[str, object]]:
    """The intercept, then each predictor's coefficient (a log odds ratio for one unit of the column)."""
    terms = ("(intercept)", *statistic.predictors)
    if fit.values is None:
        for term in terms:
            yield {"term": term, "value": None, "error": None, "low": None, "high": None}
        return
    change = np.eye(len(terms))
    for i, f in enumerate(component.factors, start=1):
        change[i, i] = 1 / half(f)
        change[0, i] = -f.grid.centre / half(f)
    values = change @ fit.values
    errors = z * np.sqrt(np.diag(change @ fit.noise @ change.T))
    sampling = Z_GAUSSIAN * np.sqrt(np.diag(change @ fit.sampling @ change.T))
    for term, value, error, s in zip(terms, values, errors, sampling, strict=True):
        v, e = float(value), float(error)
        yield {"term": term, "value": v, "error": e, "low": v - e, "high": v + e, "sampling": float(s)}


def expected(prepared: Prepared, component: Component, curvature: Array) -> Fit:
    """The fit's covariances at a curvature assumed, from the price alone."""
    reach = float(UNIT * prepared.max_rows)
    sigma = sigma_for(reach, prepared.units[component] // component.steps, pure=prepared.pure) / UNIT
    size = len(curvature)
    if np.linalg.eigvalsh(curvature)[0] < 3 * sigma / 4 * math.sqrt(size):
        return Fit(values=None, noise=curvature, sampling=curvature)
    inverse: Array = np.linalg.inv(curvature).astype(np.float64)
    return Fit(values=np.zeros(size), noise=inverse @ inverse.T * sigma**2, sampling=inverse)
