"""The area's figures: how long things take, how checkers decide and agree, what goes back and why, what noise adds.

Reads only, from what is recorded anyway. For the controller and the team: times of runs on real rows are in it, which
tell a little of the rows (as every clock does), so it is not for publishing as it stands; the register is.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable
from datetime import datetime
from statistics import median
from typing import Any

import sqlalchemy as sa

from tre.rules import durations, lifecycle
from tre.rules.ledger import Charge
from tre.rules.lifecycle import Job, Release
from tre.rules.policy import Policies
from tre.secure import budgets, ledger
from tre.secure.database import tables

DAYS = 86_400.0


def figures(connection: sa.Connection, policies: Policies, *, at: str) -> dict[str, Any]:
    """Everything, over the area's whole life; shares are of what they are shares of, between 0 and 1."""
    return {
        "at": at,
        "jobs": _states(connection, tables.jobs.c.state),
        "releases": _states(connection, tables.releases.c.state),
        "times": _times(connection),
        "review": _review(connection),
        "findings": _findings(connection),
        "noise": _noise(connection),
        "budgets": [
            budgets.balance(a).model_dump(mode="json")
            for name in policies.populations
            for a in ledger.accounts(connection, policies, name, None, at=at)
        ],
    }


def _states(connection: sa.Connection, column: sa.Column[Any]) -> dict[str, int]:
    found = connection.execute(sa.select(column, sa.func.count()).group_by(column).order_by(column))
    return {str(state): int(n) for state, n in found}


def _seconds(at: str) -> float:
    return datetime.fromisoformat(at).timestamp()


def _times(connection: sa.Connection) -> dict[str, dict[str, dict[str, float]]]:
    """Of jobs and releases, by the state that ended."""
    a, j, r = tables.audit, tables.jobs, tables.releases
    moving = {t.event for t in (*lifecycle.JOB, *lifecycle.RELEASE)}
    log = connection.execute(sa.select(a.c.subject, a.c.at, a.c.event).where(a.c.event.in_(moving)).order_by(a.c.seq))
    events = [(str(e.subject), _seconds(e.at), str(e.event)) for e in log]
    jobs = {str(x.id): _seconds(x.submitted_at) for x in connection.execute(sa.select(j.c.id, j.c.submitted_at))}
    releases = {str(x.id): _seconds(x.created_at) for x in connection.execute(sa.select(r.c.id, r.c.created_at))}
    return {
        "jobs": _summed(durations.stays(lifecycle.JOB, Job.REHEARSING, jobs, events)),
        "releases": _summed(durations.stays(lifecycle.RELEASE, Release.CHECKING, releases, events)),
    }


def _summed(found: dict[Any, list[float]]) -> dict[str, dict[str, float]]:
    return {state.value: durations.summary(seconds) for state, seconds in found.items()}


def _review(connection: sa.Connection) -> dict[str, Any]:
    """Votes by what they say, and of the releases with two how many agree. No person is named."""
    v = tables.votes
    cast: dict[str, list[str]] = {}
    for x in connection.execute(sa.select(v.c.release, v.c.decision).order_by(v.c.release, v.c.at)):
        cast.setdefault(str(x.release), []).append(str(x.decision))
    pairs = [two for two in cast.values() if len(two) == 2]
    agreed = sum(first == second for first, second in pairs)
    return {
        "votes": dict(Counter(d for votes in cast.values() for d in votes)),
        "pairs": len(pairs), "agreed": agreed, "agreement": agreed / len(pairs) if pairs else None,
    }  # fmt: skip


def _findings(connection: sa.Connection) -> dict[str, dict[str, int]]:
    """By how a release ended: how many of its outputs had a finding of each rule. What goes back, and why."""
    o, r = tables.outputs, tables.releases
    query = sa.select(r.c.state, o.c.findings).join(r, r.c.id == o.c.release)
    found: dict[str, Counter[str]] = {}
    for x in connection.execute(query):
        found.setdefault(str(x.state), Counter()).update({f["rule"] for f in json.loads(x.findings)})
    return {state: dict(sorted(rules.items())) for state, rules in found.items() if rules}


def _noise(connection: sa.Connection) -> dict[str, Any]:
    """Of all released numbers with noise: how many, and the middle of their errors (half a 95 % interval) over their size."""
    t = tables.ledger
    stored = connection.execute(
        sa.select(t.c.value).where(t.c.state == Charge.RELEASED, t.c.value.is_not(None))
    ).scalars()
    errors = [e for value in stored for e in _relative(json.loads(str(value)))]
    return {"numbers": len(errors), "median_relative_error": median(errors) if errors else None}


def _relative(value: Any) -> Iterable[float]:
    for cell in value.get("table", {}).get("cells", ()):
        if cell["value"] and cell["error"] is not None:
            yield abs(cell["error"] / cell["value"])
    for number, low, high in zip(*(value.get(k, ()) for k in ("values", "low", "high")), strict=True):
        if number and low is not None and high is not None:
            yield abs((high - low) / 2 / number)
