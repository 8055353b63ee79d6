"""What both tiers of twin share: any frame of drawn values becomes rows that satisfy the declared schema exactly.

Guarantees: everything here is a function of the schema, the drawn values and a seeded generator: no data come in. What
comes out passes ingest: types, bounds, categories, patterns, required fields, unique fields and the primary key; a person
has at most `unit.max_rows` rows. Rows that cannot be given a free key are left out, so there may be fewer than asked for.
Persons and free text are visibly made up: persons are numbered from the start of their range, text reads "text".
Not here: distributions (twin_valid and twin_plausible draw them), and what the columns mean to each other.

Order: values (repair) → persons → the primary key → unique fields.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pandas as pd

from tre.errors import PolicyError
from tre.rules.schema import PERSON, FieldType, SchemaField, TableSchema
from tre.secure.data.twin_text import text_like

Generator = np.random.Generator

EPOCH = date(1970, 1, 1)
_TRIES = 60
# Above this many values a key column is drawn and redrawn instead of dealt out.
_DEALT = 200
# Where nothing is known of people's numbers of rows, they have up to this many, or fewer as the schema says.
_MOST_ROWS = 10
_DAYS = ((date(2000, 1, 1) - EPOCH).days, (date(2020, 1, 1) - EPOCH).days)


def values_of(field: SchemaField) -> tuple[Any, ...] | None:
    """The values a field can take, where they are declared one by one."""
    if field.categories is None:
        return None
    c = field.constraints
    allowed = [v for v in field.categories if _within(v, c.minimum, c.maximum)]
    if c.pattern is not None and field.type is not FieldType.BOOLEAN:
        allowed = [v for v in allowed if re.fullmatch(c.pattern, str(v))]
    if not allowed:
        raise _impossible(field.name, "its categories are all outside its bounds or pattern")
    return tuple(allowed)


def _within(value: Any, low: Any, high: Any) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def range_of(field: SchemaField) -> tuple[float, float]:
    """Declared bounds of a number or date (in days since 1970); a made-up range of 100 (20 years) where they are open."""
    low, high = (_number(b) for b in (field.constraints.minimum, field.constraints.maximum))
    if field.type is FieldType.DATE:
        width, start = _DAYS[1] - _DAYS[0], _DAYS[0]
    else:
        width, start = 100, 0
    if low is None:
        low = start if high is None else min(start, high - width)
    return float(low), float(high if high is not None else max(low, start) + width)


def _number(bound: int | float | date | None) -> float | None:
    return float((bound - EPOCH).days) if isinstance(bound, date) else bound


def needed(field: SchemaField, schema: TableSchema) -> bool:
    """Whether the field can never be missing."""
    return field.constraints.required or field.name in schema.primary_key


def draw(field: SchemaField, n: int, rng: Generator) -> pd.Series:
    """`n` values, uniform over what is declared; none is missing."""
    values = values_of(field)
    if values is not None:
        return pd.Series(np.array(values, dtype=object)[rng.integers(0, len(values), n)], dtype=object)
    if field.type is FieldType.STRING:
        return pd.Series([text_like(field.constraints.pattern, rng) for _ in range(n)], dtype=object)
    low, high = range_of(field)
    if field.type is FieldType.NUMBER:
        return repair(pd.Series(rng.uniform(low, high, n)), field)
    return repair(pd.Series(rng.integers(math.ceil(low), math.floor(high) + 1, n)), field)


def repair(column: pd.Series, field: SchemaField) -> pd.Series:
    """Numbers and dates (as days) clipped to the bounds, on the field's grid and of its type; missing stays missing."""
    low, high = range_of(field)
    raw = pd.to_numeric(column, errors="coerce").astype("float64").to_numpy()
    grid = 1.0 if field.type is FieldType.DATE else (field.grid or 0.0)
    if grid > 0:  # counted from the lower bound; rounding takes away the dust of binary fractions
        raw = np.round(low + np.round((raw - low) / grid) * grid, 9)
    raw = np.clip(raw, low, high)
    if field.type is FieldType.NUMBER:
        return pd.Series(raw, index=column.index)
    raw = np.clip(np.round(raw), math.ceil(low), math.floor(high))
    as_type = (lambda v: EPOCH + timedelta(days=int(v))) if field.type is FieldType.DATE else int
    return pd.Series([None if math.isnan(v) else as_type(v) for v in raw], index=column.index, dtype=object)


