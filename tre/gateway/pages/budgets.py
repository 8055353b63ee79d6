"""Budgets for the admins' page: each account with what is left, the line it took down, where that leads, and what another
lifetime budget would change.

Shows what the ledger says, and changes nothing: a budget is changed in the policies, with a reason (`tre-admin apply`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

from tre.errors import RequestError
from tre.rules.accounting import epsilon_of, rho_of
from tre.rules.balances import Balance
from tre.rules.forecast import SPAN_DAYS, Charged, Point, left_over, what_if
from tre.rules.ledger import COUNTS, rounded_down

STEPS, WIDTH, HEIGHT = 60, 480, 80
# Of the slider; the budget in force is in its middle. No policy may say more than the most.
NOTCHES, MOST = 40, 100.0


@dataclass(frozen=True)
class Line:
    """What was left of an account from its first charge to today: points of a drawing, and the same in words."""

    account: str
    points: str
    words: str


def accounts(population: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The population's budget, its projects' allowances, and this year's caps."""
    return [population, *population["projects"], *population["this_year"]]


def balances(population: Mapping[str, Any]) -> list[Balance]:
    """The same, without what was over time."""
    return [Balance.model_validate({k: a[k] for k in Balance.model_fields}) for a in accounts(population)]


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


@dataclass(frozen=True)
class Wish:
    """The slider, where it stands, and what would follow: in epsilon, for people."""

    least: float
    most: float
    notch: float
    chosen: float
    words: str
    steps: tuple[tuple[date, float], ...]


def wish(population: Mapping[str, Any], chosen: str | None) -> Wish:
    """A lifetime budget of epsilon `chosen`; None: the one in force. Raises RequestError for what can be none."""
    limit, delta = round(population["limit_epsilon"], 6), population["delta"]
    notch = 2 * limit / NOTCHES
    epsilon = limit if chosen is None else _number(chosen)
    units = population["limit_units"] if epsilon == limit else rho_of(epsilon, delta)
    found = what_if(
        units, population["used_units"], _requests(population["history"]), date.fromisoformat(population["today"])
    )
    if found.over_units:
        words = f"epsilon {population['used_epsilon']:.3f} is used already: nothing more would fit"
    elif found.more is None:
        words = f"epsilon {_fits(found.left_units, delta):.3f} would still fit; no request was charged within {SPAN_DAYS} days"
    else:
        like = "the one request" if found.requests == 1 else f"the {found.requests} requests"
        words = (
            f"epsilon {_fits(found.left_units, delta):.3f} would still fit: {found.more:,} more at the mean price of "
            f"{like} of the last {SPAN_DAYS} days"
        )
    steps = tuple((s.on, _fits(s.left_units, delta)) for s in found.steps)
    return Wish(notch, min(MOST, 2 * limit), notch, epsilon, words, steps)


def _fits(units: int, delta: float) -> float:
    """As accounts tell it."""
    return rounded_down(epsilon_of(units, delta), units, delta)


def _number(text: str) -> float:
    try:
        found = float(text)
    except ValueError:
        found = 0.0
    if not 0 < found <= MOST:  # no number neither
        raise RequestError("budget_unclear", "That is no budget.", f"Choose an epsilon above 0, up to {MOST:g}.")
    return found


def _requests(history: Sequence[Mapping[str, Any]]) -> list[Charged]:
    """Each with all that it was charged; what is charged for no request, as a twin is, is none."""
    found: dict[str, Charged] = {}
    for e in history:
        if e["release"] is not None and e["state"] in COUNTS:
            before = found.get(e["release"])
            units = e["rho_units"] + (before.units if before else 0)
            found[e["release"]] = Charged(date.fromisoformat(e["at"][:10]), units)
    return list(found.values())
