"""Differencing: what printed cells of several tables, put together by plus and minus, tell about few people.

The universe is cut into *atoms*: all rows (or all people) that are in the same groups of all the tables. A cell is then a
set of atoms, kept as the bits of a whole number; that one set lies within another, and what is left, are two operations.

Guarantees, for every new cell: found are all differences of two printed cells of which one lies within the other, and all
sums and differences of three (A ∪ B within or around C, A within B less C, and A ∩ B from A ∪ B), that leave at least one
and fewer than `threshold` people, whichever table each is from: the same (then totals reveal what is not shown), another
of the same request, or one released before. The cells that a reader can add up within a table (all of it, or along a key)
count as printed. Of combinations of more cells, linear algebra (`algebra`) finds whether there is any that is of few people
only, and gives one. Not found: what only outside knowledge would tell apart.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from tre.rules.disclosure import algebra
from tre.rules.disclosure.cells import Key
from tre.rules.disclosure.counts import COARSEN, NOISE, ROUND, SUPPRESS
from tre.rules.disclosure.finding import Earlier, Finding, Rule, Statbarn, Verdict, places

MAX_NEW, MAX_ALL = 400, 4_000
MAX_HITS = 60


@dataclass(frozen=True)
class Atom:
    """What is in the same groups of all tables. `people`: numbers that name its people, all of them where they are fewer
    than the threshold, else at least so many. `groups`: of each table, the groups it is in."""

    groups: tuple[frozenset[int], ...]
    people: frozenset[int]


@dataclass(frozen=True, kw_only=True)
class Printed:
    """A table as it is, or was, printed: the keys of its groups, and which groups show a number that adds up.

    `release` is None for one that is proposed now. `columns`: where such numbers stand. `total`: groups that are totals.
    """

    output: str
    release: str | None
    by: tuple[str, ...]
    keys: Sequence[tuple[Key, ...]]
    shown: frozenset[int]
    column: int = 0
    rounded: bool = False
    totals: frozenset[int] = frozenset()


@dataclass(frozen=True)
class _Set:
    bits: int
    table: int
    groups: tuple[int, ...]  # more than one: added up


@dataclass
class _Found:
    """Few people, by these cells together. `exact`: each of them counts alike in what is told."""

    people: int
    sets: tuple[_Set, ...]
    exact: bool = True


@dataclass
class _Universe:
    tables: Sequence[Printed]
    atoms: Sequence[Atom]
    threshold: int
    big: int = 0
    sets: list[_Set] = field(default_factory=list)
    near: Mapping[int, list[_Set]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.big = sum(1 << i for i, a in enumerate(self.atoms) if len(a.people) >= self.threshold)
        self.sets = list(self._sets())
        near: dict[int, list[_Set]] = defaultdict(list)
        for s in self.sets:
            near[s.bits & self.big].append(s)
        self.near = near

    @property
    def single(self) -> list[_Set]:
        """The cells that stand in a table, without what can be added up of them."""
        return [s for s in self.sets if len(s.groups) == 1]

    def _sets(self) -> Iterator[_Set]:
        for t, table in enumerate(self.tables):
            bits = [0] * len(table.keys)
            for i, atom in enumerate(self.atoms):
                for g in atom.groups[t]:
                    bits[g] |= 1 << i
            for g in sorted(table.shown):
                yield _Set(bits[g], t, (g,))
            for groups in _sums(table):
                together = 0
                for g in groups:
                    if together & bits[g]:
                        break  # people who are in several groups: these do not add up
                    together |= bits[g]
                else:
                    yield _Set(together, t, groups)

    def few(self, bits: int) -> int:
        """How many people, where these are 1 to threshold - 1; else 0."""
        if not bits or bits & self.big:
            return 0
        people: set[int] = set()
        while bits:
            low = bits & -bits
            people |= self.atoms[low.bit_length() - 1].people
            if len(people) >= self.threshold:
                return 0
            bits ^= low
        return len(people)

    def alike(self, bits: int) -> list[_Set]:
        """The sets that differ from this one by atoms of few people only."""
        return self.near.get(bits & self.big, [])


def _sums(table: Printed) -> Iterator[tuple[int, ...]]:
    """What a reader can add up: the shown groups that share some of their keys."""
    plain = [g for g in sorted(table.shown) if g not in table.totals]
    for size in range(len(table.by)):
        for axes in itertools.combinations(range(len(table.by)), size):
            lines: dict[tuple[Key, ...], list[int]] = defaultdict(list)
            for g in plain:
                lines[tuple(table.keys[g][a] for a in axes)].append(g)
            yield from (tuple(line) for line in lines.values() if len(line) > 1)


def differences(tables: Sequence[Printed], atoms: Sequence[Atom], threshold: int) -> dict[int, list[Finding]]:
    """Findings for each new table, by its place in `tables`. Without any, one that says PASS or what was not looked at."""
    universe = _Universe(tables, atoms, threshold)
    new = [s for s in universe.sets if tables[s.table].release is None]
    found: dict[int, list[_Found]] = {t: [] for t, table in enumerate(tables) if table.release is None}
    # What is left over and is printed as it is tells nothing more: the threshold has seen it.
    printed = {s.bits for s in universe.sets}
    seen: set[tuple[int, int]] = set()
    threes = len(new) <= MAX_NEW and len(universe.sets) <= MAX_ALL
    more = _triples(universe, new) if threes else ()
    whole = threes and not algebra.too_many(len(universe.single), len(atoms))
    for hit, rest in itertools.chain(_pairs(universe, new), more, _any(universe)):
        mine = hit.sets[0].table
        if rest not in printed and (mine, rest) not in seen and len(found[mine]) < MAX_HITS:
            seen.add((mine, rest))
            found[mine].append(hit)
    return {t: _findings(tables, t, hits, threshold, whole=whole) for t, hits in found.items()}


def _pairs(universe: _Universe, new: Sequence[_Set]) -> Iterator[tuple[_Found, int]]:
    for x in new:
        for y in universe.alike(x.bits):
            if x.bits & ~y.bits and y.bits & ~x.bits:
                continue
            if _within(x, y):
                continue
            rest = x.bits ^ y.bits
            if people := universe.few(rest):
                yield _Found(people, (x, y)), rest


def _triples(universe: _Universe, new: Sequence[_Set]) -> Iterator[tuple[_Found, int]]:
    for x in new:
        for y in universe.sets:
            if x is y or not x.bits or not y.bits:
                continue
            for target, both in _combined(x.bits, y.bits):
                if both and not universe.few(both):
                    continue
                for z in universe.alike(target):
                    rest = _rest(target, both, z.bits)
                    if z is x or z is y or _trivial(x, y, z) or rest is None:
                        continue
                    if people := universe.few(rest):
                        yield _Found(people, (x, y, z)), rest


def _any(universe: _Universe) -> Iterator[tuple[_Found, int]]:
    """Of any number of printed cells."""
    old = [s for s in universe.single if universe.tables[s.table].release is not None]
    new = [s for s in universe.single if universe.tables[s.table].release is None]
    ordered = [*old, *new]
    for left in algebra.combinations([s.bits for s in old], [s.bits for s in new], universe.big, len(universe.atoms)):
        people = universe.few(left.bits)
        if people and len(left.cells) > 1:
            # The newest first: it is what the finding is about.
            yield _Found(people, tuple(ordered[i] for i in reversed(left.cells)), exact=left.alike), left.bits


def _combined(x: int, y: int) -> Iterator[tuple[int, int]]:
    """(what two sets make together, what is then counted twice)."""
    both = x & y
    yield x | y, both
    if not both:
        return
    if both == y:
        yield x ^ y, 0
    elif both == x:
        yield y ^ x, 0


def _rest(target: int, both: int, z: int) -> int | None:
    """What is left between the two, where it is counted once, and all of it plus or all of it minus."""
    if both:
        return (target ^ z) | both if not z & ~target and not both & ~z else None
    if target & ~z and z & ~target:
        return None
    return target ^ z


def _within(x: _Set, y: _Set) -> bool:
    """Whether one is a part of the other's own sum: their difference is cells that are printed anyway."""
    return x.table == y.table and (set(x.groups) <= set(y.groups) or set(y.groups) <= set(x.groups))


