"""What is said of a replica, and when it may be published.

Guarantees: pure. A replica leaves when two different output checkers approved these very rows (by their SHA-256), and not when
one of them said no. Its figures are derived from real rows without noise: they are for those who decide, and for nobody else.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum

from pydantic import Field

from tre.rules.schema import Closed

TIER = "replica"
NEEDED = 2


class Choice(StrEnum):
    """There is nobody to return it to: a replica is approved, or it is not."""

    APPROVE = "approve"
    REJECT = "reject"


class ReplicaState(StrEnum):
    IN_REVIEW = "in review"
    APPROVED = "approved"
    REJECTED = "rejected"


class Evidence(Closed):
    """`repeated`: the share of its people who have all the cells of a real person; `repeated_alone`: of exactly one real
    person. `attack`: the area under the curve of a membership attack (0.5: learnt nothing). `distance`: the mean total
    variation distance of single columns."""

    people: int
    repeated: float
    repeated_alone: float
    attack: float
    distance: float


class ReplicaVote(Closed):
    """`sha256`: of the rows that were looked at."""

    choice: Choice
    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    comment: str = Field(default="", max_length=4000)


class ReplicaWaiting(Closed):
    """For output checkers: what was proposed, and why. Nothing that is found in its rows."""

    id: str
    dataset: str
    title: str
    reason: str
    made: str


class ReplicaInfo(ReplicaWaiting):
    """For output checkers. What the other one said is hidden until both have voted."""

    rows: int
    sha256: str
    state: ReplicaState
    evidence: Evidence
    my_choice: Choice | None = None
    comments: tuple[str, ...] = ()


def state(choices: Iterable[Choice]) -> ReplicaState:
    """After these votes, each of another person."""
    cast = list(choices)
    if len(cast) < NEEDED:
        return ReplicaState.IN_REVIEW
    approved = all(c is Choice.APPROVE for c in cast)
    return ReplicaState.APPROVED if approved else ReplicaState.REJECTED
