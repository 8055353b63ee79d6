"""How a run on real rows ended: its class is written down once, for its output checkers, and told to the desk by the policy's rule.

Guarantees: the class is the supervisor's word, one of rules.told.RunEnd; the job's final state, the class and the audit entry
are one transaction; a desk is told by the stricter of two rules, that of the policies which the plan was confirmed under and
that of those in force. Nothing else of a run's end is read by what answers a desk.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tre.messages import Plan, Stage
from tre.rules import told
from tre.rules.lifecycle import Job
from tre.rules.policy import Policies
from tre.rules.told import FailureTold, RunEnd
from tre.secure import policies as policy_files
from tre.secure import ticks
from tre.secure.database import tables

if TYPE_CHECKING:
    from tre.secure.jobs.queue import Queue

STATES = {
    RunEnd.FINISHED: Job.FINISHED,
    RunEnd.FAILED: Job.FAILED,
    RunEnd.TIMED_OUT: Job.TIMED_OUT,
    RunEnd.OUT_OF_MEMORY: Job.FAILED,
}
t = tables.run_ends


def close(queue: Queue, connection: sa.Connection, job: str, how: RunEnd, diagnostics: str) -> None:
    """A running job gets its final state, and its class is kept."""
    queue.move(connection, job, Job.RUNNING, STATES[how], diagnostics=diagnostics)
    from_ = ticks.following(queue.context, connection)
    connection.execute(t.delete().where(t.c.job == job))
    connection.execute(t.insert().values(job=job, how=how.value, told_from=from_))


def of(connection: sa.Connection, job: str) -> told.Ended | None:
    row = connection.execute(sa.select(t).where(t.c.job == job)).first()
    return None if row is None else told.Ended(RunEnd(row.how), int(row.told_from))


def rule(policies: Policies, project: str) -> FailureTold:
    """Of one set of policies; of a project that is no longer there nothing is told."""
    found = policies.projects.get(project)
    if found is None:
        return FailureTold.NEVER
    return found.failure_told if found.failure_told is not None else policies.area.failure_told


def for_desk(
    connection: sa.Connection, policies: Policies, job: sa.Row[Any], stage: Stage, now: float
) -> RunEnd | None:
    """What the researcher may know now of how the job's run ended; `policies` are those in force."""
    if job.plan is None or rule(policies, job.project) is FailureTold.NEVER:
        return None
    plan = Plan.model_validate_json(job.plan)
    then = policy_files.by_digest(connection, plan.policy)
    return told.tell(
        told.stricter(rule(policies, job.project), rule(then, job.project)),
        of(connection, job.id),
        now=now,
        released=stage in (Stage.RELEASED, Stage.REVOKED),
        decided_by_people=not plan.automatic,
    )


def for_receipt(connection: sa.Connection, policies: Policies, job: str, plan: Plan) -> RunEnd | None:
    """What the release that two people approve says of its run; `policies` are the plan's."""
    now = policy_files.current(connection)
    if told.stricter(rule(policies, plan.project), rule(now, plan.project)) is not FailureTold.AFTER_REVIEW:
        return None
    return told.tell(
        FailureTold.AFTER_REVIEW, of(connection, job), now=0, released=True, decided_by_people=not plan.automatic
    )
