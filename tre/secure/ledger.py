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

from tre.errors import Conflict, PolicyError
from tre.rules.accounting import delta_limit, rho_of
from tre.rules.ledger import COUNTS, Account, AccountKind, Charge, cover
from tre.rules.lifecycle import Release
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


def accounts(
    connection: sa.Connection, policies: Policies, population: str, project: str | None, *, at: str
) -> list[Account]:
    """The accounts that a charge at that time must be covered by, those without end first.

    The population's budget and, in a project, its allowance; then their caps for the year of `at`, where there are any.
    """
    held = policies.populations[population]
    limits = {AccountKind.POPULATION: held.lifetime, AccountKind.POPULATION_YEAR: held.yearly}
    if project is not None:
        rules = policies.projects[project]
        limits[AccountKind.PROJECT] = rules.allowances[population]
        limits[AccountKind.PROJECT_YEAR] = rules.yearly.get(population)
    found = [
        _account(connection, kind, population, project, limit, at)
        for kind, limit in limits.items()
        if limit is not None
    ]
    return sorted(found, key=lambda a: a.yearly)


def _account(
    connection: sa.Connection, kind: AccountKind, population: str, project: str | None, limit: Loss, at: str
) -> Account:
    of_project = kind in (AccountKind.PROJECT, AccountKind.PROJECT_YEAR)
    units, delta_units = used(connection, kind, population, project, at=at)
    return Account(
        project if of_project and project else population, kind, rho_of(limit.epsilon, limit.delta), units, limit.delta,
        limit_delta_units=delta_limit(limit.keys_delta), used_delta_units=delta_units,
    )  # fmt: skip


def used(
    connection: sa.Connection, kind: AccountKind, population: str, project: str | None, *, at: str
) -> tuple[int, int]:
    """What counts against an account at that time: its units, and those of delta."""
    counts = t.c.state.in_(COUNTS) | ((t.c.state == Charge.RETURNED) & (t.c.ended_at > at))
    which = [t.c.population == population, counts]
    if kind in (AccountKind.PROJECT, AccountKind.PROJECT_YEAR):
        which.append(t.c.project == project)
    if kind.yearly:
        which.append(t.c.reserved_at.startswith(f"{at[:4]}-", autoescape=True))
    sums = (sa.func.coalesce(sa.func.sum(c), 0) for c in (t.c.rho_units, t.c.delta_units))
    units, delta_units = connection.execute(sa.select(*sums).where(*which)).one()
    return int(units), int(delta_units)


def reserve(connection: sa.Connection, policies: Policies, wanted: list[Reservation], *, at: str) -> list[int]:
    """The new entries, one for each, or none at all, inside the caller's write transaction. Raises BudgetExceeded.

    `at` is UTC, ISO 8601: its year is the one whose caps must cover the charges.
    """
    need_whole(connection)
    groups: dict[tuple[str, str | None], list[int]] = {}
    for i, r in enumerate(wanted):
        _same_measure(policies, r)
        groups.setdefault((r.population, r.project), []).append(i)
    made: dict[int, int] = {}
    for (population, project), group in groups.items():
        # One group after the other: what the first takes from a population, the next one finds taken.
        held = accounts(connection, policies, population, project, at=at)
        cover(held, sum(wanted[i].rho_units for i in group), sum(wanted[i].delta_units for i in group))
        for i in group:
            values = {k: v for k, v in vars(wanted[i]).items() if k != "measure"}  # the population's, for good
            new = t.insert().values(**values, state=Charge.RESERVED, reserved_at=at).returning(t.c.id)
            made[i] = connection.execute(new).scalar_one()
    return [made[i] for i in range(len(wanted))]


def need_whole(connection: sa.Connection) -> None:
    """Raises Conflict in an area made of a backup that nobody has answered for: it does not know all its charges."""
    r = tables.restored
    if connection.execute(sa.select(r.c.id).where(r.c.accepted_at.is_(None)).limit(1)).first() is not None:
        raise Conflict(
            "area_restored",
            "This area was made of a backup, and may have forgotten charges. Nothing is charged or drawn until that is answered for.",
            'An admin looks at what was released since the backup, then: tre-admin restore --accept --reason "…"',
        )


def write_off(connection: sa.Connection, *, at: str) -> int:
    """Everything that was under way when a backup was made counts as spent and lost: it may have been drawn since."""
    found = connection.execute(sa.select(t.c.id, t.c.state).where(t.c.state.in_((Charge.RESERVED, Charge.SPENT)))).all()
    for entry in found:
        if entry.state == Charge.RESERVED:
            spend(connection, int(entry.id), at=at)
        lose(connection, int(entry.id), at=at)
    return len(found)


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
    """A reservation whose rows were never read. It counts until `at`: the next tick, where the present tells of the work."""
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


def taken_back(connection: sa.Connection, project: str, digests: set[str]) -> bool:
    """Whether one of these requests was released to the project and then revoked: only people may let it out again."""
    r = tables.releases
    query = sa.select(t.c.id).join(r, r.c.id == t.c.release)
    which = (t.c.project == project) & t.c.request_digest.in_(digests) & (r.c.state == Release.REVOKED)
    return connection.execute(query.where(which).limit(1)).first() is not None


def history(connection: sa.Connection, population: str | None = None) -> list[sa.Row[tuple[object, ...]]]:
    query = sa.select(t).order_by(t.c.id)
    return list(connection.execute(query.where(t.c.population == population) if population else query))
