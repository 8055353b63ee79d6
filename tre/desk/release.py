"""A release in a notebook: values with intervals, a badge saying which world they come from, and a plot.

Guarantees: a synthetic value can not be taken for a released one: text, HTML, frame and plot all say which it is.
"""

from __future__ import annotations

import html
from enum import Enum
from typing import TYPE_CHECKING, Any

import pandas as pd

from tre.messages import DatasetInfo
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

    def to_pandas(self) -> pd.DataFrame:
        """A row a key; for each statistic its value and, with suffixes, its error and interval (low, high).

        Histograms have a row a bin, so a release that has one comes in long form: a row a number.
        """
        if any(c.bin is not None for c in self.table.cells):
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


def _long(table: Table, cells: list[Cell]) -> pd.DataFrame:
    binned = any(c.bin is not None for c in cells)
    rows = []
    for c in cells:
        row: dict[str, Any] = dict(zip(table.columns, map(_key, c.keys), strict=True)) | {"statistic": c.statistic}
        if binned:
            row |= {"bin_low": c.bin[0] if c.bin else None, "bin_high": c.bin[1] if c.bin else None}
        rows.append(row | {"value": c.value, "error": c.error, "low": c.low, "high": c.high})
    return pd.DataFrame(rows)


def _wide(table: Table) -> pd.DataFrame:
    rows: dict[tuple[object, ...], dict[str, Any]] = {}
    for c in table.cells:
        row = rows.setdefault(c.keys, dict(zip(table.columns, map(_key, c.keys), strict=True)))
        row[c.statistic] = c.value
        row |= {f"{c.statistic}_error": c.error, f"{c.statistic}_low": c.low, f"{c.statistic}_high": c.high}
    return pd.DataFrame(list(rows.values()))


def _shown(table: Table) -> pd.DataFrame:
    """For eyes: a column a statistic, each cell `value ± error`."""
    rows: dict[tuple[object, ...], dict[str, Any]] = {}
    for c in table.cells:
        edges = {"from": f"{c.bin[0]:g}", "to": f"{c.bin[1]:g}"} if c.bin else {}
        keys = dict(zip(table.columns, map(_key, c.keys), strict=True))
        row = rows.setdefault((*c.keys, c.bin), {**keys, **edges})
        row[c.statistic] = _number(c)
    return pd.DataFrame(list(rows.values())).fillna("")


def _number(cell: Cell) -> str:
    if cell.value is None:
        return "drowned in noise"
    if isinstance(cell.value, int):
        return f"{cell.value:,} ± {cell.error:,}"
    places = 0 if (cell.error or 0) >= 10 else 2 if (cell.error or 0) >= 0.05 else 4
    return f"{cell.value:,.{places}f} ± {cell.error:,.{places}f}"
