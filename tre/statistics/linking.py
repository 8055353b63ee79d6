"""Two tables about the same people, joined by person: the schema of the pairs, and the rows that they are.

Guarantees: an inner join; of each person at most the first table's bounded rows times the second's count, and that
product is the pairs' own bound, so that every sensitivity is derived as for one table. Columns of the second keep their
names, but for those that the first has too: they get the second dataset's name before theirs. Not decided here: that
both are about one population, whose identifiers mean the same people (secure.release.planning).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from tre.errors import RequestError
from tre.rules.canonical import digest
from tre.rules.schema import ORDER, PERSON, PrivacyUnit, SchemaField, TableSchema
from tre.statistics.sql import literal, quote

# A person with more pairs than this would need so much noise that the release means nothing.
MOST_PAIRS = 1_000


@dataclass(frozen=True, kw_only=True)
class Link:
    """The second file of a join, and what is needed to bound and name its rows."""

    parquet: Path
    own_unit: PrivacyUnit
    other_unit: PrivacyUnit
    own_columns: tuple[str, ...]
    columns: tuple[tuple[str, str], ...]  # (name in the second file, name in the join)


def names(own: TableSchema, other: TableSchema, dataset: str) -> tuple[tuple[str, str], ...]:
    """(name in the second table, name in the join), in declared order, the identifier left out."""
    taken = {f.name for f in own.fields}
    prefix = dataset.replace("-", "_")
    found = []
    for f in other.fields:
        if f.name != other.unit.field:
            name = f"{prefix}_{f.name}"[:63] if f.name in taken else f.name
            if name in taken:
                raise RequestError(
                    "link_invalid",
                    f"The column {f.name!r} of {dataset!r} has no name of its own beside the first table's.",
                    "Ask for fewer columns of one of the two datasets.",
                )
            taken.add(name)
            found.append((f.name, name))
    return tuple(found)


def schema(own: TableSchema, other: TableSchema, dataset: str) -> TableSchema:
    """Of the pairs. Raises RequestError: link_invalid."""
    pairs = own.unit.max_rows * other.unit.max_rows
    if pairs > MOST_PAIRS:
        raise RequestError(
            "link_invalid",
            f"A person could have {pairs} pairs of rows; the limit is {MOST_PAIRS}.",
            "Link a table with fewer rows a person.",
        )
    renamed = dict(names(own, other, dataset))
    more: list[SchemaField] = [
        f.model_copy(update={"name": renamed[f.name]}) for f in other.fields if f.name in renamed
    ]
    unit = own.unit.model_copy(update={"max_rows": pairs})
    return own.model_copy(update={"fields": (*own.fields, *more), "primary_key": (), "unit": unit})


def version(own: str, other: str) -> str:
    """One name for two versions together."""
    return digest({"linked": [own, other]})[:16]


def source(parquet: Path, link: Link, *, by_identifier: bool) -> str:
    """SQL for the pairs. `by_identifier`: by the identifiers themselves, on real rows; twins have only made-up numbers.

    Each table's rows are bounded before they are joined.
    """
    own, other = (f"read_parquet({literal(str(p))})" for p in (parquet, link.parquet))
    mine, theirs = (PERSON, PERSON)
    if by_identifier:
        mine, theirs = link.own_unit.field, link.other_unit.field
    # As texts: one table may keep its identifiers as numbers.
    same = f"CAST(a.{quote(mine)} AS VARCHAR) = CAST(b.{quote(theirs)} AS VARCHAR)"
    # Named one by one: a column of the first file that the project may not see could have the second's name.
    seen = [f"a.{PERSON}", f"0 AS {ORDER}", *(f"a.{quote(c)}" for c in link.own_columns)]
    seen += [f"b.{quote(old)} AS {quote(new)}" for old, new in link.columns]
    return (
        f"SELECT {', '.join(seen)} FROM {own} a JOIN {other} b ON {same} "
        f"WHERE a.{ORDER} < {link.own_unit.max_rows} AND b.{ORDER} < {link.other_unit.max_rows}"
    )
