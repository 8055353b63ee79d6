"""What a release would cost, shown before anything is asked for: the price, and what is left where a gateway is known.

Guarantees: computed from the request, the schema and the declared size; nothing is charged, emitted or read.
"""

from __future__ import annotations

import html
from dataclasses import dataclass
from typing import Any

import pandas as pd

from tre.messages import DatasetInfo
from tre.rules.accounting import epsilon_of
from tre.rules.balances import Balance
from tre.statistics.table import Price


@dataclass(frozen=True)
class Quote:
    """A price with, for each of the person's accounts that it would be charged to, what is left."""

    price: Price
    info: DatasetInfo
    balances: tuple[Balance, ...]

    @property
    def epsilon(self) -> float:
        return self.price.epsilon

    @property
    def share_of_left(self) -> float | None:
        """The largest part of what any account has left; None where no gateway is known. Above 1: it does not fit."""
        shares = [self.price.rho_units / b.left_units if b.left_units else float("inf") for b in self.balances]
        return max(shares, default=None)

    @property
    def more_like_this(self) -> int | None:
        """How many releases of this price still fit, this one included."""
        return min((b.left_units // self.price.rho_units for b in self.balances), default=None)

    def to_pandas(self) -> pd.DataFrame:
        """The error to expect of each statistic at 95 %, by its groups."""
        rows = [
            {
                "statistic": e.statistic,
                "by": ", ".join(e.by) or "everybody",
                "expected_error": e.error,
                "unit": "ranks" if e.unit == "ranks" else "",
                "at_rows_a_group": e.rows,
            }
            for e in self.price.expected
        ]
        return pd.DataFrame(rows)

    def _sentences(self) -> list[str]:
        p = self.price
        kept = f"rho {p.rho_units * 1e-12:.6g}" if p.delta else "pure epsilon"
        said = [f"epsilon {p.epsilon:g} (delta {p.delta:g}), kept as {kept}; {p.cells:,} numbers"]
        for b in self.balances:
            after = epsilon_of(max(0, b.left_units - p.rho_units), b.delta)
            part = p.rho_units / b.left_units if b.left_units else float("inf")
            fits = f"{part:.1%} of what is left; epsilon {after:.3g} after it" if part <= 1 else "more than is left"
            said.append(f"{b.kind} {b.account}: {fits}")
        if self.more_like_this is not None:
            said.append(f"{self.more_like_this} like this would still fit")
        if any(e.rows is not None for e in p.expected) and self.info.size is None:
            said.append("the dataset's size is not declared: errors of means and the like are for 1,000 rows a group")
        return said

    def __repr__(self) -> str:
        return "\n".join([*self._sentences(), self._shown().to_string(index=False)])

    def _repr_html_(self) -> str:
        said = "".join(f"<li>{html.escape(s)}</li>" for s in self._sentences())
        return f"<div><b>Price</b><ul>{said}</ul>{self._shown().to_html(index=False, border=0)}</div>"

    def _shown(self) -> pd.DataFrame:
        return self.to_pandas().rename(columns=str).pipe(_readable)


def _readable(frame: pd.DataFrame) -> pd.DataFrame:
    def number(value: Any) -> str:
        return "drowned" if pd.isna(value) else f"± {value:.4g}"

    rows = frame["at_rows_a_group"].map(lambda v: "" if pd.isna(v) else f"{int(v):,}")
    return frame.assign(expected_error=frame["expected_error"].map(number), at_rows_a_group=rows)
