"""Review: two output checkers, independent and blind to each other until both have voted.

Guarantees: a vote is taken only from an accredited checker outside the submitter's project, once; returning and
rejecting need a comment that the researcher will read; every look at an unreleased output is in the audit log.
"""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, NotAllowed, NotFound, RequestError
from tre.messages import OutputKind, Plan, ReviewInfo, ReviewOutput, Stage, Vote
from tre.rules import lifecycle, permissions
from tre.rules import notebook as notebooks
from tre.rules.balances import Cost
from tre.rules.canonical import digest_bytes
from tre.rules.ledger import Charge
from tre.rules.lifecycle import Actor, Release
from tre.rules.policy import Policies, Role
from tre.rules.voting import DecisionKind, Exceptional, Remark, decision
from tre.secure import audit, budgets, discussion, ledger, notices, ticks
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables
from tre.secure.jobs import block_store, ended
from tre.secure.jobs.queue import Queue
from tre.secure.release import earlier, executed, outputs

OPEN = (Release.IN_REVIEW, Release.PARTIALLY_REVIEWED)
t, j = tables.releases, tables.jobs


def move(
    context: Context, connection: sa.Connection, release: str, after: Release, *, who: Actor = Actor.SYSTEM,
    person: str = "system", **values: Any,
) -> None:  # fmt: skip
    """One step of the release table, with its audit entry."""
    before = Release(row(connection, release).state)
    transition = lifecycle.step(lifecycle.RELEASE, before, after, who)
    connection.execute(t.update().where(t.c.id == release).values(state=after, **values))
    audit.record(connection, at=context.now(), person=person, event=transition.event, subject=release)
    if after is Release.IN_REVIEW:
        found = row(connection, release)
        notices.waits(context, connection, str(found.job), _checkers(context, connection, found))


def _checkers(context: Context, connection: sa.Connection, found: sa.Row[Any]) -> list[str]:
    """Those who may vote on it."""
    plan = Plan.model_validate_json(connection.execute(sa.select(j.c.plan).where(j.c.id == found.job)).scalar_one())
    now, then = policy_files.current(connection), policy_files.by_digest(connection, plan.policy)
    return [
        name
        for name, person in now.people.items()
        if person.role is Role.CHECKER
        and person.accredited_until >= context.today()
        and all(permissions.independent(p, name, found.person, found.project) for p in (now, then))
    ]


def row(connection: sa.Connection, release: str) -> sa.Row[Any]:
    found = connection.execute(sa.select(t).where(t.c.id == release)).first()
    if found is None:
        raise NotFound(
            "release_unknown", f"There is no release {release[:40]!r}.", "List them: tre releases, tre reviews"
        )
    return found


