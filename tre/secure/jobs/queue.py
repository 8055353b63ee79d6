"""The queue: jobs live in the database, change state by the table in rules.lifecycle, and outlive every process.

Guarantees: a state, its audit entry and what the desk will see of it change in one transaction; a confirmation reserves
the whole plan or changes nothing; what the desk sees after it changes on ticks only.
"""

from __future__ import annotations

import json
import math
import secrets
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, NotFound
from tre.messages import Failure, Parameter, Plan, Stage
from tre.rules import lifecycle
from tre.rules import notebook as notebooks
from tre.rules.canonical import digest
from tre.rules.lifecycle import Actor, Job, Release
from tre.rules.policy import Policies
from tre.secure import audit, ledger
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables

t = tables.jobs


class Queue:
    def __init__(self, context: Context) -> None:
        self.context = context

    def submit(self, *, person: str, project: str, content: bytes, parameters: dict[str, Parameter]) -> str:
        """Store a checked notebook and queue its rehearsal; returns the job's id."""
        checked = notebooks.check(content)
        notebooks.check_parameters(checked, parameters)
        name = notebooks.notebook_digest(content)
        path = self.context.area.folder("notebooks") / f"{name}.ipynb"
        if not path.is_file():
            part = path.with_suffix(f".{secrets.token_hex(4)}.part")
            part.write_bytes(content)
            part.replace(path)
        job, at = f"job-{secrets.token_hex(4)}", self.context.now()
        with self.context.database.write() as connection:
            connection.execute(
                t.insert().values(
                    id=job, project=project, person=person, state=Job.REHEARSING, notebook=name,
                    parameters=json.dumps(parameters), submitted_at=at,
                )
            )  # fmt: skip
            self.publish(connection, job, Stage.REHEARSING, at_once=True)
            detail = {"project": project, "notebook": name}
            audit.record(connection, at=at, person=person, event="job.submitted", subject=job, detail=detail)
        return job

    def notebook(self, name: str) -> bytes:
        return (self.context.area.folder("notebooks") / f"{name}.ipynb").read_bytes()

    def next(self, state: Job) -> sa.Row[Any] | None:
        """The oldest job in a state."""
        with self.context.database.read() as connection:
            return connection.execute(sa.select(t).where(t.c.state == state).order_by(t.c.submitted_at, t.c.id)).first()

    def planned(self, job: str, plan: Plan) -> None:
        content = plan.model_dump(mode="json")
        with self.context.database.write() as connection:
            self.move(
                connection, job, Job.REHEARSING, Job.PLANNED, plan=json.dumps(content), plan_digest=digest(content)
            )
            self.publish(connection, job, Stage.PLANNED, at_once=True)

    def rehearsal_failed(self, job: str, failure: Failure, diagnostics: str) -> None:
        with self.context.database.write() as connection:
            told = failure.model_dump_json()
            self.move(connection, job, Job.REHEARSING, Job.REHEARSAL_FAILED, failure=told, diagnostics=diagnostics)
            self.publish(connection, job, Stage.REHEARSAL_FAILED, at_once=True)

    def confirm(self, *, person: str, job: str, plan_digest: str) -> str:
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
            ledger.reserve(connection, policies, _reservations(plan, release), at=at)
            if not plan.run:
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
        with self.context.database.write() as connection:
            before = Job(self.row(connection, job).state)
            self.move(connection, job, before, Job.WITHDRAWN, who=Actor.RESEARCHER, person=person)
            self.publish(connection, job, Stage.WITHDRAWN, at_once=True)

    def start_rehearsal(self, job: str) -> int:
        """Count the attempt, before it can end this process; returns its number."""
        with self.context.database.write() as connection:
            attempt = int(self.row(connection, job).attempt) + 1
            connection.execute(t.update().where(t.c.id == job).values(attempt=attempt))
        return attempt

    def start_run(self, job: str) -> int:
        """Mark it running; returns the attempt's number, which names its folder."""
        with self.context.database.write() as connection:
            attempt = int(self.row(connection, job).attempt) + 1
            self.move(connection, job, Job.QUEUED, Job.RUNNING, attempt=attempt)
        return attempt

    def interrupted(self) -> None:
        """At start: runs whose process is gone go back to the queue. (Their sandboxes died with it.)"""
        with self.context.database.write() as connection:
            for row in connection.execute(sa.select(t.c.id).where(t.c.state == Job.RUNNING)).all():
                self.move(connection, row.id, Job.RUNNING, Job.QUEUED)

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
        """Let the desk see `stage` from the next tick on (at once for what depends on the twin alone)."""
        now = self.context.seconds()
        tick = policy_files.current(connection).area.tick_seconds
        from_ = math.floor(now) if at_once else (math.floor(now / tick) + 1) * tick
        connection.execute(tables.published.insert().values(job=job, stage=stage, visible_from=from_))

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
    ]  # fmt: skip
