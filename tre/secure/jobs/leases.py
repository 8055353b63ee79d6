"""Leases: who is at work on what. A worker that is gone holds nothing for long, and one that was overtaken finishes nothing.

Guarantees: at most one live lease for each (job, kind of work); its token fences: `need` in the transaction that ends a
piece of work refuses whoever no longer holds it. A worker on this machine is found gone at once, by a lock that its
process holds and that ends with it, however it ended; one that cannot be looked at, when its lease has run out.
Not guaranteed: that a worker that lost its lease has stopped. Its sandbox may run on for a moment, and ends unheard.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Callable, Collection
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO

import sqlalchemy as sa

from tre.errors import Conflict
from tre.secure.context import Context
from tre.secure.database import tables

t = tables.leases
# Called in each transaction that makes a piece of work count; raises Conflict where another worker has taken it over.
Hold = Callable[[sa.Connection], None]


class Kind(StrEnum):
    """The kinds of work; of one job, a run and a release may be under way at once."""

    REHEARSAL = "rehearsal"
    RUN = "run"
    RELEASE = "release"
    BLOCKS = "blocks"


@dataclass(frozen=True, kw_only=True)
class Lease:
    job: str
    kind: Kind
    token: str


class Presence:
    """A worker's name, and the lock by which others on this machine see that its process lives."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(exist_ok=True)
        self.name = f"{_node()}-{os.getpid()}-{secrets.token_hex(4)}"
        self._path = folder / f"{self.name}.lock"
        new = self._path.with_suffix(".new")
        self._file: IO[str] = new.open("w")
        fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        new.rename(self._path)  # once it is locked: a lock that is free is that of a process that ended

    def end(self) -> None:
        self._path.unlink(missing_ok=True)
        self._file.close()


def _node() -> str:
    return os.uname().nodename[:30]


def gone(folder: Path) -> list[str]:
    """The workers of this machine whose processes have ended without a word; their locks are taken away.

    Of others: not every shared file system shows one machine's lock to another, which would end what lives.
    """
    found = []
    for path in folder.glob("*.lock"):
        if path.stem.rsplit("-", 2)[0] != _node():
            continue
        try:
            with path.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)
        except (BlockingIOError, FileNotFoundError):
            continue
        found.append(path.stem)
    return found


def now(context: Context) -> int:
    return int(context.seconds() * 1000)


def take(
    context: Context, connection: sa.Connection, *, job: str, kind: Kind, project: str, worker: str, seconds: int
) -> Lease:
    """A new lease, in the place of one that has run out. The caller has seen that none is live (`held`)."""
    lease = Lease(job=job, kind=kind, token=secrets.token_hex(16))
    connection.execute(t.delete().where(t.c.job == job, t.c.kind == kind))
    connection.execute(
        t.insert().values(
            job=job, kind=kind, project=project, worker=worker, token=lease.token, until=now(context) + seconds * 1000
        )
    )
    return lease


def held(context: Context, connection: sa.Connection, kind: Kind) -> list[sa.Row[tuple[object, ...]]]:
    """The live leases of a kind: (job, project)."""
    query = sa.select(t.c.job, t.c.project).where(t.c.kind == kind, t.c.until > now(context))
    return list(connection.execute(query))


def need(connection: sa.Connection, lease: Lease) -> None:
    """Raises Conflict where another has taken over. A lease that ran out and that nobody took is still its holder's."""
    mine = sa.select(t.c.token).where(t.c.job == lease.job, t.c.kind == lease.kind)
    if connection.execute(mine).scalar() != lease.token:
        raise Conflict("lease_lost", "Another worker has taken this over.", "Nothing: it will be finished there.")


def renew(context: Context, worker: str, seconds: int, tokens: Collection[str]) -> set[str]:
    """Extend those of a worker's leases that it is at work under; returns the tokens that are still its own.

    One that a failure left behind runs out, and its work is taken up again.
    """
    with context.database.write() as connection:
        mine = (t.c.worker == worker) & t.c.token.in_(tokens)
        connection.execute(t.update().where(mine).values(until=now(context) + seconds * 1000))
        return set(connection.execute(sa.select(t.c.token).where(t.c.worker == worker)).scalars())


def mine(context: Context, worker: str) -> set[str]:
    """The tokens of all that a worker still holds."""
    with context.database.read() as connection:
        return set(connection.execute(sa.select(t.c.token).where(t.c.worker == worker)).scalars())


def drop(connection: sa.Connection, lease: Lease) -> None:
    connection.execute(t.delete().where(t.c.token == lease.token))


def drop_job(connection: sa.Connection, job: str) -> None:
    """Whoever is at work on this job is to stop: its state has been decided by somebody else."""
    connection.execute(t.delete().where(t.c.job == job))


def drop_ended(context: Context, connection: sa.Connection, workers: Collection[str]) -> None:
    """Take away what has run out, and all of these workers' leases."""
    connection.execute(t.delete().where((t.c.until <= now(context)) | t.c.worker.in_(workers)))
