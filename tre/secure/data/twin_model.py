"""A distribution of several columns that agrees with noisy tables of some of them: an undirected graphical model.

Guarantees: of all distributions that agree with the tables as well as they can (weighted least squares, the weights their
noise), the one of largest entropy, by entropic mirror descent over exact inference on a junction tree (McKenna, Sheldon,
Miklau 2019, "Graphical-model based estimation and inference for differential privacy"). It sees noisy tables and nothing
else: post-processing, free of any cost. The same tables give the same model, the same seed the same rows.
Not guaranteed: anything between columns that no table joins, but what follows through others. Not here: which tables to
measure (twin_relations), and what the codes mean (twin_layout).

Columns are numbered; codes count from zero. Tables of more than `cells` cells in one clique make inference slow: `cells_with`
says how many there would be.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Columns = tuple[int, ...]

_MOST_STEPS = 1000
_HALVINGS = 30


@dataclass(frozen=True, kw_only=True)
class Table:
    """Noisy counts over some columns, one axis for each, and the variance of the noise in each cell (or in all)."""

    columns: Columns
    counts: Array
    variance: Array | float


@dataclass(frozen=True)
class _Clique:
    """A column and those it depends on directly, all of which are in the clique `host`."""

    new: int
    given: Columns
    host: int

    @property
    def columns(self) -> Columns:
        return (*self.given, self.new)


def cells_with(sizes: Sequence[int], joined: Iterable[Columns]) -> int:
    """The cells of the largest clique of a model in which these columns are joined."""
    return max(_cells(sizes, clique.columns) for clique in _cliques(sizes, joined))


def _cells(sizes: Sequence[int], columns: Iterable[int]) -> int:
    cells = 1
    for column in columns:
        cells *= sizes[column]
    return cells


def _cliques(sizes: Sequence[int], joined: Iterable[Columns]) -> list[_Clique]:
    """A junction tree, each clique after its host: columns are eliminated greedily, those with few cells about them first."""
    near: dict[int, set[int]] = {a: set() for a in range(len(sizes))}
    for columns in joined:
        for a, b in itertools.permutations(columns, 2):
            near[a].add(b)
    cost = {a: _cost(a, near, sizes) for a in near}
    order: list[tuple[int, Columns]] = []
    while near:
        a = min(near, key=lambda column: (cost[column], column))
        around = near.pop(a)
        del cost[a]
        order.append((a, tuple(sorted(around))))
        for b in around:
            near[b] = (near[b] | around) - {a, b}
        for c in around.union(*(near[b] for b in around)):
            cost[c] = _cost(c, near, sizes)
    cliques: list[_Clique] = []
    place: dict[int, int] = {}
    for a, given in reversed(order):
        place[a] = len(cliques)
        cliques.append(_Clique(a, given, max((place[b] for b in given), default=-1)))
    return cliques


def _cost(a: int, near: dict[int, set[int]], sizes: Sequence[int]) -> int:
    fill = sum(c not in near[b] for b, c in itertools.combinations(near[a], 2))
    return _cells(sizes, (a, *near[a])) * (1 + fill)


class Model:
    """The distribution that agrees best with `tables`, in which every column must have one. `total`: of how many people."""

    def __init__(
        self,
        sizes: Sequence[int],
        tables: Sequence[Table],
        total: float,
        *,
        before: Model | None = None,
        tolerance: float = 3e-3,
    ) -> None:
        """`before`, a model of the first of the same tables, is where the search begins; it ends when three steps together
        bring the tables nearer by less than about that share."""
        self.sizes, self.total = tuple(sizes), total
        self._tables = tuple(tables)
        self._cliques = _cliques(self.sizes, [t.columns for t in self._tables])
        self._places = [
            next(i for i, c in enumerate(self._cliques) if set(t.columns) <= set(c.columns)) for t in self._tables
        ]
        known = before.potentials if before is not None else []
        self.potentials: list[Array] = [*known, *(_first(t, total) for t in self._tables[len(known) :])]
        self._conditionals = self._fit(tolerance)

    def _fit(self, tolerance: float) -> list[Array]:
        loss, gradient, conditionals = self._look(self.potentials)
        step, quiet = 1 / self.total, 0
        for _ in range(_MOST_STEPS):
            for _ in range(_HALVINGS):
                tried = [p - step * g for p, g in zip(self.potentials, gradient, strict=True)]
                found, slope, others = self._look(tried)
                if found <= loss:
                    break
                step /= 2
            else:
                break
            quiet = quiet + 1 if loss - found < tolerance * max(1.0, loss) else 0
            self.potentials, loss, gradient, conditionals = tried, found, slope, others
            step *= 1.5
            if quiet == 3:
                break
        return conditionals

    def _look(self, potentials: Sequence[Array]) -> tuple[float, list[Array], list[Array]]:
        """How far the model with these potentials is from the tables, the slope for each, and its conditionals."""
        joint, conditionals = self._infer(potentials)
        loss, gradient = 0.0, []
        for table, place in zip(self._tables, self._places, strict=True):
            off = _margin(joint[place], self._cliques[place].columns, table.columns) * self.total - table.counts
            weighed = off / table.variance
            loss += float((off * weighed).sum()) / 2
            gradient.append(weighed * self.total)
        return loss, gradient, conditionals

    def _infer(self, potentials: Sequence[Array]) -> tuple[list[Array], list[Array]]:
        """Belief propagation: each clique's joint distribution, and that of its new column given the others."""
        beliefs = [np.zeros([self.sizes[a] for a in c.columns]) for c in self._cliques]
        for table, potential, place in zip(self._tables, potentials, self._places, strict=True):
            beliefs[place] += _spread(potential, table.columns, self._cliques[place].columns)
        conditionals: list[Array] = [np.zeros(0)] * len(beliefs)
        for i in reversed(range(len(beliefs))):
            clique = self._cliques[i]
            top = beliefs[i].max(axis=-1, keepdims=True)
            weights = np.exp(beliefs[i] - top)
            sums = weights.sum(axis=-1, keepdims=True)
            conditionals[i] = weights / sums
            if clique.given:
                message = (top + np.log(sums))[..., 0]
                beliefs[clique.host] += _spread(message, clique.given, self._cliques[clique.host].columns)
        joint: list[Array] = []
        for clique, conditional in zip(self._cliques, conditionals, strict=True):
            if clique.given:
                given = _margin(joint[clique.host], self._cliques[clique.host].columns, clique.given)
                joint.append(given[..., None] * conditional)
            else:
                joint.append(conditional)
        return joint, conditionals

    def sample(self, n: int, rng: np.random.Generator) -> list[Array]:
        """`n` rows' codes, column by column; shares within each combination are met as nearly as whole rows allow."""
        drawn: list[Array] = [np.zeros(0, dtype=np.int64)] * len(self.sizes)
        for clique, conditional in zip(self._cliques, self._conditionals, strict=True):
            key = np.zeros(n, dtype=np.int64)
            for column in clique.given:
                key = key * self.sizes[column] + drawn[column]
            drawn[clique.new] = deal(key, conditional.reshape(-1, self.sizes[clique.new]), rng)
        return drawn


