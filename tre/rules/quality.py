"""What is looked at in a dataset's quality, declared in its policy: six dimensions, their checks, and what a measurement says.

The dimensions are those of the Government Data Quality Framework (3 December 2020, after DAMA UK). Guarantees: which checks
are made, and of what, is a function of policy alone (`checks_of`), so a list of them tells nothing of rows; a measurement
holds counts of rows by check, never a value; what cannot be measured is said to be not assessed and never counts as passed.
Not here: measuring (secure.data.quality), and what of a measurement may leave the area (rules.quality_statement, rules.seal).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tre.rules.schema import Closed, FieldType, Identifier, Name, SchemaField, TableSchema

Share = Annotated[float, Field(ge=0, le=1)]


class Dimension(StrEnum):
    COMPLETENESS = "completeness"
    UNIQUENESS = "uniqueness"
    CONSISTENCY = "consistency"
    TIMELINESS = "timeliness"
    VALIDITY = "validity"
    ACCURACY = "accuracy"


class Level(StrEnum):
    BRONZE = "bronze"
    SILVER = "silver"
    GOLD = "gold"


class Frequency(StrEnum):
    """How often a new version is to come."""

    DAILY = "daily"
    WEEKLY = "weekly"
    MONTHLY = "monthly"
    QUARTERLY = "quarterly"
    YEARLY = "yearly"

    @property
    def days(self) -> int:
        return {"daily": 1, "weekly": 7, "monthly": 31, "quarterly": 92, "yearly": 366}[self.value]


class ForeignKey(Closed):
    """Rows whose `fields` are all there have a row in `dataset` with the same `references`."""

    fields: tuple[Name, ...] = Field(min_length=1)
    dataset: Identifier
    references: tuple[Name, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _paired(self) -> Self:
        if len(self.fields) != len(self.references):
            raise ValueError("fields and references must be as many")
        return self


class RowRule(Closed):
    """An expression (docs/reference/expressions.md) that is true of every row. Unknown, as of a missing value, breaks nothing."""

    name: Identifier
    holds: str
    title: str = ""


class Period(Closed):
    """The time that rows are about, by a field of dates or of whole years; both ends included."""

    field: Name
    first: date | int
    last: date | int


class Total(Closed):
    """A number known from elsewhere, and public: of rows, of people, or the sum of an expression; met within a share of it."""

    name: Identifier
    of: Literal["rows", "people"] | None = None
    sum: str | None = None
    expected: float
    within: Share = 0

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.of is None) == (self.sum is None):
            raise ValueError("a total is either `of` rows or people, or the `sum` of an expression")
        return self


class QualityPolicy(Closed):
    """`quality` in policies/datasets/ID.yaml."""

    # What the published statement's noisy counts are charged, once for each version; without it, it has no counts.
    epsilon: float | None = Field(default=None, gt=0, le=10)
    foreign_keys: tuple[ForeignKey, ...] = Field(default=(), max_length=20)
    rules: tuple[RowRule, ...] = Field(default=(), max_length=50)
    period: Period | None = None
    frequency: Frequency | None = None
    totals: tuple[Total, ...] = Field(default=(), max_length=50)
    # What a seal of each level asks of each dimension's score.
    levels: dict[Level, dict[Dimension, Share]] = Field(default_factory=dict)
    seal_days: int = Field(default=365, ge=1, le=3660)

    @model_validator(mode="after")
    def _different(self) -> Self:
        names = [r.name for r in self.rules] + [t.name for t in self.totals]
        if len(set(names)) != len(names):
            raise ValueError("a name stands twice among rules and totals")
        return self


def problems(
    table: TableSchema, quality: QualityPolicy, tables: Mapping[str, TableSchema]
) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Where, and why: references to fields and datasets that are not as they must be. (Expressions: secure.data.row_rules.)"""
    types = {f.name: f.type for f in table.fields}
    for i, key in enumerate(quality.foreign_keys):
        other = tables.get(key.dataset)
        theirs = {f.name: f.type for f in other.fields} if other else {}
        pairs = [(types.get(a), theirs.get(b)) for a, b in zip(key.fields, key.references, strict=True)]
        if other is None:
            yield ("foreign_keys", i), "no such dataset in datasets/"
        elif any(a is None or a is not b for a, b in pairs):
            yield ("foreign_keys", i), "fields and references must be declared fields, in pairs of one type"
    p = quality.period
    if p is not None:
        wanted = {FieldType.DATE: date, FieldType.INTEGER: int}.get(types.get(p.field, FieldType.STRING), type(None))
        ends = isinstance(p.first, wanted) and isinstance(p.last, wanted)
        if not ends or p.first > p.last:  # type: ignore[operator]  # of one type
            yield (
                ("period",),
                "a period is of a declared field of dates, or of integers that are years; first before last",
            )


