"""The calls of a notebook: `tre.dataset`, the statistics, `tre.output`."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import ValidationError

from tre.desk.dataset import Dataset
from tre.desk.output import output
from tre.desk.workspace import current
from tre.statistics.request import Count, CountPeople, Histogram, Mean, Quantile, Sum, Variance, explain

__all__ = ["count", "count_people", "dataset", "histogram", "mean", "median", "output", "quantile", "sum", "variance"]

S = TypeVar("S")
Bounds = tuple[float, float] | None


def dataset(name: str) -> Dataset:
    """A dataset's handle. Raises NotFound when neither the twin nor a released bundle is here and none can be had."""
    return Dataset(current(), current().info(name))


def count() -> Count:
    """How many rows."""
    return Count()


def count_people() -> CountPeople:
    """How many different people."""
    return CountPeople()


def sum(column: str, *, bounds: Bounds = None) -> Sum:
    """The sum of a number clamped to `bounds` (the declared ones if none are given)."""
    return _build(Sum, column=column, bounds=bounds)


def mean(column: str, *, bounds: Bounds = None) -> Mean:
    """The mean of a number clamped to `bounds`. Narrow bounds mean less noise; the twin shows what they would cut off."""
    return _build(Mean, column=column, bounds=bounds)


def variance(column: str, *, bounds: Bounds = None) -> Variance:
    """The population variance of a number clamped to `bounds`. Its noise grows with the square of their width."""
    return _build(Variance, column=column, bounds=bounds)


def quantile(column: str, probability: float, *, bounds: Bounds = None, bins: int = 100) -> Quantile:
    """The value below which `probability` of the rows lie, to one of `bins` equal steps between the bounds."""
    return _build(Quantile, column=column, probability=probability, bounds=bounds, bins=bins)


def median(column: str, *, bounds: Bounds = None, bins: int = 100) -> Quantile:
    return quantile(column, 0.5, bounds=bounds, bins=bins)


def histogram(column: str, *, bounds: Bounds = None, bins: int = 20) -> Histogram:
    """Rows in `bins` equal steps between the bounds."""
    return _build(Histogram, column=column, bounds=bounds, bins=bins)


def _build(model: type[S], **fields: Any) -> S:
    try:
        return model(**fields)
    except ValidationError as error:
        raise explain(error) from None
