"""Sessions of the pages: who has signed in, in this process's memory.

Guarantees: a session is begun by a person's token and by nothing else; its identifier is 256 random bits, handed out once
and kept as a hash; it ends when its time or a pause is up, at sign-out, and with the process; it knows by which token (a hash)
it was begun, so that whoever asks can end it with that; a form counts only with its session's own mark. What the person may do is asked anew at every request, of the services.
Not done here: telling who holds the token. Whoever has it can sign in.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass

HOURS = 8
SECONDS, PAUSE = HOURS * 3600.0, 3600.0
# Of one person at once: beyond it the oldest ends.
MOST = 10


@dataclass
class Session:
    """`mark` stands in every form; `token` names the one that it was begun by; times are in seconds."""

    person: str
    token: str
    mark: str
    begun: float
    seen: float

    def over(self, now: float) -> bool:
        return now >= self.begun + SECONDS or now >= self.seen + PAUSE

    def marked(self, mark: str) -> bool:
        return secrets.compare_digest(self.mark.encode(), mark.encode())


class Sessions:
    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._found: dict[str, Session] = {}
        self._guard = threading.Lock()

    def begin(self, person: str, token: str) -> str:
        """The new session's identifier, for a cookie."""
        identifier, now = secrets.token_urlsafe(32), self._seconds()
        with self._guard:
            self._found = {k: s for k, s in self._found.items() if not s.over(now)}
            mine = [k for k, s in self._found.items() if s.person == person]  # in the order of their beginning
            for old in mine[: max(0, len(mine) + 1 - MOST)]:
                del self._found[old]
            self._found[_hash(identifier)] = Session(person, token, secrets.token_urlsafe(32), now, now)
        return identifier

    def find(self, identifier: str) -> Session | None:
        """The session, if it is not over; it counts as seen."""
        now = self._seconds()
        with self._guard:
            session = self._found.get(_hash(identifier))
            if session is None or session.over(now):
                self._found.pop(_hash(identifier), None)
                return None
            session.seen = now
            return session

    def end(self, identifier: str) -> None:
        with self._guard:
            self._found.pop(_hash(identifier), None)


def _hash(identifier: str) -> str:
    return hashlib.sha256(identifier.encode()).hexdigest()
