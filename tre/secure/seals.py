"""Seals of quality: issued by an admin, kept as they were signed, shown while they are in force.

Guarantees: the measurement is made anew, of the current version, when a seal is asked for; the seal's row and the audit entry
that says who issued it are one transaction; none is issued below what the policy asks for, and none without a person.
"""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING

import sqlalchemy as sa

from tre.rules import permissions, seal
from tre.rules.canonical import canonical_json, digest_bytes
from tre.rules.policy import Policies, Role
from tre.rules.quality import Report, SealInfo
from tre.rules.seal import Seal, Sealed
from tre.secure import audit
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.database import tables

if TYPE_CHECKING:
    from tre.secure.quality import Quality


def issue(context: Context, quality: Quality, name: str, *, person: str) -> Sealed:
    """Raises NotAllowed for who is no admin, Conflict where the version does not earn one."""
    with context.database.read() as connection:
        policies = policy_files.current(connection)
    permissions.need_role(permissions.person(policies, person, context.today()), Role.ADMIN)
    report = quality.measure(name)
    content = _content(context, policies, report, person)
    statement = content.model_dump(mode="json")
    signed = Sealed(
        statement=content, key=context.area.public_key, signature=context.area.sign(seal.signed_bytes(statement))
    )
    written = as_bytes(signed)
    at = context.now()
    with context.database.write() as connection:
        connection.execute(
            tables.seals.insert().values(version=content.version, content=written.decode(), issued_at=at)
        )
        detail = {"version": content.version, "until": content.until.isoformat(), "sha256": digest_bytes(written)}
        audit.record(connection, at=at, person=person, event="dataset.sealed", subject=name, detail=detail)
    return signed


def _content(context: Context, policies: Policies, report: Report, person: str) -> Seal:
    dataset = policies.datasets[report.dataset]
    checked, passed, not_assessed = seal.outcomes(report)
    return Seal(
        area=policies.area.title, controller=policies.area.controller, dataset=report.dataset, title=dataset.title,
        version=str(report.version), schema_digest=report.schema_digest, policy=policy_files.policy_digest(policies),
        issued=context.today(), until=context.today() + timedelta(days=dataset.quality.seal_days),
        issued_by=context.area.identifier("person", person), level=seal.earned(report, dataset.quality),
        thresholds=dataset.quality.levels, checked=tuple(checked), passed=tuple(passed), not_assessed=tuple(not_assessed),
    )  # fmt: skip


def as_bytes(signed: Sealed) -> bytes:
    """The one form in which a seal is written."""
    return canonical_json(signed.model_dump(mode="json"))


def in_force(connection: sa.Connection, version: str, today: date) -> SealInfo | None:
    """The version's last seal, until its last day."""
    t = tables.seals
    query = sa.select(t.c.content).where(t.c.version == version).order_by(t.c.id.desc()).limit(1)
    content = connection.execute(query).scalar_one_or_none()
    if content is None:
        return None
    found = Sealed.model_validate_json(content).statement
    return SealInfo(level=found.level, until=found.until) if found.until >= today else None
