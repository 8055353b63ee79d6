"""A dataset's handle in a notebook: rows for exploring, and the way to a release.

Guarantees: a handle is immutable (`where`, `derive`, `group_by` give a new one); every frame of a twin says SYNTHETIC in
its display and in `frame.attrs["tre"]`; a release checks its request against the declared schema before any row is read.
"""

from __future__ import annotations

import html
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import duckdb
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from tre.desk import advice
from tre.desk.pricing import Quote
from tre.desk.release import Origin, Release
from tre.desk.workspace import Workspace
from tre.errors import RequestError
from tre.messages import LABEL, DatasetInfo
from tre.statistics.aggregate import open_rows
from tre.statistics.kinds import Reference, Statistic
from tre.statistics.prepare import prepare
from tre.statistics.price import epsilon_for, price
from tre.statistics.references import resolve, value_of
from tre.statistics.request import Request, parse
from tre.statistics.result import evaluate
from tre.statistics.sql import quote
from tre.statistics.table import Price
from tre.statistics.table import Table as Values

if TYPE_CHECKING:
    import polars as pl

    from tre.desk.declared import Table


Errors = float | Mapping[str, float] | None

# The tables of this notebook's releases, by request: what a later release's bounds may refer to.
_tables: dict[str, Values] = {}


@dataclass(frozen=True)
class Found:
    """Keys to be found in the data; `delta` is charged on top."""

    delta: float


class TwinFrame(pd.DataFrame):
    """An ordinary frame of synthetic rows whose display says so; whatever is made from it by pandas is one too."""

    @property
    def _constructor(self) -> type[TwinFrame]:
        return TwinFrame

    def _repr_html_(self) -> str:
        table: str = super()._repr_html_()  # type: ignore[misc]  # pandas-stubs do not have it
        return f"{_badge(str(self.attrs.get('tre', 'SYNTHETIC')))}{table}"

    def __repr__(self) -> str:
        return f"[SYNTHETIC] {self.attrs.get('tre', '')}\n{super().__repr__()}"


def _badge(text: str) -> str:
    style = "display:inline-block;padding:2px 8px;border-radius:4px;background:#5b3f8c;color:#fff;font-size:0.85em"
    return f'<div style="{style}">SYNTHETIC</div> <small>{html.escape(text)}</small>'


