"""What a data controller may say of a dataset's synthetic twin, and what would make no sense.

Guarantees: pure. A tier that learns from real rows has a price, one that does not has none; nothing is said of fields that
there are not. Making twins is secure.data.twin_tiers' work.
"""

from __future__ import annotations

import re
from enum import StrEnum

from pydantic import Field

from tre.rules.schema import Closed, FieldType, Name, TableSchema

ORDERED = (FieldType.DATE, FieldType.INTEGER, FieldType.NUMBER)


class Tier(StrEnum):
    """What a twin resembles, after the synthetic data spectrum of the Office for National Statistics."""

    STRUCTURAL = "structural"  # the declared schema
    VALID = "valid"  # the declared schema, with missing values
    PLAUSIBLE = "plausible"  # each column on its own
    MULTIVARIATE = "multivariate plausible"  # pairs of columns that belong together
    DETAILED = "detailed"  # triples too

    @classmethod
    def _missing_(cls, value: object) -> Tier | None:
        """`multivariate` alone, and hyphens or underscores in the place of the blank, mean what they seem to."""
        return cls.MULTIVARIATE if re.fullmatch("multivariate([-_]plausible)?", str(value)) else None

    @property
    def learns(self) -> bool:
        """Whether it is made from real rows, with noise that is charged."""
        return self not in (Tier.STRUCTURAL, Tier.VALID)

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


def problems(twin: TwinPolicy, table: TableSchema, *, pure: bool) -> list[tuple[str, str]]:
    """Keys of the twin's policy that cannot be as they are, and why. `pure`: its population is kept in pure epsilon."""
    tier, found = twin.tier, []
    if tier.learns and twin.epsilon is None:
        found.append(("epsilon", f"the {tier.value} tier needs an epsilon to charge"))
    if tier.learns and pure:
        reason = f"the {tier.value} tier draws Gaussian noise, which pure epsilon cannot pay; take the valid tier"
        found.append(("tier", reason))
    if not tier.learns and twin.epsilon is not None:
        found.append(("epsilon", f"the {tier.value} tier learns nothing and costs nothing"))
    if tier is Tier.PLAUSIBLE and twin.rows is not None:
        found.append(("rows", "a plausible twin has as many rows as the data, with noise"))
    return found + _unknown(twin, table)


def _unknown(twin: TwinPolicy, table: TableSchema) -> list[tuple[str, str]]:
    types = {f.name: f.type for f in table.fields if f.name != table.unit.field}
    order = (twin.order,) if twin.order else ()
    named = {"constant": twin.constant, "order": order, "relations": tuple(n for pair in twin.relations for n in pair)}
    found = []
    for key, names in named.items():
        if names and not twin.tier.relates:
            found.append((key, f"the {twin.tier.value} tier knows no relations; take multivariate plausible"))
        found += [(key, f"{name!r} is no field beside the person's") for name in names if name not in types]
    if twin.order in types and types[twin.order] not in ORDERED:
        found.append(("order", "rows are in the order of a date or a number"))
    return found
