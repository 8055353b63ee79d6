"""The composition root: builds the secure side's parts once, and offers the gateway and the admin's commands what they
may call. The only place with a clock.

Guarantees: every call that a person can make starts with who they are and what they may; a job or release of another
project does not exist for them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tre import archive
from tre.errors import Conflict, NotFound
from tre.messages import (
    Confirmation,
    DatasetInfo,
    Failure,
    JobView,
    Me,
    OutputKind,
    Plan,
    ReleaseInfo,
    ReviewInfo,
    Stage,
    Submission,
    Vote,
)
from tre.rules import heads, permissions
from tre.rules.accounting import epsilon_of
from tre.rules.balances import Balance
from tre.rules.ledger import COUNTS
from tre.rules.policy import Isolation, Policies, Role
from tre.secure import applying, audit, budgets, discussion, ledger, ticks, tokens, tree
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.database import Database, tables
from tre.secure.identity import Identity
from tre.secure.jobs import block_store, ended, runner
from tre.secure.jobs.block_store import AUTO
from tre.secure.jobs.queue import Queue
from tre.secure.notices import Notices
from tre.secure.publishing import Publishing
from tre.secure.replicas import Replicas
from tre.secure.settings import AreaFolder

# Loaded when first needed: an admin's command need not wait for the engines of a gateway.
if TYPE_CHECKING:
    from tre.secure.jobs.worker import Worker
    from tre.secure.release.bundle import Bundler
    from tre.secure.release.planning import Planner
    from tre.secure.release.review import Desk

log = logging.getLogger("tre")


def create(root: Path, *, database: str | None = None) -> Services:
    """A new area with an empty, migrated database: a file of its own, or an empty one on the server of that address."""
    if database is not None:
        Database(database).refuse_used()
    return _build(AreaFolder.create(root, database=database))


def open_area(root: Path) -> Services:
    return _build(AreaFolder.open(root))


def restore(file: Path, root: Path) -> Services:
    """A new area made of a backup."""
    from tre.secure import backup

    moment = backup.made(file)

    def mark(part: Path) -> None:
        services = open_area(part)
        backup.mark(services.context, moment)
        services.close()

    backup.restore(file, root, mark)
    return open_area(root)


def _build(area: AreaFolder) -> Services:
    database = Database(area.database)
    database.migrate()
    return Services(Context(area=area, database=database, clock=lambda: datetime.now(UTC)))


class Services:
    def __init__(self, context: Context) -> None:
        self.context = context
        # Tells the workers that there is something to do; they would find it themselves, a moment later.
        self.wake: Callable[[], None] = lambda: None
        self.queue = Queue(context)
        self.registry = Registry(context)
        self.notices = Notices(context)
        self.twins, self.replicas = Publishing(context, self.registry), Replicas(context, self.registry)
        self.identity = Identity(context)

    @cached_property
    def planner(self) -> Planner:
        from tre.secure.release.planning import Planner

        return Planner(self.registry)

    @cached_property
    def bundler(self) -> Bundler:
        from tre.secure.release.bundle import Bundler

        return Bundler(self.context, self.planner)

    @cached_property
    def reviews(self) -> Desk:
        from tre.secure.release.review import Desk

        return Desk(self.context, self.queue)

    def worker(self, isolation: Isolation | None = None) -> Worker:
        """A new worker; it is started and stopped by whoever asks for it, and made sure of this isolation.

        Raises Conflict in a restored area.
        """
        self.need_whole()
        from tre.secure.jobs.worker import Worker
        from tre.secure.release.check import Check

        check = Check(self.context, self.registry, lambda event, detail: log.error("%s: %s", event, detail))
        self.planner.isolation = isolation or self.isolation()
        return Worker(self.context, self.queue, self.registry, self.planner, check, self.bundler)

    def isolation(self) -> Isolation:
        """What is in force; full before any policies are."""
        with self.context.database.read() as connection:
            policies = policy_files.latest(connection)
        return policies.area.sandbox.isolation if policies else Isolation.FULL

    def refuse_leaks(self) -> Isolation:
        """Before anything is served: attacks the cage, and says what it is. SandboxError where it does not hold."""
        from tre.secure.isolation import start

        level = self.isolation()
        start.refuse_leaks(level)
        return level

    def close(self) -> None:
        self.context.database.close()

    # Admin (at the area's own machine; the folder's permissions are the authority)

    def apply(
        self, folder: Path, *, dry_run: bool, person: str | None = None, reason: str | None = None
    ) -> applying.Outcome:
        """What would change, applied unless `dry_run`; a raise of a budget needs a reason, and maybe a second admin."""
        return applying.apply(self.context, folder, dry_run=dry_run, person=person, reason=reason)

    def raises(self) -> list[dict[str, Any]]:
        return applying.proposals(self.context)

    def confirm_raise(self, proposal: str, *, person: str) -> applying.Outcome:
        return applying.confirm(self.context, proposal, person=person)

    def make_token(self, person: str) -> str:
        """A new bearer token, shown once."""
        return tokens.make(self.context, person)

    def withdraw_tokens(self, person: str) -> int:
        """All of a person's; returns how many."""
        return tokens.withdraw(self.context, person)

    def ingest(self, dataset: str, files: list[Path], *, drop_invalid: bool) -> dict[str, Any]:
        return self.registry.ingest("admin", dataset, files, drop_invalid=drop_invalid)

    def make_twin(self, dataset: str, done: Callable[[int, int], None] = lambda *_: None) -> dict[str, Any]:
        return self.registry.make_twin("admin", dataset, done)

    def budgets(self, dataset: str | None = None) -> list[dict[str, Any]]:
        """Every population's accounts with their history, or one dataset's population."""
        with self.context.database.read() as connection:
            policies = policy_files.current(connection)
            names = list(policies.populations)
            if dataset is not None:
                if dataset not in policies.datasets:
                    raise NotFound("dataset_unknown", f"No policy declares {dataset[:80]!r}.", "See policies/datasets.")
                names = [policies.datasets[dataset].population]
            return [budgets.overview(connection, policies, name, at=self.context.now()) for name in names]

    def audit_head(self, since: bytes | None = None) -> dict[str, Any]:
        """A signed head of the log, with a proof about an earlier one. Raises VerificationFailed for what is none."""
        return tree.head(self.context, None if since is None else heads.read(since))

    def verify_audit(self, witnessed: Mapping[str, bytes] | None = None) -> dict[str, Any]:
        """The chain, and every receipt's commitment to it: a log rewritten after a release no longer fits its receipt.

        `witnessed`: signed heads that somebody outside has kept, by what they are called.
        """
        kept = heads.named(witnessed or {})
        t = tables.releases
        nothing: dict[str, Any] = {
            "entries": 0, "head": "", "receipts_that_do_not_fit": [], "changed_files": [], "does_not_fit": None, "wrong_node": None,
            "witnessed": len(kept),
        }  # fmt: skip
        with self.context.database.read() as connection:
            first = audit.first_broken(connection)
            if first is not None:  # what follows reads entries that may not be there any more
                return nothing | {"entries": first - 1, "first_broken": first}
            entries, head = audit.head(connection)
            known = set(self.context.area.commitments(audit.heads(connection)))
            query = sa.select(t.c.id, t.c.bundle).where(t.c.state.in_(("released", "revoked"))).order_by(t.c.id)
            released = connection.execute(query).all()
            checked = {str(r.id): self.bundler.changed(str(r.id), str(r.bundle)) for r in released}
            strangers = [r for r, c in checked.items() if c is None and self.bundler.commitment(r) not in known]
            wrong, witness = tree.wrong_node(connection), tree.check(connection, kept)
            return nothing | {
                "entries": entries, "head": head, "first_broken": None, "receipts_that_do_not_fit": strangers,
                "changed_files": [c for c in checked.values() if c is not None], "wrong_node": wrong, "does_not_fit": witness or ("tree" if wrong else None),
            }  # fmt: skip

    def need_whole(self) -> None:
        """Raises Conflict in an area made of a backup that nobody has answered for."""
        with self.context.database.read() as connection:
            ledger.need_whole(connection)

    def register(self, folder: Path) -> dict[str, Any]:
        from tre.secure import register

        return register.write(self.context, self.queue, folder)

    def backup(self, file: Path) -> dict[str, Any]:
        from tre.secure import backup

        return backup.create(self.context, file)

    def accept_restored(self, reason: str) -> None:
        from tre.secure import backup

        backup.accept(self.context, reason=reason)

    def need_admin(self, person: str) -> None:
        self._policies(person, Role.ADMIN)

    # Everyone, by token

    def me(self, person: str) -> Me:
        policies = self._policies(person)
        found = policies.people[person]
        projects = tuple(permissions.projects_of(policies, person))
        return Me(person=person, name=found.name, role=found.role.value, projects=projects)

    def knowing(self, person: str) -> Policies:
        """The policies in force, for whoever is known by them."""
        return self._policies(person)

    def _policies(self, person: str, *roles: Role) -> Policies:
        with self.context.database.read() as connection:
            policies = policy_files.current(connection)
        found = permissions.person(policies, person, self.context.today())
        if roles:
            permissions.need_role(found, *roles)
        return policies

    # Researchers

    def datasets(self, person: str) -> list[DatasetInfo]:
        """The datasets of the person's projects that have data; the widest set of columns where several projects do."""
        policies = self._policies(person, Role.RESEARCHER)
        found: dict[str, DatasetInfo] = {}
        with self.context.database.read() as connection:
            for project in permissions.projects_of(policies, person):
                for name in policies.projects[project].datasets:
                    info = self._info(connection, policies, project, name)
                    if info is not None and (name not in found or len(info.columns) > len(found[name].columns)):
                        found[name] = info
        return list(found.values())

    def _info(self, connection: sa.Connection, policies: Policies, project: str, name: str) -> DatasetInfo | None:
        try:
            return self.registry.info(connection, policies, project, name)
        except NotFound:  # declared, and not ingested yet
            return None

    def dataset(self, person: str, name: str) -> DatasetInfo:
        for info in self.datasets(person):
            if info.id == name:
                return info
        raise NotFound(
            "dataset_unknown", f"None of your projects has a dataset {name[:80]!r}.", "List them: tre datasets"
        )

    def twin(self, person: str, name: str) -> bytes:
        return self.registry.twin_view(name, self.dataset(person, name).columns).read_bytes()

    def submit(self, person: str, submission: Submission) -> JobView:
        policies = self._policies(person, Role.RESEARCHER)
        project = permissions.project(policies, person, submission.project)
        permissions.need_running(project, self.context.today())
        job = self.queue.submit(
            person=person, project=submission.project, content=submission.notebook.encode(),
            parameters=submission.parameters, blocks=AUTO if submission.blocks == "auto" else submission.blocks,
            name=submission.name,
        )  # fmt: skip
        self.wake()
        return self.job(person, job)

    def confirm(self, person: str, job: str, confirmation: Confirmation) -> JobView:
        policies = self._policies(person, Role.RESEARCHER)
        project = permissions.project(policies, person, self._own(person, job).project)
        permissions.need_running(project, self.context.today())
        self.queue.confirm(person=person, job=job, plan_digest=confirmation.plan, exceptions=confirmation.exceptions)
        self.wake()
        return self.job(person, job)

    def withdraw(self, person: str, job: str) -> JobView:
        self._policies(person, Role.RESEARCHER)
        self._own(person, job)
        self.queue.withdraw(person=person, job=job)
        self.wake()
        return self.job(person, job)

    def jobs(self, person: str) -> list[JobView]:
        """The person's own, newest first."""
        policies = self._policies(person, Role.RESEARCHER)
        t = tables.jobs
        with self.context.database.read() as connection:
            query = sa.select(t).where(t.c.person == person).order_by(t.c.submitted_at.desc(), t.c.id)
            return [self._view(connection, policies, row, short=True) for row in connection.execute(query)]

    def job(self, person: str, job: str) -> JobView:
        policies = self._policies(person, Role.RESEARCHER)
        self._own(person, job)
        with self.context.database.read() as connection:
            # Read again with what is published of it, as one state: a stage never comes without its plan.
            return self._view(connection, policies, self.queue.row(connection, job))

    def _own(self, person: str, job: str) -> sa.Row[Any]:
        with self.context.database.read() as connection:
            row = self.queue.row(connection, job)
        if row.person != person:
            raise NotFound("job_unknown", f"There is no job {job[:40]!r} of yours.", "List them: tre jobs")
        return row

    def _view(self, connection: sa.Connection, policies: Policies, row: sa.Row[Any], *, short: bool = False) -> JobView:
        stage, since = self.queue.visible(connection, row.id)
        release = connection.execute(sa.select(tables.releases.c.id).where(tables.releases.c.job == row.id)).scalar()
        plan = Plan.model_validate_json(row.plan) if row.plan and not short else None
        shown = plan if stage is Stage.PLANNED else None
        costs = budgets.costs(connection, policies, shown, at=self.context.now()) if shown else ()
        times = block_store.schedule_of(connection, row.id)
        decided = stage in (Stage.RELEASED, Stage.RETURNED, Stage.REJECTED, Stage.REVOKED)
        return JobView(
            id=row.id, name=row.name, project=row.project, person=row.person, stage=stage, submitted=row.submitted_at,
            progress=runner.progress(self.context.area.folder("jobs"), row) if stage is Stage.REHEARSING else None,
            updated=ticks.stamp(since), plan=plan, plan_digest=row.plan_digest, costs=costs,
            failure=Failure.model_validate_json(row.failure) if row.failure and not short else None,
            release=release, run=ended.for_desk(connection, policies, row, stage, self.context.seconds()),
            begins=ticks.stamp(times.begins) if times is not None else None,
            due=ticks.stamp(times.due) if times is not None else None,
            comments=discussion.told(connection, release, revoked=stage is Stage.REVOKED) if release and decided else (),
        )  # fmt: skip

    def budget(self, person: str, project: str) -> list[Balance]:
        """The project's accounts: its allowance and its population's budget, for each population."""
        policies = self._policies(person, Role.RESEARCHER)
        permissions.project(policies, person, project)
        with self.context.database.read() as connection:
            return budgets.of_project(connection, policies, project, at=self.context.now())

    def releases(self, person: str) -> list[ReleaseInfo]:
        """Those of the person's projects that the desk may already see."""
        policies = self._policies(person, Role.RESEARCHER)
        mine = permissions.projects_of(policies, person)
        t = tables.releases
        with self.context.database.read() as connection:
            rows = connection.execute(
                sa.select(t).where(t.c.project.in_(mine)).order_by(t.c.created_at.desc(), t.c.id)
            ).all()
            infos = [self._release_info(connection, policies, row) for row in rows]
        return [i for i in infos if i.stage in (Stage.RELEASED, Stage.REVOKED)]

    def _release_info(self, connection: sa.Connection, policies: Policies, row: sa.Row[Any]) -> ReleaseInfo:
        stage, since = self.queue.visible(connection, row.job)
        plan = Plan.model_validate_json(self.queue.row(connection, row.job).plan)
        charged: dict[str, int] = {}
        for e in ledger.entries(connection, row.id):
            if e.state in COUNTS:
                charged[str(e.population)] = charged.get(str(e.population), 0) + int(e.rho_units)
        return ReleaseInfo(
            id=row.id, job=row.job, project=row.project, person=row.person, stage=stage, updated=ticks.stamp(since),
            statistics=len(plan.requests) + len(plan.estimates), outputs=len(plan.outputs),
            charged={p: round(epsilon_of(u, policies.populations[p].lifetime.delta), 6) for p, u in charged.items()},
        )  # fmt: skip

    def bundle(self, person: str, release: str) -> bytes:
        """The release as one archive."""
        stages = {r.id: r.stage for r in self.releases(person)}
        if stages.get(release) is Stage.REVOKED:
            raise Conflict("release_revoked", "This release was revoked.", "See why: tre job ID; delete your copies.")
        if release not in stages:
            raise NotFound(
                "release_unknown",
                f"There is no release {release[:40]!r} for you.",
                "List them: tre releases. What was approved just now is there after the area's next tick.",
            )
        return archive.pack(release, self.bundler.files(release))

    # Output checkers

    def checking(self, person: str, *others: Role) -> Policies:
        """The policies in force, for whoever is an output checker by them, or of another of these roles."""
        return self._policies(person, Role.CHECKER, *others)

    def review_queue(self, person: str) -> list[ReviewInfo]:
        policies = self.checking(person)
        with self.context.database.read() as connection:
            return self.reviews.waiting(connection, policies, person)

    def review(self, person: str, release: str) -> ReviewInfo:
        return self.reviews.look(self.checking(person), person, release)

    def review_output(self, person: str, release: str, name: str) -> tuple[OutputKind, bytes]:
        return self.reviews.output(self.checking(person), person, release, name)

    def review_notebook(self, person: str, release: str) -> str:
        """The executed notebook as a page that does nothing."""
        return self.reviews.notebook(self.checking(person), person, release)

    def vote(self, person: str, release: str, vote: Vote) -> ReviewInfo:
        policies = self.checking(person)
        self.reviews.vote(policies, person, release, vote)
        self.wake()
        with self.context.database.read() as connection:
            return self.reviews.info(connection, release, person)

    @property
    def receipt_key(self) -> str:
        return self.context.area.public_key
