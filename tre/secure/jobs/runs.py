"""Runs: a confirmed notebook on real rows, for the outputs that people will look at.

Guarantees: a run ends finished, failed, timed out or cancelled, once; an attempt whose worker or machine was lost is
tried again in a new folder, as often as the policy says, and its outbox is never looked at; the outputs (or their
absence) are stored before the state says that it has ended.
"""

from __future__ import annotations

import logging
import shutil
from typing import Any

import sqlalchemy as sa

from tre.messages import Plan, World
from tre.rules.told import RunEnd
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.database import tables
from tre.secure.jobs import ended, leases, runner
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.engine import AttemptLost, NeverBegan
from tre.secure.jobs.faults import fault
from tre.secure.jobs.leases import Lease
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.work import Lane
from tre.secure.release import outputs
from tre.secure.release.planning import Planner, need_allowed

log = logging.getLogger("tre.worker")
Row = sa.Row[Any]
# A scheduler that does not answer is asked again after this.
PAUSE_SECONDS = 5.0


class Runs:
    def __init__(self, context: Context, queue: Queue, registry: Registry, planner: Planner, claims: Claims) -> None:
        self.context, self.queue, self.registry = context, queue, registry
        self.planner, self.claims = planner, claims

    def step(self, lane: Lane) -> bool:
        """One run, if one waits."""
        claimed = self.claims.run()
        if claimed is None:
            return False
        job, lease = claimed
        with self.claims.at_work(lane, lease):
            self._one(job, lease, lane)
        return True

    def _one(self, job: Row, lease: Lease, lane: Lane) -> None:
        plan = Plan.model_validate_json(str(job.plan))
        folder = self.context.area.folder("jobs") / str(job.id) / f"run-{job.attempt}"
        how, diagnostics, ran = RunEnd.FAILED, "its worker or its machine was lost each time", None
        if int(job.attempt) <= self._attempts(plan):
            try:
                ran = self._run(job, plan, lane, folder)
                how, diagnostics = ran.how, ran.diagnostics
            except NeverBegan as never:
                log.error("the run of %s could not begin, and is tried again: %s", job.id, never)
                self.queue.run_again(lease, counts=False)
                lane.cancelled.wait(PAUSE_SECONDS)
                return
            except AttemptLost as lost:
                log.error("attempt %s of the run of %s was lost: %s", job.attempt, job.id, lost)
                self.queue.run_again(lease)
                return
            except Exception as error:
                log.error("the run of %s failed: %s", job.id, fault(error))
                diagnostics = type(error).__name__
        if lane.cancelled.is_set():
            shutil.rmtree(folder, ignore_errors=True)
            if lane.draining:
                self.queue.run_again(lease, counts=False)
            return
        self._collect(job, plan, ran, lease)
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            ended.close(self.queue, connection, str(job.id), how, diagnostics)

    def _attempts(self, plan: Plan) -> int:
        with self.context.database.read() as connection:
            return policy_files.by_digest(connection, plan.policy).area.queue.attempts

    def _run(self, job: Row, plan: Plan, lane: Lane, folder: Any) -> runner.Ran:
        """The notebook on real rows; its outputs are collected, everything else it wrote stays where it is."""
        with self.context.database.read() as connection:
            need_allowed(connection, plan)
            policies = policy_files.by_digest(connection, plan.policy)
            manifest = self.planner.manifest(connection, policies, plan.project, World.RUN, versions=plan.datasets)
        files = {
            name: self.registry.view(self.registry.rows(name, info.version), info.columns)
            for name, info in manifest.datasets.items()
        }
        return runner.run(
            folder, manifest=manifest, files=files, notebook=self.queue.notebook(plan.notebook),
            parameters=str(job.parameters), limits=policies.area.sandbox, engine=lane.engine, cancelled=lane.cancelled,
        )  # fmt: skip

    def _collect(self, job: Row, plan: Plan, ran: runner.Ran | None, lease: Lease) -> None:
        """The planned outputs, or their absence, for the checkers."""
        t = tables.releases
        with self.context.database.read() as connection:
            leases.need(connection, lease)
            policies = policy_files.by_digest(connection, plan.policy)
            release = connection.execute(sa.select(t.c.id).where(t.c.job == job.id)).scalar_one()
        outputs.collect(
            self.context,
            self.registry,
            ran,
            release,
            plan,
            policies,
            hold=lambda connection: leases.need(connection, lease),
        )
