"""Noisy tables that overlap, made to agree: weighted least squares in closed form. Post-processing: no row is seen here.

Guarantees: given independent noisy tables over sets of groups with equal noise in each table's cells, `consistent` is
the best linear unbiased estimate of every table asked for, all of them add up to one another, and `variance` is the
exact variance of its cells. `nonnegative` then gives up unbiasedness for a smaller error in sparse tables.
Source: the tables split into orthogonal residual spaces, one for each subset A of the groups; with precisions u_S the
space A has information J_A = sum over S containing A of u_S / (number of S's cells), up to a constant (Xiao, Ding, Wang,
Zhang, Kifer, "An Optimal and Scalable Matrix Mechanism for Noisy Marginals", 2023, show that this is the optimum).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

By = tuple[str, ...]
Array = NDArray[np.float64]

# Steps of the projected gradient; tables above the limit of cells are left as they are (it would take seconds).
STEPS = 300
MOST_CELLS = 5_000


def subsets(by: By) -> list[By]:
    """Every subset, in the order of the groups, from none to all."""
    return [a for size in range(len(by) + 1) for a in itertools.combinations(by, size)]


def residuals(sets: Iterable[By]) -> list[By]:
    return list(dict.fromkeys(a for s in sets for a in subsets(s)))


def _cells(by: By, sizes: Mapping[str, int]) -> int:
    return math.prod(sizes[g] for g in by)


def weights(sets: list[By], spaces: list[By], sizes: Mapping[str, int]) -> Array:
    """K with J = K u: how much information each measured table (column) gives on each residual space (row)."""
    return np.array([[1 / _cells(s, sizes) if set(a) <= set(s) else 0.0 for s in sets] for a in spaces])


def coefficients(by: By, spaces: list[By], sizes: Mapping[str, int]) -> Array:
    """c with Var(cell of the table `by`) = sum of c_A / J_A."""
    found = []
    for a in spaces:
        inside = math.prod(1 - 1 / sizes[g] for g in a) * math.prod(1 / sizes[g] for g in by if g not in a)
        found.append(inside / _cells(by, sizes) if set(a) <= set(by) else 0.0)
    return np.array(found)


def variance(by: By, precision: Mapping[By, float], sizes: Mapping[str, int]) -> float:
    """The variance of a cell of table `by` after `consistent`, the measured tables having these precisions (1/sigma^2)."""
    sets = list(precision)
    spaces = [a for a in residuals(sets) if set(a) <= set(by)]
    information = weights(sets, spaces, sizes) @ np.array([precision[s] for s in sets])
    return float(np.sum(coefficients(by, spaces, sizes) / information))


def consistent(
    tables: Mapping[By, Array], precision: Mapping[By, float], sizes: Mapping[str, int], wanted: Iterable[By]
) -> dict[By, Array]:
    """The tables asked for; each must be a subset of a measured one. Arrays have an axis a group, in the tuple's order."""
    spaces: dict[By, Array] = {}
    for a in residuals(tables):
        above, information = np.zeros([sizes[g] for g in a]), 0.0
        for s, table in tables.items():
            if set(a) <= set(s):
                summed = _centred(marginal(table, s, a))
                above = above + precision[s] * summed / _cells(tuple(g for g in s if g not in a), sizes)
                information += precision[s] / _cells(s, sizes)
        spaces[a] = above / information
    found = {}
    for by in wanted:
        table = np.zeros([sizes[g] for g in by])
        for a in subsets(by):
            table = table + spaces[a].reshape([sizes[g] if g in a else 1 for g in by])
        found[by] = table / _cells(by, sizes)
    return found


def marginal(table: Array, by: By, onto: By) -> Array:
    """The table's sums over the groups that are not in `onto`."""
    return np.asarray(table.sum(axis=tuple(i for i, g in enumerate(by) if g not in onto)))


def _centred(table: Array) -> Array:
    for axis in range(table.ndim):
        table = table - table.mean(axis=axis, keepdims=True)
    return table


def nonnegative(
    table: Array, by: By, precision: Mapping[By, float], sizes: Mapping[str, int], *, steps: int = STEPS
) -> Array:
    """The non-negative table nearest to the consistent `table`, in the weights it was measured with.

    Minimises the sum of u_S |M_S (x - table)|^2 over x >= 0 by accelerated projected gradients (Beck, Teboulle 2009).
    """
    largest = sum(u * _cells(by, sizes) / _cells(s, sizes) for s, u in precision.items())
    x = last = np.maximum(table, 0)
    momentum = 1.0
    for _ in range(steps):
        gradient = np.zeros_like(x)
        for s, u in precision.items():
            part = u * marginal(x - table, by, s)
            gradient = gradient + part.reshape([sizes[g] if g in s else 1 for g in by])
        following = np.maximum(x - gradient / largest, 0)
        after = (1 + math.sqrt(1 + 4 * momentum**2)) / 2
        x, last, momentum = following + (momentum - 1) / after * (following - last), following, after
    return last