def _first(table: Table, total: float) -> Array:
    """Where the search begins: single columns at their own shares, tables of several as if unrelated."""
    if len(table.columns) > 1:
        return np.zeros(table.counts.shape)
    return np.asarray(np.log(np.maximum(table.counts, 0.5) / total))


def deal(key: Array, shares: Array, rng: np.random.Generator) -> Array:
    """A code for each row, by the shares in the row of `shares` that its key names: systematic sampling within each key."""
    n = len(key)
    if n == 0:
        return np.zeros(0, dtype=np.int64)
    order = rng.permutation(n)
    order = order[np.argsort(key[order], kind="stable")]
    starts = np.flatnonzero(np.diff(key[order], prepend=-1))
    many = np.diff(np.append(starts, n))
    group = np.repeat(np.arange(len(starts)), many)
    place = (np.arange(n) - np.repeat(starts, many) + np.repeat(rng.random(len(starts)), many)) / many[group]
    steps = np.cumsum(shares[key[order][starts]], axis=1)
    steps = np.minimum(steps / steps[:, -1:], 1) + np.arange(len(starts))[:, None]
    codes = np.searchsorted(steps.ravel(), np.minimum(place, 1 - 1e-9) + group, side="right") - group * shares.shape[1]
    drawn = np.empty(n, dtype=np.int64)
    drawn[order] = np.clip(codes, 0, shares.shape[1] - 1)
    return drawn


def _margin(values: Array, columns: Columns, wanted: Columns) -> Array:
    """Sums over all axes but those of `wanted`, which come in its order."""
    left = [a for a in columns if a in wanted]
    gone = tuple(i for i, a in enumerate(columns) if a not in wanted)
    return np.asarray(values.sum(axis=gone) if gone else values).transpose([left.index(a) for a in wanted])


def _spread(values: Array, columns: Columns, over: Columns) -> Array:
    """`values` with its axes in the order of `over`, and of length one where `over` has a column more."""
    turned = values.transpose([columns.index(a) for a in over if a in columns])
    lengths = iter(turned.shape)
    return turned.reshape([next(lengths) if a in columns else 1 for a in over])
