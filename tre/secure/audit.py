"""Writes the audit log: one entry in the same transaction as the change it records."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from tre.rules import audit as rules
from tre.rules.canonical import canonical_json
from tre.secure.database import tables


def record(
    connection: sa.Connection, *, at: str, person: str, event: str, subject: str, detail: dict[str, Any] | None = None
) -> str:
    """Append an entry to the chain; returns its hash. `detail` holds identifiers and numbers of policy, never values."""
    t = tables.audit
    last = connection.execute(sa.select(t.c.seq, t.c.hash).order_by(t.c.seq.desc()).limit(1)).first()
    seq, previous = (last.seq + 1, last.hash) if last else (1, rules.FIRST)
    content = detail or {}
    new = rules.entry_hash(seq, at, person, event, subject, content, previous)
    connection.execute(
        t.insert().values(
            seq=seq, at=at, person=person, event=event, subject=subject,
            detail=canonical_json(content).decode(), previous=previous, hash=new,
        )
    )  # fmt: skip
    return new


def head(connection: sa.Connection) -> tuple[int, str]:
    """How many entries there are, and the last one's hash."""
    t = tables.audit
    last = connection.execute(sa.select(t.c.seq, t.c.hash).order_by(t.c.seq.desc()).limit(1)).first()
    return (last.seq, last.hash) if last else (0, rules.FIRST)


def heads(connection: sa.Connection) -> list[tuple[int, str]]:
    """The log's head after each entry."""
    t = tables.audit
    return [(row.seq, row.hash) for row in connection.execute(sa.select(t.c.seq, t.c.hash).order_by(t.c.seq))]


def first_broken(connection: sa.Connection, *, after: int = 0) -> int | None:
    """The first entry that does not fit the chain, or cannot be read any more; None if all fit. Those up to `after`, whose
    last one must be there, are not looked at."""
    t, seq = tables.audit, after
    before = connection.execute(sa.select(t.c.hash).where(t.c.seq == after)).scalar_one() if after else rules.FIRST
    previous = str(before)
    rows = connection.execute(sa.select(t).where(t.c.seq > after if after else sa.true()).order_by(t.c.seq))
    while True:
        seq += 1
        try:  # bytes that are no text of the database's, or no JSON of ours
            row = rows.fetchone()
            if row is None:
                return None
            entry = rules.Entry(**{**row._mapping, "detail": _detail(row.detail)})
            if rules.broken([entry], previous=previous, first=seq) is not None:
                return seq
        except (sa.exc.DBAPIError, ValueError, TypeError, RecursionError):
            return seq
        previous = entry.hash


def _detail(text: str) -> dict[str, Any]:
    """As it was written, byte for byte. Raises ValueError for the same content in another form."""
    found: dict[str, Any] = json.loads(text)
    if canonical_json(found).decode() != text:
        raise ValueError("not canonical")
    return found
