"""What the rules look at: a table whose cells come with who is behind them.

Shapes: a table has one `Group` for each combination of its keys that is printed, in the order of printing; `TOTAL` in
the place of a key means all of them. A group has one `Measured` for each statistic. People, not rows, are counted.
Numbers here are exact and of real rows (or of the twin's): they go to rules and to output checkers, nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from tre.rules.disclosure.finding import Statbarn


class Total:
    """In the place of a key: all of them together."""

    def __repr__(self) -> str:
        return "(all)"


TOTAL = Total()
Key = int | str | bool | None | Total


class What(StrEnum):
    """Kinds of statistic that a declared table may have."""

    COUNT = "count"
    PEOPLE = "count_people"
    SUM = "sum"
    MEAN = "mean"
    SHARE = "share"
    STD = "std"
    QUANTILE = "quantile"

    @property
    def statbarn(self) -> Statbarn:
        return _TERMS[self]

    @property
    def adds_up(self) -> bool:
        """Whether a total is the sum of its parts."""
        return self in (What.COUNT, What.SUM)


_TERMS = {
    What.COUNT: Statbarn.FREQUENCIES, What.PEOPLE: Statbarn.FREQUENCIES, What.SHARE: Statbarn.FREQUENCIES,
    What.SUM: Statbarn.LINEAR, What.MEAN: Statbarn.LINEAR, What.STD: Statbarn.SHAPE, What.QUANTILE: Statbarn.POSITION,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One statistic of one group. `people` have a value that counts in it.

    `largest`: the largest contributions of single people, by size, and `total` the sum of all sizes (of sums and means).
    `parts`: how many people a share counts as true and as false.
    """

    value: float | int | None
    people: int
    largest: tuple[float, ...] = ()
    total: float = 0.0
    parts: tuple[int, int] | None = None


@dataclass(frozen=True, kw_only=True)
class Group:
    keys: tuple[Key, ...]
    rows: int
    people: int
    measured: Mapping[str, Measured]

    @property
    def total(self) -> bool:
        return any(isinstance(k, Total) for k in self.keys)


@dataclass(frozen=True, kw_only=True)
class Table:
    """`kinds`: the statistics in order of printing. `hidden`: (group, statistic) that are not printed."""

    by: tuple[str, ...]
    kinds: Mapping[str, What]
    groups: Sequence[Group]
    hidden: frozenset[tuple[int, str]] = frozenset()
    rounded: int = 1

    @property
    def groups_keys(self) -> list[tuple[Key, ...]]:
        return [g.keys for g in self.groups]

    def shown(self, group: int, statistic: str) -> bool:
        return (group, statistic) not in self.hidden

    def place(self, group: int, statistic: str) -> tuple[int, int]:
        """Of a cell in what is printed: keys first, then statistics."""
        return group, len(self.by) + list(self.kinds).index(statistic)
