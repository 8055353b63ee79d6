"""The two state machines, one table each: from, to, who may, what the audit log says.

Everything reads these tables: the services before they change a state, the tests that walk them, and the diagram in
docs/reference/states.md, which is rendered from them. A transition that is not here does not exist.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from tre.errors import Conflict

State = TypeVar("State", bound=StrEnum)


class Actor(StrEnum):
    """Who moves a state: the researcher who submitted, an output checker, an admin, or the secure side itself."""

    RESEARCHER = "researcher"
    CHECKER = "checker"
    ADMIN = "admin"
    SYSTEM = "system"


class Job(StrEnum):
    REHEARSING = "rehearsing"
    REHEARSAL_FAILED = "rehearsal_failed"
    PLANNED = "planned"
    WITHDRAWN = "withdrawn"
    QUEUED = "queued"
    RUNNING = "running"
    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


class Release(StrEnum):
    CHECKING = "checking"
    BLOCKED = "blocked"
    IN_REVIEW = "in_review"
    PARTIALLY_REVIEWED = "partially_reviewed"
    REVIEWED = "reviewed"
    APPROVED = "approved"
    RETURNED = "returned"
    REJECTED = "rejected"
    WITHDRAWN = "withdrawn"
    RELEASING = "releasing"
    RELEASED = "released"
    FAILED = "failed"
    REVOKED = "revoked"


@dataclass(frozen=True)
class Transition(Generic[State]):
    """One permitted step."""

    before: State
    after: State
    who: Actor
    event: str


def _job(before: Job, after: Job, who: Actor, event: str) -> Transition[Job]:
    return Transition(before, after, who, event)


def _release(before: Release, after: Release, who: Actor, event: str) -> Transition[Release]:
    return Transition(before, after, who, event)


JOB = (
    _job(Job.REHEARSING, Job.PLANNED, Actor.SYSTEM, "job.planned"),
    _job(Job.REHEARSING, Job.REHEARSAL_FAILED, Actor.SYSTEM, "job.rehearsal_failed"),
    _job(Job.REHEARSING, Job.WITHDRAWN, Actor.RESEARCHER, "job.withdrawn"),
    _job(Job.PLANNED, Job.QUEUED, Actor.RESEARCHER, "job.confirmed"),
    _job(Job.PLANNED, Job.WITHDRAWN, Actor.RESEARCHER, "job.withdrawn"),
    _job(Job.QUEUED, Job.RUNNING, Actor.SYSTEM, "job.running"),
    _job(Job.QUEUED, Job.FINISHED, Actor.SYSTEM, "job.no_run_needed"),
    _job(Job.QUEUED, Job.CANCELLED, Actor.RESEARCHER, "job.cancelled"),
    _job(Job.RUNNING, Job.QUEUED, Actor.SYSTEM, "job.run_interrupted"),
    _job(Job.RUNNING, Job.FINISHED, Actor.SYSTEM, "job.finished"),
    _job(Job.RUNNING, Job.FAILED, Actor.SYSTEM, "job.failed"),
    _job(Job.RUNNING, Job.TIMED_OUT, Actor.SYSTEM, "job.timed_out"),
    _job(Job.RUNNING, Job.CANCELLED, Actor.RESEARCHER, "job.cancelled"),
)

RELEASE = (
    _release(Release.CHECKING, Release.IN_REVIEW, Actor.SYSTEM, "release.in_review"),
    _release(Release.CHECKING, Release.BLOCKED, Actor.SYSTEM, "release.blocked"),
    _release(Release.CHECKING, Release.APPROVED, Actor.SYSTEM, "release.approved_by_policy"),
    _release(Release.CHECKING, Release.WITHDRAWN, Actor.RESEARCHER, "release.withdrawn"),
    _release(Release.IN_REVIEW, Release.WITHDRAWN, Actor.RESEARCHER, "release.withdrawn"),
    _release(Release.PARTIALLY_REVIEWED, Release.WITHDRAWN, Actor.RESEARCHER, "release.withdrawn"),
    _release(Release.IN_REVIEW, Release.PARTIALLY_REVIEWED, Actor.CHECKER, "release.first_vote"),
    _release(Release.PARTIALLY_REVIEWED, Release.REVIEWED, Actor.CHECKER, "release.second_vote"),
    _release(Release.REVIEWED, Release.APPROVED, Actor.SYSTEM, "release.approved"),
    _release(Release.REVIEWED, Release.RETURNED, Actor.SYSTEM, "release.returned"),
    _release(Release.REVIEWED, Release.REJECTED, Actor.SYSTEM, "release.rejected"),
    _release(Release.APPROVED, Release.RELEASING, Actor.SYSTEM, "release.releasing"),
    _release(Release.RELEASING, Release.RELEASED, Actor.SYSTEM, "release.released"),
    _release(Release.RELEASING, Release.FAILED, Actor.SYSTEM, "release.failed"),
    _release(Release.RELEASED, Release.REVOKED, Actor.CHECKER, "release.revoked"),  # two of them
    _release(Release.RELEASED, Release.REVOKED, Actor.ADMIN, "release.revoked"),
)

FINAL_JOBS = frozenset(Job) - {t.before for t in JOB}
FINAL_RELEASES = frozenset(Release) - {t.before for t in RELEASE}


def step(table: Iterable[Transition[State]], before: State, after: State, who: Actor) -> Transition[State]:
    """The transition, or Conflict (code state_changed) where the table has none for this actor."""
    for transition in table:
        if (transition.before, transition.after, transition.who) == (before, after, who):
            return transition
    raise Conflict(
        "state_changed",
        f"This is {before.value}; it cannot become {after.value} by a {who.value}.",
        "Look at its present state again: somebody or something may have been quicker.",
    )
