"""Budgets for the admins' page: each account with what is left, the line it took down, and where that leads.

Shows what the ledger says, and changes nothing: a budget is changed in the policies, with a reason (`tre-admin apply`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from tre.rules.forecast import Point, left_over

STEPS, WIDTH, HEIGHT = 60, 480, 80


@dataclass(frozen=True)
class Line:
    """What was left of an account from its first charge to today: points of a drawing, and the same in words."""

    account: str
    points: str
    words: str


def accounts(population: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The population's budget, its projects' allowances, and this year's caps."""
    return [population, *population["projects"], *population["this_year"]]


def lines(population: Mapping[str, Any]) -> list[Line]:
    """Of each account that was ever charged and never ends."""
    today = date.fromisoformat(population["today"])
    return [_line(a, today) for a in (population, *population["projects"]) if a["forecast"] is not None]


def _line(account: Mapping[str, Any], today: date) -> Line:
    charged = [Point(date.fromisoformat(p["on"]), p["used_units"]) for p in account["burn_down"]]
    shares = left_over(charged, account["limit_units"], today, STEPS)
    pace = account["forecast"]["recent"]
    ahead = "it does not run out" if pace["runs_out"] is None else f"it runs out on {pace['runs_out']}"
    days = "day" if pace["days"] == 1 else f"{pace['days']} days"
    words = f"{shares[-1]:.0%} is left, first charged on {charged[0].on}; at the pace of the last {days} {ahead}"
    return Line(account["account"], _drawn(shares), words)


def _drawn(shares: Sequence[float]) -> str:
    """Points of an SVG polyline, from left to right; nothing left is at the bottom."""
    step = WIDTH / max(1, len(shares) - 1)
    return " ".join(f"{i * step:.1f},{(1 - s) * HEIGHT:.1f}" for i, s in enumerate(shares))
