"""A request against the declared schema: its keys, the exact vectors that have to be measured, and what each may cost.

Guarantees: a pure function of request and schema (both public), so that the price, the shape of the answer and its
rows' order say nothing about data. Bounds wider than the schema's are refused; keys are declared, given, or written in
the expression itself; everything is refused before any row is looked at. Statistics that need the same exact vector
share one (a mean and a count, say), and the request's loss is shared so that the errors together are least
(statistics.shares).
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from tre.errors import RequestError
from tre.rules.accounting import rho_of
from tre.rules.schema import FieldType, TableSchema
from tre.statistics import shares
from tre.statistics.components import Component, Group
from tre.statistics.expression import Compiled, Kind, compile_expression
from tre.statistics.kinds import Histogram, Key, LinearModel, LogisticModel, Statistic, Survival, Top
from tre.statistics.margins import subsets
from tre.statistics.needs import Needs, needs
from tre.statistics.request import Grouping, Request
from tre.statistics.shares import Target

# Cells of one vector: more would take the gateway's time and memory without telling anyone anything.
MAX_CELLS = 100_000

_KINDS = {
    FieldType.INTEGER: Kind.NUMBER,
    FieldType.NUMBER: Kind.NUMBER,
    FieldType.STRING: Kind.TEXT,
    FieldType.BOOLEAN: Kind.BOOLEAN,
    FieldType.DATE: Kind.DATE,
}


@dataclass(frozen=True, kw_only=True)
class Use:
    """One table of a statistic: the groups it is by, and its vectors in the order that statistics.result expects."""

    by: tuple[str, ...]
    parts: tuple[Component, ...]


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything known before a row is read. `derived` and `conditions` are compiled DuckDB SQL, in order.

    `groups` are the request's and those of `top` statistics; `cells` is how many numbers the answer has; `units` is
    what each vector may cost, together at most `rho_units` (of rho, or of epsilon where `pure`).
    """

    request: Request
    columns: tuple[str, ...]
    max_rows: int
    derived: tuple[tuple[str, str], ...]
    conditions: tuple[str, ...]
    groups: Mapping[str, Group]
    components: tuple[Component, ...]
    units: Mapping[Component, int]
    rho_units: int
    pure: bool
    cells: int
    uses: Mapping[str, tuple[Use, ...]]

    def keys(self, by: tuple[str, ...]) -> Iterator[tuple[Key, ...]]:
        """Every combination of the groups' keys, in declared order: the rows of the answer, whatever the data holds."""
        return itertools.product(*(self.groups[g].keys for g in by))

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(g.keys) for name, g in self.groups.items()}