def shape(
    drawn: Mapping[str, pd.Series],
    schema: TableSchema,
    rows_per_person: np.ndarray[Any, Any],
    rng: Generator,
    *,
    weights: Mapping[str, np.ndarray[Any, Any]] | None = None,
    keys: np.ndarray[Any, Any] | None = None,
    people: np.ndarray[Any, Any] | None = None,
) -> pd.DataFrame:
    """Rows of persons with these numbers of rows. Fields not in `drawn` are uniform; `weights` are of key categories, or
    `keys` are each row's own. `people` are their identifiers, where others of the same twin are made elsewhere."""
    unit = schema.field(schema.unit.field)
    known = identifiers(unit, len(rows_per_person)) if people is None else people
    rows_per_person = np.minimum(rows_per_person, most_rows(schema))[: len(known)]
    n = int(rows_per_person.sum())
    person = np.repeat(np.arange(len(rows_per_person)), rows_per_person)
    frame = pd.DataFrame({PERSON: person})
    for field in schema.fields:
        if field.name == unit.name:
            frame[field.name] = known[person]
        else:
            known_values = drawn.get(field.name)
            frame[field.name] = (
                draw(field, n, rng) if known_values is None else _clean(known_values.iloc[:n], field, schema, rng)
            )
    if keys is None:
        frame = _deal_keys(frame, schema, rows_per_person, weights or {}, rng)
    else:
        (other,) = [name for name in schema.primary_key if name != unit.name]
        frame[other] = keys[:n]
    for field in schema.fields:
        if field.constraints.unique and field.name != unit.name:
            frame = _distinct(frame, [field], [field], rng)
    return frame.drop(columns=PERSON).reset_index(drop=True).infer_objects()


def most_rows(schema: TableSchema) -> int:
    """How many rows a person can have: the declared bound, or fewer where the keys leave room for fewer."""
    unit = schema.field(schema.unit.field)
    if schema.primary_key == (unit.name,) or unit.constraints.unique:
        return 1
    others = [name for name in schema.primary_key if name != unit.name]
    values = _dealable(schema.field(others[0])) if len(others) == 1 and unit.name in schema.primary_key else None
    return min(schema.unit.max_rows, len(values)) if values else schema.unit.max_rows


def dealt_rows(schema: TableSchema, rows: int, rng: Generator) -> np.ndarray[Any, Any]:
    """1 to as many rows a person as allowed, uniform, until there are `rows` of them."""
    counts = rng.integers(1, min(most_rows(schema), _MOST_ROWS) + 1, rows)
    total = np.cumsum(counts)
    last = int(np.searchsorted(total, rows))
    counts[last] -= total[last] - rows
    return counts[: last + 1]


def _clean(column: pd.Series, field: SchemaField, schema: TableSchema, rng: Generator) -> pd.Series:
    """Drawn values as the schema allows them; where a value has to be and there is none, a uniform one."""
    column = column.reset_index(drop=True)
    if field.categories is None and field.type is not FieldType.STRING:
        column = repair(column, field)
    if needed(field, schema) and bool(column.isna().any()):
        column = column.where(column.notna(), draw(field, len(column), rng))
    return column


def identifiers(unit: SchemaField, n: int) -> np.ndarray[Any, Any]:
    """`n` different persons, or as many as there can be: the declared values, or numbers from the lower bound, or text with numbers in it."""
    values = values_of(unit)
    if values is not None:
        found: list[Any] = list(values[:n])
    elif unit.type is FieldType.STRING:
        if unit.constraints.pattern is None:
            found = [f"person-{i + 1:06d}" for i in range(n)]
        else:
            rng, seen = np.random.default_rng(0), dict[str, None]()
            for _ in range(n * _TRIES):
                seen[text_like(unit.constraints.pattern, rng)] = None
                if len(seen) == n:
                    break
            found = list(seen)
    else:
        low, high = range_of(unit)
        first = max(1, math.ceil(low)) if unit.constraints.minimum is None else math.ceil(low)
        last = math.floor(high) if unit.constraints.maximum is not None else first + n
        numbers = range(first, min(first + n, last + 1))
        found = [EPOCH + timedelta(days=i) if unit.type is FieldType.DATE else i for i in numbers]
    return np.array(found, dtype=object)


