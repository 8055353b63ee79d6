"""Claims: what a worker does next. Fair between projects, within each project's limit, and never twice at once.

Guarantees: a claim and the job's change of state are one transaction; of the projects with work waiting and below their
limit, the one that was served least recently is next, and its oldest job; what a lost worker was at is put back by
`recover` before anything is claimed.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict
from tre.rules.lifecycle import Job, Release
from tre.rules.policy import Policies
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.jobs import leases, local
from tre.secure.jobs.leases import Kind, Lease
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.work import Lane

log = logging.getLogger("tre.worker")
j, r, turns = tables.jobs, tables.releases, tables.turns
Row = sa.Row[Any]


class Claims:
    """What one worker takes. `worker` is its name."""

    def __init__(self, context: Context, queue: Queue, worker: str) -> None:
        self.context, self.queue, self.worker = context, queue, worker

    def recover(self) -> None:
        """Runs of workers that are gone go back to the queue; rehearsals and releases are free to be taken again."""
        absent = [w for w in leases.gone(self.context.area.folder("workers")) if w != self.worker]
        for worker in absent:
            local.sweep(self.context.area.folder("jobs"), worker)
        live = sa.select(tables.leases.c.job).where(
            tables.leases.c.kind.in_((Kind.RUN, Kind.BLOCKS)),
            tables.leases.c.until > leases.now(self.context),
            tables.leases.c.worker.not_in(absent),
        )
        orphans = sa.select(j.c.id).where(j.c.state == Job.RUNNING, j.c.id.not_in(live))
        with self.context.database.read() as connection:
            if not absent and connection.execute(orphans.limit(1)).first() is None:
                return
        with self.context.database.write() as connection:
            for job in connection.execute(orphans).scalars().all():
                self.queue.move(connection, job, Job.RUNNING, Job.QUEUED)
            leases.drop_ended(self.context, connection, absent)

    @contextmanager
    def at_work(self, lane: Lane, lease: Lease) -> Iterator[None]:
        """While the lane does what it claimed; the lease is let go of afterwards, however that ended.

        A Conflict ends it in silence: another has taken it over, or somebody has decided the job's state meanwhile.
        """
        with lane.holding(lease):
            try:
                yield
            except Conflict:
                log.info("the %s of %s is no longer ours", lease.kind.value, lease.job)
            finally:
                with self.context.database.write() as connection:
                    leases.drop(connection, lease)

    def rehearsal(self) -> tuple[Row, Lease] | None:
        return self._job(Kind.REHEARSAL, Job.REHEARSING)

    def run(self) -> tuple[Row, Lease] | None:
        """Marked as running. The row is read after that: its `attempt` is this one."""
        return self._job(Kind.RUN, Job.QUEUED)

    def blocks(self) -> tuple[Row, Lease] | None:
        """The job whose slots come next, marked as running: the order was fixed by their confirmations."""
        b = tables.block_jobs
        waiting = sa.select(j).join(b, b.c.job == j.c.id).where(j.c.state == Job.QUEUED).order_by(b.c.begins, j.c.id)
        with self.context.database.read() as connection:
            if connection.execute(waiting.limit(1)).first() is None:
                return None
        with self.context.database.write() as connection:
            job = connection.execute(waiting.limit(1)).first()
            if job is None:
                return None
            lease = self._lease(connection, Kind.BLOCKS, str(job.id), str(job.project))
            attempt = int(job.attempt) + 1
            self.queue.move(connection, str(job.id), Job.QUEUED, Job.RUNNING, attempt=attempt)
            return self.queue.row(connection, str(job.id)), lease

    def release(self, ready: Callable[[sa.Connection, Row], bool]) -> tuple[Row, Lease] | None:
        """The oldest release that can be taken a step on: in an open state, held by nobody, and `ready`."""
        open_states = (Release.CHECKING, Release.APPROVED, Release.RELEASING)
        waiting = sa.select(r).where(r.c.state.in_(open_states)).order_by(r.c.created_at, r.c.id)
        with self.context.database.read() as connection:
            if not any(ready(connection, row) for row in connection.execute(waiting).all()):
                return None
        with self.context.database.write() as connection:
            busy = {held.job for held in leases.held(self.context, connection, Kind.RELEASE)}
            for row in connection.execute(waiting).all():
                if row.job not in busy and ready(connection, row):
                    return row, self._lease(connection, Kind.RELEASE, str(row.job), str(row.project))
        return None

    def _job(self, kind: Kind, state: Job) -> tuple[Row, Lease] | None:
        with self.context.database.read() as connection:
            if connection.execute(_waiting(state).with_only_columns(j.c.id).limit(1)).first() is None:
                return None
        with self.context.database.write() as connection:
            policies = policy_files.current(connection)
            job = self._next(connection, kind, state, policies)
            if job is None:
                return None
            lease = self._lease(connection, kind, str(job.id), str(job.project))
            self._turn(connection, kind, str(job.project))
            attempt = int(job.attempt) + 1
            if kind is Kind.RUN:
                self.queue.move(connection, str(job.id), Job.QUEUED, Job.RUNNING, attempt=attempt)
            else:  # counted before it can end this process
                connection.execute(j.update().where(j.c.id == job.id).values(attempt=attempt))
            return self.queue.row(connection, str(job.id)), lease

    def _next(self, connection: sa.Connection, kind: Kind, state: Job, policies: Policies) -> Row | None:
        held = leases.held(self.context, connection, kind)
        at_once, busy = Counter(str(h.project) for h in held), [str(h.job) for h in held]
        waiting = _waiting(state).where(j.c.id.not_in(busy))
        served = {str(s.project): int(s.at) for s in connection.execute(sa.select(turns).where(turns.c.kind == kind))}
        projects = connection.execute(waiting.with_only_columns(j.c.project).distinct()).scalars().all()
        free = [p for p in projects if at_once[p] < limit(policies, p)]
        if not free:
            return None
        project = min(free, key=lambda p: (served.get(p, 0), p))
        return connection.execute(waiting.where(j.c.project == project).order_by(j.c.submitted_at, j.c.id)).first()

    def _lease(self, connection: sa.Connection, kind: Kind, job: str, project: str) -> Lease:
        seconds = policy_files.current(connection).area.queue.lease_seconds
        return leases.take(
            self.context, connection, job=job, kind=kind, project=project, worker=self.worker, seconds=seconds
        )

    def _turn(self, connection: sa.Connection, kind: Kind, project: str) -> None:
        latest = connection.execute(sa.select(sa.func.max(turns.c.at)).where(turns.c.kind == kind)).scalar() or 0
        connection.execute(turns.delete().where(turns.c.project == project, turns.c.kind == kind))
        connection.execute(turns.insert().values(project=project, kind=kind, at=latest + 1))


def _waiting(state: Job) -> sa.Select[Any]:
    """The jobs in this state; of those to be run, the ones that run on all rows."""
    query = sa.select(j).where(j.c.state == state)
    return query if state is not Job.QUEUED else query.where(j.c.id.not_in(sa.select(tables.block_jobs.c.job)))


def limit(policies: Policies, project: str) -> int:
    """How many of a project's jobs may be at work at once, of each kind."""
    found = policies.projects.get(project)
    return found.at_once if found is not None and found.at_once is not None else policies.area.queue.per_project
