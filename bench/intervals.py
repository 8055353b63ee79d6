"""Whether the intervals of estimates over blocks hold: on the census, at the fewest blocks with which one is offered, and more.

A repeat takes a fresh sample of people from the real rows, with replacement, cuts it into blocks, runs the estimator on each,
and draws one interval by OpenDP. What it says that it covers is the median of what such blocks give: here of the blocks of all
repeats. Beside it: how many cover the estimate on all rows, from which the bias of small blocks keeps it (nothing says that it
covers that); and how wide intervals are, in ordinary standard errors. With fewer blocks than that none is offered: it is tried.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from rich.console import Console

from bench import report
from bench.estimates import DELTA, EPSILONS
from bench.estimators import Rows, Task, everything, number
from bench.measure import say
from tre.rules.accounting import rho_of
from tre.statistics import blocks_combine as combining
from tre.statistics.blocks import Estimate, middle
from tre.terminal import table

TASKS = ("OLS", "median", "Gini")
REPEATS, QUICK, MOST = 200, 10, 1_000


@dataclass(frozen=True, kw_only=True)
class Found:
    """`covered`: of `repeats` intervals, those that hold the median of such blocks. `width` is the median one's."""

    task: str
    epsilon: float
    blocks: int
    rows_a_block: int
    repeats: int
    covered: float
    covered_whole: float
    bias: float
    width: float
    offered_below: int


def run(_folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 150)
    (rows,) = (r for r in everything() if r.name == "census")
    before, found = report.machine(), []
    for task in (t for t in rows.tasks if t.name in TASKS):
        started = time.monotonic()
        for epsilon in EPSILONS:
            found += _measured(rows, task, epsilon, repeats or (QUICK if quick else REPEATS))
        say(f"intervals: {task.name}: {time.monotonic() - started:.0f} s")
    columns = (
        "estimate",
        "epsilon",
        "blocks",
        "rows each",
        "holds",
        "holds the whole's",
        "bias",
        "width",
        "offered below",
    )
    console.print(
        table(
            f"Intervals of 95 % ({found[0].repeats} of each; ± {_error(found):.1%})", columns, [_row(f) for f in found]
        )
    )
    at = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"at": at, "subject": "intervals", "delta": DELTA, "machine": before, "results": [vars(f) for f in found]}
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"intervals-{at.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    console.print(str(path))


def _error(found: list[Found]) -> float:
    """Two standard errors of a share of 95 %."""
    return 2 * math.sqrt(0.95 * 0.05 / found[0].repeats)


def _row(f: Found) -> tuple[str, ...]:
    return (
        f.task, f"{f.epsilon:g}", str(f.blocks), str(f.rows_a_block), f"{f.covered:.1%}", f"{f.covered_whole:.1%}",
        f"{f.bias:.2f}", f"{f.width:.1f}", str(f.offered_below),
    )  # fmt: skip


def _measured(rows: Rows, task: Task, epsilon: float, repeats: int) -> list[Found]:
    e = Estimate(bounds=task.bounds, epsilon=epsilon, default=middle(task.bounds))
    units, rng = rho_of(epsilon, DELTA), np.random.default_rng(1)
    least = combining.interval_from(e, units, MOST, pure=False)
    if least is None:
        return []
    whole, frame = task.estimator(rows.frame), rows.frame
    found = []
    for k in sorted({least, min(2 * least, MOST)}):
        given, drawn, below = [], [], 0
        for _ in range(repeats):
            # In random order, so that blocks are pieces of it; their sizes are as a keyed hash would make them.
            sample = frame.take(rng.integers(len(frame), size=len(frame)))
            cuts = np.cumsum(rng.multinomial(len(frame), [1 / k] * k))[:-1]
            values = [
                number(task.estimator, sample.iloc[a:b]) for a, b in zip([0, *cuts], [*cuts, len(frame)], strict=True)
            ]
            inside = [e.default if v is None else min(max(v, e.bounds[0]), e.bounds[1]) for v in values]
            places = [e.places([v]) for v in inside]
            given += inside
            drawn.append(combining.combine(e, places, units=units, pure=False)[0])
            below += combining.combine(e, places[: least - 1], units=units, pure=False)[0].low is not None
        central, deviation = float(np.median(given)), float(np.std(given, ddof=1))
        se = deviation / math.sqrt(k)  # of the whole, from its blocks'
        ends = [(c.low, c.high) for c in drawn if c.low is not None and c.high is not None]
        found.append(
            Found(
                task=task.name, epsilon=epsilon, blocks=k, rows_a_block=len(frame) // k, repeats=len(ends),
                covered=_share(ends, central), covered_whole=_share(ends, whole), bias=abs(central - whole) / se,
                width=float(np.median([high - low for low, high in ends])) / se, offered_below=below,
            )
        )  # fmt: skip
        say("  ".join(_row(found[-1])))
    return found


def _share(ends: list[tuple[float, float]], value: float) -> float:
    return sum(low <= value <= high for low, high in ends) / len(ends)
