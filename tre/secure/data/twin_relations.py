"""What is learnt for a twin that knows relations: noisy counts of each column, and of pairs that belong together.

Guarantees:
- `measure` is the only function here that sees rows (as codes of twin_layout). All it gives out is `Relations`: counts with
  noise of statistics.noise, and which columns were counted together, chosen by OpenDP's noisy minimum. Everything together
  costs at most `rho_units`, which the caller has charged before.
- Which choices there are, into how many cells columns are put for pairs, and how many pairs are asked for, follow from the
  schema, the budget and counts that have noise already.
Sensitivity: a person is one line of codes, so adding or removing one changes one cell of any table by one. A choice is by
the sum over a table's cells of its distance from what is known already, which moves by one; by two where people may be
absent, since the table's own total then is part of the comparison.
Not guaranteed: that any relation is found. A choice has *no more* among its options, as good as a pair that shows nothing
above the noise it would be measured with: with few people or little budget there are few pairs or none, and `Relations`
says how many were found worth it.

Steps (after MST and AIM: McKenna, Miklau, Sheldon 2021; 2022): each column alone; a spanning tree of pairs, by their distance
from independence; a few rounds of further pairs, by their distance from the model so far; for `detailed`, of triples too.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from tre.rules.schema import Closed
from tre.secure.data.twin_layout import ABSENT, THERE, Codes, Column, Layout
from tre.secure.data.twin_model import Columns, Model, Table, cells_with
from tre.secure.data.twin_plausible import PEOPLE, Margin, shares_of
from tre.statistics.noise import choose, gaussian, sigma_for

Array = np.ndarray[Any, Any]

# Shares of the budget, by measurement (python -m bench twins): the number of people, columns alone, and choosing; tables
# take what is left, FURTHER of it those that are chosen after the tree.
NUMBER, ALONE, CHOOSING, FURTHER = 0.01, 0.29, 0.1, 0.5
ROUNDS = 3
# A cell of a pair should hold so many standard deviations of its noise, on average.
PLAIN = 3.0
# With room for fewer groups than this in a pair, all of the budget is better spent on columns alone.
FEWEST_GROUPS = 6
# How much of a table's expected noise is held against it when it is compared with others.
AGAINST = 1.0
FEWEST_PEOPLE = 10
MOST_GROUPS = 24
# The largest clique of a model, in cells: what inference takes grows with it.
MOST_CELLS = 5_000
# Above so many columns, further pairs are looked for between those with a neighbour in common only.
WIDE = 30
# Rows drawn from a model to compare it with the data.
_DRAWN = 50_000
# A person, in the whole numbers that distances are counted in.
PARTS = 2**20


class Alone(Closed):
    """A column's noisy counts, the noise's standard deviation, and the group of cells that each belongs to in tables."""

    column: Column
    counts: tuple[int, ...]
    groups: tuple[int, ...]

    @property
    def size(self) -> int:
        return max(self.groups) + 1

    def shares(self, sigma: float) -> Array:
        """Of its cells: nowhere negative, and none where nothing can be told from noise far from everyone."""
        return shares_of(Margin(cells=self.column.cells, counts=self.counts, sigma=sigma), sum(self.counts))


class Together(Closed):
    """Noisy counts of groups over several columns (by number), in the order of rows of the last column."""

    columns: tuple[int, ...]
    counts: tuple[int, ...]
    sigma: float


class Relations(Closed):
    """All that is ever learnt for such a twin. `people` is noisy too."""

    rho_units: int
    people: int
    sigma: float
    alone: tuple[Alone, ...]
    together: tuple[Together, ...]
    # How many tables there was budget for; fewer are in `together` where fewer were worth it.
    asked: int

    @property
    def rows(self) -> int:
        """About how many rows they have together."""
        there = [sum(a.counts[1:]) for a in self.alone if a.column.cells.field == THERE]
        if there:
            return max(self.people, sum(there))
        for a in self.alone:
            if a.column.cells.field == PEOPLE:
                edges = np.array(a.column.cells.edges)
                return round(self.people * float(np.dot(a.shares(self.sigma), (edges[:-1] + edges[1:] - 1) / 2)))
        return self.people

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(a.size for a in self.alone)

    def model(self, *, before: Model | None = None, tolerance: float = 3e-3) -> Model:
        """The distribution that agrees with the noisy tables: a function of them alone."""
        tables = [*(self._one(i, a) for i, a in enumerate(self.alone)), *map(self._several, self.together)]
        return Model(self.sizes, tables, self.people, before=before, tolerance=tolerance)

    def _one(self, number: int, alone: Alone) -> Table:
        groups, scale = np.array(alone.groups), self._scale(sum(alone.counts), alone.column)
        counts = np.bincount(groups, weights=np.array(alone.counts, dtype=float)) * scale
        variance = np.bincount(groups) * (self.sigma * scale) ** 2
        return Table(columns=(number,), counts=counts, variance=variance)

    def _several(self, table: Together) -> Table:
        scale = self._scale(sum(table.counts), *(self.alone[c].column for c in table.columns))
        counts = np.array(table.counts, dtype=float).reshape([self.sizes[c] for c in table.columns]) * scale
        return Table(columns=table.columns, counts=counts, variance=(table.sigma * scale) ** 2)

    def _scale(self, total: float, *columns: Column) -> float:
        """Of people who are there in some slots only, the shares are taken for those of everyone."""
        if all(c.always for c in columns):
            return 1.0
        return self.people / max(total, FEWEST_PEOPLE)


@dataclass(frozen=True, kw_only=True)
class _Budget:
    """In the ledger's units: the number of people, each column, each choice and each table of the tree; likewise of the
    further ones."""

    people: int
    alone: int
    choice: int
    table: int
    further_choice: int
    further_table: int
    tree: int
    further: int

    @staticmethod
    def of(units: int, columns: int) -> _Budget:
        """Raises ValueError if there is too little to be shared."""
        tree = max(1, columns - 1)
        rounds = ROUNDS * max(1, round(tree / ROUNDS))
        choosing, tables = int(units * CHOOSING), int(units * (1 - NUMBER - ALONE - CHOOSING))
        budget = _Budget(
            people=int(units * NUMBER),
            alone=int(units * ALONE) // columns,
            choice=int(choosing * (1 - FURTHER)) // tree,
            table=int(tables * (1 - FURTHER)) // tree,
            further_choice=int(choosing * FURTHER) // rounds,
            further_table=int(tables * FURTHER) // rounds,
            tree=tree,
            further=rounds,
        )
        if min(vars(budget).values()) < 1:
            raise ValueError("too small a budget for so many columns")
        return budget

    def groups(self, people: int) -> int:
        """Into how many groups a column is best put for pairs of so many people."""
        return int(math.sqrt(people / (PLAIN * sigma_for(1, self.table))))


def affordable(units: int, columns: int) -> bool:
    """Whether so much can be shared out over so many columns."""
    try:
        _Budget.of(units, columns)
    except ValueError:
        return False
    return True


def measure(
    codes: Sequence[Codes], laid: Layout, *, rho_units: int, wanted: Iterable[Columns] = (), triples: bool = False
) -> Relations:
    """Noisy relations for `rho_units`, charged by the caller. `wanted` pairs are counted whatever they show, if any is.

    Raises ValueError, before anything is drawn, if the budget is too small to be shared.
    """
    budget = _Budget.of(rho_units, len(codes))
    (counted,) = gaussian([len(codes[0])], sensitivity=1, rho_units=budget.people).values
    people = max(FEWEST_PEOPLE, counted)
    if budget.groups(people) < FEWEST_GROUPS:
        known = _columns(codes, laid, people, each=(rho_units - budget.people) // len(codes), groups=FEWEST_GROUPS)
        return known.model_copy(update={"rho_units": rho_units, "asked": budget.tree + budget.further})
    known = _columns(codes, laid, people, each=budget.alone, groups=min(budget.groups(people), MOST_GROUPS))
    secret = _Secret(codes, known)
    known = _tree(secret, known, budget, [(min(pair), max(pair)) for pair in wanted])
    known = _further(secret, known, budget, triples=triples)
    return known.model_copy(update={"rho_units": rho_units, "asked": budget.tree + budget.further})


# Columns alone


def _columns(codes: Sequence[Codes], laid: Layout, people: int, *, each: int, groups: int) -> Relations:
    drawn = []
    for line, column in zip(codes, laid.columns, strict=True):
        exact = np.bincount(line[line != ABSENT], minlength=column.cells.size)
        drawn.append(gaussian(exact.tolist(), sensitivity=1, rho_units=each).values)
    sigma = sigma_for(1, each)
    alone = tuple(
        Alone(column=c, counts=d, groups=_groups(d, c, sigma, groups)) for d, c in zip(drawn, laid.columns, strict=True)
    )
    everyone = [a for a in alone if a.column.always]
    if everyone:  # better known from all of them than from the first look
        weights = [1 / len(a.counts) for a in everyone]
        people = max(FEWEST_PEOPLE, round(float(np.average([sum(a.counts) for a in everyone], weights=weights))))
    return Relations(rho_units=1, people=people, sigma=sigma, alone=alone, together=(), asked=0)


def _groups(noisy: Sequence[int], column: Column, sigma: float, most: int) -> tuple[int, ...]:
    """Which cells are one in tables: neighbours of a range until there are enough people in them; rare categories."""
    cells, total = column.cells, max(1, sum(noisy))
    counts = shares_of(Margin(cells=cells, counts=tuple(noisy), sigma=sigma), total) * total
    whole = len(counts) - cells.missing
    if cells.kind == "categories":
        order = np.argsort(-counts, kind="stable")
        kept = [int(i) for i in order if counts[i] >= 4 * sigma][: most - 1]
        rest = len(kept) if len(kept) < len(counts) else len(kept) - 1
        places = {cell: i for i, cell in enumerate(kept)}
        return tuple(places.get(i, rest) for i in range(len(counts)))
    enough = max(total / most, 4 * sigma)
    groups, held, left = [0], counts[0], counts[1:whole].sum()
    for count in counts[1:whole]:
        if held >= enough and left >= enough / 2:
            groups.append(groups[-1] + 1)
            held = count
        else:
            groups.append(groups[-1])
            held += count
        left -= count
    return (*groups, *([groups[-1] + 1] * cells.missing))


# Which columns belong together


class _Secret:
    """Exact counts of groups over several columns: what only noise and choices with noise may be made of."""

    def __init__(self, codes: Sequence[Codes], known: Relations) -> None:
        self._sizes = known.sizes
        self._codes = [
            np.append(np.array(a.groups, dtype=np.int64), ABSENT)[line]  # ABSENT is the last place
            for a, line in zip(known.alone, codes, strict=True)
        ]
        self._partly = [not a.column.always for a in known.alone]

    def count(self, columns: Columns) -> Array:
        key, there = np.zeros(len(self._codes[0]), dtype=np.int64), np.full(len(self._codes[0]), True)
        for column in columns:
            key = key * self._sizes[column] + self._codes[column]
            if self._partly[column]:
                there &= self._codes[column] != ABSENT
        cells = math.prod(self._sizes[c] for c in columns)
        return np.bincount(key if there.all() else key[there], minlength=cells)

    def distance(self, columns: Columns, expected: Array, people: int) -> tuple[int, int]:
        """How far the counts are from expected shares, and how much one person can move that: whole numbers, in parts of a
        person, so that no rounding can move it further."""
        counts = self.count(columns).astype(np.int64)
        shares = np.floor(expected * PARTS).astype(np.int64)
        partly = any(self._partly[c] for c in columns)
        total = int(counts.sum()) if partly else people
        return int(np.abs(counts * PARTS - shares * total).sum()), PARTS + (int(shares.sum()) if partly else 0)

    def noisy(self, columns: Columns, units: int) -> Together:
        drawn = gaussian(self.count(columns).tolist(), sensitivity=1, rho_units=units)
        return Together(columns=columns, counts=drawn.values, sigma=drawn.sigma)

    def scores(
        self, options: Sequence[Columns], expected: Callable[[Columns], Array], people: int, *, table: int
    ) -> _Scores:
        """What each option shows beyond the noise that `table` units would leave in its counts; less is more."""
        noise = AGAINST * math.sqrt(2 / math.pi) * sigma_for(1, table)
        found, most = {}, PARTS
        for option in options:
            shares = expected(option)
            distance, moved = self.distance(option, shares, people)
            found[option] = round(noise * shares.size * PARTS) - distance
            most = max(most, moved)
        return _Scores(found, most)


@dataclass(frozen=True)
class _Scores:
    """As secret as the counts they were made of; `best` is the way out, through noise."""

    scores: dict[Columns, int]
    sensitivity: int

    def best(self, options: Sequence[Columns], *, units: int) -> Columns | None:
        """The option that shows most, nearly; None for no more, which scores zero. `units` pay for it."""
        chosen = choose([0, *(self.scores[o] for o in options)], sensitivity=self.sensitivity, units=units, pure=False)
        return options[chosen - 1] if chosen else None


def _tree(secret: _Secret, known: Relations, budget: _Budget, wanted: Sequence[Columns]) -> Relations:
    """Pairs that join all columns without a circle, each the one that shows most of those left."""
    part = list(range(len(known.alone)))
    pairs = list(dict.fromkeys(wanted))[: budget.tree]
    for a, b in pairs:
        part = [part[b] if p == part[a] else p for p in part]
    shares = [_grouped(a, known.sigma) for a in known.alone]
    candidates = _candidates([a.column for a in known.alone])
    scores = secret.scores(
        candidates, lambda pair: np.outer(shares[pair[0]], shares[pair[1]]).ravel(), known.people, table=budget.table
    )
    while len(pairs) < budget.tree:
        options = [(a, b) for a, b in candidates if part[a] != part[b]]
        pair = scores.best(options, units=budget.choice) if options else None
        if pair is None:
            break
        pairs.append(pair)
        part = [part[pair[1]] if p == part[pair[0]] else p for p in part]
    # What was not asked for is shared among those that were.
    units = budget.table * budget.tree // max(1, len(pairs))
    return _with(known, [secret.noisy(pair, units) for pair in pairs])


def _further(secret: _Secret, known: Relations, budget: _Budget, *, triples: bool) -> Relations:
    """In each round the columns, together, of which the model so far is furthest from the data."""
    rng, model = np.random.default_rng(0), None
    candidates = _candidates([a.column for a in known.alone])
    each = budget.further // ROUNDS
    for _ in range(ROUNDS):
        model = known.model(before=model, tolerance=1e-2)
        shares = partial(_shares, model.sample(_DRAWN, rng), known.sizes)
        options = _joinable(known, candidates, triples=triples)
        scores = secret.scores(options, shares, known.people, table=budget.further_table)
        chosen: list[Columns] = []
        while len(chosen) < each:
            left = [o for o in options if o not in chosen]
            best = scores.best(left, units=budget.further_choice) if left else None
            if best is None:
                break
            chosen.append(best)
        measured = [t.columns for t in known.together]
        for columns in chosen:  # each was possible alone; not all of them need be together
            if cells_with(known.sizes, [*measured, columns]) <= MOST_CELLS:
                measured.append(columns)
                known = _with(known, [secret.noisy(columns, budget.further_table)])
        if not chosen:
            break
    return known


def _with(known: Relations, tables: Sequence[Together]) -> Relations:
    return known.model_copy(update={"together": (*known.together, *tables)})


def _grouped(alone: Alone, sigma: float) -> Array:
    """A column's shares by group, from its noisy counts."""
    return np.bincount(np.array(alone.groups), weights=alone.shares(sigma))


