"""The shapes of a released table (values, errors, intervals, how they were noised) and of a price. No arithmetic here."""

from __future__ import annotations

import math
from typing import Literal

from pydantic import Field

from tre.rules.canonical import digest
from tre.rules.schema import Closed
from tre.statistics.kinds import Key

CONFIDENCE = 0.95


class Cell(Closed):
    """One released number: `error` is half the noise interval's width before it is cut to what is possible.

    `by` names the table's columns that `keys` are of; without it, all of them (a margin has fewer). `term` is a model's
    coefficient or a ranked key, `bin` a histogram's or a curve's interval. `sampling`, where a statistic has one, is
    half of a 95 % interval for the rows being a sample: it is not in `error`, `low` and `high`.
    """

    keys: tuple[Key, ...]
    by: tuple[str, ...] | None = None
    statistic: str
    bin: tuple[float, float] | None = None
    term: Key = None
    value: int | float | None
    error: int | float | None
    low: int | float | None
    high: int | float | None
    sampling: float | None = None


class Mechanism(Closed):
    """How a vector was noised: what a reader needs to check an interval. Sigma (or a choice's scale) is in `step`s.

    `threshold` and `delta` are of keys that were found in the data.
    """

    measure: str
    by: tuple[str, ...] = ()
    column: str | None
    mechanism: Literal["discrete gaussian", "discrete laplace", "noisy minimum"]
    sensitivity: float
    sigma: float
    step: float
    bounds: tuple[tuple[float, float], ...] = ()
    threshold: float | None = None
    delta: float | None = None
    rho_units: int


class Table(Closed):
    """A release's values: cells in the order of statistics and keys. `rho_units` is in epsilon where measure is pure."""

    version: Literal[2] = 2
    columns: tuple[str, ...]
    cells: tuple[Cell, ...]
    mechanisms: tuple[Mechanism, ...]
    libraries: dict[str, str] = Field(default_factory=dict)
    confidence: float = CONFIDENCE
    measure: Literal["zcdp", "pure"] = "zcdp"
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


class Expected(Closed):
    """The error to expect at 95 %, of one table of a statistic. `rows`: a group's, where the error depends on it.

    `unit` is "ranks" for quantiles (how many rows the value drawn may be off), else "value". None: drowned.
    """

    statistic: str
    by: tuple[str, ...]
    error: float | None
    unit: Literal["value", "ranks"] = "value"
    rows: int | None = None


class Price(Closed):
    """`rho_units` are of epsilon where delta is 0."""

    epsilon: float
    delta: float
    rho_units: int
    keys_delta: float = 0.0
    cells: int
    expected: tuple[Expected, ...]

    def errors(self) -> dict[str, float | None]:
        """The error of each statistic's own table (not its margins)."""
        return {e.statistic: e.error for e in reversed(self.expected)}
