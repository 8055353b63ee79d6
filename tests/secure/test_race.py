"""A hundred threads of two processes race for the last of one budget. Nobody wins more than there is, and nothing is lost."""

import multiprocessing
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from tre.errors import BudgetExceeded
from tre.rules.ledger import Charge
from tre.rules.policy import Policies
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.services import create, open_area

from .test_ledger import POPULATION, SHIPPED

PROCESSES, THREADS, TRIES = 2, 50, 2
SECONDS = 120


def _policies(services):
    """Those in force, with a lifetime budget that is no larger than the project's allowance: both run out at once."""
    with services.context.database.read() as connection:
        content = policy_files.current(connection).model_dump()
    allowed = content["projects"]["visits"]["allowances"][POPULATION]["epsilon"]
    content["populations"][POPULATION]["lifetime"]["epsilon"] = allowed
    return Policies.model_validate(content)


def _size(limit, n):
    """One to three parts in 300 of the limit, 200 times: some 400 in all, and who comes first decides who fits."""
    return limit // 300 * (1 + n % 3)


def _race(root, process, begin, results):
    """Every thread reserves, and spends every other charge it won; tells what was won and refused, and any other end."""
    services = open_area(root)
    policies, ready = _policies(services), threading.Barrier(THREADS)
    limit = _accounts(services, policies)[0].limit_units

    def run(thread):
        ready.wait()
        return [_attempt(services, policies, (process * THREADS + thread) * TRIES + i, limit) for i in range(TRIES)]

    begin.wait(SECONDS)
    with ThreadPoolExecutor(THREADS) as pool:
        results.put([found for each in pool.map(run, range(THREADS)) for found in each])
    services.close()


def _attempt(services, policies, number, limit):
    size, at = _size(limit, number), "2030-01-01T00:00:00Z"
    wish = ledger.Reservation(
        population=POPULATION, project="visits", purpose="release", request_digest=f"{number:064}", dataset_version="v",
        release=None, position=number, rho_units=size,
    )  # fmt: skip
    try:
        with services.context.database.write() as connection:
            (entry,) = ledger.reserve(connection, policies, [wish], at=at)
        if number % 2:
            with services.context.database.write() as connection:
                ledger.spend(connection, entry, at=at)
    except BudgetExceeded:
        return number, size, "refused"
    except Exception as error:  # told to the test, which fails by it
        return number, size, repr(error)
    return number, size, "won"


def _accounts(services, policies):
    with services.context.database.read() as connection:
        return ledger.accounts(connection, policies, POPULATION, "visits", at="2030")


@pytest.mark.slow
def test_two_processes_of_fifty_threads_never_win_more_than_there_is(tmp_path, database):
    services = create(tmp_path / "area", database=database)
    services.apply(SHIPPED, dry_run=False)
    policies = _policies(services)
    context = multiprocessing.get_context("spawn")
    results, begin = context.Queue(), context.Barrier(PROCESSES)
    arguments = [(tmp_path / "area", number, begin, results) for number in range(PROCESSES)]
    processes = [context.Process(target=_race, args=each, daemon=True) for each in arguments]
    for p in processes:
        p.start()
    found = [one for _ in processes for one in results.get(timeout=SECONDS)]  # no deadlock, or this ends the test
    for p in processes:
        p.join(SECONDS)
        assert p.exitcode == 0

    ends = {end: {n: size for n, size, e in found if e == end} for end in {e for *_, e in found}}
    assert set(ends) == {"won", "refused"}, set(ends) - {"won", "refused"}
    assert len(found) == PROCESSES * THREADS * TRIES
    with services.context.database.read() as connection:
        rows = ledger.history(connection, POPULATION)
    assert {r.position: r.rho_units for r in rows} == ends["won"]
    assert len(rows) == len(ends["won"])
    assert {r.position for r in rows if r.state == Charge.SPENT} == {n for n in ends["won"] if n % 2}
    for account in _accounts(services, policies):
        counted = {state: sum(r.rho_units for r in rows if r.state == state) for state in Charge}
        assert counted[Charge.RESERVED] + counted[Charge.SPENT] == account.used_units == sum(ends["won"].values())
        assert account.used_units + account.left_units == account.limit_units
        # Nothing was given back, so what was refused once would not fit now either: no refusal was an accident.
        assert all(size > account.left_units for size in ends["refused"].values())
    services.close()


@pytest.mark.slow
def test_without_its_lock_a_server_would_let_two_win(tmp_path, postgresql):
    """The control arm: the same two charges in two open transactions that did not take the lock."""
    services = create(tmp_path / "area", database=postgresql.new())
    services.apply(SHIPPED, dry_run=False)
    policies, engine = _policies(services), services.context.database.engine
    limit = _accounts(services, policies)[0].limit_units
    wish = ledger.Reservation(
        population=POPULATION, project="visits", purpose="release", request_digest="d", dataset_version="v",
        release=None, position=0, rho_units=limit,
    )  # fmt: skip
    with engine.connect() as one, engine.connect() as other, one.begin(), other.begin():
        for connection in (one, other):
            ledger.reserve(connection, policies, [wish], at="now")
    assert _accounts(services, policies)[0].used_units == 2 * limit
    services.close()
