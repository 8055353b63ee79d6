"""When a budget will have run out: its burn-down, the pace of spending, and the day that pace leads to.

Everything is in whole units of loss (rules.accounting), which add up from charge to charge as epsilons may not: a pace in
units is a pace that a budget can be divided by. A forecast says what the past would lead to, and promises nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

RECENT_DAYS = 90


@dataclass(frozen=True)
class Charged:
    """What counts of one charge, and the day it was reserved."""

    on: date
    units: int


@dataclass(frozen=True)
class Point:
    """All that was used by the end of a day."""

    on: date
    used_units: int


@dataclass(frozen=True)
class Pace:
    """Units used within the last `days`; `runs_out` is None where nothing was, or it would take too long to say."""

    days: int
    units: int
    runs_out: date | None


@dataclass(frozen=True)
class Forecast:
    """At the pace of late, and at that of the whole life since the first charge."""

    recent: Pace
    life: Pace


def burn_down(charges: Iterable[Charged]) -> list[Point]:
    """The total after each day that had a charge, oldest first."""
    points: list[Point] = []
    total = 0
    for charge in sorted(charges, key=lambda c: c.on):
        total += charge.units
        if points and points[-1].on == charge.on:
            points.pop()
        points.append(Point(charge.on, total))
    return points


def forecast(charges: Sequence[Charged], left_units: int, today: date) -> Forecast | None:
    """None where there is no charge yet. A budget younger than the window is not averaged over days before it began."""
    if not charges:
        return None
    life = max(1, (today - min(c.on for c in charges)).days + 1)
    recent = min(RECENT_DAYS, life)
    return Forecast(*(_pace(charges, left_units, today, days) for days in (recent, life)))


def _pace(charges: Iterable[Charged], left_units: int, today: date, days: int) -> Pace:
    units = sum(c.units for c in charges if c.on > today - timedelta(days=days))
    return Pace(days, units, _runs_out(units, days, left_units, today))


def _runs_out(units: int, days: int, left_units: int, today: date) -> date | None:
    if left_units == 0:
        return today
    if units == 0:
        return None
    try:
        return today + timedelta(days=math.ceil(left_units * days / units))
    except OverflowError:  # after the last year that a date can have
        return None


def left_over(points: Sequence[Point], limit_units: int, today: date, width: int) -> list[float]:
    """The share of a limit that was left, at `width` moments evenly from the day before the first charge to today."""
    if not points or width < 2:
        return [1.0] * width
    first = points[0].on - timedelta(days=1)
    days = max(1, (today - first).days)
    moments = [first + timedelta(days=round(days * i / (width - 1))) for i in range(width)]
    used = [max((p.used_units for p in points if p.on <= moment), default=0) for moment in moments]
    return [max(0.0, 1 - u / limit_units) if limit_units else 0.0 for u in used]
