"""A twin described for other software: a Data Package (v2) with the Table Schema that the controller declared.

Guarantees: pure; everything is a function of the declared schema, the dataset's declared description and the twin's label.
Nothing is inferred from rows, of the twin's neither.
Sources: https://datapackage.org/standard/data-package/ and https://datapackage.org/standard/table-schema/.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tre.rules.schema import PERSON, FieldType, SchemaField, TableSchema
from tre.rules.twin import Tier

PROFILES = "https://datapackage.org/profiles/2.0"
# The column that says in every row what the row is; made where it is asked for.
SYNTHETIC = "tre_synthetic"


@dataclass(frozen=True, kw_only=True)
class Described:
    """A dataset as it is declared, and which of its columns the twin's file has. `rows` is the twin's number of rows."""

    id: str
    title: str
    description: str
    source: str
    licence: str
    steward: str
    schema: TableSchema
    columns: tuple[str, ...]
    rows: int
    # The text of the column SYNTHETIC, where there is one.
    marked: str | None = None

    @property
    def numbered(self) -> bool:
        """Whether people are told apart by the column of their numbers, for want of the field that names them."""
        return self.schema.unit.field not in self.columns

    @property
    def all_columns(self) -> tuple[str, ...]:
        return (*self.columns, *([PERSON] if self.numbered else []), *([SYNTHETIC] if self.marked else []))


def table_schema(d: Described) -> dict[str, Any]:
    """The Table Schema of the twin's file."""
    fields = [_field(d.schema.field(name)) for name in d.columns]
    if d.numbered:
        title, said = "Person", "The same number in all rows of a made-up person."
        fields.append(
            {"name": PERSON, "type": "integer", "title": title, "description": said, "constraints": {"required": True}}
        )
    if d.marked:
        constraints = {"required": True, "enum": [d.marked]}
        fields.append({"name": SYNTHETIC, "type": "string", "title": "What this row is", "constraints": constraints})
    found: dict[str, Any] = {
        "$schema": f"{PROFILES}/tableschema.json", "fields": fields, "missingValues": list(d.schema.missing_values),
    }  # fmt: skip
    key = [PERSON if d.numbered and name == d.schema.unit.field else name for name in d.schema.primary_key]
    if key and set(key) <= set(d.all_columns):
        found["primaryKey"] = key
    return found


def _field(field: SchemaField) -> dict[str, Any]:
    found: dict[str, Any] = {"name": field.name, "type": field.type.value}
    found |= {k: v for k, v in (("title", field.title), ("description", field.description)) if v}
    constraints = {
        k: v for k, v in field.constraints.model_dump(mode="json").items() if v is not None and v is not False
    }
    return found | ({"constraints": constraints} if constraints else {})


def package(d: Described, label: Mapping[str, Any], *, made: str, files: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The descriptor. `files`: of each, its path, format, media type, bytes and SHA-256; all have the same table."""
    licence = {"name": "other", "title": d.licence or "not said"}
    kind = f"in the shape of the dataset {d.id}: no row is of a person"
    if label["tier"] == Tier.REPLICA:
        kind = f"modelled on those of the dataset {d.id} without noise: one that looks like somebody need not be chance"
    found: dict[str, Any] = {
        "$schema": f"{PROFILES}/datapackage.json",
        "name": f"{d.id}-synthetic",
        "id": f"urn:tre:twin:{d.id}:{files[0]['sha256']}",
        "title": f"SYNTHETIC: {d.title}",
        "description": f"Synthetic rows {kind}. {label['learnt']}. {d.description}".strip(),
        "created": f"{made}T00:00:00Z",
        "keywords": ["synthetic data", str(label["tier"])],
        "licenses": [licence],
        "contributors": [{"title": d.steward, "roles": ["steward of the real data"]}],
        "tre:synthetic": dict(label),
        "resources": [_resource(d, f) for f in files],
    }
    return found | ({"sources": [{"title": d.source}]} if d.source else {})


def _resource(d: Described, file: Mapping[str, Any]) -> dict[str, Any]:
    found = {
        "name": f"{d.id}-synthetic-{file['format']}", "type": "table", "path": file["path"], "format": file["format"],
        "mediatype": file["mediatype"], "bytes": file["bytes"], "hash": f"sha256:{file['sha256']}", "schema": table_schema(d),
    }  # fmt: skip
    return found | ({"encoding": "utf-8"} if file["format"] == "csv" else {})


def dictionary(d: Described) -> list[tuple[str, ...]]:
    """The data dictionary: a header, and a line for each column."""
    head = ("name", "type", "title", "description", "may be missing", "values", "step")
    return [head, *(_line(f, d.schema) for f in map(d.schema.field, d.columns)), *_ours(d)]


def _line(field: SchemaField, schema: TableSchema) -> tuple[str, ...]:
    required = field.constraints.required or field.name in schema.primary_key
    step = "" if field.step is None else f"{field.step:g}"
    return (
        field.name,
        field.type.value,
        field.title,
        field.description,
        "no" if required else "yes",
        values(field),
        step,
    )


def _ours(d: Described) -> Iterable[tuple[str, ...]]:
    if d.numbered:
        yield (PERSON, "integer", "Person", "The same number in all rows of a made-up person.", "no", "", "")
    if d.marked:
        yield (SYNTHETIC, "string", "What this row is", "", "no", d.marked, "")


def values(field: SchemaField) -> str:
    """What a field may hold, in words."""
    c = field.constraints
    if field.type is FieldType.BOOLEAN:
        return "false, true"
    if c.enum is not None:
        return ", ".join(map(str, c.enum))
    if c.minimum is not None or c.maximum is not None:
        return f"{'…' if c.minimum is None else c.minimum} to {'…' if c.maximum is None else c.maximum}"
    return c.pattern or ""