class Dataset:
    """`tre.dataset(...)`: see help(tre)."""

    def __init__(
        self,
        workspace: Workspace,
        info: DatasetInfo,
        parts: dict[str, Any] | None = None,
        other: DatasetInfo | None = None,
    ) -> None:
        self._workspace = workspace
        self._own, self._other = info, other
        self.info = info if other is None else info.linked(other)
        self._parts: dict[str, Any] = parts or {"where": (), "derive": (), "group_by": ()}

    def _with(self, part: str, *more: Any) -> Dataset:
        parts = {**self._parts, part: (*self._parts[part], *more)}
        return Dataset(self._workspace, self._own, parts, self._other)

    # Rows

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame: the twin's at the desk and in a rehearsal, the real ones inside the secure run."""
        frame: pd.DataFrame = self._table().to_pandas()
        if self._workspace.world.real:
            return frame
        twin = TwinFrame(frame)
        twin.attrs["tre"] = self._says()
        return twin

    def to_polars(self) -> pl.DataFrame:
        """The rows as a Polars frame; it needs Polars to be installed."""
        try:
            import polars
        except ImportError:
            raise RequestError("polars_missing", "Polars is not installed here.", "pip install polars") from None
        return polars.DataFrame(polars.from_arrow(self._table()))

    def _table(self) -> pa.Table:
        """The project's columns; of two linked datasets, the pairs."""
        if self._other is None:
            return pq.read_table(self._workspace.rows(self._own.id), columns=list(self.info.columns))
        listed = ", ".join(map(quote, self.info.columns))
        with self._open() as connection:
            return connection.sql(f"SELECT {listed} FROM rows").to_arrow_table()

    def _says(self) -> str:
        twin = self.info.twin
        if twin is None:
            return f"SYNTHETIC twin of {self.info.id}"
        return twin.says(self.info.id)

    # Towards a release

    def link(self, other: Dataset) -> Dataset:
        """Pairs of one person's rows of both datasets (an inner join); what the other has besides is added as columns.

        A column that both have gets the other dataset's name before its own. Raises RequestError: link_invalid.
        """
        if any(self._parts.values()) or any(other._parts.values()) or self._other or other._other:
            raise RequestError(
                "link_invalid",
                "Two datasets are linked as they are: before filters, derived columns and groups, and not three.",
                "Link first, then .where(…), .derive(…), .group_by(…).",
            )
        return Dataset(self._workspace, self._own, None, other._own)

    def _open(self) -> duckdb.DuckDBPyConnection:
        """The rows of the twin, or inside a run the real ones (of which a sandbox has no identifiers: pairs are mixed)."""
        rows = self._workspace.rows(self._own.id)
        other = self._other
        link = None if other is None else self._own.link_to(other, self._workspace.rows(other.id))
        return open_rows(rows, link=link)

    def where(self, *conditions: str) -> Dataset:
        """Keep the rows for which every condition (a SQL scalar expression) is true; NULL is not."""
        return self._with("where", *conditions)

    def derive(self, **expressions: str) -> Dataset:
        """Add columns, each by a SQL scalar expression over the columns there are so far."""
        return self._with("derive", *({"name": n, "expression": e} for n, e in expressions.items()))

    def group_by(self, *columns: str, **keys: Any) -> Dataset:
        """A table by these columns. Keys are the declared categories, or given: `group_by(site=["Seattle", "Dayton"])`."""
        given = (
            {"column": c} | ({"found": k.delta} if isinstance(k, Found) else {"keys": tuple(k)})
            for c, k in keys.items()
        )
        return self._with("group_by", *({"column": c} for c in columns), *given)

    def release(
        self, name: str, *, epsilon: float | None = None, error: Errors = None, **statistics: Statistic
    ) -> Release:
        """Ask for these statistics together, at this epsilon. What comes back depends on the world (see help(tre)).

        With `error` instead (a number for the first statistic, or one for each label), epsilon is the least that makes
        the expected error at 95 % as small. Raises RequestError, with a code, for what schema or language do not allow.
        """
        request = self._request(epsilon, error, statistics)
        prepared = prepare(resolve(request, self.info.table, _value), self.info.table, delta=self.info.delta)
        self._workspace.emit_request(_checked(name), request)
        released = self._workspace.released(request)
        if released is not None:
            value, key_known = released
            origin = Origin.RELEASED if key_known else Origin.UNVERIFIED
            return _kept(Release(name, request, value.table, origin, self.info, value.release))
        with self._open() as connection:
            table = evaluate(connection, prepared)
        origin = Origin.THROW_AWAY if self._workspace.world.real else Origin.SYNTHETIC
        return _kept(Release(name, request, table, origin, self.info))

    def table(self, *, totals: bool = False, **statistics: Statistic) -> Table:
        """The same groups as a table without noise, for `tre.output`: trusted code will compute it on the real rows, and two
        people decide. `totals`: also by fewer groups. Raises RequestError, with a code."""
        from tre.desk.declared import Table
        from tre.statistics import declared

        if self._other is not None:
            raise RequestError(
                "table_invalid", "A table is of one dataset.", "Release it with noise, or give tre.output a frame."
            )
        plain = {n: s.model_dump() for n, s in statistics.items()}
        content = {"dataset": self._own.id, **self._parts, "statistics": plain, "totals": totals}
        return Table(self, declared.parse(content))

    def price(self, *, epsilon: float | None = None, error: Errors = None, **statistics: Statistic) -> Quote:
        """What such a release would cost, and the errors to expect. Nothing is asked for, charged or read.

        `error=50` asks the other way round: the least epsilon for that error at 95 %.
        """
        found = self._price_of(self._request(epsilon, error, statistics))
        return Quote(found, self.info, tuple(self._workspace.balances(self.info.population)))

    def priced(self, epsilon: float, statistics: dict[str, Statistic]) -> Price:
        """The price alone, without asking anybody what is left."""
        return self._price_of(self._request(epsilon, None, statistics))

    def _price_of(self, request: Request) -> Price:
        prepared = prepare(resolve(request, self.info.table, _value), self.info.table, delta=self.info.delta)
        return price(prepared, delta=self.info.delta, size=self.info.size)

    def _request(self, epsilon: float | None, error: Errors, statistics: dict[str, Statistic]) -> Request:
        if (epsilon is None) == (error is None):
            raise RequestError(
                "epsilon_invalid",
                "A release has an epsilon or an error to aim for.",
                "Give one: epsilon=0.5 or error=50.",
            )
        link = self._other.id if self._other is not None else None
        content = {"dataset": self._own.id, "link": link, **self._parts, "statistics": statistics}
        if error is None:
            return parse(content | {"epsilon": epsilon})
        request = parse(content | {"epsilon": 1.0})
        targets = error if isinstance(error, Mapping) else {next(iter(statistics)): error}
        needed = epsilon_for(
            resolve(request, self.info.table, _value), self.info.table, dict(targets), delta=self.info.delta,
            size=self.info.size,
        )  # fmt: skip
        return request.model_copy(update={"epsilon": needed})

    def advise(self, column: str, *, epsilon: float = 1.0, groups: int = 1) -> pd.DataFrame:
        """Bounds for a mean of `column`, tried on the twin: what each pair cuts off, and the noise it lets in."""
        if self._workspace.world.real:
            raise RequestError("advice_outside", "Bounds are chosen on the twin.", "Take them from your rehearsal.")
        if column not in self.info.columns:
            raise RequestError("column_unknown", f"There is no column {column!r} here.", "See the dataset's display.")
        return advice.bounds(self._table()[column].to_pandas(), self.info, column, epsilon=epsilon, groups=groups)

    # Display

    def __repr__(self) -> str:
        return f"<tre dataset {self.info.id}: {self.info.title}; {len(self.info.columns)} columns; {self._world()}>"

    def _world(self) -> str:
        return "real rows" if self._workspace.world.real else self._says()

    def _repr_html_(self) -> str:
        badge = "" if self._workspace.world.real else _badge(self._says())
        own = html.escape(self._own.id)
        keep = (
            f"<small>The twin to keep or pass on: <code>tre twin {own} --out {own}-twin</code></small>" if badge else ""
        )
        return f"<b>{html.escape(self.info.title)}</b><br>{badge}{columns_table(self.info)}{keep}"


