"""The shape of a released table: values, errors, intervals and how they were noised. No arithmetic on data here."""

from __future__ import annotations

import math
from typing import Literal

from tre.rules.canonical import digest
from tre.rules.schema import Closed
from tre.statistics.request import Key

CONFIDENCE = 0.95


class Cell(Closed):
    """One released number: `error` is half the interval's width before it is cut to what is possible."""

    keys: tuple[Key, ...]
    statistic: str
    bin: tuple[float, float] | None = None
    value: int | float | None
    error: int | float | None
    low: int | float | None
    high: int | float | None


class Mechanism(Closed):
    """How a vector was noised: what a reader needs to check an interval."""

    measure: str
    column: str | None
    mechanism: Literal["discrete gaussian"] = "discrete gaussian"
    sensitivity: float
    sigma: float
    step: float
    rho_units: int


class Table(Closed):
    """A release's values: cells in the order of statistics and keys."""

    version: Literal[1] = 1
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    mechanisms: tuple[Mechanism, ...]
    confidence: float = CONFIDENCE
    rho_units: int

    @property
    def digest(self) -> str:
        return digest(self.model_dump(mode="json"))

    def typical_errors(self) -> dict[str, float | None]:
        """The median error of each statistic's cells; None where noise drowns most of them."""
        found: dict[str, list[float]] = {}
        for cell in self.cells:
            error = cell.error if cell.error is not None and cell.value is not None else math.inf
            found.setdefault(cell.statistic, []).append(error)
        middle = {label: sorted(errors)[len(errors) // 2] for label, errors in found.items()}
        return {label: error if math.isfinite(error) else None for label, error in middle.items()}