def _trivial(x: _Set, y: _Set, z: _Set) -> bool:
    return _within(x, y) or _within(x, z) or _within(y, z)


def _findings(
    tables: Sequence[Printed], mine: int, hits: Sequence[_Found], threshold: int, *, whole: bool
) -> list[Finding]:
    by_rule: dict[Rule, list[_Found]] = defaultdict(list)
    for hit in hits:
        by_rule[_rule(tables, mine, hit)].append(hit)
    found = [_finding(tables, rule, of, threshold) for rule, of in by_rule.items()]
    before = sum(t.release is not None for t in tables)
    if not whole:
        said = "There are so many cells that not all combinations of three or more of them were looked at."
        found.append(Finding(rule=Rule.DIFFERENCING, verdict=Verdict.REVIEW, message=said, statbarn=Statbarn.LINKED))
    elif Rule.DIFFERENCING not in by_rule:
        said = f"No cells together leave fewer than {threshold} people; {before} earlier tables were compared."
        found.append(Finding(rule=Rule.DIFFERENCING, verdict=Verdict.PASS, message=said, statbarn=Statbarn.LINKED))
    return found


def _rule(tables: Sequence[Printed], mine: int, hit: _Found) -> Rule:
    if any(tables[s.table].release is not None for s in hit.sets):
        return Rule.DIFFERENCING
    return Rule.TOTALS if all(s.table == mine for s in hit.sets) else Rule.LINKED


