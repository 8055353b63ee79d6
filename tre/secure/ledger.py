"""The ledger: every charge of privacy loss, from its reservation to the value it paid for.

Guarantees: a reservation is made only if the population's budget and the project's allowance both cover it, in one
transaction that holds the write lock; `spend` is durable before it returns, and the caller reads rows only after it; a
value is stored in the transaction that marks it released; what was spent and not stored is lost, never drawn again under
the same charge. The triggers of the first migration hold the order of states even against this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from tre.rules.accounting import rho_of
from tre.rules.ledger import COUNTS, Account, Charge, cover
from tre.rules.policy import Policies
from tre.secure.database import tables

t = tables.ledger


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """One request's charge to come. `project` is None for what the area itself spends, a twin's margins."""

    population: str
    project: str | None
    purpose: str
    request_digest: str
    dataset_version: str
    release: str | None
    position: int
    rho_units: int


def accounts(connection: sa.Connection, policies: Policies, population: str, project: str | None) -> list[Account]:
    """The accounts that a charge must be covered by: the population's budget and, in a project, its allowance."""
    lifetime = policies.populations[population].lifetime
    found = [
        _account(connection, population, "population", lifetime.epsilon, lifetime.delta, t.c.population == population)
    ]
    if project is not None:
        allowed = policies.projects[project].allowances[population]
        mine = (t.c.population == population) & (t.c.project == project)
        # Shown and limited at the population's delta, at which all its losses are added up.
        found.append(_account(connection, project, "project", allowed.epsilon, lifetime.delta, mine))
    return found


def _account(
    connection: sa.Connection, name: str, kind: str, epsilon: float, delta: float, which: sa.ColumnElement[bool]
) -> Account:
    used = sa.select(sa.func.coalesce(sa.func.sum(t.c.rho_units), 0)).where(which, t.c.state.in_(COUNTS))
    return Account(name, kind, rho_of(epsilon, delta), int(connection.execute(used).scalar_one()), delta)


def reserve(connection: sa.Connection, policies: Policies, wanted: list[Reservation], *, at: str) -> None:
    """All or nothing, inside the caller's write transaction. Raises BudgetExceeded with what is left."""
    totals: dict[tuple[str, str | None], int] = {}
    for r in wanted:
        totals[r.population, r.project] = totals.get((r.population, r.project), 0) + r.rho_units
    for (population, project), units in totals.items():
        cover(accounts(connection, policies, population, project), units)
    for r in wanted:
        connection.execute(t.insert().values(**vars(r), state=Charge.RESERVED, reserved_at=at))


def spend(connection: sa.Connection, entry: int, *, at: str) -> None:
    """From here on the loss counts for good, whatever happens; rows may be read once this has committed."""
    _move(connection, entry, Charge.RESERVED, state=Charge.SPENT, spent_at=at)


def store(connection: sa.Connection, entry: int, value: str, *, at: str) -> None:
    """The drawn value, once."""
    _move(connection, entry, Charge.SPENT, state=Charge.RELEASED, value=value, ended_at=at)


def give_back(connection: sa.Connection, entry: int, *, at: str) -> None:
    """A reservation whose rows were never read."""
    _move(connection, entry, Charge.RESERVED, state=Charge.RETURNED, ended_at=at)


def lose(connection: sa.Connection, entry: int, *, at: str) -> None:
    _move(connection, entry, Charge.SPENT, state=Charge.LOST, ended_at=at)


def _move(connection: sa.Connection, entry: int, before: Charge, **after: object) -> None:
    done = connection.execute(t.update().where(t.c.id == entry, t.c.state == before).values(**after))
    if done.rowcount != 1:
        raise RuntimeError("a charge was not in the state it had to be in")


def entries(connection: sa.Connection, release: str) -> list[sa.Row[tuple[object, ...]]]:
    """A release's charges in the order of its plan."""
    return list(connection.execute(sa.select(t).where(t.c.release == release).order_by(t.c.position)))


def stored(
    connection: sa.Connection, *, project: str | None, version: str, digest: str
) -> sa.Row[tuple[object, ...]] | None:
    """The value of this request on this dataset version in this project, if it was ever released."""
    which = (t.c.dataset_version == version) & (t.c.request_digest == digest) & (t.c.state == Charge.RELEASED)
    mine = t.c.project.is_(None) if project is None else t.c.project == project
    return connection.execute(sa.select(t).where(which, mine).order_by(t.c.id).limit(1)).first()


def history(connection: sa.Connection, population: str | None = None) -> list[sa.Row[tuple[object, ...]]]:
    query = sa.select(t).order_by(t.c.id)
    return list(connection.execute(query.where(t.c.population == population) if population else query))
