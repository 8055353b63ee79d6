"""How near a twin is to its data, and whether it repeats any of it: numbers for the report (twin_report).

Two kinds, kept apart by type:
- `Inside`: from the real rows without noise. They are as secret as rows: they stay in the area, and leave only as an output that
  two people approve.
- `Open`: the twin against the noisy counts that it was drawn from: post-processing of what was paid for, and free to tell.

Guarantees: distances are total variation distances over cells that the declared schema gives (twin_plausible); the match check
compares whole rows, in one hash join; a model is trained on one half of people and tested on the other, so that nobody is in
both. No distance to a closest record: it passes a verbatim copy when subsampled, and blames whatever is near the data.
Not guaranteed: that figures which look well mean that a twin is safe. Only the way it was made does that.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from tre.errors import DataError
from tre.rules.schema import ORDER, PERSON, TableSchema
from tre.rules.twin import TwinPolicy
from tre.secure.data import twin_layout
from tre.secure.data.twin_plausible import PEOPLE, Cells, Margins, cell_number, cells_of, shares_of
from tre.secure.data.twin_relations import Relations
from tre.secure.data.twin_tiers import Learnt
from tre.statistics.sql import literal, quote

Array = np.ndarray[Any, Any]
Codes = dict[str, Array]

# A model is trained and tested on so many rows at most, and asked of so many fields.
MOST_ROWS = 5_000
MOST_MODELS = 3
MOST_CLASSES = 10


@dataclass(frozen=True, kw_only=True)
class Match:
    """Of the twin's rows: how many are also real rows, but for the person's field; and how many of those occur once in the data."""

    rows: int
    real: int
    real_once: int


@dataclass(frozen=True, kw_only=True)
class Trained:
    """The share of real rows whose value of `field` is told rightly: by a model of the twin, by one of other real people, and by
    always naming the commonest value."""

    field: str
    on_twin: float
    on_real: float
    commonest: float


@dataclass(frozen=True, kw_only=True)
class Inside:
    """From real rows, without noise."""

    columns: dict[str, float]
    pairs: dict[tuple[str, str], float]
    shares: dict[str, tuple[list[float], list[float]]]
    match: Match
    trained: tuple[Trained, ...]


@dataclass(frozen=True, kw_only=True)
class Open:
    """The twin's tables against the noisy ones, by what they are of."""

    columns: dict[str, float]
    tables: dict[str, float]


def inside(real: Path, twin: Path, schema: TableSchema) -> Inside:
    """Raises DataError, without a word of what was read."""
    cells = [c for c in cells_of(schema) if c.field != PEOPLE]
    try:
        with duckdb.connect(":memory:", config={"memory_limit": "2GB"}) as connection:
            mine, theirs = (_codes(connection, p, schema, cells) for p in (real, twin))
            match = _match(connection, real, twin, schema)
    except duckdb.Error:
        mine = None  # raised below, so that DuckDB's text, which can quote values, is not even chained to the error
    if mine is None:
        raise DataError("measure_failed", "The twin could not be compared.", "Make it again, and then the report.")
    sizes = {c.field: c.size for c in cells}
    shares = {n: (_shares(mine[n], s).tolist(), _shares(theirs[n], s).tolist()) for n, s in sizes.items()}
    return Inside(
        columns={n: _distance(np.array(a), np.array(b)) for n, (a, b) in shares.items()},
        pairs={(a, b): _pair(mine, theirs, a, b, sizes) for a, b in itertools.combinations(sizes, 2)},
        shares=shares,
        match=match,
        trained=_trained(mine, theirs, cells),
    )


def _codes(connection: duckdb.DuckDBPyConnection, parquet: Path, schema: TableSchema, cells: list[Cells]) -> Codes:
    wanted = ", ".join(f"coalesce({cell_number(c)}, 0)::INTEGER AS {quote(c.field)}" for c in cells)
    bounded = f"read_parquet({literal(str(parquet))}) WHERE {ORDER} < {schema.unit.max_rows}"
    found = connection.execute(f"SELECT {PERSON}, {wanted} FROM {bounded}").fetchnumpy()
    return {name: np.asarray(values) for name, values in found.items()}


def _match(connection: duckdb.DuckDBPyConnection, real: Path, twin: Path, schema: TableSchema) -> Match:
    names = [f.name for f in schema.fields if f.name != schema.unit.field]
    listed = ", ".join(map(quote, names))
    same = " AND ".join(f"t.{quote(n)} IS NOT DISTINCT FROM r.{quote(n)}" for n in names)
    once = f"SELECT {listed}, count(*) AS tre_times FROM read_parquet({literal(str(real))}) GROUP BY ALL"
    row = connection.execute(
        f"SELECT count(*), count(r.tre_times), count(*) FILTER (r.tre_times = 1) "
        f"FROM read_parquet({literal(str(twin))}) t LEFT JOIN ({once}) r ON {same}"
    ).fetchone()
    rows, matched, single = row or (0, 0, 0)
    return Match(rows=int(rows), real=int(matched), real_once=int(single))


