"""What is kept of a job's blocks: its slots, fixed at confirmation, and what each block handed out, until it is drawn.

Guarantees: `places` is total: whatever bytes a block left, it has places on the grids of its plan, the default's where it
said nothing that fits. Of a block, nothing else is kept. The slots of a job begin after those of all that were confirmed
before it: a function of confirmations and declared numbers, never of how long anything took.
"""

from __future__ import annotations

import json

import sqlalchemy as sa

from tre.messages import BlockPlan, Plan
from tre.rules.canonical import digest
from tre.rules.lifecycle import FINAL_RELEASES, Job
from tre.rules.policy import Policies, SlurmEngine
from tre.rules.slots import Schedule, schedule
from tre.secure.context import Context
from tre.secure.database import tables

AUTO = 0
b, c = tables.block_jobs, tables.block_claims


def places(plan: Plan, claimed: bytes | None) -> dict[str, tuple[int, ...]]:
    """What one block said of each estimate of the plan, as places on its grid. Total: any bytes have an answer."""
    try:
        said = json.loads(claimed) if claimed is not None else {}
    except (ValueError, RecursionError):
        said = {}
    return {e.name: e.estimate.places(said.get(e.name) if isinstance(said, dict) else None) for e in plan.estimates}


def of_all(connection: sa.Connection, job: str, plan: Plan, name: str) -> list[tuple[int, ...]]:
    """The places of every block of the plan, in order; the default's for those that are missing."""
    if plan.blocks is None:
        raise RuntimeError("a plan with estimates has blocks")
    nothing = places(plan, None)[name]
    rows = connection.execute(sa.select(c).where(c.c.job == job))
    found = {int(row.block): tuple(json.loads(str(row.places))[name]) for row in rows}
    return [found.get(number, nothing) for number in range(plan.blocks.blocks)]


def keep(connection: sa.Connection, job: str, block: int, found: dict[str, tuple[int, ...]]) -> None:
    connection.execute(c.insert().values(job=job, block=block, places=json.dumps(found)))


def done(connection: sa.Connection, job: str) -> set[int]:
    """The blocks that have been run."""
    return set(connection.execute(sa.select(c.c.block).where(c.c.job == job)).scalars())


def job_of(connection: sa.Connection, release: str) -> str:
    r = tables.releases
    return str(connection.execute(sa.select(r.c.job).where(r.c.id == release)).scalar_one())


def is_over(connection: sa.Connection, job: str) -> bool:
    """Whether nothing will be drawn for it any more."""
    r = tables.releases
    return connection.execute(sa.select(r.c.state).where(r.c.job == job)).scalar() in FINAL_RELEASES


def forget(connection: sa.Connection, job: str) -> None:
    connection.execute(c.delete().where(c.c.job == job))


def schedule_of(connection: sa.Connection, job: str) -> Schedule | None:
    """The job's slots; None before it is confirmed, or where it has no blocks to run."""
    row = connection.execute(sa.select(b).where(b.c.job == job)).first()
    if row is None or row.due is None:
        return None
    return Schedule(begins=int(row.begins), seconds=int(row.seconds), slots=int(row.slots), due=int(row.due))


def version(plan: Plan) -> str:
    """Names the versions that the blocks are cut from, in the ledger."""
    mine = {name: plan.datasets[name] for name in plan.blocks.datasets} if plan.blocks is not None else {}
    return next(iter(mine.values())) if len(mine) == 1 else digest(mine)[:16]


def ask(connection: sa.Connection, job: str, blocks: int) -> None:
    """AUTO: as many as the estimates need."""
    connection.execute(b.insert().values(job=job, blocks=blocks))


def asked(connection: sa.Connection, job: str) -> int | None:
    """Into how many blocks the submission puts people."""
    found: int | None = connection.execute(sa.select(b.c.blocks).where(b.c.job == job)).scalar()
    return found


def fix(context: Context, connection: sa.Connection, job: str, plan: BlockPlan, policies: Policies) -> None:
    """At confirmation: the job's slots, after those of all that were confirmed before it and are not over."""
    j = tables.jobs
    going = sa.select(sa.func.max(b.c.due)).where(
        b.c.job.in_(sa.select(j.c.id).where(j.c.state.in_((Job.QUEUED, Job.RUNNING))))
    )
    engine = policies.area.engine
    wait = engine.block_wait_seconds if isinstance(engine, SlurmEngine) else 0
    times = schedule(
        now=context.seconds(), busy_until=int(connection.execute(going).scalar() or 0), blocks=plan.blocks,
        lanes=plan.lanes, seconds=plan.seconds, tick=policies.area.tick_seconds, wait=wait,
    )  # fmt: skip
    values = {"begins": times.begins, "seconds": times.seconds, "slots": times.slots, "due": times.due}
    connection.execute(b.update().where(b.c.job == job).values(**values))
