"""When a budget will have run out: its burn-down, the pace of spending, the day that pace leads to, and what another limit
would change of it.

Everything is in whole units of loss (rules.accounting), which add up from charge to charge as epsilons may not: a pace in
units is a pace that a budget can be divided by. A forecast says what the past would lead to, and promises nothing.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

RECENT_DAYS = 90
# What another limit is told by: requests like those of so many days, and so many such spans ahead.
SPAN_DAYS, SPANS = 30, 12


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


@dataclass(frozen=True)
class Step:
    """What would be left after so many more spans like the last one."""

    on: date
    left_units: int


@dataclass(frozen=True)
class WhatIf:
    """Under another limit. `requests` were made within the last span, for `units`; so many `more` of their mean price would
    still fit: None where there were none. `over_units`: what is used already beyond the limit."""

    left_units: int
    over_units: int
    requests: int
    units: int
    more: int | None
    steps: tuple[Step, ...]


def what_if(limit_units: int, used_units: int, requests: Iterable[Charged], today: date) -> WhatIf:
    """`requests`: each with all that it was charged. The steps end where nothing is left."""
    left = max(0, limit_units - used_units)
    recent = [r.units for r in requests if r.units and r.on > today - timedelta(days=SPAN_DAYS)]
    units = sum(recent)
    ahead = [Step(today + timedelta(days=SPAN_DAYS * i), max(0, left - units * i)) for i in range(1, SPANS + 1)]
    ends = next((i for i, step in enumerate(ahead, 1) if not step.left_units), SPANS)
    return WhatIf(
        left_units=left, over_units=max(0, used_units - limit_units), requests=len(recent), units=units,
        more=left * len(recent) // units if recent else None, steps=tuple(ahead[:ends]) if recent else (),
    )  # fmt: skip
