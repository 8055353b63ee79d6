"""The worker: two lanes that take work from the database until told to stop.

Guarantees: what reads real rows in a sandbox has a lane of its own, so that how long a run takes never delays a rehearsal
or a statistic, and so tells nobody anything; each step is safe to repeat after a kill; an unexpected fault of ours ends
the job, is written to the operator's log by its type only, and is told to the desk in one fixed sentence.
"""

from __future__ import annotations

import logging
import threading
import traceback
from collections.abc import Callable

import sqlalchemy as sa

from tre.errors import Conflict, NotAllowed, SandboxError, TreError
from tre.messages import Failure, Plan, Stage, World
from tre.rules.ledger import Charge
from tre.rules.lifecycle import Job, Release
from tre.rules.policy import Policies
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.database import tables
from tre.secure.jobs import runner
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.sandbox import Ended
from tre.secure.release import outputs, review
from tre.secure.release.bundle import Bundler
from tre.secure.release.check import Check
from tre.secure.release.planning import Planner

log = logging.getLogger("tre.worker")
IDLE_SECONDS = 0.5
# A rehearsal that ended the gateway twice (by its memory, say) is not tried a third time.
MAX_REHEARSALS = 2

OUR_FAULT = Failure(
    code="internal_error",
    message="Something went wrong on our side.",
    next_step="Submit again; if it happens twice, tell an admin the job's number.",
)


def fault(error: Exception) -> str:
    """Where and of what type: an exception's own text could quote a value of a row."""
    frames = traceback.extract_tb(error.__traceback__)
    places = [f"{f.filename.rpartition('/tre/')[2]}:{f.lineno}" for f in frames if "/tre/" in f.filename]
    return f"{type(error).__name__} at {' < '.join(reversed(places)) or 'an unknown place'}"


