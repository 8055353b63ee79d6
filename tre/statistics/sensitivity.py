"""How much one person can change an exact vector of whole numbers: L2 sensitivities, all in one place.

Neighbouring datasets differ by all rows of one person (added or removed). After bounding, a person has at most
`rows` rows, wherever they fall. Each function states the worst case; tests/statistics/test_sensitivity.py tries to
exceed it by brute force over small datasets.
"""

from __future__ import annotations

import math


def of_rows(rows: int) -> float:
    """A table or histogram of row counts: the worst case is all of a person's rows in one cell."""
    return float(rows)


def of_people(rows: int, cells: int) -> float:
    """A table of people: a person counts once in each cell touched, so in at most min(rows, cells) of them."""
    return math.sqrt(min(rows, cells))


def of_squares(rows: int, largest: int) -> float:
    """A table of sums of 2 n^2 - largest^2, which lies in [-largest^2, largest^2] for n in [-largest, largest]."""
    return float(rows * largest**2)


def of_sums(rows: int, largest: int) -> float:
    """A table of sums of whole numbers in [-largest, largest]: the worst case is all rows at the bound in one cell."""
    return float(rows * largest)
