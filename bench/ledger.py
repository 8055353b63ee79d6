"""Charges per second: reserved, spent and stored, each a durable transaction of its own, on SQLite and on PostgreSQL.

Both through the same code, a fresh population every round, beside each other on one disk; PostgreSQL with fsync and
synchronous_commit as shipped, over a Unix socket. One writer, and then many at once, who all want the one write lock: more
of them make it no faster on either, and the second figure says what waiting for it costs.
Where no server can be had, SQLite stands alone.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

from bench.measure import ROOT, Comparison, Run, Timing, alternate, say
from tests.postgres import Server, unavailable
from tre.rules.policy import Policies
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.services import Services, create

BASELINE = "sqlite"
NOW = "2030-01-01T00:00:00Z"


def run(folder: Path, *, quick: bool, repeats: int | None) -> list[Comparison]:
    charges, rounds = (50 if quick else 400), repeats or (3 if quick else 9)
    with ExitStack() as cleanup:
        places: dict[str, str | None] = {BASELINE: None}
        reason = unavailable()
        if reason is None:
            places["postgresql"] = cleanup.enter_context(Server()).new()
        else:
            say(f"ledger: no comparison, {reason}")
        areas = {}
        for name, database in places.items():
            areas[name] = create(folder / f"ledger-{name}", database=database)
            cleanup.callback(areas[name].close)
            areas[name].apply(ROOT / "policies", dry_run=False)
        return [_compared(areas, charges, writers, rounds) for writers in (1, 16)]


def _compared(areas: dict[str, Services], charges: int, writers: int, rounds: int) -> Comparison:
    say(f"ledger: {charges} charges by {writers}, {rounds} rounds")
    timings = alternate({name: _charging(area, charges, writers) for name, area in areas.items()}, rounds)
    notes: dict[str, float | str] = {
        f"{name}_charges_a_second": round(charges / median(t.wall for t in found)) for name, found in timings.items()
    }
    setting = f"{charges} charges, {writers} writer{'s' if writers > 1 else ''}"
    return Comparison(subject="ledger", setting=setting, baseline=BASELINE, timings=timings, notes=notes)


def _charging(area: Services, charges: int, writers: int) -> Run:
    database = area.context.database

    def one(policies: Policies, people: str, number: int) -> None:
        wish = ledger.Reservation(
            population=people, project=None, purpose="release", request_digest="d" * 64, dataset_version="v",
            release=None, position=number, rho_units=1000,
        )  # fmt: skip
        with database.write() as connection:
            (entry,) = ledger.reserve(connection, policies, [wish], at=NOW)
        with database.write() as connection:
            ledger.spend(connection, entry, at=NOW)
        with database.write() as connection:
            ledger.store(connection, entry, "{}", at=NOW)

    def once(number: int) -> Timing:
        people = f"people-{writers}-{number}"
        policies = _policies(area, people)
        before = time.perf_counter()
        with ThreadPoolExecutor(writers) as pool:
            list(pool.map(lambda n: one(policies, people, n), range(charges)))
        return Timing(time.perf_counter() - before)

    return once


def _policies(area: Services, people: str) -> Policies:
    with area.context.database.read() as connection:
        found = policy_files.current(connection)
    (population,) = found.populations.values()
    return found.model_copy(update={"populations": {people: population}})
