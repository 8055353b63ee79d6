"""A twin whose columns, one by one, look like the real ones: noisy counts first, then rows made from nothing else.

Guarantees:
- `measure` is the only function here that reads data. It counts rows in cells that are a function of the declared schema,
  over at most `unit.max_rows` rows of each person, and gives out the counts with noise of statistics.noise and nothing
  else of the data. All margins together cost at most `rho_units`, which the caller has charged before.
- `sample_plausible` sees the noisy margins and the schema: post-processing, free of any further cost, repeatable by seed.
Sensitivity (L2, one person added or removed): a person's k = max_rows rows may all be in one cell, so k for a column's
counts; in the number of persons by their number of rows, one cell changes by one, so 1.
Not guaranteed: anything between columns (they are drawn independently), and rare cells, which drown in noise and are set to
zero where nothing distinguishes them from it. Not measured: the person's field, free text, and numbers or dates without
both bounds. Not done here: charging (secure.ledger).
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Literal

import duckdb
import numpy as np
import pandas as pd

from tre.errors import DataError
from tre.rules.accounting import share
from tre.rules.schema import ORDER, PERSON, Closed, FieldType, Name, SchemaField, TableSchema
from tre.secure.data.twin_shape import needed, range_of, shape, values_of
from tre.statistics.noise import gaussian
from tre.statistics.sql import literal, quote

LINEAR_BINS = 12
GROWING_BINS = 10
DATE_BINS = 24
FEWEST_PEOPLE = 10

# Beside the fields' margins: how many persons have 1, 2, … rows. No field can have this name.
PEOPLE = "tre_people"


class Cells(Closed):
    """The public part of a margin. Bins hold from one edge to below the next, the last edge included; dates are in days
    since 1970-01-01. `missing` says that a last count, of rows without a value, follows."""

    field: Name
    kind: Literal["categories", "bins", "dates"]
    categories: tuple[bool | int | str, ...] = ()
    edges: tuple[float, ...] = ()
    missing: bool = False

    @property
    def size(self) -> int:
        return (len(self.categories) or len(self.edges) - 1) + self.missing


class Margin(Closed):
    """A margin's cells, their noisy counts in the same order, and the noise's standard deviation in each."""

    cells: Cells
    counts: tuple[int, ...]
    sigma: float


class Margins(Closed):
    """All that is ever learnt for a plausible twin. `rows` is noisy too: it follows from `people`."""

    rho_units: int
    rows: int
    people: Margin
    fields: tuple[Margin, ...]


# Public: which cells a schema has


def cells_of(schema: TableSchema) -> tuple[Cells, ...]:
    """The measured margins of a schema: persons by number of rows first, then the fields that have declared values."""
    edges = _edges(1, schema.unit.max_rows, 1.0, whole=True)
    fields = [f for f in schema.fields if f.name != schema.unit.field]
    margins = [c for f in fields if (c := _field_cells(f, schema)) is not None]
    return (Cells(field=PEOPLE, kind="bins", edges=edges), *margins)


def _field_cells(field: SchemaField, schema: TableSchema) -> Cells | None:
    missing = not needed(field, schema)
    values = values_of(field)
    if values is not None:
        return Cells(field=field.name, kind="categories", categories=values, missing=missing)
    if field.type is FieldType.STRING or field.constraints.minimum is None or field.constraints.maximum is None:
        return None
    low, high = range_of(field)
    if field.type is FieldType.DATE:
        width = max(1, math.ceil((high + 1 - low) / DATE_BINS))
        dates = (*range(int(low), int(high) + 1, width), high + 1)
        return Cells(field=field.name, kind="dates", edges=tuple(float(d) for d in dates), missing=missing)
    whole = field.type is FieldType.INTEGER
    return Cells(
        field=field.name, kind="bins", edges=_edges(low, high, field.grid or 1.0, whole=whole), missing=missing
    )


def _edges(low: float, high: float, grid: float, *, whole: bool) -> tuple[float, ...]:
    """Equal bins and growing bins together: fine near the lower bound, where visits and sums of money crowd, and even
    beyond. Whole numbers end one after the last, so that every bin holds as many numbers as it is wide."""
    end = high + 1 if whole else high
    linear = np.linspace(low, end, LINEAR_BINS + 1)
    growing = low + np.geomspace(min(grid, end - low), end - low, GROWING_BINS)
    edges = np.unique(np.concatenate([linear, growing]))
    if whole:
        edges = np.unique(np.concatenate([[math.ceil(low)], np.clip(np.round(edges), low, end), [math.floor(end)]]))
    else:
        edges = np.unique(np.round(edges, 9))
        edges[0], edges[-1] = low, high
    return tuple(float(e) for e in edges)


# Secret: what is in the cells


def exact_counts(parquet: Path, schema: TableSchema) -> dict[str, tuple[int, ...]]:
    """The counts without noise, by margin. They are as secret as the rows: only `measure` may use them, and tests."""
    connection = duckdb.connect(":memory:", config={"memory_limit": "1GB"})
    try:
        return {c.field: _count(connection, parquet, schema, c) for c in cells_of(schema)}
    except duckdb.Error:
        pass  # raised below, so that DuckDB's text, which can quote values, is not even chained to the error
    finally:
        connection.close()
    raise DataError(
        "measure_failed", "The margins could not be counted.", "Check the dataset's file and ingest it again."
    )


def _count(connection: duckdb.DuckDBPyConnection, parquet: Path, schema: TableSchema, cells: Cells) -> tuple[int, ...]:
    bounded = f"SELECT * FROM read_parquet({literal(str(parquet))}) WHERE {ORDER} < {schema.unit.max_rows}"
    if cells.field == PEOPLE:
        bounded = f"SELECT count(*) AS {PEOPLE} FROM ({bounded}) GROUP BY {PERSON}"
    sql = f"SELECT {cell_number(cells)} AS cell, count(*) FROM ({bounded}) GROUP BY cell"
    found = dict(connection.execute(sql).fetchall())
    return tuple(int(found.get(i, 0)) for i in range(cells.size))


def cell_number(cells: Cells) -> str:
    """SQL for the number of a row's cell; NULL, and so not counted, for what the schema says cannot be."""
    value = quote(cells.field)
    absent = f"WHEN {value} IS NULL THEN {cells.size - 1 if cells.missing else 'NULL'}"
    if cells.kind == "categories":
        whens = " ".join(f"WHEN {value} = {literal(v)} THEN {i}" for i, v in enumerate(cells.categories))
        return f"CASE {absent} {whens} END"
    if cells.kind == "dates":
        value = f"({value} - DATE '1970-01-01')"
    # The first and last bins are open outwards: every value is in exactly one cell, whatever it is.
    whens = " ".join(f"WHEN {value} < {literal(e)} THEN {i}" for i, e in enumerate(cells.edges[1:-1]))
    return f"CASE {absent} {whens} ELSE {len(cells.edges) - 2} END"


