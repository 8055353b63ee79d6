"""Small tables with their contributors, from rows written by hand: what trusted code computes in SQL, in plain Python."""

from collections import defaultdict
from itertools import product

from tre.rules.disclosure.cells import TOTAL, Group, Measured, Table, What
from tre.rules.disclosure.differencing import Atom, Printed


def table(rows, by, *, totals=False, hidden=(), **kinds):
    """`rows`: (person, {column: value}); `kinds`: name="count", or name=("sum", "column")."""
    kinds = {n: (What(k), None) if isinstance(k, str) else (What(k[0]), k[1]) for n, k in kinds.items()}
    keys = [sorted({r[c] for _, r in rows}) + ([TOTAL] if totals else []) for c in by]
    groups = [_group(rows, by, at, kinds) for at in product(*keys)]
    return Table(by=tuple(by), kinds={n: k for n, (k, _) in kinds.items()}, groups=groups, hidden=frozenset(hidden))


def inside(row, by, at):
    return all(k is TOTAL or row[c] == k for c, k in zip(by, at, strict=True))


def _group(rows, by, at, kinds):
    mine = [(p, r) for p, r in rows if inside(r, by, at)]
    return Group(
        keys=tuple(at),
        rows=len(mine),
        people=len({p for p, _ in mine}),
        measured={n: _measured(mine, kind, column) for n, (kind, column) in kinds.items()},
    )


def _measured(rows, kind, column):
    if column is None:
        people = len({p for p, _ in rows})
        return Measured(value=people if kind is What.PEOPLE else len(rows), people=people)
    there = [(p, r[column]) for p, r in rows if r[column] is not None]
    by_person = defaultdict(float)
    for p, v in there:
        by_person[p] += abs(v)
    parts = None
    if kind is What.SHARE:
        parts = tuple(len({p for p, v in there if bool(v) is wanted}) for wanted in (True, False))
    values = [v for _, v in there]
    value = {What.SUM: sum(values), What.QUANTILE: sorted(values)[len(values) // 2] if values else None}.get(
        kind, sum(values) / len(values) if values else None
    )
    return Measured(
        value=value,
        people=len(by_person),
        largest=tuple(sorted(by_person.values(), reverse=True)[:10]),
        total=sum(by_person.values()),
        parts=parts,
    )


def atoms(rows, tables):
    """The universe of rows, cut by (by, keys of the groups, filter) of each table."""
    found = defaultdict(set)
    for person, row in rows:
        at = tuple(
            frozenset(i for i, keys in enumerate(groups) if where(row) and inside(row, by, keys))
            for by, groups, where in tables
        )
        found[at].add(person)
    return [Atom(at, frozenset(people)) for at, people in found.items()]


def printed(name, by, keys, *, release=None, shown=None, rounded=False):
    return Printed(
        output=name, release=release, by=tuple(by), keys=keys, rounded=rounded,
        shown=frozenset(range(len(keys)) if shown is None else shown),
        totals=frozenset(i for i, k in enumerate(keys) if TOTAL in k),
    )  # fmt: skip


def people(**sizes):
    """So many people for each class, one row each: people(a=12, b=3) has a column `class`."""
    numbered = enumerate(c for c, n in sizes.items() for _ in range(n))
    return [(i, {"class": c}) for i, c in numbered]
