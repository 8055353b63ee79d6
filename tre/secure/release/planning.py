"""The plan: what a rehearsal asked for, checked by trusted code, priced and given its digest.

Guarantees: a plan is a function of the notebook's rehearsal (which saw the twin and released values only), the policies
and the ledger's released values. Every request in it has been prepared against the declared schema here, whatever the
sandbox claimed; a request already released in the project costs nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import sqlalchemy as sa

from tre.errors import NotAllowed, RequestError, SandboxError
from tre.messages import (
    DatasetInfo,
    Emitted,
    Manifest,
    Parameter,
    Plan,
    PlannedEstimate,
    PlannedOutput,
    PlannedRequest,
    Released,
    World,
)
from tre.rules.accounting import epsilon_of
from tre.rules.policy import Isolation, Measure, Policies, RunRule, unprotected
from tre.secure import ledger
from tre.secure import policies as policy_files
from tre.secure.data.registry import Registry
from tre.secure.database import tables
from tre.secure.release import estimates, few_rows, judging, proposed
from tre.statistics import linking
from tre.statistics.aggregate import open_rows
from tre.statistics.prepare import Prepared, prepare
from tre.statistics.price import price
from tre.statistics.printing import scope
from tre.statistics.references import references, resolve
from tre.statistics.request import Request
from tre.statistics.result import evaluate

MAX_REQUESTS = 50
# Together they take the gateway a few seconds and some hundred megabytes at most.
MAX_PLAN_CELLS = 200_000


class Planner:
    def __init__(self, registry: Registry) -> None:
        self.registry = registry
        # What this process was started for; None where it starts no sandbox.
        self.isolation: Isolation | None = None

    def manifest(
        self,
        connection: sa.Connection,
        policies: Policies,
        project: str,
        world: World,
        *,
        versions: Mapping[str, str] | None = None,
    ) -> Manifest:
        """What a sandbox for this project is told: its datasets that have data and a twin, and what was released to it.

        `versions` are those of a frozen plan; without them, the current ones.
        """
        if world is not World.DESK:
            need_isolation(policy_files.current(connection), policies, self.isolation)
        datasets = {
            name: self.registry.info(connection, policies, project, name, version=(versions or {}).get(name))
            for name in policies.projects[project].datasets
            if (self.registry.ready(connection, name) if versions is None else name in versions)
        }
        alone = [i.version for i in datasets.values()]
        pairs = (linking.version(a, b) for a, b in itertools.permutations(alone, 2))
        released = self.released(connection, project, {*alone, *pairs})
        return Manifest(world=world, project=project, datasets=datasets, released=released)

    def released(self, connection: sa.Connection, project: str, versions: set[str]) -> dict[str, Released]:
        """Every value released to this project from these versions, by request digest."""
        t = tables.ledger
        published = sa.select(tables.releases.c.id).where(tables.releases.c.state == "released")
        query = sa.select(t).where(
            t.c.project == project,
            t.c.state == "released",
            t.c.purpose == "release",
            t.c.dataset_version.in_(versions),
            t.c.release.in_(published),
        )
        found = (Released.model_validate_json(str(row.value)) for row in connection.execute(query))
        return {r.request.digest: r for r in found}

    def plan(
        self,
        connection: sa.Connection,
        policies: Policies,
        *,
        project: str,
        person: str,
        notebook: str,
        parameters: dict[str, Parameter],
        emitted: Emitted,
        blocks: int | None = None,
        twin: estimates.Told | None = None,
        notes: tuple[str, ...] = (),
        contents: Mapping[str, bytes | None] | None = None,
    ) -> Plan:
        """Raises RequestError for whatever the emitted requests may not ask. `contents`: what the rehearsal left of its
        outputs, written anew, by name."""
        if not emitted.requests and not emitted.outputs and not emitted.estimates:
            raise RequestError(
                "plan_empty",
                "The notebook asks for nothing: it has no release, no estimate and no output.",
                "Call .release(…) on a dataset, tre.estimate(…) or tre.output(…).",
            )
        _refuse_clutter(emitted)
        infos = self.manifest(connection, policies, project, World.REHEARSAL).datasets
        seen: set[str] = set()
        cells = 0
        requests: list[PlannedRequest] = []
        hints: list[str | None] = []
        for item in emitted.requests:
            info = _info(infos, item.request)
            self._refer(connection, project, info, item.request, requests)
            prepared = _prepared(item.request, info)
            hints.append(self._rehearse(item.name, prepared, infos))
            cells += prepared.cells
            if cells > MAX_PLAN_CELLS:
                raise _too_large(f"{MAX_PLAN_CELLS:,} numbers")
            known = ledger.stored(connection, project=project, version=info.version, digest=item.request.digest)
            requests.append(
                _planned(
                    item.name, prepared, item.request, info, replayed=known is not None or item.request.digest in seen
                )
            )
            seen.add(item.request.digest)
        costs: dict[str, int] = {}
        for r in requests:
            if not r.replayed:
                costs[r.population] = costs.get(r.population, 0) + r.rho_units
        versions = {name: info.version for name, info in infos.items()}
        cut = estimates.block_plan(policies, infos, emitted, blocks)
        found: tuple[PlannedEstimate, ...] = ()
        if cut is not None:
            cut = cut.model_copy(update={"advice": (*notes, *cut.advice)})
            found = estimates.planned(
                connection,
                policies,
                emitted,
                cut,
                project=project,
                notebook=notebook,
                parameters=parameters,
                versions=versions,
                twin=twin or {},
            )
            new = sum(e.rho_units for e in found if not e.replayed)
            costs |= {cut.population: costs.get(cut.population, 0) + new} if new else {}
        outputs = self._outputs(connection, policies, project, emitted, infos, contents or {})
        return Plan(
            project=project, person=person, notebook=notebook, parameters=parameters,
            datasets=versions, estimates=found, blocks=cut,
            advice=tuple(h for h in (*hints, *self._few(outputs, infos)) if h is not None),
            policy=policy_files.policy_digest(policies), requests=tuple(requests), outputs=outputs, costs=costs,
            automatic=not outputs
            and _within(policies, project, costs)
            and not ledger.taken_back(connection, project, {r.digest for r in requests} | {e.digest for e in found}),
            # A declared table is computed without the notebook.
            run=cut is None and (any(o.declared is None for o in outputs) or _run_rule(policies, project) is RunRule.ALWAYS),
        )  # fmt: skip

    def _outputs(
        self,
        connection: sa.Connection,
        policies: Policies,
        project: str,
        emitted: Emitted,
        infos: Mapping[str, DatasetInfo],
        contents: Mapping[str, bytes | None],
    ) -> tuple[PlannedOutput, ...]:
        """Each with what the rules say of it on the twin, beside what has left to this project."""
        items = [proposed.planned(o, emitted, infos) for o in emitted.outputs]
        before = judging.released(
            connection, self.registry.context.area.folder("outputs"), list(infos), project=project
        )
        limits = policies.area.disclosure.stricter(policies.projects[project].disclosure)
        judged = judging.judge(
            items, contents, infos, lambda name: self.registry.twin_view(name, infos[name].columns), before, limits,
            numbers=False,
        )  # fmt: skip
        for item in items:
            proposed.refuse(judged[item.name].findings)
        return tuple(i.model_copy(update={"findings": judged[i.name].findings}) for i in items)

    def _few(self, outputs: Sequence[PlannedOutput], infos: Mapping[str, DatasetInfo]) -> list[str | None]:
        """What is to be said of declared tables with conditions."""
        found = []
        for o in outputs:
            if o.declared is not None and o.declared.where:
                info = infos[o.declared.dataset]
                with open_rows(self.registry.twin_view(info.id, info.columns)) as twin:
                    found.append(few_rows.of_table(o.name, twin, o.declared, scope(o.declared, info.table)))
        return found

    def _rehearse(self, name: str, prepared: Prepared, infos: Mapping[str, DatasetInfo]) -> str | None:
        """The request on the twin, by trusted code, for nothing: what cannot be computed fails here, before it costs. Returns
        what is to be said of it."""
        own = infos[prepared.request.dataset]
        other = infos[prepared.request.link] if prepared.request.link is not None else None
        rows = self.registry.twin_view(own.id, own.columns)
        link = own.link_to(other, self.registry.twin_view(other.id, other.columns)) if other is not None else None
        with open_rows(rows, link=link) as rows_of_twin:
            evaluate(rows_of_twin, prepared)
            return few_rows.of_request(name, rows_of_twin, prepared)

    def _refer(
        self,
        connection: sa.Connection,
        project: str,
        info: DatasetInfo,
        request: Request,
        earlier: Sequence[PlannedRequest],
    ) -> None:
        """A bound may refer to a single value of an earlier request of this plan, or of one released to the project."""
        for reference in references(request):
            before = [p.request for p in earlier if p.digest == reference.request]
            stored = ledger.stored(connection, project=project, version=info.version, digest=reference.request)
            if stored is not None:
                before.append(Released.model_validate_json(str(stored.value)).request)
            same = [r for r in before if (r.dataset, r.link) == (request.dataset, request.link)]
            if not any(reference.statistic in r.statistics for r in same):
                raise RequestError(
                    "reference_unknown",
                    "A bound refers to a value that no earlier release of this notebook has.",
                    "Make that release first, in the same notebook and from the same dataset.",
                )


def _prepared(request: Request, info: DatasetInfo) -> Prepared:
    """As it is priced: values referred to do not change what a request costs."""
    return prepare(resolve(request, info.table, lambda _: None), info.table, delta=info.delta)


def _planned(name: str, prepared: Prepared, request: Request, info: DatasetInfo, *, replayed: bool) -> PlannedRequest:
    found = price(prepared, delta=info.delta, size=info.size)
    return PlannedRequest(
        name=name, request=request, digest=request.digest, population=info.population,
        dataset_version=info.version, rho_units=prepared.rho_units, delta_units=prepared.delta_units,
        measure=Measure.PURE if prepared.pure else Measure.ZCDP, replayed=replayed,
        expected_error=found.errors(), expected=found.expected,
    )  # fmt: skip


def _refuse_clutter(emitted: Emitted) -> None:
    """A sandbox may have written the list itself: names must differ, also as files, and the whole must stay small."""
    asked = (
        *(r.name for r in emitted.requests),
        *(o.name for o in emitted.outputs),
        *(e.name for e in emitted.estimates),
    )
    names = [n.casefold() for n in asked]
    if len(set(names)) < len(names):
        raise RequestError(
            "name_taken",
            "Two releases or outputs have the same name.",
            "Give each its own; capitals make no difference.",
        )
    if len(emitted.requests) > MAX_REQUESTS:
        raise _too_large(f"{MAX_REQUESTS} releases")


def _too_large(limit: str) -> RequestError:
    return RequestError(
        "plan_too_large", f"The notebook asks for more than {limit}.", "Ask for less at once, or in several notebooks."
    )


def _info(infos: Mapping[str, DatasetInfo], request: Request) -> DatasetInfo:
    """Of the dataset, or of the two that are linked."""
    try:
        return infos[request.dataset] if request.link is None else infos[request.dataset].linked(infos[request.link])
    except KeyError:
        raise RequestError(
            "dataset_unknown",
            "A release names a dataset that the project does not have.",
            "Use the project's datasets.",
        ) from None


def need_isolation(now: Policies, then: Policies, started: Isolation | None) -> None:
    """Nothing is put into a sandbox of an isolation that is not the one in force, or that is too weak for what is here."""
    level = now.area.sandbox.isolation
    if started is not None and started is not level:
        raise SandboxError(
            "isolation_changed",
            f"The area's isolation became {level} while its workers ran.",
            "Start the gateway again.",
        )
    if then.area.sandbox.isolation is not level:
        raise NotAllowed(
            "isolation_outdated",
            f"The plan was made when isolation was {then.area.sandbox.isolation}.",
            "Rehearse again.",
        )
    if unprotected(now) or unprotected(then):
        raise NotAllowed(
            "isolation_too_weak", f"Isolation is {level} here, which is for public data only.", "Ask an admin."
        )


def need_allowed(connection: sa.Connection, plan: Plan) -> None:
    """A plan is computed as it was frozen, but not when the project, a dataset or a column was taken away since, nor without
    people when one of its values was."""
    now = policy_files.current(connection)
    then = policy_files.by_digest(connection, plan.policy)
    project = now.projects.get(plan.project)
    for name in plan.datasets:
        mine = set(then.projects[plan.project].datasets[name])
        if project is None or name not in now.datasets or not mine <= set(project.datasets.get(name, ())):
            raise NotAllowed("no_longer_allowed", "The project may no longer use what it planned.", "Rehearse again.")
    if plan.automatic and ledger.taken_back(
        connection, plan.project, {r.digest for r in plan.requests} | {e.digest for e in plan.estimates}
    ):
        raise NotAllowed(
            "value_revoked", "A value of this plan was revoked: only people let it out again.", "Rehearse again."
        )


def _run_rule(policies: Policies, project: str) -> RunRule:
    return policies.projects[project].run or policies.area.run


def _within(policies: Policies, project: str, costs: Mapping[str, int]) -> bool:
    """Whether the policy lets statistics of this price out without people."""
    mine = policies.projects[project].automatic_epsilon
    limit = policies.area.review.automatic_epsilon if mine is None else mine
    return limit > 0 and all(
        epsilon_of(units, policies.populations[population].lifetime.delta) <= limit
        for population, units in costs.items()
    )
