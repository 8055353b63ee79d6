"""Blocks of the twin, in a rehearsal: what blocks as small as the real ones give, and how much they differ.

Guarantees: no real row is read. The twin is cut as the real rows will be, into blocks with as many rows as the declared
size gives the real ones; some of them are run, within the time that a rehearsal has. What they say goes into the plan's
expected errors, for people to decide by; nothing is drawn or charged by it.
"""

from __future__ import annotations

import json
import math
import shutil
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from statistics import mean, stdev

import pyarrow.parquet as pq

from tre.errors import SandboxError
from tre.messages import BlockPlan, DatasetInfo, EmittedEstimate, Manifest, World
from tre.rules.schema import PERSON
from tre.secure.data.partition import Source, partition
from tre.secure.jobs import collect, runner, zygote
from tre.secure.jobs.blocks import limits
from tre.secure.jobs.sandbox import Ended
from tre.secure.jobs.turns import MAX_CLAIMS
from tre.secure.jobs.work import Lane
from tre.secure.jobs.zygote import Forked

# With fewer blocks, how much they differ is not known at all.
ENOUGH = 4
# Far from any real partition's.
KEY = b"twin"

Told = dict[str, tuple[tuple[float, ...], tuple[float, ...]]]


def number(plan: BlockPlan, infos: Mapping[str, DatasetInfo], rows: Mapping[str, int], most: int) -> tuple[int, int]:
    """Into how many blocks the twin is cut, so that they are as large as the real ones, and how many of them are run."""
    found = [
        round(rows[name] * plan.blocks / size) if (size := infos[name].size) is not None else plan.blocks
        for name in plan.datasets
    ]
    cut = min(*found, 10_000)
    return cut, min(cut, most) if min(cut, most) >= ENOUGH else 0


def run(
    folder: Path,
    *,
    plan: BlockPlan,
    project: str,
    infos: Mapping[str, DatasetInfo],
    files: Mapping[str, Path],
    notebook: bytes,
    parameters: str,
    most: int,
    seconds: float,
    lane: Lane,
) -> list[object]:
    """What each block that was run said (None where it said nothing); fewer than `most` where time ran out."""
    rows = {name: pq.read_metadata(files[name]).num_rows for name in plan.datasets}
    cut, wanted = number(plan, infos, rows, most)
    if not wanted:
        return []
    sources = {n: Source(rows=files[n], unit=PERSON, columns=infos[n].columns) for n in plan.datasets}
    shutil.rmtree(folder, ignore_errors=True)
    said: list[object] = []
    until = time.monotonic() + seconds
    ending = ExitStack()
    try:
        loading = ending.enter_context(zygote.begun(folder / "zygote", notebook))
        partition(folder / "rows", sources, key=KEY, population=plan.population, k=cut)
        told = {n: infos[n].for_a_block() for n in plan.datasets}
        manifest = Manifest(world=World.BLOCK, project=project, datasets=told, released={})
        engine = Forked(loading) if loading is not None and loading.works() else lane.engine
        for block in range(wanted):
            if lane.cancelled.is_set() or time.monotonic() > until:
                break
            ran = runner.run(
                folder / f"run-{block}" / "box", manifest=manifest, notebook=notebook, parameters=parameters,
                files={n: folder / "rows" / str(block) / f"{n}.parquet" for n in plan.datasets},
                limits=limits(plan), engine=engine, cancelled=lane.cancelled,
            )  # fmt: skip
            said.append(_said(ran.outbox) if ran.ended is Ended.FINISHED else None)
    finally:
        ending.close()
        shutil.rmtree(folder, ignore_errors=True)
    return said


def _said(outbox: Path) -> object:
    try:
        content = collect.read(outbox, "claims.json", max_bytes=MAX_CLAIMS)
        return json.loads(content) if content is not None else None
    except (SandboxError, ValueError, RecursionError):
        return None


def silent(said: list[object]) -> int:
    """How many blocks said nothing: they failed, or took too long."""
    return sum(not isinstance(s, dict) for s in said)


def spreads(said: list[object], asked: tuple[EmittedEstimate, ...]) -> Told:
    """(spread, bias) of each number of each estimate, where enough blocks gave all of its numbers."""
    found: Told = {}
    for item in asked:
        given = [s[item.name] for s in said if isinstance(s, dict) and _fits(s.get(item.name), item.estimate.size)]
        if len(given) >= ENOUGH and len(item.values) == item.estimate.size:
            columns = list(zip(*given, strict=True))
            found[item.name] = (
                tuple(stdev(c) for c in columns),
                tuple(mean(c) - whole for c, whole in zip(columns, item.values, strict=True)),
            )
    return found


def _fits(numbers: object, size: int) -> bool:
    return (
        isinstance(numbers, list)
        and len(numbers) == size
        and all(isinstance(n, int | float) and abs(n) < 1e300 and math.isfinite(n) for n in numbers)
    )
