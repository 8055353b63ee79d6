"""The queue: jobs live in the database, change state by the table in rules.lifecycle, and outlive every process.

Guarantees: a state, its audit entry and what the desk will see of it change in one transaction; a confirmation reserves
the whole plan or changes nothing; what the desk sees after it changes on ticks only.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, NotFound
from tre.messages import Failure, Parameter, Plan, Stage
from tre.rules import lifecycle
from tre.rules import notebook as notebooks
from tre.rules.canonical import digest
from tre.rules.lifecycle import Actor, Job, Release
from tre.rules.policy import Policies
from tre.secure import audit, discussion, ledger, notices, ticks
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.jobs import block_store, leases
from tre.secure.jobs.leases import Lease

t = tables.jobs


class Queue:
    def __init__(self, context: Context) -> None:
        self.context = context

    def submit(
        self, *, person: str, project: str, content: bytes, parameters: dict[str, Parameter], blocks: int | None = None,
        name: str | None = None,
    ) -> str:  # fmt: skip
        """Store a checked notebook and queue its rehearsal; returns the job's id."""
        checked = notebooks.check(content)
        notebooks.check_parameters(checked, parameters)
        digested = notebooks.notebook_digest(content)
        path = self.context.area.folder("notebooks") / f"{digested}.ipynb"
        if not path.is_file():
            part = path.with_suffix(f".{secrets.token_hex(4)}.part")
            part.write_bytes(content)
            part.replace(path)
        job, at = f"job-{secrets.token_hex(4)}", self.context.now()
        with self.context.database.write() as connection:
            connection.execute(
                t.insert().values(
                    id=job, project=project, person=person, state=Job.REHEARSING, notebook=digested, name=name,
                    parameters=json.dumps(parameters), submitted_at=at,
                )
            )  # fmt: skip
            if blocks is not None:
                block_store.ask(connection, job, blocks)
            self.publish(connection, job, Stage.REHEARSING, at_once=True)
            detail = {"project": project, "notebook": digested}
            audit.record(connection, at=at, person=person, event="job.submitted", subject=job, detail=detail)
        return job

    def notebook(self, name: str) -> bytes:
        return (self.context.area.folder("notebooks") / f"{name}.ipynb").read_bytes()

    def planned(self, lease: Lease, plan: Plan) -> None:
        content, job = plan.model_dump(mode="json"), lease.job
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            # Attempts of the run are counted anew.
            told = {"plan": json.dumps(content), "plan_digest": digest(content), "attempt": 0}
            self.move(connection, job, Job.REHEARSING, Job.PLANNED, **told)  # type: ignore[arg-type]
            self.publish(connection, job, Stage.PLANNED, at_once=True)

    def rehearsal_failed(self, lease: Lease, failure: Failure, diagnostics: str) -> None:
        told, job = failure.model_dump_json(), lease.job
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            self.move(connection, job, Job.REHEARSING, Job.REHEARSAL_FAILED, failure=told, diagnostics=diagnostics)
            self.publish(connection, job, Stage.REHEARSAL_FAILED, at_once=True)

    def try_again(self, lease: Lease) -> None:
        """A rehearsal that its worker put back: it does not count."""
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            connection.execute(t.update().where(t.c.id == lease.job).values(attempt=t.c.attempt - 1))

    def run_again(self, lease: Lease, *, counts: bool = True) -> None:
        """A run back to the queue: its attempt was lost, or its worker put it back (and then it does not count)."""
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            attempt = int(self.row(connection, lease.job).attempt) - (0 if counts else 1)
            self.move(connection, lease.job, Job.RUNNING, Job.QUEUED, attempt=attempt)

    def confirm(self, *, person: str, job: str, plan_digest: str, exceptions: Mapping[str, str] | None = None) -> str:
        """Reserve the plan and let it go; returns the release's id. Raises BudgetExceeded or Conflict, charging nothing."""
        at = self.context.now()
        with self.context.database.write() as connection:
            policies = policy_files.current(connection)
            row = self.row(connection, job)
            if row.plan is None or row.plan_digest != plan_digest:
                raise Conflict(
                    "plan_changed", "This is not the plan of this job.", "Look at the plan again, then confirm."
                )
            plan = Plan.model_validate_json(row.plan)
            self._still_valid(connection, plan, policies)
            release = f"rel-{secrets.token_hex(4)}"
            state = Release.CHECKING
            self.move(connection, job, Job.PLANNED, Job.QUEUED, who=Actor.RESEARCHER, person=person, release=release)
            connection.execute(
                tables.releases.insert().values(
                    id=release, job=job, project=plan.project, person=person, state=state, created_at=at
                )
            )
            discussion.ask(connection, release, plan, exceptions or {}, person=person, at=at)
            ledger.reserve(connection, policies, _reservations(plan, release), at=at)
            if plan.blocks is not None and plan.in_blocks:
                block_store.fix(self.context, connection, job, plan.blocks, policies)
            elif not plan.run:
                self.move(connection, job, Job.QUEUED, Job.FINISHED)
            # The researcher has just done this: there is nothing to hide in it. All that follows is told on ticks.
            self.publish(connection, job, Stage.IN_PROGRESS if plan.automatic else Stage.IN_REVIEW, at_once=True)
        return release

    def _still_valid(self, connection: sa.Connection, plan: Plan, policies: Policies) -> None:
        """A plan stands on the policies and data versions it was made with."""
        t = tables.versions
        newest = {
            name: connection.execute(
                sa.select(t.c.version).where(t.c.dataset == name).order_by(t.c.seq.desc()).limit(1)
            ).scalar()
            for name in plan.datasets
        }
        if newest != plan.datasets or policy_files.policy_digest(policies) != plan.policy:
            raise Conflict(
                "plan_outdated",
                "Policies or data have changed since this plan was made.",
                "Rehearse the notebook again: the new plan shows what changed. Nothing was charged.",
            )

    def withdraw(self, *, person: str, job: str) -> None:
        """Take it back, at every state before something is read for its statistics: what was reserved is given back.

        Whoever is at work on it stops. Raises Conflict once it has ended or is being released; for what no person
        decides from its confirmation on, as the answer would tell to the moment when the release before it was done.
        """
        with self.context.database.write() as connection:
            row = self.row(connection, job)
            before = Job(row.state)
            if before in (Job.REHEARSING, Job.PLANNED):
                self.move(connection, job, before, Job.WITHDRAWN, who=Actor.RESEARCHER, person=person)
            else:
                self._withdraw_release(connection, row, person)
                if before in (Job.QUEUED, Job.RUNNING):
                    self.move(connection, job, before, Job.CANCELLED, who=Actor.RESEARCHER, person=person)
            leases.drop_job(connection, job)
            block_store.forget(connection, job)
            self.publish(connection, job, Stage.WITHDRAWN, at_once=True)

    def _withdraw_release(self, connection: sa.Connection, job: sa.Row[Any], person: str) -> None:
        r, at = tables.releases, self.context.now()
        row = connection.execute(sa.select(r).where(r.c.job == job.id)).first()
        late = Conflict("state_changed", "It is too late to withdraw this job.", "See how it ends: tre job ID")
        # Until an estimate over blocks is due nothing of it is drawn, by the clock alone.
        times = block_store.schedule_of(connection, str(job.id))
        early = times is not None and self.context.seconds() < times.due
        if row is None or (Plan.model_validate_json(job.plan).automatic and not early):
            raise late
        try:
            step = lifecycle.step(lifecycle.RELEASE, Release(row.state), Release.WITHDRAWN, Actor.RESEARCHER)
        except Conflict:  # in one sentence, whatever the state is that the desk is not told yet
            raise late from None
        connection.execute(r.update().where(r.c.id == row.id).values(state=Release.WITHDRAWN))
        audit.record(connection, at=at, person=person, event=step.event, subject=row.id)
        for entry in ledger.entries(connection, row.id):
            ledger.give_back(connection, int(entry.id), at=at)

    # Steps shared with release.*

    def row(self, connection: sa.Connection, job: str) -> sa.Row[Any]:
        row = connection.execute(sa.select(t).where(t.c.id == job)).first()
        if row is None:
            raise NotFound("job_unknown", f"There is no job {job[:40]!r} of yours.", "List them: tre jobs")
        return row

    def move(
        self,
        connection: sa.Connection,
        job: str,
        before: Job,
        after: Job,
        *,
        who: Actor = Actor.SYSTEM,
        person: str = "",
        release: str = "",
        **values: Any,
    ) -> None:
        """One step of the table, with its audit entry; Conflict when the job is no longer in `before`."""
        transition = lifecycle.step(lifecycle.JOB, Job(self.row(connection, job).state), after, who)
        if transition.before is not before:
            raise Conflict("state_changed", "The job has moved on.", "Look at it again: tre job ID")
        connection.execute(t.update().where(t.c.id == job).values(state=after, **values))
        detail = {"release": release} if release else {}
        audit.record(
            connection,
            at=self.context.now(),
            person=person or "system",
            event=transition.event,
            subject=job,
            detail=detail,
        )

    def publish(self, connection: sa.Connection, job: str, stage: Stage, *, at_once: bool = False) -> None:
        """Let the desk see `stage`, and its researcher be told, from the next tick on (at once for what depends on the twin alone)."""
        from_ = math.floor(self.context.seconds()) if at_once else ticks.following(self.context, connection)
        connection.execute(tables.published.insert().values(job=job, stage=stage, visible_from=from_))
        notices.published(self.context, connection, job, stage, from_)

    def visible(self, connection: sa.Connection, job: str) -> tuple[Stage, int]:
        """What the desk may see now: (stage, since when)."""
        p = tables.published
        row = connection.execute(
            sa.select(p)
            .where(p.c.job == job, p.c.visible_from <= math.floor(self.context.seconds()))
            .order_by(p.c.id.desc())
            .limit(1)
        ).one()
        return Stage(row.stage), int(row.visible_from)


def _reservations(plan: Plan, release: str) -> list[ledger.Reservation]:
    return [
        ledger.Reservation(
            population=r.population, project=plan.project, purpose="release", request_digest=r.digest,
            dataset_version=r.dataset_version, release=release, position=i, rho_units=r.rho_units,
            delta_units=r.delta_units, measure=r.measure,
        )
        for i, r in enumerate(plan.requests)
        if not r.replayed
    ] + [
        ledger.Reservation(
            population=plan.blocks.population, project=plan.project, purpose="estimate", request_digest=e.digest,
            dataset_version=block_store.version(plan), release=release, position=len(plan.requests) + i,
            rho_units=e.rho_units, measure=e.measure,
        )
        for i, e in enumerate(plan.estimates)
        if plan.blocks is not None and not e.replayed
    ]  # fmt: skip
