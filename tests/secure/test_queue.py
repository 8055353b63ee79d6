"""The queue: fair, within limits, nothing twice, nothing lost; whoever was overtaken finishes nothing."""

import json
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from tests.journey.conftest import policies, write_policies
from tre.errors import Conflict
from tre.rules.lifecycle import Job
from tre.secure.database import Database, tables
from tre.secure.jobs import leases
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.leases import Kind, Presence
from tre.secure.jobs.local import Local
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.work import Lane
from tre.secure.jobs.worker import Worker
from tre.secure.services import create, open_area

AT = "2026-01-01T00:00:00Z"
TRIGGERS = sa.text("SELECT name FROM sqlite_master WHERE type = 'trigger'")


class Clock:
    """A clock that a test moves on."""

    def __init__(self):
        self.time = datetime(2026, 1, 1, tzinfo=UTC)

    def __call__(self):
        return self.time

    def pass_(self, seconds):
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def context(tmp_path, clock, database):
    services = create(tmp_path / "area", database=database)
    files = policies(area={"queue": {"per_project": 2, "lease_seconds": 30}}, visits={"at_once": 3})
    services.apply(write_policies(tmp_path / "policies", files), dry_run=False)
    yield replace(services.context, clock=clock)
    services.close()


def _jobs(context, state, **projects):
    """So many jobs of each project, numbered in their order."""
    with context.database.write() as connection:
        for project, count in projects.items():
            for i in range(count):
                connection.execute(
                    tables.jobs.insert().values(
                        id=f"{project}-{i:03}", project=project, person="ada", state=state, notebook="n",
                        parameters="{}", submitted_at=AT,
                    )
                )  # fmt: skip


def _claims(context, worker="worker"):
    return Claims(context, Queue(context), worker)


def _state(context, job):
    with context.database.read() as connection:
        return connection.execute(sa.select(tables.jobs.c.state).where(tables.jobs.c.id == job)).scalar_one()


def _end(context, lease):
    with context.database.write() as connection:
        leases.drop(connection, lease)


def test_projects_take_turns_however_many_jobs_one_of_them_has(context):
    _jobs(context, Job.REHEARSING, visits=5, others=2)
    claims, order = _claims(context), []
    while (claimed := claims.rehearsal()) is not None:
        order.append(claimed[0].id)
        _end(context, claimed[1])
        with context.database.write() as connection:
            connection.execute(tables.jobs.update().where(tables.jobs.c.id == order[-1]).values(state=Job.PLANNED))
    assert order == [
        "others-000", "visits-000", "others-001", "visits-001", "visits-002", "visits-003", "visits-004",
    ]  # fmt: skip


def test_a_project_has_no_more_at_work_than_its_limit_whoever_the_workers_are(context):
    _jobs(context, Job.QUEUED, visits=5, others=5)
    taken = [_claims(context, f"worker-{i}").run() for i in range(7)]
    projects = [t[0].project for t in taken if t is not None]
    assert sorted(projects) == ["others"] * 2 + ["visits"] * 3  # the area's limit, and the project's own
    _end(context, next(t[1] for t in taken if t[0].project == "others"))
    assert _claims(context).run()[0].project == "others"


