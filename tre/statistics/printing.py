"""What is printed of a declared table: its groups, its numbers as text, and what noise would cost in their place.

Guarantees: what is printed is a function of statement, thresholds and rows alone; what a notebook's own process computed
of it is never read. Whether it may leave is people's to say: nothing here is noise.
Numbers are printed whole where they are whole, else to six digits; standard deviations are of the population.
"""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Mapping, Sequence

from tre.errors import RequestError
from tre.rules.disclosure import cells as disclosure
from tre.rules.disclosure.cells import TOTAL, Measured, Total, What
from tre.rules.disclosure.finding import Finding, Mitigate, Verdict
from tre.rules.disclosure.suppression import MARK, rounded, suppress
from tre.rules.policy import Disclosure
from tre.rules.schema import TableSchema
from tre.statistics.declared import Declared
from tre.statistics.expression import Kind
from tre.statistics.kinds import Share
from tre.statistics.prepare import Scope, prepare
from tre.statistics.price import price

MAX_GROUPS = 2_000
# At which a table with noise is priced beside one that is refused.
NOISE_EPSILON = 0.5


def scope(declared: Declared, schema: TableSchema) -> Scope:
    """Its expressions compiled and its groups known. Raises RequestError for what the schema does not allow."""
    found = Scope(declared.request(1.0), schema)
    size = math.prod(len(g.keys) + declared.totals for g in found.groups.values())
    if size > MAX_GROUPS:
        raise RequestError(
            "too_many_cells", f"The table would have {size} groups; the limit is {MAX_GROUPS}.", "Group by less."
        )
    for name, statistic in declared.statistics.items():
        column = getattr(statistic, "column", None)
        if column is None:
            continue
        wanted = Kind.BOOLEAN if isinstance(statistic, Share) else Kind.NUMBER
        if found.kind(column) is not wanted:
            raise RequestError(
                "table_invalid",
                f"{name!r} needs a column of the kind {wanted.value}; {column!r} is not.",
                "Derive one: .derive(new=…).",
            )
    return found


def finished(table: disclosure.Table, declared: Declared, limits: Disclosure) -> disclosure.Table:
    """As it is to be printed: suppressed and rounded where the statement says so."""
    table = rounded(table, declared.round_to)
    return suppress(table, limits) if declared.suppress else table


def as_csv(table: disclosure.Table) -> bytes:
    """Keys, then statistics; a row a group."""
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([*table.by, *table.kinds])
    for i, group in enumerate(table.groups):
        values = [
            text(group.measured[name], kind, table.rounded) if table.shown(i, name) else MARK
            for name, kind in table.kinds.items()
        ]
        writer.writerow([*map(key_text, group.keys), *values])
    return buffer.getvalue().encode()


def shown(content: bytes, keys: Sequence[tuple[disclosure.Key, ...]]) -> frozenset[int]:
    """Of a table that was printed, the groups of which anything is. A group that is not there now, or was not then, is none."""
    _, *rows = csv.reader(io.StringIO(content.decode()))
    width = len(keys[0]) if keys else 0
    there = {tuple(row[:width]) for row in rows if any(v != MARK for v in row[width:])}
    return frozenset(i for i, k in enumerate(keys) if tuple(map(key_text, k)) in there)


def key_text(key: disclosure.Key) -> str:
    if isinstance(key, Total):
        return "(all)"
    return "(missing)" if key is None else str(key).lower() if isinstance(key, bool) else str(key)


def text(measured: Measured, kind: What, base: int) -> str:
    """A number as it is printed; nothing where there is none."""
    value = measured.value
    if value is None or not math.isfinite(value):
        return ""
    if base > 1:
        value = _rounded(measured, kind, base)
    return str(int(value)) if value == int(value) and kind is not What.SHARE else f"{value:.6g}"


def _rounded(measured: Measured, kind: What, base: int) -> float:
    """Counts and sums to the base; shares of counts so rounded; the rest to three digits."""
    value = measured.value or 0
    if kind in (What.COUNT, What.PEOPLE, What.SUM):
        return base * math.floor(value / base + 0.5)
    if kind is What.SHARE and measured.parts is not None:
        true, false = (base * math.floor(n / base + 0.5) for n in measured.parts)
        return true / (true + false) if true + false else 0.0
    return float(f"{value:.3g}")


def keys(declared: Declared, found: Scope) -> list[tuple[disclosure.Key, ...]]:
    """Every group in the order of printing, totals last along each key."""
    ends: tuple[disclosure.Key, ...] = (TOTAL,) if declared.totals else ()
    made: list[tuple[disclosure.Key, ...]] = [()]
    for column in declared.by:
        made = [(*k, v) for k in made for v in (*found.groups[column].keys, *ends)]
    return made


def priced(
    findings: Sequence[Finding], declared: Declared, schema: TableSchema, *, delta: float, size: int | None
) -> list[Finding]:
    """The same, each suggestion of noise with its price: epsilon, and the error to expect of the first statistic."""
    if not any(f.verdict is not Verdict.PASS for f in findings):
        return list(findings)
    try:
        found = price(prepare(declared.request(NOISE_EPSILON), schema, delta=delta), delta=delta, size=size).errors()
    except RequestError:  # a number without bounds, say: noise needs more words than the table has
        found = {}
    error = next((e for e in found.values() if e is not None), None)
    offer: Mapping[str, object] = {
        "epsilon": NOISE_EPSILON, "delta": delta, "error": error, "call": f".noise(name, epsilon={NOISE_EPSILON:g})",
    }  # fmt: skip
    return [
        f.model_copy(
            update={
                "mitigations": tuple(
                    m.model_copy(update=offer) if m.kind is Mitigate.NOISE and found else m for m in f.mitigations
                )
            }
        )
        for f in findings
    ]
