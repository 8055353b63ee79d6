"""Rehearsals: a submitted notebook on the twin, and the plan that comes of it.

Guarantees: a rehearsal reads no real row; it ends planned, or failed with what the researcher can do about it, or is
left to another worker; one that ended its worker twice is not tried a third time.
"""

from __future__ import annotations

import json
import logging
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, SandboxError, TreError
from tre.messages import Emitted, Failure, Plan, World
from tre.rules import instead
from tre.rules.policy import Policies
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.jobs import block_store, runner, twin_blocks
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.faults import OUR_FAULT, fault
from tre.secure.jobs.leases import Lease
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.work import Lane
from tre.secure.release import estimates, outputs
from tre.secure.release.planning import Planner

log = logging.getLogger("tre.worker")
# A rehearsal that ended the worker twice (by its memory, say) is not tried a third time.
MAX_REHEARSALS = 2
Row = sa.Row[Any]


class Rehearsals:
    def __init__(self, context: Context, queue: Queue, registry: Registry, planner: Planner, claims: Claims) -> None:
        self.context, self.queue, self.registry = context, queue, registry
        self.planner, self.claims = planner, claims

    def step(self, lane: Lane) -> bool:
        """One rehearsal, if one waits."""
        claimed = self.claims.rehearsal()
        if claimed is None:
            return False
        job, lease = claimed
        with self.claims.at_work(lane, lease):
            self._rehearse(job, lease, lane)
        return True

    def _rehearse(self, job: Row, lease: Lease, lane: Lane) -> None:
        diagnostics = ""
        if int(job.attempt) > MAX_REHEARSALS:
            self._failed(lease, OUR_FAULT, "rehearsed before, and each time the process ended")
            return
        try:
            policies, ran = self._run(job, lane)
            diagnostics = ran.diagnostics
            if lane.draining:
                self.queue.try_again(lease)
            elif ran.failure is not None:
                self._failed(lease, ran.failure, diagnostics)
            else:
                plan = self._plan(job, policies, ran, lane)
                self.queue.planned(lease, plan)
        except Conflict:
            raise
        except TreError as error:
            failure = Failure(code=error.code, message=error.message, next_step=error.next_step)
            self._failed(lease, failure, diagnostics)
        except Exception as error:
            log.error("the rehearsal of %s failed: %s", job.id, fault(error))
            self._failed(lease, OUR_FAULT, diagnostics)

    def _run(self, job: Row, lane: Lane) -> tuple[Policies, runner.Ran]:
        with self.context.database.read() as connection:
            policies = policy_files.current(connection)
            manifest = self.planner.manifest(connection, policies, str(job.project), World.REHEARSAL)
        files = {name: self.registry.twin_view(name, info.columns) for name, info in manifest.datasets.items()}
        folder = runner.rehearsal_folder(self.context.area.folder("jobs"), job)
        ran = runner.run(
            folder, manifest=manifest, files=files, notebook=self.queue.notebook(str(job.notebook)),
            parameters=str(job.parameters), limits=policies.area.sandbox, engine=lane.engine, cancelled=lane.cancelled,
        )  # fmt: skip
        return policies, ran

    def _plan(self, job: Row, policies: Policies, ran: runner.Ran, lane: Lane) -> Plan:
        if ran.emitted is None:
            raise SandboxError(
                "emitted_malformed", "What the notebook asked for cannot be read.", "Use the calls of `tre` only."
            )
        twin, notes = self._twin_blocks(job, policies, ran.emitted, lane)
        with self.context.database.read() as connection:
            return self.planner.plan(
                connection, policies, project=str(job.project), person=str(job.person), notebook=str(job.notebook),
                parameters=json.loads(str(job.parameters)), emitted=ran.emitted,
                blocks=block_store.asked(connection, str(job.id)), twin=twin, notes=notes,
                contents=outputs.left(ran),
            )  # fmt: skip

    def _twin_blocks(
        self, job: Row, policies: Policies, emitted: Emitted, lane: Lane
    ) -> tuple[twin_blocks.Told, tuple[str, ...]]:
        """What blocks of the twin gave, and what is to be said of it; nothing for a notebook that has no estimates."""
        with self.context.database.read() as connection:
            asked = block_store.asked(connection, str(job.id))
            infos = self.planner.manifest(connection, policies, str(job.project), World.REHEARSAL).datasets
        cut = estimates.block_plan(policies, infos, emitted, asked)
        if cut is None:
            return {}, ()
        notebook = self.queue.notebook(str(job.notebook))
        said = twin_blocks.run(
            self.context.area.folder("jobs") / str(job.id) / "twin-blocks", plan=cut, project=str(job.project), infos=infos,
            files={name: self.registry.twin_view(name, infos[name].columns) for name in cut.datasets},
            notebook=notebook, parameters=str(job.parameters), lane=lane,
            most=policies.area.blocks.twin, seconds=policies.area.sandbox.wall_seconds,
        )  # fmt: skip
        silent = twin_blocks.silent(said)
        notes = (
            f"{silent} of {len(said)} blocks of the twin gave nothing: see that the notebook copes with few rows, in time",
        )
        return twin_blocks.spreads(said, emitted.estimates), (*instead.hints(notebook), *(notes if silent else ()))

    def _failed(self, lease: Lease, failure: Failure, diagnostics: str) -> None:
        self.queue.rehearsal_failed(lease, failure, diagnostics)