def _shares(drawn: Sequence[Array], sizes: Sequence[int], columns: Columns) -> Array:
    key = np.zeros(len(drawn[0]), dtype=np.int64)
    for column in columns:
        key = key * sizes[column] + drawn[column]
    return np.bincount(key, minlength=math.prod(sizes[c] for c in columns)) / len(key)


def _candidates(columns: Sequence[Column]) -> list[Columns]:
    """The pairs that can be related directly: in one slot, or one field in neighbouring slots, or with what is there once.

    Whether someone is there is not compared with what they have there: whoever has anything there is there.
    """
    return [(a, b) for a, b in itertools.combinations(range(len(columns)), 2) if _near(columns[a], columns[b])]


def _near(a: Column, b: Column) -> bool:
    if (a.presence and not b.always) or (b.presence and not a.always):
        return False
    if a.slot is None or b.slot is None or a.slot == b.slot:
        return True
    return a.cells.field == b.cells.field and abs(a.slot - b.slot) == 1


def _joinable(known: Relations, candidates: Sequence[Columns], *, triples: bool) -> list[Columns]:
    """What could be counted together next, with a model that stays quick: a function of what is known already."""
    measured = [t.columns for t in known.together]
    around: dict[int, set[int]] = {c: set() for c in range(len(known.alone))}
    for columns in measured:
        for a, b in itertools.permutations(columns, 2):
            around[a].add(b)
    options: list[Columns] = [p for p in candidates if p[1] not in around[p[0]]]
    if len(known.alone) > WIDE:
        options = [p for p in options if around[p[0]] & around[p[1]]]
    if triples:
        joined = {
            tuple(sorted({*columns, c}))
            for columns in measured
            if len(columns) == 2
            for a in columns
            for c in around[a]
        }
        options += [t for t in sorted(joined) if len(t) == 3 and t not in measured]
    return [o for o in options if cells_with(known.sizes, [*measured, o]) <= MOST_CELLS]
