"""Budgets as people are told of them: an account's balance, and what a plan costs beside what is left."""

from __future__ import annotations

from tre.rules.ledger import AccountKind
from tre.rules.schema import Closed


class Balance(Closed):
    """An account: (epsilon, delta) for people, exact units for machines. `left_epsilon` is the loss still coverable.

    With delta 0 the units are of pure epsilon. `…_delta_units`, of 10^-15, are for group keys found in data.
    """

    account: str
    kind: AccountKind
    delta: float
    limit_units: int
    used_units: int
    left_units: int
    limit_epsilon: float
    used_epsilon: float
    left_epsilon: float
    limit_delta_units: int = 0
    used_delta_units: int = 0
    left_delta_units: int = 0


class Cost(Closed):
    """What a plan costs one population, beside what its accounts have left: as a share of that, and how many plans of this
    price fit in it. `keys_delta` is for group keys found in data."""

    population: str
    rho_units: int
    epsilon: float
    delta: float
    left_epsilon: float
    share_of_left: float | None = None
    fits_times: int | None = None
    keys_delta: float = 0.0
    affordable: bool
