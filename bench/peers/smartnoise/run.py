"""SmartNoise SQL on a pandas frame: see bench/peers/protocol.py.

One query for each grouping. Its COUNT is written COUNT(column) where a mean of that column is asked for too, since the
library then draws the count once (columns have no missing values here). `censor_dims` and `clamp_counts` are off, as
the keys are public: a group without rows is then simply not there.
Split: epsilon is for each drawn column; the one for which `get_privacy_cost` of all queries together, the library's own
composition, is the budget. Where a task has statistics that it lacks (quantiles), their even
share is kept back for whatever has to answer them.
"""

from __future__ import annotations

import logging
import warnings
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import pandas as pd
import snsql
from protocol import Answer, Job, Plan, Prepare, Statistic, serve

TABLE = "data.rows"
AGGREGATES = {"sum": "SUM", "mean": "AVG", "variance": "VAR"}


def refuse(statistic: Statistic) -> str | None:
    return "no quantiles since 1.0.2" if statistic.kind == "quantile" else None


def prepare(job: Job) -> Prepare:
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)
    return partial(_plan, pd.read_parquet(job.data))


def _plan(frame: pd.DataFrame, job: Job, statistics: list[Statistic], shares: int) -> Plan:
    groups: dict[tuple[str, ...], list[Statistic]] = defaultdict(list)
    for s in statistics:
        groups[s.by].append(s)
    queries = [(by, group, _sql(by, group)) for by, group in groups.items()]
    sqls, limit = [sql for *_, sql in queries], job.epsilon * len(statistics) / shares
    # Every COUNT(*) is charged a delta, censored or not, and composing takes half of one.
    delta = job.delta / (len(statistics) + 1)
    # Few columns compose by adding up, so one probe says how many there are; the second call holds the library to it.
    probe = limit / 100
    epsilon = probe * limit / _reader(frame, job, probe, delta).get_privacy_cost(sqls)[0] * (1 - 1e-9)
    spent = _reader(frame, job, epsilon, delta).get_privacy_cost(sqls)
    if spent[0] > limit or spent[1] > job.delta:
        raise SystemExit(f"these queries would cost {spent}")

    def draw() -> list[Answer]:
        reader = _reader(frame, job, epsilon, delta)
        return [a for by, group, sql in queries for a in _answers(len(by), group, reader.execute(sql))]

    return Plan(draw, f"epsilon {epsilon:.4f} for each drawn column, {limit:.4f} in all by get_privacy_cost")


def _reader(frame: pd.DataFrame, job: Job, epsilon: float, delta: float) -> Any:
    schema: dict[str, Any] = {"row_privacy": True, "censor_dims": False, "clamp_counts": False, "rows": 1000}
    for name, column in job.columns.items():
        if column["kind"] == "number":
            low, high = column["bounds"]
            whole = pd.api.types.is_integer_dtype(frame[name])
            # Bounds as whole numbers keep a sum of whole numbers one, and its noise discrete.
            bounds = {"lower": int(low), "upper": int(high)} if whole else {"lower": float(low), "upper": float(high)}
            schema[name] = {"type": "int" if whole else "float", "nullable": False, **bounds}
        else:
            schema[name] = {"type": "string" if isinstance(column["keys"][0], str) else "int"}
    schemas = {"": {"data": {"rows": schema}}}
    privacy = snsql.Privacy(epsilon=epsilon, delta=delta)
    return snsql.from_df(frame, privacy=privacy, metadata=schemas)


def _sql(by: tuple[str, ...], group: list[Statistic]) -> str:
    averaged = [s.column for s in group if s.kind == "mean"]
    count = f"COUNT({averaged[0] if averaged else '*'})"
    wanted = [count if s.kind == "count" else f"{AGGREGATES[s.kind]}({s.column})" for s in group]
    columns = [*by, *(f"{what} AS v{i}" for i, what in enumerate(wanted))]
    return f"SELECT {', '.join(columns)} FROM {TABLE}" + (f" GROUP BY {', '.join(by)}" if by else "")


def _answers(width: int, group: list[Statistic], result: list[tuple[Any, ...]]) -> Iterator[Answer]:
    for row in result[1:]:  # the first holds the names
        for s, value in zip(group, row[width:], strict=True):
            yield s.answer(row[:width], value)


if __name__ == "__main__":
    serve(["smartnoise-sql", "opendp", "pandas"], refuse, prepare)
