"""Quality measured: how many rows break each check that a dataset's policy declares, of files or of an ingested version.

Guarantees:
- counts by check and never a value: no cell, bound or extreme of the data is in what comes out, nor in an error (see reading);
- memory is bounded whatever the rows (MEMORY for DuckDB; what does not fit is in a folder of the caller's, gone at the end);
- one pass over all columns answers every check that one row can break; each key then takes a pass over its own columns. A CSV
  file is read once, into a Parquet file in that folder;
- the meaning of each check of the Table Schema is ingest's (checks), which frictionless is the oracle of, in the tests.
`exact_vector` alone bounds people's rows, for noise: see its docstring. Not here: what may leave the area (it all stays).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb

from tre.rules.quality import Check, Counted, ForeignKey, Marked, QualityPolicy, Rule, Total, checks_of
from tre.rules.schema import ORDER, TableSchema
from tre.secure.data.checks import constant, flags_of
from tre.secure.data.reading import attempt, check_patterns, engine, run, typed_file, unreadable, workshop
from tre.secure.data.row_rules import compiled
from tre.statistics.sql import literal, quote

MEMORY = "512MB"
THREADS = 2

# The files of datasets that foreign keys lead to: those that are there; None for the very rows that are measured.
References = Mapping[str, Path | None]


@dataclass(frozen=True, kw_only=True)
class Measured:
    rows: int
    counts: tuple[Counted, ...]
    markers: tuple[Marked, ...]
    undeclared_columns: int


def measure(
    schema: TableSchema,
    quality: QualityPolicy,
    files: Sequence[Path],
    *,
    scratch: Path,
    references: References,
    fresh: bool | None = None,
    left_out: int | None = None,
) -> Measured:
    """Every check of `checks_of`. Of a version, not of files: `fresh`, whether it is as young as the declared frequency asks,
    and how many rows of its files ingest has left out."""
    with workshop(scratch) as folder, closing(engine(folder, memory=MEMORY, threads=THREADS)) as connection:
        check_patterns(connection, schema)
        undeclared = _open(connection, schema, files, folder)
        rows, by_row, sums, markers = _one_pass(connection, schema, quality)
        counts = []
        for check in checks_of(schema, quality):
            broken, repeats, of = by_row.get(check.id), None, rows
            if check.rule in (Rule.UNIQUE, Rule.PRIMARY_KEY):
                broken, repeats = _shared(connection, check.subject.split(","))
            elif check.rule is Rule.FOREIGN_KEY:
                key = next(k for k in quality.foreign_keys if _subject(k) == check.subject)
                broken = _orphans(connection, key, references)
            elif check.rule is Rule.REFRESHED:
                broken, of = (None if fresh is None else int(not fresh)), 1
            elif check.rule is Rule.LET_IN:
                broken, of = left_out, rows + (left_out or 0)
            elif check.rule is Rule.TOTAL:
                total = next(t for t in quality.totals if t.name == check.subject)
                found = _people(connection, schema) if total.of == "people" else sums.get(total.name, rows)
                broken, of = int(not _met(total, found)), 1
            counts.append(Counted(check=check, broken=broken, of=of, repeats=repeats))
    return Measured(rows=rows, counts=tuple(counts), markers=markers, undeclared_columns=undeclared)


def exact_vector(
    checks: Sequence[Check], schema: TableSchema, quality: QualityPolicy, file: Path, *, scratch: Path,
    references: References,
) -> tuple[int, ...]:  # fmt: skip
    """The number of rows, then of those that break each of `checks`, over at most `unit.max_rows` rows of each person.

    As secret as the rows: only for noise. Each count is over a person's own rows, if the checks are those of
    rules.quality_statement.noisy_checks: one person changes each by at most max_rows.
    """
    keys = {_subject(k): k for k in quality.foreign_keys}
    flags = _flags(schema, quality)
    of_rows = [c for c in checks if c.rule is not Rule.FOREIGN_KEY]
    with workshop(scratch) as folder, closing(engine(folder, memory=MEMORY, threads=THREADS)) as connection:
        _open(connection, schema, [file], folder, where=f"WHERE {ORDER} < {schema.unit.max_rows}")
        wanted = ", ".join(_counts(flags[c.id] for c in of_rows))
        ((rows, *counts),) = run(connection, f"SELECT {wanted} FROM typed")
        found = dict(zip((c.id for c in of_rows), counts, strict=True))
        for check in checks:
            if check.rule is Rule.FOREIGN_KEY:
                found[check.id] = _orphans(connection, keys[check.subject], references) or 0
    return (int(rows), *(int(found[c.id]) for c in checks))


def _open(
    connection: duckdb.DuckDBPyConnection, schema: TableSchema, files: Sequence[Path], folder: Path, *, where: str = ""
) -> int:
    """Make the view `typed` of all files; how many columns of theirs are declared nowhere."""
    parts, undeclared = [], 0
    for i, path in enumerate(files):
        typed = typed_file(connection, schema, path, markers=True, where=where)
        sql, undeclared = typed.sql, max(undeclared, typed.undeclared)
        if path.suffix.lower() == ".csv":
            copy = folder / f"file{i}.parquet"
            if attempt(connection, f"COPY ({sql}) TO {literal(str(copy))} (FORMAT parquet)") is None:
                raise unreadable()
            sql = f"SELECT * FROM read_parquet({literal(str(copy))})"
        parts.append(sql)
    if attempt(connection, f"CREATE VIEW typed AS {' UNION ALL '.join(parts)}") is None:
        raise unreadable()
    return undeclared


def _flags(schema: TableSchema, quality: QualityPolicy) -> dict[str, str]:
    """By a check's id: SQL that is true in rows that break it. All that one row can break by itself."""
    flags = {f"{f.field}:{f.rule}": f.sql for field in schema.fields for f in flags_of(field, schema)}
    flags |= {f"{f.name}:present": quote(f"{f.name}:absent") for f in schema.fields}
    for rule in quality.rules:
        flags[f"{rule.name}:row_rule"] = f"coalesce(NOT {compiled(schema, rule.holds, boolean=True)}, FALSE)"
    if (p := quality.period) is not None:
        outside = f"{quote(p.field)} < {constant(p.first)} OR {quote(p.field)} > {constant(p.last)}"
        flags[f"{p.field}:period"] = f"coalesce({outside}, FALSE)"
    return flags


