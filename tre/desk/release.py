"""A release in a notebook: values with intervals, a badge saying which world they come from, and a plot.

Guarantees: a synthetic value can not be taken for a released one: text, HTML, frame and plot all say which it is.
"""

from __future__ import annotations

import html
from enum import Enum
from typing import TYPE_CHECKING, Any

import pandas as pd

from tre.errors import RequestError
from tre.messages import DatasetInfo
from tre.statistics.kinds import Reference
from tre.statistics.references import value_of
from tre.statistics.request import Request
from tre.statistics.table import Cell, Table

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Origin(Enum):
    """Where the numbers come from: (short, sentence, colour)."""

    SYNTHETIC = ("SYNTHETIC", "computed on the synthetic twin; the errors are those to expect on real data", "#5b3f8c")
    THROW_AWAY = ("INSIDE", "noise drawn to let this run go on; this value never leaves the secure area", "#8a4b08")
    UNVERIFIED = (
        "UNVERIFIED",
        "from a bundle signed with a key that this desk does not know: see tre verify",
        "#a4262c",
    )
    RELEASED = ("RELEASED", "real data, with noise the ledger has paid for", "#0b6e4f")

    @property
    def badge(self) -> str:
        return self.value[0]

    @property
    def sentence(self) -> str:
        return self.value[1]

    @property
    def colour(self) -> str:
        return self.value[2]


class ReleasedValue(float):
    """A number of a release that also knows where it is from: as a bound it goes as a reference, not as a number."""

    reference: Reference


class Release:
    def __init__(
        self, name: str, request: Request, table: Table, origin: Origin, info: DatasetInfo, release: str | None = None
    ) -> None:
        self.name = name
        self.request = request
        self.table = table
        self.origin = origin
        self.info = info
        self.release = release

    def __getitem__(self, statistic: str) -> pd.DataFrame:
        """One statistic, a row a key (and bin): value, error, low, high."""
        return _long(self.table, [c for c in self.table.cells if c.statistic == statistic]).drop(columns="statistic")

    def value(self, statistic: str, *keys: Any) -> ReleasedValue:
        """One number, for these keys: to compute with, or as a bound of a later release: bounds=(0, r.value("p95")).

        NaN where noise drowned it (as a bound, it then leaves the declared one). Raises RequestError: value_unknown.
        """
        reference = Reference(request=self.request.digest, statistic=statistic, keys=keys)
        try:
            found = value_of(self.table, reference)
        except KeyError:
            raise RequestError(
                "value_unknown",
                f"{self.name!r} has no single value {statistic!r} for these keys.",
                f"Statistics: {', '.join(self.request.statistics)}; keys are those of {list(self.table.columns)}.",
            ) from None
        value = ReleasedValue("nan" if found is None else found)
        value.reference = reference
        return value

    def card(self) -> pd.DataFrame:
        """The release card: a row a noisy vector, with what is needed to check an interval."""
        rows = [
            {
                "counts": m.measure,
                "of": m.column or "rows",
                "by": ", ".join(m.by) or "everybody",
                "mechanism": m.mechanism,
                "one person changes (steps)": m.sensitivity,
                "sigma (steps)": m.sigma,
                "step": m.step,
                "bounds": "; ".join(f"{low:g} to {high:g}" for low, high in m.bounds),
                "share of the loss": m.rho_units / self.table.rho_units,
            }
            for m in self.table.mechanisms
        ]
        frame = pd.DataFrame(rows)
        frame.attrs["tre"] = {
            "release": self.release, "request": self.request.digest, "epsilon": self.epsilon, "delta": self.info.delta,
            "measure": self.table.measure, "units": self.table.rho_units, "libraries": self.table.libraries,
            "origin": self.origin.badge,
        }  # fmt: skip
        return frame

    def to_pandas(self) -> pd.DataFrame:
        """A row a key; for each statistic its value and, with suffixes, its error and interval (low, high).

        Histograms, curves, rankings and models have several, so a release that has one comes in long form: a row a number.
        A table's margins are rows whose keys say (all).
        """
        if any(c.bin is not None or c.term is not None for c in self.table.cells):
            frame = _long(self.table, list(self.table.cells))
        else:
            frame = _wide(self.table)
        frame.attrs["tre"] = f"{self.origin.badge}: {self.origin.sentence}"
        return frame

    def plot(self, statistic: str | None = None) -> Figure:
        """Points with 95 % error bars, one panel a statistic, labelled with the world they come from."""
        from tre.desk.plot import plot

        return plot(self, statistic)

    # Display

    @property
    def epsilon(self) -> float:
        return self.request.epsilon

    def _headline(self) -> str:
        cost = f"epsilon {self.epsilon:g} (delta {self.info.delta:g})"
        where = f" in {self.release}" if self.release else ""
        return f"{self.origin.badge}{where}: {self.origin.sentence}; {cost}; 95 % intervals of the noise"

    def __repr__(self) -> str:
        return f"{self.name} — {self._headline()}\n{_shown(self.table).to_string(index=False)}"

    def _repr_html_(self) -> str:
        style = f"background:{self.origin.colour};color:#fff;padding:2px 8px;border-radius:4px;font-size:0.85em"
        badge = f'<span style="{style}">{self.origin.badge}</span>'
        text = html.escape(self._headline().split(": ", 1)[1])
        body = _shown(self.table).to_html(index=False, border=0)
        return f"<div><b>{html.escape(self.name)}</b> {badge} <small>{text}</small>{body}</div>"


