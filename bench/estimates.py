"""Estimates over blocks on real rows: their error and coverage, beside what was told, GUPT's recipe and declared statistics.

A repeat takes a fresh sample of people from the real rows, with replacement: the rows are the population, so that the
error has its part of sampling as the closed form has, and the whole population's estimate is the truth. The sample is cut
into blocks, the estimator runs on each, and the blocks are combined by OpenDP's noise several times. The unit of all
errors is the ordinary standard error: the spread of the same estimator on whole samples.

Told beforehand: from blocks of a multivariate plausible twin (made at epsilon 1), by the closed form; `form` is the
same with the real blocks' spread, which nobody may know: it tells the form's own error from the twin's. What both tell is
the error about what such blocks give on average; `error` is about the whole's estimate, so that a bias of small blocks is in
it. GUPT (Mohan et al. 2012): the mean of n^0.4 blocks, clamped to the same bounds. A declared statistic at the same price:
its noise about the exact answer, with the sampling of one standard error added.
"""

from __future__ import annotations

import json
import math
import sys
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pandas as pd
from rich.console import Console

from bench import report
from bench.estimators import Rows, Task, everything, number
from bench.measure import say
from bench.ours import table_schema, with_people
from tre.rules.accounting import rho_of
from tre.rules.twin import Tier, TwinPolicy
from tre.secure.data import twin_tiers
from tre.secure.release.estimates import comfortable
from tre.statistics import blocks_combine as combining
from tre.statistics import logistic
from tre.statistics.aggregate import Exact, exact, open_rows
from tre.statistics.blocks import Aggregator, Estimate, middle
from tre.statistics.components import Measure
from tre.statistics.prepare import Prepared, prepare
from tre.statistics.request import parse
from tre.statistics.result import Noised, draw, table
from tre.terminal import table as shown

DELTA = 1e-6
EPSILONS = (0.5, 1.0, 2.0)
REPEATS, HEAVY, QUICK, DRAWS = 40, 6, 3, 20
TWIN_BLOCKS = 16


@dataclass(frozen=True, kw_only=True)
class Found:
    """Errors in ordinary standard errors, but `told` and `form`: over the error about what such blocks give."""

    dataset: str
    task: str
    epsilon: float
    blocks: int
    rows_a_block: int
    error: float
    bias: float
    told: float | None
    form: float
    covered: float | None
    gupt: float
    declared: float | None


def run(folder: Path, results: Path, *, quick: bool, repeats: int | None) -> None:
    console = Console(soft_wrap=True, width=None if sys.stdout.isatty() else 170)
    before, found = report.machine(), []
    for rows in everything():
        twin = _twin(rows, folder)
        for task in rows.tasks:
            started = time.monotonic()
            times = repeats or (QUICK if quick else HEAVY if task.heavy else REPEATS)
            of_task = _measured(rows, task, twin, folder, times)
            found += of_task
            say(f"estimates: {rows.name}, {task.name}: {time.monotonic() - started:.0f} s")
            for f in of_task:
                say("  ".join(_row(f)))
    columns = ("rows", "estimate", "epsilon", "blocks", "rows each", "error", "of it bias", "told / measured", "form / measured",
               "interval holds", "GUPT's", "declared")  # fmt: skip
    console.print(shown("Errors, in ordinary standard errors", columns, [_row(f) for f in found]))
    at = datetime.now(UTC).isoformat(timespec="seconds")
    content = {"at": at, "subject": "estimates", "delta": DELTA, "machine": before, "results": [vars(f) for f in found]}
    results.mkdir(parents=True, exist_ok=True)
    path = results / f"estimates-{at.replace(':', '').replace('+0000', 'Z')}.json"
    path.write_text(json.dumps(content, indent=1) + "\n")
    console.print(str(path))


def _row(f: Found) -> tuple[str, ...]:
    def number(value: float | None, form: str = ".2f") -> str:
        return "" if value is None else format(value, form)

    return (
        f.dataset, f.task, f"{f.epsilon:g}", str(f.blocks), str(f.rows_a_block), number(f.error), number(f.bias), number(f.told),
        number(f.form), number(f.covered, ".1%"), number(f.gupt, ".1f"), number(f.declared),
    )  # fmt: skip


def _measured(rows: Rows, task: Task, twin: pd.DataFrame, folder: Path, repeats: int) -> list[Found]:
    rng = np.random.default_rng(1)
    n, truth = len(rows.frame), _value(task, rows.frame)
    samples = [rows.frame.iloc[rng.integers(n, size=n)].reset_index(drop=True) for _ in range(repeats)]
    whole = [_value(task, s) for s in samples]
    se = float(np.std(whole, ddof=1))
    gupt = max(2, round(n**0.4))
    by_gupt = [_blocks(task, s, gupt, rng) for s in samples]
    found = []
    for epsilon in EPSILONS:
        e = Estimate(bounds=task.bounds, epsilon=epsilon, default=middle(task.bounds))
        k = _how_many(e, n)
        of = [_blocks(task, s, k, rng) for s in samples]
        found.append(
            _one(rows, task, e, k, of, by_gupt, truth=truth, se=se, twin=_twins(task, twin, k, rng), folder=folder)
        )
    return found


