"""Measurements of quality as the area keeps them: made of files or of a version, stored with the version, read again.

Guarantees: a version that ingest registers has its measurement in the same transaction; both stay inside. Nothing of a
measurement is written to the audit log.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

import sqlalchemy as sa

from tre.rules.canonical import digest
from tre.rules.policy import Dataset
from tre.rules.quality import Counted, Drift, Report, Rule, changed_fields, worse
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.quality import References, measure
from tre.secure.database import tables


def schema_digest(dataset: Dataset) -> str:
    return digest(dataset.table.model_dump(mode="json"))


def make(
    context: Context, name: str, dataset: Dataset, files: Sequence[Path], references: References, *, version: str | None,
    ingested_at: str | None, left_out: int | None = None,
) -> Report:  # fmt: skip
    """Of a version's file, or of files that were not ingested (`version` is None then). How many rows were left out is known
    when it is ingested, and read in its earlier measurement afterwards."""
    wanted = dataset.quality.frequency
    fresh = None
    if wanted is not None and ingested_at is not None:
        fresh = (context.today() - datetime.fromisoformat(ingested_at).date()).days <= wanted.days
    if left_out is None and version is not None:
        with context.database.read() as connection:
            left_out = _left_out(latest(connection, version))
    found = measure(
        dataset.table, dataset.quality, files, scratch=context.area.folder("scratch"), references=references, fresh=fresh,
        left_out=left_out,
    )  # fmt: skip
    with context.database.read() as connection:
        drift = _drift(connection, name, dataset, version, found.counts)
    return Report(
        dataset=name, version=version, schema_digest=schema_digest(dataset), rows=found.rows, counts=found.counts,
        markers=found.markers, undeclared_columns=found.undeclared_columns, drift=drift,
    )  # fmt: skip


def _drift(
    connection: sa.Connection, name: str, dataset: Dataset, version: str | None, counts: Sequence[Counted]
) -> Drift | None:
    """Against the version that came before this one; of files, and of a version not registered yet, the current one."""
    t = tables.versions
    earlier = sa.select(t).where(t.c.dataset == name).order_by(t.c.seq.desc()).limit(1)
    if version is not None:
        mine = connection.execute(sa.select(t.c.seq).where(t.c.version == version)).scalar_one_or_none()
        earlier = earlier.where(t.c.version != version)
        if mine is not None:
            earlier = earlier.where(t.c.seq < mine)
    row = connection.execute(earlier).first()
    if row is None:
        return None
    history = [p.datasets[name] for p in policy_files.applied(connection) if name in p.datasets]
    declared = next((d for d in reversed(history) if schema_digest(d) == row.schema_digest), dataset)
    before = latest(connection, str(row.version))
    return Drift(
        fields=changed_fields(declared, dataset), rows_before=row.rows, people_before=row.people,
        worse=worse(before.counts, counts) if before else (),
    )  # fmt: skip


def _left_out(earlier: Report | None) -> int | None:
    return next((c.broken for c in earlier.counts if c.check.rule is Rule.LET_IN), None) if earlier else None


def store(connection: sa.Connection, report: Report, *, at: str) -> None:
    t = tables.quality_reports
    connection.execute(t.insert().values(version=report.version, report=report.model_dump_json(), measured_at=at))


def latest(connection: sa.Connection, version: str) -> Report | None:
    t = tables.quality_reports
    query = sa.select(t.c.report).where(t.c.version == version).order_by(t.c.id.desc()).limit(1)
    found = connection.execute(query).scalar_one_or_none()
    return None if found is None else Report.model_validate_json(found)
