"""Row expressions of a dataset's policy (quality's rules and totals) as SQL over its declared fields, and what is wrong with them.

Guarantees: as tre.statistics.expression's, so an expression cannot fail on a value, and sees one row. Here, where numbers stay
inside the area, the privacy unit's field may stand in one.
"""

from __future__ import annotations

from tre.errors import RequestError
from tre.rules.policy import Policies, Problem
from tre.rules.schema import TableSchema


def compiled(table: TableSchema, text: str, *, boolean: bool) -> str:
    """DuckDB SQL. Raises RequestError."""
    from tre.statistics.expression import KINDS, Kind, compile_expression

    made = compile_expression(text, {f.name: KINDS[f.type] for f in table.fields})
    wanted = Kind.BOOLEAN if boolean else Kind.NUMBER
    if made.kind is not wanted:
        raise RequestError("expression_refused", f"It is a {made.kind.value}, not a {wanted.value}.", "Compare it.")
    return made.sql


def problems(policies: Policies) -> list[Problem]:
    """Of every dataset's rules and totals."""
    found = []
    for name, dataset in policies.datasets.items():
        quality = dataset.quality
        texts = [(("quality", "rules", i, "holds"), r.holds, True) for i, r in enumerate(quality.rules)]
        texts += [
            (("quality", "totals", i, "sum"), t.sum, False) for i, t in enumerate(quality.totals) if t.sum is not None
        ]
        for path, text, boolean in texts:
            try:
                compiled(dataset.table, text, boolean=boolean)
            except RequestError as refused:
                found.append(Problem(file=f"datasets/{name}.yaml", path=path, reason=refused.message))
    return found
