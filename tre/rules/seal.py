"""Seals: which checks of its quality a version of a dataset passed, by whom, until when; signed with the area's receipt key.

Guarantees: `read` works on bytes, needs no network and no account, and fails on any changed byte and after the seal's last day.
A seal is about real rows: that a check passed is learnt from them, and is published because an admin decided so for the data
controller, never by machine. It holds the names of checks and a level, no count and no score.
What it cannot know alone is whose key signed: the caller compares `key` with one it trusts.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import date
from typing import Any

from pydantic import Field, ValidationError

from tre.errors import Conflict, VerificationFailed
from tre.rules.canonical import canonical_json
from tre.rules.quality import Dimension, Level, QualityPolicy, Report, level_of
from tre.rules.receipt import check_signature
from tre.rules.schema import Closed

HEX64 = r"^[0-9a-f]{64}$"


class Seal(Closed):
    """What is signed. `level` is the highest reached of those that the policy declares, None where it declares none."""

    seal: int = 1
    area: str
    controller: str
    dataset: str
    title: str
    version: str
    schema_digest: str = Field(pattern=HEX64)
    policy: str = Field(pattern=HEX64)
    issued: date
    until: date
    # As in receipts, a code that only the area can turn into a name.
    issued_by: str
    level: Level | None
    thresholds: dict[Level, dict[Dimension, float]]
    checked: tuple[str, ...]
    passed: tuple[str, ...]
    not_assessed: tuple[str, ...]


class Sealed(Closed):
    """A seal's file."""

    statement: Seal
    key: str = Field(pattern=HEX64)
    signature: str = Field(pattern=r"^[0-9a-f]{128}$")


def signed_bytes(statement: Mapping[str, Any]) -> bytes:
    """What the signature covers; the prefix keeps it from being mistaken for a signature of anything else."""
    return b"tre data quality seal v1\n" + canonical_json(statement)


def earned(report: Report, quality: QualityPolicy) -> Level | None:
    """The level for a seal. Raises Conflict where none can be given: below the lowest declared, or, where none is declared,
    with any check failed or none passed."""
    level = level_of(report, quality.levels)
    judged = [c for c in report.counts if c.check.rule.judged]
    whole = any(c.passed for c in judged) and not any(c.failed for c in judged)
    if level is None and (quality.levels or not whole):
        raise Conflict(
            "seal_unearned",
            "This version does not reach what a seal asks for.",
            f"See what it lacks: tre-admin quality {report.dataset}",
        )
    return level


def outcomes(report: Report) -> tuple[Sequence[str], Sequence[str], Sequence[str]]:
    """(checked, passed, not assessed), by the checks' names; dimensions that nothing was asked of are not assessed either."""
    judged = [c for c in report.counts if c.check.rule.judged]
    return [c.check.id for c in judged], [c.check.id for c in judged if c.passed], report.not_assessed


def read(content: bytes, *, today: date) -> Sealed:
    """Raises VerificationFailed: seal_malformed, signature_wrong or seal_over."""
    try:
        found = Sealed.model_validate_json(content)
        document = json.loads(content)
        as_written = canonical_json(document) == content.rstrip(b"\n")
    except (ValidationError, ValueError, RecursionError):
        raise _malformed() from None
    if not as_written:
        raise _malformed()
    check_signature(found.key, found.signature, signed_bytes(document["statement"]), "seal")
    if found.statement.until < today:
        raise VerificationFailed(
            "seal_over",
            f"This seal was good until {found.statement.until}.",
            "Ask the area's controller for a new one.",
        )
    return found


def _malformed() -> VerificationFailed:
    return VerificationFailed(
        "seal_malformed", "This is no seal in the form in which seals are written.", "Ask for the seal's file again."
    )
