"""The tiers of synthetic twin, after the spectrum of the Office for National Statistics: what each learns, and its rows.

| tier                   | learnt from real rows                                  | price   |
|------------------------|--------------------------------------------------------|---------|
| structural             | nothing: names, types, ranges and keys as declared     | none    |
| valid                  | nothing: as declared, with missing values (needs SDV)  | none    |
| plausible              | each column on its own, with noise                     | charged |
| multivariate plausible | columns, and pairs of them that belong together        | charged |
| detailed               | and triples                                            | charged |

A replica, a model of real rows without noise, is no twin to work on and not made here (twin_replica, secure.replicas).

Guarantees: `learn` is the only way from rows to a twin, for tiers that are charged, and what it gives is noise that the
caller has paid for before (twin_attack alone throws it away, unpaid, inside); `make` is given the schema and that, and nothing else. What can be refused is refused by
`enough`, before anything is charged. Every tier has the rows that are there by declaration (twin_declared).
Not here: charging, keeping and labelling (registry).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd

from tre.errors import PolicyError
from tre.rules.schema import TableSchema
from tre.rules.twin import Tier, TwinPolicy
from tre.secure.data import twin_layout, twin_plausible, twin_related, twin_relations
from tre.secure.data.twin_declared import with_declared
from tre.secure.data.twin_file import NOTHING
from tre.secure.data.twin_plausible import Margins
from tre.secure.data.twin_relations import Relations

DEFAULT_ROWS = 1000

Learnt = Margins | Relations


@dataclass(frozen=True, kw_only=True)
class Made:
    """A twin's rows in pieces, about how many there will be, and what its label says of how it came about."""

    frames: Iterable[pd.DataFrame]
    rows: int
    generator: str
    learnt: str


def question(schema: TableSchema, twin: TwinPolicy) -> dict[str, Any]:
    """What a charged tier asks of the rows: of two equal questions the second is answered by what is stored."""
    asked = schema.model_dump(mode="json")
    if twin.tier is Tier.PLAUSIBLE:
        return {"margins": asked}
    options = {"constant": twin.constant, "order": twin.order, "relations": twin.relations, "tier": twin.tier.value}
    return {"relations": asked, **options}


def enough(schema: TableSchema, twin: TwinPolicy, *, rho_units: int) -> None:
    """Raises PolicyError where the budget is too small to be shared out, or nothing could be counted."""
    columns = twin_plausible.cells_of(schema) if twin.tier is Tier.PLAUSIBLE else _layout(schema, twin).columns
    if not columns:
        raise PolicyError(
            "twin_impossible",
            "No field of the schema can be counted: none has categories or bounds.",
            "Declare bounds or an enum, or take the valid tier.",
        )
    if not twin_relations.affordable(rho_units, len(columns)):
        raise PolicyError(
            "twin_budget_small",
            f"The twin's epsilon is too small to be shared among {len(columns)} columns.",
            "Raise twin.epsilon in the dataset's policy, or take the valid tier.",
        )


def learn(parquet: Path, schema: TableSchema, twin: TwinPolicy, *, rho_units: int) -> Learnt:
    """With noise that costs at most `rho_units`, which the caller has charged."""
    if twin.tier is Tier.PLAUSIBLE:
        return twin_plausible.measure(parquet, schema, rho_units=rho_units)
    laid = _layout(schema, twin)
    codes = twin_layout.read(parquet, schema, laid)
    wanted = [pair for names in twin.relations for pair in laid.pairs(*names)]
    return twin_relations.measure(codes, laid, rho_units=rho_units, wanted=wanted, triples=twin.tier is Tier.DETAILED)


def learnt_from(text: str, twin: TwinPolicy) -> Learnt:
    """What `learn` gave once, as it was kept."""
    return (Margins if twin.tier is Tier.PLAUSIBLE else Relations).model_validate_json(text)


def make(schema: TableSchema, twin: TwinPolicy, learnt: Learnt | None, *, seed: int, people: int | None = None) -> Made:
    """The twin's rows. `learnt` is what the tier's `learn` gave; None for those that learn nothing. `people`: how many the
    twin has that this one's people are taken from."""
    if people is not None:
        twin = twin.model_copy(update={"rows": people})
    made = _made(schema, twin, learnt, seed=seed)
    said = made.learnt if people is None else f"{made.learnt}, and the number of people of the twin of {twin.people_of}"
    return replace(made, frames=with_declared(made.frames, schema, twin), learnt=said)


def _made(schema: TableSchema, twin: TwinPolicy, learnt: Learnt | None, *, seed: int) -> Made:
    if isinstance(learnt, Margins):
        return Made(
            frames=[twin_plausible.sample_plausible(learnt, schema, seed=seed)],
            rows=learnt.rows,
            generator="tre: independent draws from noisy one-way margins (OpenDP's discrete Gaussian)",
            learnt="each column's distribution on its own, with noise",
        )
    if isinstance(learnt, Relations):
        laid = _layout(schema, twin)
        people = None if twin.rows is None else max(1, round(twin.rows * learnt.people / learnt.rows))
        return Made(
            frames=twin_related.sample_related(learnt, schema, laid, seed=seed, people=people),
            rows=twin.rows or learnt.rows,
            generator="tre: a graphical model of noisy tables (OpenDP's discrete Gaussian and noisy minimum)",
            learnt=_relations(learnt),
        )
    if twin.tier is Tier.REPLICA:
        raise PolicyError(
            "twin_impossible", "A replica is no twin to work on.", "Name another tier; then: tre-admin replica DATASET"
        )
    rows = twin.rows or DEFAULT_ROWS
    if twin.tier is Tier.STRUCTURAL:
        from tre.secure.data.twin_structural import sample_structural as sample

        generator = "tre: independent draws from the declared schema"
    else:
        from tre.secure.data.twin_valid import sample_valid as sample

        generator = "SDV GaussianCopula, fitted on rows made from the declared schema"
    return Made(frames=[sample(schema, rows=rows, seed=seed)], rows=rows, generator=generator, learnt=NOTHING)


def _layout(schema: TableSchema, twin: TwinPolicy) -> twin_layout.Layout:
    return twin_layout.layout(schema, constant=twin.constant, time=twin.order)


def _relations(learnt: Relations) -> str:
    found = len(learnt.together)
    if not found:
        return "each column's distribution on its own, with noise (too few people for relations at this price)"
    said = f"each column's distribution and {found} relations between columns, with noise"
    if found == learnt.asked:
        return said
    return f"{said} (of {learnt.asked} that could have been: the others showed too little to be told from noise)"
