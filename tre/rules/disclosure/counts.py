"""Rules about single cells of a table with its contributors: threshold, dominance, p %, degrees of freedom, zeros, class
disclosure, missing values, rounding, exact quantiles.

Guarantees: each rule looks at every printed cell and gives one finding, PASS included; a cell that is not printed is
looked at by `totals` and `differencing`, which ask whether it can be had all the same. People are counted, not rows.
Sources: SDC Handbook (SDAP 2019) for the rules, the defaults and the formula of p % as ACRO has them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator

from tre.rules.disclosure.cells import Group, Measured, Table, What
from tre.rules.disclosure.finding import Finding, Mitigate, Mitigation, Rule, Statbarn, Verdict, places
from tre.rules.policy import Disclosure, ZeroRule

SUPPRESS = Mitigation(kind=Mitigate.SUPPRESS, call=".suppress()")
ROUND = Mitigation(kind=Mitigate.ROUND, call=".round()")
NOISE = Mitigation(kind=Mitigate.NOISE, call=".noise(name, epsilon=…)")
COARSEN = Mitigation(kind=Mitigate.COARSEN, call=".group_by(…)")

Printed = tuple[int, Group, str, What, Measured]


def single(table: Table, limits: Disclosure) -> list[Finding]:
    """All rules of this module."""
    return [
        threshold(table, limits),
        dominance(table, limits),
        p_percent(table, limits),
        degrees(table, limits),
        zeros(table, limits),
        classes(table),
        missing(table, limits),
        rounding(table, limits),
        quantiles(table),
    ]


def printed(table: Table, *kinds: What) -> Iterator[Printed]:
    for i, group in enumerate(table.groups):
        for name, kind in table.kinds.items():
            if table.shown(i, name) and (not kinds or kind in kinds):
                yield i, group, name, kind, group.measured[name]


def threshold(table: Table, limits: Disclosure) -> Finding:
    """A cell of fewer than `threshold` people; of a share, also its two parts."""
    bad = [
        (i, name, min(few))
        for i, _, name, _, m in printed(table)
        if (few := [n for n in _behind(m) if 0 < n < limits.threshold])
    ]
    return _finding(
        table,
        Rule.THRESHOLD,
        bad,
        bad=f"{{}} cells are of fewer than {limits.threshold} people.",
        good=f"Every cell is of no one, or of {limits.threshold} people or more.",
        mitigations=(SUPPRESS, COARSEN, NOISE),
    )


def _behind(m: Measured) -> tuple[int, ...]:
    return (m.people,) if m.parts is None else (m.people, *m.parts)


def dominance(table: Table, limits: Disclosure) -> Finding:
    """(n, k): the n largest contributions are together at least the share k of the cell."""
    n, k = limits.dominance_n, limits.dominance_k

    def fails(m: Measured) -> bool:
        return m.total > 0 and sum(m.largest[:n]) >= k * m.total

    return _of_sums(table, Rule.DOMINANCE, fails, f"the {n} largest contributions are {k:.0%} or more of it")


def p_percent(table: Table, limits: Disclosure) -> Finding:
    """The second largest contributor could tell the largest contribution to within p %."""

    def fails(m: Measured) -> bool:
        if not m.largest or m.largest[0] <= 0:
            return False
        return m.total - sum(m.largest[:2]) < limits.p_percent * m.largest[0]

    said = f"its second largest contributor could tell the largest to within {limits.p_percent:.0%}"
    return _of_sums(table, Rule.P_PERCENT, fails, said)


def _of_sums(table: Table, rule: Rule, fails: Callable[[Measured], bool], said: str) -> Finding:
    bad = [(i, name, m.people) for i, _, name, _, m in printed(table, What.SUM, What.MEAN) if m.people and fails(m)]
    return _finding(
        table, rule, bad, bad=f"{{}} cells: {said}.", good="No sum or mean is dominated by a few people.",
        mitigations=(SUPPRESS, COARSEN, NOISE),
    )  # fmt: skip


def degrees(table: Table, limits: Disclosure) -> Finding:
    bad = [
        (i, name, m.people)
        for i, _, name, _, m in printed(table, What.STD)
        if m.people and m.people - 1 < limits.degrees_of_freedom
    ]
    return _finding(
        table, Rule.DEGREES_OF_FREEDOM, bad,
        bad=f"{{}} standard deviations have fewer than {limits.degrees_of_freedom} degrees of freedom.",
        good=f"No standard deviation has fewer than {limits.degrees_of_freedom} degrees of freedom.",
        mitigations=(SUPPRESS, COARSEN, NOISE),
    )  # fmt: skip


def zeros(table: Table, limits: Disclosure) -> Finding:
    """Nobody of a group: as the policy has it."""
    empty = [
        (i, name, 0) for i, _, name, _, m in printed(table, What.COUNT, What.PEOPLE) if m.people == 0
    ] if limits.zeros is not ZeroRule.ALLOW else []  # fmt: skip
    return _finding(
        table, Rule.ZEROS, empty, bad="{} cells say that nobody is in them.", good="No cell that may not is empty.",
        verdict=Verdict.FAIL if limits.zeros is ZeroRule.FAIL else Verdict.REVIEW, mitigations=(COARSEN, NOISE),
    )  # fmt: skip


def classes(table: Table) -> Finding:
    """All of a group are in one class, or a share is 0 or 1: what is known of the group is known of each in it."""
    bad = [
        (i, name, m.people)
        for i, _, name, _, m in printed(table, What.SHARE)
        if m.parts is not None and m.people and 0 in m.parts
    ]
    counts = [name for name, kind in table.kinds.items() if kind in (What.COUNT, What.PEOPLE)]
    for line in _lines(table):
        there = [i for i in line if table.groups[i].people]
        if len(line) > 1 and len(there) == 1:
            # That the others are empty must be printed: a cell left out may be small or none.
            bad += [
                (there[0], name, table.groups[there[0]].people)
                for name in counts
                if all(table.shown(i, name) for i in line)
            ]
    return _finding(
        table, Rule.CLASS, bad, bad="{} cells hold all of their group: what is true of it is true of each in it.",
        good="No group is all in one class.", mitigations=(COARSEN, NOISE),
    )  # fmt: skip


def _lines(table: Table) -> Iterator[list[int]]:
    """For each key column, the groups that differ in it alone."""
    for axis in range(len(table.by)):
        rest: dict[tuple[object, ...], list[int]] = {}
        for i, group in enumerate(table.groups):
            if not group.total:
                rest.setdefault((*group.keys[:axis], "|", *group.keys[axis + 1 :]), []).append(i)
        yield from rest.values()


def missing(table: Table, limits: Disclosure) -> Finding:
    """Where the policy asks: a few people of a group have no value, and the rest can be counted."""
    bad = [
        (i, name, group.people - m.people)
        for i, group, name, kind, m in printed(table)
        if limits.missing and kind not in (What.COUNT, What.PEOPLE) and 0 < group.people - m.people < limits.threshold
    ]
    return _finding(
        table, Rule.MISSING, bad, bad=f"{{}} cells leave out fewer than {limits.threshold} people who have no value.",
        good="No cell leaves out a few people for a missing value." if limits.missing else "Not asked for by the policy.",
        verdict=Verdict.REVIEW, mitigations=(SUPPRESS,),
    )  # fmt: skip


def rounding(table: Table, limits: Disclosure) -> Finding:
    """Counts are multiples of the policy's base."""
    base = limits.round_to
    bad = [
        (i, name, m.people)
        for i, _, name, _, m in printed(table, What.COUNT, What.PEOPLE)
        if base > 1 and table.rounded % base and m.value is not None and m.value % base
    ]
    good = f"Counts are rounded to {base}." if base > 1 else "The policy asks for no rounding."
    return _finding(
        table, Rule.ROUNDING, bad, bad=f"{{}} counts are not rounded to {base}.", good=good, mitigations=(ROUND, NOISE)
    )


