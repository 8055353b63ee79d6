"""A twin that learns nothing: rows that fit the declared schema, made without sight of any data.

Guarantees: `sample_valid` is given the schema, a size and a seed, and reads nothing else, so its twin costs no privacy and
can be as public as the schema. Every row fits the schema (twin_shape). SDV is given a seed table drawn here, and no row.
Not guaranteed: that any figure resembles the real one. The same seed gives the same rows with the same versions of SDV and
NumPy: the seed table and the repair are ours and seeded; SDV samples from a constant seed of its own.
Constraints: of what a Table Schema can say, SDV's constraints know grids of whole numbers (FixedIncrements); ranges and
categories come from the seed table and are enforced by the repair. Facts between columns cannot be declared yet.

Steps: 1 seed table → 2 metadata → 3 fit and sample → 4 repair into persons, keys and types.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from tre.rules.schema import FieldType, SchemaField, TableSchema
from tre.secure.data.twin_sdv import copula
from tre.secure.data.twin_shape import EPOCH, dealt_rows, draw, needed, range_of, shape

SEED_ROWS = 1000
MISSING_SHARE = 0.05


def sample_valid(schema: TableSchema, *, rows: int, seed: int) -> pd.DataFrame:
    """About `rows` rows of the declared schema. Raises PolicyError without SDV, or if no row can fit the schema."""
    rng = np.random.default_rng(seed)
    counts = dealt_rows(schema, rows, rng)
    fields = [f for f in schema.fields if _modelled(f, schema)]
    drawn = _through_sdv(fields, schema, int(counts.sum()), rng) if fields else {}
    return shape(drawn, schema, counts, rng)


def _modelled(field: SchemaField, schema: TableSchema) -> bool:
    """Persons and free text are made by the repair; everything else goes through SDV."""
    free = field.type is FieldType.STRING and field.categories is None
    return field.name != schema.unit.field and not free


def _through_sdv(
    fields: list[SchemaField], schema: TableSchema, rows: int, rng: np.random.Generator
) -> dict[str, pd.Series]:
    table = pd.DataFrame({f.name: _seed_column(f, schema, rng) for f in fields})
    grids = {f.name: int(f.step or 1) for f in fields if _on_whole_grid(f)}
    sampled = copula(table, {f.name: _sdtype(f) for f in fields}, rows=rows, distribution="uniform", grids=grids)
    return {f.name: _from_sdv(sampled[f.name], f) for f in fields}


def _seed_column(field: SchemaField, schema: TableSchema, rng: np.random.Generator) -> pd.Series:
    column = draw(field, SEED_ROWS, rng)
    if field.type is FieldType.DATE:
        column = pd.Series(pd.to_datetime(column))
    elif field.numeric and field.categories is None:
        column = column.astype("Int64" if field.type is FieldType.INTEGER else "float64")
    return column if needed(field, schema) else column.mask(rng.random(SEED_ROWS) < MISSING_SHARE)


def _from_sdv(column: pd.Series, field: SchemaField) -> pd.Series:
    """Back to the forms that the repair takes: days for dates, objects with None for categories."""
    if field.type is FieldType.DATE:
        return (pd.to_datetime(column) - pd.Timestamp(EPOCH)) / pd.Timedelta(days=1)
    if field.categories is not None:
        plain = {str(v): v for v in field.categories}  # SDV may give 1.0 or numpy's types for an integer category
        as_text = (str(int(v)) if field.type is FieldType.INTEGER else str(v) for v in column.dropna())
        return pd.Series([plain.get(t) for t in as_text], index=column.dropna().index, dtype=object).reindex(
            column.index
        )
    return pd.Series(pd.to_numeric(column).astype("float64"))


def _sdtype(field: SchemaField) -> str:
    if field.type is FieldType.BOOLEAN:
        return "boolean"
    if field.categories is not None:
        return "categorical"
    return "datetime" if field.type is FieldType.DATE else "numerical"


def _on_whole_grid(field: SchemaField) -> bool:
    """Whether SDV's FixedIncrements says the same as the field's step: whole multiples, counted from zero."""
    step, low = field.step or 0, range_of(field)[0] if field.numeric else 0
    whole = field.type is FieldType.INTEGER and field.categories is None and step > 1 and step % 1 == 0
    return whole and low % step == 0
