"""Quantiles by OpenDP's noisy minimum: a candidate is drawn by how far its ranks are from the one asked for.

Guarantees: scores are exact whole numbers and one row changes any of them by at most max(a, b - a), for the
probability a / b. Of the loss, a part draws the value and two smaller parts an interval: candidates for ranks that are
lower and higher by `margin`, so that, each with 97.5 %, the true quantile is not below the first nor above the second
(a union bound over the candidates: the interval is rather too wide than too narrow).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from tre.statistics.noise import choose, scale_for

# Of a quantile's units, in hundredths: the value, and each end of its interval.
VALUE, END = 70, 15


@dataclass(frozen=True, kw_only=True)
class Pick:
    """The places of three candidates."""

    low: int
    value: int
    high: int


def margin(candidates: int, sensitivity: float, units: int, *, pure: bool) -> float:
    """How much the interval's ranks are moved, in b ranks: beyond it a draw's score comes in fewer than 2.5 % of draws."""
    return scale_for(sensitivity, units * END // 100, pure=pure) * math.log(candidates / 0.025)


def typical(candidates: int, sensitivity: float, units: int, *, pure: bool) -> float:
    """A score that 95 % of the drawn values do not exceed, in b ranks."""
    return scale_for(sensitivity, units * VALUE // 100, pure=pure) * math.log(candidates / 0.05)


def hidden(rows: float, probability: Fraction, sensitivity: float, units: int, *, pure: bool) -> bool:
    """Whether so few rows are above or below the quantile that the value drawn says little about it."""
    rarer = min(probability.numerator, probability.denominator - probability.numerator)
    return rarer * rows < 3 * scale_for(sensitivity, units * VALUE // 100, pure=pure)


def scores(counts: Sequence[int], probability: Fraction, moved: int = 0) -> list[int]:
    """For each candidate, how far (in b ranks) the rank asked for is outside of those that the candidate holds.

    Not clamped to the ranks there are: a target that stays while counts change would be more sensitive.
    """
    a, b = probability.numerator, probability.denominator
    target = a * sum(counts) + moved
    upto = list(itertools.accumulate(counts))
    return [max(0, b * (end - c) - target, target - b * end) for c, end in zip(counts, upto, strict=True)]


def pick(counts: Sequence[int], probability: Fraction, *, sensitivity: float, units: int, pure: bool) -> Pick:
    moved = math.ceil(margin(len(counts), sensitivity, units, pure=pure))

    def drawn(by: int, part: int) -> int:
        mine = scores(counts, probability, by)
        return choose(mine, sensitivity=sensitivity, units=units * part // 100, pure=pure)

    return Pick(low=drawn(-moved, END), value=drawn(0, VALUE), high=drawn(moved, END))
