"""The chain of audit entries: each entry's hash covers the one before, so that no entry can change unseen.

Guarantees: `broken` finds any entry that was edited, removed from the middle, reordered or inserted. A log cut off at its
end is only found by someone who kept an earlier head (a receipt holds the head of its time).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from tre.rules.canonical import digest

FIRST = "0" * 64


@dataclass(frozen=True)
class Entry:
    seq: int
    at: str
    person: str
    event: str
    subject: str
    detail: dict[str, Any]
    previous: str
    hash: str


def entry_hash(seq: int, at: str, person: str, event: str, subject: str, detail: dict[str, Any], previous: str) -> str:
    return digest([seq, at, person, event, subject, detail, previous])


def broken(entries: Iterable[Entry], *, previous: str = FIRST, first: int = 1) -> int | None:
    """The sequence number of the first entry that does not fit, or None. `previous`: the hash before entry `first`."""
    expected = first
    for e in entries:
        right = entry_hash(e.seq, e.at, e.person, e.event, e.subject, e.detail, e.previous)
        if e.seq != expected or e.previous != previous or e.hash != right:
            return expected
        previous, expected = e.hash, expected + 1
    return None