def prepare(request: Request, schema: TableSchema, *, delta: float) -> Prepared:
    """Raises RequestError with a code for whatever the schema or the language does not allow."""
    scope = Scope(request, schema)
    found = {label: needs(scope, statistic) for label, statistic in request.statistics.items()}
    cells = sum(
        scope.shown(statistic, need.by) for label, statistic in request.statistics.items() for need in found[label]
    )
    _limit(cells)
    components = tuple(dict.fromkeys(c for all_needs in found.values() for need in all_needs for c in need.parts))
    sizes = {name: len(g.keys) for name, g in scope.groups.items()}
    pure, rho_units = delta == 0, rho_of(request.epsilon, delta)
    split = shares.optimal(components, [t for n in found.values() for t in _targets(n)], sizes, pure=pure)
    units = {c: math.floor(s * rho_units) for c, s in zip(components, split, strict=True)}
    if min(units[c] // max(c.steps, 1) for c in components) < 1:
        raise RequestError("epsilon_invalid", "This epsilon is too small to be split.", "Ask for a larger one.")
    return Prepared(
        request=request,
        columns=tuple(scope.fields),
        max_rows=schema.unit.max_rows,
        derived=tuple((name, part.sql) for name, part in scope.derived.items()),
        conditions=scope.conditions,
        groups=scope.groups,
        components=components,
        units=units,
        rho_units=rho_units,
        pure=pure,
        cells=cells,
        uses={label: tuple(Use(by=n.by, parts=n.parts) for n in of) for label, of in found.items()},
    )


def _targets(found: list[Needs]) -> Iterator[Target]:
    """A statistic's tables of one size count together as one: margins do not outweigh the table they are margins of."""
    of_size = {len(n.by): sum(len(m.by) == len(n.by) for m in found) for n in found}
    for n in found:
        parts = tuple(zip(n.parts, n.slopes, strict=True))
        yield Target(weight=n.weight / of_size[len(n.by)], parts=parts)


class Scope:
    """The columns a request may name, as it adds to them, and its groups."""

    def __init__(self, request: Request, schema: TableSchema) -> None:
        self.schema = schema
        self.rows = schema.unit.max_rows
        # The identifier is for counting people, not for filters: a filter on it would single a person out.
        self.fields = {f.name: f for f in schema.fields if f.name != schema.unit.field}
        self.kinds = {name: _KINDS[f.type] for name, f in self.fields.items()}
        self.required = {name for name, f in self.fields.items() if f.constraints.required}
        self.derived: dict[str, Compiled] = {}
        for item in request.derive:
            self._derive(item.name, item.expression)
        self.conditions = tuple(self._condition(text) for text in request.where)
        self.by = tuple(g.column for g in request.group_by)
        if len(set(self.by)) < len(self.by):
            raise RequestError("group_invalid", "A column is grouped by twice.", "Name each column once.")
        self.groups = {g.column: self._group(g) for g in request.group_by}

    def _compile(self, text: str) -> Compiled:
        try:
            return compile_expression(text, self.kinds, required=self.required)
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
        if name in self.kinds or name == self.schema.unit.field:
            raise RequestError("column_taken", f"There is already a column {name!r}.", "Give the new one another name.")
        compiled = self._compile(text)
        if compiled.kind is Kind.NULL:
            raise RequestError("expression_refused", f"{name!r} is always NULL.", "Derive something from a column.")
        self.derived[name] = compiled
        self.required |= set() if compiled.nullable else {name}
        self.kinds[name] = compiled.kind

    def _condition(self, text: str) -> str:
        compiled = self._compile(text)
        if compiled.kind is not Kind.BOOLEAN:
            raise RequestError("expression_refused", "A filter must be true or false.", "Compare something in it.")
        return compiled.sql

    # Groups

    def _group(self, group: Grouping) -> Group:
        keys = group.keys if group.keys is not None else self._declared_keys(group.column)
        kind = self.kind(group.column)
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
        self.kind(column)
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

    def ranked(self, column: str) -> None:
        """A group that is not the request's, for a statistic that ranks its keys."""
        if column in self.by:
            raise RequestError("group_invalid", f"{column!r} is already grouped by.", "Rank another column's keys.")
        if column not in self.groups:
            self.groups[column] = self._group(Grouping(column=column))

    def tables(self, statistic: Statistic) -> list[tuple[str, ...]]:
        """The sets of groups that a statistic is wanted by, in the groups' order."""
        asked = self.by if statistic.by is None else statistic.by
        for column in asked:
            if column not in self.by:
                raise RequestError(
                    "group_invalid",
                    f"by names {column!r}, which the request does not group by.",
                    f"Add it: .group_by({column!r}).",
                )
        by = tuple(g for g in self.by if g in asked)
        if isinstance(statistic, LogisticModel) and by:
            raise RequestError(
                "group_invalid", "A logistic model is not made by groups.", "Filter with .where(…), or by=()."
            )
        return list(reversed(subsets(by))) if getattr(statistic, "margins", False) else [by]

    def cells(self, by: tuple[str, ...]) -> int:
        return self.within(math.prod(len(self.groups[g].keys) for g in by))

    def within(self, cells: int) -> int:
        _limit(cells)
        return cells

    def shown(self, statistic: Statistic, by: tuple[str, ...]) -> int:
        """How many numbers a statistic puts into the answer."""
        cells = self.cells(tuple(g for g in by if g in self.by))
        match statistic:
            case Histogram() | Survival():
                return cells * statistic.bins
            case Top():
                return cells * min(statistic.k, len(self.groups[statistic.column].keys))
            case LinearModel() | LogisticModel():
                return cells * (1 + len(statistic.predictors))
            case _:
                return cells

    # Columns

    def kind(self, column: str) -> Kind:
        if column == self.schema.unit.field:
            raise self._identifier()
        if column not in self.kinds:
            raise RequestError(
                "column_unknown",
                f"There is no column {column!r} here.",
                f"Available: {', '.join(sorted(self.kinds))}.",
            )
        return self.kinds[column]

    def always_there(self, column: str) -> bool:
        return column in self.fields and self.fields[column].constraints.required


def _limit(cells: int) -> None:
    if cells > MAX_CELLS:
        raise RequestError(
            "too_many_cells",
            f"This would release {cells} cells at once; the limit is {MAX_CELLS}.",
            "Group by fewer columns, give fewer keys, or use fewer bins.",
        )
