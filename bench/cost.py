"""What privacy costs in time and memory: planning a request, growing data, and many groups, beside other libraries.

a. *plan*: parse and price a grouped count and mean; beside OpenDP's Context API, which has to calibrate the noise before
   it can say anything. Ours is to stay under 50 ms of CPU.
b. *rows*: the same request on 1 and 10 million rows (with --full also 100), beside plain Polars (streaming), which adds
   no noise and bounds nobody's rows, and OpenDP's Context API, which is told how many rows a person has.
c. *groups*: 10,000 keys, the whole check from request to noisy table. Ours is to stay under 2 s of CPU.
Processes, files and what is counted are those of `check`. Where OpenDP cannot be installed, it is left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any

from bench import peers
from bench.check import child, write_rows
from bench.engines import KEYS
from bench.measure import Comparison, Run, Timing, alternate, command, say

SIZES, FULL, QUICK = (1_000_000, 10_000_000), (100_000_000,), (100_000, 1_000_000)
MANY_KEYS = 10_000
OPENDP = "opendp context"
TARGETS = {"plan": 0.05, "groups": 2.0}  # CPU seconds of ours

Child = Callable[[Path, int], dict[str, Any]]


def run(folder: Path, *, quick: bool, repeats: int | None, full: bool = False) -> list[Comparison]:
    rounds = repeats or (2 if quick else 5)
    sizes = QUICK if quick else SIZES + (FULL if full else ())
    small = folder / "cost-groups.parquet"
    write_rows(small, QUICK[0] if quick else SIZES[0], MANY_KEYS)
    planning, checking = _with_opendp("plan", {"tre": _ours("plan")}), _with_opendp("release", {"tre": _ours("tre")})
    found = [
        _compared("plan", f"{KEYS} groups", planning, small, KEYS, rounds),
        _compared("groups", f"{MANY_KEYS:,} groups", checking, small, MANY_KEYS, min(rounds, 3)),
    ]
    for rows in sizes:
        path = folder / f"cost-{rows}.parquet"
        write_rows(path, rows)
        arms = _with_opendp("release", {"polars": _ours("polars"), "tre": _ours("tre")})
        found.append(_compared("rows", f"{rows:,} rows", arms, path, KEYS, rounds, at=rows))
        path.unlink()  # a hundred million rows take gigabytes
    return found


def _ours(engine: str) -> Child:
    return lambda path, keys: child(engine, path, keys)


def _with_opendp(what: str, arms: Mapping[str, Child]) -> dict[str, Child]:
    try:
        python = peers.environment("opendp_context")
    except peers.Unavailable as reason:
        say(f"OpenDP's Context API is left out: {reason}")
        return dict(arms)

    def opendp(path: Path, keys: int) -> dict[str, Any]:
        said = command(str(python), peers.path_of("opendp_context", "cost.py"), what, str(path), str(keys))[1]
        found: dict[str, Any] = json.loads(said)
        return found

    return {**arms, OPENDP: opendp}


def _compared(
    part: str, setting: str, arms: Mapping[str, Child], path: Path, keys: int, rounds: int, at: float | None = None
) -> Comparison:
    say(f"cost: {part}, {setting}, {rounds} rounds")
    peaks: dict[str, list[float]] = {name: [] for name in arms}

    def arm(name: str) -> Run:
        def once(_: int) -> Timing:
            found = arms[name](path, keys)
            peaks[name].append(found["peak_mb"])
            return Timing(**found["timing"])

        return once

    timings = alternate({name: arm(name) for name in arms}, rounds)
    notes: dict[str, float | str] = {"file_mb": round(path.stat().st_size / 2**20, 1)}
    notes |= {f"{name} peak_mb": round(median(found)) for name, found in peaks.items()}
    if part in TARGETS:
        cpu = median(t.cpu or 0.0 for t in timings["tre"])
        notes["target"] = (
            f"tre {cpu * 1000:.1f} ms of CPU, {'within' if cpu < TARGETS[part] else 'OVER'} {TARGETS[part]:g} s"
        )
    return Comparison(
        subject=f"cost: {part}", setting=setting, baseline=next(iter(arms)), timings=timings, notes=notes, at=at
    )
