"""Exact whole-number vectors from rows, by DuckDB.

Guarantees: a person's rows beyond the privacy unit's bound are left out before anything else; every sum is of whole
numbers in a range fixed beforehand, added in 128 bits; a row whose key is not among the public keys counts nowhere.
Nothing here has noise: the result must go to statistics.noise and nowhere else.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb
import numpy as np

from tre.rules.schema import ORDER, PERSON
from tre.statistics import linking
from tre.statistics.components import ADDITIVE, Component, Factor, Group, Measure
from tre.statistics.linking import Link
from tre.statistics.prepare import MAX_CELLS, MAX_TOTAL, Prepared
from tre.statistics.sql import literal, quote

Exact = Mapping[Component, tuple[int, ...]]
By = tuple[str, ...]
Rows = Sequence[tuple[object, ...]]


def open_rows(
    parquet: Path, *, link: Link | None = None, by_identifier: bool = False, memory_mb: int = 4096
) -> duckdb.DuckDBPyConnection:
    """A database whose only table, `rows`, is this file (or its join with another), and which can reach nothing else."""
    connection = duckdb.connect(":memory:")
    connection.execute(f"SET memory_limit = '{memory_mb}MB'")
    paths = [parquet] if link is None else [parquet, link.parquet]
    connection.execute("SET allowed_paths = [" + ", ".join(literal(str(p)) for p in paths) + "]")
    connection.execute("SET enable_external_access = false")
    single = f"SELECT * FROM read_parquet({literal(str(parquet))})"
    pairs = single if link is None else linking.source(parquet, link, by_identifier=by_identifier)
    connection.execute(f"CREATE VIEW rows AS {pairs}")
    connection.execute("SET lock_configuration = true")
    return connection


def exact(connection: duckdb.DuckDBPyConnection, prepared: Prepared) -> Exact:
    """Every component's vector but those of steps: for each key in order (times its bins), a Python integer."""
    additive = [c for c in prepared.components if c.measure in ADDITIVE]
    vectors = _additive(connection, prepared, additive)
    found: dict[object, tuple[int, ...]] = {}
    for c in prepared.components:
        if c.measure is Measure.PEOPLE:
            rows = _fetch(connection, prepared, c.by, [], f"count(DISTINCT {PERSON})")
            vectors[c] = _dense(prepared, c.by, rows, 1)[0]
        elif c.measure in (Measure.BINS, Measure.RANKS, Measure.EVENTS):
            same = (c.by, c.given, c.bins, c.event)  # several quantiles of one number are of one count of bins
            if same not in found:
                found[same] = _binned(connection, prepared, c)
            vectors[c] = found[same]
    return vectors


# Sums: one pass over the rows, by all the groups that are needed, where these are not too many together


def _additive(
    connection: duckdb.DuckDBPyConnection, prepared: Prepared, components: Sequence[Component]
) -> dict[Component, tuple[int, ...]]:
    union = tuple(g for g in prepared.groups if any(g in c.by for c in components))
    size = math.prod(prepared.sizes[g] for g in union)
    together = size <= MAX_CELLS and size * len(components) <= MAX_TOTAL
    vectors: dict[Component, tuple[int, ...]] = {}
    for by in [union] if together else dict.fromkeys(c.by for c in components):
        mine = components if together else [c for c in components if c.by == by]
        if mine:
            wanted, columns, casts = _sums(mine)
            rows = _fetch(connection, prepared, by, columns, wanted, casts=casts)
            for c, cells in zip(mine, _dense(prepared, by, rows, len(mine)), strict=True):
                vectors[c] = _summed(prepared, cells, by, c.by)
    return vectors


def _sums(components: Sequence[Component]) -> tuple[str, list[str], list[str]]:
    """The aggregates, the whole-number columns that they are over, and those as numbers, cast once, that these are of.

    With names that no request can spell.
    """
    factors = dict.fromkeys(f for c in components for f in c.factors)
    names = {f: quote(f"tre:v{i}") for i, f in enumerate(factors)}
    numbers = {f: quote(f"tre:n{i}") for i, f in enumerate(factors) if not f.flag}
    casts = [_number(f, name) for f, name in numbers.items()]
    present = {f.column: name for f, name in names.items()}  # NULL in the same rows
    columns = [f"{_whole(f, numbers.get(f, quote(f.column)))} AS {name}" for f, name in names.items()]
    for column in dict.fromkeys(g for c in components for g in c.given):
        if column not in present:
            present[column] = quote(f"tre:p{len(present)}")
            columns.append(f"{_there(column)} AS {present[column]}")
    return ", ".join(_aggregate(c, names, present) for c in components), columns, casts


