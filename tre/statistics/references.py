"""Bounds that are earlier released values: found in a request, and put in their place.

Guarantees: total. A reference only stands for a bound of a column with declared bounds; the value is kept within those
(rounded outwards to whole numbers for an integer column), and where there is none, or the two bounds would cross, the
declared bound stands. So a request costs the same whatever the values are, and cannot fail for them. What is resolved
is a released value: using it is ordinary adaptive composition.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tre.errors import RequestError
from tre.rules.schema import FieldType, SchemaField, TableSchema
from tre.statistics.kinds import Bounds, Reference
from tre.statistics.request import Request
from tre.statistics.table import Table

Find = Callable[[Reference], float | None]


def references(request: Request) -> list[Reference]:
    return list(dict.fromkeys(b for _, _, bounds in _bounds(request) for b in bounds if isinstance(b, Reference)))


def resolve(request: Request, schema: TableSchema, find: Find) -> Request:
    """The request with numbers for references. Raises RequestError: reference_unbounded."""
    if not references(request):
        return request
    changed: dict[str, Any] = dict(request.statistics)
    for label, column, bounds in _bounds(request):
        if any(isinstance(b, Reference) for b in bounds):
            numbers = _numbers(_field(schema, column), bounds, find)
            of_all = changed[label].bounds
            new = {**of_all, column: numbers} if isinstance(of_all, Mapping) else numbers
            changed[label] = changed[label].model_copy(update={"bounds": new})
    return request.model_copy(update={"statistics": changed})


def value_of(table: Table, reference: Reference) -> float | None:
    """The referred-to number of a table; None where noise drowned it. Raises KeyError where there is none such."""
    for cell in table.cells:
        single = cell.by is None and cell.bin is None and cell.term is None
        if single and cell.statistic == reference.statistic and cell.keys == reference.keys:
            return None if cell.value is None else float(cell.value)
    raise KeyError(reference.statistic)


def _bounds(request: Request) -> Iterator[tuple[str, str, Bounds]]:
    """(label, column, bounds) wherever a statistic has bounds."""
    for label, statistic in request.statistics.items():
        bounds = getattr(statistic, "bounds", None)
        if isinstance(bounds, Mapping):
            yield from ((label, column, pair) for column, pair in bounds.items())
        elif bounds is not None:
            yield label, getattr(statistic, "column", None) or statistic.duration, bounds  # type: ignore[union-attr]


def _field(schema: TableSchema, column: str) -> SchemaField:
    field = next((f for f in schema.fields if f.name == column), None)
    if field is None or field.bounds is None:
        raise RequestError(
            "reference_unbounded",
            f"{column!r} has no declared bounds, so a bound of it cannot refer to an earlier value.",
            "Give numbers; or ask an admin to declare the column's minimum and maximum.",
        )
    return field


def _numbers(field: SchemaField, bounds: Bounds, find: Find) -> tuple[float, float]:
    declared = field.bounds
    if declared is None:
        raise ValueError("a referred-to bound is of a column with bounds")
    low, high = (
        _one(field, b, find, default, rounding)
        for b, default, rounding in zip(bounds, declared, (math.floor, math.ceil), strict=True)
    )
    return (low, high) if low < high else declared


def _one(
    field: SchemaField, bound: float | Reference, find: Find, default: float, rounding: Callable[[float], int]
) -> float:
    if not isinstance(bound, Reference):
        return bound
    value = find(bound)
    if value is None or not math.isfinite(value) or field.bounds is None:
        return default
    rounded = float(rounding(value)) if field.type is FieldType.INTEGER else value
    return min(max(rounded, field.bounds[0]), field.bounds[1])
