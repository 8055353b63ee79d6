"""The statistics that a request may name: closed shapes, one a kind.

Guarantees: strict shapes with limits on every number, no code, no field that says anything about people which only
policy may say (rows a person, population sizes). `by` names those of the request's groups that a statistic is broken
down by; without it, all of them. `margins` adds every table that the groups can be summed to.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from tre.rules.schema import LARGEST, Closed, Name
from tre.rules.text import writable

# A value that a group is known by; None stands for missing.
Key = int | str | bool | None
UNWRITABLE = "keys are text that can be written as UTF-8, without NUL"


class Reference(Closed):
    """An earlier released value of the same project, in the place of a bound: the statistic of a request by its digest."""

    request: str = Field(pattern=r"^[0-9a-f]{64}$")
    statistic: Name
    keys: tuple[Key, ...] = Field(default=(), max_length=4)

    @model_validator(mode="after")
    def _keys(self) -> Self:
        if any(isinstance(k, str) and not writable(k) for k in self.keys):
            raise ValueError(UNWRITABLE)
        return self


Bound = float | Reference
Bounds = tuple[Bound, Bound]


def _ordered(bounds: Bounds) -> None:
    low, high = bounds
    numbers = [b for b in bounds if not isinstance(b, Reference)]
    if any(abs(b) > LARGEST for b in numbers):
        raise ValueError("bounds may be at most 2^53")
    if not isinstance(low, Reference) and not isinstance(high, Reference) and not low < high:
        raise ValueError("bounds are reversed or equal: write (low, high)")


class _Grouped(Closed):
    by: tuple[Name, ...] | None = Field(default=None, max_length=4)

    @model_validator(mode="after")
    def _once(self) -> Self:
        if self.by is not None and len(set(self.by)) < len(self.by):
            raise ValueError("by names a column twice")
        return self


class _Additive(_Grouped):
    """A statistic made of sums: its tables by fewer columns are sums of the one by all, and can come with it."""

    margins: bool = False


class _OfNumber(_Additive):
    """A statistic of a number clamped to [low, high]; without bounds, the field's declared ones."""

    column: Name
    bounds: Bounds | None = None

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.bounds is not None:
            _ordered(self.bounds)
        return self


class _OfNumbers(_Additive):
    """A statistic of several numbers, each clamped to its own bounds, over the rows where all of them are there."""

    bounds: dict[Name, Bounds] = Field(default={}, max_length=20)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        for bounds in self.bounds.values():
            _ordered(bounds)
        if self.margins:
            raise ValueError("margins are for counts, sums, means and shares")
        unknown = set(self.bounds) - set(self.columns)
        if unknown:
            raise ValueError("bounds are given for a column that the statistic does not use")
        if len(set(self.columns)) < len(self.columns):
            raise ValueError("a column is named twice in one statistic")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        raise NotImplementedError


class Count(_Additive):
    """Rows (of at most the privacy unit's bound per person)."""

    kind: Literal["count"] = "count"


class CountPeople(_Additive):
    """Different people."""

    kind: Literal["count_people"] = "count_people"


class Sum(_OfNumber):
    kind: Literal["sum"] = "sum"


class Mean(_OfNumber):
    kind: Literal["mean"] = "mean"


class Variance(_OfNumber):
    """The population variance of the clamped number: mean of squares less square of the mean."""

    kind: Literal["variance"] = "variance"


class StandardDeviation(_OfNumber):
    """The square root of the population variance."""

    kind: Literal["std"] = "std"


class Share(_Additive):
    """The share of rows for which a true-or-false column is true, of those where it is not missing."""

    kind: Literal["share"] = "share"
    column: Name


class Ratio(_OfNumbers):
    """Sum of one number over sum of another (cost for each visit, say)."""

    kind: Literal["ratio"] = "ratio"
    numerator: Name
    denominator: Name

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.numerator, self.denominator)


class Quantile(_Grouped):
    """The value that `probability` of the rows are at or below, among candidates: the grid's values, or `bins` steps."""

    kind: Literal["quantile"] = "quantile"
    column: Name
    bounds: Bounds | None = None
    probability: float = Field(gt=0, lt=1)
    bins: int | None = Field(default=None, ge=2, le=10_000)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.bounds is not None:
            _ordered(self.bounds)
        return self


class Histogram(_OfNumber):
    """Rows in `bins` equal steps between the bounds; values outside count in the first and last."""

    kind: Literal["histogram"] = "histogram"
    bins: int = Field(default=20, ge=2, le=10_000)

    @model_validator(mode="after")
    def _alone(self) -> Self:
        if self.margins:
            raise ValueError("margins are for counts, sums, means and shares")
        return self


class Top(_Grouped):
    """The `k` keys of a column that most rows have, in order of their noisy counts."""

    kind: Literal["top"] = "top"
    column: Name
    k: int = Field(default=10, ge=1, le=1_000)


class Covariance(_OfNumbers):
    """The population covariance of two clamped numbers."""

    kind: Literal["covariance"] = "covariance"
    x: Name
    y: Name

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.x, self.y)


class Correlation(_OfNumbers):
    """Pearson's correlation of two clamped numbers."""

    kind: Literal["correlation"] = "correlation"
    x: Name
    y: Name

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.x, self.y)


class _Model(_OfNumbers):
    outcome: Name
    predictors: tuple[Name, ...] = Field(min_length=1, max_length=12)

    @property
    def columns(self) -> tuple[str, ...]:
        return (self.outcome, *self.predictors)


class LinearModel(_Model):
    """Least squares of a clamped number on clamped numbers and an intercept, from noisy sums of products."""

    kind: Literal["linear_model"] = "linear_model"


class LogisticModel(_Model):
    """Logistic regression of a true-or-false column, by Newton's method on noisy gradients; not by groups."""

    kind: Literal["logistic_model"] = "logistic_model"
    steps: int = Field(default=5, ge=2, le=12)


class Survival(_Grouped):
    """The share that has had no event by the end of each of `bins` equal intervals: a life table (Kaplan-Meier)."""

    kind: Literal["survival"] = "survival"
    duration: Name
    event: Name
    bounds: Bounds | None = None
    bins: int = Field(default=20, ge=2, le=1_000)

    @model_validator(mode="after")
    def _bounded(self) -> Self:
        if self.bounds is not None:
            _ordered(self.bounds)
        return self


Statistic = Annotated[
    Count
    | CountPeople
    | Sum
    | Mean
    | Variance
    | StandardDeviation
    | Share
    | Ratio
    | Quantile
    | Histogram
    | Top
    | Covariance
    | Correlation
    | LinearModel
    | LogisticModel
    | Survival,
    Field(discriminator="kind"),
]