def measure(parquet: Path, schema: TableSchema, *, rho_units: int) -> Margins:
    """Noisy margins for `rho_units`, equally shared. The caller has charged them. Raises ValueError if they are too few."""
    cells, exact = cells_of(schema), exact_counts(parquet, schema)
    each = share(rho_units, len(cells))
    drawn = []
    for c in cells:
        sensitivity = 1 if c.field == PEOPLE else schema.unit.max_rows
        noisy = gaussian(exact[c.field], sensitivity=sensitivity, rho_units=each)
        drawn.append(Margin(cells=c, counts=noisy.values, sigma=noisy.sigma))
    people, *fields = drawn
    return Margins(rho_units=rho_units, rows=_rows(people), people=people, fields=tuple(fields))


# Public again: rows from noisy counts


def _persons(people: Margin) -> int:
    """The sum of noisy counts is the best guess at their number; a twin of nearly nobody would be no use."""
    return max(FEWEST_PEOPLE, sum(people.counts))


def _rows(people: Margin) -> int:
    """Rows of all persons together, each bin at its middle."""
    edges, persons = np.array(people.cells.edges), _persons(people)
    return round(persons * float(np.dot(shares_of(people, persons), (edges[:-1] + edges[1:] - 1) / 2)))


def sample_plausible(margins: Margins, schema: TableSchema, *, seed: int) -> pd.DataFrame:
    """As many persons as the margins say, with values of each column drawn on its own."""
    rng = np.random.default_rng(seed)
    counts = _rows_per_person(margins.people, rng)
    n = int(counts.sum())
    drawn = {m.cells.field: _draw(m, schema.field(m.cells.field), n, margins.rows, rng) for m in margins.fields}
    weights = {m.cells.field: _weights(m, schema.field(m.cells.field), margins.rows) for m in margins.fields}
    return shape(drawn, schema, counts, rng, weights={name: w for name, w in weights.items() if w is not None})


