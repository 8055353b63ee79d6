"""Blocks: one notebook on each of k blocks of people, each in a fresh sandbox of its own, in slots of time fixed beforehand.

Guarantees: a sandbox finds the manifest of a block (declared facts, no version, no number of anything), the rows of one
block, and the notebook; nothing that another block wrote, and nothing that tells when another block ended, as a block
begins with its slot and never before. What it hands out is parsed here, becomes places on the frozen grid, and is read by
the combiner alone (secure.release.estimates). A block that fails, is late or says nothing that fits has the default's
places. Interrupted work goes on with the blocks that are left, in the slots that are left; at the moment that was fixed
at confirmation it is over. Not guaranteed: that blocks which run at once, or after each other on one machine, cannot feel
each other through the machine itself (its load, caches, free space and counters of the kernel).
"""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict
from tre.messages import BlockPlan, Manifest, Plan, World
from tre.rules import policy
from tre.rules.lifecycle import Job
from tre.rules.policy import SlurmEngine
from tre.rules.slots import Schedule
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.partition import Source, partition
from tre.secure.data.registry import Registry
from tre.secure.jobs import block_store, leases, spread, zygote
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.faults import fault
from tre.secure.jobs.leases import Lease
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.slurm import Cluster
from tre.secure.jobs.turns import Turns, Work, engines, until
from tre.secure.jobs.work import Lane
from tre.secure.release.planning import Planner, need_allowed

log = logging.getLogger("tre.worker")
Row = sa.Row[Any]

OUTBOX_MB = 16
FOLDER = "blocks"


class Blocks:
    def __init__(self, context: Context, queue: Queue, registry: Registry, planner: Planner, claims: Claims) -> None:
        self.context, self.queue, self.registry = context, queue, registry
        self.planner, self.claims = planner, claims

    def sweep(self) -> None:
        """Remove the rows of blocks whose job is over, and whose worker was killed before it could."""
        for folder in self.context.area.folder("jobs").glob(f"*/{FOLDER}"):
            with self.context.database.read() as connection:
                state = self.queue.row(connection, folder.parent.name).state
            if state not in (Job.QUEUED, Job.RUNNING):
                shutil.rmtree(folder, ignore_errors=True)

    def step(self, lane: Lane) -> bool:
        """The blocks of one job, to their end."""
        claimed = self.claims.blocks()
        if claimed is None:
            return False
        job, lease = claimed
        with self.claims.at_work(lane, lease):
            self._one(job, lease, lane)
        return True

    def _one(self, job: Row, lease: Lease, lane: Lane) -> None:
        plan = Plan.model_validate_json(str(job.plan))
        folder = self.context.area.folder("jobs") / str(job.id) / FOLDER
        with self.context.database.read() as connection:
            times = block_store.schedule_of(connection, str(job.id))
        if times is None or plan.blocks is None:
            raise RuntimeError("a job of blocks has a schedule")
        try:
            self._all(job, plan, plan.blocks, times, folder, lease, lane)
        except Conflict:
            raise
        except Exception as error:  # ours: tried again while there are slots
            log.error("the blocks of %s were interrupted: %s", job.id, fault(error))
            lane.cancelled.wait(1)
            if times.next(self.context.seconds()) is not None and not lane.cancelled.is_set():
                self.queue.run_again(lease, counts=False)
                return
        finally:
            shutil.rmtree(folder, ignore_errors=True)
        until(times.due, self.context.seconds, lane.cancelled)
        if lane.cancelled.is_set():
            if lane.draining:
                self.queue.run_again(lease, counts=False)
            return
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            self.queue.move(connection, str(job.id), Job.RUNNING, Job.FINISHED)
            if block_store.is_over(connection, str(job.id)):  # decided against meanwhile
                block_store.forget(connection, str(job.id))

    def _all(
        self, job: Row, plan: Plan, blocks: BlockPlan, times: Schedule, folder: Path, lease: Lease, lane: Lane
    ) -> None:
        cluster = self._cluster()

        def said(number: int, claimed: bytes | None) -> None:
            self._keep(number, str(job.id), block_store.places(plan, claimed), lease)

        if cluster is not None:
            spread.end_earlier(cluster, folder, said)
        with self.context.database.read() as connection:
            done = block_store.done(connection, str(job.id))
        if len(done) == blocks.blocks or times.next(self.context.seconds()) is None:
            return
        shutil.rmtree(folder, ignore_errors=True)
        notebook, seconds = self.queue.notebook(plan.notebook), self.context.seconds

        def work() -> Work:
            return Work(
                rows=folder / "rows", datasets=blocks.datasets, blocks=tuple(range(blocks.blocks)), done=tuple(sorted(done)),
                lanes=blocks.lanes, times=times, manifest=self._lay_out(plan, blocks, folder),
                parameters=str(job.parameters), limits=limits(blocks),
            )  # fmt: skip

        if cluster is not None:
            spread.run(cluster, folder, work(), notebook, seconds=seconds, cancelled=lane.cancelled, said=said)
            return
        with zygote.begun(folder / "zygote", notebook) as loading:
            all_of_them = work()  # while it loads
            Turns(
                folder, all_of_them, notebook, engine=engines(loading, folder), seconds=seconds, cancelled=lane.cancelled,
                said=said,
            ).run()  # fmt: skip

    def _cluster(self) -> Cluster | None:
        with self.context.database.read() as connection:
            engine = policy_files.current(connection).area.engine
        return Cluster(engine) if isinstance(engine, SlurmEngine) else None

    def _lay_out(self, plan: Plan, blocks: BlockPlan, folder: Path) -> Manifest:
        """The rows of every block in a folder of its own, and what a sandbox is told: the same for all."""
        with self.context.database.read() as connection:
            need_allowed(connection, plan)
            policies = policy_files.by_digest(connection, plan.policy)
            manifest = self.planner.manifest(connection, policies, plan.project, World.BLOCK, versions=plan.datasets)
        infos = {name: manifest.datasets[name] for name in blocks.datasets}
        sources = {
            name: Source(rows=self.registry.rows(name, info.version), unit=info.table.unit.field, columns=info.columns)
            for name, info in infos.items()
        }
        key = self.context.area.derived_key("blocks")
        partition(folder / "rows", sources, key=key, population=blocks.population, k=blocks.blocks)
        told = {name: info.for_a_block() for name, info in infos.items()}
        return Manifest(world=World.BLOCK, project=plan.project, datasets=told, released={})

    def _keep(self, number: int, job: str, found: dict[str, tuple[int, ...]], lease: Lease) -> None:
        try:
            with self.context.database.write() as connection:
                leases.need(connection, lease)
                block_store.keep(connection, job, number, found)
        except Exception as error:
            log.error("a block of %s was not kept: %s", job, fault(error))


def limits(blocks: BlockPlan) -> policy.Sandbox:
    return policy.Sandbox(
        wall_seconds=blocks.seconds, cpu_seconds=blocks.seconds, memory_mb=blocks.memory_mb, outbox_mb=OUTBOX_MB
    )
