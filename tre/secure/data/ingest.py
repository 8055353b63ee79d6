"""From a controller's files to the one Parquet file that everything else reads.

Guarantees:
- every row of the output keeps every rule that the schema declares; a file with rows that break one is refused, and
  nothing is written, unless the controller said that such rows are to be left out;
- errors carry fields, rules and counts of rows, never a value: no text of DuckDB or of the operating system, which
  quotes cells, gets out of this module, neither as a message nor as a chained exception;
- the same rows, key and schema give the same bytes, whatever the order of the rows and files;
- `tre_person` is a dense code in the order of a keyed hash: its order says nothing about who has it;
- `tre_order` depends on nothing but the person's own rows, so `tre_order < k` bounds each person without a look at others;
- the output appears at once and whole, and rows that do not fit memory are on disk, in a folder only its owner can read.
Rules are counted separately: a row that breaks two is counted under both. Of rows that share a key, all break the rule.
Missing, in a primary key, counts as `required`. Columns that are not declared are left out.

Not guaranteed: that `tre_person` stays the same between versions, or for the others when one person is added: it is for
counting people, not for assigning them to blocks. Uniqueness looks across people, before privacy: with `drop_invalid`, who
is left out can depend on others. Not done here: encryption at rest, and who may call this.

Steps: 1 header → 2 typed values and, for each rule, a flag → 3 keys → 4 counts, verdict → 5 codes, order → 6 bytes.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import duckdb

from tre.errors import DataError
from tre.rules.schema import ORDER, PERSON, TableSchema
from tre.secure.data.checks import Flag, flags_of
from tre.secure.data.reading import attempt, check_patterns, engine, run, typed_file, unreadable, unwritable, workshop
from tre.statistics.sql import literal, quote

MEMORY = "700MB"


@dataclass(frozen=True)
class RuleCount:
    """How many rows break one rule of one field (of several, joined by a comma, for a key)."""

    field: str
    rule: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What was written, and how many rows were left out: `sha256` is of the Parquet file's bytes."""

    rows: int
    people: int
    left_out: int
    rejected: tuple[RuleCount, ...]
    sha256: str


def ingest(
    schema: TableSchema, files: Sequence[Path], out: Path, *, key: bytes, drop_invalid: bool = False
) -> Ingested:
    """Check `files` (CSV or Parquet) against `schema` and write `out`. Raises DataError; then `out` is as it was."""
    if not files:
        raise DataError("files_missing", "There is no file to ingest.", "Name at least one CSV or Parquet file.")
    with workshop(out.parent) as folder, closing(engine(folder, memory=MEMORY)) as connection:
        rejected, came = _validate(connection, schema, files, drop_invalid=drop_invalid)
        rows, people = _arrange(connection, schema, key)
        if rows == 0:
            raise DataError(
                "rows_none", "No row is left to ingest.", "Check that the files hold rows which fit the schema."
            )
        sha256 = _write(connection, folder / "table.parquet", out)
    return Ingested(rows=rows, people=people, left_out=came - rows, rejected=rejected, sha256=sha256)


def _validate(
    connection: duckdb.DuckDBPyConnection, schema: TableSchema, files: Sequence[Path], *, drop_invalid: bool
) -> tuple[tuple[RuleCount, ...], int]:
    """Make `valid`, a table or a view: all rows, or those that break no rule; (broken rules, rows that came). Raises DataError where
    rows may not be left out."""
    check_patterns(connection, schema)
    flags = _stage(connection, schema, files)
    keys = _find_shared_keys(connection, schema)
    rejected, came = _count(connection, flags, keys)
    if rejected and not drop_invalid:
        raise _refusal(rejected)
    names = ", ".join(quote(f.name) for f in schema.fields)
    kept = " AND ".join(["TRUE", *(f"NOT {f.column}" for f in flags)])
    own = "".join(f" ANTI JOIN {k.table} USING ({k.columns})" for k in keys)
    kind = "TABLE" if rejected else "VIEW"  # where nothing is left out there is nothing to copy
    run(connection, f"CREATE {kind} valid AS SELECT {names} FROM (SELECT * FROM staged WHERE {kept}){own}")
    return rejected, came


# 1, 2: files to one table `staged` of typed values, with a flag for each rule that can be judged row by row


def _stage(connection: duckdb.DuckDBPyConnection, schema: TableSchema, files: Sequence[Path]) -> list[Flag]:
    flags = [flag for field in schema.fields for flag in flags_of(field, schema)]
    marks = "".join(f", {flag.sql} AS {flag.column}" for flag in flags)
    names = ", ".join(quote(f.name) for f in schema.fields)
    parts = [typed_file(connection, schema, path).sql for path in files]
    if attempt(connection, f"CREATE TABLE staged AS SELECT {names}{marks} FROM ({' UNION ALL '.join(parts)})") is None:
        raise unreadable()
    return flags


