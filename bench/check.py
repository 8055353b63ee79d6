"""The check's own work on rows: a grouped count and clamped mean, beside Polars (streaming) and DuckDB's plain SQL.

All three read the same Parquet file, as ingest writes it, in a process of their own each time. Only ours bounds each
person's rows, puts numbers on a grid, counts present values apart, and adds noise: the ratio is the price of that.
Not measured: charging the ledger, and building the bundle (see `submit`).
"""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from typing import Any

import duckdb

from bench.engines import ENGINES, KEYS
from bench.measure import Comparison, Run, Timing, alternate, command, say

SIZES = (1_000_000, 10_000_000)
QUICK = (100_000, 1_000_000)


def run(folder: Path, *, quick: bool, repeats: int | None) -> list[Comparison]:
    return [_compared(folder, rows, repeats or (3 if quick else 9)) for rows in (QUICK if quick else SIZES)]


def _compared(folder: Path, rows: int, repeats: int) -> Comparison:
    path = folder / f"rows-{rows}.parquet"
    write_rows(path, rows)
    say(f"check: {rows:,} rows, {repeats} rounds")
    peaks: dict[str, list[float]] = {name: [] for name in ENGINES}
    steps: list[Mapping[str, float]] = []

    def arm(engine: str) -> Run:
        def once(number: int) -> Timing:
            found = child(engine, path)
            peaks[engine].append(found["peak_mb"])
            if engine == "tre" and number:
                steps.append(child("parts", path)["steps"])
            return Timing(**found["timing"])

        return once

    _see_that_they_agree(path)
    timings = alternate({name: arm(name) for name in ENGINES}, repeats)
    notes: dict[str, float | str] = {"file_mb": round(path.stat().st_size / 2**20, 1)}
    notes |= {f"{name}_peak_mb": round(median(found)) for name, found in peaks.items()}
    notes |= {f"tre_{step}_ms": round(median(s[step] for s in steps) * 1000, 2) for step in steps[0]}
    return Comparison(subject="check", setting=f"{rows:,} rows", baseline="polars", timings=timings, notes=notes)


def write_rows(path: Path, rows: int, keys: int = KEYS) -> None:
    """Four rows a person, 40 groups unless said, one value in a hundred missing, a third of the rest above the bound.

    From a hash and no generator, so that every run of every machine has the same rows. Ordered and compressed as
    ingest does it.
    """
    values = "CASE WHEN hash(i + 1) % 100 > 0 THEN (hash(i + 2) % 1500) / 10 END"
    query = f"""
        SELECT i // 4 AS tre_person, (i % 4)::INTEGER AS tre_order, 1000000 + i // 4 AS pid,
               (hash(i) % {keys})::BIGINT AS g, ({values})::DOUBLE AS v
        FROM range({rows}) t(i) ORDER BY i
    """
    with duckdb.connect(":memory:") as connection:
        connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet, COMPRESSION zstd)")


def child(engine: str, path: Path, keys: int = KEYS) -> dict[str, Any]:
    """What bench.engines says of one engine, in a process of its own."""
    said = command(sys.executable, "-m", "bench.engines", engine, str(path), str(keys))[1]
    found: dict[str, Any] = json.loads(said)
    return found


def _see_that_they_agree(path: Path) -> None:
    """A comparison of different numbers would be none: ours (before noise) and DuckDB's must be Polars'."""
    expected = child("polars", path)["numbers"]
    for engine in ("parts", "duckdb"):
        found = child(engine, path)["numbers"]
        same = found.keys() == expected.keys() and all(
            found[g][0] == n and math.isclose(found[g][1], mean, rel_tol=1e-9) for g, (n, mean) in expected.items()
        )
        if not same:
            raise SystemExit(f"{engine} and polars do not compute the same numbers")