def _aggregate(component: Component, names: Mapping[Factor, str], present: Mapping[str, str]) -> str:
    where = " AND ".join(f"{present[g]} IS NOT NULL" for g in component.given)
    only = f" FILTER (WHERE {where})" if where else ""
    match component.measure:
        case Measure.ROWS:
            return "count(*)"
        case Measure.PRESENT if len(component.given) == 1:
            return f"count({present[component.given[0]]})"
        case Measure.PRESENT:
            return f"count(*){only}"
        case Measure.SQUARES:
            (factor,) = component.factors
            name = f"CAST({names[factor]} AS BIGINT)"
            return f"coalesce(sum(2 * {name} * {name} - {factor.grid.largest**2}){only}, 0)"
        case _:
            first, *more = (names[f] for f in component.factors)
            product = " * ".join([f"CAST({first} AS BIGINT)" if more else first, *more])
            return f"coalesce(sum({product}){only}, 0)"


def _summed(prepared: Prepared, cells: tuple[int, ...], by: By, onto: By) -> tuple[int, ...]:
    """The table's sums over the groups that are not in `onto`, in Python's integers."""
    if by == onto:
        return cells
    table = np.array(cells, dtype=object).reshape([prepared.sizes[g] for g in by])
    summed = table.sum(axis=tuple(i for i, g in enumerate(by) if g not in onto))
    return tuple(int(v) for v in np.asarray(summed, dtype=object).ravel())


# Counts by bin


def _binned(connection: duckdb.DuckDBPyConnection, prepared: Prepared, component: Component) -> tuple[int, ...]:
    (column,) = component.given
    bins = component.bins
    if bins is None:
        raise ValueError("a count by bins has bins")
    number, name = f"TRY_CAST({quote(column)} AS DOUBLE)", quote("tre:bin")
    bounded = f"greatest(least({number}, {_double(bins.edges[-1])}), {_double(bins.low)})"
    steps = f"({bounded} - {_double(bins.low)}) / {_double(bins.width)}"
    place = _cast(f"round({steps})" if bins.exact else f"floor({steps})", 0, bins.count - 1)
    there, width = f"isfinite({number})", bins.count
    if component.event is not None:
        event = quote(component.event)
        place, there = f"{place} + CASE WHEN {event} THEN {bins.count} ELSE 0 END", f"{there} AND {event} IS NOT NULL"
        width = 2 * bins.count
    columns = [f"CASE WHEN {there} THEN {place} END AS {name}"]
    rows = _fetch(connection, prepared, component.by, columns, "count(*)", beside=name)
    return _dense(prepared, component.by, rows, 1, Group(column="", keys=tuple(range(width))))[0]


# From rows to groups


def _fetch(
    connection: duckdb.DuckDBPyConnection,
    prepared: Prepared,
    by: By,
    columns: Sequence[str],
    wanted: str,
    *,
    casts: Sequence[str] = (),
    beside: str | None = None,
) -> Rows:
    """(keys…, aggregates…) by the groups, and by the column `beside` where it is not NULL."""
    keys = [quote(g) for g in by]
    rows = f"SELECT {', '.join(['*', *casts])} FROM ({source(prepared)})"
    sql = f"SELECT {', '.join([PERSON, *keys, *columns])} FROM ({rows})"
    if beside is not None:
        sql = f"SELECT * FROM ({sql}) WHERE {beside} IS NOT NULL"
        keys.append(beside)
    if not keys:
        return connection.execute(f"SELECT {wanted} FROM ({sql})").fetchall()
    listed = ", ".join(keys)
    return connection.execute(f"SELECT {listed}, {wanted} FROM ({sql}) GROUP BY {listed}").fetchall()