def test_a_hundred_jobs_and_eight_threads_and_none_is_taken_twice(context):
    _jobs(context, Job.QUEUED, visits=100)
    with context.database.write() as connection:
        from tre.secure import policies as policy_files

        found = policy_files.current(connection)
        project = found.projects["visits"].model_copy(update={"at_once": 1000})
        new = found.model_copy(update={"projects": {**found.projects, "visits": project}})
        values = {"digest": "d", "content": new.model_dump_json(), "applied_at": AT}
        connection.execute(tables.policies.insert().values(**values))
    taken, guard = [], threading.Lock()

    def work(name):
        claims = _claims(context, name)
        while (claimed := claims.run()) is not None:
            with guard:
                taken.append(claimed[0].id)

    threads = [threading.Thread(target=work, args=(f"worker-{i}",)) for i in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(taken) == [f"visits-{i:03}" for i in range(100)]


def test_a_lease_that_runs_out_is_taken_over_and_its_first_holder_finishes_nothing(context, clock):
    _jobs(context, Job.QUEUED, visits=1)
    first, second = _claims(context, "first"), _claims(context, "second")
    job, lease = first.run()
    assert job.attempt == 1
    second.recover()
    assert second.run() is None
    clock.pass_(31)
    second.recover()
    assert _state(context, "visits-000") == "queued"
    again, other = second.run()
    assert again.attempt == 2
    with pytest.raises(Conflict, match="lease_lost"), context.database.write() as connection:
        leases.need(connection, lease)
    with context.database.read() as connection:
        leases.need(connection, other)
    assert leases.renew(context, "first", 30, {lease.token}) == set()
    assert leases.renew(context, "second", 30, {other.token}) == {other.token}


def test_a_worker_that_renews_keeps_its_work_for_as_long_as_it_takes(context, clock):
    _jobs(context, Job.QUEUED, visits=1)
    first, second = _claims(context, "first"), _claims(context, "second")
    _, lease = first.run()
    for _ in range(5):
        clock.pass_(25)
        assert leases.renew(context, "first", 30, {lease.token}) == {lease.token}
        second.recover()
    assert _state(context, "visits-000") == "running"


def test_a_lease_that_a_failure_left_behind_runs_out_though_its_worker_lives(context, clock):
    """The database was away when a lane ended: nobody works under the lease, and nobody may wait for it for ever."""
    _jobs(context, Job.QUEUED, visits=1)
    first, second = _claims(context, "first"), _claims(context, "second")
    first.run()
    for _ in range(2):
        clock.pass_(16)
        leases.renew(context, "first", 30, set())
    second.recover()
    assert second.run()[0].id == "visits-000"


CHILD = """
import sys
from pathlib import Path
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.leases import Presence
from tre.secure.services import open_area
services = open_area(Path(sys.argv[1]))
presence = Presence(services.context.area.folder("workers"))
(services.context.area.folder("jobs") / f"warm-{presence.name}-1" / "out").mkdir(parents=True)
print(Claims(services.context, services.queue, presence.name).run()[0].id, flush=True)
sys.stdin.read()
"""


def test_a_worker_that_was_killed_is_found_gone_at_once(tmp_path):
    """Its lease would run for another half a minute; its lock ended with its process."""
    services = create(tmp_path / "area")
    services.apply(write_policies(tmp_path / "policies", policies()), dry_run=False)
    _jobs(services.context, Job.QUEUED, visits=1)
    command = [sys.executable, "-c", CHILD, str(tmp_path / "area")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout.readline().strip() == "visits-000"
        claims = _claims(services.context)
        claims.recover()
        assert _state(services.context, "visits-000") == "running"  # it lives
        assert len(list((tmp_path / "area" / "jobs").iterdir())) == 1
        process.send_signal(signal.SIGKILL)
        process.wait()
    claims.recover()
    assert _state(services.context, "visits-000") == "queued"
    assert not list((tmp_path / "area" / "workers").iterdir())
    assert not list((tmp_path / "area" / "jobs").iterdir())  # what it had ready goes with it
    services.close()


def test_a_workers_lock_is_its_own_until_it_ends(tmp_path):
    folder = tmp_path / "workers"
    presence = Presence(folder)
    assert leases.gone(folder) == []
    presence.end()
    assert leases.gone(folder) == []
    assert not list(folder.iterdir())


def test_a_worker_is_never_seen_without_its_lock(tmp_path, monkeypatch):
    """Another one that looks at any moment of its start finds nobody gone."""
    folder, seen = tmp_path / "workers", []
    flock = leases.fcntl.flock

    def looked(file, how):
        monkeypatch.setattr(leases.fcntl, "flock", flock)
        seen.append(leases.gone(folder))
        flock(file, how)

    monkeypatch.setattr(leases.fcntl, "flock", looked)
    presence = Presence(folder)
    assert seen == [[]]
    assert [p.stem for p in folder.iterdir()] == [presence.name]
    presence.end()


def test_a_worker_of_another_machine_is_not_judged_by_its_lock(tmp_path):
    """Its lock may not be seen from here; its lease tells."""
    (tmp_path / "elsewhere-1-abcd.lock").touch()
    assert leases.gone(tmp_path) == []
    (tmp_path / f"{leases._node()}-1-abcd.lock").touch()
    assert leases.gone(tmp_path) == [f"{leases._node()}-1-abcd"]


def test_a_withdrawn_jobs_lease_ends_with_it(context):
    _jobs(context, Job.REHEARSING, visits=1)
    claims = _claims(context, "first")
    job, lease = claims.rehearsal()
    Queue(context).withdraw(person="ada", job=job.id)
    assert leases.mine(context, "first") == set()
    with pytest.raises(Conflict, match="lease_lost"):
        _need(context, lease)
    assert claims.rehearsal() is None


def _need(context, lease):
    with context.database.read() as connection:
        leases.need(connection, lease)


def _take_back(connection, folder, version):
    """Whatever of the schema (SQLite's) a database of that version has not."""
    early = Database(folder / "early.db")
    early.migrate(version)
    with early.read() as old:
        tables_then = {
            t: {c["name"] for c in sa.inspect(old).get_columns(t)} for t in sa.inspect(old).get_table_names()
        }
        triggers_then = set(old.execute(TRIGGERS).scalars())
    early.close()
    for trigger in set(connection.execute(TRIGGERS).scalars()) - triggers_then:
        connection.execute(sa.text(f"DROP TRIGGER {trigger}"))
    for table in reversed(tables.metadata.sorted_tables):
        if table.name not in tables_then:
            connection.execute(sa.text(f"DROP TABLE {table.name}"))
            continue
        for column in {c.name for c in table.columns} - tables_then[table.name]:
            connection.execute(sa.text(f"ALTER TABLE {table.name} DROP COLUMN {column}"))
    connection.execute(sa.text(f"UPDATE alembic_version SET version_num = '{version}'"))


def test_an_area_of_the_version_before_gets_its_leases(tmp_path):
    """What was running when the new version came goes back to the queue."""
    services = create(tmp_path / "area")
    services.apply(write_policies(tmp_path / "policies", policies()), dry_run=False)
    _jobs(services.context, Job.RUNNING, visits=1)
    with services.context.database.write() as connection:
        _take_back(connection, tmp_path, "0004")
    services.close()
    services = open_area(tmp_path / "area")
    _claims(services.context).recover()
    assert _state(services.context, "visits-000") == "queued"
    events = sa.select(tables.audit.c.event, tables.audit.c.detail).where(tables.audit.c.subject == "visits-000")
    with services.context.database.read() as connection:
        assert [(e, json.loads(d)) for e, d in connection.execute(events)] == [("job.run_interrupted", {})]
    services.close()


def test_kinds_of_work_do_not_hold_each_other_up(context):
    """A release of a job may be taken on while its run is under way."""
    _jobs(context, Job.QUEUED, visits=1)
    _, run = _claims(context, "first").run()
    with context.database.write() as connection:
        release = leases.take(
            context, connection, job=run.job, kind=Kind.RELEASE, project="visits", worker="second", seconds=30
        )
    for lease in (run, release):
        _need(context, lease)


def test_work_that_begins_while_the_pulse_looks_is_not_taken_for_lost(context, monkeypatch):
    """The answer about all leases is older than the lease that a lane has just taken."""
    _jobs(context, Job.QUEUED, visits=1)
    worker = Worker(context, Queue(context), None, None, None, None)
    lane = Lane("hand", Local(context.area.folder("jobs")), None, None, None)
    worker._lanes.append(lane)
    mine, looked = leases.mine, threading.Event()

    def slow(*arguments):
        found = mine(*arguments)
        if lane.token is None:
            held.enter_context(lane.holding(worker.claims.run()[1]))
        else:
            looked.set()  # the pulse has been through once with the new lease
        return found

    with ExitStack() as held:
        monkeypatch.setattr(leases, "mine", slow)
        worker._pulse.start()
        assert looked.wait(timeout=60)
        assert not lane.cancelled.is_set()
        worker._stop.set()
        worker._pulse.join()
    worker.presence.end()
