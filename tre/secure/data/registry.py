"""Datasets in the area: versions of the real data, their twins, and the files a project may see of either.

Guarantees: a version is named by a keyed identifier of its content, so its name tells nothing to those outside; a view
holds a project's columns only; a twin's margins are drawn once for each version, charged first, and never again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import sqlalchemy as sa

from tre.errors import NotFound, PolicyError
from tre.messages import DatasetInfo
from tre.rules.accounting import rho_of
from tre.rules.canonical import digest
from tre.rules.policy import Dataset, Policies
from tre.rules.quality import Report
from tre.rules.schema import ORDER, PERSON, SyntheticLabel
from tre.secure import audit, ledger, seals
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables
from tre.statistics.sql import literal, quote

# Ingest and twins load DuckDB, pandas or SDV; the commands that need neither stay quick.
if TYPE_CHECKING:
    import pandas as pd

    from tre.secure.data.ingest import Ingested
    from tre.secure.data.twin_file import Label
    from tre.secure.data.twin_tiers import Learnt


class Registry:
    def __init__(self, context: Context) -> None:
        self.context = context

    # Real data

    def ingest(self, person: str, name: str, files: list[Path], *, drop_invalid: bool = False) -> dict[str, Any]:
        """Validate and register a version. Raises DataError with counts by rule, and then registers nothing."""
        from tre.secure.data import quality_reports
        from tre.secure.data.ingest import ingest

        with self.context.database.read() as connection:
            dataset = _dataset(policy_files.current(connection), name)
            references = self.references(connection, name, dataset)
        area = self.context.area
        scratch = area.folder("scratch") / f"{secrets.token_hex(8)}.parquet"
        done = ingest(dataset.table, files, scratch, key=area.derived_key("people"), drop_invalid=drop_invalid)
        version = area.identifier("version", f"{name} {done.sha256}")
        at = self.context.now()
        report = quality_reports.make(
            self.context, name, dataset, [scratch], references, version=version, ingested_at=at, left_out=done.left_out
        )
        target = self.rows(name, version)
        target.parent.mkdir(exist_ok=True)
        scratch.replace(target)
        self._register(person, name, version, dataset, done, report, at)
        return {
            "dataset": name, "version": version, "rows": done.rows, "people": done.people,
            "rejected": [vars(r) for r in done.rejected], "quality": report.scores,
        }  # fmt: skip

    def _register(
        self, person: str, name: str, version: str, dataset: Dataset, done: Ingested, report: Report, at: str
    ) -> None:
        from tre.secure.data import quality_reports

        t = tables.versions
        with self.context.database.write() as connection:
            seq = connection.execute(sa.select(sa.func.coalesce(sa.func.max(t.c.seq), 0) + 1)).scalar_one()
            known = connection.execute(sa.select(t.c.version).where(t.c.version == version)).first()
            if known:  # the same bytes again: they become the current version, nothing else changes
                connection.execute(t.update().where(t.c.version == version).values(seq=seq))
            else:
                rejected = json.dumps([vars(r) for r in done.rejected])
                connection.execute(
                    t.insert().values(
                        version=version, dataset=name, sha256=done.sha256, rows=done.rows, people=done.people,
                        rejected=rejected, schema_digest=digest(dataset.table.model_dump(mode="json")),
                        ingested_at=at, seq=seq,
                    )
                )  # fmt: skip
            quality_reports.store(connection, report, at=at)
            audit.record(
                connection, at=at, person=person, event="dataset.ingested", subject=name, detail={"version": version}
            )

    def rows(self, name: str, version: str) -> Path:
        return self.context.area.folder("data") / name / f"{version}.parquet"

    def references(self, connection: sa.Connection, name: str, dataset: Dataset) -> dict[str, Path | None]:
        """The rows that the dataset's foreign keys lead to, of the datasets that have any; None for its own."""
        found: dict[str, Path | None] = {}
        for other in {k.dataset for k in dataset.quality.foreign_keys}:
            if other == name:
                found[other] = None
            elif (version := self.current(connection, other)) is not None:
                found[other] = self.rows(other, version)
        return found

    def version(self, connection: sa.Connection, name: str) -> str:
        """The current version. Raises NotFound before the first ingest."""
        found = self.current(connection, name)
        if found is None:
            raise NotFound("data_missing", f"No data of {name!r} were ingested yet.", f"tre-admin ingest {name} FILE")
        return found

    def current(self, connection: sa.Connection, name: str) -> str | None:
        t = tables.versions
        query = sa.select(t.c.version).where(t.c.dataset == name).order_by(t.c.seq.desc()).limit(1)
        found: str | None = connection.execute(query).scalar_one_or_none()
        return found

    def ready(self, connection: sa.Connection, name: str) -> bool:
        """Whether notebooks can use it: data were ingested, and there is a twin to rehearse on."""
        return self.current(connection, name) is not None and self.twin(name).is_file()

    # Twins

    def make_twin(self, person: str, name: str, done: Callable[[int, int], None] = lambda *_: None) -> dict[str, Any]:
        """Make the twin that the dataset's policy names, and register it; charged first where it learns anything.

        `done` is told how many rows there are, of about how many.
        """
        from tre.secure.data import twin_tiers
        from tre.secure.data.twin_file import Label, write

        with self.context.database.read() as connection:
            policies = policy_files.current(connection)
            dataset, version = _dataset(policies, name), self.version(connection, name)
        seed, policy = secrets.randbelow(2**31), dataset.twin
        units, delta, learnt = 0, None, None
        if policy.tier.learns:
            delta = policies.populations[dataset.population].lifetime.delta
            units = rho_of(policy.epsilon or 0, delta)
            learnt = self._learnt(policies, name, dataset, version, rho_units=units)
        people = self._people_of(policy.people_of) if policy.people_of is not None else None
        made = twin_tiers.make(dataset.table, policy, learnt, seed=seed, people=people)
        price = f": epsilon {policy.epsilon:g}, delta {delta:g}" if delta is not None else ""
        label = Label(
            dataset=name, tier=policy.tier.value, made=self.context.now()[:10], generator=made.generator, seed=seed,
            epsilon=policy.epsilon, delta=delta, rho_units=units, learnt=made.learnt + price,
            version=version if policy.tier.learns else None, declared=len(policy.edge_cases),
        )  # fmt: skip
        rows = 0

        def counted() -> Iterator[pd.DataFrame]:
            nonlocal rows
            for frame in made.frames:
                rows += len(frame)
                yield frame
                done(rows, made.rows)

        sha256 = write(counted(), dataset.table, label, self.twin(name))
        t, at = tables.twins, self.context.now()
        with self.context.database.write() as connection:
            connection.execute(
                t.insert().values(
                    dataset=name, version=version, sha256=sha256, label=json.dumps(vars(label)), made_at=at
                )
            )
            detail = {"tier": label.tier, "rho_units": units, "sha256": sha256}
            audit.record(connection, at=at, person=person, event="twin.made", subject=name, detail=detail)
        return {
            "dataset": name,
            "tier": label.tier,
            "rows": rows,
            "epsilon": label.epsilon,
            "delta": delta,
            "learnt": label.learnt,
            "again": [n for n, d in policies.datasets.items() if d.twin.people_of == name and self.twin(n).is_file()],
        }

    def _people_of(self, other: str) -> int:
        """How many people another dataset's twin has: all that is taken of it, since people are numbered."""
        if not self.twin(other).is_file():
            raise NotFound(
                "twin_missing", f"{other!r} has no twin yet, whose people are wanted.", f"tre-admin twin {other}"
            )
        import duckdb

        source = literal(str(self.twin(other)))
        with duckdb.connect(":memory:") as connection:
            row = connection.execute(f"SELECT count(DISTINCT {PERSON}) FROM read_parquet({source})").fetchone()
        return int(row[0]) if row else 0

    def twin(self, name: str) -> Path:
        return self.context.area.folder("twins") / f"{name}.SYNTHETIC.parquet"

    def _learnt(self, policies: Policies, name: str, dataset: Dataset, version: str, *, rho_units: int) -> Learnt:
        """What was learnt of this version at this price before, else charged and then drawn, once."""
        from tre.secure.data import twin_tiers

        database, twin = self.context.database, dataset.twin
        twin_tiers.enough(dataset.table, twin, rho_units=rho_units)
        request = _question(dataset, rho_units)
        with database.write() as connection:
            found = ledger.stored(connection, project=None, version=version, digest=request)
            if found is not None:
                return twin_tiers.learnt_from(str(found.value), twin)
            wanted = ledger.Reservation(
                population=dataset.population, project=None, purpose="twin", request_digest=request,
                dataset_version=version, release=None, position=0, rho_units=rho_units,
            )  # fmt: skip
            (entry,) = ledger.reserve(connection, policies, [wanted], at=self.context.now())
            ledger.spend(connection, entry, at=self.context.now())
        # Spent and durable: only now are rows read. A crash from here on loses the charge and draws nothing twice.
        learnt = twin_tiers.learn(self.rows(name, version), dataset.table, twin, rho_units=rho_units)
        with database.write() as connection:
            ledger.store(connection, entry, learnt.model_dump_json(), at=self.context.now())
        return learnt

    def learnt_before(self, connection: sa.Connection, dataset: Dataset, label: Label) -> Learnt | None:
        """What the twin with this label was drawn from; None where it is nothing, or the policy now asks another question.
        Charges nothing and reads no row."""
        from tre.secure.data import twin_tiers

        if label.version is None or label.tier != dataset.twin.tier.value:
            return None
        request = _question(dataset, label.rho_units)
        found = ledger.stored(connection, project=None, version=label.version, digest=request)
        return None if found is None else twin_tiers.learnt_from(str(found.value), dataset.twin)

    # What a project may see

    def info(
        self, connection: sa.Connection, policies: Policies, project: str, name: str, *, version: str | None = None
    ) -> DatasetInfo:
        """What a project may know of a dataset. Raises NotFound for what it does not have."""
        columns = policies.projects[project].datasets.get(name)
        if columns is None:
            raise NotFound(
                "dataset_unknown",
                f"The project has no dataset {name[:80]!r}.",
                "An admin adds it to the project's policy.",
            )
        from tre.secure.data.twin_file import read_label

        dataset = _dataset(policies, name)
        label = read_label(self.twin(name)) if self.twin(name).is_file() else None
        version = version or self.version(connection, name)
        return DatasetInfo(
            id=name, title=dataset.title, description=dataset.description, source=dataset.source,
            licence=dataset.licence, steward=dataset.steward, population=dataset.population,
            version=version, delta=policies.populations[dataset.population].lifetime.delta,
            size=dataset.size, columns=columns, table=dataset.table.only(columns), twin=_public(label) if label else None,
            disclosure=policies.area.disclosure.stricter(policies.projects[project].disclosure),
            seal=seals.in_force(connection, version, self.context.today()),
        )  # fmt: skip

    def view(self, source: Path, columns: tuple[str, ...]) -> Path:
        """A file with these columns of `source` (and the two by which people are bounded), made once."""
        import duckdb

        target = self._view_path(source, columns)
        if not target.is_file():
            part = target.with_suffix(f".{secrets.token_hex(4)}.part")
            wanted = ", ".join(quote(c) for c in (*columns, PERSON, ORDER))
            query = f"SELECT {wanted} FROM read_parquet({literal(str(source))})"
            with duckdb.connect(":memory:") as connection:
                connection.execute(f"COPY ({query}) TO {literal(str(part))} (FORMAT parquet, COMPRESSION zstd)")
            part.chmod(0o644)  # for the sandbox's own user; the area's folder is closed to everyone else
            part.replace(target)
        return target

    def twin_view(self, name: str, columns: tuple[str, ...]) -> Path:
        if not self.twin(name).is_file():
            raise NotFound("twin_missing", f"{name!r} has no twin yet.", f"tre-admin twin {name}")
        source = self.twin(name)
        target = self._view_path(source, columns)
        if not target.is_file():
            import pyarrow.parquet as pq

            part = target.with_suffix(f".{secrets.token_hex(4)}.part")
            # Arrow keeps the file's own metadata: the label travels with every copy.
            pq.write_table(pq.read_table(source, columns=[*columns, PERSON, ORDER]), part, compression="zstd")
            part.chmod(0o644)
            part.replace(target)
        return target

    def _view_path(self, source: Path, columns: tuple[str, ...]) -> Path:
        key = f"{source.name} {source.stat().st_mtime_ns} {source.stat().st_size} {columns}"
        return self.context.area.folder("views") / f"{self.context.area.identifier('view', key)}.parquet"


def _question(dataset: Dataset, rho_units: int) -> str:
    from tre.secure.data import twin_tiers

    return digest({**twin_tiers.question(dataset.table, dataset.twin), "rho_units": rho_units})


def _public(label: Label) -> SyntheticLabel:
    return SyntheticLabel(
        tier=label.tier, made=label.made, generator=label.generator, epsilon=label.epsilon, delta=label.delta,
        learnt=label.learnt, seed=label.seed, version=label.version, declared=label.declared,
    )  # fmt: skip


def _dataset(policies: Policies, name: str) -> Dataset:
    try:
        return policies.datasets[name]
    except KeyError:
        known = ", ".join(sorted(policies.datasets)) or "none"
        raise PolicyError("dataset_unknown", f"No policy declares {name[:80]!r}.", f"Declared: {known}.") from None
