"""The declared shape of a dataset: a Table Schema (Frictionless v2) with the privacy unit beside it.

Guarantees: everything here is *declared* by the data controller and public to a project; nothing is inferred from rows.
Bounds and categories are what statistics may rely on; a field without them cannot be summed or grouped by without
saying so in the request. Not done here: looking at data (secure.data.ingest does).
"""

from __future__ import annotations

import math
import re
from datetime import date
from enum import StrEnum
from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

NAME = r"^[a-z][a-z0-9_]{0,62}$"
Name = Annotated[str, Field(pattern=NAME)]
Address = Annotated[str, Field(pattern=r"^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}$")]
Identifier = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]

# Columns that ingest adds; a declared field may not begin so.
PERSON = "tre_person"
ORDER = "tre_order"
RESERVED_PREFIX = "tre_"

# Integers up to here are exact as doubles too, so a bound never loses a unit on the way through JSON or DuckDB.
LARGEST = 2**53


class Closed(BaseModel):
    """A shape with exactly its declared fields: an unknown key is an error, and nothing changes after validation."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FieldType(StrEnum):
    INTEGER = "integer"
    NUMBER = "number"
    STRING = "string"
    BOOLEAN = "boolean"
    DATE = "date"


class Constraints(Closed):
    required: bool = False
    unique: bool = False
    minimum: int | float | date | None = None
    maximum: int | float | date | None = None
    enum: tuple[int | str, ...] | None = Field(default=None, min_length=1, max_length=10_000)
    pattern: str | None = None


class SchemaField(Closed):
    """One column. `step` is the grid numbers are put on before an exact sum (its unit is the column's)."""

    name: Name
    type: FieldType
    title: str = ""
    description: str = ""
    constraints: Constraints = Constraints()
    step: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        c = self.constraints
        if self.name.startswith(RESERVED_PREFIX):
            raise ValueError(f"field names beginning with {RESERVED_PREFIX!r} are reserved")
        _check_bounds(self.type, c)
        if c.enum is not None:
            _check_enum(self.type, c.enum)
        if c.pattern is not None:
            re.compile(c.pattern)
        if self.step is not None and not self.numeric:
            raise ValueError("step is for integer and number fields")
        return self

    @property
    def numeric(self) -> bool:
        return self.type in (FieldType.INTEGER, FieldType.NUMBER)

    @property
    def bounds(self) -> tuple[float, float] | None:
        """(minimum, maximum) where both are declared for a numeric field."""
        low, high = self.constraints.minimum, self.constraints.maximum
        if self.numeric and isinstance(low, int | float) and isinstance(high, int | float):
            return float(low), float(high)
        return None

    @property
    def grid(self) -> float | None:
        """The step of the grid: declared, 1 for integers, else a ten-thousandth of the declared range."""
        if self.step is not None:
            return self.step
        if self.type is FieldType.INTEGER:
            return 1.0
        if self.bounds is not None:
            return (self.bounds[1] - self.bounds[0]) / 10_000
        return None

    @property
    def categories(self) -> tuple[int | str | bool, ...] | None:
        """The declared values, where the field can only take declared ones."""
        if self.type is FieldType.BOOLEAN:
            return (False, True)
        return self.constraints.enum


def _check_bounds(kind: FieldType, c: Constraints) -> None:
    bounds = [b for b in (c.minimum, c.maximum) if b is not None]
    if kind in (FieldType.INTEGER, FieldType.NUMBER):
        if any(isinstance(b, date) or not math.isfinite(b) or abs(b) > LARGEST for b in bounds):
            raise ValueError("minimum and maximum must be finite numbers of at most 2^53")
    elif kind is FieldType.DATE:
        if any(not isinstance(b, date) for b in bounds):
            raise ValueError("minimum and maximum of a date field must be dates")
    elif bounds:
        raise ValueError(f"a {kind.value} field has no minimum or maximum")
    if len(bounds) == 2 and not bounds[0] < bounds[1]:  # type: ignore[operator]  # same kind, checked above
        raise ValueError("minimum must be below maximum")


def _check_enum(kind: FieldType, values: tuple[int | str, ...]) -> None:
    wanted: type = {FieldType.INTEGER: int, FieldType.STRING: str}.get(kind, type(None))
    if any(not isinstance(v, wanted) or isinstance(v, bool) for v in values):
        raise ValueError(f"enum values of a {kind.value} field must be of its type (only string and integer have one)")
    if len(set(values)) != len(values):
        raise ValueError("enum names a value twice")


class PrivacyUnit(Closed):
    """Who is protected: all rows with one value of `field`; at most `max_rows` of them count in any statistic."""

    field: Name
    max_rows: int = Field(ge=1, le=10_000)


class TableSchema(Closed):
    """A table's fields, its key, its markers of missing values, and its privacy unit."""

    fields: tuple[SchemaField, ...] = Field(min_length=1, max_length=1_000)
    primary_key: tuple[Name, ...] = ()
    missing_values: tuple[str, ...] = ("",)
    unit: PrivacyUnit

    @model_validator(mode="after")
    def _coherent(self) -> Self:
        names = [f.name for f in self.fields]
        if len(set(names)) != len(names):
            raise ValueError("a field name is declared twice")
        for name in (*self.primary_key, self.unit.field):
            if name not in names:
                raise ValueError(f"{name!r} is not a declared field")
        if not self.field(self.unit.field).constraints.required:
            raise ValueError(f"the privacy unit's field {self.unit.field!r} must be required")
        return self

    def field(self, name: str) -> SchemaField:
        """The field of that name. Raises KeyError."""
        for f in self.fields:
            if f.name == name:
                return f
        raise KeyError(name)

    def only(self, columns: tuple[str, ...]) -> TableSchema:
        """The same schema as a project sees it: its columns, and the unit's field (by which people are counted)."""
        keep = {*columns, self.unit.field}
        return self.model_copy(
            update={
                "fields": tuple(f for f in self.fields if f.name in keep),
                "primary_key": tuple(k for k in self.primary_key if k in keep),
            }
        )


class SyntheticLabel(Closed):
    """What a twin says of itself wherever it goes."""

    tier: str
    made: str
    generator: str
    epsilon: float | None
    delta: float | None
    learnt: str
    seed: int | None = None
    version: str | None = None
    declared: int = 0

    def says(self, dataset: str) -> str:
        """For wherever its rows are shown."""
        seed = "" if self.seed is None else f", seed {self.seed}"
        version = "" if self.version is None else f", of version {self.version}"
        cases = f"; {self.declared} rows are edge cases by declaration" if self.declared else ""
        return f"SYNTHETIC {self.tier} twin of {dataset}, made {self.made}{version}{seed}: {self.learnt}{cases}"
