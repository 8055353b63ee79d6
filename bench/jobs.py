"""From a claimed job to its finished run, beside plain papermill; and how many waiting jobs a machine works off.

Both run the same small notebook, one at a time, in turn. *warm*: a sandbox was started before there was work. *cold*: the
sandbox, its Python and its kernel start within the time. The worker's own steps are in it: claim, layout, collecting,
the states in the database. Then as many jobs as are asked for wait at once, and the same worker's lanes work them off.
"""

from __future__ import annotations

import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from bench.area import Area, one_cell
from bench.measure import Comparison, Run, Timing, alternate, command, say
from tre.messages import Submission
from tre.rules.lifecycle import Job
from tre.secure.database import tables
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.local import Local
from tre.secure.jobs.runner import limits_of
from tre.secure.jobs.work import Lane
from tre.secure.services import Services, open_area

SOURCE = """import tre, pandas
frame = tre.dataset("hie").to_pandas()
tre.output("table", frame.groupby("sex", as_index=False)["age"].mean(), context="mean ages by sex")"""
BASELINE = "papermill"
# What the warm sandbox needs to come up, on a machine with nothing else to do: not part of what is measured.
WARM_SECONDS = 12.0


def run(folder: Path, *, quick: bool, repeats: int | None) -> list[Comparison]:
    area = Area(folder / "jobs", run="always")
    notebook = folder / "small.ipynb"
    notebook.write_text(one_cell(SOURCE))
    services = open_area(area.place)
    try:
        return [_one_at_a_time(services, area, notebook, repeats or (3 if quick else 10)), *_waiting(services, quick)]
    finally:
        services.close()


class Hand:
    """A worker whose lane does one step when it is told to."""

    def __init__(self, services: Services) -> None:
        self.services = services
        self.worker = services.worker()
        self.engine = Local(services.context.area.folder("jobs"))
        self.lane = Lane("bench", self.engine, lambda _: False, lambda _: None, lambda: None)

    def end(self) -> None:
        self.engine.close()
        self.worker.presence.end()

    def warm(self) -> None:
        from tre.secure import policies

        with self.services.context.database.read() as connection:
            self.engine.prepare(limits_of(policies.current(connection).area.sandbox))
        time.sleep(WARM_SECONDS)

    def submitted(self) -> str:
        return self.services.submit("ada", Submission(project="visits", notebook=one_cell(SOURCE))).id

    def rehearse(self) -> None:
        if not self.worker.rehearsals.step(self.lane):
            raise SystemExit("no rehearsal was waiting")

    def confirmed(self) -> str:
        job = self.submitted()
        self.rehearse()
        view = self.services.job("ada", job)
        if view.failure is not None:
            raise SystemExit(view.failure.message)
        self.services.queue.confirm(person="ada", job=job, plan_digest=view.plan_digest or "")
        return job

    def run(self, job: str) -> float:
        began = time.perf_counter()
        if not self.worker.runs.step(self.lane):
            raise SystemExit("no run was waiting")
        took = time.perf_counter() - began
        if _states(self.services).get(Job.FINISHED, 0) == 0 or self.services.job("ada", job).release is None:
            raise SystemExit(f"{job} did not finish")
        return took


def _states(services: Services) -> dict[str, int]:
    j = tables.jobs
    with services.context.database.read() as connection:
        found = connection.execute(sa.select(j.c.state, sa.func.count()).group_by(j.c.state)).all()
    return {str(state): int(count) for state, count in found}


def _one_at_a_time(services: Services, area: Area, notebook: Path, rounds: int) -> Comparison:
    hand = Hand(services)
    arms = {
        BASELINE: _papermill(area, notebook),
        "run, warm": _run(hand, warm=True),
        "run, cold": _run(hand, warm=False),
    }
    say(f"jobs: {rounds} rounds of {len(arms)}")
    try:
        timings = alternate(arms, rounds)
    finally:
        hand.end()
    setting = "a small notebook with pandas, from claimed to finished"
    return Comparison(subject="jobs", setting=setting, baseline=BASELINE, timings=timings)


def _papermill(area: Area, notebook: Path) -> Run:
    """On the twin's file, at a desk without a gateway's help: what a researcher would do without `tre submit`."""
    home = area.folder / "desk-papermill"
    out = str(area.folder / "executed.ipynb")
    environment = {"TRE_HOME": str(home)}
    _twin(area, home)

    def once(_: int) -> Timing:
        program = [sys.executable, "-m", "papermill", str(notebook), out, "--no-progress-bar"]
        return Timing(command(*program, environment=environment)[0])

    return once


def _twin(area: Area, home: Path) -> None:
    from bench.area import BIN, DATASET

    area.serve()
    command(str(BIN / "tre"), "twin", DATASET, environment=area.desk("papermill") | {"TRE_HOME": str(home)})
    area.stop()


def _run(hand: Hand, *, warm: bool) -> Run:
    def once(_: int) -> Timing:
        job = hand.confirmed()
        if warm:
            hand.warm()
        return Timing(hand.run(job))

    return once


def _waiting(services: Services, quick: bool) -> Iterator[Comparison]:
    """Rehearsals that wait all at once; told in words, as there is nothing beside it but the processors."""
    count = 20 if quick else 200
    hand = Hand(services)
    jobs = [hand.submitted() for _ in range(count)]
    hand.end()
    claims = _claims(services, len(jobs))
    worker = services.worker()
    with _busy() as busy:
        began = time.perf_counter()
        worker.start()
        while _states(services).get(Job.REHEARSING, 0):
            time.sleep(0.2)
        took = time.perf_counter() - began
    worker.stop()
    say(
        f"jobs: {count} waiting: {took:.0f} s, {count / took:.2f} jobs/s, processors {busy['share']:.0%} busy; "
        f"the database takes {claims:.0f} claims/s, so jobs need {count / took / claims:.1%} of it"
    )
    yield from ()


def _claims(services: Services, waiting: int) -> float:
    """Claims and their ends a second, by two threads, with as many jobs waiting."""
    rounds, done = 100, []

    def work(name: str) -> None:
        claims = Claims(services.context, services.queue, name)
        for _ in range(rounds):
            claimed = claims.rehearsal()
            if claimed is None:
                continue
            with services.context.database.write() as connection:
                connection.execute(tables.leases.delete().where(tables.leases.c.token == claimed[1].token))
                connection.execute(tables.jobs.update().where(tables.jobs.c.id == claimed[0].id).values(attempt=0))
            done.append(1)

    threads = [threading.Thread(target=work, args=(f"bench-{i}",)) for i in range(2)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if not done or waiting < 1:
        raise SystemExit("nothing was claimed")
    return len(done) / (time.perf_counter() - began)


@contextmanager
def _busy() -> Iterator[dict[str, Any]]:
    """The share of the processors' time that was not idle meanwhile, whoever used it."""
    told: dict[str, Any] = {}
    before = _processors()
    yield told
    idle, total = (b - a for a, b in zip(before, _processors(), strict=True))
    told["share"] = 1 - idle / total if total else 0.0


def _processors() -> tuple[float, float]:
    numbers = [int(n) for n in Path("/proc/stat").read_text().splitlines()[0].split()[1:]]
    return (numbers[3] + numbers[4]) / os.sysconf("SC_CLK_TCK"), sum(numbers[:8]) / os.sysconf("SC_CLK_TCK")
