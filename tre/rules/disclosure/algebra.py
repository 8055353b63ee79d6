"""Sums and differences of any number of cells: whether some of them together are of few people only.

Cells are rows of a matrix over atoms. What can be had of them by plus, minus and times is the space that the rows span;
the part of it that is zero on every atom of many people tells about few. Rows are eliminated on the columns of the large
atoms, those that have left first, so that what a new row leaves is new. Arithmetic is modulo a prime near 2^31: a
combination is missed, or seen where none is, with a chance of about one in 10^9.

Guarantees: where new cells allow any combination that is zero on all large atoms and tells something that those which
have left did not, at least one is given, unless they are `too_many`. It is one of possibly many, and not the shortest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

PRIME = 2_147_483_647
# Beyond them the time would be minutes.
MAX_CELLS, MAX_ATOMS = 400, 3_000
Vector = npt.NDArray[np.int64]


@dataclass(frozen=True)
class Left:
    """What a combination leaves: the atoms as bits, whether each counts alike, and the cells in it by their places."""

    bits: int
    alike: bool
    cells: tuple[int, ...]


class _Basis:
    """Rows in echelon form."""

    def __init__(self) -> None:
        self.pivots: list[tuple[int, Vector]] = []

    def reduced(self, row: Vector) -> Vector:
        for column, pivot in self.pivots:
            if row[column]:
                row = (row - row[column] * pivot) % PRIME
        return row

    def add(self, row: Vector, column: int) -> None:
        self.pivots.append((column, row * pow(int(row[column]), PRIME - 2, PRIME) % PRIME))


def too_many(cells: int, atoms: int) -> bool:
    """Whether so many are not looked at: `combinations` then gives none, which says nothing."""
    return cells > MAX_CELLS or atoms > MAX_ATOMS


def combinations(old: Sequence[int], new: Sequence[int], big: int, atoms: int) -> Iterator[Left]:
    """`old`, `new`: cells as bits over `atoms` atoms, of which `big` are of many people. Places: old first, then new."""
    large = [i for i in range(atoms) if big >> i & 1]
    small = [i for i in range(atoms) if not big >> i & 1]
    n, b, s = len(old) + len(new), len(large), len(small)
    if not small or too_many(n, atoms):
        return
    whole, rest = _Basis(), _Basis()
    for i, bits in enumerate([*old, *new]):
        row = np.zeros(b + s + n, dtype=np.int64)
        row[[k for k, a in enumerate([*large, *small]) if bits >> a & 1]] = 1
        row[b + s + i] = 1
        row = whole.reduced(row)
        first = np.flatnonzero(row[:b])
        if first.size:
            whole.add(row, int(first[0]))
            continue
        left = rest.reduced(row[b:])
        first = np.flatnonzero(left[:s])
        if not first.size:
            continue
        rest.add(left, int(first[0]))
        for found in (row[b:], left) if i >= len(old) else ():
            yield _left(found, small, s)


def _left(row: Vector, small: Sequence[int], s: int) -> Left:
    there = np.flatnonzero(row[:s])
    return Left(
        bits=sum(1 << small[int(k)] for k in there),
        alike=len(set(row[there].tolist())) == 1,
        cells=tuple(int(k) for k in np.flatnonzero(row[s:])),
    )
