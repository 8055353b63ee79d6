"""The exact vectors behind statistics: grids of whole numbers, and what each vector counts or adds up.

Guarantees: everything here is a function of request and schema. A `Component` says all that is needed to compute a
vector of whole numbers and to bound what one person can change of it; equal components are one vector, paid for once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from fractions import Fraction

from tre.statistics.kinds import Key


class Measure(StrEnum):
    """The kinds of exact vector."""

    ROWS = "rows"
    PEOPLE = "people"
    PRESENT = "present"  # rows in which all the numbers are there
    TOTAL = "total"  # sum of a number in steps from its centre, or of the product of two
    SQUARES = "squares"  # sum of 2 n^2 - largest^2, n the steps from the centre: squares, centred too
    BINS = "bins"  # rows by bin of the number
    RANKS = "ranks"  # the same, for a quantile: a bin is drawn, the counts are never told
    EVENTS = "events"  # rows by bin of a duration, without and with an event
    GRADIENTS = "gradients"  # sums that Newton's method asks for, one step after the other


# Sums of these over some of their groups are the same sums by fewer groups.
ADDITIVE = (Measure.ROWS, Measure.PRESENT, Measure.TOTAL, Measure.SQUARES)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A clamped number as a whole number of steps from `centre`, between -`largest` and +`largest`.

    `whole`: the column holds whole numbers and bounds and step are whole or half, so that no floating point is needed.
    """

    low: float
    high: float
    step: float
    centre: float
    whole: bool = False

    @property
    def largest(self) -> int:
        return math.ceil(max(self.high - self.centre, self.centre - self.low) / self.step)

    @property
    def lowest(self) -> int:
        """The whole number of the lower bound, by the formula that statistics.aggregate has for what lies between."""
        return _rounded((self.low - self.centre) / self.step)

    @property
    def highest(self) -> int:
        return _rounded((self.high - self.centre) / self.step)


def _rounded(value: float) -> int:
    """Half away from zero, as DuckDB's round."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


@dataclass(frozen=True, kw_only=True)
class Bins:
    """`count` bins of equal `width` from `low` on. `exact`: bin j holds the one value low + j width of the grid."""

    low: float
    width: float
    count: int
    exact: bool = False

    @property
    def edges(self) -> list[float]:
        return [self._at(j) for j in range(self.count + 1)]

    def value(self, j: int) -> float:
        """What stands for bin j: its only value, or its middle."""
        return self._at(j if self.exact else j + 0.5)

    def span(self, j: int) -> tuple[float, float]:
        """The values that bin j holds, from and to."""
        return self._at(j), self._at(j if self.exact else j + 1)

    def _at(self, j: float) -> float:
        """Without the last digits that floating point adds to 24.5."""
        return float(f"{self.low + self.width * j:.12g}")


@dataclass(frozen=True, kw_only=True)
class Factor:
    """A column's number on a grid. `flag`: a true-or-false column, counted as 0 and 1."""

    column: str
    grid: Grid
    flag: bool = False


@dataclass(frozen=True, kw_only=True)
class Component:
    """One exact vector: a cell for each key of the groups `by` (times bins), and what one person can change of it.

    `l1` and `l2` are the largest changes in those norms (for RANKS, `l1` is the largest change of any one score).
    """

    measure: Measure
    by: tuple[str, ...] = ()
    cells: int
    l1: float
    l2: float
    factors: tuple[Factor, ...] = ()
    given: tuple[str, ...] = ()  # columns that must be there
    bins: Bins | None = None
    event: str | None = None
    probability: Fraction | None = None
    steps: int = 0

    @property
    def family(self) -> tuple[object, ...]:
        """What two components share that differ in their groups alone: their tables must add up."""
        return (self.measure, self.factors, self.given)

    @property
    def unit(self) -> float:
        """The size of one step of the vector in the statistic's own unit."""
        return math.prod(f.grid.step for f in self.factors) if self.measure is Measure.TOTAL else 1.0

    @property
    def column(self) -> str | None:
        return ", ".join(dict.fromkeys([*(f.column for f in self.factors), *self.given])) or None


@dataclass(frozen=True, kw_only=True)
class Group:
    column: str
    keys: tuple[Key, ...]
