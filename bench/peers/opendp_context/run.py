"""OpenDP's Context API on a Polars scan, as its documentation has a careful user do it: see bench/peers/protocol.py.

Each statistic is one query of a context whose loss is split evenly. Public keys by `with_keys`, means by `dp.mean`
(which divides a noisy sum by a noisy count of its own), quantiles over a public list of candidates.
Pure epsilon (Laplace noise) up to twelve queries, zCDP (Gaussian) from thirteen, which is where the noise that
`query.summarize` shows becomes less; the rho is OpenDP's own conversion of (epsilon, delta).
A query's measurement is calibrated once (that takes most of the time) and then invoked for every repeat.
"""

from __future__ import annotations

import warnings
from typing import Any

import opendp.prelude as dp
import polars as pl
from protocol import Answer, Job, Plan, Prepare, Statistic, serve

PURE_UP_TO = 12
MAX_ROWS = 1_000_000  # a public bound, which sums of floats need
CANDIDATES = 201


def refuse(statistic: Statistic) -> str | None:
    return "no variance in the Polars API" if statistic.kind == "variance" else None


def prepare(job: Job) -> Prepare:
    warnings.simplefilter("ignore")  # that `dp.len` will no longer be cut at 0 in a later version
    dp.enable_features("contrib")
    frame = pl.scan_parquet(job.data)
    return lambda job, statistics, shares: _plan(job, frame, statistics, shares)


def _plan(job: Job, frame: pl.LazyFrame, statistics: list[Statistic], shares: int) -> Plan:
    spending, how = context(job, frame, shares, queries=shares)
    ready = [(s, query(job, spending, frame, s).resolve()) for s in statistics]

    def draw() -> list[Answer]:
        return [answer for s, measurement in ready for answer in answers(s, measurement(frame).collect())]

    return Plan(draw, f"{how}, 1/{shares} each")


def context(job: Job, frame: pl.LazyFrame, shares: int, *, queries: int, each: int = 1) -> tuple[Any, str]:
    """A context for so many queries, each with `each` of all the shares; and the noise it will draw."""
    pure, part = shares <= PURE_UP_TO, queries * each / shares
    made = dp.Context.compositor(
        data=frame,
        privacy_unit=dp.unit_of(contributions=1),
        privacy_loss=dp.loss_of(epsilon=job.epsilon * part) if pure else dp.loss_of(rho=_rho(job) * part),
        split_evenly_over=queries,
        margins=[dp.polars.Margin(max_length=MAX_ROWS)],
    )
    return made, "epsilon, Laplace" if pure else "zCDP, Gaussian"


def _rho(job: Job) -> float:
    """The largest rho that OpenDP converts to at most (epsilon, delta)."""
    space = dp.atom_domain(T=int), dp.absolute_distance(T=float)

    def within(scale: float) -> bool:
        cast = dp.c.make_fix_delta(dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale)), delta=job.delta)
        return bool(cast.check(1.0, (job.epsilon, job.delta)))

    scale = dp.binary_search(within, T=float)
    return float(dp.m.make_gaussian(*space, scale).map(1.0))


def query(job: Job, spending: Any, frame: pl.LazyFrame, s: Statistic) -> Any:
    asked, what = spending.query(), _expression(job, frame.collect_schema(), s)
    if not s.by:
        return asked.select(what.alias("value"))
    keys = pl.LazyFrame(list(job.keys(s)), schema=list(s.by), orient="row")
    return asked.group_by(*s.by).agg(what.alias("value")).with_keys(keys)


def _expression(job: Job, schema: pl.Schema, s: Statistic) -> Any:
    if s.kind == "count":
        return dp.len()
    # Nothing is missing in these columns; the library does not know, and wants to be told what to do about it.
    column, (low, high) = pl.col(s.column or "").fill_null(0), job.bounds(s)
    step = (high - low) / (CANDIDATES - 1)
    if schema[s.column or ""].is_float():
        column = column.fill_nan(0.0)
    else:
        low, high, step = int(low), int(high), max(1, round(step))
    if s.kind == "sum":
        return column.dp.sum((low, high))
    if s.kind == "mean":
        return column.dp.mean((low, high))
    return column.dp.quantile(s.probability, [low + step * i for i in range(int((high - low) / step + 0.5) + 1)])


def answers(s: Statistic, table: pl.DataFrame) -> list[Answer]:
    return [s.answer(keys, value) for *keys, value in table.select(*s.by, "value").iter_rows()]


if __name__ == "__main__":
    serve(["opendp", "polars"], refuse, prepare)
