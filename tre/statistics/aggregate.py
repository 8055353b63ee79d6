"""Exact whole-number vectors from rows, by DuckDB.

Guarantees: a person's rows beyond the privacy unit's bound are left out before anything else; every sum is of whole
numbers in a range fixed beforehand, added in 128 bits; a row whose key is not among the public keys counts nowhere.
Nothing here has noise: the result must go to statistics.noise and nowhere else.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from pathlib import Path

import duckdb

from tre.rules.schema import ORDER, PERSON
from tre.statistics.prepare import Component, Group, Measure, Prepared
from tre.statistics.request import Key
from tre.statistics.sql import literal, quote

Exact = Mapping[Component, tuple[int, ...]]


def open_rows(parquet: Path, *, memory_mb: int = 4096) -> duckdb.DuckDBPyConnection:
    """A database whose only table, `rows`, is this file, and which can reach nothing else."""
    connection = duckdb.connect(":memory:")
    connection.execute(f"SET memory_limit = '{memory_mb}MB'")
    connection.execute("SET allowed_paths = [" + literal(str(parquet)) + "]")
    connection.execute("SET enable_external_access = false")
    connection.execute(f"CREATE VIEW rows AS SELECT * FROM read_parquet({literal(str(parquet))})")
    connection.execute("SET lock_configuration = true")
    return connection


def exact(connection: duckdb.DuckDBPyConnection, prepared: Prepared) -> Exact:
    """Every component's vector: for each key in order (times its bins), a Python integer."""
    plain = [c for c in prepared.components if c.measure is not Measure.BINS]
    vectors: dict[Component, tuple[int, ...]] = {}
    if plain:
        vectors |= _plain(connection, prepared, plain)
    for component in prepared.components:
        if component.measure is Measure.BINS:
            vectors[component] = _binned(connection, prepared, component)
    return vectors


def _plain(
    connection: duckdb.DuckDBPyConnection, prepared: Prepared, components: Sequence[Component]
) -> dict[Component, tuple[int, ...]]:
    numbers = _numbers(components)
    wanted = ", ".join(_aggregate(c, numbers) for c in components)
    rows = connection.execute(_query(prepared, numbers, wanted)).fetchall()
    return {c: _dense(prepared.groups, rows, i) for i, c in enumerate(components)}


def _binned(connection: duckdb.DuckDBPyConnection, prepared: Prepared, component: Component) -> tuple[int, ...]:
    numbers = _numbers([component])
    rows = connection.execute(_query(prepared, numbers, "count(*)", binned=True)).fetchall()
    bins = Group(column="", keys=tuple(range(component.bins)))
    return _dense((*prepared.groups, bins), rows, 0)


def _numbers(components: Sequence[Component]) -> dict[Component, str]:
    """A name, which no request can spell, for the whole-number column behind each component that has one.

    Where a number is summed, its presence is counted on the same column: it is NULL in the same rows.
    """
    names = {c: quote(f"tre:v{i}") for i, c in enumerate(components) if c.grid is not None}
    summed = {c.column: name for c, name in names.items() if c.measure is Measure.TOTAL}
    present = [c for c in components if c.measure is Measure.PRESENT]
    return names | {c: summed.get(c.column, quote(f"tre:p:{c.column}")) for c in present}


def _aggregate(component: Component, numbers: Mapping[Component, str]) -> str:
    match component.measure:
        case Measure.ROWS:
            return "count(*)"
        case Measure.PEOPLE:
            return f"count(DISTINCT {PERSON})"
        case Measure.PRESENT:
            return f"count({numbers[component]})"
        case _:
            return f"coalesce(sum({numbers[component]}), 0)"


def _query(prepared: Prepared, numbers: Mapping[Component, str], wanted: str, *, binned: bool = False) -> str:
    """bounded rows → derived columns, one layer each → filter → whole numbers → groups."""
    # Named one by one: a file holds more columns than a project may see.
    seen = ", ".join([PERSON, *map(quote, prepared.columns)])
    sql = f"SELECT {seen} FROM rows WHERE {ORDER} < {prepared.max_rows}"
    for name, expression in prepared.derived:
        sql = f"SELECT *, {expression} AS {quote(name)} FROM ({sql})"
    tests = [f"coalesce({c}, FALSE)" for c in prepared.conditions] + [_known(g) for g in prepared.groups]
    keys = [quote(g.column) for g in prepared.groups]
    wholes: dict[str, str] = {}
    for component, name in numbers.items():
        wholes.setdefault(name, _whole(component))  # sums come first: see _numbers
    columns = [PERSON, *keys, *(f"{whole} AS {name}" for name, whole in wholes.items())]
    where = f" WHERE {' AND '.join(tests)}" if tests else ""
    sql = f"SELECT {', '.join(dict.fromkeys(columns))} FROM ({sql}){where}"
    if binned:
        (name,) = numbers.values()
        sql = f"SELECT * FROM ({sql}) WHERE {name} IS NOT NULL"
        keys.append(name)
    if not keys:
        return f"SELECT {wanted} FROM ({sql})"
    return f"SELECT {', '.join([*keys, wanted])} FROM ({sql}) GROUP BY {', '.join(keys)}"


def _known(group: Group) -> str:
    values = [k for k in group.keys if k is not None]
    test = f"{quote(group.column)} IN ({', '.join(literal(v) for v in values)})" if values else "FALSE"
    return f"({test} OR {quote(group.column)} IS NULL)" if None in group.keys else f"coalesce({test}, FALSE)"


def _whole(component: Component) -> str:
    """The number as steps from the centre, or as its bin; NULL where it is missing or not finite."""
    number = f"TRY_CAST({quote(component.column or '')} AS DOUBLE)"
    grid = component.grid
    if grid is None:
        return f"CASE WHEN isfinite({number}) THEN 1 END"
    clamped = f"greatest(least({number}, {_double(grid.high)}), {_double(grid.low)})"
    if component.measure is Measure.BINS:
        width = (grid.high - grid.low) / component.bins
        steps, low, high = f"floor(({clamped} - {_double(grid.low)}) / {_double(width)})", 0, component.bins - 1
    else:
        steps = f"round(({clamped} - {_double(grid.centre)}) / {_double(grid.step)})"
        low, high = -grid.largest, grid.largest
    # Clamped again, as doubles that are whole numbers well below 2^53, before they are cast: a cast that could fail on a
    # value would be an answer. The sensitivity then holds whatever floating point did before.
    whole = f"CAST(greatest(least({steps}, {_double(float(high))}), {_double(float(low))}) AS BIGINT)"
    if component.measure is Measure.SQUARES:
        whole = f"(2 * {whole} * {whole} - {grid.largest**2})"
    return f"CASE WHEN isfinite({number}) THEN {whole} END"


def _double(value: float) -> str:
    return f"CAST({value!r} AS DOUBLE)"


def _dense(groups: Sequence[Group], rows: Sequence[tuple[object, ...]], which: int) -> tuple[int, ...]:
    """Rows of (keys…, numbers…) as a vector over all keys, 0 where a key has no row."""
    width = len(groups)
    found: dict[tuple[object, ...], int] = {row[:width]: int(row[width + which]) for row in rows}  # type: ignore[call-overload]
    every: itertools.product[tuple[Key, ...]] = itertools.product(*(g.keys for g in groups))
    return tuple(found.get(key, 0) for key in every)
