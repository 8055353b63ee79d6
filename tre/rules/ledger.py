"""Budget arithmetic: what an account has left, whether a charge is covered, and what would fit.

All numbers are whole units of rho (rules.accounting). An entry counts against its accounts from its reservation on;
only a reservation given back before its rows were read stops counting.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from tre.errors import BudgetExceeded
from tre.rules.accounting import epsilon_of, rho_of


class Charge(StrEnum):
    """The life of a charge. `lost`: paid, the draw interrupted, and never repeated under the same charge."""

    RESERVED = "reserved"
    SPENT = "spent"
    RELEASED = "released"
    RETURNED = "returned"
    LOST = "lost"


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
    """A budget (kind population) or an allowance (kind project): its limit, and what counts against it."""

    name: str
    kind: str
    limit_units: int
    used_units: int
    delta: float

    @property
    def left_units(self) -> int:
        return max(0, self.limit_units - self.used_units)

    @property
    def left_epsilon(self) -> float:
        """The loss still coverable, rounded down to what a person may type."""
        return rounded_down(epsilon_of(self.left_units, self.delta), self.left_units, self.delta)


def rounded_down(epsilon: float, units: int, delta: float) -> float:
    """The largest epsilon of three decimals whose cost is within `units`."""
    shown = int(epsilon * 1000) / 1000
    while shown > 0 and rho_of(shown, delta) > units:
        shown = round(shown - 0.001, 3)
    return shown


def cover(accounts: list[Account], units: int) -> None:
    """Raises BudgetExceeded, naming what is left and what would fit, unless every account covers `units`."""
    short = [a for a in accounts if units > a.left_units]
    if not short:
        return
    least = min(short, key=lambda a: a.left_units)
    asked = epsilon_of(units, least.delta)
    raise BudgetExceeded(
        "budget_exceeded",
        f"This plan costs epsilon {asked:.3f} (delta {least.delta:g}); the {least.kind} account {least.name!r} has "
        f"epsilon {least.left_epsilon:.3f} left. Nothing was charged.",
        f"A plan of at most epsilon {least.left_epsilon:.3f} in all would fit"
        if least.left_epsilon > 0
        else "Nothing more fits; an admin may raise the lifetime budget, on the record",
    )
