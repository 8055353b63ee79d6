"""Ours, behind the one function that `bench.accuracy` calls: tre.statistics from request to cells with intervals.

A task is one request: every statistic says which of its groups it is by, and the loss is shared between them as for
any request. The exact vectors are computed once and drawn from for every repeat, which a gateway never does: it has one
draw for each charge. That is allowed here as the rows are public.
"""

from __future__ import annotations

import resource
from pathlib import Path
from typing import Any

import duckdb

from bench.peers.protocol import Answer, Statistic
from bench.workloads import Columns, Task
from tre.rules.schema import ORDER, PERSON, TableSchema
from tre.statistics.aggregate import exact, open_rows
from tre.statistics.prepare import prepare
from tre.statistics.request import parse
from tre.statistics.result import draw, table
from tre.statistics.table import Cell


def release(
    task: Task, data: Path, schema: Columns, epsilon: float, delta: float, repeats: int
) -> tuple[list[list[Answer]], dict[str, float]]:
    """For each repeat the answers, in the peers' shape with `low` and `high` added; and the CPU seconds of one."""
    started = _cpu()
    groups = dict.fromkeys(column for s in task.statistics for column in s.by)
    request: dict[str, Any] = {
        "dataset": "bench",
        "group_by": [{"column": column} for column in groups],
        "statistics": {f"s{i}": _statistic(s) for i, s in enumerate(task.statistics)},
        "epsilon": epsilon,
    }
    prepared = prepare(parse(request), table_schema(schema), delta=delta)
    planned = _cpu()
    with open_rows(with_people(data)) as connection:
        vectors = exact(connection, prepared)
    computed = _cpu()
    drawn = [_answers(task, tuple(groups), table(prepared, draw(prepared, vectors)).cells) for _ in range(repeats)]
    once = (computed - planned) + (_cpu() - computed) / repeats
    return drawn, {"plan": planned - started, "draw": once}


def _statistic(s: Statistic) -> dict[str, Any]:
    found: dict[str, Any] = {"kind": s.kind, "by": list(s.by)}
    if s.column is not None:
        found["column"] = s.column
    return found | ({"probability": s.probability} if s.kind == "quantile" else {})


def _answers(task: Task, groups: tuple[str, ...], cells: tuple[Cell, ...]) -> list[Answer]:
    """Keys in the order of the statistic's groups: a cell has them in the request's."""
    found = []
    for c in cells:
        s = task.statistics[int(c.statistic[1:])]
        keys = dict(zip(groups if c.by is None else c.by, c.keys, strict=True))
        wanted = [k for g in s.by if (k := keys[g]) is not None]
        found.append(s.answer(wanted, c.value) | {"low": c.low, "high": c.high})
    return found


def table_schema(columns: Columns) -> TableSchema:
    fields: list[dict[str, Any]] = [{"name": "person", "type": "integer", "constraints": {"required": True}}]
    for name, column in columns.items():
        field: dict[str, Any] = {"name": name, "constraints": {"required": True}}
        if column["kind"] == "yes":
            field["type"] = "boolean"
        elif column["kind"] == "category":
            field["type"] = "string" if isinstance(column["keys"][0], str) else "integer"
            field["constraints"]["enum"] = column["keys"]
        else:
            low, high = column["bounds"]
            field |= {"type": "integer" if column["step"] == 1 else "number", "step": column["step"]}
            field["constraints"] |= {"minimum": low, "maximum": high}
        fields.append(field)
    return TableSchema.model_validate({"fields": fields, "unit": {"field": "person", "max_rows": 1}})


def with_people(data: Path) -> Path:
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
