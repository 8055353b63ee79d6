"""A membership attack: can whoever has a twin tell the people whose rows it was made of from others like them?

Guarantees: `tried` makes a twin anew of one random half of the people, as the dataset's policy says, and scores every person by how
common their cells are in it, pair by pair of columns. The figure is the area under the curve of telling that half from the other
by the score: 0.5 where the attack learns nothing, 1 for a copy (tests/data/test_twin_attack.py has both). It is derived
from real rows without noise: it belongs to those inside. What is learnt for it is thrown away with the twin, and leaves no more than
the rows do; so it is not charged.
Not guaranteed: that another attack would not do better. Safety follows from the noise that was paid for, and is audited against an
attacker who knows everybody else (tests/proof/test_twin.py); this is a smoke test of the code that is really run. A distance to the
closest record is no criterion: a verbatim copy passes that when it is subsampled.
"""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import duckdb
import numpy as np
import pandas as pd

from tre.errors import DataError
from tre.rules.schema import PERSON, TableSchema
from tre.rules.twin import TwinPolicy
from tre.secure.data import twin_tiers
from tre.secure.data.twin_file import Label, write
from tre.secure.data.twin_layout import Codes, Layout, layout, read
from tre.statistics.sql import literal

# Pairs of columns that are looked at; more take long, and tell nothing that these do not.
MOST_PAIRS = 200
FEWEST_PEOPLE = 100


def area_under(inside: Sequence[Codes], outside: Sequence[Codes], twin: Sequence[Codes], *, seed: int) -> float:
    """Of telling people inside from those outside, each given by their code in every column (twin_layout)."""
    rng = np.random.default_rng(seed)
    n, m = len(inside[0]), len(outside[0])
    real = [np.concatenate(pair) for pair in zip(inside, outside, strict=True)]
    pairs = list(itertools.combinations(range(len(real)), 2)) or [(0, 0)]
    score = np.zeros(n + m)
    for i in rng.permutation(len(pairs))[:MOST_PAIRS]:
        a, b = pairs[i]
        width = int(max(real[b].max(), twin[b].max())) + 2
        ours, theirs = ((c[a] + 1) * width + c[b] + 1 for c in (twin, real))
        score += np.log1p(np.bincount(ours, minlength=int(theirs.max()) + 1)[theirs])
    ranks = pd.Series(score).rank().to_numpy()
    return float((ranks[:n].sum() - n * (n + 1) / 2) / (n * m))


def tried(
    parquet: Path, schema: TableSchema, twin: TwinPolicy, *, rho_units: int, seed: int, scratch: Path
) -> float | None:
    """None for a tier that learns nothing, and for too few people to tell anything. Halves of the rows are in `scratch`
    meanwhile."""
    if not twin.tier.learns:
        return None
    with tempfile.TemporaryDirectory(prefix="attack-", dir=scratch) as folder:
        halves = _halves(parquet, Path(folder), seed=seed)
        laid = layout(schema, constant=twin.constant, time=twin.order)
        inside, outside = (read(half, schema, laid) for half in halves)
        if not laid.columns or min(len(inside[0]), len(outside[0])) < FEWEST_PEOPLE / 2:
            return None
        twin = twin.model_copy(update={"rows": None, "edge_cases": ()})
        learnt = twin_tiers.learn(halves[0], schema, twin, rho_units=rho_units)
        made = twin_tiers.make(schema, twin, learnt, seed=seed)
        return area_under(inside, outside, codes_of(made.frames, schema, laid, Path(folder)), seed=seed)


def codes_of(
    rows: pd.DataFrame | Iterable[pd.DataFrame], schema: TableSchema, laid: Layout, scratch: Path
) -> list[Codes]:
    """The codes of made-up rows, read as real ones are: with nobody in a slot in which they are not."""
    label = Label(
        dataset="", tier="", made="", generator="", seed=None, epsilon=None, delta=None, rho_units=0, learnt=""
    )  # of a file that is gone at once
    with tempfile.TemporaryDirectory(prefix="twin-", dir=scratch) as folder:
        write(rows, schema, label, Path(folder) / "twin.parquet")
        return read(Path(folder) / "twin.parquet", schema, laid)


def _halves(parquet: Path, folder: Path, *, seed: int) -> tuple[Path, Path]:
    """Two files with half of the people each. Raises DataError, without a word of what was read."""
    paths, done = (folder / "inside.parquet", folder / "outside.parquet"), False
    try:
        _halve(parquet, paths, seed=seed)
        done = True
    except duckdb.Error:
        pass  # raised below, so that DuckDB's text, which can quote values, is not even chained to the error
    if not done:
        raise DataError("measure_failed", "The twin could not be attacked.", "Check the free disk space and try again.")
    return paths


def _halve(parquet: Path, paths: tuple[Path, Path], *, seed: int) -> None:
    with duckdb.connect(":memory:", config={"memory_limit": "2GB"}) as connection:
        source = literal(str(parquet))
        ((last,),) = connection.execute(f"SELECT max({PERSON}) FROM read_parquet({source})").fetchall()
        chosen = np.random.default_rng(seed).random(int(last or 0) + 1) < 0.5
        connection.register("chosen", pd.DataFrame({"who": np.flatnonzero(chosen)}))
        for path, which in zip(paths, ("IN", "NOT IN"), strict=True):
            half = f"SELECT * FROM read_parquet({source}) WHERE {PERSON} {which} (SELECT who FROM chosen)"
            connection.execute(f"COPY ({half}) TO {literal(str(path))} (FORMAT parquet)")
