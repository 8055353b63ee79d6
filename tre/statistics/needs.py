"""The exact vectors that each statistic is made of, and how much the noise in each matters to it.

Guarantees: the order of `Needs.parts` is what statistics.result expects. `slopes` are squared derivatives of the
statistic in its vectors, each in units of its sensitivity, at values typical of official statistics (a mean two thirds
of the way from the middle of its bounds to one of them): they steer shares of the loss and nothing else.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING

from tre.errors import RequestError
from tre.statistics import grids, sensitivity
from tre.statistics.components import Component, Factor, Measure
from tre.statistics.expression import Kind
from tre.statistics.kinds import (
    Bounds,
    Correlation,
    Count,
    CountPeople,
    Covariance,
    Histogram,
    LinearModel,
    LogisticModel,
    Mean,
    Quantile,
    Ratio,
    Share,
    StandardDeviation,
    Statistic,
    Sum,
    Survival,
    Top,
    Variance,
)

if TYPE_CHECKING:
    from tre.statistics.prepare import Scope

By = tuple[str, ...]

# A quantile is precise at a small part of the price of a count: its error is in ranks, a few of thousands.
QUANTILE_WEIGHT = 0.2
MAX_QUANTILE_GROUPS = 1000
LARGEST_SQUARED = 2**20


@dataclass(frozen=True, kw_only=True)
class Needs:
    """One table: the groups it is by, its vectors, their slopes, and the table's weight."""

    by: By
    parts: tuple[Component, ...]
    slopes: tuple[float, ...]
    weight: float = 1.0


def needs(scope: Scope, statistic: Statistic) -> list[Needs]:
    """Raises RequestError for what the schema does not allow."""
    if isinstance(statistic, Top):
        scope.ranked(statistic.column)
    return [_table(scope, statistic, by) for by in scope.tables(statistic)]


def _table(scope: Scope, statistic: Statistic, by: By) -> Needs:
    made = _Vectors(scope, by)
    match statistic:
        case Count() | CountPeople() | Top():
            return _counted(made, statistic)
        case Sum() | Mean() | Share() | Variance() | StandardDeviation() | Ratio():
            return _summed(made, statistic)
        case Covariance() | Correlation() | LinearModel():
            return _moments(made, statistic)
        case LogisticModel():
            return Needs(by=by, parts=(made.gradients(statistic),), slopes=(1.0,))
        case Histogram():
            return Needs(by=by, parts=(made.bins(statistic),), slopes=(1.0,))
        case Survival():
            return Needs(by=by, parts=(made.events(statistic),), slopes=(1.0,))
        case Quantile():
            # The count says whether the group is large enough for the interval to hold.
            parts = (made.ranks(statistic), made.present(statistic.column))
            return Needs(by=by, parts=parts, slopes=(1.0, 0.01), weight=QUANTILE_WEIGHT)


def _counted(made: _Vectors, statistic: Count | CountPeople | Top) -> Needs:
    if isinstance(statistic, Top):
        ranked = _Vectors(made.scope, (*made.by, statistic.column))
        return Needs(by=made.by, parts=(ranked.rows(),), slopes=(1.0,))
    part = made.people() if isinstance(statistic, CountPeople) else made.rows()
    return Needs(by=made.by, parts=(part,), slopes=(1.0,))


def _summed(made: _Vectors, statistic: Sum | Mean | Share | Variance | StandardDeviation | Ratio) -> Needs:
    by = made.by
    if isinstance(statistic, Ratio):
        both = statistic.columns
        above, below = (made.number(c, statistic.bounds.get(c), centred=False) for c in both)
        return Needs(by=by, parts=(made.total(above, given=both), made.total(below, given=both)), slopes=(1.0, 1.0))
    if isinstance(statistic, Sum):
        factor = made.number(statistic.column, statistic.bounds, centred=False)
        return Needs(by=by, parts=(made.total(factor),), slopes=(1.0,))
    present = made.present(statistic.column)
    if isinstance(statistic, Share):
        return Needs(by=by, parts=(made.total(made.flag(statistic.column)), present), slopes=(1.0, 0.5))
    factor = made.number(statistic.column, statistic.bounds)
    if isinstance(statistic, Mean):
        return Needs(by=by, parts=(made.total(factor), present), slopes=(1.0, 0.5))
    return Needs(by=by, parts=(made.total(factor), present, made.squares(factor)), slopes=(0.36, 0.12, 0.25))


def _moments(made: _Vectors, statistic: Covariance | Correlation | LinearModel) -> Needs:
    """Rows, sums and sums of products of the columns: in this order, products by pairs of columns (i, j), i <= j."""
    columns = statistic.columns
    factors = [made.model_number(c, statistic.bounds.get(c)) for c in columns]
    singles = [made.total(f, given=columns) for f in factors]
    pairs: list[Component] = []
    slopes = [0.12, *(0.25 for _ in singles)]
    for (i, x), (j, y) in itertools.combinations_with_replacement(enumerate(factors), 2):
        if i == j and isinstance(statistic, Covariance):
            continue
        pairs.append(made.squares(x, given=columns) if i == j else made.total(x, y, given=columns))
        slopes.append(0.1 if i == j else 1.0)
    return Needs(by=made.by, parts=(made.present(*columns), *singles, *pairs), slopes=tuple(slopes))