def _one(
    rows: Rows, task: Task, e: Estimate, k: int, of: list[list[float | None]], by_gupt: list[list[float | None]], *,
    truth: float, se: float, twin: float | None, folder: Path,
) -> Found:  # fmt: skip
    units = rho_of(e.epsilon, DELTA)
    drawn = [c for blocks in of for c in _drawn(e, blocks, units)]
    given = np.array([v if v is not None else e.default for blocks in of for v in blocks]).clip(*e.bounds)
    central = float(np.median(given))
    about = _rms(c.value - central for c in drawn)
    mean = e.model_copy(update={"aggregator": Aggregator.MEAN})
    ends = [(c.low, c.high) for c in drawn if c.low is not None and c.high is not None]
    # Half a step of the grid: the truth lies between its points.
    held = [low - 1e-9 <= central <= high + 1e-9 for low, high in ends]
    return Found(
        dataset=rows.name, task=task.name, epsilon=e.epsilon, blocks=k, rows_a_block=len(rows.frame) // k,
        error=_rms(c.value - truth for c in drawn) / se, bias=abs(central - truth) / se,
        told=None if twin is None else combining.expected_error(e, k, units, pure=False, spread=twin) / about,
        form=combining.expected_error(e, k, units, pure=False, spread=float(given.std(ddof=1))) / about,
        covered=sum(held) / len(held) if held else None,
        gupt=_rms(c.value - truth for blocks in by_gupt for c in _drawn(mean, blocks, units)) / se,
        declared=_declared(rows, task, e.epsilon, se, folder),
    )  # fmt: skip


def _how_many(e: Estimate, n: int) -> int:
    """As `--blocks auto` takes them."""
    return comfortable(combining.least_blocks(e, rho_of(e.epsilon, DELTA), pure=False), n, 1_000)


def _value(task: Task, frame: pd.DataFrame) -> float:
    found = number(task.estimator, frame)
    if found is None:
        raise RuntimeError(f"{task.name} has no value on the whole")
    return found


def _blocks(
    task: Task, sample: pd.DataFrame, k: int, rng: np.random.Generator, first: int | None = None
) -> list[float | None]:
    """What each block says (the first few, where they are enough); a person's block is uniform, as by a keyed hash."""
    of = rng.integers(k, size=len(sample))
    order = np.argsort(of, kind="stable")
    starts = np.searchsorted(of[order], np.arange(k + 1))
    return [
        number(task.estimator, sample.iloc[order[starts[i] : starts[i + 1]]].sample(frac=1, random_state=i))
        for i in range(first or k)
    ]


def _twins(task: Task, twin: pd.DataFrame, k: int, rng: np.random.Generator) -> float | None:
    """The spread that a rehearsal would tell."""
    found = [v for v in _blocks(task, twin, k, rng, first=TWIN_BLOCKS) if v is not None and math.isfinite(v)]
    return float(np.std(found, ddof=1)) if len(found) >= 4 else None


def _drawn(e: Estimate, blocks: list[float | None], units: int) -> list[combining.Combined]:
    places = [e.places([v if v is None else min(max(v, e.bounds[0]), e.bounds[1])]) for v in blocks]
    return [combining.combine(e, places, units=units, pure=False)[0] for _ in range(DRAWS)]


def _rms(errors: Any) -> float:
    return math.sqrt(float(np.mean(np.square(list(errors)))))


# The rows as a dataset of the area's


def _file(rows: Rows, folder: Path) -> Path:
    path = folder / f"{rows.name.replace(' ', '-')}.parquet"
    if not path.exists():
        rows.frame.to_parquet(path)
    return with_people(path)


def _twin(rows: Rows, folder: Path) -> pd.DataFrame:
    schema, twin = table_schema(rows.columns), TwinPolicy(tier=Tier.MULTIVARIATE, epsilon=1)
    learnt = twin_tiers.learn(_file(rows, folder), schema, twin, rho_units=rho_of(1.0, DELTA))
    return pd.concat(twin_tiers.make(schema, twin, learnt, seed=1).frames, ignore_index=True)


def _declared(rows: Rows, task: Task, epsilon: float, se: float, folder: Path) -> float | None:
    if task.declared is None:
        return None
    request = {"dataset": "bench", "group_by": [], "statistics": {"s": task.declared}, "epsilon": epsilon}
    prepared = prepare(parse(request), table_schema(rows.columns), delta=DELTA)
    # Nearly without noise: the answer by the same formula.
    almost = prepare(parse(request | {"epsilon": 99.0}), table_schema(rows.columns), delta=DELTA)
    fitted = any(c.measure is Measure.GRADIENTS for c in prepared.components)  # each draw reads the rows again
    with open_rows(_file(rows, folder)) as connection:
        exactly, vectors = exact(connection, almost), exact(connection, prepared)
        truth = float(np.mean([_once(connection, almost, exactly, task) for _ in range(2)]))
        errors = [_once(connection, prepared, vectors, task) - truth for _ in range(4 if fitted else 2 * DRAWS)]
    return math.hypot(1, _rms(errors) / se)


def _once(connection: duckdb.DuckDBPyConnection, prepared: Prepared, vectors: Exact, task: Task) -> float:
    """As `evaluate`, with exact vectors that are at hand: the rows are public."""
    found = draw(prepared, vectors)
    fits = {c: logistic.fit(connection, prepared, c) for c in prepared.components if c.measure is Measure.GRADIENTS}
    return _cell(task, table(prepared, Noised(drawn=found.drawn, picks=found.picks, fits=fits)).cells)


def _cell(task: Task, cells: Any) -> float:
    wanted = [c for c in cells if task.term is None or task.term in (c.term, c.bin[1] if c.bin else None)]
    return float(wanted[0].value) if wanted and wanted[0].value is not None else math.nan
