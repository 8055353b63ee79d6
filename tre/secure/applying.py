"""Puts policies in force: at once, or, where they raise a budget and two admins must agree, once a second one confirms.

Guarantees: a raise of a budget, an allowance or a yearly cap is never applied without a reason, and is an audit entry of
its own in the transaction that applies it, with both losses and what was spent; where the policies in force say
`raises_need: 2`, it is applied by a second admin's confirmation only, on the very policies that it was proposed upon.
What is not guaranteed: that people are who they say. Whoever may write the area's folder is believed (`--as`): two admins
are a rule among honest ones, and a record of who answers for it.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, NotAllowed, NotFound, PolicyError
from tre.rules import raises as rules
from tre.rules.policy import Policies, Role
from tre.rules.raises import Raise
from tre.secure import audit, budgets
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables

# Who acts where nobody says who they are: whoever may write the area's folder.
ANY_ADMIN = "admin"
LONGEST_REASON = 1000
t = tables.raises


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What changes, a line a field; the raises among it; whether it is in force, or waits under `proposal`."""

    changes: list[str]
    raises: list[dict[str, Any]]
    applied: bool = False
    proposal: str | None = None


def apply(context: Context, folder: Path, *, dry_run: bool, person: str | None, reason: str | None) -> Outcome:
    """Raises PolicyError and then changes nothing."""
    new = policy_files.load(folder)
    with context.database.write() as connection:
        history = _history(connection, new)
        found = rules.raises(history, new)
        told = [_told(connection, r, at=context.now()) for r in found]
        outcome = Outcome(changes=policy_files.difference(history[-1] if history else None, new), raises=told)
        if dry_run or not outcome.changes:
            return outcome
        need = rules.needed(history[-1], new, found) if history else 0
        if person is not None:
            _need_admin(context, history[-1] if history else new, person)
        if need:
            reason = _reason(reason, told)
        if need == 2:
            return _propose(context, connection, outcome, new, person, reason or "")
        _put_in_force(context, connection, outcome, new, person or ANY_ADMIN, {"reason": reason})
        return Outcome(changes=outcome.changes, raises=told, applied=True)


def proposals(context: Context) -> list[dict[str, Any]]:
    """All that were ever proposed, newest first; `state` is waiting, confirmed or outdated."""
    with context.database.read() as connection:
        newest = _newest(connection)
        return [
            {
                "id": row.id, "state": _state(row, newest), "reason": row.reason, "proposed_by": row.proposed_by,
                "proposed_at": row.proposed_at, "confirmed_by": row.confirmed_by, "confirmed_at": row.confirmed_at,
                "raises": _proposed_raises(context, connection, row) if _state(row, newest) == "waiting" else [],
            }
            for row in connection.execute(sa.select(t).order_by(t.c.proposed_at.desc(), t.c.id))
        ]  # fmt: skip


def confirm(context: Context, proposal: str, *, person: str) -> Outcome:
    """Applies the proposed policies. Raises NotAllowed for the proposer, Conflict for what was decided or overtaken."""
    with context.database.write() as connection:
        row = connection.execute(sa.select(t).where(t.c.id == proposal)).first()
        if row is None:
            raise NotFound(
                "raise_unknown", f"There is no proposal {proposal[:40]!r}.", "List them: tre-admin raise list"
            )
        state = _state(row, _newest(connection))
        if state != "waiting":
            raise Conflict(
                "raise_decided", f"The proposal {row.id} is {state}.", "Apply the policies again to propose anew."
            )
        new = Policies.model_validate_json(row.content)
        history = _history(connection, new)
        _need_admin(context, history[-1], person)
        if person == row.proposed_by:
            raise NotAllowed("same_admin", "Nobody confirms their own proposal.", "Leave it to another admin.")
        told = [_told(connection, r, at=context.now()) for r in rules.raises(history, new)]
        outcome = Outcome(changes=policy_files.difference(history[-1], new), raises=told, applied=True, proposal=row.id)
        connection.execute(t.update().where(t.c.id == row.id).values(confirmed_by=person, confirmed_at=context.now()))
        detail = {"reason": row.reason, "proposal": row.id, "proposed_by": row.proposed_by}
        _put_in_force(context, connection, outcome, new, person, detail)
        return outcome