_SAID = {
    Rule.TOTALS: "{} times, the table's totals less the cells that it shows leave fewer than {} people.",
    Rule.LINKED: "{} times, cells of this and of other tables of the request together leave fewer than {} people.",
    Rule.DIFFERENCING: "{} times, cells of this and of tables released before together leave fewer than {} people.",
}


def _finding(tables: Sequence[Printed], rule: Rule, hits: Sequence[_Found], threshold: int) -> Finding:
    cells, _ = places(
        (g, tables[s.table].column) for hit in hits for s in hit.sets if s.table == hit.sets[0].table for g in s.groups
    )
    others = dict.fromkeys(
        Earlier(
            release=tables[s.table].release,
            output=tables[s.table].output,
            groups=tuple(_label(tables[s.table], g) for g in s.groups[:20]),
        )
        for hit in hits
        for s in hit.sets[1:]
        if s.table != hit.sets[0].table
    )
    exact = any(hit.exact and not any(tables[s.table].rounded for s in hit.sets) for hit in hits)
    fewest = min(hit.people for hit in hits)
    said = _SAID[rule].format(len(hits), threshold) + f" The fewest: {fewest}."
    if not exact:
        said += " Rounding, or others who count against them, hide some of it."
    return Finding(
        rule=rule, verdict=Verdict.FAIL if exact else Verdict.REVIEW, message=said, statbarn=Statbarn.LINKED,
        cells=cells, count=len(hits), people=fewest, earlier=tuple(others)[:20],
        mitigations=(SUPPRESS, NOISE) if rule is Rule.TOTALS else (COARSEN, ROUND, NOISE),
    )  # fmt: skip


def _label(table: Printed, group: int) -> str:
    said = ", ".join(f"{c} {_key(k)}" for c, k in zip(table.by, table.keys[group], strict=True))
    return (said or "all")[:200]


def _key(key: Key) -> str:
    return "(missing)" if key is None else str(key)
