"""What people say about a release request, and what two votes together decide.

Guarantees: only two approvals approve; a remark is for the checkers or for the researcher, never for neither. Not decided
here: who may say it (permissions), and when (lifecycle).
"""

from __future__ import annotations

from enum import StrEnum

from pydantic import Field

from tre.rules.lifecycle import Release
from tre.rules.schema import Closed


class DecisionKind(StrEnum):
    APPROVE = "approve"
    RETURN = "return"
    REJECT = "reject"


def decision(votes: list[DecisionKind]) -> Release:
    """Two votes together: approved or rejected only when both say so; everything else goes back."""
    if votes == [DecisionKind.APPROVE] * 2:
        return Release.APPROVED
    return Release.REJECTED if votes == [DecisionKind.REJECT] * 2 else Release.RETURNED


class Audience(StrEnum):
    """Who reads a remark: private among checkers, or also the researcher, once it is decided."""

    CHECKERS = "checkers"
    RESEARCHER = "researcher"


class Remark(Closed):
    audience: Audience
    text: str = Field(min_length=1, max_length=4_000)


class Said(Remark):
    """A remark as it stands in the record."""

    person: str
    at: str


class Reason(Closed):
    """Why a release is to be revoked."""

    reason: str = Field(min_length=1, max_length=4_000, pattern=r"\S")


class Exceptional(Closed):
    """An exception that was asked for, and what became of the request: for checkers, so that like is decided like. `rules`:
    those that the output failed."""

    release: str
    project: str
    output: str
    datasets: tuple[str, ...]
    rules: tuple[str, ...]
    reason: str
    decision: str
    at: str