def quantiles(table: Table) -> Finding:
    bad = [
        (i, name, m.people)
        for i, _, name, _, m in printed(table, What.QUANTILE)
        if table.rounded <= 1 and m.value is not None
    ]
    return _finding(
        table, Rule.EXTREME, bad, bad="{} exact quantiles may each be one person's value.",
        good="No exact quantile.", verdict=Verdict.REVIEW, mitigations=(ROUND, NOISE),
    )  # fmt: skip


def _finding(
    table: Table, rule: Rule, found: Iterable[tuple[int, str, int]], *, bad: str, good: str,
    verdict: Verdict = Verdict.FAIL, mitigations: tuple[Mitigation, ...] = (),
) -> Finding:  # fmt: skip
    listed = list(found)
    terms = [table.kinds[name].statbarn for _, name, _ in listed] or [k.statbarn for k in table.kinds.values()]
    term = next(iter(terms), Statbarn.FREQUENCIES)
    if not listed:
        return Finding(rule=rule, verdict=Verdict.PASS, message=good, statbarn=term)
    cells, count = places(table.place(i, name) for i, name, _ in listed)
    return Finding(
        rule=rule, verdict=verdict, message=bad.format(count), statbarn=term, cells=cells, count=count,
        people=min(p for *_, p in listed), mitigations=mitigations,
    )  # fmt: skip


def failing(findings: Iterable[Finding]) -> frozenset[tuple[int, int]]:
    """The places of all cells that some rule refuses."""
    return frozenset(
        itertools.chain.from_iterable(
            ((p.row, p.column) for p in f.cells) for f in findings if f.verdict is Verdict.FAIL
        )
    )
