"""Cells with who is behind them, and the atoms of several tables, computed from rows by DuckDB.

Guarantees: rows, conditions and groups are those that a release's request would have, but for rows beyond the privacy
unit's bound: without noise nothing has to be bounded, and a notebook's own frame has them too. Every number is exact
but for the last digits of sums of fractions. What comes out is for the rules and for output checkers only.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import duckdb

from tre.rules.disclosure.cells import TOTAL, Group, Key, Measured, Table, Total, What
from tre.rules.disclosure.differencing import Atom
from tre.rules.schema import ORDER, PERSON
from tre.statistics.aggregate import known
from tre.statistics.declared import Declared
from tre.statistics.kinds import Quantile
from tre.statistics.prepare import Scope
from tre.statistics.printing import keys
from tre.statistics.sql import literal, quote

# Of one person, by size: more than any rule asks for.
LARGEST = 10
_VALUE, _OF = "tre:v{}", "tre:of{}"


def cells(connection: duckdb.DuckDBPyConnection, declared: Declared, scope: Scope) -> Table:
    """The whole table, nothing suppressed. Groups for a missing key are there when somebody is in them."""
    by = declared.by
    subsets = [by] if not declared.totals else [s for n in range(len(by) + 1) for s in itertools.combinations(by, n)]
    found: dict[tuple[Key, ...], Group] = {}
    for subset in subsets:
        found |= _by(connection, declared, scope, subset)
    groups = [found.get(k) or _empty(k, declared) for k in keys(declared, scope)]
    there = [g for g in groups if g.people or not any(k is None for k in g.keys)]
    return Table(by=by, kinds=declared.kinds, groups=there)


def _empty(at: tuple[Key, ...], declared: Declared) -> Group:
    counts = (What.COUNT, What.PEOPLE, What.SUM)
    measured = {name: Measured(value=0 if k in counts else None, people=0) for name, k in declared.kinds.items()}
    return Group(keys=at, rows=0, people=0, measured=measured)


def _by(
    connection: duckdb.DuckDBPyConnection, declared: Declared, scope: Scope, by: tuple[str, ...]
) -> dict[tuple[Key, ...], Group]:
    """One query: first what each person adds to each group, then who is in each group."""
    listed = [quote(c) for c in by]
    columns = [(i, s.column) for i, s in enumerate(declared.statistics.values()) if hasattr(s, "column")]
    values = [f"{_value(c)} AS {quote(_VALUE.format(i))}" for i, c in columns]
    source = f"SELECT {', '.join([PERSON, *listed, *values])} FROM ({rows(scope)})"
    each, all_ = ["count(*) AS r"], ["count(*)", "sum(r)"]
    spread: list[str] = []
    for i, _ in columns:
        v, of = quote(_VALUE.format(i)), quote(_OF.format(i))
        s = quote(f"tre:s{i}")
        each += [
            f"sum({v}) AS {s}",
            f"count({v}) AS {of}",
            f"max({v}) AS {quote(f'tre:x{i}')}",
            f"min({v}) AS {quote(f'tre:m{i}')}",
        ]
        all_ += [
            f"sum({s})", f"sum({of})", f"count(*) FILTER (WHERE {of} > 0)",
            f"max(abs({s}), {LARGEST}) FILTER (WHERE {of} > 0)", f"sum(abs({s}))",
            f"count(*) FILTER (WHERE {quote(f'tre:x{i}')} > 0)", f"count(*) FILTER (WHERE {quote(f'tre:m{i}')} <= 0)",
        ]  # fmt: skip
        statistic = list(declared.statistics.values())[i]
        p = statistic.probability if isinstance(statistic, Quantile) else 0.5
        spread += [f"stddev_pop({v})", f"quantile_cont({v}, {p!r})"]
    group = f" GROUP BY {', '.join(listed)}" if listed else ""
    people = f"SELECT {', '.join([PERSON, *listed, *each])} FROM ({source}) GROUP BY {', '.join([PERSON, *listed])}"
    first = connection.execute(f"SELECT {', '.join([*listed, *all_])} FROM ({people}){group}").fetchall()
    second: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    if spread:
        fetched = connection.execute(f"SELECT {', '.join([*listed, *spread])} FROM ({source}){group}").fetchall()
        second = {row[: len(by)]: row[len(by) :] for row in fetched}
    found = {}
    for row in first:
        at, behind = row[: len(by)], row[len(by) :]
        if not behind[0]:
            continue
        chosen = iter(at)
        full = tuple(next(chosen) if c in by else TOTAL for c in declared.by)
        found[full] = _group(full, behind, second.get(at, ()), declared, [i for i, _ in columns])
    return found


def _group(
    at: tuple[Key, ...], behind: Sequence[Any], spread: Sequence[Any], declared: Declared, columns: Sequence[int]
) -> Group:
    people, count = int(behind[0]), int(behind[1])
    measured = {}
    for i, (name, kind) in enumerate(declared.kinds.items()):
        if i not in columns:
            measured[name] = Measured(value=count if kind is What.COUNT else people, people=people)
            continue
        j = columns.index(i)
        total, n, having, largest, size, some, none = behind[2 + 7 * j : 9 + 7 * j]
        std, quantile = spread[2 * j : 2 * j + 2]
        value = {
            What.SUM: total or 0, What.STD: std, What.QUANTILE: quantile,
        }.get(kind, total / n if n else None)  # fmt: skip
        measured[name] = Measured(
            value=value,
            people=int(having),
            largest=tuple(largest or ()),
            total=float(size or 0),
            parts=(int(some), int(none)) if kind is What.SHARE else None,
        )
    return Group(keys=at, rows=count, people=people, measured=measured)


def _value(column: str) -> str:
    """As a number; NULL where there is none."""
    cast = f"TRY_CAST({quote(column)} AS DOUBLE)"
    return f"CASE WHEN isfinite({cast}) THEN {cast} END"


def rows(scope: Scope) -> str:
    """Rows → derived columns, one layer each → those that the conditions and the known keys leave."""
    own = [f for f in scope.fields if f not in scope.derived]
    sql = f"SELECT {', '.join([PERSON, ORDER, *map(quote, own)])} FROM rows"
    for name, compiled in scope.derived.items():
        sql = f"SELECT *, {compiled.sql} AS {quote(name)} FROM ({sql})"
    tests = [f"({c})" for c in scope.conditions] + [known(g) for g in scope.groups.values()]
    return f"SELECT * FROM ({sql})" + (f" WHERE {' AND '.join(tests)}" if tests else "")


def atoms(
    connection: duckdb.DuckDBPyConnection,
    tables: Sequence[tuple[Scope, Sequence[tuple[Key, ...]]]],
    threshold: int,
    *,
    of_people: bool = False,
) -> list[Atom]:
    """The rows (or, `of_people`, the people) that are in the same groups of all tables, which have these groups."""
    joins, places, names = [], [], []
    for t, (scope, _) in enumerate(tables):
        mine = [
            f"{_place(g.keys, quote(g.column))} AS {quote(f'tre:p{t}_{a}')}"
            for a, g in enumerate(scope.groups.values())
        ]
        mine.append(f"1 AS {quote(f'tre:p{t}')}")
        joins.append(
            f"LEFT JOIN (SELECT {PERSON}, {ORDER}, {', '.join(mine)} FROM ({rows(scope)})) AS t{t} USING ({PERSON}, {ORDER})"
        )
        listed = ", ".join([quote(f"tre:p{t}"), *(quote(f"tre:p{t}_{a}") for a in range(len(scope.groups)))])
        names.append(quote(f"tre:s{t}"))
        places.append(f"CASE WHEN {quote(f'tre:p{t}')} = 1 THEN [{listed}] END AS {names[-1]}")
    base = f"SELECT {PERSON}, {', '.join(places)} FROM (SELECT {PERSON}, {ORDER} FROM rows) AS r {' '.join(joins)}"
    if of_people:
        gathered = [f"list_sort(list(DISTINCT {n}) FILTER (WHERE {n} IS NOT NULL)) AS {n}" for n in names]
        base = f"SELECT {PERSON}, {', '.join(gathered)} FROM ({base}) GROUP BY {PERSON}"
    distinct = f"SELECT DISTINCT {PERSON}, {', '.join(names)} FROM ({base})"
    listed = ", ".join(names)
    fetched = connection.execute(
        f"SELECT {listed}, min({PERSON}, {threshold}) FROM ({distinct}) GROUP BY {listed}"
    ).fetchall()
    lookup = [_lookup(scope, groups) for scope, groups in tables]
    found = []
    for *at, people in fetched:
        inside = tuple(_groups(lookup[t], place, of_people=of_people) for t, place in enumerate(at))
        if any(inside):
            found.append(Atom(inside, frozenset(people)))
    return found


def _place(of: Sequence[Any], column: str) -> str:
    """A key's place in the list of keys; -1 for missing."""
    there = [k for k in of if k is not None]
    if not there:
        return "-1"
    position = f"list_position([{', '.join(map(literal, there))}], {column})"
    return f"CASE WHEN {column} IS NULL THEN -1 ELSE {position} - 1 END"


