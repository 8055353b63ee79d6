"""Releases: taken on from their confirmation to what the desk may see, a step at a time, each safe to repeat.

Guarantees: a release waits for people or for its run, or is taken on by one worker at a time; charge, draw, store,
bundle, sign come in this order; a fault of ours gives back what was not spent, keeps what was, and ends the job.
"""

from __future__ import annotations

import functools
import logging
import time
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict
from tre.messages import Plan, Stage
from tre.rules.ledger import Charge
from tre.rules.lifecycle import Job, Release
from tre.rules.policy import Policies
from tre.secure import ledger, ticks
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.jobs import block_store, leases
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.faults import fault
from tre.secure.jobs.leases import Lease
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.work import Lane
from tre.secure.release import outputs, review
from tre.secure.release.bundle import Bundler
from tre.secure.release.check import Check
from tre.secure.release.planning import need_allowed

log = logging.getLogger("tre.worker")
Row = sa.Row[Any]
# Before a release that could not be taken on is tried again.
ASIDE_SECONDS = 60.0


@functools.lru_cache(maxsize=1024)
def _waits_for_its_run(plan: str) -> bool:
    read = Plan.model_validate_json(plan)
    return read.run and not read.automatic  # what people approve includes how the run ended


@functools.lru_cache(maxsize=1024)
def _automatic(plan: str) -> bool:
    return Plan.model_validate_json(plan).automatic


class Releases:
    def __init__(
        self, context: Context, queue: Queue, registry: Registry, check: Check, bundler: Bundler, claims: Claims
    ) -> None:
        self.context, self.queue, self.registry, self.check = context, queue, registry, check
        self.bundler, self.claims = bundler, claims
        self._aside: dict[str, float] = {}

    def step(self, lane: Lane) -> bool:
        """Take one release a step on, if one waits for neither people nor a run."""
        claimed = self.claims.release(self._ready)
        if claimed is None:
            return False
        release, lease = claimed
        with self.claims.at_work(lane, lease):
            try:
                self._advance(release, lease)
            except Conflict:
                raise
            except Exception as error:  # set aside for a while: the others do not wait behind it
                log.error("the release %s cannot be taken on: %s", release.id, fault(error))
                self._aside[str(release.id)] = time.monotonic() + ASIDE_SECONDS
        return True

    def _ready(self, connection: sa.Connection, release: Row) -> bool:
        """What is let out by people goes to them at once; an estimate over blocks goes on at its moment, never before."""
        if time.monotonic() < self._aside.get(str(release.id), 0.0):
            return False
        job = self.queue.row(connection, str(release.job))
        times = block_store.schedule_of(connection, str(release.job))
        if times is not None and (release.state != Release.CHECKING or _automatic(str(job.plan))):
            return self.context.seconds() >= times.due
        if release.state != Release.CHECKING:
            return True
        return job.state not in (Job.QUEUED, Job.RUNNING) or not _waits_for_its_run(str(job.plan))

    def _advance(self, release: Row, lease: Lease) -> None:
        with self.context.database.read() as connection:
            plan = Plan.model_validate_json(self.queue.row(connection, str(release.job)).plan)
            policies = policy_files.by_digest(connection, plan.policy)
        match Release(str(release.state)):
            case Release.CHECKING:
                if plan.outputs and not plan.run:  # declared tables alone: no run has collected them
                    outputs.collect(
                        self.context, self.registry, None, str(release.id), plan, policies,
                        hold=lambda connection: leases.need(connection, lease),
                    )  # fmt: skip
                self._move(release, lease, Release.APPROVED if plan.automatic else Release.IN_REVIEW)
            case Release.APPROVED:
                self._move(release, lease, Release.RELEASING)
            case _:
                self._release(str(release.id), lease, plan, policies)

    def _move(self, release: Row, lease: Lease, after: Release) -> None:
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            review.move(self.context, connection, str(release.id), after)

    def _release(self, release: str, lease: Lease, plan: Plan, policies: Policies) -> None:
        """Charge, draw, store, bundle, sign: then the desk may see it, from the next tick."""

        def hold(connection: sa.Connection) -> None:
            leases.need(connection, lease)

        try:
            with self.context.database.read() as connection:
                need_allowed(connection, plan)
            self.check.run(release, plan, policies, hold=hold)
            bundle = self.bundler.build(release, plan, policies, hold=hold)
        except Conflict as conflict:
            if conflict.code == "lease_lost":
                raise
            self._fail(release, lease, conflict)
            return
        except Exception as error:
            self._fail(release, lease, error)
            return
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            review.move(self.context, connection, release, Release.RELEASED, bundle=bundle)
            self.queue.publish(connection, lease.job, Stage.RELEASED)

    def _fail(self, release: str, lease: Lease, error: Exception) -> None:
        """A fault of ours: what was not spent is given back, what was spent stays, and the job ends."""
        log.error("the release %s failed: %s", release, fault(error))
        at = self.context.now()
        with self.context.database.write() as connection:
            leases.need(connection, lease)
            for entry in ledger.entries(connection, release):
                if entry.state == Charge.RESERVED:
                    ledger.give_back(connection, int(entry.id), at=ticks.moment(self.context, connection))
                elif entry.state == Charge.SPENT:
                    ledger.lose(connection, int(entry.id), at=at)
            block_store.forget(connection, lease.job)
            review.move(self.context, connection, release, Release.FAILED)
            self.queue.publish(connection, lease.job, Stage.FAILED)
