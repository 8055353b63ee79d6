"""What people are told of requests that move: the words of a notice, on a page, in a terminal and in an e-mail.

Guarantees: a notice says which request, and what has become of it; no name of an output or column, no value, no reason and no
person stands in it. Its identifier is random: one that counted up would tell who reads two of them what
happened in between. Words are ours alone.
Not done here: who is told, and when (secure.notices); sending (secure.post).
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from tre.rules.schema import Closed

NoticeId = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class Told(StrEnum):
    """To a researcher: how a job of theirs stands, by the stage's own word. To an output checker: a request waits for them."""

    PLANNED = "planned"
    REHEARSAL_FAILED = "rehearsal_failed"
    RELEASED = "released"
    RETURNED = "returned"
    REJECTED = "rejected"
    FAILED = "failed"
    REVOKED = "revoked"
    WAITS = "waits"


class Notice(Closed):
    """`about`: the release request, or, before there is one, the job. `exception`: one was asked for, and decided with it.
    `read`: by the person, or there is nothing to be done about it any more."""

    id: NoticeId
    at: str
    told: Told
    about: str
    project: str
    exception: bool = False
    read: bool


class Seen(Closed):
    """Notices that their person has read."""

    notices: tuple[NoticeId, ...] = Field(max_length=500)


_WORDS = {
    Told.PLANNED: "its plan is ready: look at it and confirm it",
    Told.REHEARSAL_FAILED: "its rehearsal failed",
    Told.RELEASED: "it was released",
    Told.RETURNED: "it was returned, with a comment",
    Told.REJECTED: "it was rejected, with a comment",
    Told.FAILED: "it failed in the secure area, by a fault that is not yours",
    Told.REVOKED: "its release was revoked",
    Told.WAITS: "it waits for your vote",
}
# With which a request's exceptions were decided, and how.
_EXCEPTIONS = {
    Told.RELEASED: "the exception was granted",
    Told.RETURNED: "the exception was not granted",
    Told.REJECTED: "the exception was refused",
}
_WHERE = {
    Told.PLANNED: "tre job {0}",
    Told.REHEARSAL_FAILED: "tre job {0}",
    Told.RELEASED: "tre fetch {0} FOLDER",
    Told.WAITS: "/review/requests/{0}, or: tre review {0}",
}


def words(told: Told, *, exception: bool) -> str:
    more = _EXCEPTIONS.get(told) if exception else None
    return f"{_WORDS[told]}; {more}" if more else _WORDS[told]


def where(told: Told, about: str) -> str:
    """What to type, or to open, next."""
    return _WHERE.get(told, "tre jobs").format(about)


def mail(told: Told, about: str) -> tuple[str, str]:
    """(subject, text): which request, its state, and no more. Mail passes many hands."""
    state = told.value.replace("_", " ")
    text = f"{about}: {state}.\n\nLook at it in the research environment. Nothing else is told by e-mail.\n"
    return f"{about}: {state}", text
