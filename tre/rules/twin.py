"""What a data controller may say of a dataset's synthetic twin, and what would make no sense.

Guarantees: pure. A tier that learns from real rows has a price, one that does not has none; nothing is said of fields that
there are not; an edge case is a row that ingest would take; a twin that learnt anything is not public by policy, since each
new version of the data would be published without anybody having decided that. Making twins is secure.data.twin_tiers' work.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from enum import StrEnum

from pydantic import Field

from tre.rules.schema import Closed, FieldType, Identifier, Name, SchemaField, TableSchema

ORDERED = (FieldType.DATE, FieldType.INTEGER, FieldType.NUMBER)

Value = bool | int | float | str | date | None


class Tier(StrEnum):
    """What a twin resembles, after the synthetic data spectrum of the Office for National Statistics."""

    STRUCTURAL = "structural"  # the declared schema
    VALID = "valid"  # the declared schema, with missing values
    PLAUSIBLE = "plausible"  # each column on its own
    MULTIVARIATE = "multivariate plausible"  # pairs of columns that belong together
    DETAILED = "detailed"  # triples too
    REPLICA = "replica"  # a model of real rows without noise: published by two people, and never rehearsed on

    @classmethod
    def _missing_(cls, value: object) -> Tier | None:
        """`multivariate` alone, and hyphens or underscores in the place of the blank, mean what they seem to."""
        return cls.MULTIVARIATE if re.fullmatch("multivariate([-_]plausible)?", str(value)) else None

    @property
    def learns(self) -> bool:
        """Whether it is made from real rows, with noise that is charged."""
        return self not in (Tier.STRUCTURAL, Tier.VALID, Tier.REPLICA)

    @property
    def relates(self) -> bool:
        return self in (Tier.MULTIVARIATE, Tier.DETAILED)


class TwinPolicy(Closed):
    """How the synthetic twin is made. `epsilon` is charged for tiers that learn from rows; `rows` is about its size, which
    otherwise is 1,000, or, where something was learnt, that of the data, with noise."""

    tier: Tier = Tier.VALID
    epsilon: float | None = Field(default=None, gt=0, le=10)
    rows: int | None = Field(default=None, ge=10, le=10_000_000)
    # Fields that are the same in all rows of a person.
    constant: tuple[Name, ...] = ()
    # The field by which a person's rows are in order of time, where no key says so.
    order: Name | None = None
    # Pairs of fields whose relation is to be learnt whatever it shows.
    relations: tuple[tuple[Name, Name], ...] = ()
    # Rows that are to be in the twin whatever was drawn, each by some of its values, so that rare filters find one.
    edge_cases: tuple[dict[Name, Value], ...] = Field(default=(), max_length=50)
    # Another dataset of the population whose twin's people this one has, one row each.
    people_of: Identifier | None = None
    # Whether everyone who signs in may have the whole of it, whatever their projects: for tiers that learn nothing.
    public: bool = False
    # Whether a replica may be made for two output checkers to decide on: rows modelled on real ones without noise.
    replica: bool = False


def problems(twin: TwinPolicy, table: TableSchema, *, pure: bool) -> list[tuple[str, str]]:
    """Keys of the twin's policy that cannot be as they are, and why. `pure`: its population is kept in pure epsilon."""
    tier, found = twin.tier, []
    if tier is Tier.REPLICA:
        reason = (
            "projects see twins that nobody looked at, so none may be a replica; say replica: true beside another tier"
        )
        found.append(("tier", reason))
    if tier.learns and twin.epsilon is None:
        found.append(("epsilon", f"the {tier.value} tier needs an epsilon to charge"))
    if tier.learns and pure:
        reason = f"the {tier.value} tier draws Gaussian noise, which pure epsilon cannot pay; take the valid tier"
        found.append(("tier", reason))
    if not tier.learns and twin.epsilon is not None:
        found.append(("epsilon", f"the {tier.value} tier learns nothing and costs nothing"))
    if tier is Tier.PLAUSIBLE and twin.rows is not None:
        found.append(("rows", "a plausible twin has as many rows as the data, with noise"))
    if twin.public and (tier.learns or twin.people_of is not None):
        reason = (
            "only a twin that learnt nothing is public; one that did is published by decision: tre-admin twin --publish"
        )
        found.append(("public", reason))
    if twin.people_of is not None:
        found += _people(twin, table)
    return found + _unknown(twin, table) + _edge_cases(twin, table)


