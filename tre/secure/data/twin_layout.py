"""How rows of people become one line for each person, and back: the columns of a twin that knows relations.

A person with one row has a column for each field. With several, there is a column for each field in each *slot*, so that
nothing about a person is spread over unrelated rows: the slots of a panel are the values of the key beside the person
(study years, say); of events, their first few in the order of time. Fields that the policy calls constant have one column.

Guarantees: the layout (`columns`, `slots`) is a function of the declared schema and policy alone. `read` is the only function
here that reads data; a person is in one line, and so in at most one cell of any table over columns, whoever else is there.
A person who is not there in a slot has no code in its columns, and is in no cell of theirs.
Not laid out: the person's field, free text, unique fields, and numbers or dates without both bounds. Events beyond the
last slot are not read. Not here: noise (twin_relations), and the values behind codes (twin_related).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from tre.errors import DataError
from tre.rules.schema import ORDER, PERSON, Closed, FieldType, TableSchema
from tre.secure.data.twin_plausible import PEOPLE, Cells, cell_number, cells_of
from tre.secure.data.twin_shape import most_rows, values_of
from tre.statistics.sql import literal, quote

Codes = np.ndarray[Any, np.dtype[np.int32]]

# Whether a person of a panel is there in a slot. No field can have this name.
THERE = "tre_there"
ABSENT = -1
MOST_PANEL = 12
MOST_EVENTS = 8
# Columns beyond this are too many to be related: events have fewer slots then.
MOST_COLUMNS = 120


class Column(Closed):
    """A field's cells in one slot; None for what a person has once. `always`: nobody is absent from it."""

    slot: int | None = None
    cells: Cells
    always: bool = True

    @property
    def presence(self) -> bool:
        """Whether it says in which slots a person is there."""
        return self.cells.field in (THERE, PEOPLE)


@dataclass(frozen=True, kw_only=True)
class Layout:
    """`panel` is the field whose values are the slots; `time` the field by which events are in order."""

    columns: tuple[Column, ...]
    slots: int
    panel: str | None = None
    time: str | None = None

    def pairs(self, a: str, b: str) -> list[tuple[int, int]]:
        """The numbers of the columns in which two fields meet: in every slot, or once."""
        mine, others = ([(i, c.slot) for i, c in enumerate(self.columns) if c.cells.field == name] for name in (a, b))
        return [(min(i, j), max(i, j)) for i, s in mine for j, t in others if s is None or t is None or s == t]


def layout(schema: TableSchema, *, constant: tuple[str, ...] = (), time: str | None = None) -> Layout:
    """The columns of a schema, those that a person has once first."""
    found = {c.field: c for c in cells_of(schema)}
    people = found.pop(PEOPLE)
    fields = [c for c in found.values() if not schema.field(c.field).constraints.unique]
    if most_rows(schema) == 1:
        return Layout(columns=tuple(Column(cells=c) for c in fields), slots=1)
    panel = _panel(schema)
    once = [Column(cells=c) for c in fields if c.field in constant and c.field != panel]
    varying = [c for c in fields if c.field not in constant and c.field != panel]
    if panel is not None:
        slots = len(_slot_values(schema, panel) or ())
        there = Cells(field=THERE, kind="categories", categories=(False, True))
        once += [Column(slot=k, cells=there) for k in range(slots)]
    else:
        fits = max(1, (MOST_COLUMNS - len(once) - 1) // max(1, len(varying)))
        slots = min(most_rows(schema), MOST_EVENTS, fits)
        once.append(Column(cells=people))
    # Everyone has a first event; of a panel, nobody need be there in any one slot.
    each = [Column(slot=k, cells=c, always=panel is None and k == 0) for k in range(slots) for c in varying]
    return Layout(columns=(*once, *each), slots=slots, panel=panel, time=time if panel is None else None)


def _panel(schema: TableSchema) -> str | None:
    """The one field beside the person in the primary key, if it can only take a few values."""
    others = [name for name in schema.primary_key if name != schema.unit.field]
    if len(others) != 1 or schema.unit.field not in schema.primary_key:
        return None
    values = _slot_values(schema, others[0])
    return others[0] if values is not None and len(values) <= MOST_PANEL else None


def _slot_values(schema: TableSchema, name: str) -> tuple[Any, ...] | None:
    field = schema.field(name)
    values = values_of(field)
    if values is None and field.type is FieldType.INTEGER and field.bounds is not None:
        low, high = (round(b) for b in field.bounds)
        values = tuple(range(low, high + 1)) if high - low < MOST_PANEL else None
    return values


def slot_values(schema: TableSchema, panel: str) -> tuple[Any, ...]:
    return _slot_values(schema, panel) or ()


def read(parquet: Path, schema: TableSchema, laid: Layout) -> list[Codes]:
    """Each column's code of every person, ABSENT where there is none. As secret as the rows: noise comes before anything
    else is done with them. Raises DataError, without a word of what was read."""
    connection = duckdb.connect(":memory:", config={"memory_limit": "1GB", "threads": 1})
    try:
        found = connection.execute(_query(parquet, schema, laid)).fetchnumpy()
        return [np.asarray(np.ma.filled(found[f"c{i}"], ABSENT), dtype=np.int32) for i in range(len(laid.columns))]
    except duckdb.Error:
        pass  # raised below, so that DuckDB's text, which can quote values, is not even chained to the error
    finally:
        connection.close()
    raise DataError(
        "measure_failed", "The relations could not be counted.", "Check the dataset's file and ingest it again."
    )


def _query(parquet: Path, schema: TableSchema, laid: Layout) -> str:
    bounded = f"SELECT * FROM read_parquet({literal(str(parquet))}) WHERE {ORDER} < {schema.unit.max_rows}"
    slotted = f"SELECT *, {_slot(schema, laid)} AS slot FROM ({bounded})"
    wanted = ", ".join(f"CAST({_code(column)} AS INTEGER) AS c{i}" for i, column in enumerate(laid.columns))
    return f"SELECT {wanted} FROM ({slotted}) GROUP BY {PERSON}"


def _slot(schema: TableSchema, laid: Layout) -> str:
    if laid.panel is not None:
        values = enumerate(slot_values(schema, laid.panel))
        return "CASE " + " ".join(f"WHEN {quote(laid.panel)} = {literal(v)} THEN {i}" for i, v in values) + " END"
    order = f"{quote(laid.time)} NULLS LAST, {ORDER}" if laid.time else ORDER
    return f"row_number() OVER (PARTITION BY {PERSON} ORDER BY {order}) - 1"


def _code(column: Column) -> str:
    """SQL for a person's code in a column; in each slot a person has one row at most, but a constant takes the first."""
    cells = column.cells
    if cells.field == THERE:
        return f"CAST(count(*) FILTER (slot = {column.slot}) > 0 AS INTEGER)"
    if cells.field == PEOPLE:
        whens = " ".join(f"WHEN count(*) < {literal(e)} THEN {i}" for i, e in enumerate(cells.edges[1:-1]))
        return f"CASE {whens} ELSE {len(cells.edges) - 2} END" if whens else "0"
    if column.slot is None:
        return f"arg_min({cell_number(cells)}, {ORDER})"
    return f"any_value({cell_number(cells)}) FILTER (slot = {column.slot})"