def source(prepared: Prepared, *, without: str | None = None) -> str:
    """bounded rows → derived columns, one layer each → the rows that the filter and the known keys leave.

    `without`: a group whose keys are not known yet.
    """
    # Named one by one: a file holds more columns than a project may see.
    seen = ", ".join([PERSON, *map(quote, prepared.columns)])
    sql = f"SELECT {seen} FROM rows WHERE {ORDER} < {prepared.max_rows}"
    for name, expression in prepared.derived:
        sql = f"SELECT *, {expression} AS {quote(name)} FROM ({sql})"
    # What is neither true nor false keeps no row.
    tests = [f"({c})" for c in prepared.conditions] + [
        known(g) for g in prepared.groups.values() if g.column != without
    ]
    return f"SELECT * FROM ({sql})" + (f" WHERE {' AND '.join(tests)}" if tests else "")


def known(group: Group) -> str:
    values = [k for k in group.keys if k is not None]
    test = f"{quote(group.column)} IN ({', '.join(literal(v) for v in values)})" if values else "FALSE"
    return f"({test} OR {quote(group.column)} IS NULL)" if None in group.keys else test


def _number(factor: Factor, name: str) -> str:
    return f"TRY_CAST({quote(factor.column)} AS {'BIGINT' if factor.grid.whole else 'DOUBLE'}) AS {name}"


def _whole(factor: Factor, number: str) -> str:
    """The number as steps from the centre; NULL where it is missing or not finite.

    What is at a bound or beyond it is that bound's whole number, written out; what lies between is counted by a formula
    that is monotonous, also in floating point, and so between the two. The cast cannot fail: DuckDB leaves a comparison
    out that a file's statistics seem to answer, and those know no NaN, which then comes to the cast and is NULL.
    """
    grid = factor.grid
    if factor.flag:
        return f"CASE WHEN {number} THEN 1 WHEN NOT {number} THEN -1 END"
    low, high = grid.lowest, grid.highest
    # 32-bit numbers are added twice as fast; sums have 128 bits either way.
    kind = "INTEGER" if max(-low, high) < 2**31 else "BIGINT"
    if grid.whole:
        times = round(1 / grid.step)
        steps = f"{times} * {number} - {round(grid.centre * times)}"
        ends = f"{number} >= {int(grid.high)} THEN {high} WHEN {number} <= {int(grid.low)} THEN {low}"
        return f"CASE WHEN {ends} ELSE TRY_CAST({steps} AS {kind}) END"
    steps = f"round(({number} - {_double(grid.centre)}) / {_double(grid.step)})"
    above = f"{number} >= {_double(grid.high)} THEN CASE WHEN isfinite({number}) THEN {high} END"
    below = f"{number} <= {_double(grid.low)} THEN CASE WHEN isfinite({number}) THEN {low} END"
    return f"CASE WHEN {above} WHEN {below} ELSE TRY_CAST({steps} AS {kind}) END"


def _there(column: str) -> str:
    """Not NULL where the column has a finite number, or is true or false."""
    return f"CASE WHEN isfinite(TRY_CAST({quote(column)} AS DOUBLE)) THEN 1 END"


def _cast(steps: str, low: int, high: int) -> str:
    """Clamped again, as doubles that are whole numbers well below 2^53, before they are cast: a cast that could fail on
    a value would be an answer. The sensitivity then holds whatever floating point did before."""
    return f"CAST(greatest(least({steps}, {_double(float(high))}), {_double(float(low))}) AS BIGINT)"


def _double(value: float) -> str:
    return f"CAST({value!r} AS DOUBLE)"


def _dense(prepared: Prepared, by: By, rows: Rows, count: int, *beside: Group) -> list[tuple[int, ...]]:
    """Rows of (keys…, `count` numbers…) as vectors over all keys, 0 where a key has no row."""
    groups = [*(prepared.groups[g] for g in by), *beside]
    places = [{key: i for i, key in enumerate(g.keys)} for g in groups]
    sizes = [len(g.keys) for g in groups]
    vectors = [[0] * math.prod(sizes) for _ in range(count)]
    for row in rows:
        at: int | None = 0
        for place, size, key in zip(places, sizes, row, strict=False):
            # As a double, a whole number above 2^53 is another's equal: such a row counts nowhere, and fails nothing.
            found = place.get(key)  # type: ignore[call-overload]
            at = None if found is None or at is None else at * size + found
        for vector, value in zip(vectors, row[len(groups) :], strict=True):
            if at is None:
                break
            vector[at] = int(value)  # type: ignore[call-overload]
    return [tuple(v) for v in vectors]