def _people(twin: TwinPolicy, table: TableSchema) -> list[tuple[str, str]]:
    if twin.tier.learns or twin.rows is not None:
        return [
            (
                "people_of",
                "is for tiers that learn nothing, without rows: the other twin says how many people there are",
            )
        ]
    if table.unit.max_rows != 1:
        return [("people_of", "is for datasets with one row for each person")]
    return []


def same_people(table: TableSchema, other: TableSchema) -> bool:
    """Whether both name people alike, so that a made-up person of one twin can be the same in another."""
    mine, theirs = table.field(table.unit.field), other.field(other.unit.field)
    return (mine.type, mine.constraints) == (theirs.type, theirs.constraints)


def _edge_cases(twin: TwinPolicy, table: TableSchema) -> list[tuple[str, str]]:
    fields = {f.name: f for f in table.fields}
    keyed = table.unit.field in table.primary_key
    found = []
    for i, case in enumerate(twin.edge_cases):
        for name, value in case.items():
            field = fields.get(name)
            if field is None or name == table.unit.field:
                reason: str | None = "is no field beside the person's"
            elif field.constraints.unique or (name in table.primary_key and not keyed):
                reason = "is a key: no row can be given it"
            else:
                reason = _misfit(value, field, needed=name in table.primary_key)
            if reason is not None:
                found.append(("edge_cases", f"case {i + 1}: {name!r} {reason}"))
    return found


_TYPES: Mapping[FieldType, type | tuple[type, ...]] = {
    FieldType.INTEGER: int, FieldType.NUMBER: (int, float), FieldType.STRING: str, FieldType.BOOLEAN: bool,
    FieldType.DATE: date,
}  # fmt: skip


def _misfit(value: Value, field: SchemaField, *, needed: bool) -> str | None:
    """Why a row with that value would be refused at ingest."""
    c, value = field.constraints, plain(value, field)
    if value is None:
        return "is required" if c.required or needed else None
    if not isinstance(value, _TYPES[field.type]) or isinstance(value, bool) is not (field.type is FieldType.BOOLEAN):
        return f"is of type {field.type.value}"
    if any(b is not None and (value < b if low else value > b) for b, low in ((c.minimum, True), (c.maximum, False))):  # type: ignore[operator]  # of the field's type, checked above
        return "is outside its bounds"
    if c.enum is not None and value not in c.enum:
        return "is none of its categories"
    if c.pattern is not None and not re.fullmatch(c.pattern, str(value)):
        return "does not fit its pattern"
    return None


def plain(value: Value, field: SchemaField) -> Value:
    """A date is written as text where policies are kept as JSON."""
    if field.type is FieldType.DATE and isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            return value
    return value


def _unknown(twin: TwinPolicy, table: TableSchema) -> list[tuple[str, str]]:
    types = {f.name: f.type for f in table.fields if f.name != table.unit.field}
    order = (twin.order,) if twin.order else ()
    named = {"constant": twin.constant, "order": order, "relations": tuple(n for pair in twin.relations for n in pair)}
    found = []
    for key, names in named.items():
        if names and not twin.tier.relates:
            found.append((key, f"the {twin.tier.value} tier knows no relations; take multivariate plausible"))
        found += [(key, f"{name!r} is no field beside the person's") for name in names if name not in types]
    found += [("relations", f"{a!r} is named twice in a pair") for a, b in twin.relations if a == b]
    if twin.order in types and types[twin.order] not in ORDERED:
        found.append(("order", "rows are in the order of a date or a number"))
    return found
