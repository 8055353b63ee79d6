"""A release taken back: by an admin, or by two checkers who are independent of it, with a reason.

Guarantees: the step is the table's, its reason is in the record, and the desk is told at the next tick; from then on the
gateway hands the release out no more, and the register says so. What was charged stays charged, noise is never drawn anew
(a new request for the same statistic is a new decision about the same value), and for differencing the release counts as it
did: what has been seen stays seen.
Not done here: getting copies back. Whoever has fetched the bundle has it, and its receipt still fits its bytes.
"""

from __future__ import annotations

import sqlalchemy as sa

from tre.errors import Conflict, RequestError
from tre.messages import Stage
from tre.rules.lifecycle import Actor, Release
from tre.rules.policy import Policies, Role
from tre.secure import audit
from tre.secure.database import tables
from tre.secure.release.review import Desk, move, row

v = tables.revocations


def revoke(desk: Desk, policies: Policies, person: str, release: str, reason: str) -> Release:
    """An admin's word is enough; of checkers it takes two. Returns the state after it."""
    if not reason.strip():
        raise RequestError("reason_missing", "Revoking needs a reason.", "Say why: --reason")
    context = desk.context
    with context.database.write() as connection:
        admin = policies.people[person].role is Role.ADMIN
        state = (
            Release(row(connection, release).state)
            if admin
            else desk.independent(connection, policies, person, release)
        )
        if state is not Release.RELEASED:
            raise Conflict("not_released", f"This release is {state.value}.", "Only what was released can be revoked.")
        before = connection.execute(sa.select(v.c.person).where(v.c.release == release)).scalars().all()
        if person in before:
            raise Conflict(
                "already_called", "You have called for this already.", "Another checker, or an admin, must too."
            )
        at = context.now()
        connection.execute(v.insert().values(release=release, person=person, reason=reason, at=at))
        if not admin and not before:
            audit.record(connection, at=at, person=person, event="release.revocation_asked", subject=release)
            return state
        who = Actor.ADMIN if admin else Actor.CHECKER
        move(context, connection, release, Release.REVOKED, who=who, person=person)
        desk.queue.publish(connection, row(connection, release).job, Stage.REVOKED)
    return Release.REVOKED