def _shares(codes: Array, size: int) -> Array:
    counts = np.bincount(codes[codes >= 0], minlength=size).astype(float)
    return np.asarray(counts / max(1.0, counts.sum()))


def _distance(a: Array, b: Array) -> float:
    return float(np.abs(a - b).sum() / 2)


def _pair(mine: Codes, theirs: Codes, a: str, b: str, sizes: dict[str, int]) -> float:
    size = sizes[a] * sizes[b]
    return _distance(*(_shares(codes[a].astype(np.int64) * sizes[b] + codes[b], size) for codes in (mine, theirs)))


def _trained(mine: Codes, theirs: Codes, cells: list[Cells]) -> tuple[Trained, ...]:
    """Nothing where scikit-learn is not installed. In one thread: several on a busy machine take far longer."""
    try:
        from sklearn.ensemble import RandomForestClassifier
    except ImportError:
        return ()
    fields = [c for c in cells if c.kind == "categories" and 2 <= len(c.categories) <= MOST_CLASSES][:MOST_MODELS]
    test = mine[PERSON] % 2 == 1
    found = []
    for c in fields:
        others = [o.field for o in cells if o.field != c.field]
        if not others:
            continue
        (x, y), (x_test, y_test), (x_twin, y_twin) = (
            _rows(codes, others, c.field, chosen)
            for codes, chosen in ((mine, ~test), (mine, test), (theirs, np.ones(len(theirs[PERSON]), dtype=bool)))
        )
        if min(len(set(y)), len(set(y_twin))) < 2 or not len(y_test):
            continue
        right = []
        for features, outcome in ((x_twin, y_twin), (x, y)):
            model = RandomForestClassifier(n_estimators=40, max_depth=10, min_samples_leaf=5, random_state=0, n_jobs=1)
            right.append(float(np.mean(model.fit(features, outcome).predict(x_test) == y_test)))
        commonest = float(np.mean(y_test == np.bincount(y).argmax()))
        found.append(Trained(field=c.field, on_twin=right[0], on_real=right[1], commonest=commonest))
    return tuple(found)


def _rows(codes: Codes, others: list[str], field: str, chosen: Array) -> tuple[Array, Array]:
    at = np.flatnonzero(chosen)
    at = at[:: max(1, len(at) // MOST_ROWS)]
    return np.stack([codes[n][at] for n in others], axis=1).astype(float), codes[field][at]


# Free to tell


def open_figures(twin: Path, schema: TableSchema, policy: TwinPolicy, learnt: Learnt) -> Open:
    """The twin against what was learnt for it, which has its noise."""
    if isinstance(learnt, Margins):
        with duckdb.connect(":memory:", config={"memory_limit": "2GB"}) as connection:
            codes = _codes(connection, twin, schema, [m.cells for m in learnt.fields])
        columns = {
            m.cells.field: _distance(_shares(codes[m.cells.field], m.cells.size), shares_of(m, learnt.rows))
            for m in learnt.fields
        }
        return Open(columns=columns, tables={})
    return _of_relations(twin, schema, policy, learnt)


def _of_relations(twin: Path, schema: TableSchema, policy: TwinPolicy, learnt: Relations) -> Open:
    laid = twin_layout.layout(schema, constant=policy.constant, time=policy.order)
    codes = twin_layout.read(twin, schema, laid)
    names = [
        f"{a.column.cells.field}{'' if a.column.slot is None else f' [{a.column.slot + 1}]'}" for a in learnt.alone
    ]
    columns = {
        name: _distance(_shares(codes[i], len(a.counts)), a.shares(learnt.sigma))
        for i, (name, a) in enumerate(zip(names, learnt.alone, strict=True))
    }
    tables = {}
    for t in learnt.together:
        at, there = np.zeros(len(codes[0]), dtype=np.int64), np.ones(len(codes[0]), dtype=bool)
        for c in t.columns:
            groups = np.array(learnt.alone[c].groups)
            at = at * learnt.alone[c].size + groups[np.maximum(codes[c], 0)]
            there &= codes[c] >= 0
        noisy = np.maximum(np.array(t.counts, dtype=float), 0)
        if noisy.sum() > 0:
            tables[" × ".join(names[c] for c in t.columns)] = _distance(
                _shares(at[there], len(noisy)), noisy / noisy.sum()
            )
    return Open(columns=columns, tables=tables)
