"""Which bounds to take for a number, judged on the twin: what they cut off against the noise they let in.

Guarantees: looks at the twin (or, inside a run, at nothing: it refuses) and never at a release; the advice is as good as
the twin, whose numbers are synthetic.
"""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from tre.errors import RequestError
from tre.messages import DatasetInfo
from tre.rules.accounting import rho_of
from tre.statistics.grids import grid
from tre.statistics.noise import sigma_for

QUANTILES = (0.5, 0.75, 0.9, 0.95, 0.99, 1.0)


def bounds(values: pd.Series, info: DatasetInfo, column: str, *, epsilon: float, groups: int) -> pd.DataFrame:
    """A row a candidate: bounds, the share of rows they clamp, the bias of a mean, its noise, and both together.

    `groups`: among how many equal groups the mean is taken. The best row comes first.
    """
    field = next((f for f in info.table.fields if f.name == column), None)
    if field is None or not field.numeric:
        raise RequestError("column_not_number", f"{column!r} is not a declared number.", "Name a numeric column.")
    numbers = pd.to_numeric(values, errors="coerce").dropna().to_numpy(dtype=float)
    if not len(numbers):
        raise RequestError("column_empty", f"The twin has no number in {column!r}.", "Take the declared bounds.")
    size = max(1.0, (info.size or len(numbers)) / groups)
    units, rows = rho_of(epsilon, info.delta), info.table.unit.max_rows
    found = []
    for low, high in _candidates(numbers, field.bounds):
        g = grid(field, low, high, centred=True)
        # As a mean alone is measured: two thirds of the loss for its sum, a third for its count.
        sigma = sigma_for(rows * g.largest, units * 2 // 3, pure=info.delta == 0) * g.step
        clamped = np.clip(numbers, low, high)
        bias, noise = abs(float(clamped.mean() - numbers.mean())), sigma / size
        found.append(
            {
                "low": low,
                "high": high,
                "clamped": float(np.mean(clamped != numbers)),
                "bias": bias,
                "noise": noise,
                "together": math.hypot(bias, noise),
            }
        )
    return pd.DataFrame(found).sort_values("together", ignore_index=True)


def _candidates(numbers: np.ndarray, declared: tuple[float, float] | None) -> list[tuple[float, float]]:
    low = declared[0] if declared else math.floor(float(numbers.min()))
    highs = {math.ceil(float(np.quantile(numbers, q))) for q in QUANTILES}
    highs |= {int(declared[1])} if declared else set()
    lows = {low, math.floor(float(np.quantile(numbers, 0.01)))}
    most = declared[1] if declared else math.inf
    return sorted({(float(lo), float(min(h, most))) for lo in lows for h in highs if lo < min(h, most) and lo >= low})
