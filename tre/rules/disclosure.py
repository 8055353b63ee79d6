"""Disclosure rules for outputs without noise: pure functions from content to findings.

A finding is one rule's result with a verdict (pass, review, fail: the machine's); people decide. Unknown is REVIEW, never
PASS. Deliberately few rules so far: small counts, row-level size, identifiers, and kinds that no rule can read.
Messages name columns and numbers of cells, not the cells' values.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Verdict(StrEnum):
    PASS = "pass"  # noqa: S105  # a verdict
    REVIEW = "review"
    FAIL = "fail"


@dataclass(frozen=True)
class Finding:
    rule: str
    verdict: Verdict
    message: str


def table(
    header: Sequence[str], rows: Sequence[Sequence[str]], *, threshold: int, max_rows: int, identifier: str
) -> list[Finding]:
    """Findings for a table given as text."""
    findings = [_size(rows, max_rows), _identifier(header, identifier)]
    findings += [
        _small_counts(name, [row[i] for row in rows if i < len(row)], threshold) for i, name in enumerate(header)
    ]
    return findings


def unreadable(kind: str) -> list[Finding]:
    """A figure or text: no rule here can judge it."""
    return [Finding("kind", Verdict.REVIEW, f"A {kind} is read by people only: no rule can judge it.")]


def missing() -> list[Finding]:
    return [Finding("presence", Verdict.FAIL, "The run did not produce this output.")]


def _size(rows: Sequence[Sequence[str]], limit: int) -> Finding:
    if len(rows) > limit:
        return Finding("size", Verdict.FAIL, f"{len(rows)} rows; the limit is {limit}. It may be a list of people.")
    return Finding("size", Verdict.PASS, f"{len(rows)} rows, within the limit of {limit}.")


def _identifier(header: Sequence[str], identifier: str) -> Finding:
    if identifier.lower() in (name.strip().lower() for name in header):
        return Finding("identifier", Verdict.FAIL, f"A column is named like the identifier {identifier!r}.")
    return Finding("identifier", Verdict.PASS, "No column is named like the identifier.")


def _small_counts(name: str, column: Sequence[str], threshold: int) -> Finding:
    """Whole numbers from 1 to threshold - 1 may be counts of people; which columns are counts, only people know."""
    numbers = [int(text) for text in column if text.strip().isascii() and text.strip().isdigit()]
    small = sum(1 for n in numbers if 0 < n < threshold)
    if not small:
        return Finding("threshold", Verdict.PASS, f"Column {name!r}: no whole number from 1 to {threshold - 1}.")
    message = (
        f"Column {name!r}: {small} whole numbers from 1 to {threshold - 1}. If they count people, they are too small."
    )
    return Finding("threshold", Verdict.REVIEW, message)
