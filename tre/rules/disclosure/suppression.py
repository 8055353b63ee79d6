"""Suppression and rounding: what trusted code does to a declared table before anybody sees it.

Guarantees: after `suppress`, no cell that a rule of `counts` refuses is printed, and none of those left out can be had
by subtracting what is printed from the totals of the same table: further cells are left out until neither one line nor
all lines together (linear algebra over exact fractions) tell one, and until what is left out of a line is of enough
people. What several tables tell together is `differencing`'s. A table may lose all its cells; then it says so.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction

from tre.rules.disclosure.cells import Table, Total, What
from tre.rules.disclosure.counts import failing, single
from tre.rules.disclosure.finding import Verdict
from tre.rules.policy import Disclosure

Line = tuple[int, tuple[int, ...]]  # a total's group, and the groups that add up to it
MARK = "suppressed"
# Beyond it, lines are looked at one by one only: the time would be minutes.
MAX_UNKNOWN = 400


def rounded(table: Table, base: int) -> Table:
    """Counts, and sums and the rest to as many digits, to the nearest multiple of the base."""
    return dataclasses.replace(table, rounded=max(base, 1))


def suppress(table: Table, limits: Disclosure) -> Table:
    """All statistics of a group that one of its cells fails are left out together: they have the same people behind them."""
    refused = failing(f for f in single(table, limits) if f.verdict is Verdict.FAIL)
    groups = {row for row, _ in refused}
    lines = _lines(table)
    while more := _reveals(table, lines, groups, limits.threshold):
        groups |= more
    return dataclasses.replace(table, hidden=frozenset((g, name) for g in groups for name in table.kinds))


def _reveals(table: Table, lines: Sequence[Line], hidden: set[int], threshold: int) -> set[int]:
    """One more group to leave out of each line that tells too much; empty when none does."""
    more: set[int] = set()
    for total, parts in lines:
        gone = [g for g in (total, *parts) if g in hidden]
        people = sum(table.groups[g].people for g in parts if g in hidden)
        if gone and total not in hidden and (len(gone) == 1 or 0 < people < threshold):
            more |= _smallest(table, parts, hidden) or {total}
    if more:
        return more
    for g in _determined(lines, hidden):
        for total, parts in lines:
            if g in (total, *parts):
                more |= _smallest(table, parts, hidden) or ({total} - hidden)
                if more:
                    return more
    return more


def _smallest(table: Table, parts: Sequence[int], hidden: set[int]) -> set[int]:
    left = [g for g in parts if g not in hidden and table.groups[g].people]
    return {min(left, key=lambda g: (table.groups[g].people, g))} if left else set()


def _determined(lines: Sequence[Line], hidden: set[int]) -> list[int]:
    """The hidden groups whose numbers follow from the lines: those that alone remain in some row of the reduced system."""
    unknown = sorted({g for total, parts in lines for g in (total, *parts) if g in hidden})
    if not unknown or len(unknown) > MAX_UNKNOWN:
        return []
    at = {g: i for i, g in enumerate(unknown)}
    rows = []
    for total, parts in lines:
        row = {at[g]: Fraction(1) for g in parts if g in at}
        if total in at:
            row[at[total]] = Fraction(-1)
        if row:
            rows.append(row)
    return [unknown[next(iter(row))] for row in _reduced(rows) if len(row) == 1]


def _reduced(rows: list[dict[int, Fraction]]) -> list[dict[int, Fraction]]:
    """Gauss and Jordan, on sparse rows."""
    done: dict[int, dict[int, Fraction]] = {}
    for row in rows:
        left = dict(row)
        for pivot in [p for p in left if p in done]:
            _subtract(left, done[pivot], left.get(pivot, Fraction(0)))
        if not left:
            continue
        pivot = min(left)
        left = {c: v / left[pivot] for c, v in left.items()}
        for other in done.values():
            if pivot in other:
                _subtract(other, left, other[pivot])
        done[pivot] = left
    return list(done.values())


def _subtract(row: dict[int, Fraction], other: dict[int, Fraction], times: Fraction) -> None:
    for column, value in other.items():
        new = row.get(column, Fraction(0)) - times * value
        if new:
            row[column] = new
        else:
            row.pop(column, None)


def _lines(table: Table) -> list[Line]:
    """Each total with the groups that it is the total of, along one key. Of people they add up only where rows do."""
    if not any(kind.adds_up or kind is What.PEOPLE for kind in table.kinds.values()):
        return []
    at = {tuple(map(_known, g.keys)): i for i, g in enumerate(table.groups)}
    found: dict[int, dict[int, list[int]]] = defaultdict(lambda: defaultdict(list))
    for i, group in enumerate(table.groups):
        for axis, key in enumerate(group.keys):
            if isinstance(key, Total):
                continue
            above = tuple(None if a == axis else _known(k) for a, k in enumerate(group.keys))
            if above in at:
                found[at[above]][axis].append(i)
    return [(total, tuple(parts)) for total, axes in found.items() for parts in axes.values()]


def _known(key: object) -> tuple[str, str] | None:
    """A key to look up by: of a total None, so that no text can be taken for one."""
    return None if isinstance(key, Total) else (type(key).__name__, str(key))
