"""Budgets as people see them: the accounts in (epsilon, delta) beside exact units, a plan's cost, a population's
history and where it leads.

Reads only. What may be charged is decided by secure.ledger, whose accounts these are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import sqlalchemy as sa

from tre.messages import Plan
from tre.rules.accounting import delta_of, epsilon_of
from tre.rules.balances import Balance, Cost
from tre.rules.forecast import Charged, Pace, burn_down, forecast
from tre.rules.ledger import COUNTS, Account, AccountKind
from tre.rules.policy import Policies
from tre.rules.raises import Raise
from tre.secure import ledger


def balance(account: Account) -> Balance:
    return Balance(
        account=account.name, kind=account.kind, delta=account.delta,
        limit_units=account.limit_units, used_units=account.used_units, left_units=account.left_units,
        limit_epsilon=epsilon_of(account.limit_units, account.delta),
        used_epsilon=epsilon_of(account.used_units, account.delta), left_epsilon=account.left_epsilon,
        limit_delta_units=account.limit_delta_units, used_delta_units=account.used_delta_units,
        left_delta_units=account.left_delta_units,
    )  # fmt: skip


def of_project(connection: sa.Connection, policies: Policies, project: str, *, at: str) -> list[Balance]:
    """Of each population: the project's allowance before the population's budget, each followed by its yearly cap."""
    found: list[Balance] = []
    for population in policies.projects[project].allowances:
        accounts = ledger.accounts(connection, policies, population, project, at=at)
        found += [balance(a) for a in sorted(accounts, key=lambda a: (a.name == population, a.yearly))]
    return found


def costs(connection: sa.Connection, policies: Policies, plan: Plan, *, at: str) -> tuple[Cost, ...]:
    """What the plan costs each of its populations, beside the least that one of the accounts has left."""
    found = []
    mine = [r.population for r in plan.requests] + ([plan.blocks.population] if plan.blocks is not None else [])
    for population in dict.fromkeys(mine):
        units = plan.costs.get(population, 0)
        accounts = ledger.accounts(connection, policies, population, plan.project, at=at)
        delta, left = accounts[0].delta, min(a.left_units for a in accounts)
        new = [r for r in plan.requests if r.population == population and not r.replayed]
        for_keys = sum(r.delta_units for r in new)
        found.append(
            Cost(
                population=population, rho_units=units, epsilon=epsilon_of(units, delta), delta=delta,
                left_epsilon=min(a.left_epsilon for a in accounts), keys_delta=delta_of(for_keys),
                share_of_left=units / left if left else None, fits_times=left // units if units else None,
                affordable=units <= left and all(for_keys <= a.left_delta_units for a in accounts),
            )
        )  # fmt: skip
    return tuple(found)


def overview(connection: sa.Connection, policies: Policies, population: str, *, at: str) -> dict[str, Any]:
    """The population's budget, its projects' allowances, this year's caps, and every charge there ever was."""
    today = date.fromisoformat(at[:10])
    history = ledger.history(connection, population)
    account, *capped = ledger.accounts(connection, policies, population, None, at=at)
    projects = []
    for name, project in policies.projects.items():
        if population in project.allowances:
            mine = ledger.accounts(connection, policies, population, name, at=at)
            projects += [a for a in mine if a.kind is AccountKind.PROJECT]
            capped += [a for a in mine if a.kind is AccountKind.PROJECT_YEAR]
    return {
        "today": today.isoformat(),
        **_over_time(account, history, today),
        "projects": [_over_time(a, [e for e in history if e.project == a.name], today) for a in projects],
        "this_year": [balance(a).model_dump(mode="json") for a in capped],
        "history": [_entry(e, account.delta) for e in history],
    }


def _over_time(account: Account, history: Sequence[sa.Row[Any]], today: date) -> dict[str, Any]:
    """The balance, with its burn-down and the days on which it would run out; forecast is None without a charge."""
    charges = [Charged(date.fromisoformat(e.reserved_at[:10]), e.rho_units) for e in history if e.state in COUNTS]
    found = forecast(charges, account.left_units, today)
    return {
        **balance(account).model_dump(mode="json"),
        "burn_down": [
            {
                "on": p.on.isoformat(),
                "used_units": p.used_units,
                "used_epsilon": epsilon_of(p.used_units, account.delta),
            }
            for p in burn_down(charges)
        ],
        "forecast": found and {"recent": _pace(found.recent, account), "life": _pace(found.life, account)},
    }


def _pace(pace: Pace, account: Account) -> dict[str, Any]:
    return {
        "days": pace.days, "used_units": pace.units, "share_a_year": pace.units / pace.days * 365 / max(1, account.limit_units),
        "runs_out": pace.runs_out and pace.runs_out.isoformat(),
    }  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Spent:
    spent_units: int
    spent_epsilon: float


def spent(connection: sa.Connection, found: Raise, *, at: str) -> Spent:
    """What counts against the limit that would rise."""
    units, _ = ledger.used(connection, found.kind, found.population, found.project, at=at)
    return Spent(spent_units=units, spent_epsilon=epsilon_of(units, found.before.delta))


def _entry(e: sa.Row[Any], delta: float) -> dict[str, Any]:
    return {
        "entry": e.id, "at": e.reserved_at, "purpose": e.purpose, "project": e.project, "release": e.release,
        "rho_units": e.rho_units, "epsilon_alone": epsilon_of(e.rho_units, delta), "delta_units": e.delta_units,
        "state": e.state,
    }  # fmt: skip
