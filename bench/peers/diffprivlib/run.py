"""diffprivlib's tools on numpy arrays: see bench/peers/protocol.py.

Tables of counts by `histogramdd`, which spends once for all its cells; means, sums, variances and quantiles group by
group, each with the whole share, since groups have no rows in common (parallel composition, which the library leaves
to its user). Split: what `BudgetAccountant.remaining(k)` gives for as many queries, the accountant being charged once
for a grouped statistic.
Favoured twice: `mean` and `var` take the exact size of a group as public, and noise is drawn in floating point.
"""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pyarrow.parquet as pq
from diffprivlib import BudgetAccountant, tools
from protocol import Answer, Job, Plan, Prepare, Statistic, serve

Table = dict[str, np.ndarray]


def prepare(job: Job) -> Prepare:
    warnings.simplefilter("ignore")
    frame = pq.read_table(job.data)
    table = {name: np.asarray(frame[name].to_pylist()) for name in frame.column_names}
    for name, column in job.columns.items():
        if column["kind"] == "category":
            code = {key: i for i, key in enumerate(column["keys"])}
            table[name] = np.array([code[v] for v in table[name].tolist()])
    return partial(_plan, table)


def _plan(table: Table, job: Job, statistics: list[Statistic], shares: int) -> Plan:
    epsilon, _ = _accountant(job).remaining(shares)

    def draw() -> list[Answer]:
        accountant = _accountant(job)
        answers = []
        for s in statistics:
            accountant.spend(epsilon, 0)
            answers += _counts(table, job, s, epsilon) if s.kind == "count" else _numbers(table, job, s, epsilon)
        return answers

    return Plan(draw, f"epsilon {epsilon:.4f} each, by the library's accountant; parallel over groups by hand")


def _accountant(job: Job) -> BudgetAccountant:
    return BudgetAccountant(epsilon=job.epsilon, delta=job.delta, slack=job.delta)


def _counts(table: Table, job: Job, s: Statistic, epsilon: float) -> list[Answer]:
    free = BudgetAccountant()  # charged by the caller, once
    # The total as a histogram of one bin: `count_nonzero` cuts at the array's size, which is the very number asked for.
    by = s.by or (next(c for c, column in job.columns.items() if column["kind"] == "category"),)
    sizes = [len(job.columns[c]["keys"]) for c in by]
    edges = [np.arange(n + 1) - 0.5 if s.by else np.array([-0.5, n - 0.5]) for n in sizes]
    sample = np.stack([table[c] for c in by], axis=1)
    counts, _ = tools.histogramdd(sample, epsilon=epsilon, bins=edges, accountant=free)
    return [s.answer(keys, value) for keys, value in zip(job.keys(s), counts.ravel(), strict=True)]


def _numbers(table: Table, job: Job, s: Statistic, epsilon: float) -> list[Answer]:
    shape = [len(job.columns[c]["keys"]) for c in s.by]
    column: np.ndarray = table[s.column or ""].astype(float)
    cells: np.ndarray = np.zeros(len(column), dtype=int)
    for c, size in zip(s.by, shape, strict=True):
        cells = cells * size + table[c]
    groups = (column[cells == i] for i in range(int(np.prod(shape, dtype=int))))
    return [s.answer(keys, _number(g, job, s, epsilon)) for keys, g in zip(job.keys(s), groups, strict=True)]


def _number(values: np.ndarray, job: Job, s: Statistic, epsilon: float) -> float | None:
    if not len(values) and s.kind != "sum":
        return None  # the library fails on an empty group
    given = {"epsilon": epsilon, "bounds": job.bounds(s), "accountant": BudgetAccountant()}
    if s.kind == "quantile":
        return float(tools.quantile(values, s.probability, **given))
    return float({"sum": tools.sum, "mean": tools.mean, "variance": tools.var}[s.kind](values, **given))


if __name__ == "__main__":
    serve(["diffprivlib", "numpy", "scikit-learn"], lambda _: None, prepare)
