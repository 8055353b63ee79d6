"""`tre`: a trusted research environment toolkit. This module is the map of the journey and the calls a notebook makes.

    visits = tre.dataset("hie")                 a handle: the synthetic twin at the desk, the real rows inside the sandbox
    visits.to_pandas()                          ordinary pandas from here on
    visits.where("age >= 18").group_by("sex")   SQL scalar expressions; groups by declared or given keys
          .price(epsilon=0.5, rows=tre.count())  what it would cost, and the errors to expect; or error=50: which epsilon
          .release("visits-by-sex", epsilon=0.5, rows=tre.count(), mean=tre.mean("mdvis", bounds=(0, 50)))
    tre.output("table-2", visits.group_by("sex").table(n=tre.count_people()), context="…")   an output without noise:
                                                computed and checked by trusted code, then two people decide
    tre.estimate("auc", value, bounds=(0.5, 1), epsilon=1)   any number, over blocks of people: tre submit … --blocks 200
    tre.panel()                                 datasets and jobs as widgets; tre.panel(visits, n=tre.count()) plans an epsilon
    tre.watch("job-1a2b3c4d")                   a bar that moves with a job until it has ended, or waits for you

The journey: explore the twin → `tre rehearse` (on the twin: fixes the plan and its price) → `tre submit` (confirms it) →
the check, and people where the policy asks for them → `tre fetch` → the same notebook replays the released values.

Nothing here has authority: no code at the desk or in a notebook can read real rows, charge a budget or decide a review.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tre.desk.calls import (
        correlation,
        count,
        count_people,
        covariance,
        dataset,
        estimate,
        found,
        histogram,
        linear_model,
        logistic_model,
        mean,
        median,
        output,
        quantile,
        ratio,
        share,
        std,
        sum,
        survival,
        top,
        variance,
    )
    from tre.desk.follow import watch
    from tre.desk.panels import panel
    from tre.desk.sacro import acro_outputs
    from tre.errors import TreError

__version__ = "0.1.0"

__all__ = [
    "TreError",
    "acro_outputs",
    "correlation",
    "count",
    "count_people",
    "covariance",
    "dataset",
    "estimate",
    "found",
    "histogram",
    "linear_model",
    "logistic_model",
    "mean",
    "median",
    "output",
    "panel",
    "quantile",
    "ratio",
    "share",
    "std",
    "sum",
    "survival",
    "top",
    "variance",
    "watch",
]


def __getattr__(name: str) -> Any:
    """The calls are loaded when first used: `import tre` stays instant for the command line."""
    if name == "TreError":
        from tre.errors import TreError

        return TreError
    if name == "watch":
        from tre.desk.follow import watch

        return watch
    if name == "panel":
        from tre.desk.panels import panel

        return panel
    if name == "acro_outputs":
        from tre.desk.sacro import acro_outputs

        return acro_outputs
    if name in __all__:
        from tre.desk import calls

        return getattr(calls, name)
    raise AttributeError(f"module 'tre' has no attribute {name!r}")


def load_ipython_extension(shell: Any) -> None:
    """`%load_ext tre`."""
    from tre.desk.magics import load

    load(shell)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