def _one_pass(
    connection: duckdb.DuckDBPyConnection, schema: TableSchema, quality: QualityPolicy
) -> tuple[int, dict[str, int], dict[str, float], tuple[Marked, ...]]:
    """(rows, rows that break each check by its id, sums by total, cells by marker)"""
    flags = _flags(schema, quality)
    sums = {t.name: compiled(schema, t.sum, boolean=False) for t in quality.totals if t.sum is not None}
    marked = [(f.name, i) for f in schema.fields for i in range(len(schema.missing_values))]
    wanted = [
        *_counts(flags.values()),
        *(f"coalesce(sum(CAST({sql} AS DOUBLE)), 0)" for sql in sums.values()),
        *(f"count_if({quote(f'{name}:marker')} = {i})" for name, i in marked),
    ]
    (found,) = run(connection, f"SELECT {', '.join(wanted)} FROM typed")
    rest = list(found)
    rows, broken = int(rest[0]), dict(zip(flags, map(int, rest[1 : 1 + len(flags)]), strict=True))
    rest = rest[1 + len(flags) :]
    cells = zip(marked, rest[len(sums) :], strict=True)
    markers = tuple(Marked(field=name, marker=schema.missing_values[i], rows=int(n)) for (name, i), n in cells if n)
    return rows, broken, dict(zip(sums, map(float, rest[: len(sums)]), strict=True)), markers


def _counts(flags: Iterable[str]) -> list[str]:
    return ["count(*)", *(f"count_if({sql})" for sql in flags)]


def _shared(connection: duckdb.DuckDBPyConnection, names: Sequence[str]) -> tuple[int, int]:
    """Rows whose key another row has too, and of these the ones that are not the first."""
    present = " AND ".join(f"{quote(n)} IS NOT NULL" for n in names)
    groups = (
        f"SELECT count(*) AS n FROM typed WHERE {present} GROUP BY {', '.join(map(quote, names))} HAVING count(*) > 1"
    )
    ((rows, repeats),) = run(connection, f"SELECT coalesce(sum(n), 0), coalesce(sum(n - 1), 0) FROM ({groups})")
    return int(rows), int(repeats)


def _subject(key: ForeignKey) -> str:
    return f"{','.join(key.fields)}>{key.dataset}"


def _orphans(connection: duckdb.DuckDBPyConnection, key: ForeignKey, references: References) -> int | None:
    """Rows whose key is whole and not found; None where nothing to find it in was ingested."""
    if key.dataset not in references:
        return None
    file = references[key.dataset]
    table = "typed" if file is None else f"read_parquet({literal(str(file))})"
    known = ", ".join(f"{quote(b)} AS k{i}" for i, b in enumerate(key.references))
    present = " AND ".join(f"{quote(a)} IS NOT NULL" for a in key.fields)
    same = " AND ".join(f"t.{quote(a)} = known.k{i}" for i, a in enumerate(key.fields))
    ((n,),) = run(
        connection,
        f"SELECT count(*) FROM (SELECT {', '.join(map(quote, key.fields))} FROM typed WHERE {present}) AS t "
        f"ANTI JOIN (SELECT DISTINCT {known} FROM {table}) AS known ON {same}",
    )
    return int(n)


def _people(connection: duckdb.DuckDBPyConnection, schema: TableSchema) -> int:
    ((n,),) = run(connection, f"SELECT count(DISTINCT {quote(schema.unit.field)}) FROM typed")
    return int(n)


def _met(total: Total, found: Any) -> bool:
    # A sum of doubles is exact to a part in 10^9 here, whatever the order in which it was added up.
    return bool(abs(found - total.expected) <= (total.within + 1e-9) * abs(total.expected))
