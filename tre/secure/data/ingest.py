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

import csv
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tre.errors import DataError
from tre.rules.schema import ORDER, PERSON, TableSchema
from tre.secure.data.checks import Flag, flags_of, typed_columns
from tre.statistics.sql import literal, quote

MEMORY = "1GB"

# DuckDB wants one text that it reads as NULL; this one (private use) leaves the decision to the schema's missing_values.
_NEVER = "\ue000"


@dataclass(frozen=True)
class RuleCount:
    """How many rows break one rule of one field (of several, joined by a comma, for a key)."""

    field: str
    rule: str
    rows: int


@dataclass(frozen=True, kw_only=True)
class Ingested:
    """What was written: `sha256` is of the Parquet file's bytes."""

    rows: int
    people: int
    rejected: tuple[RuleCount, ...]
    sha256: str


def ingest(
    schema: TableSchema, files: Sequence[Path], out: Path, *, key: bytes, drop_invalid: bool = False
) -> Ingested:
    """Check `files` (CSV or Parquet) against `schema` and write `out`. Raises DataError; then `out` is as it was."""
    if not files:
        raise DataError("files_missing", "There is no file to ingest.", "Name at least one CSV or Parquet file.")
    with _workshop(out.parent) as folder, closing(_engine(folder)) as connection:
        rejected = _validate(connection, schema, files, drop_invalid=drop_invalid)
        rows, people = _arrange(connection, schema, key)
        if rows == 0:
            raise DataError(
                "rows_none", "No row is left to ingest.", "Check that the files hold rows which fit the schema."
            )
        sha256 = _write(connection, folder / "table.parquet", out)
    return Ingested(rows=rows, people=people, rejected=rejected, sha256=sha256)


@contextmanager
def _workshop(parent: Path) -> Iterator[Path]:
    """A folder beside the output that nobody else can read, gone at the end, whatever happens."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".ingest-", dir=parent))
    except OSError:
        raise _unwritable() from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _engine(folder: Path) -> duckdb.DuckDBPyConnection:
    """DuckDB with its tables and whatever does not fit memory in `folder`, and without the habit of fetching extensions."""
    config = {"memory_limit": MEMORY, "temp_directory": str(folder / "spill"), "autoinstall_known_extensions": "false"}
    return duckdb.connect(str(folder / "stage.duckdb"), config={**config, "preserve_insertion_order": "false"})


def _validate(
    connection: duckdb.DuckDBPyConnection, schema: TableSchema, files: Sequence[Path], *, drop_invalid: bool
) -> tuple[RuleCount, ...]:
    """Make the table `valid`: all rows, or those that break no rule. Raises DataError where rows may not be left out."""
    _check_patterns(connection, schema)
    flags = _stage(connection, schema, files)
    keys = _find_shared_keys(connection, schema)
    rejected = _count(connection, flags, keys)
    if rejected and not drop_invalid:
        raise _refusal(rejected)
    names = ", ".join(quote(f.name) for f in schema.fields)
    kept = " AND ".join(["TRUE", *(f"NOT {f.column}" for f in flags)])
    own = "".join(f" ANTI JOIN {k.table} USING ({k.columns})" for k in keys)
    _run(connection, f"CREATE TABLE valid AS SELECT {names} FROM (SELECT * FROM staged WHERE {kept}){own}")
    return rejected


def _try(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object] = ()
) -> list[tuple[Any, ...]] | None:
    """The rows, or None if DuckDB failed. Its text, which may quote cells, is dropped: not even chained to an error."""
    try:
        return connection.execute(sql, list(values)).fetchall()
    except duckdb.Error:
        return None


def _run(connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of what can only fail for want of disk or memory."""
    rows = _try(connection, sql, values)
    if rows is None:
        raise DataError(
            "ingest_failed",
            "The rows could not be processed.",
            "Check the free disk space beside the area and try again.",
        )
    return rows


def _check_patterns(connection: duckdb.DuckDBPyConnection, schema: TableSchema) -> None:
    for field in schema.fields:
        if _try(connection, "SELECT regexp_full_match('', ?)", [field.constraints.pattern or ""]) is None:
            raise DataError(
                "pattern_unsupported",
                f"The pattern of field {field.name!r} cannot be checked.",
                "Write it without look-around and back-references (RE2's syntax).",
            )


# 1, 2: files to one table `staged` of typed values, with a flag for each rule that can be judged row by row


def _stage(connection: duckdb.DuckDBPyConnection, schema: TableSchema, files: Sequence[Path]) -> list[Flag]:
    flags = [flag for field in schema.fields for flag in flags_of(field, schema)]
    marks = "".join(f", {flag.sql} AS {flag.column}" for flag in flags)
    names = ", ".join(quote(f.name) for f in schema.fields)
    parts = [_typed(connection, schema, path) for path in files]
    if _try(connection, f"CREATE TABLE staged AS SELECT {names}{marks} FROM ({' UNION ALL '.join(parts)})") is None:
        raise _unreadable()
    return flags


