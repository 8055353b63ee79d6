"""OpenDP's MST and AIM make a twin of a table of codes: the algorithms' defaults, `synthesize(method="sample")`.

    python synthesis.py TASK.json

TASK.json: {"data": Parquet file of codes, "sizes": {column: number of codes}, "algorithm": "MST" | "AIM", "epsilon", "delta",
"out": where to write}. On stdout one JSON document: processor seconds from the first query to the last row, and peak MB.
"""

from __future__ import annotations

import json
import math
import resource
import sys
import time
import warnings
from pathlib import Path

import opendp.prelude as dp
import polars as pl
from opendp.extras import mbi
from opendp.mod import OpenDPException
from opendp_context.run import _rho
from protocol import Job

ATTEMPTS = 8


def main() -> None:
    warnings.simplefilter("ignore")
    dp.enable_features("contrib")
    task = json.loads(Path(sys.argv[1]).read_text())
    frame = pl.scan_parquet(task["data"])
    keys = {c: list(range(n)) for c, n in task["sizes"].items()}
    rho = _rho(Job(data=task["data"], columns={}, epsilon=task["epsilon"], delta=task["delta"]))
    for attempt in range(ATTEMPTS):
        started = time.process_time()
        # A little less each time: MST's own sums may exceed a budget that its parts are rounded from, which is its defect.
        context = dp.Context.compositor(
            data=frame, privacy_unit=dp.unit_of(contributions=1),
            privacy_loss=dp.loss_of(rho=math.floor(rho * 1e4 - attempt) / 1e4), split_evenly_over=1,
        )  # fmt: skip
        try:
            algorithm = getattr(mbi, task["algorithm"])()
            table = context.query().contingency_table(keys=keys, algorithm=algorithm).release()
            break
        except OpenDPException:
            if attempt == ATTEMPTS - 1:
                raise
    made = table.synthesize(method="sample")
    made = made.collect() if isinstance(made, pl.LazyFrame) else made
    made.write_parquet(task["out"])
    used = resource.getrusage(resource.RUSAGE_SELF)
    print(json.dumps({"cpu": time.process_time() - started, "mb": used.ru_maxrss / 1024}))


if __name__ == "__main__":
    main()
