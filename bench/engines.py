"""One grouped count and clamped mean, in this process: what `bench.check` starts a child for.

    python -m bench.engines {tre|polars|duckdb|parts|plan} FILE [KEYS]

Prints one JSON document: seconds of the second time, peak memory, and the numbers. The first time is not counted: it
loads libraries and starts threads, which a gateway that lives for weeks does once. `plan` reads no row: it parses and
prices the request. `tre` is the check's own
code path from request to noisy table (secure.release.check, without database and bundle); `parts` times its steps and
gives the numbers *before* noise. That is allowed here because the rows are made up; nothing else may do so.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bench.measure import Timing
from tre.rules.schema import TableSchema

KEYS = 40
LOW, HIGH, STEP = 0.0, 100.0, 0.1
REQUEST = {
    "dataset": "bench",
    "group_by": [{"column": "g"}],
    "statistics": {"n": {"kind": "count"}, "mean": {"kind": "mean", "column": "v", "bounds": [LOW, HIGH]}},
    "epsilon": 1.0,
}
DELTA = 1e-6

# Count and mean by key.
Numbers = dict[int, tuple[float, float]]


def schema(keys: int) -> TableSchema:
    return TableSchema.model_validate(
        {
            "fields": [
                {"name": "pid", "type": "integer", "constraints": {"required": True}},
                {"name": "g", "type": "integer", "constraints": {"required": True, "enum": list(range(keys))}},
                {"name": "v", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}, "step": STEP},
            ],
            "unit": {"field": "pid", "max_rows": 4},
        }
    )


def plan(_path: Path, declared: TableSchema) -> Numbers:
    """What the desk and the gateway do before anything is charged: is it allowed, what does it cost, what will come."""
    from tre.statistics.prepare import prepare
    from tre.statistics.request import parse

    prepare(parse(REQUEST), declared, delta=DELTA)
    return {}


def with_tre(path: Path, declared: TableSchema) -> Numbers:
    from tre.statistics.aggregate import open_rows
    from tre.statistics.prepare import prepare
    from tre.statistics.request import parse
    from tre.statistics.result import evaluate

    prepared = prepare(parse(REQUEST), declared, delta=DELTA)
    with open_rows(path) as connection:
        evaluate(connection, prepared)
    return {}  # noisy: there is nothing to compare


def with_polars(path: Path, _declared: TableSchema) -> Numbers:
    import polars as pl

    statistics = pl.len().alias("n"), pl.col("v").clip(LOW, HIGH).mean().alias("mean")
    frame = pl.scan_parquet(path).group_by("g").agg(*statistics).collect(engine="streaming")
    return {g: (n, mean) for g, n, mean in frame.select("g", "n", "mean").iter_rows()}


def with_duckdb(path: Path, _declared: TableSchema) -> Numbers:
    import duckdb

    # `least` passes over missing values, so they have to be left out by hand.
    clamped = f"avg(greatest(least(v, {HIGH}), {LOW})) FILTER (WHERE v IS NOT NULL)"
    sql = f"SELECT g, count(*), {clamped} FROM read_parquet(?) GROUP BY g"
    with duckdb.connect(":memory:") as connection:
        return {g: (n, mean) for g, n, mean in connection.execute(sql, [str(path)]).fetchall()}


def parts(path: Path, declared: TableSchema) -> tuple[Numbers, dict[str, float]]:
    """The steps of `with_tre`, each with its seconds, and the exact numbers between them."""
    from tre.statistics.aggregate import exact, open_rows
    from tre.statistics.prepare import prepare
    from tre.statistics.request import parse
    from tre.statistics.result import draw, table

    seconds: dict[str, float] = {}

    def timed(name: str, step: Callable[[], Any]) -> Any:
        before = time.perf_counter()
        result = step()
        seconds[name] = time.perf_counter() - before
        return result

    prepared = timed("prepare", lambda: prepare(parse(REQUEST), declared, delta=DELTA))
    with timed("open", lambda: open_rows(path)) as connection:
        vectors = timed("exact", lambda: exact(connection, prepared))
    noised = timed("noise", lambda: draw(prepared, vectors))
    timed("table", lambda: table(prepared, noised))
    (rows,) = prepared.uses["n"]
    total, present = prepared.uses["mean"]
    centre = total.grid.centre if total.grid else 0.0
    by_key = zip(prepared.keys, vectors[rows], vectors[total], vectors[present], strict=True)
    return {int(k[0] or 0): (n, centre + t * STEP / p) for k, n, t, p in by_key if p}, seconds


ENGINES: dict[str, Callable[[Path, TableSchema], Numbers]] = {
    "tre": with_tre,
    "polars": with_polars,
    "duckdb": with_duckdb,
}


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def _peak_mb() -> float:
    """From /proc: the peak that getrusage tells a child began with its parent's."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024  # type: ignore[index]


def main(engine: str, path: Path, keys: int) -> None:
    steps: dict[str, float] = {}
    declared = schema(keys)
    for _ in ("not counted", "counted"):
        wall, cpu = time.perf_counter(), _cpu()
        if engine == "parts":
            numbers, steps = parts(path, declared)
        else:
            numbers = (ENGINES | {"plan": plan})[engine](path, declared)
        timing = Timing(time.perf_counter() - wall, _cpu() - cpu)
    print(json.dumps({"timing": vars(timing), "numbers": numbers, "steps": steps, "peak_mb": _peak_mb()}))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else KEYS)
