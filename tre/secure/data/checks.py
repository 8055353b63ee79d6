"""A declared field as SQL: its typed value, and for each of its rules whether a row breaks it.

Guarantees: a value is in its declared type exactly or it is flagged (nothing is rounded, no NaN or infinity passes), and
every rule of the schema that can be judged row by row has a flag. Missing values break `required` and nothing else; what
is not of its type breaks `type` and nothing else. Not here: keys, which need all rows, and running any of it (see ingest).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from tre.rules.schema import FieldType, SchemaField, TableSchema
from tre.statistics.sql import literal, quote

SQL_TYPE = {
    FieldType.INTEGER: "BIGINT",
    FieldType.NUMBER: "DOUBLE",
    FieldType.STRING: "VARCHAR",
    FieldType.BOOLEAN: "BOOLEAN",
    FieldType.DATE: "DATE",
}

# Parquet columns of these types are taken as they are; all others pass through text, like CSV.
_AS_IT_IS = {
    FieldType.INTEGER: {"BIGINT", "INTEGER", "SMALLINT", "TINYINT", "UINTEGER", "USMALLINT", "UTINYINT"},
    FieldType.NUMBER: {"DOUBLE", "BIGINT", "INTEGER", "SMALLINT", "TINYINT"},
    FieldType.STRING: {"VARCHAR"},
    FieldType.BOOLEAN: {"BOOLEAN"},
    FieldType.DATE: {"DATE"},
}

# What text may look like before it is cast, because DuckDB's casts are generous (3.5 and 0x1F are integers to them).
# An integer may end in ".0" and a date in midnight: what Parquet files of pandas hold where a column has gaps.
_SHAPE = {
    FieldType.INTEGER: r"[+-]?[0-9]+(\.0+)?",
    FieldType.NUMBER: r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?|(?i:[+-]?(nan|inf|infinity))",
    FieldType.BOOLEAN: r"true|True|TRUE|1|false|False|FALSE|0",
    FieldType.DATE: r"[0-9]{4}-[0-9]{2}-[0-9]{2}( 00:00:00)?",
}


@dataclass(frozen=True)
class Flag:
    """A rule of a field, and the SQL (over what `typed_columns` made) that is true in rows that break it."""

    field: str
    rule: str
    sql: str

    @property
    def column(self) -> str:
        return quote(f"{self.field}:{self.rule}")


def typed_columns(field: SchemaField, native: str, missing: tuple[str, ...]) -> Iterator[str]:
    """From a file's column of type `native`: the value, and whether it was absent, of another type, or not finite."""
    raw, name = quote(field.name), field.name
    if native == "VARCHAR" and missing:
        raw = f"CASE WHEN {raw} NOT IN ({', '.join(literal(m) for m in missing)}) THEN {raw} END"
    value = _value(field, native, raw)
    yield f"({raw}) IS NULL AS {quote(f'{name}:absent')}"
    yield f"({raw}) IS NOT NULL AND {value} IS NULL AS {quote(f'{name}:other')}"
    if field.type is FieldType.NUMBER:
        yield f"coalesce(NOT isfinite({value}), FALSE) AS {quote(f'{name}:infinite')}"
        value = f"CASE WHEN isfinite({value}) THEN {value} END"
    yield f"{value} AS {quote(name)}"


def marker_column(field: SchemaField, native: str, missing: tuple[str, ...]) -> str:
    """Which of the markers of a missing value, counted from 0, the file's cell is; NULL if none."""
    whens = " ".join(f"WHEN {literal(m)} THEN {i}" for i, m in enumerate(missing)) if native == "VARCHAR" else ""
    value = f"CASE {quote(field.name)} {whens} END" if whens else "NULL"
    return f"CAST({value} AS UTINYINT) AS {quote(f'{field.name}:marker')}"


def _value(field: SchemaField, native: str, raw: str) -> str:
    wanted = SQL_TYPE[field.type]
    if native in _AS_IT_IS[field.type]:
        return f"CAST({raw} AS {wanted})"
    text = f"CAST({raw} AS VARCHAR)"
    if field.type is FieldType.STRING:
        return text
    return f"CASE WHEN regexp_full_match({text}, {literal(_SHAPE[field.type])}) THEN TRY_CAST({text} AS {wanted}) END"


def flags_of(field: SchemaField, schema: TableSchema) -> Iterator[Flag]:
    """The rules of one field, as SQL that is true where a row breaks them. A missing value breaks only `required`."""
    c, name, value = field.constraints, field.name, quote(field.name)
    if field.type is not FieldType.STRING:
        yield Flag(name, "type", quote(f"{name}:other"))
    if field.type is FieldType.NUMBER:
        yield Flag(name, "finite", quote(f"{name}:infinite"))
    if c.required or name in schema.primary_key:
        yield Flag(name, "required", quote(f"{name}:absent"))
    if c.enum is not None:
        yield Flag(name, "enum", _or_false(f"{value} NOT IN ({', '.join(literal(v) for v in c.enum)})"))
    if c.minimum is not None:
        yield Flag(name, "minimum", _or_false(f"{value} < {constant(c.minimum)}"))
    if c.maximum is not None:
        yield Flag(name, "maximum", _or_false(f"{value} > {constant(c.maximum)}"))
    if c.pattern is not None:
        matches = f"regexp_full_match(CAST({value} AS VARCHAR), {literal(c.pattern)})"
        yield Flag(name, "pattern", _or_false(f"NOT {matches}"))


def _or_false(sql: str) -> str:
    return f"coalesce({sql}, FALSE)"


def constant(value: int | float | date) -> str:
    return f"DATE '{value.isoformat()}'" if isinstance(value, date) else literal(value)
