"""A dataset's handle in a notebook: rows for exploring, and the way to a release.

Guarantees: a handle is immutable (`where`, `derive`, `group_by` give a new one); every frame of a twin says SYNTHETIC in
its display and in `frame.attrs["tre"]`; a release checks its request against the declared schema before any row is read.
"""

from __future__ import annotations

import html
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow.parquet as pq

from tre.desk.release import Origin, Release
from tre.desk.workspace import Workspace
from tre.errors import RequestError
from tre.messages import LABEL, DatasetInfo, World
from tre.statistics.aggregate import open_rows
from tre.statistics.prepare import prepare
from tre.statistics.request import Statistic, parse
from tre.statistics.result import evaluate

if TYPE_CHECKING:
    import polars as pl


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

    def __init__(self, workspace: Workspace, info: DatasetInfo, parts: dict[str, Any] | None = None) -> None:
        self._workspace = workspace
        self.info = info
        self._parts: dict[str, Any] = parts or {"where": (), "derive": (), "group_by": ()}

    def _with(self, part: str, *more: Any) -> Dataset:
        parts = {**self._parts, part: (*self._parts[part], *more)}
        return Dataset(self._workspace, self.info, parts)

    # Rows

    def to_pandas(self) -> pd.DataFrame:
        """The rows as a pandas frame: the twin's at the desk and in a rehearsal, the real ones inside the secure run."""
        path = self._workspace.rows(self.info.id)
        frame: pd.DataFrame = pq.read_table(path, columns=list(self.info.columns)).to_pandas()
        if self._workspace.world is World.RUN:
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
        return polars.read_parquet(self._workspace.rows(self.info.id), columns=list(self.info.columns))

    def _says(self) -> str:
        twin = self.info.twin
        if twin is None:
            return f"SYNTHETIC twin of {self.info.id}"
        return f"SYNTHETIC {twin.tier} twin of {self.info.id}, made {twin.made}: {twin.learnt}"

    # Towards a release

    def where(self, *conditions: str) -> Dataset:
        """Keep the rows for which every condition (a SQL scalar expression) is true; NULL is not."""
        return self._with("where", *conditions)

    def derive(self, **expressions: str) -> Dataset:
        """Add columns, each by a SQL scalar expression over the columns there are so far."""
        return self._with("derive", *({"name": n, "expression": e} for n, e in expressions.items()))

    def group_by(self, *columns: str, **keys: Any) -> Dataset:
        """A table by these columns. Keys are the declared categories, or given: `group_by(site=["Seattle", "Dayton"])`."""
        given = ({"column": c, "keys": tuple(k)} for c, k in keys.items())
        return self._with("group_by", *({"column": c} for c in columns), *given)

    def release(self, name: str, *, epsilon: float, **statistics: Statistic) -> Release:
        """Ask for these statistics together, at this epsilon. What comes back depends on the world (see help(tre)).

        Raises RequestError, with a code, for anything that the schema or the language does not allow.
        """
        request = parse({"dataset": self.info.id, **self._parts, "statistics": statistics, "epsilon": epsilon})
        prepared = prepare(request, self.info.table, delta=self.info.delta)
        self._workspace.emit_request(_checked(name), request)
        released = self._workspace.released(request)
        if released is not None:
            value, key_known = released
            origin = Origin.RELEASED if key_known else Origin.UNVERIFIED
            return Release(name, request, value.table, origin, self.info, value.release)
        with open_rows(self._workspace.rows(self.info.id)) as connection:
            table = evaluate(connection, prepared)
        origin = Origin.THROW_AWAY if self._workspace.world is World.RUN else Origin.SYNTHETIC
        return Release(name, request, table, origin, self.info)

    # Display

    def __repr__(self) -> str:
        return f"<tre dataset {self.info.id}: {self.info.title}; {len(self.info.columns)} columns; {self._world()}>"

    def _world(self) -> str:
        return "real rows" if self._workspace.world is World.RUN else self._says()

    def _repr_html_(self) -> str:
        fields = {f.name: f for f in self.info.table.fields}
        rows = "".join(
            f"<tr><td><code>{html.escape(n)}</code></td><td>{fields[n].type.value}</td>"
            f"<td>{html.escape(fields[n].title)}</td><td>{html.escape(_range(fields[n]))}</td></tr>"
            for n in self.info.columns
        )
        head = "<tr><th>column</th><th>type</th><th>meaning</th><th>declared values</th></tr>"
        badge = "" if self._workspace.world is World.RUN else _badge(self._says())
        return f"<b>{html.escape(self.info.title)}</b><br>{badge}<table>{head}{rows}</table>"


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
