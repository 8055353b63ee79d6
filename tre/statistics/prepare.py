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
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

from tre.errors import RequestError
from tre.rules.accounting import rho_of
from tre.rules.schema import FieldType, TableSchema
from tre.statistics import shares
from tre.statistics.components import Component, Group, Measure
from tre.statistics.expression import KINDS, Compiled, Kind, compile_expression
from tre.statistics.kinds import Histogram, Key, LinearModel, LogisticModel, Statistic, Survival, Top
from tre.statistics.margins import subsets
from tre.statistics.needs import MAX_QUANTILE_GROUPS, Needs, needs
from tre.statistics.request import Grouping, Request
from tre.statistics.shares import Target

# Keys found in the data: the share of the loss, in hundredths, that finding them has, and how many are kept at most.
FINDING = 20
MAX_FOUND = 500
# Units of a request that finds keys: its smallest share is then at least one, however many keys there are.
LEAST_FOUND = 10**7
DELTA_UNIT = 1e-15
# Cells of one vector: more would take the gateway's time and memory without telling anyone anything.
MAX_CELLS = 100_000
# Of one request: planning takes time that grows with the square of the vectors, drawing with the cells.
MAX_VECTORS, MAX_TOTAL = 400, 500_000


@dataclass(frozen=True, kw_only=True)
class Use:
    """One table of a statistic: the groups it is by, and its vectors in the order that statistics.result expects."""

    by: tuple[str, ...]
    parts: tuple[Component, ...]


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Keys still to be found (statistics.found), with what that costs; `again` prepares the request with them.

    `most` of them are kept, so that `again` cannot be refused: that would be told after the rows were read.
    """

    column: str
    units: int
    delta: float
    most: int
    nullable: bool
    again: Callable[[tuple[Key, ...]], Prepared]


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
    delta_units: int
    pure: bool
    cells: int
    uses: Mapping[str, tuple[Use, ...]]
    finding: Finding | None = None

    def keys(self, by: tuple[str, ...]) -> Iterator[tuple[Key, ...]]:
        """Every combination of the groups' keys, in declared order: the rows of the answer, whatever the data holds."""
        return itertools.product(*(self.groups[g].keys for g in by))

    @property
    def sizes(self) -> dict[str, int]:
        return {name: len(g.keys) for name, g in self.groups.items()}


def prepare(request: Request, schema: TableSchema, *, delta: float, keys: tuple[Key, ...] | None = None) -> Prepared:
    """Raises RequestError with a code for whatever the schema or the language does not allow.

    `keys`: those of the group whose keys are found in the data, once they are; before, one stands for all of them.
    """
    scope = Scope(request, schema, keys)
    found = {label: needs(scope, statistic) for label, statistic in request.statistics.items()}
    cells = sum(
        scope.shown(statistic, need.by) for label, statistic in request.statistics.items() for need in found[label]
    )
    _limit(cells)
    components = tuple(dict.fromkeys(c for all_needs in found.values() for need in all_needs for c in need.parts))
    if len(components) > MAX_VECTORS or sum(c.cells for c in components) > MAX_TOTAL:
        raise RequestError(
            "too_many_cells",
            f"This needs {len(components)} vectors of {sum(c.cells for c in components)} cells together; the limits are "
            f"{MAX_VECTORS} and {MAX_TOTAL}.",
            "Ask for fewer statistics, predictors or margins in one release.",
        )
    sizes = {name: len(g.keys) for name, g in scope.groups.items()}
    pure, rho_units = delta == 0, rho_of(request.epsilon, delta)
    finding = _finding(request, schema, rho_units, delta, cells, components, scope)
    of_statistics = rho_units - (finding.units if finding else 0)
    split = shares.optimal(components, [t for n in found.values() for t in _targets(n, pure=pure)], sizes, pure=pure)
    units = {c: math.floor(s * of_statistics) for c, s in zip(components, split, strict=True)}
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
        delta_units=math.ceil(finding.delta / DELTA_UNIT) if finding else 0,
        pure=pure,
        cells=cells * (finding.most if finding and keys is None else 1),
        finding=finding if keys is None else None,
        uses={label: tuple(Use(by=n.by, parts=n.parts) for n in of) for label, of in found.items()},
    )