def _history(connection: sa.Connection, new: Policies) -> list[Policies]:
    history = policy_files.applied(connection)
    ingested = connection.execute(sa.select(tables.versions.c.dataset).distinct()).scalars().all()
    policy_files.refuse_unchangeable(history, new, ingested)
    return history


def _propose(
    context: Context, connection: sa.Connection, outcome: Outcome, new: Policies, person: str | None, reason: str
) -> Outcome:
    if person is None:
        raise PolicyError(
            "person_needed", "Two admins must agree to this, and nobody said who proposes it.", "--as PERSON"
        )
    proposal, at, content = f"raise-{secrets.token_hex(4)}", context.now(), new.model_dump_json()
    newest = _newest(connection)
    same = sa.select(t.c.id).where(t.c.content == content, t.c.based_on == newest)
    waiting = connection.execute(same).scalar()
    if waiting is not None:
        raise Conflict(
            "raise_waiting", f"This is proposed already: {waiting}.", f"tre-admin raise confirm {waiting} --as …"
        )
    connection.execute(
        t.insert().values(
            id=proposal, content=content, based_on=newest, reason=reason, proposed_by=person, proposed_at=at
        )
    )
    detail = {"reason": reason, "raises": len(outcome.raises)}
    audit.record(connection, at=at, person=person, event="budget.raise_proposed", subject=proposal, detail=detail)
    return Outcome(changes=outcome.changes, raises=outcome.raises, proposal=proposal)


def _put_in_force(
    context: Context, connection: sa.Connection, outcome: Outcome, new: Policies, person: str, detail: dict[str, Any]
) -> None:
    at, digest = context.now(), policy_files.policy_digest(new)
    connection.execute(tables.policies.insert().values(digest=digest, content=new.model_dump_json(), applied_at=at))
    audit.record(
        connection, at=at, person=person, event="policies.applied", subject=digest[:16],
        detail={"changes": len(outcome.changes)},
    )  # fmt: skip
    for told in outcome.raises:
        facts = {k: v for k, v in told.items() if k not in ("account", "means")}
        audit.record(
            connection, at=at, person=person, event="budget.raised", subject=told["account"], detail=facts | detail
        )


def _told(connection: sa.Connection, found: Raise, *, at: str) -> dict[str, Any]:
    """The raise for people and machines, with what is spent of the account."""
    spent = budgets.spent(connection, found, at=at)
    return {
        "account": found.account, "kind": found.kind.value, "population": found.population,
        "before": found.before.model_dump(), "after": found.after.model_dump() if found.after else None, **asdict(spent),
        "means": rules.sentences(found, spent.spent_epsilon),
    }  # fmt: skip


def _proposed_raises(context: Context, connection: sa.Connection, row: sa.Row[Any]) -> list[dict[str, Any]]:
    history = policy_files.applied(connection)
    found = rules.raises(history, Policies.model_validate_json(row.content))
    return [_told(connection, r, at=context.now()) for r in found]


def _state(row: sa.Row[Any], newest: int) -> str:
    if row.confirmed_by is not None:
        return "confirmed"
    return "waiting" if row.based_on == newest else "outdated"


def _newest(connection: sa.Connection) -> int:
    return int(connection.execute(sa.select(sa.func.max(tables.policies.c.id))).scalar_one())


def _need_admin(context: Context, policies: Policies, person: str) -> None:
    found = policies.people.get(person)
    if found is None or found.role is not Role.ADMIN or found.accredited_until < context.today():
        raise NotAllowed(
            "admin_unknown",
            f"{person[:64]!r} is no admin of people.yaml, or no longer accredited.",
            "--as an admin there.",
        )


def _reason(reason: str | None, told: list[dict[str, Any]]) -> str:
    if reason is None or not reason.strip() or len(reason) > LONGEST_REASON:
        means = "".join(f"\n  {line}" for r in told for line in r["means"])
        raise PolicyError(
            "reason_needed",
            f"This raises what may be learnt, or the ease of raising it, and is recorded with its reason:{means}\n",
            f"Apply it with --reason TEXT (at most {LONGEST_REASON} characters); nothing has changed.",
        )
    return reason.strip()
