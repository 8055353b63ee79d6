"""Errors at one price: ours, other libraries and two plain baselines, on the same rows with one (epsilon, delta).

Each task is released again and again under the whole budget. What is reported is the mean absolute error over cells
and repeats by level of table, the geometric mean over the levels of the workload, and how often our 95 % intervals
hold the exact answer. Errors are of the noise: the exact answers are of clamped numbers, as everyone's are.
An answer that a method left out or could not give has no error: its share is written beside (as "−12 %"). Ratios are
of cells that both have answered in nearly every repeat, so that nobody gains by leaving out what is hard.
Not measured here: how strong each promise is. diffprivlib takes group sizes as public and draws in floating point;
SmartNoise shows which groups are empty.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console

from bench import baselines, ours, peers, report
from bench.errors import OURS, PURE, Result, Results, levels_of
from bench.errors_report import Coverage, plain, show, write
from bench.measure import say
from bench.peers.protocol import Statistic
from bench.workloads import Cell, Dataset, Task, datasets, exact

EPSILON, DELTA = 1.0, 1e-6
REPEATS, QUICK = 50, 5
SECONDS = 45.0  # what a peer may take for one task's repeats, three at least; a slow one has fewer


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    """Everything, side by side; writes JSON and a plot beside those of the other subjects."""
    repeats = repeats or (QUICK if quick else REPEATS)
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 210)
    before, found, coverage = report.machine(), Results(), Coverage()
    versions: dict[str, Any] = {}
    unavailable: dict[str, str] = {}
    for data in datasets(folder):
        truth = exact(data)
        for task in data.tasks:
            found[data.name, task.name] = _baselines(task, data, truth, repeats)
            found[data.name, task.name][OURS] = _ours(task, data, truth, repeats, coverage, DELTA)
            found[data.name, task.name][PURE] = _ours(task, data, truth, repeats, coverage, 0.0)
        for name in peers.NAMES:
            say(f"accuracy: {data.name}, {name}")
            try:
                document = peers.run(name, _document(data, repeats, quick=quick), folder)
            except peers.Unavailable as reason:
                say(f"{name} is left out: {reason}")
                unavailable[name] = str(reason)
                continue
            versions[name] = document["versions"]
            for task in data.tasks:
                found[data.name, task.name][name] = _peer(task, data, truth, document["tasks"][task.name])
    console.print(f"All at ε = {EPSILON:g}, δ = {DELTA:g}.")
    show(found, coverage, console)
    content = {
        "at": datetime.now(UTC).isoformat(timespec="seconds"),
        "subject": "accuracy",
        "epsilon": EPSILON,
        "delta": DELTA,
        "machine": before,
        "versions": versions,
        "unavailable": unavailable,
        "coverage": {kind: {"held": held, "of": of} for kind, (held, of) in coverage.items()},
        "results": plain(found),
    }
    for path in write(results, content, found):
        console.print(str(path))


def _document(data: Dataset, repeats: int, *, quick: bool) -> dict[str, Any]:
    return {
        "data": str(data.path),
        "columns": data.columns,
        "epsilon": EPSILON,
        "delta": DELTA,
        "repeats": repeats,
        "seconds": SECONDS / 6 if quick else SECONDS,
        "tasks": [task.document() for task in data.tasks],
    }


def _baselines(task: Task, data: Dataset, truth: dict[Cell, float | None], repeats: int) -> dict[str, Result]:
    counts = _rows_behind(task, data)
    found = {}
    for name, noise in baselines.BASELINES.items():
        drawn = baselines.release(task, data, truth, counts, noise(EPSILON, DELTA), repeats)
        answered = {a["statistic"] for a in drawn[0]}
        unsupported = {s.name: "not of the baseline" for s in task.statistics if s.name not in answered}
        levels = levels_of(task, data, truth, drawn, unsupported)
        found[name] = Result(levels=levels, repeats=repeats, unsupported=unsupported)
    return found


def _rows_behind(task: Task, data: Dataset) -> dict[Cell, float | None]:
    """Of each mean, by cell."""
    counted = {Statistic(s.name, "count", s.by) for s in task.statistics if s.kind == "mean"}
    return exact(Dataset(name="", path=data.path, columns=data.columns, tasks=(Task(name="", statistics=(*counted,)),)))


def _ours(
    task: Task, data: Dataset, truth: dict[Cell, float | None], repeats: int, coverage: Coverage, delta: float
) -> Result:
    drawn, cpu = ours.release(task, data.path, data.columns, EPSILON, delta, repeats)
    kinds = {s.name: s.kind for s in task.statistics}
    for answer in (a for once in drawn for a in once):
        true = truth[answer["statistic"], tuple(answer["keys"])]
        if true is not None and answer["value"] is not None:
            kind = kinds[answer["statistic"]] + ("" if delta else ", pure")
            held, of = coverage.get(kind, (0, 0))
            # Whole steps of a grid, written in floating point.
            inside = answer["low"] - 1e-9 <= true <= answer["high"] + 1e-9
            coverage[kind] = held + inside, of + 1
    return Result(levels=levels_of(task, data, truth, drawn, {}), repeats=repeats, cpu_seconds=cpu)


def _peer(task: Task, data: Dataset, truth: dict[Cell, float | None], answer: dict[str, Any]) -> Result:
    unsupported, drawn = answer["unsupported"], answer["repeats"]
    return Result(
        levels=levels_of(task, data, truth, drawn, unsupported),
        repeats=len(drawn),
        accounting=answer.get("accounting", ""),
        cpu_seconds=answer.get("cpu_seconds", {}),
        unsupported=unsupported,
    )