def _finding(
    request: Request,
    schema: TableSchema,
    rho_units: int,
    delta: float,
    cells: int,
    components: tuple[Component, ...],
    scope: Scope,
) -> Finding | None:
    group = request.finding
    if group is None or group.found is None:
        return None
    if delta == 0:
        raise RequestError(
            "keys_unknown",
            "Keys cannot be found in data about this population: its losses are kept with a delta of 0.",
            f'Give them: .group_by({group.column}=["…", "…"]).',
        )
    if rho_units < LEAST_FOUND:
        raise RequestError("epsilon_invalid", "This epsilon is too small to find keys with.", "Ask for a larger one.")
    ranked = [c.cells // c.bins.count for c in components if c.measure is Measure.RANKS and c.bins is not None]
    limits = [MAX_CELLS // max(cells, *(c.cells for c in components)), *(MAX_QUANTILE_GROUPS // n for n in ranked)]
    limits.append(MAX_TOTAL // sum(c.cells for c in components))
    return Finding(
        column=group.column, units=rho_units * FINDING // 100, delta=group.found, most=max(1, min(MAX_FOUND, *limits)),
        nullable=None in scope.groups[group.column].keys,
        again=lambda keys: prepare(request, schema, delta=delta, keys=keys),
    )  # fmt: skip


def _targets(found: list[Needs], *, pure: bool) -> Iterator[Target]:
    """A statistic's tables of one size count together as one: margins do not outweigh the table they are margins of.

    In pure epsilon an error grows with the share itself and not with its root, so weights other than one are milder.
    What weighs less may be less accurate than by an even split.
    """
    of_size = {len(n.by): sum(len(m.by) == len(n.by) for m in found) for n in found}
    for n in found:
        parts = tuple(zip(n.parts, n.slopes, strict=True))
        weight = math.sqrt(n.weight) if pure else n.weight
        yield Target(weight=weight / of_size[len(n.by)], parts=parts, most=n.weight**-0.5)


class Scope:
    """The columns a request may name, as it adds to them, and its groups."""

    def __init__(self, request: Request, schema: TableSchema, found: tuple[Key, ...] | None = None) -> None:
        self.schema = schema
        self.found = found
        self.rows = schema.unit.max_rows
        # The identifier is for counting people, not for filters: a filter on it would single a person out.
        self.fields = {f.name: f for f in schema.fields if f.name != schema.unit.field}
        self.kinds = {name: KINDS[f.type] for name, f in self.fields.items()}
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
        kind = self.kind(group.column)
        if group.found is not None:
            return self._found_group(group.column, kind)
        keys = group.keys if group.keys is not None else self._declared_keys(group.column)
        wanted = {Kind.NUMBER: int, Kind.TEXT: str, Kind.BOOLEAN: bool}.get(kind)
        if wanted is None or any(type(k) is not wanted for k in keys if k is not None):
            raise RequestError(
                "group_invalid",
                f"The keys given for {group.column!r} are not of its kind ({kind.value}).",
                "Text columns take text keys, number columns whole numbers; dates are grouped by a derived column.",
            )
        if len(set(keys)) < len(keys):
            raise RequestError("group_invalid", f"A key of {group.column!r} is given twice.", "Give each key once.")
        if any(isinstance(k, int) and not -(2**63) <= k < 2**63 for k in keys):
            # Compared with a wider constant, the rows would be cast to its type, and the cast fail on one of them.
            raise RequestError("group_invalid", f"A key of {group.column!r} has more than 64 bits.", "Group by text.")
        return Group(column=group.column, keys=tuple(keys))

    def _found_group(self, column: str, kind: Kind) -> Group:
        """The keys found, and missing where the column may be; before they are found, one key in their place."""
        whole = column in self.fields and self.fields[column].type is FieldType.INTEGER
        if kind is not Kind.TEXT and not whole:
            raise RequestError(
                "group_invalid",
                f"The keys of {column!r} cannot be found: it holds neither text nor declared whole numbers.",
                "Derive a text column, or group by a derived number with given keys.",
            )
        nullable = self.derived[column].nullable if column in self.derived else not self.always_there(column)
        missing: tuple[Key, ...] = (None,) if nullable else ()
        return Group(column=column, keys=(*(("…",) if self.found is None else self.found), *missing))

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
                f'Give them: .group_by({column}=["…", "…"]). Or have common ones found: .group_by({column}=tre.found(1e-8)).',
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
