"""OpenDP's `contingency_table` for tables and their margins: see bench/peers/protocol.py.

One query for all counts of a task, every table with the same weight (`Fixed`), fitted to one distribution by the
library; it has as many shares of the budget as there are counts. What else a task asks for is asked of the Context API,
one share each, and the noise is chosen by the same rule: both as in opendp_context.
A fit takes half a minute, so there are few repeats. Tasks without tables are those of opendp_context.
"""

from __future__ import annotations

import warnings
from typing import Any

import opendp.prelude as dp
import polars as pl
from opendp.extras.mbi import Count, Fixed
from opendp_context.run import answers, context, query, refuse
from protocol import Answer, Job, Plan, Prepare, Statistic, Unsupported, serve


def prepare(job: Job) -> Prepare:
    warnings.simplefilter("ignore")
    dp.enable_features("contrib")
    frame = pl.scan_parquet(job.data)
    return lambda job, statistics, shares: _plan(job, frame, statistics, shares)


def _plan(job: Job, frame: pl.LazyFrame, statistics: list[Statistic], shares: int) -> Plan:
    counts = [s for s in statistics if s.kind == "count"]
    if len(counts) < 2:
        raise Unsupported("no table to fit; as opendp_context")
    others = [s for s in statistics if s.kind != "count"]
    columns = sorted({c for s in counts for c in s.by})
    keys = {c: job.columns[c]["keys"] for c in columns}
    fixed = Fixed(queries=[Count(by=s.by) for s in counts if s.by])
    tables, how = context(job, frame.select(columns), shares, queries=1, each=len(counts))
    fit = tables.query().contingency_table(keys=keys, algorithm=fixed).resolve()
    ready = []
    if others:
        spending, _ = context(job, frame, shares, queries=len(others))
        ready = [(s, query(job, spending, frame, s).resolve()) for s in others]

    def draw() -> list[Answer]:
        table = fit(frame.select(columns))
        drawn = [answer for s in counts for answer in _cells(job, s, table)]
        return drawn + [answer for s, m in ready for answer in answers(s, m(frame).collect())]

    return Plan(draw, f"{how}, {len(counts)}/{shares} for one fit of all tables, 1/{shares} each for the rest")


def _cells(job: Job, s: Statistic, table: Any) -> list[Answer]:
    if not s.by:
        return [s.answer((), float(table.project(())))]
    found = {tuple(keys): value for *keys, value in table.project_melted(s.by).iter_rows()}
    return [s.answer(keys, found.get(keys)) for keys in job.keys(s)]


if __name__ == "__main__":
    serve(["opendp", "mbi", "jax", "polars"], refuse, prepare)
