"""The check of outputs without noise: what of each may be looked at, and what the disclosure rules say of it.

Guarantees: a declared table is computed here, from rows that this process reads, and never from what a notebook says; its
cells are judged by who is behind them, and by everything that was released before from the same dataset, by whichever
project. Everything else is a claim, and says so. On the twin (in a rehearsal) the same rules give what is shown with the
plan; findings about real rows go to output checkers. What cannot be computed is missing, and fails.
Not done here: rewriting bytes (outputs), deciding (people).
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import duckdb
import sqlalchemy as sa

from tre.errors import TreError
from tre.messages import DatasetInfo, OutputKind, Plan, PlannedOutput
from tre.rules.disclosure import claims
from tre.rules.disclosure.cells import Key, Table, What
from tre.rules.disclosure.counts import single
from tre.rules.disclosure.differencing import Printed, differences
from tre.rules.disclosure.finding import Finding, Rule, Verdict
from tre.rules.disclosure.reading import Sheet, read
from tre.rules.fitted import ModelSummary
from tre.rules.lifecycle import Release
from tre.rules.policy import Disclosure
from tre.secure.database import tables
from tre.statistics import contributors
from tre.statistics.aggregate import open_rows
from tre.statistics.declared import Declared
from tre.statistics.prepare import Scope
from tre.statistics.printing import as_csv, finished, keys, priced, scope, shown

log = logging.getLogger("tre.worker")
# Of one dataset, the newest: beyond it pairs with older tables are not compared, which a finding says.
MOST_EARLIER = 60

Content = Mapping[str, bytes | None]
OUT = (Release.RELEASED, Release.REVOKED)  # what was revoked has been seen


@dataclass(frozen=True, kw_only=True)
class Judged:
    """An output as it is to be looked at: its bytes, or None, and what was found."""

    content: bytes | None
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class Earlier:
    """An output that has left: `content` is what left."""

    release: str
    output: PlannedOutput
    datasets: Mapping[str, str]
    content: bytes


@dataclass(frozen=True, kw_only=True)
class _Made:
    declared: Declared
    scope: Scope
    table: Table
    content: bytes


def released(
    connection: sa.Connection, outputs: Path, datasets: Sequence[str], *, project: str | None = None
) -> list[Earlier]:
    """Every output that has left and used one of these datasets, newest first, of all projects or of one."""
    r, j, o = tables.releases, tables.jobs, tables.outputs
    query = (
        sa.select(r.c.id, j.c.plan, o.c.name, o.c.sha256)
        .join(j, j.c.id == r.c.job)
        .join(o, o.c.release == r.c.id)
        .where(r.c.state.in_(OUT), o.c.sha256.is_not(None))
        .where(sa.true() if project is None else r.c.project == project)
        .order_by(r.c.created_at.desc(), r.c.id, o.c.position)
    )
    found = []
    plans: dict[str, Plan] = {}
    for row in connection.execute(query):
        plan = plans.setdefault(str(row.id), Plan.model_validate_json(str(row.plan)))
        item = next((p for p in plan.outputs if p.name == row.name), None)
        if item is not None and set(plan.datasets) & set(datasets):
            content = (outputs / str(row.sha256)).read_bytes()
            found.append(Earlier(release=str(row.id), output=item, datasets=plan.datasets, content=content))
    return found


def judge(
    items: Sequence[PlannedOutput],
    claimed: Content,
    infos: Mapping[str, DatasetInfo],
    rows: Callable[[str], Path],
    before: Sequence[Earlier],
    limits: Disclosure,
    *,
    numbers: bool = True,
) -> dict[str, Judged]:
    """All outputs of one request together. `claimed`: bytes by name, already written anew; `rows`: a dataset's file.

    `numbers`: whether what left before is of the same rows, so that its numbers can be compared.
    """
    there, between = _declared(items, infos, rows, before, limits)
    content = {i.name: claimed.get(i.name) for i in items if i.declared is None} | {
        n: m.content for n, m in there.items()
    }
    sheets: dict[tuple[str | None, str], Sheet] = {}
    for i in items:
        mine = content.get(i.name)
        if i.kind is OutputKind.TABLE and mine is not None:
            sheets[None, i.name] = _sheet(mine)
    for e in before if numbers else ():
        if e.output.kind is OutputKind.TABLE:
            sheets[e.release, e.output.name] = _sheet(e.content)
    found = {}
    for item in items:
        first = claims.context(item.context, item.name)
        mine = content.get(item.name)
        if mine is None:
            found[item.name] = Judged(content=None, findings=(first, *claims.missing()))
            continue
        if item.declared is not None:
            info = infos[item.declared.dataset]
            more = priced(
                [*single(there[item.name].table, limits), *between[item.name]], item.declared, info.table,
                delta=info.delta, size=info.size,
            )  # fmt: skip
        else:
            more = _claim(item, mine, infos, sheets, limits)
        found[item.name] = Judged(content=mine, findings=(first, *more))
    return found


def _declared(
    items: Sequence[PlannedOutput],
    infos: Mapping[str, DatasetInfo],
    rows: Callable[[str], Path],
    before: Sequence[Earlier],
    limits: Disclosure,
) -> tuple[dict[str, _Made], dict[str, list[Finding]]]:
    """The declared tables that could be computed, and what each tells together with others: of one dataset at a time."""
    statements = {i.name: i.declared for i in items if i.declared is not None}
    made: dict[str, _Made] = {}
    between: dict[str, list[Finding]] = {n: [] for n in statements}
    for dataset in dict.fromkeys(d.dataset for d in statements.values()):
        try:
            info = infos[dataset]
            with open_rows(rows(dataset)) as connection:
                mine = {
                    n: m for n, d in statements.items()
                    if d.dataset == dataset and (m := _computed(connection, d, info, limits)) is not None
                }  # fmt: skip
                made |= mine
                for name, found in _between(connection, mine, info, before, limits).items():
                    between[name] += found
        except Exception as error:  # whatever it was: what was not computed is then missing, and fails
            log.error("the declared tables of a dataset could not be computed: %s", type(error).__name__)
    return made, between


def _computed(
    connection: duckdb.DuckDBPyConnection, declared: Declared, info: DatasetInfo, limits: Disclosure
) -> _Made | None:
    """None where it cannot be, by a fault of ours: on real rows nothing is raised."""
    try:
        known = scope(declared, info.table)
        table = finished(contributors.cells(connection, declared, known), declared, limits)
        return _Made(declared=declared, scope=known, table=table, content=as_csv(table))
    except Exception as error:
        log.error("a declared table could not be computed: %s", type(error).__name__)
        return None


# Differencing


def _between(
    connection: duckdb.DuckDBPyConnection,
    mine: Mapping[str, _Made],
    info: DatasetInfo,
    before: Sequence[Earlier],
    limits: Disclosure,
) -> dict[str, list[Finding]]:
    """For each declared table of a dataset, what it tells together with the others of the request and with what has left."""
    past = [e for e in before if e.output.declared is not None and e.output.declared.dataset == info.id]
    found: dict[str, list[Finding]] = {n: [] for n in mine}
    said = []
    try:
        for name, more in _compared(connection, mine, info, past, limits).items():
            found[name] += more
    except Exception as error:  # what was not compared is not known to be safe
        log.error("tables could not be compared: %s", type(error).__name__)
        said.append("Not checked by machine, needs eyes: it could not be compared with other tables.")
    if any(e.datasets[info.id] != info.version for e in past) or len(past) > MOST_EARLIER:
        said.append(
            "Tables were released from another version of the dataset, or more than are compared: look at them."
        )
    for name in mine:
        found[name] += [Finding(rule=Rule.DIFFERENCING, verdict=Verdict.REVIEW, message=s) for s in said]
    return found


def _compared(
    connection: duckdb.DuckDBPyConnection,
    mine: Mapping[str, _Made],
    info: DatasetInfo,
    past: Sequence[Earlier],
    limits: Disclosure,
) -> dict[str, list[Finding]]:
    items = [
        (_printed(name, None, m.declared, m.table.groups_keys, _shown(m.table)), m.scope, m.declared)
        for name, m in mine.items()
    ]
    for e in past[:MOST_EARLIER]:
        declared = e.output.declared
        known = _known(declared, info) if declared is not None else None
        if declared is not None and known is not None:
            at = keys(declared, known)
            items.append((_printed(e.output.name, e.release, declared, at, shown(e.content, at)), known, declared))
    found: dict[str, list[Finding]] = {}
    several = info.table.unit.max_rows > 1
    for of_people in (False, True) if several else (False,):
        chosen = [i for i in items if not several or _counts(i[2], of_people=of_people)]
        if not any(p.release is None for p, *_ in chosen):
            continue
        cut = contributors.atoms(connection, [(s, p.keys) for p, s, _ in chosen], limits.threshold, of_people=of_people)
        for t, more in differences([p for p, *_ in chosen], cut, limits.threshold).items():
            found.setdefault(chosen[t][0].output, []).extend(more)
    return found


def _counts(declared: Declared, *, of_people: bool) -> bool:
    """Whether a table has numbers that add up over people, or over rows."""
    people = [k is What.PEOPLE for k in declared.kinds.values()]
    return any(people) if of_people else not all(people)


def _known(declared: Declared, info: DatasetInfo) -> Scope | None:
    """None where the project may not see what the table is of: then it is compared by its numbers only."""
    try:
        return scope(declared, info.table)
    except TreError:
        return None


def _shown(table: Table) -> frozenset[int]:
    return frozenset(i for i in range(len(table.groups)) if any(table.shown(i, n) for n in table.kinds))


def _printed(
    name: str, release: str | None, declared: Declared, at: Sequence[tuple[Key, ...]], visible: frozenset[int]
) -> Printed:
    totals = frozenset(i for i, k in enumerate(at) if contributors.is_total(k))
    return Printed(
        output=name, release=release, by=declared.by, keys=at, shown=visible, column=len(declared.by),
        rounded=declared.round_to > 1, totals=totals,
    )  # fmt: skip


# Claims


def _sheet(content: bytes | None) -> Sheet:
    header, *rows = list(csv.reader(io.StringIO((content or b"").decode()))) or [[]]
    return read(header, rows)


def _claim(
    item: PlannedOutput,
    content: bytes,
    infos: Mapping[str, DatasetInfo],
    sheets: Mapping[tuple[str | None, str], Sheet],
    limits: Disclosure,
) -> list[Finding]:
    try:
        return _read(item, content, infos, sheets, limits)
    except Exception as error:  # a rule that fails has not passed anything
        log.error("an output could not be read by the rules: %s", type(error).__name__)
        return [claims.unchecked(item.kind.value)]


def _read(
    item: PlannedOutput,
    content: bytes,
    infos: Mapping[str, DatasetInfo],
    sheets: Mapping[tuple[str | None, str], Sheet],
    limits: Disclosure,
) -> list[Finding]:
    identifiers = [i.table.unit.field for i in infos.values()]
    match item.kind:
        case OutputKind.TABLE:
            mine = sheets[None, item.name]
            fields = [f.name for i in infos.values() for f in i.table.fields]
            others = {place: s for place, s in sheets.items() if place != (None, item.name)}
            found = claims.table(mine.header, mine.rows, limits=limits, identifiers=identifiers, fields=fields)
            return [*found, claims.alike(mine, others, limits.threshold)]
        case OutputKind.TEXT:
            return claims.text(content.decode(), limits=limits, identifiers=identifiers)
        case OutputKind.MODEL:
            return claims.model(**ModelSummary.model_validate_json(content).facts, limits=limits)
        case OutputKind.FIGURE:
            return claims.figure(item.data)
    return claims.missing()
