"""How much one person can change an exact vector of whole numbers: L1 and L2 sensitivities, all in one place.

Neighbouring datasets differ by all rows of one person (added or removed). After bounding, a person has at most
`rows` rows, wherever they fall. Each function states the worst case as (L1, L2); tests/statistics/test_sensitivity.py
tries to exceed it by brute force over small datasets.
"""

from __future__ import annotations

import math
from fractions import Fraction


def of_rows(rows: int) -> tuple[float, float]:
    """A table or histogram of row counts: in L2 the worst case is all of a person's rows in one cell."""
    return float(rows), float(rows)


def of_people(rows: int, cells: int) -> tuple[float, float]:
    """A table of people: a person counts once in each cell touched, so in at most min(rows, cells) of them."""
    touched = min(rows, cells)
    return float(touched), math.sqrt(touched)


def of_sums(rows: int, largest: int) -> tuple[float, float]:
    """A table of sums of whole numbers in [-largest, largest]: the worst case is all rows at the bound in one cell."""
    return float(rows * largest), float(rows * largest)


def of_squares(rows: int, largest: int) -> tuple[float, float]:
    """A table of sums of 2 n^2 - largest^2, which lies in [-largest^2, largest^2] for n in [-largest, largest]."""
    return of_sums(rows, largest**2)


def of_ranks(rows: int, probability: Fraction) -> float:
    """The largest change of any quantile score (statistics.quantiles): each row moves it by at most max(a, b - a)."""
    return float(rows * max(probability.numerator, probability.denominator - probability.numerator))