def _rows_per_person(people: Margin, rng: np.random.Generator) -> np.ndarray[Any, Any]:
    persons = _persons(people)
    shares = shares_of(people, persons)
    low, high = (np.array(people.cells.edges[i : len(people.cells.edges) - 1 + i]) for i in (0, 1))
    index = rng.permuted(np.repeat(np.arange(len(shares)), _whole(shares * persons)))
    return np.asarray(rng.integers(low[index].astype(int), high[index].astype(int)))


def _draw(margin: Margin, field: SchemaField, n: int, rows: int, rng: np.random.Generator) -> pd.Series:
    """`n` values with the margin's shares."""
    index = np.repeat(np.arange(margin.cells.size), _whole(shares_of(margin, rows) * n))
    return values(margin.cells, field, rng.permuted(index), rng)


def values(cells: Cells, field: SchemaField, index: np.ndarray[Any, Any], rng: np.random.Generator) -> pd.Series:
    """A value in each of these cells: any point of the field's grid that is in the bin; None where it is that of missing
    values."""
    if cells.kind == "categories":
        known = np.array([*cells.categories, *([None] * cells.missing)], dtype=object)
        return pd.Series(known[index], dtype=object)
    edges = np.array(cells.edges)
    at = np.minimum(index, len(edges) - 2)
    low, grid = range_of(field)[0], 1.0 if field.type is FieldType.DATE else field.grid or 1.0
    # Points are numbered from the lower bound, as the repair counts them; the last bin of numbers has its upper edge.
    first = np.ceil(np.round((edges - low) / grid, 6))
    begin, end = first[:-1], first[1:]
    end[-1] += field.type is FieldType.NUMBER
    drawn = low + (begin[at] + np.floor(rng.random(len(at)) * np.maximum(end - begin, 1)[at])) * grid
    return pd.Series(np.where(index >= len(edges) - 1, np.nan, drawn))


def _weights(margin: Margin, field: SchemaField, rows: int) -> np.ndarray[Any, Any] | None:
    """For a column of the key: how often each of its values is to be dealt."""
    shares = shares_of(margin, rows)
    if margin.cells.kind == "categories":
        return shares[: len(margin.cells.categories)]
    if field.type is not FieldType.INTEGER or margin.cells.edges[-1] - margin.cells.edges[0] > 10_000:
        return None
    widths = np.diff(np.array(margin.cells.edges)).astype(int)
    return np.repeat(shares[: len(widths)] / widths, widths)


def shares_of(margin: Margin, total: int) -> np.ndarray[Any, Any]:
    """The counts nearest to the noisy ones that are not negative and add up to `total`, as shares of it."""
    counts = _plain(margin)
    kept = counts > 0
    if not kept.any():
        return np.full(len(counts), 1 / len(counts))
    # Projection onto the simplex: the same amount off every cell that stays above zero.
    falling = np.sort(counts[kept])[::-1]
    surplus = (np.cumsum(falling) - max(1, total)) / np.arange(1, len(falling) + 1)
    off = surplus[np.flatnonzero(falling > surplus)[-1]]
    counts = np.where(kept, np.maximum(counts - off, 0), 0)
    return np.asarray(counts / counts.sum())


def _plain(margin: Margin) -> np.ndarray[Any, Any]:
    """Noisy counts; in bins, those within three standard deviations of zero are taken for zero, but beside a plain one.

    Of a wide range most bins are empty, and noise left in them would be people with extreme values. Categories are kept,
    so that code meets them.
    """
    counts = np.array(margin.counts, dtype=float)
    plain = counts >= 3 * margin.sigma
    if margin.cells.kind == "categories" or not plain.any():
        return counts
    beside = np.pad(plain, 1)[:-2] | np.pad(plain, 1)[2:]
    if plain.sum() == 1 and margin.cells.field != PEOPLE:  # a column that never varies is no practice for anyone
        counts = np.where(beside, np.maximum(counts, margin.sigma), counts)
    return np.where(plain | beside, counts, 0)


def _whole(wanted: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Whole numbers with the same (rounded) total: largest remainders are rounded up."""
    floor = np.floor(wanted).astype(int)
    short = round(float(wanted.sum())) - int(floor.sum())
    floor[np.argsort(floor - wanted, kind="stable")[:short]] += 1
    return np.asarray(floor)
