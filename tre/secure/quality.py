"""Quality for admins: measured on real rows, which stays inside; and the statement, which may be published.

Guarantees: the statement's numbers are noise that was charged before a row was read for them, drawn once for a version, its
checks and its price, and stored with the charge; without an epsilon in the policy no row is read for a statement at all.
A draw that is interrupted is lost with its charge.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from tre.errors import Conflict, PolicyError
from tre.rules import quality_statement
from tre.rules.accounting import rho_of
from tre.rules.canonical import digest
from tre.rules.policy import Dataset, Measure, Policies
from tre.rules.quality import Report
from tre.rules.quality_statement import Noised
from tre.secure import audit, ledger
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.database import tables


class Quality:
    def __init__(self, context: Context, registry: Registry) -> None:
        self.context = context
        self.registry = registry

    def measure(self, name: str, files: Sequence[Path] = ()) -> Report:
        """Of the current version, stored with it; or of files that were not ingested, and then stored nowhere."""
        from tre.secure.data import quality_reports

        with self.context.database.read() as connection:
            dataset = _declared(policy_files.current(connection), name)
            references = self.registry.references(connection, name, dataset)
            version = None if files else self.registry.version(connection, name)
            came = None if version is None else self._version(connection, version).ingested_at
        sources = list(files) if version is None else [self.registry.rows(name, version)]
        report = quality_reports.make(
            self.context, name, dataset, sources, references, version=version, ingested_at=came
        )
        if version is not None:
            with self.context.database.write() as connection:
                quality_reports.store(connection, report, at=self.context.now())
        return report

    def statement(self, name: str, *, person: str = "admin") -> dict[str, Any]:
        """Raises BudgetExceeded where its noise cannot be paid for: then nothing is drawn and nothing is written."""
        from tre.secure.data.quality_reports import schema_digest

        with self.context.database.read() as connection:
            policies = policy_files.current(connection)
            dataset = _declared(policies, name)
            version = self.registry.version(connection, name)
            row = self._version(connection, version)
        noised = None
        if dataset.quality.epsilon is not None:
            noised = self._noised(person, policies, name, version, dataset.quality.epsilon)
        declared = schema_digest(dataset)
        return quality_statement.statement(
            name, policies, version=version, came=datetime.fromisoformat(row.ingested_at).date(), schema_digest=declared,
            as_ingested=declared == row.schema_digest, made=self.context.today(), noised=noised,
        )  # fmt: skip

    def _noised(self, person: str, policies: Policies, name: str, version: str, epsilon: float) -> Noised:
        """The stored counts of this version at this price, else charged and then drawn, once."""
        dataset, database = policies.datasets[name], self.context.database
        population = policies.populations[dataset.population]
        delta, units = population.lifetime.delta, rho_of(epsilon, population.lifetime.delta)
        with database.write() as connection:
            references = self.registry.references(connection, name, dataset)
            checks = quality_statement.noisy_checks(name, policies, references)
            request = digest(
                {
                    "quality": [c.model_dump(mode="json") for c in checks], "unit": dataset.unit.model_dump(mode="json"),
                    "references": {d: None if f is None else f.stem for d, f in references.items()}, "rho_units": units,
                }
            )  # fmt: skip
            found = ledger.stored(connection, project=None, version=version, digest=request)
            if found is not None:
                return Noised.model_validate_json(str(found.value))
            _need_columns(dataset, self.registry.rows(name, version))
            wanted = ledger.Reservation(
                population=dataset.population, project=None, purpose="quality", request_digest=request,
                dataset_version=version, release=None, position=0, rho_units=units, measure=population.measure,
            )  # fmt: skip
            (entry,) = ledger.reserve(connection, policies, [wanted], at=self.context.now())
            ledger.spend(connection, entry, at=self.context.now())
        # Spent and durable: only now are rows read. A crash from here on loses the charge and draws nothing twice.
        from tre.secure.data.quality import exact_vector
        from tre.statistics.noise import Z_GAUSSIAN, Z_LAPLACE, noised

        exact = exact_vector(
            checks, dataset.table, dataset.quality, self.registry.rows(name, version),
            scratch=self.context.area.folder("scratch"), references=references,
        )  # fmt: skip
        # One person: at most max_rows rows, each of which may count once in every number.
        pure, most = population.measure is Measure.PURE, dataset.unit.max_rows
        l2 = most * math.sqrt(len(exact)) * (1 + 1e-12)
        drawn = noised(exact, l1=most * len(exact), l2=l2, units=units, pure=pure)
        rows, *counts = drawn.values
        made = Noised(
            epsilon=epsilon, delta=delta, units=units, sigma=drawn.sigma, z=Z_LAPLACE if pure else Z_GAUSSIAN, rows=rows,
            counts={c.id: n for c, n in zip(checks, counts, strict=True)}, most=most,
        )  # fmt: skip
        with database.write() as connection:
            at = self.context.now()
            ledger.store(connection, entry, made.model_dump_json(), at=at)
            detail = {"version": version, "rho_units": units}
            audit.record(connection, at=at, person=person, event="quality.noised", subject=name, detail=detail)
        return made

    def _version(self, connection: sa.Connection, version: str) -> sa.Row[Any]:
        t = tables.versions
        return connection.execute(sa.select(t).where(t.c.version == version)).one()


def _declared(policies: Policies, name: str) -> Dataset:
    if name not in policies.datasets:
        known = ", ".join(sorted(policies.datasets)) or "none"
        raise PolicyError("dataset_unknown", f"No policy declares {name[:80]!r}.", f"Declared: {known}.")
    return policies.datasets[name]


def _need_columns(dataset: Dataset, file: Path) -> None:
    """Before a charge, as the draw would fail: fields declared after the version came."""
    import pyarrow.parquet as pq

    there = set(pq.read_schema(file).names)
    missing = [f.name for f in dataset.fields if f.name not in there]
    if missing:
        raise Conflict(
            "fields_later",
            f"Declared since the data were ingested: {', '.join(missing)}. Nothing was charged.",
            "Ingest the data again.",
        )
