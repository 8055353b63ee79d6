"""PipelineDP on its local backend, with public partitions: see bench/peers/protocol.py.

One `aggregate` for each grouping and each column of numbers, with all its metrics, as the library shares a count
between COUNT and MEAN and one tree among PERCENTILEs; counts ride along where a mean is asked for by the same keys.
Split: `NaiveBudgetAccountant(num_aggregations=...)`, which gives every aggregation the same and halves that where one
needs two mechanisms (a mean: a count and a sum), Laplace noise. The other accountant (PLD) is called experimental and "not yet compatible with DPEngine" by its own page.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterator
from functools import partial
from typing import Any

import pipeline_dp
import pyarrow.parquet as pq
from pipeline_dp import Metrics
from protocol import Answer, Job, Plan, Prepare, Statistic, serve

METRICS = {"count": Metrics.COUNT, "sum": Metrics.SUM, "mean": Metrics.MEAN, "variance": Metrics.VARIANCE}
Row = dict[str, Any]
Aggregation = list[Statistic]


def prepare(job: Job) -> Prepare:
    rows = [{**row, "row": i} for i, row in enumerate(pq.read_table(job.data).to_pylist())]
    return partial(_plan, rows)


def _plan(rows: list[Row], job: Job, statistics: list[Statistic], _: int) -> Plan:
    aggregations = list(_aggregations(statistics))

    def draw() -> list[Answer]:
        accountant = pipeline_dp.NaiveBudgetAccountant(job.epsilon, job.delta, num_aggregations=len(aggregations))
        engine = pipeline_dp.DPEngine(accountant, pipeline_dp.LocalBackend())
        results = [(a, _aggregate(engine, rows, job, a)) for a in aggregations]
        accountant.compute_budgets()
        return [answer for a, result in results for answer in _answers(a, dict(result))]

    return Plan(draw, f"naive, Laplace, epsilon/{len(aggregations)} for each aggregation")


def _aggregations(statistics: list[Statistic]) -> Iterator[Aggregation]:
    """Statistics of one grouping and column together; a count with the mean (or else whatever) of the same grouping."""
    found: dict[tuple[str, ...], dict[str | None, Aggregation]] = defaultdict(lambda: defaultdict(list))
    for s in statistics:
        found[s.by][s.column].append(s)
    for columns in found.values():
        counts = columns.pop(None, [])
        with_mean = [c for c, group in columns.items() if any(s.kind in ("mean", "variance") for s in group)]
        target = (with_mean or list(columns) or [None])[0]
        columns[target] = counts + columns[target]
        yield from columns.values()


def _metric(s: Statistic) -> Any:
    return Metrics.PERCENTILE(100 * s.probability) if s.probability is not None else METRICS[s.kind]


def _aggregate(engine: Any, rows: list[Row], job: Job, aggregation: Aggregation) -> Any:
    first, numbers = aggregation[0], [s for s in aggregation if s.column]
    low, high = job.bounds(numbers[0]) if numbers else (0.0, 1.0)
    parameters = pipeline_dp.AggregateParams(
        metrics=[_metric(s) for s in aggregation],
        noise_kind=pipeline_dp.NoiseKind.LAPLACE,
        max_partitions_contributed=1,
        max_contributions_per_partition=1,
        min_value=low,
        max_value=high,
    )
    column = numbers[0].column if numbers else None
    extractors = pipeline_dp.DataExtractors(
        privacy_id_extractor=lambda row: row["row"],
        partition_extractor=lambda row: tuple(row[c] for c in first.by),
        value_extractor=lambda row: row[column] if column else 1,
    )
    return engine.aggregate(rows, parameters, extractors, public_partitions=list(job.keys(first)))


def _answers(aggregation: Aggregation, result: dict[Any, Any]) -> Iterator[Answer]:
    for s in aggregation:
        for keys, metrics in result.items():
            value = getattr(metrics, _field(s))
            yield s.answer(keys, None if value is None or math.isnan(value) else value)


def _field(s: Statistic) -> str:
    if s.probability is None:
        return s.kind
    percent = 100 * s.probability
    shown = str(round(percent)) if round(percent) == percent else str(percent).replace(".", "_")
    return f"percentile_{shown}"


if __name__ == "__main__":
    serve(["pipeline-dp", "python-dp"], lambda _: None, prepare)
