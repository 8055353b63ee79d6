"""Rows that a twin has by declaration: edge cases that the policy names, and a missing value wherever one may be missing.

So that a rehearsal does not surprise: code that filters for something rare meets a row, and code that copes with no missing
value fails on the twin and not on the real rows. Whatever the tier, and whatever was drawn.

Guarantees: a function of the twin's rows, the schema and the policy: nothing is learnt and nothing costs. No row or person
is added or taken away, and no key but one that an edge case names changes, so twins stay linked; each case changes one
row of one person (all of theirs, for what the policy calls constant). Rows still fit the schema, since edge cases do
(rules.twin) and only optional fields are emptied.
Not guaranteed: as many cases as declared, where a twin has fewer people. What is declared has no frequency: it stands in one row.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import pandas as pd

from tre.rules.schema import TableSchema
from tre.rules.twin import TwinPolicy, Value, plain
from tre.secure.data.twin_shape import needed


def with_declared(frames: Iterable[pd.DataFrame], schema: TableSchema, twin: TwinPolicy) -> Iterator[pd.DataFrame]:
    """The same pieces, the first of which has what is declared."""
    for i, frame in enumerate(frames):
        yield declared(frame, schema, twin) if i == 0 else frame


def declared(frame: pd.DataFrame, schema: TableSchema, twin: TwinPolicy) -> pd.DataFrame:
    frame = frame.reset_index(drop=True).astype(object)
    rows = {name: list(found) for name, found in frame.groupby(schema.unit.field, sort=False).groups.items()}
    people = list(rows.values())
    for case, mine in zip(twin.edge_cases, people, strict=False):
        _place(frame, mine, {n: plain(v, schema.field(n)) for n, v in case.items()}, schema, twin)
    # From the other end, so that no edge case is emptied.
    free = people[len(twin.edge_cases) :][::-1]
    empty = [f.name for f in schema.fields if not needed(f, schema) and not frame[f.name].isna().any()]
    for i, name in enumerate(empty if free else []):
        mine = free[i % len(free)]
        frame.loc[mine if name in twin.constant else mine[-1:], name] = None
    return frame


def _place(
    frame: pd.DataFrame, mine: list[int], case: Mapping[str, Value], schema: TableSchema, twin: TwinPolicy
) -> None:
    """In the person's row that has the case's keys already; else in their first, whose keys it then has alone."""
    keys = [name for name in case if name in schema.primary_key]
    fitting = [i for i in mine if all(frame.at[i, name] == case[name] for name in keys)]
    row = (fitting or mine)[0]
    for name, value in case.items():
        for i in mine if name in twin.constant else [row]:
            frame.at[i, name] = value
