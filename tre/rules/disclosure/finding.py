"""A finding: one disclosure rule's result about one output, closed and complete, for people and for machines.

Guarantees: verdicts are ordered, and what is not known is never PASS. A message, a place and a number of people may tell
of real rows: a finding about real rows is for output checkers. `told` is what may stand in a receipt: which rule looked,
by which term, and its verdict. Terms are those of the statbarn ontology that SACRO uses (https://w3id.org/statbarnsdc).
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Annotated, Self

from pydantic import Field

from tre.rules.schema import Closed

VOCABULARY = "https://w3id.org/statbarnsdc#"
MAX_PLACES = 200


class Verdict(StrEnum):
    """The machine's word, in this order; people decide."""

    PASS = "pass"  # noqa: S105  # a verdict
    REVIEW = "review"
    FAIL = "fail"

    @property
    def rank(self) -> int:
        return list(Verdict).index(self)


class Rule(StrEnum):
    """What was looked for."""

    THRESHOLD = "threshold"
    DOMINANCE = "dominance"
    P_PERCENT = "p_percent"
    DEGREES_OF_FREEDOM = "degrees_of_freedom"
    ZEROS = "zeros"
    CLASS = "class_disclosure"
    MISSING = "missing"
    ROUNDING = "rounding"
    EXTREME = "extreme"  # a minimum, maximum or exact quantile: one person's value
    TOTALS = "totals"  # totals that reveal what is not shown
    LINKED = "linked"  # tables proposed together
    DIFFERENCING = "differencing"  # with what was released before
    IDENTIFIER = "identifier"
    ROWS = "row_level"
    SIZE = "size"
    HIDDEN = "hidden"  # what a reader of the output would not see
    CONTEXT = "context"
    UNDERLYING = "underlying"  # the numbers behind a picture, a mean or a share
    CLAIM = "claim"  # what the notebook's own process said of its outputs
    UNCHECKED = "unchecked"  # not checked by machine: needs eyes
    KIND = "kind"
    PRESENCE = "presence"


class Statbarn(StrEnum):
    """Kinds of statistic, as SACRO's ontology names them."""

    FREQUENCIES = "Frequencies"
    LINEAR = "LinearAggregations"
    POSITION = "Position"
    ENDPOINTS = "Endpoints"
    SHAPE = "Shape"
    COEFFICIENTS = "CorrelationCoefficients"
    RATIOS = "CalculatedRatios"
    TESTS = "StatisticalHypothesisTests"
    SURVIVAL = "HazardSurvivalTables"
    LINKED = "LinkedMultilevelTables"

    @property
    def uri(self) -> str:
        return VOCABULARY + self.value


_RISKS = {
    Rule.THRESHOLD: "LowCount", Rule.DOMINANCE: "Dominance", Rule.P_PERCENT: "Dominance",
    Rule.DEGREES_OF_FREEDOM: "LowDOF", Rule.ZEROS: "ClassDisclosure", Rule.CLASS: "ClassDisclosure",
    Rule.EXTREME: "ClassDisclosure", Rule.TOTALS: "ImplicitTables", Rule.LINKED: "Differencing",
    Rule.DIFFERENCING: "Differencing", Rule.MISSING: "LowCount",
}  # fmt: skip


class Place(Closed):
    """A cell of the output's table: row and column from 0, the header not counted."""

    row: int = Field(ge=0)
    column: int = Field(ge=0)


class Earlier(Closed):
    """A table that a finding needs beside the one it is about. Without a release: proposed in the same request."""

    release: str | None
    output: str
    groups: tuple[str, ...] = Field(default=(), max_length=20)


class Mitigate(StrEnum):
    SUPPRESS = "suppress"
    ROUND = "round"
    NOISE = "noise"
    COARSEN = "coarsen"
    DECLARE = "declare"
    SAY = "say"  # words or numbers are missing


class Mitigation(Closed):
    """What would help, and the call that does it. For noise: its price, and the error to expect at 95 %."""

    kind: Mitigate
    call: str
    epsilon: float | None = None
    delta: float | None = None
    error: float | None = None


class Finding(Closed):
    """`cells`: the first of them by position; `count`: of how many. `people`: the fewest that are behind one of them."""

    rule: Rule
    verdict: Verdict
    message: str
    statbarn: Statbarn | None = None
    cells: tuple[Place, ...] = Field(default=(), max_length=MAX_PLACES)
    count: int = 0
    people: int | None = None
    earlier: tuple[Earlier, ...] = ()
    mitigations: tuple[Mitigation, ...] = ()

    @property
    def risk(self) -> str | None:
        """The ontology's name of the risk."""
        return _RISKS.get(self.rule)

    def told(self) -> dict[str, str]:
        """What a receipt may say: nothing that was learnt from rows but the verdict."""
        said = {"rule": self.rule.value, "verdict": self.verdict.value}
        return said | ({"statbarn": self.statbarn.uri} if self.statbarn is not None else {})


Findings = Annotated[tuple[Finding, ...], Field(max_length=500)]


class Report(Closed):
    """All findings about one output."""

    findings: Findings = ()

    @property
    def verdict(self) -> Verdict:
        """The worst of them; REVIEW where no rule looked."""
        return worst(self.findings)

    def with_(self, *more: Finding) -> Self:
        return self.model_copy(update={"findings": (*self.findings, *more)})


def worst(findings: Iterable[Finding]) -> Verdict:
    ranked = sorted((f.verdict for f in findings), key=lambda v: v.rank)
    return ranked[-1] if ranked else Verdict.REVIEW


_REFUSED = {
    Rule.IDENTIFIER: ("output_identifier", "Leave identifiers out: nobody will approve them."),
    Rule.ROWS: ("output_rows", "Propose groups instead of rows: dataset.group_by(…).table(…)."),
    Rule.SIZE: ("output_rows", "Propose fewer, larger groups."),
}


def refused(findings: Iterable[Finding]) -> tuple[str, str, str] | None:
    """Why these never may be an output, as code, message and next step; None where people may decide."""
    for f in findings:
        if f.verdict is Verdict.FAIL and f.rule in _REFUSED:
            code, step = _REFUSED[f.rule]
            return code, f"This cannot be an output: {f.message}", step
    return None


def places(found: Iterable[tuple[int, int]]) -> tuple[tuple[Place, ...], int]:
    """Positions as a finding holds them: the first ones, and how many there are."""
    listed = sorted(set(found))
    return tuple(Place(row=r, column=c) for r, c in listed[:MAX_PLACES]), len(listed)
