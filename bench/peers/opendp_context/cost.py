"""A grouped count and clamped mean by OpenDP's Context API, as bench.engines does it with the others.

    PEER'S-PYTHON cost.py {plan|release} FILE KEYS

`plan` calibrates the noise, without which the library cannot tell what a query costs or how exact it will be;
`release` is the whole way. Prints the same JSON document as bench.engines: seconds of the second time, peak memory.
Four rows a person are declared, not enforced: the library's own bounding of rows per person would add to its time.
"""

from __future__ import annotations

import json
import re
import resource
import sys
import time
import warnings
from pathlib import Path

import opendp.prelude as dp
import polars as pl

LOW, HIGH = 0.0, 100.0


def once(what: str, path: str, keys: int) -> None:
    frame = pl.scan_parquet(path).select("g", "v")
    context = dp.Context.compositor(
        data=frame,
        privacy_unit=dp.unit_of(contributions=4),
        privacy_loss=dp.loss_of(rho=0.024356),
        split_evenly_over=1,
        margins=[dp.polars.Margin(max_length=1_000_000_000)],
    )
    column = pl.col("v").fill_null(0.0).fill_nan(0.0)
    statistics = dp.len().alias("n"), column.dp.mean((LOW, HIGH)).alias("mean")
    query = context.query().group_by("g").agg(*statistics).with_keys(pl.LazyFrame({"g": range(keys)}))
    if what == "plan":
        query.resolve()
    else:
        query.release().collect()


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main(what: str, path: str, keys: int) -> None:
    warnings.simplefilter("ignore")
    dp.enable_features("contrib")
    for _ in ("not counted", "counted"):
        wall, cpu = time.perf_counter(), _cpu()
        once(what, path, keys)
        timing = {"wall": time.perf_counter() - wall, "cpu": _cpu() - cpu}
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    print(json.dumps({"timing": timing, "peak_mb": int(found[1]) / 1024 if found else 0.0}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
