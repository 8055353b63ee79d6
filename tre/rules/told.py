"""How a run on real rows ended, and what of that a desk is told: nothing else about a run ever is.

A run can choose how it ends by what it read, so its class is an output, of at most one of four values. The policy's rule
says whether it leaves: never; with the release that two people approved, who saw it before they did; or, coarsely, on the
tick after the end. The last tells what nobody looked at: data-derived bits, which only the data's controller can allow.
Never told, by any rule: error text, exit code, time but for the tick, counts, sizes.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RunEnd(StrEnum):
    """By the supervisor, not by what the notebook says of itself. `out_of_memory` only where control groups tell it.

    Of a run that its researcher withdrew there is none: who ended it knows.
    """

    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    OUT_OF_MEMORY = "out_of_memory"


class FailureTold(StrEnum):
    """The policy's rule, strictest first."""

    NEVER = "never"
    AFTER_REVIEW = "after review"
    COARSE = "coarse"

    @classmethod
    def _missing_(cls, value: object) -> FailureTold | None:
        return cls.AFTER_REVIEW if value == "after_review" else None  # as other rules are written

    @property
    def laxity(self) -> int:
        return list(FailureTold).index(self)


@dataclass(frozen=True)
class Ended:
    """A run's end, and the first second at which a tick has passed since."""

    how: RunEnd
    told_from: int


def stricter(*rules: FailureTold) -> FailureTold:
    return min(rules, key=lambda rule: rule.laxity)


def tell(
    rule: FailureTold, ended: Ended | None, *, now: float, released: bool, decided_by_people: bool
) -> RunEnd | None:
    """What a desk is told now. `released`: the desk already sees the release."""
    if ended is None:
        return None
    match rule:
        case FailureTold.COARSE:
            return ended.how if now >= ended.told_from else None
        case FailureTold.AFTER_REVIEW:
            return ended.how if released and decided_by_people else None
        case FailureTold.NEVER:
            return None