def columns_table(info: DatasetInfo) -> str:
    """The declared columns as HTML."""
    fields = {f.name: f for f in info.table.fields}
    rows = "".join(
        f"<tr><td><code>{html.escape(n)}</code></td><td>{fields[n].type.value}</td>"
        f"<td>{html.escape(fields[n].title)}</td><td>{html.escape(_range(fields[n]))}</td></tr>"
        for n in info.columns
    )
    head = "<tr><th>column</th><th>type</th><th>meaning</th><th>declared values</th></tr>"
    return f"<table>{head}{rows}</table>"


def _range(field: Any) -> str:
    if field.categories:
        return ", ".join(str(c) for c in field.categories)
    low, high = field.constraints.minimum, field.constraints.maximum
    return f"{low} to {high}" if low is not None and high is not None else ""


def _checked(name: str) -> str:
    """A label is letters, digits, - and _: it becomes part of a file name in the bundle."""
    import re

    if not isinstance(name, str) or not re.fullmatch(LABEL, name):
        raise RequestError(
            "name_invalid", "A release's name is 1 to 63 letters, digits, - or _.", 'For instance "visits-by-age".'
        )
    return name


def _kept(release: Release) -> Release:
    _tables[release.request.digest] = release.table
    return release


def _value(reference: Reference) -> float | None:
    try:
        return value_of(_tables[reference.request], reference)
    except KeyError:
        return None