def _key(value: object) -> object:
    return "(missing)" if value is None else value


def _keys(table: Table, cell: Cell) -> dict[str, Any]:
    """A column a group: the key, or that the cell is about all of them."""
    mine = dict(zip(table.columns if cell.by is None else cell.by, map(_key, cell.keys), strict=True))
    return {column: mine.get(column, "(all)") for column in table.columns}


def _long(table: Table, cells: list[Cell]) -> pd.DataFrame:
    binned, termed = any(c.bin is not None for c in cells), any(c.term is not None for c in cells)
    sampled = any(c.sampling is not None for c in cells)
    rows = []
    for c in cells:
        row: dict[str, Any] = _keys(table, c) | {"statistic": c.statistic}
        if termed:
            row["term"] = c.term
        if binned:
            row |= {"bin_low": c.bin[0] if c.bin else None, "bin_high": c.bin[1] if c.bin else None}
        row |= {"value": c.value, "error": c.error, "low": c.low, "high": c.high}
        rows.append(row | ({"sampling_error": c.sampling} if sampled else {}))
    return pd.DataFrame(rows)


def _wide(table: Table) -> pd.DataFrame:
    rows: dict[tuple[object, ...], dict[str, Any]] = {}
    for c in table.cells:
        keys = _keys(table, c)
        row = rows.setdefault(tuple(keys.values()), keys)
        row[c.statistic] = c.value
        row |= {f"{c.statistic}_error": c.error, f"{c.statistic}_low": c.low, f"{c.statistic}_high": c.high}
        if c.sampling is not None:
            row[f"{c.statistic}_sampling_error"] = c.sampling
    return pd.DataFrame(list(rows.values()))


def _shown(table: Table) -> pd.DataFrame:
    """For eyes: a column a statistic, each cell `value ± error`."""
    rows: dict[tuple[object, ...], dict[str, Any]] = {}
    for c in table.cells:
        edges = {"from": f"{c.bin[0]:g}", "to": f"{c.bin[1]:g}"} if c.bin else {}
        term = {"term": str(c.term)} if c.term is not None else {}
        keys = _keys(table, c)
        row = rows.setdefault((*keys.values(), c.term, c.bin), {**keys, **term, **edges})
        row[c.statistic] = _number(c)
    return pd.DataFrame(list(rows.values())).fillna("")


def _number(cell: Cell) -> str:
    if cell.value is None:
        return "drowned in noise"
    if isinstance(cell.value, int):
        return f"{cell.value:,} ± {cell.error:,}"
    error = float(cell.error or 0)
    places = 0 if error >= 10 else 1 if error >= 1 else 2 if error >= 0.05 else 4 if error >= 0.0005 else 6
    return f"{cell.value:,.{places}f} ± {error:,.{places}f}"
