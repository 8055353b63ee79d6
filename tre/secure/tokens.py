"""Bearer tokens: made for a person, shown once, kept as a hash, and withdrawn all together.

Guarantees: whoever asks with a token that was withdrawn is nobody, from that moment on, also in a session that it began; both are
in the audit log, without anything of the token.
"""

from __future__ import annotations

import hashlib
import secrets

import sqlalchemy as sa

from tre.errors import NotAllowed, NotFound
from tre.secure import audit
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables

t = tables.tokens


def make(context: Context, person: str) -> str:
    """A new one, shown once; only its hash is kept."""
    token, at = f"tre_{secrets.token_urlsafe(32)}", context.now()
    with context.database.write() as connection:
        if person not in policy_files.current(connection).people:
            raise NotFound("person_unknown", f"people.yaml has no {person[:64]!r}.", "Add the person and apply.")
        connection.execute(t.insert().values(hash=named(token), person=person, made_at=at))
        audit.record(connection, at=at, person="admin", event="token.made", subject=person)
    return token


def withdraw(context: Context, person: str) -> int:
    """All of a person's, in the policies or not any more; returns how many. Raises NotFound where there is none."""
    with context.database.write() as connection:
        gone = connection.execute(t.delete().where(t.c.person == person)).rowcount
        if not gone:
            raise NotFound("token_none", f"{person[:64]!r} has no token.", "See people.yaml for the names.")
        at, detail = context.now(), {"tokens": gone}
        audit.record(connection, at=at, person="admin", event="token.withdrawn", subject=person, detail=detail)
    return gone


def holder(context: Context, token: str) -> str:
    """The person of a token. Raises NotAllowed."""
    with context.database.read() as connection:
        row = connection.execute(sa.select(t.c.person).where(t.c.hash == named(token))).first()
    if row is None:
        raise NotAllowed("token_unknown", "This token is not known here.", "Ask an admin for one, then: tre login")
    return str(row.person)


def known(context: Context, name: str) -> bool:
    """Whether the token of this name (`named`) is one still."""
    with context.database.read() as connection:
        return connection.execute(sa.select(t.c.person).where(t.c.hash == name)).first() is not None


def named(token: str) -> str:
    """Tokens hold 256 random bits: a plain hash is enough."""
    return hashlib.sha256(token.encode()).hexdigest()
