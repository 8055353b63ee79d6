"""A controller's files as SQL: opened strictly, their columns typed as declared, their troubles told without a cell of them.

Guarantees: no text of DuckDB or of the operating system, which quotes cells, gets out, neither as a message nor as a chained
exception; what does not fit memory is on disk, in a folder only its owner can read, which is gone at the end whatever happens.
Not here: which rules rows keep (checks), and what becomes of them (ingest, quality).
"""

from __future__ import annotations

import csv
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tre.errors import DataError
from tre.rules.schema import ORDER, PERSON, TableSchema
from tre.secure.data.checks import marker_column, typed_columns
from tre.statistics.sql import literal

# DuckDB wants one text that it reads as NULL; this one (private use) leaves the decision to the schema's missing_values.
_NEVER = "\ue000"


@contextmanager
def workshop(parent: Path) -> Iterator[Path]:
    """A folder beside the output that nobody else can read, gone at the end, whatever happens."""
    try:
        folder = Path(tempfile.mkdtemp(prefix=".ingest-", dir=parent))
    except OSError:
        raise unwritable() from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def engine(folder: Path, *, memory: str, threads: int | None = None) -> duckdb.DuckDBPyConnection:
    """DuckDB with its tables and whatever does not fit memory in `folder`, and without the habit of fetching extensions."""
    config = {"memory_limit": memory, "temp_directory": str(folder / "spill"), "autoinstall_known_extensions": "false"}
    if threads is not None:
        config["threads"] = str(threads)
    return duckdb.connect(str(folder / "stage.duckdb"), config={**config, "preserve_insertion_order": "false"})


def attempt(
    connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object] = ()
) -> list[tuple[Any, ...]] | None:
    """The rows, or None if DuckDB failed. Its text, which may quote cells, is dropped: not even chained to an error."""
    try:
        return connection.execute(sql, list(values)).fetchall()
    except duckdb.Error:
        return None


def run(connection: duckdb.DuckDBPyConnection, sql: str, values: Sequence[object] = ()) -> list[tuple[Any, ...]]:
    """The rows of what can only fail for want of disk or memory."""
    rows = attempt(connection, sql, values)
    if rows is None:
        raise DataError(
            "ingest_failed",
            "The rows could not be processed.",
            "Check the free disk space beside the area and try again.",
        )
    return rows


def check_patterns(connection: duckdb.DuckDBPyConnection, schema: TableSchema) -> None:
    for field in schema.fields:
        if attempt(connection, "SELECT regexp_full_match('', ?)", [field.constraints.pattern or ""]) is None:
            raise DataError(
                "pattern_unsupported",
                f"The pattern of field {field.name!r} cannot be checked.",
                "Write it without look-around and back-references (RE2's syntax).",
            )


@dataclass(frozen=True)
class Typed:
    """SQL for the typed rows of a file, and how many of its columns are declared nowhere."""

    sql: str
    undeclared: int


def typed_file(
    connection: duckdb.DuckDBPyConnection, schema: TableSchema, path: Path, *, markers: bool = False, where: str = ""
) -> Typed:
    """What `typed_columns`, and if asked `marker_column`, say of each field."""
    table, native = open_file(connection, path)
    missing = [f.name for f in schema.fields if f.name not in native]
    if missing:
        raise DataError(
            "columns_missing",
            f"The file {path.name!r} has no column for: {', '.join(missing)}.",
            "Rename the file's columns as the fields are named, or add them, or remove the fields from the policy.",
        )
    columns = [c for f in schema.fields for c in typed_columns(f, native[f.name], schema.missing_values)]
    if markers:
        columns += [marker_column(f, native[f.name], schema.missing_values) for f in schema.fields]
    known = {*(f.name for f in schema.fields), PERSON, ORDER}
    return Typed(f"SELECT {', '.join(columns)} FROM {table} {where}", len(set(native) - known))


def open_file(connection: duckdb.DuckDBPyConnection, path: Path) -> tuple[str, dict[str, str]]:
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
    described = attempt(connection, f"DESCRIBE SELECT * FROM {table}")
    if described is None:
        raise unreadable()
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
        raise unreadable()
    # DuckDB compares names without regard to case.
    if not header or len({name.lower() for name in header}) != len(header) or "" in header:
        raise DataError(
            "header_invalid",
            "The first line of a CSV file is not a header of different, non-empty names.",
            "Give every column its own name.",
        )
    return header


def unreadable() -> DataError:
    return DataError(
        "file_unreadable",
        "A file cannot be read as a table.",
        "Is it there? CSV: UTF-8, commas, a header, as many cells in every line as in it, and line ends all alike. "
        "Parquet: a whole file.",
    )


def unwritable() -> DataError:
    return DataError(
        "area_unwritable", "The area's folder cannot be written to.", "Check its owner and the free space."
    )
