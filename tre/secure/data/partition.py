"""People in blocks: which of k blocks a person is in, and files of each block's rows alone.

Guarantees: a person's block is a keyed hash of the identifier, and of nothing else: no row, no other person and no order
has a part in it. A block's files hold the project's columns of that block's people, in an order, with codes and with
bytes that are a function of those rows: adding or removing a person changes the files of one block, and of no other.
Datasets of one population are cut by the same hash, so that linked rows travel with their person. A block may be empty.
Not guaranteed: equal sizes (balancing would let one person move others), or that the time this takes tells nothing.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from tre.rules.schema import ORDER, PERSON
from tre.statistics.sql import literal, quote

_BLOCK, _UNIT = "tre_block", "tre_unit"


@dataclass(frozen=True, kw_only=True)
class Source:
    """A dataset's file as ingest wrote it, its identifier's field, and the columns that may be seen."""

    rows: Path
    unit: str
    columns: tuple[str, ...]


def block_of(key: bytes, population: str, k: int, identifier: str) -> int:
    """The block of a person, from 0. `key` is the area's; k is part of it, so that no two partitions are alike."""
    found = hmac.new(key, f"{population}\n{k}\n{identifier}".encode(), hashlib.sha256).digest()
    return int.from_bytes(found, "big") % k  # of 256 bits: as good as uniform


def partition(folder: Path, sources: Mapping[str, Source], *, key: bytes, population: str, k: int) -> None:
    """Write `folder`/BLOCK/DATASET.parquet for every block and dataset. The folder must not exist."""
    for block in range(k):
        (folder / str(block)).mkdir(parents=True)
    for name, source in sources.items():
        table = _arranged(source, key, population, k)
        counts = np.bincount(table[_BLOCK].to_numpy(), minlength=k).tolist()
        table, start = table.drop_columns([_BLOCK]), 0
        for block, rows in enumerate(counts):
            _write(table.slice(start, rows), folder / str(block) / f"{name}.parquet")
            start += rows


def _arranged(source: Source, key: bytes, population: str, k: int) -> pa.Table:
    """The rows, block after block; within one by person in the order of ingest's keyed hash, and by their own order."""
    rows = f"read_parquet({literal(str(source.rows))})"
    with duckdb.connect(":memory:", config={"autoinstall_known_extensions": "false"}) as connection:
        units = connection.execute(f"SELECT DISTINCT CAST({quote(source.unit)} AS VARCHAR) FROM {rows}").fetchall()
        names = [str(unit) for (unit,) in units]
        blocks = pa.table(
            {_UNIT: names, _BLOCK: pa.array([block_of(key, population, k, n) for n in names], pa.int64())}
        )
        connection.register("blocks", blocks)
        wanted = ", ".join(quote(c) for c in source.columns)
        # Codes count the people of the block alone: ingest's own say how many there are before.
        code = f"CAST(dense_rank() OVER (PARTITION BY {_BLOCK} ORDER BY {PERSON}) - 1 AS BIGINT)"
        return connection.sql(
            f"SELECT {wanted}, {code} AS {PERSON}, {ORDER}, {_BLOCK} FROM (SELECT r.*, b.{_BLOCK} FROM {rows} r "
            f"JOIN blocks b ON CAST(r.{quote(source.unit)} AS VARCHAR) = b.{_UNIT}) "
            f"ORDER BY {_BLOCK}, {PERSON}, {ORDER}"
        ).to_arrow_table()


def _write(rows: pa.Table, path: Path) -> None:
    """Without anything of where in the whole they lay: a copy of their own, and Arrow's metadata alone."""
    copied = rows.take(pa.array(np.arange(rows.num_rows))).combine_chunks().replace_schema_metadata(None)
    pq.write_table(copied, path, compression="zstd")
    path.chmod(0o644)  # for the sandbox's own user; the area's folder is closed to everyone else
