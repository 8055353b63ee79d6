"""A fitted model of statsmodels as a summary that may be an output: coefficients and what they rest on.

Guarantees: residuals, fitted values and data stay behind; nothing is imported that the notebook has not imported itself.
"""

from __future__ import annotations

import math
from typing import Any

from tre.rules.fitted import ModelSummary, ModelTerm


def is_fitted(thing: Any) -> bool:
    return all(hasattr(thing, name) for name in ("params", "bse", "conf_int", "pvalues", "nobs", "df_resid", "model"))


def summary(fitted: Any) -> ModelSummary:
    """Of what statsmodels calls results."""
    import numpy as np

    names = [str(n)[:200] for n in fitted.model.exog_names]
    ends = np.asarray(fitted.conf_int())
    columns = [np.ravel(np.asarray(c)) for c in (fitted.params, fitted.bse, ends[:, 0], ends[:, 1], fitted.pvalues)]
    terms = tuple(
        ModelTerm(name=n, estimate=b, error=e, low=low, high=high, p=p)
        for n, b, e, low, high, p in zip(names, *([_number(v) for v in c] for c in columns), strict=False)
    )
    return ModelSummary(
        model=type(fitted.model).__name__[:100],
        outcome=str(fitted.model.endog_names)[:200],
        observations=int(fitted.nobs),
        residual_degrees=float(fitted.df_resid),
        r_squared=_number(getattr(fitted, "rsquared", getattr(fitted, "prsquared", None))),
        log_likelihood=_number(getattr(fitted, "llf", None)),
        terms=terms,
    )


def _number(value: Any) -> float | None:
    """To six digits; None where there is none."""
    return float(f"{value:.6g}") if value is not None and math.isfinite(value) else None