def _deal_keys(
    frame: pd.DataFrame,
    schema: TableSchema,
    rows_per_person: np.ndarray[Any, Any],
    weights: Mapping[str, np.ndarray[Any, Any]],
    rng: Generator,
) -> pd.DataFrame:
    """Give every row its own primary key: a person's categories are dealt without repeats, other keys are redrawn."""
    others = [schema.field(name) for name in schema.primary_key if name != schema.unit.field]
    if not others:
        return frame.drop_duplicates(PERSON) if schema.primary_key else frame
    if len(others) == 1 and schema.unit.field in schema.primary_key:
        values = _dealable(others[0])
        if values is not None:
            wished = weights.get(others[0].name, np.ones(len(values)))
            return _deal(frame, others[0], values, rows_per_person, wished, rng)
    return _distinct(frame, [schema.field(name) for name in schema.primary_key], others, rng)


def _dealable(field: SchemaField) -> tuple[Any, ...] | None:
    values = values_of(field)
    if values is None and field.type is FieldType.INTEGER and field.bounds is not None:
        low, high = math.ceil(field.bounds[0]), math.floor(field.bounds[1])
        values = tuple(range(low, high + 1)) if high - low < _DEALT else None
    return values if values is not None and len(values) <= _DEALT else None


def _deal(
    frame: pd.DataFrame,
    field: SchemaField,
    values: tuple[Any, ...],
    rows_per_person: np.ndarray[Any, Any],
    wished: np.ndarray[Any, Any],
    rng: Generator,
) -> pd.DataFrame:
    """Different values within each person, in declared order, together close to the wished totals.

    Persons with most rows come first, and what they used up is taken off: a panel stays a panel (those with five of five
    years use all; those with three then get the three that are left over most).
    """
    left = np.maximum(np.asarray(wished, dtype=float), 0) * len(frame) / max(1.0, float(np.sum(wished)))
    given = np.full((len(rows_per_person), len(values)), False)
    for k in sorted(set(rows_per_person.tolist()), reverse=True):
        who = np.flatnonzero(rows_per_person == k)
        # The k largest of log(weight) + Gumbel noise: k draws without replacement, in proportion to the weights.
        score = np.log(np.maximum(left, 1e-6)) + rng.gumbel(size=(len(who), len(values)))
        taken = np.argsort(-score, axis=1)[:, :k]
        given[who[:, None], taken] = True
        left -= np.bincount(taken.ravel(), minlength=len(values))
    _, index = np.nonzero(given)  # in the order of persons, as the rows are
    frame[field.name] = np.array(values, dtype=object)[index]
    return frame


def _distinct(frame: pd.DataFrame, key: list[SchemaField], redrawn: list[SchemaField], rng: Generator) -> pd.DataFrame:
    """Redraw `redrawn` where `key` repeats; free text is numbered; what still repeats in the end is left out."""
    names = [f.name for f in key]
    for field in redrawn:
        if field.type is FieldType.STRING and field.categories is None and field.constraints.pattern is None:
            frame[field.name] = [f"text-{i + 1:06d}" for i in range(len(frame))]
    for _ in range(_TRIES):
        again = frame.duplicated(names) & frame[names].notna().all(axis=1)
        if not again.any():
            return frame
        for field in redrawn:
            frame.loc[again, field.name] = draw(field, int(again.sum()), rng).to_numpy()
    return frame[~(frame.duplicated(names) & frame[names].notna().all(axis=1))].reset_index(drop=True)


def _impossible(field: str, why: str) -> PolicyError:
    return PolicyError(
        "twin_impossible", f"No twin fits the schema: field {field!r}: {why}.", "Correct the dataset's policy."
    )
