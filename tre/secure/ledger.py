"""The ledger: every charge of privacy loss, from its reservation to the value it paid for.

Guarantees: a reservation is made only in its population's own measure (units of rho are never charged as units of pure
epsilon, or the other way round), and only if the population's budget and the project's allowance both cover it, in one
transaction that holds the write lock; `spend` is durable before it returns, and the caller reads rows only after it; a
value is stored in the transaction that marks it released; what was spent and not stored is lost, never drawn again under
the same charge. The triggers of the first migration hold the order of states even against this module.
"""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from tre.errors import PolicyError
from tre.rules.accounting import delta_limit, rho_of
from tre.rules.ledger import COUNTS, Account, Charge, cover
from tre.rules.policy import Loss, Measure, Policies
from tre.secure.database import tables

t = tables.ledger


@dataclass(frozen=True, kw_only=True)
class Reservation:
    """One request's charge to come. `project` is None for what the area itself spends, a twin's margins.

    `rho_units` are what the mechanism's loss was measured in: rho, or pure epsilon where `measure` says so.
    `delta_units` is the price of group keys found in data.
    """

    population: str
    project: str | None
    purpose: str
    request_digest: str
    dataset_version: str
    release: str | None
    position: int
    rho_units: int
    delta_units: int = 0
    measure: Measure = Measure.ZCDP


def accounts(connection: sa.Connection, policies: Policies, population: str, project: str | None) -> list[Account]:
    """The accounts that a charge must be covered by: the population's budget and, in a project, its allowance."""
    lifetime = policies.populations[population].lifetime
    found = [_account(connection, population, "population", lifetime, t.c.population == population)]
    if project is not None:
        allowed = policies.projects[project].allowances[population]
        mine = (t.c.population == population) & (t.c.project == project)
        found.append(_account(connection, project, "project", allowed, mine))
    return found


def _account(connection: sa.Connection, name: str, kind: str, limit: Loss, which: sa.ColumnElement[bool]) -> Account:
    sums = (sa.func.coalesce(sa.func.sum(c), 0) for c in (t.c.rho_units, t.c.delta_units))
    used, used_delta = connection.execute(sa.select(*sums).where(which, t.c.state.in_(COUNTS))).one()
    return Account(
        name, kind, rho_of(limit.epsilon, limit.delta), int(used), limit.delta,
        limit_delta_units=delta_limit(limit.keys_delta), used_delta_units=int(used_delta),
    )  # fmt: skip


def reserve(connection: sa.Connection, policies: Policies, wanted: list[Reservation], *, at: str) -> None:
    """All or nothing, inside the caller's write transaction. Raises BudgetExceeded with what is left."""
    totals: dict[tuple[str, str | None], tuple[int, int]] = {}
    for r in wanted:
        _same_measure(policies, r)
        units, delta_units = totals.get((r.population, r.project), (0, 0))
        totals[r.population, r.project] = units + r.rho_units, delta_units + r.delta_units
    for (population, project), (units, delta_units) in totals.items():
        cover(accounts(connection, policies, population, project), units, delta_units)
    for r in wanted:
        values = {k: v for k, v in vars(r).items() if k != "measure"}  # the population's, which never changes
        connection.execute(t.insert().values(**values, state=Charge.RESERVED, reserved_at=at))


def _same_measure(policies: Policies, wanted: Reservation) -> None:
    kept = policies.populations[wanted.population].measure
    if wanted.measure is not kept:
        raise PolicyError(
            "measure_mismatch",
            f"The population {wanted.population!r} is kept in {kept.value}, and this loss was measured in "
            f"{wanted.measure.value}. Nothing was charged.",
            "Ask for statistics that its measure can pay for.",
        )


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
