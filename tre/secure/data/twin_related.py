"""Rows from noisy relations: people drawn from the model that agrees with them, as the declared schema allows.

Guarantees: what comes in is `Relations` (noisy) and the schema, so rows cost nothing further and may be as many as wished;
the same seed gives the same rows. People come in pieces, so that memory is that of a piece and not of the twin. Every row
fits the schema (twin_shape), a person's rows have keys of their own, and events are in the order of time.
Not guaranteed: anything that twin_relations did not count, such as what is within a cell (uniform there), or rows of
a person beyond the last slot (their values are those of earlier ones).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from tre.rules.schema import TableSchema
from tre.secure.data.twin_layout import THERE, Layout, slot_values
from tre.secure.data.twin_model import Model, deal
from tre.secure.data.twin_plausible import PEOPLE, values
from tre.secure.data.twin_relations import Alone, Relations
from tre.secure.data.twin_shape import identifiers, most_rows, shape

Array = np.ndarray[Any, Any]

PIECE = 20_000


def sample_related(
    relations: Relations, schema: TableSchema, laid: Layout, *, seed: int, people: int | None = None
) -> Iterator[pd.DataFrame]:
    """As many people as the relations say, or `people`, in pieces of rows."""
    rng, model = np.random.default_rng(seed), relations.model()
    everyone = identifiers(schema.field(schema.unit.field), people or relations.people)
    piece = PIECE if _apart(schema) else len(everyone)
    for first in range(0, len(everyone), piece):
        yield _piece(model, relations, schema, laid, everyone[first : first + piece], rng)


def _apart(schema: TableSchema) -> bool:
    """Whether people's rows can be made without a look at each other's: no key or unique field but a person's own."""
    unit = schema.unit.field
    shared = any(f.constraints.unique for f in schema.fields if f.name != unit)
    return not shared and (not schema.primary_key or unit in schema.primary_key)


def _piece(
    model: Model, relations: Relations, schema: TableSchema, laid: Layout, people: Array, rng: np.random.Generator
) -> pd.DataFrame:
    groups = model.sample(len(people), rng)
    cells = [_within(a, g, relations, rng) for a, g in zip(relations.alone, groups, strict=True)]
    return decoded(cells, schema, laid, people, rng)


def decoded(
    codes: Sequence[Array], schema: TableSchema, laid: Layout, people: Array, rng: np.random.Generator
) -> pd.DataFrame:
    """The rows of people of whom each column of the layout has a code."""
    n = len(people)
    cells = {(c.cells.field, c.slot): code for c, code in zip(laid.columns, codes, strict=True)}
    person, slot, keys = _rows(cells, schema, laid, n, rng)
    drawn = {}
    for column in laid.columns:
        name = column.cells.field
        if name in (THERE, PEOPLE) or name in drawn:
            continue
        if column.slot is None:  # one value a person, not only one cell
            drawn[name] = (
                values(column.cells, schema.field(name), cells[name, None], rng).iloc[person].reset_index(drop=True)
            )
        else:
            code = np.stack([cells[name, k] for k in range(laid.slots)])[slot, person]
            drawn[name] = values(column.cells, schema.field(name), code, rng)
    if laid.time in drawn:
        drawn[laid.time] = _in_order(drawn[laid.time], person)
    counts = np.bincount(person, minlength=n)
    return shape(drawn, schema, counts, rng, keys=keys, people=people)


def _within(alone: Alone, groups: Array, relations: Relations, rng: np.random.Generator) -> Array:
    """The cell of each person, by the column's own counts within their group."""
    of, share = np.array(alone.groups), alone.shares(relations.sigma)
    shares = np.zeros((alone.size, len(of)))
    shares[of, np.arange(len(of))] = share
    empty = shares.sum(axis=1) == 0  # the model is not sure that nobody is there: any cell will do
    shares[of, np.arange(len(of))] += empty[of]
    return deal(groups, shares, rng)


def _rows(
    cells: dict[tuple[str, int | None], Array],
    schema: TableSchema,
    laid: Layout,
    n: int,
    rng: np.random.Generator,
) -> tuple[Array, Array, Array | None]:
    """Each row's person and slot, and the panel's value of its key."""
    if laid.panel is not None:
        there = np.stack([cells[THERE, k] for k in range(laid.slots)], axis=1).astype(bool)
        lost = np.flatnonzero(~there.any(axis=1))  # nobody is without rows: they get one, where most are
        there[lost, int(there.sum(axis=0).argmax())] = True
        over = there.cumsum(axis=1) > schema.unit.max_rows
        person, slot = np.nonzero(there & ~over)
        return person, slot, np.array(slot_values(schema, laid.panel), dtype=object)[slot]
    counts = np.ones(n, dtype=np.int64)
    if (PEOPLE, None) in cells:
        edges = np.array(next(c.cells.edges for c in laid.columns if c.cells.field == PEOPLE))
        low, high = edges[:-1].astype(int), edges[1:].astype(int)
        code = cells[PEOPLE, None]
        counts = np.minimum(rng.integers(low[code], high[code]), most_rows(schema))
    person = np.repeat(np.arange(n), counts)
    slot = np.arange(len(person)) - np.repeat(np.cumsum(counts) - counts, counts)
    return person, slot % laid.slots, None


def _in_order(times: pd.Series, person: Array) -> pd.Series:
    """Each person's times, earliest first; missing ones stay where they are."""
    known = times.notna().to_numpy()
    held = times.to_numpy(dtype=float)
    order = np.lexsort((held[known], person[known]))
    held[known] = held[known][order]
    return pd.Series(held)
