"""Bounds and grids: how a column's numbers become whole numbers, decided from the schema and the request.

Guarantees: bounds are never wider than the schema's; a grid's steps can be counted exactly in doubles; a centred grid
lies symmetrically about the middle of the bounds, so that one row changes a sum by the least that the bounds allow.
"""

from __future__ import annotations

import math

from tre.errors import RequestError
from tre.rules.schema import FieldType, SchemaField
from tre.statistics.components import Bins, Factor, Grid
from tre.statistics.kinds import Bounds, Reference

# A derived number has no declared grid; its bounds are cut into this many steps.
DERIVED_STEPS = 10_000
# Sums of products stay far below 2^62 with this many steps on either side.
MODEL_STEPS = 4096
MAX_STEPS = 2.0**40
MAX_BINS = 10_000
# Candidates of a quantile where the grid has more values than this.
CANDIDATES = 1000

FLAG = Grid(low=0.0, high=1.0, step=0.5, centre=0.5, whole=True)


def bounds(column: str, field: SchemaField | None, asked: Bounds | None) -> tuple[float, float]:
    """Raises RequestError: bounds_missing or bounds_invalid."""
    declared = field.bounds if field is not None else None
    if asked is None:
        if declared is None:
            raise RequestError(
                "bounds_missing",
                f"{column!r} has no declared bounds.",
                f'Give them: bounds=(low, high); values beyond them count as the nearer one, so choose by what you know of "{column}".',
            )
        return declared
    low, high = asked
    if isinstance(low, Reference) or isinstance(high, Reference):
        raise RequestError("reference_unresolved", "A bound refers to a value that is not there.", "Release it first.")
    if declared is not None and not (declared[0] <= low and high <= declared[1]):
        raise RequestError(
            "bounds_invalid",
            f"The bounds of {column!r} are wider than the declared {declared[0]:g} to {declared[1]:g}.",
            "Stay within them: no value lies outside.",
        )
    return low, high


def step_of(field: SchemaField | None, low: float, high: float) -> float:
    return (field.grid if field is not None else None) or (high - low) / DERIVED_STEPS


def grid(field: SchemaField | None, low: float, high: float, *, centred: bool) -> Grid:
    """A sum is measured from 0, so that an empty group's sum is 0; a mean from the middle, where the noise is least."""
    step = step_of(field, low, high)
    _countable(low, high, step)
    whole = _whole(field, low, high, step)
    if not centred:
        return Grid(low=low, high=high, step=step, centre=0.0, whole=whole)
    steps = round((high - low) / step)
    if abs(steps * step - (high - low)) > 1e-9 * step:  # the bounds are not on the grid
        return Grid(low=low, high=high, step=step, centre=low + step * math.floor((high - low) / (2 * step)))
    # An odd number of steps has no middle on the grid: half steps do.
    return Grid(low=low, high=high, step=step / (1 + steps % 2), centre=(low + high) / 2, whole=whole)


def model_grid(field: SchemaField | None, low: float, high: float) -> Grid:
    """A centred grid of at most MODEL_STEPS on either side, for products of columns."""
    fine = grid(field, low, high, centred=True)
    if fine.largest <= MODEL_STEPS:
        return fine
    return Grid(low=low, high=high, step=(high - low) / (2 * MODEL_STEPS), centre=(low + high) / 2)


def _whole(field: SchemaField | None, low: float, high: float, step: float) -> bool:
    if field is None or field.type is not FieldType.INTEGER or step != 1:
        return False
    return low.is_integer() and high.is_integer() and max(abs(low), abs(high)) < 2**31


def _countable(low: float, high: float, step: float) -> None:
    """Steps must be counted exactly in doubles, wherever the grid's centre lies."""
    largest = max(abs(low), abs(high))
    if not (step > 0 and largest / step <= MAX_STEPS and (high - low) / MAX_BINS > largest * 2**-40):
        raise RequestError(
            "bounds_invalid",
            "These bounds are too far from zero, or too close together, for their grid.",
            "Derive a column that is moved and scaled, for instance  (value - 1000000) / 1000, and bound that.",
        )


def equal_bins(field: SchemaField | None, low: float, high: float, count: int) -> Bins:
    _countable(low, high, step_of(field, low, high))
    return Bins(low=low, width=(high - low) / count, count=count)


def candidates(field: SchemaField | None, low: float, high: float, count: int | None) -> Bins:
    """What a quantile may be: every value of a declared grid that is not too fine, else equal bins."""
    if count is None and field is not None:
        step = step_of(field, low, high)
        _countable(low, high, step)
        steps = round((high - low) / step)
        if steps < MAX_BINS and abs(steps * step - (high - low)) <= 1e-9 * step and _declared(field):
            return Bins(low=low, width=step, count=steps + 1, exact=True)
    return equal_bins(field, low, high, count or CANDIDATES)


def _declared(field: SchemaField) -> bool:
    return field.type is FieldType.INTEGER or field.step is not None


def flag(column: str) -> Factor:
    return Factor(column=column, grid=FLAG, flag=True)