class Desk:
    """The output checkers' desk."""

    def __init__(self, context: Context, queue: Queue) -> None:
        self.context = context
        self.queue = queue

    def waiting(self, connection: sa.Connection, policies: Policies, person: str) -> list[ReviewInfo]:
        """What this checker may vote on now, oldest first."""
        found = connection.execute(sa.select(t).where(t.c.state.in_(OPEN)).order_by(t.c.created_at, t.c.id)).all()
        infos = [
            self.info(connection, r.id, person) for r in found if self._may_vote(connection, policies, person, r.id)
        ]
        return [i for i in infos if i.my_vote is None]

    def _may_vote(self, connection: sa.Connection, policies: Policies, person: str, release: str) -> bool:
        try:
            self.independent(connection, policies, person, release)
        except NotAllowed:
            return False
        return True

    def look(self, policies: Policies, person: str, release: str) -> ReviewInfo:
        """Everything about one release, recorded as a view."""
        with self.context.database.write() as connection:
            self.independent(connection, policies, person, release)
            changed = earlier.since(self, connection, policies, person, release)
            detail = {"beside": changed.earlier} if changed is not None else {}
            audit.record(
                connection, at=self.context.now(), person=person, event="release.viewed", subject=release, detail=detail
            )
            return self.info(connection, release, person).model_copy(update={"changes": changed})

    def arrived(self, person: str) -> None:
        """A checker has signed in to the pages: recorded."""
        with self.context.database.write() as connection:
            audit.record(connection, at=self.context.now(), person=person, event="review.signed_in", subject=person)

    def output(self, policies: Policies, person: str, release: str, name: str) -> tuple[OutputKind, bytes]:
        """An output's bytes, recorded as a view."""
        with self.context.database.write() as connection:
            self.independent(connection, policies, person, release)
            found = [o for o in outputs.stored(connection, release) if o.name == name and o.sha256]
            if not found:
                raise NotFound("output_unknown", "There is no such output.", "See its names: tre review RELEASE")
            detail = {"output": str(found[0].sha256)}
            audit.record(
                connection, at=self.context.now(), person=person, event="output.viewed", subject=release, detail=detail
            )
        return OutputKind(str(found[0].kind)), outputs.content(self.context, str(found[0].sha256))

    def earlier(
        self, policies: Policies, person: str, release: str, before: str, name: str
    ) -> tuple[ReviewOutput, bytes]:
        """An output that left before, which a finding about this release names; recorded as a view."""
        with self.context.database.write() as connection:
            self.independent(connection, policies, person, release)
            named = {
                (e.release, e.output) for o in outputs.stored(connection, release) for f in outputs.findings(o)
                for e in f.earlier
            }  # fmt: skip
            found = [o for o in outputs.stored(connection, before) if o.name == name and o.sha256]
            if (before, name) not in named or not found:
                raise NotFound("output_unknown", "No finding names such an output.", "See what each finding names.")
            detail = {"output": str(found[0].sha256), "beside": release}
            audit.record(
                connection, at=self.context.now(), person=person, event="earlier.viewed", subject=before, detail=detail
            )
        content = outputs.content(self.context, str(found[0].sha256))
        return _output(found[0]).model_copy(update={"findings": ()}), content

    def notebook(self, policies: Policies, person: str, release: str) -> str:
        """The executed notebook as a page that does nothing, while the release is in review; recorded as a view."""
        with self.context.database.write() as connection:
            state = self.independent(connection, policies, person, release)
            if state not in OPEN:
                raise Conflict("not_in_review", f"This release is {state.value}.", "See what waits: tre reviews")
            job = self.queue.row(connection, row(connection, release).job)
            plan = Plan.model_validate_json(job.plan)
            if not plan.run:
                raise NotFound("notebook_none", "This release needed no run on real rows.", "Look at its plan instead.")
            found, end = executed.kept(self.context, release), ended.of(connection, job.id)
            detail = {"executed": digest_bytes(found) if found is not None else "none"}
            audit.record(
                connection,
                at=self.context.now(),
                person=person,
                event="notebook.viewed",
                subject=release,
                detail=detail,
            )
        facts = {
            "the run, by its supervisor": end.how.value if end else "unknown",
            "how notebooks are isolated here": policies.area.sandbox.isolation.value,
            "parameters given at submission": json.dumps(plan.parameters),
        }
        # Outside the transaction: drawing its pictures may take a while.
        return executed.page(release, self.queue.notebook(plan.notebook), found, facts)

    def vote(self, policies: Policies, person: str, release: str, vote: Vote) -> Release:
        """Cast it; the second one decides. Returns the state after it."""
        if vote.decision is not DecisionKind.APPROVE and not vote.comment.strip():
            raise RequestError(
                "comment_missing",
                "Returning or rejecting needs a comment.",
                'Say why: --comment "…"; the researcher reads it.',
            )
        v, at = tables.votes, self.context.now()
        with self.context.database.write() as connection:
            state = self.independent(connection, policies, person, release)
            cast = connection.execute(sa.select(v.c.person, v.c.decision).where(v.c.release == release)).all()
            permissions.need_first_vote(person, [c.person for c in cast])
            if state not in OPEN:
                raise Conflict("not_in_review", f"This release is {state.value}.", "See what waits: tre reviews")
            connection.execute(
                v.insert().values(release=release, person=person, decision=vote.decision, comment=vote.comment, at=at)
            )
            after = Release.PARTIALLY_REVIEWED if not cast else Release.REVIEWED
            move(self.context, connection, release, after, who=Actor.CHECKER, person=person)
            if after is Release.REVIEWED:
                after = decision([DecisionKind(cast[0].decision), vote.decision])
                move(self.context, connection, release, after)
                if after is not Release.APPROVED:
                    self._close(connection, release, Stage(after.value))
        return after

    def remark(self, policies: Policies, person: str, release: str, said: Remark) -> None:
        """Say something beside the vote, while the request is open."""
        with self.context.database.write() as connection:
            state = self.independent(connection, policies, person, release)
            if state not in OPEN:
                raise Conflict("not_in_review", f"This release is {state.value}.", "See what waits: tre reviews")
            discussion.remark(connection, release, person, said, at=self.context.now())

    def precedents(self) -> tuple[Exceptional, ...]:
        """The exceptions decided before, newest first."""
        with self.context.database.read() as connection:
            return discussion.precedents(connection)

    def revoke(self, policies: Policies, person: str, release: str, reason: str) -> Release:
        from tre.secure.release import revoking

        return revoking.revoke(self, policies, person, release, reason)

    def _close(self, connection: sa.Connection, release: str, stage: Stage) -> None:
        """A decision against: what was reserved, and never read, is given back, and the desk is told at the next tick."""
        for entry in ledger.entries(connection, release):
            if entry.state == Charge.RESERVED:
                ledger.give_back(connection, int(entry.id), at=ticks.moment(self.context, connection))
        block_store.forget(connection, row(connection, release).job)
        self.queue.publish(connection, row(connection, release).job, stage)

    def info(self, connection: sa.Connection, release: str, person: str) -> ReviewInfo:
        found = row(connection, release)
        job = self.queue.row(connection, found.job)
        v = tables.votes
        votes = connection.execute(sa.select(v).where(v.c.release == release).order_by(v.c.at)).all()
        mine = [DecisionKind(x.decision) for x in votes if x.person == person]
        asked = discussion.asked(connection, release)
        state, plan = Release(found.state), Plan.model_validate_json(job.plan)
        return ReviewInfo(
            release=release, project=found.project, person=found.person,
            state=Release.IN_REVIEW.value if state in OPEN else state.value, submitted=found.created_at,
            ready=state is not Release.CHECKING, plan=plan,
            notebook_source=notebooks.listing(json.loads(self.queue.notebook(job.notebook))),
            run=end.how if (end := ended.of(connection, job.id)) else None,
            outputs=tuple(_output(o, asked.get(o.name)) for o in outputs.stored(connection, release)),
            my_vote=mine[0] if mine else None,
            costs=self._costs(connection, plan),
            disclosure=outputs.thresholds(policy_files.by_digest(connection, plan.policy), plan.project),
            # Blind until both have voted: of the other's vote not even its being there is told.
            votes_cast=len(votes) if len(votes) == 2 else len(mine),
            comments=tuple(x.comment for x in votes if x.comment and (len(votes) == 2 or x.person == person)),
            remarks=discussion.remarks(connection, release, person, everybody=len(votes) == 2),
        )  # fmt: skip

    def _costs(self, connection: sa.Connection, plan: Plan) -> tuple[Cost, ...]:
        """What it takes, beside what is left; of a project that is no more, nothing is left to tell."""
        policies = policy_files.current(connection)
        taken = {r.population for r in plan.requests} | ({plan.blocks.population} if plan.blocks is not None else set())
        if plan.project not in policies.projects or taken - set(policies.projects[plan.project].allowances):
            return ()
        return budgets.costs(connection, policies, plan, at=self.context.now())

    def independent(self, connection: sa.Connection, policies: Policies, person: str, release: str) -> Release:
        """The state of a release that this checker may look at. Raises NotAllowed."""
        found = row(connection, release)
        plan = Plan.model_validate_json(self.queue.row(connection, found.job).plan)
        # Whoever was in the project when the plan was made stays dependent, whatever was applied since.
        for then in (policies, policy_files.by_digest(connection, plan.policy)):
            permissions.need_independent(then, person, found.person, found.project)
        return Release(found.state)


def _output(o: sa.Row[Any], exception: str | None = None) -> ReviewOutput:
    return ReviewOutput(
        name=o.name, kind=OutputKind(o.kind), context=o.context, present=o.sha256 is not None, digest=o.sha256,
        findings=outputs.findings(o), exception=exception,
    )  # fmt: skip
