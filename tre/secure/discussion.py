"""What is said about a request beside votes: remarks of its checkers, and exceptions that its researcher asks for.

Guarantees: a checker's remark, like a vote, is hidden from the other until both have voted; a private one never reaches
the researcher, another only with the decision. An exception names an output of the plan, is asked for with the
confirmation, and is decided by the votes on the request; who decides about it sees what became of those before.
Not done here: votes (review).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, RequestError
from tre.messages import Plan
from tre.rules.disclosure.finding import Verdict
from tre.rules.lifecycle import Release
from tre.rules.voting import Audience, Exceptional, Remark, Said
from tre.secure import audit
from tre.secure.database import tables

m, x = tables.remarks, tables.exceptions
DECIDED = (Release.APPROVED, Release.RELEASING, Release.RELEASED, Release.REVOKED, Release.RETURNED, Release.REJECTED)
MOST_REMARKS = 50


def remark(connection: sa.Connection, release: str, person: str, said: Remark, *, at: str) -> None:
    """Add it. Raises RequestError for one without words, Conflict where there are too many."""
    if not said.text.strip():
        raise RequestError("comment_missing", "This remark says nothing.", "Write what you mean.")
    mine = sa.select(sa.func.count()).where(m.c.release == release, m.c.person == person)
    if connection.execute(mine).scalar_one() >= MOST_REMARKS:
        raise Conflict("remarks_many", "You have said a lot about this already.", "Vote, and say it there.")
    connection.execute(m.insert().values(release=release, person=person, at=at, **said.model_dump(mode="json")))
    detail = {"audience": said.audience.value}
    audit.record(connection, at=at, person=person, event="release.remarked", subject=release, detail=detail)


def remarks(connection: sa.Connection, release: str, person: str, *, everybody: bool) -> tuple[Said, ...]:
    """One's own, and, once both have voted, everybody's; oldest first."""
    query = sa.select(m).where(m.c.release == release).order_by(m.c.id)
    return tuple(
        Said(audience=Audience(r.audience), text=r.text, person=r.person, at=r.at)
        for r in connection.execute(query)
        if everybody or r.person == person
    )


def told(connection: sa.Connection, release: str, *, revoked: bool) -> tuple[str, ...]:
    """All that its researcher may read of a request that is decided."""
    v, w = tables.votes, tables.revocations
    votes = sa.select(v.c.comment).where(v.c.release == release, v.c.comment != "").order_by(v.c.at)
    said = sa.select(m.c.text).where(m.c.release == release, m.c.audience == Audience.RESEARCHER).order_by(m.c.id)
    why = sa.select(w.c.reason).where(w.c.release == release).order_by(w.c.id)
    queries = (votes, said, why) if revoked else (votes, said)
    return tuple(text for query in queries for text in connection.execute(query).scalars())


def ask(
    connection: sa.Connection, release: str, plan: Plan, wanted: Mapping[str, str], *, person: str, at: str
) -> None:
    """Exceptions for outputs of this plan. Raises RequestError for any other name, and for a reason without words."""
    known = {o.name for o in plan.outputs}
    for name, reason in wanted.items():
        if name not in known or not reason.strip():
            raise RequestError(
                "exception_unclear",
                f"The plan has no output {name!r}, or no reason is given.",
                "See the plan's outputs.",
            )
        connection.execute(x.insert().values(release=release, output=name, reason=reason, at=at))
        detail = {"output": name}
        audit.record(connection, at=at, person=person, event="exception.requested", subject=release, detail=detail)


def asked(connection: sa.Connection, release: str) -> dict[str, str]:
    """Reasons by the output's name."""
    return {r.output: r.reason for r in connection.execute(sa.select(x).where(x.c.release == release))}


def precedents(connection: sa.Connection) -> tuple[Exceptional, ...]:
    """All that was decided, newest first."""
    r, j = tables.releases, tables.jobs
    query = (
        sa.select(x, r.c.state, r.c.project, j.c.plan)
        .join(r, r.c.id == x.c.release)
        .join(j, j.c.id == r.c.job)
        .where(r.c.state.in_(DECIDED))
        .order_by(x.c.at.desc(), x.c.release, x.c.output)
    )
    return tuple(_precedent(connection, row) for row in connection.execute(query).all())


def _precedent(connection: sa.Connection, row: sa.Row[Any]) -> Exceptional:
    o = tables.outputs
    query = sa.select(o.c.findings).where(o.c.release == row.release, o.c.name == row.output)
    found = [f for stored in connection.execute(query).scalars() for f in json.loads(stored)]
    refused = Release(row.state) in (Release.RETURNED, Release.REJECTED)
    return Exceptional(
        release=row.release, project=row.project, output=row.output, reason=row.reason, at=row.at,
        datasets=tuple(sorted(Plan.model_validate_json(row.plan).datasets)),
        rules=tuple(dict.fromkeys(f["rule"] for f in found if f["verdict"] == Verdict.FAIL)),
        decision=row.state if refused or row.state == Release.REVOKED else Release.APPROVED.value,
    )  # fmt: skip
