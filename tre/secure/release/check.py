"""The check: computes a release's planned statistics on real rows, charged first, drawn once, stored.

Guarantees: what is computed is the frozen plan's request and nothing that any run said; each charge is spent, durably,
before its rows are read, and its value stored with the release of the charge in one transaction; a value that exists for
the same request, version and project is used again and the reservation given back. A failure of any kind after the
spending is told in one way only, as lost.
"""

from __future__ import annotations

from collections.abc import Mapping

from tre.messages import DatasetInfo, Plan, PlannedRequest, Released
from tre.rules.ledger import Charge
from tre.rules.policy import Policies
from tre.secure import ledger, ticks
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.jobs.leases import Hold
from tre.secure.release.estimates import Estimates, Report
from tre.statistics.aggregate import open_rows
from tre.statistics.kinds import Reference
from tre.statistics.prepare import Prepared, prepare
from tre.statistics.references import resolve, value_of
from tre.statistics.result import evaluate
from tre.statistics.table import Table


class Check:
    def __init__(self, context: Context, registry: Registry, report: Report) -> None:
        self.context = context
        self.registry = registry
        self.report = report  # (event, detail) for the operator's log
        self.estimates = Estimates(context, report)

    def run(self, release: str, plan: Plan, policies: Policies, *, hold: Hold) -> None:
        """Every reserved charge of the release becomes released, given back or lost. Safe to call again after a crash."""
        self._lose_interrupted(release, hold)
        with self.context.database.read() as connection:
            waiting = [e for e in ledger.entries(connection, release) if e.state == Charge.RESERVED]
        for entry in waiting:
            position = int(entry.position)
            if position < len(plan.requests):
                self._one(int(entry.id), release, plan, plan.requests[position], policies, hold)
            else:
                planned = plan.estimates[position - len(plan.requests)]
                self.estimates.draw(int(entry.id), release, plan, planned, hold)
        self.estimates.forget(release)

    def _earlier(self, project: str, version: str, reference: Reference) -> float | None:
        """The value referred to, if it was released from this version to this project; lost or drowned ones are None."""
        with self.context.database.read() as connection:
            found = ledger.stored(connection, project=project, version=version, digest=reference.request)
        if found is None:
            return None
        try:
            return value_of(Released.model_validate_json(str(found.value)).table, reference)
        except KeyError:
            return None

    def _lose_interrupted(self, release: str, hold: Hold) -> None:
        """Spent, and no value: a process died in between. Drawing again would be choosing one's noise."""
        with self.context.database.write() as connection:
            hold(connection)
            for entry in ledger.entries(connection, release):
                if entry.state == Charge.SPENT:
                    ledger.lose(connection, int(entry.id), at=self.context.now())

    def _one(
        self, entry: int, release: str, plan: Plan, planned: PlannedRequest, policies: Policies, hold: Hold
    ) -> None:
        database, version, project = self.context.database, planned.dataset_version, plan.project
        with database.read() as connection:
            infos = {
                name: self.registry.info(connection, policies, project, name, version=plan.datasets[name])
                for name in (planned.request.dataset, planned.request.link)
                if name is not None
            }
        prepared = self._prepared(planned, project, infos)
        with database.write() as connection:
            hold(connection)
            if ledger.stored(connection, project=project, version=version, digest=planned.digest) is not None:
                ledger.give_back(connection, entry, at=ticks.moment(self.context, connection))
                return
            ledger.spend(connection, entry, at=self.context.now())
        try:
            table = self._draw(planned, prepared, infos)
        except Exception as error:  # whatever it was, it came after the spending
            self.report("check.failed", f"{release} {planned.name}: {type(error).__name__}")
            with database.write() as connection:
                hold(connection)
                ledger.lose(connection, entry, at=self.context.now())
            return
        value = Released(
            name=planned.name, request=planned.request, release=release, dataset_version=version, table=table
        )
        with database.write() as connection:
            hold(connection)
            ledger.store(connection, entry, value.model_dump_json(), at=self.context.now())

    def _prepared(self, planned: PlannedRequest, project: str, infos: Mapping[str, DatasetInfo]) -> Prepared:
        """Prepared anew from the request, values referred to in their place; its price must be the one reserved."""
        info = infos[planned.request.dataset]
        if planned.request.link is not None:
            info = info.linked(infos[planned.request.link])
        request = resolve(planned.request, info.table, lambda r: self._earlier(project, info.version, r))
        prepared = prepare(request, info.table, delta=info.delta)
        price = prepared.rho_units, prepared.delta_units
        same = planned.request.digest == planned.digest and info.version == planned.dataset_version
        if price != (planned.rho_units, planned.delta_units) or not same:
            raise RuntimeError("a planned request is not what was priced")
        return prepared

    def _draw(self, planned: PlannedRequest, prepared: Prepared, infos: Mapping[str, DatasetInfo]) -> Table:
        info, other = infos[planned.request.dataset], planned.request.link
        rows = {name: self.registry.rows(name, i.version) for name, i in infos.items()}
        link = None if other is None else info.link_to(infos[other], rows[other])
        with open_rows(rows[info.id], link=link, by_identifier=link is not None) as connection:
            return evaluate(connection, prepared)
