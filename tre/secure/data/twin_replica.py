"""A replica: rows of people like the real ones, from SDV's copula fitted on real rows. Without noise, and so as secret as they.

Guarantees: `make` reads one version's rows and gives out rows and `Evidence`, both of which are derived from real rows
without noise: what may leave of them leaves as an output that two people approved (secure.replicas). Values are drawn within
the declared cells, never copied: no real minimum, maximum or exact number is carried over, though declared categories are.
People stay whole, as in tiers that know relations (twin_layout). The figures of `Evidence` are for the two who decide: what a
membership attack (twin_attack) finds in a replica of half of the people, and what is repeated. They are of the very rows, read
again as the real ones were. The seed is for nobody: with it, one would know which person's code was taken where one was lacking.
Not guaranteed: any privacy. A copula over enough columns of few people can repeat one of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tre.errors import PolicyError
from tre.rules.replica import Evidence
from tre.rules.schema import TableSchema
from tre.rules.twin import TwinPolicy
from tre.secure.data.twin_attack import FEWEST_PEOPLE, area_under, codes_of
from tre.secure.data.twin_layout import ABSENT, Codes, Layout, layout, read
from tre.secure.data.twin_related import decoded
from tre.secure.data.twin_sdv import copula
from tre.secure.data.twin_shape import identifiers

GENERATOR = "SDV GaussianCopula, fitted on real rows"
LEARNT = "everything that SDV's model took from real rows, without noise"


def make(
    parquet: Path, schema: TableSchema, twin: TwinPolicy, *, seed: int, scratch: Path
) -> tuple[pd.DataFrame, Evidence]:
    """As many people as there are, and what is known against them; a file is in `scratch` meanwhile. Raises PolicyError for too
    few people or without SDV."""
    laid = layout(schema, constant=twin.constant, time=twin.order)
    real = read(parquet, schema, laid)
    if not laid.columns or len(real[0]) < FEWEST_PEOPLE:
        raise PolicyError(
            "replica_impossible",
            f"A replica needs {FEWEST_PEOPLE} people and a field that has categories or bounds.",
            "Take a tier with noise, or one that learns nothing.",
        )
    rng = np.random.default_rng(seed)
    rows = _rows(_like(real, len(real[0]), rng), schema, laid, rng)
    codes = codes_of(rows, schema, laid, scratch)
    attack = _attack(real, rng, lambda half: codes_of(_rows(half, schema, laid, rng), schema, laid, scratch))
    return rows, Evidence(
        people=len(codes[0]),
        repeated=_repeated(codes, real),
        repeated_alone=_repeated(codes, real, alone=True),
        attack=attack,
        distance=_distance(codes, real),
    )


def _rows(codes: Sequence[Codes], schema: TableSchema, laid: Layout, rng: np.random.Generator) -> pd.DataFrame:
    people = identifiers(schema.field(schema.unit.field), len(codes[0]))
    return decoded(codes, schema, laid, people, rng)


def _like(real: Sequence[Codes], people: int, rng: np.random.Generator) -> list[Codes]:
    """Codes of so many people, from a copula over each column's codes in their order."""
    table = pd.DataFrame({f"c{i}": codes for i, codes in enumerate(real)})
    varied = [f"c{i}" for i, codes in enumerate(real) if len(np.unique(codes)) > 1]
    ordered = {name: sorted(table[name].unique().tolist()) for name in varied}
    sampled = table.iloc[np.zeros(people, dtype=int)].reset_index(drop=True)
    if varied:
        sampled[varied] = copula(
            table[varied], dict.fromkeys(varied, "categorical"), rows=people, ordered=ordered,
            seed=int(rng.integers(2**31)),
        )  # fmt: skip
    found = [sampled[name].to_numpy(dtype=np.int32) for name in table]
    for i, codes in enumerate(found):  # a code for whoever is in the slot after all; shape leaves out who is not
        known = real[i][real[i] != ABSENT]
        lost = codes == ABSENT
        codes[lost] = rng.choice(known, int(lost.sum())) if len(known) else 0
    return found


def _repeated(codes: Sequence[Codes], real: Sequence[Codes], *, alone: bool = False) -> float:
    """The share of the replica's people who have all the cells of a real one; `alone`: of one real person only."""
    ours, theirs = np.stack(codes, axis=1), np.stack(real, axis=1)
    found, counts = np.unique(theirs, axis=0, return_counts=True)
    real_ones = {line.tobytes() for line in (found[counts == 1] if alone else found)}
    return float(np.mean([line.tobytes() in real_ones for line in ours]))


def _attack(
    real: Sequence[Codes], rng: np.random.Generator, again: Callable[[list[Codes]], list[Codes]] = lambda codes: codes
) -> float:
    """A membership attack on a replica of half of the people; `again`: its codes as they are in rows."""
    inside = rng.permutation(len(real[0])) < len(real[0]) // 2
    those, others = ([c[which] for c in real] for which in (inside, ~inside))
    return area_under(those, others, again(_like(those, int(inside.sum()), rng)), seed=int(rng.integers(2**31)))


def _distance(codes: Sequence[Codes], real: Sequence[Codes]) -> float:
    """The mean total variation distance of single columns."""
    found: list[Any] = []
    for ours, theirs in zip(codes, real, strict=True):
        there = [c[c != ABSENT] for c in (ours, theirs)]
        size = int(max(c.max(initial=0) for c in there)) + 1
        shares = [np.bincount(c, minlength=size) / max(1, len(c)) for c in there]
        found.append(np.abs(shares[0] - shares[1]).sum() / 2)
    return float(np.mean(found))