# 3, 4: keys that several rows share, counts, verdict


@dataclass(frozen=True)
class _Shared:
    """A key (the primary key or a unique field), and a table of those of its values that several rows have."""

    names: tuple[str, ...]
    rule: str
    table: str

    @property
    def columns(self) -> str:
        return ", ".join(quote(n) for n in self.names)


def _find_shared_keys(connection: duckdb.DuckDBPyConnection, schema: TableSchema) -> list[_Shared]:
    wanted: list[tuple[tuple[str, ...], str]] = [((f.name,), "unique") for f in schema.fields if f.constraints.unique]
    if schema.primary_key:
        wanted.append((schema.primary_key, "primary_key"))
    keys = [_Shared(names, rule, f"shared{i}") for i, (names, rule) in enumerate(wanted)]
    for key in keys:
        present = " AND ".join(f"{quote(n)} IS NOT NULL" for n in key.names)
        having = "GROUP BY ALL HAVING count(*) > 1"
        run(connection, f"CREATE TABLE {key.table} AS SELECT {key.columns} FROM staged WHERE {present} {having}")
    return keys


def _count(
    connection: duckdb.DuckDBPyConnection, flags: list[Flag], keys: list[_Shared]
) -> tuple[tuple[RuleCount, ...], int]:
    sums = ", ".join(["count(*)", *(f"count(*) FILTER (WHERE {f.column})" for f in flags)])
    came, *broken = run(connection, f"SELECT {sums} FROM staged")[0]
    counts = [RuleCount(f.field, f.rule, n) for f, n in zip(flags, broken, strict=True)]
    for key in keys:
        ((n,),) = run(connection, f"SELECT count(*) FROM staged SEMI JOIN {key.table} USING ({key.columns})")
        counts.append(RuleCount(",".join(key.names), key.rule, n))
    return tuple(c for c in counts if c.rows), int(came)


def _refusal(rejected: tuple[RuleCount, ...]) -> DataError:
    listed = "; ".join(f"{c.field}: {c.rule} ({c.rows} {'row' if c.rows == 1 else 'rows'})" for c in rejected)
    return DataError(
        "rows_rejected",
        f"Rows break the declared schema: {listed}. Nothing was ingested.",
        "Correct the file or the dataset's policy, or leave such rows out with --drop-invalid.",
    )


# 5, 6: codes and order, then bytes


def _arrange(connection: duckdb.DuckDBPyConnection, schema: TableSchema, key: bytes) -> tuple[int, int]:
    """Make the table `arranged`: valid rows with their person's code and their number within the person."""
    names = ", ".join(quote(f.name) for f in schema.fields)
    unit, secret = quote(schema.unit.field), key.hex()
    run(
        connection,
        f"CREATE TABLE people AS SELECT {unit} AS unit, row_number() OVER (ORDER BY "
        f"sha256(? || ':' || CAST({unit} AS VARCHAR))) - 1 AS {PERSON} FROM (SELECT DISTINCT {unit} FROM valid)",
        [secret],
    )
    order, values = ", ".join(quote(k) for k in schema.primary_key), []
    if not order:
        # The hash is of the row's text; the fields themselves after it settle rows whose texts happen to be the same.
        text = " || '|' || ".join(f"coalesce(CAST({quote(f.name)} AS VARCHAR), '')" for f in schema.fields)
        order, values = f"sha256(? || ':' || {text}), {names}", [secret]
    run(
        connection,
        f"CREATE TABLE arranged AS SELECT {names}, {PERSON}, "
        f"CAST(row_number() OVER (PARTITION BY {PERSON} ORDER BY {order}) - 1 AS INTEGER) AS {ORDER} "
        f"FROM valid JOIN people ON valid.{unit} = people.unit",
        values,
    )
    ((rows, people),) = run(connection, f"SELECT count(*), count(DISTINCT {PERSON}) FROM arranged")
    return rows, people


def _write(connection: duckdb.DuckDBPyConnection, part: Path, out: Path) -> str:
    run(connection, "SET threads = 1")  # row groups then end at the same rows every time
    query = f"SELECT * FROM arranged ORDER BY {PERSON}, {ORDER}"
    run(connection, f"COPY ({query}) TO {literal(str(part))} (FORMAT parquet, COMPRESSION zstd)")
    try:
        return publish(part, out)
    except OSError:
        raise unwritable() from None


def publish(part: Path, out: Path) -> str:
    """Make the finished file `part` appear as `out`, durably and at once; gives the SHA-256 of its bytes."""
    with part.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        os.fsync(file.fileno())
    part.chmod(0o600)
    part.replace(out)
    folder = os.open(out.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
    return sha256
