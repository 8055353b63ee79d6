"""A request against the declared schema: its keys, and the exact vectors that have to be measured for it.

Guarantees: a pure function of request and schema (both public), so that the price, the shape of the answer and its
rows' order say nothing about data. Bounds wider than the schema's are refused; keys are declared, given, or written in
the expression itself; everything is refused before any row is looked at. Two statistics that need the same exact
vector share one (a mean and a count, say), and the request's loss is split evenly over the different vectors.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

from tre.errors import RequestError
from tre.rules.accounting import rho_of, share
from tre.rules.schema import FieldType, SchemaField, TableSchema
from tre.statistics import sensitivity
from tre.statistics.expression import Compiled, Kind, compile_expression
from tre.statistics.request import (
    Count,
    CountPeople,
    Grouping,
    Histogram,
    Key,
    Mean,
    Quantile,
    Request,
    Statistic,
    Sum,
    Variance,
)

# Cells of one vector: more would take the gateway's time and memory without telling anyone anything.
MAX_CELLS = 100_000
# A derived number has no declared grid; its bounds are cut into this many steps.
DERIVED_STEPS = 10_000
MAX_STEPS = 2.0**40
MAX_BINS = 10_000

_KINDS = {
    FieldType.INTEGER: Kind.NUMBER,
    FieldType.NUMBER: Kind.NUMBER,
    FieldType.STRING: Kind.TEXT,
    FieldType.BOOLEAN: Kind.BOOLEAN,
    FieldType.DATE: Kind.DATE,
}


class Measure(StrEnum):
    """The kinds of exact vector."""

    ROWS = "rows"
    PEOPLE = "people"
    PRESENT = "present"  # rows in which the number is there
    TOTAL = "total"  # sum of the number in steps from its centre
    SQUARES = "squares"  # sum of 2 n^2 - largest^2, n the steps from the centre: squares, centred too
    BINS = "bins"  # rows by bin of the number


@dataclass(frozen=True, kw_only=True)
class Grid:
    """A clamped number as a whole number of steps from `centre`, between -`largest` and +`largest`."""

    low: float
    high: float
    step: float
    centre: float

    @property
    def largest(self) -> int:
        return math.ceil(max(self.high - self.centre, self.centre - self.low) / self.step)


@dataclass(frozen=True, kw_only=True)
class Component:
    """One exact vector: a cell for each key (times `bins`), its L2 sensitivity, and the SQL column it is made of."""

    measure: Measure
    cells: int
    sensitivity: float
    column: str | None = None
    grid: Grid | None = None
    bins: int = 1


@dataclass(frozen=True, kw_only=True)
class Group:
    column: str
    keys: tuple[Key, ...]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything known before a row is read. `derived` and `conditions` are compiled DuckDB SQL, in order.

    `cells` is how many numbers the answer has.
    """

    request: Request
    columns: tuple[str, ...]
    max_rows: int
    derived: tuple[tuple[str, str], ...]
    conditions: tuple[str, ...]
    groups: tuple[Group, ...]
    components: tuple[Component, ...]
    rho_units: int
    cells: int
    uses: Mapping[str, tuple[Component, ...]]

    @property
    def keys(self) -> Iterator[tuple[Key, ...]]:
        """Every combination of keys, in declared order: the rows of the answer, whatever the data holds."""
        return itertools.product(*(g.keys for g in self.groups))

    @property
    def units_each(self) -> int:
        return share(self.rho_units, len(self.components))


def prepare(request: Request, schema: TableSchema, *, delta: float) -> Prepared:
    """Raises RequestError with a code for whatever the schema or the language does not allow."""
    builder = _Builder(request, schema)
    cells = sum(builder.shown(statistic) for statistic in request.statistics.values())
    _limit(cells)
    uses = {label: builder.components(statistic) for label, statistic in request.statistics.items()}
    distinct = tuple(dict.fromkeys(c for parts in uses.values() for c in parts))
    rho_units = rho_of(request.epsilon, delta)
    if share(rho_units, len(distinct)) < 1:
        raise RequestError("epsilon_invalid", "This epsilon is too small to be split.", "Ask for a larger one.")
    return Prepared(
        request=request,
        columns=tuple(builder.fields),
        max_rows=schema.unit.max_rows,
        derived=tuple((name, part.sql) for name, part in builder.derived.items()),
        conditions=builder.conditions,
        groups=builder.groups,
        components=distinct,
        rho_units=rho_units,
        cells=cells,
        uses=uses,
    )