Lookup = dict[tuple[int, ...], frozenset[int]]


def _lookup(scope: Scope, groups: Sequence[tuple[Key, ...]]) -> Lookup:
    """By the places of all keys: the groups that such a row is in, totals among them."""
    at: dict[tuple[Key, ...], int] = {k: i for i, k in enumerate(groups)}
    axes = []
    for group in scope.groups.values():
        there = [k for k in group.keys if k is not None]
        axes.append([(-1, None), *enumerate(there)])
    found: dict[tuple[int, ...], set[int]] = defaultdict(set)
    for combination in itertools.product(*axes):
        place, exact = tuple(p for p, _ in combination), [k for _, k in combination]
        for choice in itertools.product(*([k, TOTAL] for k in exact)) if exact else [()]:
            index = at.get(tuple(choice))
            if index is not None:
                found[place].add(index)
    return {place: frozenset(of) for place, of in found.items()}


def _groups(lookup: Lookup, place: Any, *, of_people: bool) -> frozenset[int]:
    if place is None:
        return frozenset()
    several = place if of_people else [place]
    return frozenset(itertools.chain.from_iterable(lookup.get(tuple(p[1:]), ()) for p in several))


def is_total(at: tuple[Key, ...]) -> bool:
    return any(isinstance(k, Total) for k in at)
