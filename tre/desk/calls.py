"""The calls of a notebook: `tre.dataset`, the statistics, `tre.output`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from pydantic import ValidationError

from tre.desk.dataset import Dataset, Found
from tre.desk.estimate import estimate
from tre.desk.output import output
from tre.desk.release import ReleasedValue
from tre.desk.workspace import current
from tre.statistics import kinds
from tre.statistics.request import explain

__all__ = [
    "correlation",
    "count",
    "count_people",
    "covariance",
    "dataset",
    "estimate",
    "found",
    "histogram",
    "linear_model",
    "logistic_model",
    "mean",
    "median",
    "output",
    "quantile",
    "ratio",
    "share",
    "std",
    "sum",
    "survival",
    "top",
    "variance",
]

S = TypeVar("S")
# A bound is a number, or a released value of the same notebook: bounds=(0, first["p95"].value) without its noise told twice.
Bounds = tuple[float | ReleasedValue, float | ReleasedValue] | None
By = str | Iterable[str] | None


def dataset(name: str) -> Dataset:
    """A dataset's handle. Raises NotFound when neither the twin nor a released bundle is here and none can be had."""
    return Dataset(current(), current().info(name))


def count(*, by: By = None, margins: bool = False) -> kinds.Count:
    """How many rows. `by`: only some of the request's groups; `margins`: also by fewer groups, adding up exactly."""
    return _build(kinds.Count, by=by, margins=margins)


def count_people(*, by: By = None, margins: bool = False) -> kinds.CountPeople:
    """How many different people. With several rows a person, people in several groups count in each: no adding up."""
    return _build(kinds.CountPeople, by=by, margins=margins)


def sum(column: str, *, bounds: Bounds = None, by: By = None, margins: bool = False) -> kinds.Sum:
    """The sum of a number clamped to `bounds` (the declared ones if none are given)."""
    return _build(kinds.Sum, column=column, bounds=bounds, by=by, margins=margins)


def mean(column: str, *, bounds: Bounds = None, by: By = None, margins: bool = False) -> kinds.Mean:
    """The mean of a number clamped to `bounds`. Narrow bounds mean less noise: see `dataset.advise`."""
    return _build(kinds.Mean, column=column, bounds=bounds, by=by, margins=margins)


def share(column: str, *, by: By = None, margins: bool = False) -> kinds.Share:
    """The share of rows for which a true-or-false column is true, of those where it is not missing."""
    return _build(kinds.Share, column=column, by=by, margins=margins)


def ratio(
    numerator: str, denominator: str, *, bounds: Mapping[str, Bounds] | None = None, by: By = None
) -> kinds.Ratio:
    """Sum of one number over the sum of another, over rows where both are there. `bounds`: by column."""
    return _build(kinds.Ratio, numerator=numerator, denominator=denominator, bounds=bounds or {}, by=by)


def variance(column: str, *, bounds: Bounds = None, by: By = None) -> kinds.Variance:
    """The population variance of a number clamped to `bounds`. Its noise grows with the square of their width."""
    return _build(kinds.Variance, column=column, bounds=bounds, by=by)


def std(column: str, *, bounds: Bounds = None, by: By = None) -> kinds.StandardDeviation:
    """The standard deviation of a number clamped to `bounds`."""
    return _build(kinds.StandardDeviation, column=column, bounds=bounds, by=by)


def quantile(
    column: str, probability: float, *, bounds: Bounds = None, bins: int | None = None, by: By = None
) -> kinds.Quantile:
    """The value that `probability` of the rows are at or below: of the grid's values, or of `bins` equal steps."""
    return _build(kinds.Quantile, column=column, probability=probability, bounds=bounds, bins=bins, by=by)


def median(column: str, *, bounds: Bounds = None, bins: int | None = None, by: By = None) -> kinds.Quantile:
    return quantile(column, 0.5, bounds=bounds, bins=bins, by=by)


def histogram(column: str, *, bounds: Bounds = None, bins: int = 20, by: By = None) -> kinds.Histogram:
    """Rows in `bins` equal steps between the bounds."""
    return _build(kinds.Histogram, column=column, bounds=bounds, bins=bins, by=by)


def top(column: str, k: int = 10, *, by: By = None) -> kinds.Top:
    """The k commonest keys of a column with declared categories, in order of their noisy counts."""
    return _build(kinds.Top, column=column, k=k, by=by)


def covariance(x: str, y: str, *, bounds: Mapping[str, Bounds] | None = None, by: By = None) -> kinds.Covariance:
    """The population covariance of two numbers, each clamped to its bounds."""
    return _build(kinds.Covariance, x=x, y=y, bounds=bounds or {}, by=by)


def correlation(x: str, y: str, *, bounds: Mapping[str, Bounds] | None = None, by: By = None) -> kinds.Correlation:
    """Pearson's correlation of two numbers, each clamped to its bounds."""
    return _build(kinds.Correlation, x=x, y=y, bounds=bounds or {}, by=by)


def linear_model(
    outcome: str, predictors: Iterable[str], *, bounds: Mapping[str, Bounds] | None = None, by: By = None
) -> kinds.LinearModel:
    """Least squares of a number on numbers and true-or-false columns, with an intercept. `bounds`: by column."""
    return _build(kinds.LinearModel, outcome=outcome, predictors=_listed(predictors), bounds=bounds or {}, by=by)


def logistic_model(
    outcome: str, predictors: Iterable[str], *, bounds: Mapping[str, Bounds] | None = None, steps: int = 5
) -> kinds.LogisticModel:
    """Logistic regression of a true-or-false column; coefficients are log odds ratios. Not by groups."""
    return _build(
        kinds.LogisticModel, outcome=outcome, predictors=_listed(predictors), bounds=bounds or {}, steps=steps, by=()
    )


def survival(duration: str, event: str, *, bounds: Bounds = None, bins: int = 20, by: By = None) -> kinds.Survival:
    """The share without an event by the end of each interval (a life table); `event` is a true-or-false column."""
    return _build(kinds.Survival, duration=duration, event=event, bounds=bounds, bins=bins, by=by)


def found(delta: float = 1e-8) -> Found:
    """In the place of a group's keys: those that enough people have, found in the data with noise. `delta`: see docs."""
    return Found(delta)


def _listed(names: str | Iterable[str]) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names)


def _build(model: Callable[..., S], *, by: By, **fields: Any) -> S:
    bounds = fields.get("bounds")
    if isinstance(bounds, Mapping):
        fields["bounds"] = {column: _bounds(pair) for column, pair in bounds.items()}
    elif bounds is not None:
        fields["bounds"] = _bounds(bounds)
    try:
        return model(by=None if by is None else _listed(by), **fields)
    except ValidationError as error:
        raise explain(error) from None


def _bounds(pair: Any) -> Any:
    """Released values as references to them, so that what is sent is not the number (on the twin, a synthetic one)."""
    try:
        return tuple(b.reference if isinstance(b, ReleasedValue) else b for b in pair)
    except TypeError:
        return pair
