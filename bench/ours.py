"""Ours, behind the one function that `bench.accuracy` calls: tre.statistics from request to cells with intervals.

The exact vectors are computed once and drawn from for every repeat, which a gateway never does: it has one draw for
each charge. That is allowed here as the rows are public.
A request groups all its statistics by the same columns, so a task is one request for each grouping. The budget is
split so that every noisy vector has the same share of rho, as it would within one request.
"""

from __future__ import annotations

import resource
from collections import defaultdict
from pathlib import Path
from typing import Any

import duckdb

from bench.peers.protocol import Answer, Statistic
from bench.workloads import Columns, Task
from tre.rules.accounting import epsilon_of, rho_of, share
from tre.rules.schema import ORDER, PERSON, TableSchema
from tre.statistics.aggregate import exact, open_rows
from tre.statistics.prepare import Prepared, prepare
from tre.statistics.request import parse
from tre.statistics.result import draw, table
from tre.statistics.table import Cell

BINS = 200


def release(
    task: Task, data: Path, schema: Columns, epsilon: float, delta: float, repeats: int
) -> tuple[list[list[Answer]], dict[str, float]]:
    """For each repeat the answers, in the peers' shape with `low` and `high` added; and the CPU seconds of one."""
    started = _cpu()
    groups = defaultdict(list)
    for s in task.statistics:
        groups[s.by].append(s)
    declared = _schema(schema)
    whole = {by: _prepare(by, group, declared, epsilon, delta) for by, group in groups.items()}
    shares = sum(len(p.components) for p in whole.values())
    rho = rho_of(epsilon, delta)
    prepared = {}
    for by, group in groups.items():
        part = epsilon_of(share(rho, shares) * len(whole[by].components), delta)
        prepared[by] = _prepare(by, group, declared, part, delta)
    if sum(p.rho_units for p in prepared.values()) > rho * (1 + 1e-6):
        raise SystemExit("the shares cost more than the whole")
    planned = _cpu()
    with open_rows(_with_people(data)) as connection:
        vectors = {by: exact(connection, p) for by, p in prepared.items()}
    computed = _cpu()
    drawn = [
        [a for by, p in prepared.items() for a in _answers(groups[by], table(p, draw(p, vectors[by])).cells)]
        for _ in range(repeats)
    ]
    once = (computed - planned) + (_cpu() - computed) / repeats
    return drawn, {"plan": planned - started, "draw": once}


def _prepare(
    by: tuple[str, ...], group: list[Statistic], schema: TableSchema, epsilon: float, delta: float
) -> Prepared:
    request: dict[str, Any] = {
        "dataset": "bench",
        "group_by": [{"column": column} for column in by],
        "statistics": {f"s{i}": _statistic(s) for i, s in enumerate(group)},
        "epsilon": epsilon,
    }
    return prepare(parse(request), schema, delta=delta)


def _statistic(s: Statistic) -> dict[str, Any]:
    if s.kind == "count":
        return {"kind": "count"}
    if s.kind == "quantile":
        return {"kind": "quantile", "column": s.column, "probability": s.probability, "bins": BINS}
    return {"kind": s.kind, "column": s.column}


def _answers(group: list[Statistic], cells: tuple[Cell, ...]) -> list[Answer]:
    by_label = {f"s{i}": s for i, s in enumerate(group)}
    return [
        by_label[c.statistic].answer([k for k in c.keys if k is not None], c.value) | {"low": c.low, "high": c.high}
        for c in cells
    ]


def _schema(columns: Columns) -> TableSchema:
    fields: list[dict[str, Any]] = [{"name": "person", "type": "integer", "constraints": {"required": True}}]
    for name, column in columns.items():
        field: dict[str, Any] = {"name": name, "constraints": {"required": True}}
        if column["kind"] == "category":
            field["type"] = "string" if isinstance(column["keys"][0], str) else "integer"
            field["constraints"]["enum"] = column["keys"]
        else:
            low, high = column["bounds"]
            field |= {"type": "integer" if column["step"] == 1 else "number", "step": column["step"]}
            field["constraints"] |= {"minimum": low, "maximum": high}
        fields.append(field)
    return TableSchema.model_validate({"fields": fields, "unit": {"field": "person", "max_rows": 1}})


def _with_people(data: Path) -> Path:
    """The rows as ingest writes them: each with its person, here one row a person."""
    path = data.with_suffix(".people.parquet")
    if not path.exists():
        query = f"SELECT row_number() OVER () AS {PERSON}, 0 AS {ORDER}, * FROM read_parquet('{data}')"
        with duckdb.connect(":memory:") as connection:
            connection.execute(f"COPY ({query}) TO '{path}' (FORMAT parquet)")
    return path


def _cpu() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime
