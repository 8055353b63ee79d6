"""Notices: each person's own list of what has become of their requests, or waits for them; made with the change they tell of.

Guarantees: a notice is written in the transaction of its change. A researcher is told what the desk may see, and from the same
moment on, so a notice tells no sooner and no more than the job itself; a checker is told of a request that they may vote on,
from the next tick on. Whoever asks gets their own notices alone. A notice that there is nothing to be done about any more (its
plan is confirmed, its vote cast, its request decided) counts as read.
Where the area sends mail, a row in the outbox is written with the notice (secure.post).
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection
from typing import Any

import sqlalchemy as sa

from tre.rules.lifecycle import Job, Release
from tre.rules.notices import Notice, Told
from tre.secure import ticks
from tre.secure.context import Context
from tre.secure.database import tables

n, j, r, v, x = tables.notices, tables.jobs, tables.releases, tables.votes, tables.exceptions
# The newest that are listed; older ones are kept.
MOST = 200
OPEN = (Release.IN_REVIEW, Release.PARTIALLY_REVIEWED)


def tell(context: Context, connection: sa.Connection, person: str, told: Told, *, job: str, visible_from: int) -> None:
    """One person, of one job or its release request."""
    release = connection.execute(sa.select(r.c.id).where(r.c.job == job)).scalar()
    excepted = sa.select(sa.func.count()).where(x.c.release == release)
    name = secrets.token_hex(8)
    connection.execute(
        n.insert().values(
            id=name, person=person, told=told, job=job, release=release, visible_from=visible_from,
            exceptions=connection.execute(excepted).scalar_one() if told is not Told.WAITS else 0,
        )
    )  # fmt: skip
    if context.area.mail is not None:
        connection.execute(tables.mails.insert().values(notice=name, due=visible_from, tries=0))


def published(context: Context, connection: sa.Connection, job: str, stage: str, visible_from: int) -> None:
    """The job's researcher, where its stage is one to be told of."""
    told = next((t for t in Told if t.value == stage), None)
    if told is not None:
        person = connection.execute(sa.select(j.c.person).where(j.c.id == job)).scalar_one()
        tell(context, connection, str(person), told, job=job, visible_from=visible_from)


def waits(context: Context, connection: sa.Connection, job: str, checkers: Collection[str]) -> None:
    """Each of these checkers, that its request waits for their vote."""
    from_ = ticks.following(context, connection)
    for person in checkers:
        tell(context, connection, person, Told.WAITS, job=job, visible_from=from_)


def over() -> sa.ColumnElement[bool]:
    """Of a notice joined with its job and its request: whether there is nothing to be done about it any more."""
    voted = sa.exists().where(v.c.release == n.c.release, v.c.person == n.c.person)
    return sa.or_(
        sa.and_(n.c.told == Told.PLANNED, j.c.state != Job.PLANNED),
        sa.and_(n.c.told == Told.WAITS, sa.or_(r.c.state.not_in(OPEN), voted)),
    )


def joined() -> sa.Join:
    return n.join(j, j.c.id == n.c.job).outerjoin(r, r.c.id == n.c.release)


class Notices:
    """What a person may do with theirs."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def of(self, person: str) -> list[Notice]:
        """The newest, newest first; of one moment in no order that tells anything."""
        query = (
            sa.select(n, j.c.project, over().label("over"))
            .select_from(joined())
            .where(*self._mine(person))
            .order_by(n.c.visible_from.desc(), n.c.id)
            .limit(MOST)
        )
        with self.context.database.read() as connection:
            return [_notice(row) for row in connection.execute(query)]

    def unread(self, person: str) -> int:
        query = sa.select(sa.func.count()).select_from(joined())
        query = query.where(*self._mine(person), n.c.read_at.is_(None), sa.not_(over()))
        with self.context.database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def read(self, person: str, names: Collection[str]) -> int:
        """Mark these, so far as they are the person's; returns how many are unread after it."""
        mine = (n.c.person == person) & n.c.id.in_(names) & n.c.read_at.is_(None)
        with self.context.database.write() as connection:
            connection.execute(n.update().where(mine).values(read_at=self.context.now()))
        return self.unread(person)

    def _mine(self, person: str) -> tuple[sa.ColumnElement[bool], ...]:
        return n.c.person == person, n.c.visible_from <= math.floor(self.context.seconds())


def _notice(row: sa.Row[Any]) -> Notice:
    told = Told(row.told)
    before = told in (Told.PLANNED, Told.REHEARSAL_FAILED)
    return Notice(
        id=row.id, at=ticks.stamp(int(row.visible_from)), told=told, about=row.job if before else row.release,
        project=row.project, exception=bool(row.exceptions), read=bool(row.over) or row.read_at is not None,
    )  # fmt: skip