class Rule(StrEnum):
    PRESENT = "present"
    REQUIRED = "required"
    UNIQUE = "unique"
    PRIMARY_KEY = "primary_key"
    FOREIGN_KEY = "foreign_key"
    ROW_RULE = "row_rule"
    PERIOD = "period"
    REFRESHED = "refreshed"
    LET_IN = "let_in"
    TYPE = "type"
    FINITE = "finite"
    ENUM = "enum"
    MINIMUM = "minimum"
    MAXIMUM = "maximum"
    PATTERN = "pattern"
    TOTAL = "total"

    @property
    def judged(self) -> bool:
        """Whether it can be broken. A value that need not be there only counts for the score of completeness."""
        return self is not Rule.PRESENT

    @property
    def by_ingest(self) -> bool:
        """Whether ingest lets no row in that breaks it, whatever the rows: then saying so tells nothing of them."""
        return self in _BY_INGEST


_BY_INGEST = {
    Rule.REQUIRED, Rule.UNIQUE, Rule.PRIMARY_KEY, Rule.TYPE, Rule.FINITE, Rule.ENUM, Rule.MINIMUM, Rule.MAXIMUM, Rule.PATTERN,
}  # fmt: skip


class Check(Closed):
    """One check of one dimension. `subject` is a field, several joined by a comma, or the name of a rule or total."""

    dimension: Dimension
    rule: Rule
    subject: str
    says: str

    @property
    def id(self) -> str:
        return f"{self.subject}:{self.rule.value}"


def checks_of(table: TableSchema, quality: QualityPolicy) -> tuple[Check, ...]:
    """Every check that is made of this dataset, by dimension."""
    found = [
        *(c for f in table.fields for c in _field_checks(f, table)),
        *_key_checks(table),
        Check(
            dimension=Dimension.VALIDITY, rule=Rule.LET_IN, subject="rows", says="came with the files and were let in"
        ),
        *_between(quality),
        *_in_time(quality),
    ]
    for t in quality.totals:
        what = f"the number of {t.of}" if t.of else f"the sum of {t.sum}"
        says = f"{what} is {t.expected:g}" + (f", within {t.within:.3%}" if t.within else "")
        found.append(Check(dimension=Dimension.ACCURACY, rule=Rule.TOTAL, subject=t.name, says=says))
    return tuple(sorted(found, key=lambda c: list(Dimension).index(c.dimension)))


def _field_checks(field: SchemaField, table: TableSchema) -> Iterator[Check]:
    c, validity = field.constraints, Dimension.VALIDITY
    needed = c.required or field.name in table.primary_key
    rule, says = (Rule.REQUIRED, "has a value in every row") if needed else (Rule.PRESENT, "has a value, or not")
    yield Check(dimension=Dimension.COMPLETENESS, rule=rule, subject=field.name, says=says)
    if field.type is not FieldType.STRING:
        yield Check(dimension=validity, rule=Rule.TYPE, subject=field.name, says=f"is of type {field.type.value}")
    if field.type is FieldType.NUMBER:
        yield Check(dimension=validity, rule=Rule.FINITE, subject=field.name, says="is a finite number")
    if c.enum is not None:
        yield Check(dimension=validity, rule=Rule.ENUM, subject=field.name, says=f"is one of {len(c.enum)} values")
    if c.minimum is not None:
        yield Check(dimension=validity, rule=Rule.MINIMUM, subject=field.name, says=f"is at least {c.minimum}")
    if c.maximum is not None:
        yield Check(dimension=validity, rule=Rule.MAXIMUM, subject=field.name, says=f"is at most {c.maximum}")
    if c.pattern is not None:
        yield Check(dimension=validity, rule=Rule.PATTERN, subject=field.name, says=f"is of the form {c.pattern}")


def _key_checks(table: TableSchema) -> Iterator[Check]:
    for f in table.fields:
        if f.constraints.unique:
            says = "is different in every row"
            yield Check(dimension=Dimension.UNIQUENESS, rule=Rule.UNIQUE, subject=f.name, says=says)
    if table.primary_key:
        subject, says = ",".join(table.primary_key), "together name one row"
        yield Check(dimension=Dimension.UNIQUENESS, rule=Rule.PRIMARY_KEY, subject=subject, says=says)


