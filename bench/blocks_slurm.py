"""The same notebook over k blocks on a Slurm cluster of this machine: on one node, and on two of one processor each.

Slots are fixed at confirmation, so what two nodes save is known before; what is measured is that they keep it: how many
blocks were late. Two times are told: until the last block was done, and until the release, which has spare slots for a lost
node in it whatever happens. It needs root and Slurm, as the tests of the engine do.
"""

from __future__ import annotations

import json
import time
from pathlib import Path

import sqlalchemy as sa
import yaml

from bench.area import BIN, Area
from bench.blocks import SOURCE, confirmed
from bench.measure import Comparison, Timing, command, say
from tests.engines import cluster as clusters
from tre.secure.database import tables
from tre.secure.jobs import block_store
from tre.secure.services import Services, open_area

SECONDS, LANES, WAIT = 7, 4, 5
ONE, TWO = "one node", "two nodes"


def run(folder: Path, *, quick: bool, repeats: int | None) -> list[Comparison]:
    why = clusters.unavailable()
    if why is not None:
        raise SystemExit(why)
    k = 32 if quick else 120
    area = Area(folder / "slurm", run="when_needed")
    done: dict[str, list[Timing]] = {ONE: [], TWO: []}
    released: dict[str, list[Timing]] = {ONE: [], TWO: []}
    late: dict[str, float | str] = {}
    with clusters.Cluster(bound={"n1": 0, "n2": 1}):
        for _ in range(repeats or 1):
            for name, jobs in ((ONE, 1), (TWO, 2)):
                _engine(area, jobs)
                services = open_area(area.place)
                try:
                    last, whole, missed = _through(services, k, name)
                finally:
                    services.close()
                done[name].append(Timing(last))
                released[name].append(Timing(whole))
                late[f"late or failed on {name}"] = missed
                say(
                    f"slurm: {k} blocks on {name}: the last after {last:.0f} s, released after {whole:.0f} s, {missed} late"
                )
    notes = {"seconds of a slot": SECONDS, "lanes of a node": LANES, **late}
    return [
        Comparison(subject="slurm", setting=what, baseline=ONE, timings=timings, at=k, notes=notes)
        for what, timings in (
            ("from confirmation to the last block", done), ("from confirmation to release", released)
        )
    ]  # fmt: skip


def _engine(area: Area, jobs: int) -> None:
    path = area.folder / "policies" / "area.yaml"
    rules = yaml.safe_load(path.read_text())
    rules["blocks"] = {"seconds": SECONDS, "lanes": LANES, "twin": 0, "memory_mb": 1024}
    rules["engine"] = {"kind": "slurm", "block_jobs": jobs, "block_wait_seconds": WAIT}
    path.write_text(yaml.safe_dump(rules))
    command(
        str(BIN / "tre-admin"), "apply", str(area.folder / "policies"), environment={"TRE_AREA": str(area.place)}
    )  # fmt: skip


def _through(services: Services, k: int, name: str) -> tuple[float, float, int]:
    """(seconds from confirmation to the last block, and to the release; blocks that counted as the default)."""
    worker = services.worker()
    worker.start()
    try:
        job, began = confirmed(services, f"{SOURCE}\n# {name}, {time.time()}", k)  # else it would be replayed
        worker.wake()
        said, last, good = 0, 0.0, 0
        while not services.job("ada", job).stage.final:
            with services.context.database.read() as connection:
                c = tables.block_claims
                places = connection.execute(sa.select(c.c.places).where(c.c.job == job)).scalars().all()
            if len(places) > said:
                said, last = len(places), time.perf_counter() - began
            good = max(good, sum(json.loads(str(p))["auc"] != [0] for p in places))
            time.sleep(0.1)
        with services.context.database.read() as connection:
            if block_store.schedule_of(connection, job) is None:
                raise SystemExit("nothing ran")
        return last, time.perf_counter() - began, k - good
    finally:
        worker.stop()