class Worker:
    def __init__(
        self, context: Context, queue: Queue, registry: Registry, planner: Planner, check: Check, bundler: Bundler
    ) -> None:
        self.context, self.queue, self.registry = context, queue, registry
        self.planner, self.check, self.bundler = planner, check, bundler
        self._stop = threading.Event()
        self._wake = {"desk": threading.Event(), "runs": threading.Event()}
        self._threads: list[threading.Thread] = []

    def start(self) -> None:
        self.queue.interrupted()
        for lane, step in (("desk", self.desk_step), ("runs", self.run_step)):
            thread = threading.Thread(target=self._lane, args=(lane, step), name=f"tre-{lane}", daemon=True)
            thread.start()
            self._threads.append(thread)

    def stop(self) -> None:
        """Finish the steps under way, then end."""
        self._stop.set()
        self.wake()
        for thread in self._threads:
            thread.join(timeout=10)

    def wake(self) -> None:
        for event in self._wake.values():
            event.set()

    def _lane(self, name: str, step: Callable[[], bool]) -> None:
        while not self._stop.is_set():
            try:
                worked = step()
            except Exception as error:
                log.error("a step of lane %s failed: %s", name, fault(error))
                worked = False
            if not worked:
                self._wake[name].wait(IDLE_SECONDS)
                self._wake[name].clear()

    # The lane of rehearsals and statistics

    def desk_step(self) -> bool:
        """One step of work, if there is any: a release first, then a rehearsal."""
        for release in self._unfinished():
            if self._advance(release):
                return True
        job = self.queue.next(Job.REHEARSING)
        if job is not None:
            self._rehearse(job)
            return True
        return False

    def _rehearse(self, job: sa.Row[tuple[object, ...]]) -> None:
        diagnostics = ""
        if self.queue.start_rehearsal(str(job.id)) > MAX_REHEARSALS:
            self.queue.rehearsal_failed(str(job.id), OUR_FAULT, "rehearsed before, and each time the process ended")
            return
        try:
            with self.context.database.read() as connection:
                policies = policy_files.current(connection)
                manifest = self.planner.manifest(connection, policies, str(job.project), World.REHEARSAL)
            files = {name: self.registry.twin_view(name, info.columns) for name, info in manifest.datasets.items()}
            folder = self.context.area.folder("jobs") / str(job.id) / "rehearsal"
            ran = runner.run(
                folder, manifest=manifest, files=files, notebook=self.queue.notebook(str(job.notebook)),
                parameters=str(job.parameters), limits=policies.area.sandbox,
            )  # fmt: skip
            diagnostics = ran.diagnostics
            if ran.failure is not None:
                self.queue.rehearsal_failed(str(job.id), ran.failure, diagnostics)
                return
            self.queue.planned(str(job.id), self._plan(job, policies, ran))
        except Conflict:  # withdrawn meanwhile
            return
        except TreError as error:
            failure = Failure(code=error.code, message=error.message, next_step=error.next_step)
            self.queue.rehearsal_failed(str(job.id), failure, diagnostics)
        except Exception as error:
            log.error("the rehearsal of %s failed: %s", job.id, fault(error))
            self.queue.rehearsal_failed(str(job.id), OUR_FAULT, diagnostics)

    def _plan(self, job: sa.Row[tuple[object, ...]], policies: Policies, ran: runner.Ran) -> Plan:
        import json

        if ran.emitted is None:
            raise SandboxError(
                "emitted_malformed", "What the notebook asked for cannot be read.", "Use the calls of `tre` only."
            )
        with self.context.database.read() as connection:
            return self.planner.plan(
                connection, policies, project=str(job.project), person=str(job.person), notebook=str(job.notebook),
                parameters=json.loads(str(job.parameters)), emitted=ran.emitted,
            )  # fmt: skip

    # Releases

    def _unfinished(self) -> list[sa.Row[tuple[object, ...]]]:
        t = tables.releases
        open_states = (Release.CHECKING, Release.APPROVED, Release.RELEASING)
        with self.context.database.read() as connection:
            return list(
                connection.execute(sa.select(t).where(t.c.state.in_(open_states)).order_by(t.c.created_at, t.c.id))
            )

    def _advance(self, release: sa.Row[tuple[object, ...]]) -> bool:
        """Take a release one step on; False when it waits for people or for a run."""
        with self.context.database.read() as connection:
            job = self.queue.row(connection, str(release.job))
            plan, name = Plan.model_validate_json(job.plan), str(release.id)
            policies = policy_files.by_digest(connection, plan.policy)
        match Release(str(release.state)):
            case Release.CHECKING:
                return self._after_checking(name, plan, Job(job.state))
            case Release.APPROVED:
                self._move(name, Release.RELEASING)
                return True
            case _:
                self._release(name, str(job.id), plan, policies)
                return True

    def _after_checking(self, release: str, plan: Plan, job: Job) -> bool:
        if plan.automatic:
            self._move(release, Release.APPROVED)
            return True
        if plan.outputs and job in (Job.QUEUED, Job.RUNNING):
            return False
        self._move(release, Release.IN_REVIEW)
        return True

    def _release(self, release: str, job: str, plan: Plan, policies: Policies) -> None:
        """Charge, draw, store, bundle, sign: then the desk may see it, from the next tick."""
        try:
            self._need_allowed(plan)
            self.check.run(release, plan, policies)
            bundle = self.bundler.build(release, plan, policies)
        except Exception as error:
            log.error("the release %s failed: %s", release, fault(error))
            self._fail(release, job)
            return
        with self.context.database.write() as connection:
            review.move(self.context, connection, release, Release.RELEASED, bundle=bundle)
            self.queue.publish(connection, job, Stage.RELEASED)

    def _need_allowed(self, plan: Plan) -> None:
        """A plan is computed as it was frozen, but not when the project, a dataset or a column was taken away since."""
        with self.context.database.read() as connection:
            now = policy_files.current(connection)
            then = policy_files.by_digest(connection, plan.policy)
        project = now.projects.get(plan.project)
        for name in plan.datasets:
            mine = set(then.projects[plan.project].datasets[name])
            if project is None or name not in now.datasets or not mine <= set(project.datasets.get(name, ())):
                raise NotAllowed(
                    "no_longer_allowed", "The project may no longer use what it planned.", "Rehearse again."
                )

    def _fail(self, release: str, job: str) -> None:
        """A fault of ours: what was not spent is given back, what was spent stays, and the job ends."""
        at = self.context.now()
        with self.context.database.write() as connection:
            for entry in ledger.entries(connection, release):
                if entry.state == Charge.RESERVED:
                    ledger.give_back(connection, int(entry.id), at=at)
                elif entry.state == Charge.SPENT:
                    ledger.lose(connection, int(entry.id), at=at)
            review.move(self.context, connection, release, Release.FAILED)
            self.queue.publish(connection, job, Stage.FAILED)

    def _move(self, release: str, after: Release) -> None:
        with self.context.database.write() as connection:
            review.move(self.context, connection, release, after)

    # The lane of runs on real rows

    def run_step(self) -> bool:
        job = self.queue.next(Job.QUEUED)
        if job is None:
            return False
        attempt = self.queue.start_run(str(job.id))
        try:
            state, diagnostics = self._run(job, attempt)
        except Exception as error:
            log.error("the run of %s failed: %s", job.id, fault(error))
            state, diagnostics = Job.FAILED, type(error).__name__
            self._collect(job, None)
        with self.context.database.write() as connection:
            self.queue.move(connection, str(job.id), Job.RUNNING, state, diagnostics=diagnostics)
        self._wake["desk"].set()
        return True

    def _run(self, job: sa.Row[tuple[object, ...]], attempt: int) -> tuple[Job, str]:
        """The notebook on real rows; its outputs are collected, everything else it wrote stays where it is."""
        plan = Plan.model_validate_json(str(job.plan))
        self._need_allowed(plan)
        with self.context.database.read() as connection:
            policies = policy_files.by_digest(connection, plan.policy)
            manifest = self.planner.manifest(connection, policies, plan.project, World.RUN, versions=plan.datasets)
        files = {
            name: self.registry.view(self.registry.rows(name, info.version), info.columns)
            for name, info in manifest.datasets.items()
        }
        folder = self.context.area.folder("jobs") / str(job.id) / f"run-{attempt}"
        ran = runner.run(
            folder, manifest=manifest, files=files, notebook=self.queue.notebook(plan.notebook),
            parameters=str(job.parameters), limits=policies.area.sandbox,
        )  # fmt: skip
        self._collect(job, ran)
        states = {Ended.FINISHED: Job.FINISHED, Ended.TIMED_OUT: Job.TIMED_OUT, Ended.CANCELLED: Job.CANCELLED}
        return states.get(ran.ended, Job.FAILED), ran.diagnostics

    def _collect(self, job: sa.Row[tuple[object, ...]], ran: runner.Ran | None) -> None:
        """The planned outputs, or their absence, for the checkers."""
        t = tables.releases
        plan = Plan.model_validate_json(str(job.plan))
        with self.context.database.read() as connection:
            policies = policy_files.by_digest(connection, plan.policy)
            release = connection.execute(sa.select(t.c.id).where(t.c.job == job.id)).scalar_one()
        outputs.collect(self.context, ran, release, plan, policies)
