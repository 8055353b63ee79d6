"""Where the conditions of a release or a declared table leave few rows of the twin: a sentence for the plan.

Guarantees: counts rows of the twin alone, whose rows are public to the project, so it tells nothing of real ones; a hint, for
people, that decides nothing. Of filters that a notebook makes with pandas it knows nothing.
"""

from __future__ import annotations

import duckdb

from tre.statistics.aggregate import source
from tre.statistics.contributors import rows
from tre.statistics.declared import Declared
from tre.statistics.prepare import Prepared, Scope

# Below this, a rehearsal has hardly shown what the code does with them.
FEW = 20


def of_request(name: str, connection: duckdb.DuckDBPyConnection, prepared: Prepared) -> str | None:
    if not prepared.request.where:
        return None
    without = prepared.finding.column if prepared.finding is not None else None
    return _said(name, connection, source(prepared, without=without))


def of_table(name: str, connection: duckdb.DuckDBPyConnection, declared: Declared, scope: Scope) -> str | None:
    return _said(name, connection, rows(scope)) if declared.where else None


def _said(name: str, connection: duckdb.DuckDBPyConnection, kept: str) -> str | None:
    row = connection.execute(f"SELECT (SELECT count(*) FROM ({kept})), (SELECT count(*) FROM rows)").fetchone()
    left, of = row if row is not None else (0, 0)
    if left >= FEW or left == of:
        return None
    return (
        f"{name!r} keeps {left:,} of the twin's {of:,} rows. That says little of the real rows, which may have many of these or "
        "none: rare combinations are missing from a twin or made up. But this rehearsal has hardly shown what your code does "
        "with them: look at the conditions, try wider ones, or ask the data controller for an edge case in the twin"
    )
