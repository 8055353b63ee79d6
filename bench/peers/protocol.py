"""What every peer's `run.py` shares: reading the task file, drawing again and again, one JSON document on stdout.

    PYTHONPATH=bench/peers PEER'S-PYTHON bench/peers/NAME/run.py TASK.json

TASK.json: {"data": Parquet file, "columns": {name: {"kind": "number", "bounds": [low, high], "step": s} or
{"kind": "category", "keys": [...]}}, "epsilon", "delta", "repeats", "seconds", "tasks": [{"name", "statistics": [...]}]}.
A statistic is {"name", "kind": count | sum | mean | variance | quantile, "by": [...], "column", "probability"}; all
statistics of a task are released within one (epsilon, delta), every repeat a fresh release under the whole of it.

The answer: {"versions": {...}, "tasks": {name: {"repeats": [[{"statistic", "keys", "value"}, ...], ...],
"unsupported": {statistic: reason}, "accounting": how the budget was split, "cpu_seconds": {"plan", "draw"}}}}.
A group that the library left out is absent, a value that it could not give is null.

Runs on each peer's own Python: the standard library only, and nothing of bench's or tre's.
"""

from __future__ import annotations

import json
import math
import os
import resource
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version  # noqa: TID251  # reads a number, imports nothing
from itertools import product
from pathlib import Path
from typing import Any

Key = str | int
Answer = dict[str, Any]
Draw = Callable[[], list[Answer]]


@dataclass(frozen=True)
class Statistic:
    name: str
    kind: str
    by: tuple[str, ...] = ()
    column: str | None = None
    probability: float | None = None

    def answer(self, keys: Sequence[Key], value: float | None) -> Answer:
        known = None if value is None or not math.isfinite(value) else float(value)
        return {"statistic": self.name, "keys": list(keys), "value": known}


@dataclass(frozen=True)
class Job:
    """What is public about the data, and what may be spent."""

    data: str
    columns: dict[str, dict[str, Any]]
    epsilon: float
    delta: float

    def bounds(self, statistic: Statistic) -> tuple[float, float]:
        low, high = self.columns[statistic.column or ""]["bounds"]
        return low, high

    def keys(self, statistic: Statistic) -> Iterator[tuple[Key, ...]]:
        return product(*(self.columns[c]["keys"] for c in statistic.by))


class Unsupported(Exception):
    """A whole task that this library has nothing to say to; the message is the reason."""


@dataclass(frozen=True)
class Plan:
    """A task made ready: `draw` makes one release of all of it, `accounting` says how the budget was split."""

    draw: Draw
    accounting: str


# Makes a task ready: the statistics that are supported, and over how many (with those that are not) the budget is split.
Prepare = Callable[[Job, list[Statistic], int], Plan]
# Why a statistic is not there, or None.
Refuse = Callable[[Statistic], str | None]


def serve(packages: Sequence[str], refuse: Refuse, prepare: Callable[[Job], Prepare]) -> None:
    """Answer the task file named on the command line. Whatever a library prints goes to stderr."""
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    content = json.loads(Path(sys.argv[1]).read_text())
    job = Job(content["data"], content["columns"], content["epsilon"], content["delta"])
    ready = prepare(job)
    tasks = {}
    for task in content["tasks"]:
        statistics = [Statistic(**{**s, "by": tuple(s["by"])}) for s in task["statistics"]]
        tasks[task["name"]] = _task(job, ready, refuse, statistics, content["repeats"], content["seconds"])
    with out:
        json.dump({"versions": {p: version(p) for p in packages}, "tasks": tasks}, out)


def _task(
    job: Job, ready: Prepare, refuse: Refuse, statistics: list[Statistic], repeats: int, seconds: float
) -> dict[str, Any]:
    unsupported = {s.name: reason for s in statistics if (reason := refuse(s))}
    wanted = [s for s in statistics if s.name not in unsupported]
    if not wanted:
        return {"unsupported": unsupported, "repeats": []}
    before = _cpu()
    try:
        plan = ready(job, wanted, len(statistics))
    except Unsupported as reason:
        return {"unsupported": {s.name: str(reason) for s in statistics}, "repeats": []}
    started, planned = time.monotonic(), _cpu()
    drawn: list[list[Answer]] = []
    # Never fewer than three, however slow: one alone says nothing about its own spread.
    while len(drawn) < repeats and (len(drawn) < 3 or time.monotonic() - started < seconds):
        drawn.append(plan.draw())
    spent = {"plan": planned - before, "draw": (_cpu() - planned) / len(drawn)}
    return {"unsupported": unsupported, "accounting": plan.accounting, "repeats": drawn, "cpu_seconds": spent}


def _cpu() -> float:
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(u.ru_utime + u.ru_stime for u in used)