def _typed(connection: duckdb.DuckDBPyConnection, schema: TableSchema, path: Path) -> str:
    """SQL for one file: what `typed_columns` says of each field."""
    table, native = _open(connection, path)
    missing = [f.name for f in schema.fields if f.name not in native]
    if missing:
        raise DataError(
            "columns_missing",
            f"The file {path.name!r} has no column for: {', '.join(missing)}.",
            "Add the columns, or remove the fields from the dataset's policy.",
        )
    columns = ", ".join(c for f in schema.fields for c in typed_columns(f, native[f.name], schema.missing_values))
    return f"SELECT {columns} FROM {table}"


def _open(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, dict[str, str]]:
    """How to read the file in SQL, and its columns' types."""
    kind = path.suffix.lower()
    if kind not in (".csv", ".parquet"):
        raise DataError("file_unknown", "A file is neither .csv nor .parquet.", "Convert it to one of the two.")
    if set("*?[") & set(str(path)):  # DuckDB would read it as a pattern for several files
        raise DataError("file_unknown", "A file's path has one of the characters * ? [ in it.", "Rename it.")
    if kind == ".csv":
        header = _header(path)
        struct = ", ".join(f"{literal(name)}: 'VARCHAR'" for name in header)
        options = "header = true, auto_detect = false, delim = ',', quote = '\"', escape = '\"'"
        return (
            f"read_csv({literal(str(path))}, {options}, nullstr = {literal(_NEVER)}, columns = {{{struct}}})",
            dict.fromkeys(header, "VARCHAR"),
        )
    table = f"read_parquet({literal(str(path))})"
    described = _try(connection, f"DESCRIBE SELECT * FROM {table}")
    if described is None:
        raise _unreadable()
    return table, {name: native for name, native, *_ in described}


def _first_line(path: Path) -> list[str] | None:
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return next(csv.reader(file), [])
    except (OSError, UnicodeDecodeError, csv.Error):
        return None


def _header(path: Path) -> list[str]:
    header = _first_line(path)
    if header is None:
        raise _unreadable()
    # DuckDB compares names without regard to case.
    if not header or len({name.lower() for name in header}) != len(header) or "" in header:
        raise DataError(
            "header_invalid",
            "The first line of a CSV file is not a header of different, non-empty names.",
            "Give every column its own name.",
        )
    return header


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
        _run(connection, f"CREATE TABLE {key.table} AS SELECT {key.columns} FROM staged WHERE {present} {having}")
    return keys


def _count(connection: duckdb.DuckDBPyConnection, flags: list[Flag], keys: list[_Shared]) -> tuple[RuleCount, ...]:
    sums = ", ".join(["count(*)", *(f"count(*) FILTER (WHERE {f.column})" for f in flags)])
    _, *broken = _run(connection, f"SELECT {sums} FROM staged")[0]
    counts = [RuleCount(f.field, f.rule, n) for f, n in zip(flags, broken, strict=True)]
    for key in keys:
        ((n,),) = _run(connection, f"SELECT count(*) FROM staged SEMI JOIN {key.table} USING ({key.columns})")
        counts.append(RuleCount(",".join(key.names), key.rule, n))
    return tuple(c for c in counts if c.rows)


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
    _run(
        connection,
        f"CREATE TABLE people AS SELECT {unit} AS unit, row_number() OVER (ORDER BY "
        f"sha256(? || ':' || CAST({unit} AS VARCHAR))) - 1 AS {PERSON} FROM (SELECT DISTINCT {unit} FROM valid)",
        [secret],
    )
    # The hash is of the row's text; the fields themselves after it settle rows whose texts happen to be the same.
    text = " || '|' || ".join(f"coalesce(CAST({quote(f.name)} AS VARCHAR), '')" for f in schema.fields)
    order = ", ".join([*(quote(k) for k in schema.primary_key), f"sha256(? || ':' || {text})", names])
    _run(
        connection,
        f"CREATE TABLE arranged AS SELECT {names}, {PERSON}, "
        f"CAST(row_number() OVER (PARTITION BY {PERSON} ORDER BY {order}) - 1 AS INTEGER) AS {ORDER} "
        f"FROM valid JOIN people ON valid.{unit} = people.unit",
        [secret],
    )
    ((rows, people),) = _run(connection, f"SELECT count(*), count(DISTINCT {PERSON}) FROM arranged")
    return rows, people


def _write(connection: duckdb.DuckDBPyConnection, part: Path, out: Path) -> str:
    _run(connection, "SET threads = 1")  # row groups then end at the same rows every time
    query = f"SELECT * FROM arranged ORDER BY {PERSON}, {ORDER}"
    _run(connection, f"COPY ({query}) TO {literal(str(part))} (FORMAT parquet, COMPRESSION zstd)")
    try:
        return publish(part, out)
    except OSError:
        raise _unwritable() from None


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


def _unreadable() -> DataError:
    return DataError(
        "file_unreadable",
        "A file cannot be read as a table.",
        "CSV: UTF-8, commas, a header, and as many cells in every line as in it. Parquet: a whole file.",
    )


def _unwritable() -> DataError:
    return DataError(
        "area_unwritable", "The area's folder cannot be written to.", "Check its owner and the free space."
    )
