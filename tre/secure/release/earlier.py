"""The request before a request, for the checkers of both: what changed since then.

Guarantees: a checker who may not look at the earlier request is told nothing of it; who may is told what `rules.changes`
tells, and what the earlier one's researcher was told of its decision. Outputs are compared by hash: none is read.
Which request is the earlier one is `rules.changes`' subject.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tre.errors import NotAllowed
from tre.messages import Plan
from tre.rules import changes
from tre.rules import notebook as notebooks
from tre.rules.changes import Asked, Changes
from tre.rules.lifecycle import Release
from tre.rules.policy import Policies
from tre.secure import discussion
from tre.secure.database import tables
from tre.secure.release import outputs

if TYPE_CHECKING:
    from tre.secure.release.review import Desk

r, j = tables.releases, tables.jobs
Things = Mapping[str, Mapping[str, Any]]


def since(desk: Desk, connection: sa.Connection, policies: Policies, person: str, release: str) -> Changes | None:
    """None where there is no request before, or none that this checker may look at."""
    query = sa.select(r.c.id, r.c.project, r.c.state, r.c.created_at, j.c.name).join(j, j.c.id == r.c.job)
    mine = sa.select(r.c.project).where(r.c.id == release).scalar_subquery()
    asked = [
        Asked(release=x.id, project=x.project, notebook=x.name, at=x.created_at, state=Release(x.state))
        for x in connection.execute(query.where(r.c.project == mine))
    ]
    this = next(a for a in asked if a.release == release)
    before = next((a for a in asked if a.release == changes.earlier(this, asked)), None)
    if before is None:
        return None
    try:
        desk.independent(connection, policies, person, before.release)
    except NotAllowed:
        return None
    old, new = (_job(connection, x) for x in (before.release, release))
    then, now = Plan.model_validate_json(old.plan), Plan.model_validate_json(new.plan)
    return Changes(
        earlier=before.release, state=before.state.value, submitted=before.at,
        said=discussion.told(connection, before.release, revoked=before.state is Release.REVOKED),
        source=changes.source(*(notebooks.listing(json.loads(desk.queue.notebook(x.notebook))) for x in (old, new))),
        parameters=changes.compare(*({k: {"value": v} for k, v in p.parameters.items()} for p in (then, now))),
        data=changes.compare(*({k: {"version": v} for k, v in p.datasets.items()} for p in (then, now))),
        statistics=changes.compare(_statistics(then), _statistics(now)),
        outputs=changes.compare(*(_outputs(connection, x, p) for x, p in ((before.release, then), (release, now)))),
    )  # fmt: skip


def _job(connection: sa.Connection, release: str) -> sa.Row[Any]:
    return connection.execute(sa.select(j).join(r, r.c.job == j.c.id).where(r.c.id == release)).one()


def _statistics(plan: Plan) -> Things:
    """Of each what it asks for; what is replayed of it is no difference."""
    return {x.name: x.request.model_dump(mode="json") for x in plan.requests} | {
        x.name: x.estimate.model_dump(mode="json") for x in plan.estimates
    }


def _outputs(connection: sa.Connection, release: str, plan: Plan) -> Things:
    kept = {o.name: o.sha256 for o in outputs.stored(connection, release)}
    return {
        o.name: {
            "kind": o.kind.value, "context": o.context, "content": kept.get(o.name), "data": o.data,
            "declaration": o.declared.model_dump(mode="json") if o.declared is not None else None,
        }
        for o in plan.outputs
    }  # fmt: skip