class _Vectors:
    """Makes components over one set of groups."""

    def __init__(self, scope: Scope, by: By) -> None:
        self.scope = scope
        self.by = by
        self.cells = scope.cells(by)

    def _component(self, measure: Measure, bound: tuple[float, float], **more: object) -> Component:
        content = {"measure": measure, "by": self.by, "cells": self.cells, "l1": bound[0], "l2": bound[1]}
        return Component(**(content | more))  # type: ignore[arg-type]

    def rows(self) -> Component:
        return self._component(Measure.ROWS, sensitivity.of_rows(self.scope.rows))

    def people(self) -> Component:
        if self.scope.rows == 1:  # one row a person: the same table, and its margins add up
            return self.rows()
        return self._component(Measure.PEOPLE, sensitivity.of_people(self.scope.rows, self.cells))

    def present(self, *columns: str) -> Component:
        """Rows where all the columns are there: the plain count where the schema says they always are."""
        given = tuple(sorted(c for c in columns if not self.scope.always_there(c)))
        if not given:
            return self.rows()
        return self._component(Measure.PRESENT, sensitivity.of_rows(self.scope.rows), given=given)

    def number(self, column: str, asked: Bounds | None, *, centred: bool = True) -> Factor:
        low, high = self._bounds(column, asked)
        return Factor(column=column, grid=grids.grid(self.scope.fields.get(column), low, high, centred=centred))

    def model_number(self, column: str, asked: Bounds | None) -> Factor:
        if self.scope.kind(column) is Kind.BOOLEAN:
            return self.flag(column)
        low, high = self._bounds(column, asked)
        return Factor(column=column, grid=grids.model_grid(self.scope.fields.get(column), low, high))

    def flag(self, column: str) -> Factor:
        if self.scope.kind(column) is not Kind.BOOLEAN:
            raise RequestError(
                "column_not_boolean",
                f"{column!r} is not true or false.",
                f'Derive one: .derive(is_it="{column} = …"), and name that.',
            )
        return grids.flag(column)

    def _bounds(self, column: str, asked: Bounds | None) -> tuple[float, float]:
        if self.scope.kind(column) is not Kind.NUMBER:
            raise RequestError("column_not_number", f"{column!r} is not a number.", "Take a numeric column.")
        return grids.bounds(column, self.scope.fields.get(column), asked)

    def total(self, *factors: Factor, given: By = ()) -> Component:
        largest = 1
        for f in factors:
            largest *= f.grid.largest
        beside = self._beside(given, factors)
        bound = sensitivity.of_sums(self.scope.rows, largest)
        return self._component(Measure.TOTAL, bound, factors=tuple(factors), given=beside)

    def squares(self, factor: Factor, *, given: By = ()) -> Component:
        if factor.grid.largest > LARGEST_SQUARED:
            raise RequestError(
                "bounds_invalid", "These bounds span too many steps of the grid for a variance.", "Narrow them."
            )
        bound = sensitivity.of_squares(self.scope.rows, factor.grid.largest)
        return self._component(Measure.SQUARES, bound, factors=(factor,), given=self._beside(given, (factor,)))

    def _beside(self, given: By, factors: tuple[Factor, ...]) -> By:
        """The columns that must be there besides the factors' own (a row without those counts nowhere anyway)."""
        own = {f.column for f in factors}
        return tuple(sorted(c for c in given if c not in own and not self.scope.always_there(c)))

    def bins(self, statistic: Histogram) -> Component:
        low, high = self._bounds(statistic.column, statistic.bounds)
        bins = grids.equal_bins(self.scope.fields.get(statistic.column), low, high, statistic.bins)
        return self._binned(Measure.BINS, statistic.column, bins, bins.count)

    def ranks(self, statistic: Quantile) -> Component:
        low, high = self._bounds(statistic.column, statistic.bounds)
        bins = grids.candidates(self.scope.fields.get(statistic.column), low, high, statistic.bins)
        if self.cells > MAX_QUANTILE_GROUPS:
            raise RequestError(
                "too_many_cells",
                f"Quantiles are drawn for at most {MAX_QUANTILE_GROUPS} groups at once; this asks for {self.cells}.",
                "Group by fewer columns, or release a histogram.",
            )
        probability = Fraction(statistic.probability).limit_denominator(1000)
        if not 0 < probability < 1:
            raise RequestError("request_invalid", "This probability is too close to 0 or 1.", "Take 0.001 to 0.999.")
        most = sensitivity.of_ranks(self.scope.rows, probability)
        found = self._binned(Measure.RANKS, statistic.column, bins, bins.count)
        return replace(found, l1=most, l2=most, probability=probability)

    def events(self, statistic: Survival) -> Component:
        low, high = self._bounds(statistic.duration, statistic.bounds)
        self.flag(statistic.event)
        bins = grids.equal_bins(self.scope.fields.get(statistic.duration), low, high, statistic.bins)
        found = self._binned(Measure.EVENTS, statistic.duration, bins, 2 * bins.count)
        return replace(found, event=statistic.event)

    def _binned(self, measure: Measure, column: str, bins: object, width: int) -> Component:
        bound = sensitivity.of_rows(self.scope.rows)
        found = self._component(measure, bound, given=(column,), bins=bins)
        return replace(found, cells=self.scope.within(self.cells * width))

    def gradients(self, statistic: LogisticModel) -> Component:
        self.flag(statistic.outcome)
        factors = tuple(self.model_number(c, statistic.bounds.get(c)) for c in statistic.predictors)
        size = len(factors) + 1
        asked = size + size * (size + 1) // 2
        return self._component(
            Measure.GRADIENTS, sensitivity.of_rows(self.scope.rows), cells=asked, factors=factors, given=(statistic.outcome,),
            event=statistic.outcome, steps=statistic.steps * asked,
        )  # fmt: skip