class _Builder:
    def __init__(self, request: Request, schema: TableSchema) -> None:
        self.schema = schema
        self.rows = schema.unit.max_rows
        # The identifier is for counting people, not for filters: a filter on it would single a person out.
        self.fields = {f.name: f for f in schema.fields if f.name != schema.unit.field}
        self.scope = {name: _KINDS[f.type] for name, f in self.fields.items()}
        self.required = {name for name, f in self.fields.items() if f.constraints.required}
        self.derived: dict[str, Compiled] = {}
        for item in request.derive:
            self._derive(item.name, item.expression)
        self.conditions = tuple(self._condition(text) for text in request.where)
        self.groups = tuple(self._group(g) for g in request.group_by)
        if len({g.column for g in self.groups}) < len(self.groups):
            raise RequestError("group_invalid", "A column is grouped by twice.", "Name each column once.")
        self.cells = math.prod(len(g.keys) for g in self.groups)
        _limit(self.cells)

    def _compile(self, text: str) -> Compiled:
        try:
            return compile_expression(text, self.scope, required=self.required)
        except RequestError as refused:
            if refused.code == "column_unknown" and f"column {self.schema.unit.field!r}" in refused.message:
                raise self._identifier() from None
            raise

    def _identifier(self) -> RequestError:
        return RequestError(
            "column_unknown",
            f"{self.schema.unit.field!r} says whose a row is; it is there for no filter, group or statistic.",
            "Count people with tre.count_people(); single people are never selected.",
        )

    def _derive(self, name: str, text: str) -> None:
        if name in self.scope or name == self.schema.unit.field:
            raise RequestError("column_taken", f"There is already a column {name!r}.", "Give the new one another name.")
        compiled = self._compile(text)
        if compiled.kind is Kind.NULL:
            raise RequestError("expression_refused", f"{name!r} is always NULL.", "Derive something from a column.")
        self.derived[name] = compiled
        self.required |= set() if compiled.nullable else {name}
        self.scope[name] = compiled.kind

    def _condition(self, text: str) -> str:
        compiled = self._compile(text)
        if compiled.kind is not Kind.BOOLEAN:
            raise RequestError("expression_refused", "A filter must be true or false.", "Compare something in it.")
        return compiled.sql

    def _group(self, group: Grouping) -> Group:
        keys = group.keys if group.keys is not None else self._declared_keys(group.column)
        kind = self._kind(group.column)
        wanted = {Kind.NUMBER: int, Kind.TEXT: str, Kind.BOOLEAN: bool}.get(kind)
        if wanted is None or any(type(k) is not wanted for k in keys if k is not None):
            raise RequestError(
                "group_invalid",
                f"The keys given for {group.column!r} are not of its kind ({kind.value}).",
                "Text columns take text keys, number columns whole numbers; dates are grouped by a derived column.",
            )
        if len(set(keys)) < len(keys):
            raise RequestError("group_invalid", f"A key of {group.column!r} is given twice.", "Give each key once.")
        return Group(column=group.column, keys=tuple(keys))

    def _declared_keys(self, column: str) -> tuple[Key, ...]:
        self._kind(column)
        values: tuple[int | str | bool, ...] | None
        if column in self.derived:
            values, nullable = self.derived[column].values, self.derived[column].nullable
        else:
            values, nullable = self.fields[column].categories, not self.fields[column].constraints.required
        if not values:
            raise RequestError(
                "keys_unknown",
                f"What values {column!r} can take is neither declared nor written in its expression.",
                f'Give them: .group_by({column}=["…", "…"]). Keys found in the data would tell of people.',
            )
        return (*values, None) if nullable else tuple(values)

    def _kind(self, column: str) -> Kind:
        if column == self.schema.unit.field:
            raise self._identifier()
        if column not in self.scope:
            raise RequestError(
                "column_unknown",
                f"There is no column {column!r} here.",
                f"Available: {', '.join(sorted(self.scope))}.",
            )
        return self.scope[column]

    def shown(self, statistic: Statistic) -> int:
        """How many numbers a statistic puts into the answer."""
        return self.cells * (statistic.bins if isinstance(statistic, Histogram) else 1)

    def components(self, statistic: Statistic) -> tuple[Component, ...]:
        """The exact vectors a statistic needs, in the order that statistics.result expects."""
        match statistic:
            case Count():
                return (self._rows(),)
            case CountPeople():
                return (self._people(),)
            case Sum():
                return (self._total(statistic.column, self._grid(statistic, centred=False)),)
            case Mean():
                return (
                    self._total(statistic.column, self._grid(statistic, centred=True)),
                    self._present(statistic.column),
                )
            case Variance():
                grid = self._grid(statistic, centred=True)
                total, present = self._total(statistic.column, grid), self._present(statistic.column)
                return (total, present, self._squares(statistic.column, grid))
            case Quantile() | Histogram():
                return (self._bins(statistic.column, self._grid(statistic, centred=True), statistic.bins),)

    def _rows(self) -> Component:
        return Component(measure=Measure.ROWS, cells=self.cells, sensitivity=sensitivity.of_rows(self.rows))

    def _people(self) -> Component:
        of = sensitivity.of_people(self.rows, self.cells)
        return Component(measure=Measure.PEOPLE, cells=self.cells, sensitivity=of)

    def _present(self, column: str) -> Component:
        """Rows where the number is there: the plain count where the schema says it always is."""
        if column in self.fields and self.fields[column].constraints.required:
            return self._rows()
        of = sensitivity.of_rows(self.rows)
        return Component(measure=Measure.PRESENT, cells=self.cells, sensitivity=of, column=column)

    def _total(self, column: str, grid: Grid) -> Component:
        of = sensitivity.of_sums(self.rows, grid.largest)
        return Component(measure=Measure.TOTAL, cells=self.cells, sensitivity=of, column=column, grid=grid)

    def _squares(self, column: str, grid: Grid) -> Component:
        if grid.largest > 2**20:
            raise RequestError(
                "bounds_invalid", "These bounds span too many steps of the grid for a variance.", "Narrow them."
            )
        of = sensitivity.of_squares(self.rows, grid.largest)
        return Component(measure=Measure.SQUARES, cells=self.cells, sensitivity=of, column=column, grid=grid)

    def _bins(self, column: str, grid: Grid, bins: int) -> Component:
        _limit(self.cells * bins)
        of = sensitivity.of_rows(self.rows)
        return Component(
            measure=Measure.BINS, cells=self.cells * bins, sensitivity=of, column=column, grid=grid, bins=bins
        )

    def _grid(self, statistic: Sum | Mean | Variance | Quantile | Histogram, *, centred: bool) -> Grid:
        column = statistic.column
        if self._kind(column) is not Kind.NUMBER:
            raise RequestError("column_not_number", f"{column!r} is not a number.", "Take a numeric column.")
        field = self.fields.get(column)
        low, high = self._bounds(column, field, statistic.bounds)
        step = (field.grid if field is not None else None) or (high - low) / DERIVED_STEPS
        largest = max(abs(low), abs(high))
        # Steps must be counted exactly in doubles, wherever the grid's centre lies.
        if not (step > 0 and largest / step <= MAX_STEPS and (high - low) / MAX_BINS > largest * 2**-40):
            raise RequestError(
                "bounds_invalid",
                "These bounds are too far from zero, or too close together, for their grid.",
                "Derive a column that is moved and scaled, for instance  (value - 1000000) / 1000, and bound that.",
            )
        # A sum is measured from 0, so that an empty group's sum is 0; a mean from the middle, where the noise is least.
        centre = low + step * math.floor((high - low) / (2 * step)) if centred else 0.0
        return Grid(low=low, high=high, step=step, centre=centre)

    def _bounds(self, column: str, field: SchemaField | None, asked: tuple[float, float] | None) -> tuple[float, float]:
        declared = field.bounds if field is not None else None
        if asked is None:
            if declared is None:
                raise RequestError(
                    "bounds_missing",
                    f"{column!r} has no declared bounds.",
                    f'Give them: bounds=(low, high); look at the twin for a sensible pair for "{column}".',
                )
            return declared
        if declared is not None and not (declared[0] <= asked[0] and asked[1] <= declared[1]):
            raise RequestError(
                "bounds_invalid",
                f"The bounds of {column!r} are wider than the declared {declared[0]:g} to {declared[1]:g}.",
                "Stay within them: no value lies outside.",
            )
        return asked


def _limit(cells: int) -> None:
    if cells > MAX_CELLS:
        raise RequestError(
            "too_many_cells",
            f"This would release {cells} cells at once; the limit is {MAX_CELLS}.",
            "Group by fewer columns, give fewer keys, or use fewer bins.",
        )
