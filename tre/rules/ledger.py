"""Budget arithmetic: what an account has left, whether a charge is covered, and what would fit.

All numbers are whole units (rules.accounting), of rho or, in a population kept so, of pure epsilon. An entry counts
against its accounts from its reservation on; only a reservation given back before its rows were read stops counting.
Beside them an account limits the delta of group keys that releases find in data: each such release adds its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tre.errors import BudgetExceeded
from tre.rules.accounting import delta_of, epsilon_of, rho_of


class Charge(StrEnum):
    """The life of a charge. `lost`: paid, the draw interrupted, and never repeated under the same charge."""

    RESERVED = "reserved"
    SPENT = "spent"
    RELEASED = "released"
    RETURNED = "returned"
    LOST = "lost"


class AccountKind(StrEnum):
    """What an account limits: all time, or what is reserved within the present calendar year (UTC)."""

    POPULATION = "population"
    PROJECT = "project"
    POPULATION_YEAR = "population, this year"
    PROJECT_YEAR = "project, this year"

    @property
    def yearly(self) -> bool:
        return self in (AccountKind.POPULATION_YEAR, AccountKind.PROJECT_YEAR)


COUNTS = (Charge.RESERVED, Charge.SPENT, Charge.RELEASED, Charge.LOST)

# What may follow what; the database holds the same by a trigger.
NEXT = {
    Charge.RESERVED: (Charge.SPENT, Charge.RETURNED),
    Charge.SPENT: (Charge.RELEASED, Charge.LOST),
    Charge.RELEASED: (),
    Charge.RETURNED: (),
    Charge.LOST: (),
}


@dataclass(frozen=True)
class Account:
    """A budget (kind population), an allowance (kind project) or a yearly cap: its limit, and what counts against it."""

    name: str
    kind: AccountKind
    limit_units: int
    used_units: int
    delta: float
    limit_delta_units: int = 0
    used_delta_units: int = 0

    @property
    def title(self) -> str:
        return f"{self.kind.partition(',')[0]} account {self.name!r}{' for this year' if self.yearly else ''}"

    @property
    def yearly(self) -> bool:
        return AccountKind(self.kind).yearly

    @property
    def left_units(self) -> int:
        return max(0, self.limit_units - self.used_units)

    @property
    def left_delta_units(self) -> int:
        return max(0, self.limit_delta_units - self.used_delta_units)

    @property
    def left_epsilon(self) -> float:
        """The loss still coverable, rounded down to what a person may type."""
        return rounded_down(epsilon_of(self.left_units, self.delta), self.left_units, self.delta)


def rounded_down(epsilon: float, units: int, delta: float) -> float:
    """The largest epsilon of three decimals whose cost is within `units`."""
    shown = (int(epsilon * 1000) + 1) / 1000  # one more than it seems: 0.57 * 1000 is below 570
    while shown > 0 and rho_of(shown, delta) > units:
        shown = round(shown - 0.001, 3)
    return shown


def cover(accounts: list[Account], units: int, delta_units: int = 0) -> None:
    """Raises BudgetExceeded, naming what is left and what would fit, unless every account covers both."""
    _cover_units(accounts, units)
    _cover_keys(accounts, delta_units)


def _cover_keys(accounts: list[Account], delta_units: int) -> None:
    short = [a for a in accounts if delta_units > a.left_delta_units]
    if not short:
        return
    least = min(short, key=lambda a: a.left_delta_units)
    raise BudgetExceeded(
        "keys_delta_exceeded",
        f"Finding group keys in the data costs this plan delta {delta_of(delta_units):g} of its own; the {least.title} "
        f"has {delta_of(least.left_delta_units):g} left for keys. Nothing was charged.",
        "Give the keys in the request, which costs no delta; or an admin may raise keys_delta, on the record",
    )


def _cover_units(accounts: list[Account], units: int) -> None:
    short = [a for a in accounts if units > a.left_units]
    if not short:
        return
    least = min(short, key=lambda a: a.left_units)
    asked = epsilon_of(units, least.delta)
    raise BudgetExceeded(
        "budget_exceeded",
        f"This plan costs epsilon {asked:.3f} (delta {least.delta:g}); the {least.title} has epsilon "
        f"{least.left_epsilon:.3f} left. Nothing was charged.",
        _next_step(least),
    )


def _next_step(least: Account) -> str:
    if least.left_epsilon > 0:
        return f"A plan of at most epsilon {least.left_epsilon:.3f} in all would fit"
    if least.yearly:
        return "Nothing more fits this year; wait for the next, or an admin may raise the yearly cap, on the record"
    return "Nothing more fits; an admin may raise the lifetime budget, on the record"