def _between(quality: QualityPolicy) -> Iterator[Check]:
    for key in quality.foreign_keys:
        says = f"is found in {key.dataset} as {','.join(key.references)}"
        yield Check(
            dimension=Dimension.CONSISTENCY, rule=Rule.FOREIGN_KEY, subject=",".join(key.fields) + f">{key.dataset}", says=says
        )  # fmt: skip
    for r in quality.rules:
        says = f"{r.title + ': ' if r.title else ''}{r.holds}"
        yield Check(dimension=Dimension.CONSISTENCY, rule=Rule.ROW_RULE, subject=r.name, says=says)


def _in_time(quality: QualityPolicy) -> Iterator[Check]:
    p = quality.period
    if p is not None:
        says = f"is from {p.first} to {p.last}"
        yield Check(dimension=Dimension.TIMELINESS, rule=Rule.PERIOD, subject=p.field, says=says)
    if quality.frequency is not None:
        says = f"a new version comes {quality.frequency.value}, within {quality.frequency.days} days"
        yield Check(dimension=Dimension.TIMELINESS, rule=Rule.REFRESHED, subject="version", says=says)


class Counted(Closed):
    """How many of so many (rows; 1 for a whole) break a check, None where it was not assessed.

    `repeats`, of keys: the rows that come after another with the same key. (All that share one break it.)
    """

    check: Check
    broken: int | None
    of: int
    repeats: int | None = None

    @property
    def passed(self) -> bool:
        return self.check.rule.judged and self.broken == 0

    @property
    def failed(self) -> bool:
        return self.check.rule.judged and bool(self.broken)

    @property
    def share(self) -> float | None:
        """Of rows that keep it."""
        if self.broken is None:
            return None
        return 1 - self.broken / self.of if self.of else 1.0


class Marked(Closed):
    """How many cells of a field hold one of the declared markers of missing values; of files only."""

    field: str
    marker: str
    rows: int


class Worse(Closed):
    """A check that a smaller share of rows keeps than in the version before, by a hundredth or more."""

    check: str
    before: float
    now: float


class Drift(Closed):
    """What differs from the version before: the fields whose declaration changed since (`+`, `-` or `~`), sizes, shares."""

    fields: tuple[str, ...]
    rows_before: int
    people_before: int
    worse: tuple[Worse, ...] = ()


def changed_fields(before: TableSchema, now: TableSchema) -> tuple[str, ...]:
    """By what they may hold: titles and descriptions are no drift."""
    old, new = ({f.name: (f.type, f.constraints) for f in t.fields} for t in (before, now))
    marks = {name: "+" if name not in old else "-" if name not in new else "~" for name in {**old, **new}}
    return tuple(f"{mark} {name}" for name, mark in marks.items() if old.get(name) != new.get(name))


def worse(before: Sequence[Counted], now: Sequence[Counted]) -> tuple[Worse, ...]:
    known = {c.check.id: c.share for c in before}
    pairs = [(c.check.id, known.get(c.check.id), c.share) for c in now]
    return tuple(
        Worse(check=i, before=a, now=b) for i, a, b in pairs if a is not None and b is not None and a - b >= 0.01
    )


class Report(Closed):
    """A measurement: as secret as the rows. `version` is None for files that were not ingested."""

    dataset: str
    version: str | None
    schema_digest: str
    rows: int
    counts: tuple[Counted, ...]
    markers: tuple[Marked, ...] = ()
    undeclared_columns: int = 0
    drift: Drift | None = None

    @property
    def scores(self) -> dict[Dimension, float | None]:
        return {d: score([c for c in self.counts if c.check.dimension is d]) for d in Dimension}

    @property
    def not_assessed(self) -> list[str]:
        return [d.value for d, s in self.scores.items() if s is None] + [
            c.check.id for c in self.counts if c.broken is None
        ]


def score(counts: Sequence[Counted]) -> float | None:
    """The share of rows that keep the worst check: no number of good ones hides it. None where there is nothing to go by."""
    return min((c.share for c in counts if c.share is not None), default=None)


def level_of(report: Report, levels: Mapping[Level, Mapping[Dimension, float]]) -> Level | None:
    """The highest level whose demands, and those of all declared below it, are met. What was not assessed meets none."""
    scores = report.scores
    reached = None
    for level in Level:
        if level not in levels:
            continue
        met = [(scores[d], least) for d, least in levels[level].items()]
        if not met or any(s is None or s < least for s, least in met):
            break
        reached = level
    return reached


class SealInfo(Closed):
    """What the list of datasets shows of a seal that is in force."""

    level: Level | None
    until: date

    @property
    def said(self) -> str:
        return f"{self.level.value if self.level else 'all checks'}, until {self.until}"
