"""Declared tables: cells and who is behind them, recomputed in plain Python; what is printed; what is refused."""

import csv
import io
from collections import defaultdict

import pytest

from tests.statistics.conftest import SCHEMA, write_rows
from tre.errors import RequestError
from tre.rules.disclosure.cells import TOTAL
from tre.rules.disclosure.counts import single
from tre.rules.disclosure.differencing import Printed, differences
from tre.rules.disclosure.finding import Mitigate, Rule, Verdict
from tre.rules.policy import Disclosure
from tre.statistics import contributors, declared, printing
from tre.statistics.aggregate import open_rows

ROWS = [
    (p, o, "fm"[p % 2], None if p % 7 == 0 else "abc"[p % 3], 20 + p % 60, None if p % 4 == 0 else (p % 50) * 10.0, float(p % 9), "x")
    for p in range(400)
    for o in range(5 if p % 10 == 1 else 2)
]  # fmt: skip
STATISTICS = {
    "n": {"kind": "count"},
    "people": {"kind": "count_people"},
    "total": {"kind": "sum", "column": "cost"},
    "mean": {"kind": "mean", "column": "cost"},
    "young": {"kind": "share", "column": "young"},
}
STATEMENT = {
    "dataset": "toy",
    "where": ["age >= 30"],
    "derive": [{"name": "young", "expression": "age < 40"}],
    "group_by": [{"column": "sex"}, {"column": "site"}],
    "statistics": STATISTICS,
    "totals": True,
}


@pytest.fixture(scope="module")
def connection(tmp_path_factory):
    with open_rows(write_rows(tmp_path_factory.mktemp("rows") / "rows.parquet", ROWS)) as opened:
        yield opened


def _table(connection, **changes):
    statement = declared.parse(STATEMENT | changes)
    return statement, contributors.cells(connection, statement, printing.scope(statement, SCHEMA))


def test_every_cell_is_of_the_rows_and_people_that_plain_python_finds(connection):
    _, table = _table(connection)
    for group in table.groups:
        rows = [
            r for r in ROWS
            if r[4] >= 30 and all(k is TOTAL or v == k for k, v in zip(group.keys, (r[2], r[3]), strict=True))
        ]  # fmt: skip
        by_person = defaultdict(float)
        for r in rows:
            if r[5] is not None:
                by_person[r[0]] += r[5]
        m = group.measured
        assert (m["n"].value, m["people"].value) == (len(rows), len({r[0] for r in rows}))
        assert group.people == m["n"].people == m["people"].people
        assert m["total"].value == sum(by_person.values()) == m["total"].total
        assert m["mean"].value == pytest.approx(sum(by_person.values()) / sum(r[5] is not None for r in rows))
        assert m["total"].people == len(by_person)
        assert m["total"].largest == tuple(sorted(by_person.values(), reverse=True)[:10])
        assert m["young"].parts == (len({r[0] for r in rows if r[4] < 40}), len({r[0] for r in rows if r[4] >= 40}))
    assert len(table.groups) == 3 * 5


def test_what_is_printed_is_whole_or_to_six_digits_and_suppressed_or_rounded_on_demand(connection):
    statement, table = _table(connection, totals=False)
    header, *rows = csv.reader(io.StringIO(printing.as_csv(table).decode()))
    assert header == ["sex", "site", *STATISTICS]
    assert [r[:2] for r in rows[:4]] == [["f", "a"], ["f", "b"], ["f", "c"], ["f", "(missing)"]]
    assert all(r[2].isdigit() and len(r[5].replace(".", "").lstrip("0")) <= 6 for r in rows)
    limits = Disclosure(threshold=30)
    done = printing.finished(table, statement.model_copy(update={"suppress": True, "round_to": 5}), limits)
    header, *rows = csv.reader(io.StringIO(printing.as_csv(done).decode()))
    for row, group in zip(rows, table.groups, strict=True):
        refused = group.people < 30 or any(0 < n < 30 for n in group.measured["young"].parts)
        assert (row[2] == "suppressed") == refused or group.measured["total"].people < 30
        assert row[2] == "suppressed" or int(row[2]) % 5 == 0
    at = [g.keys for g in done.groups]
    assert printing.shown(printing.as_csv(done), at) == {i for i, r in enumerate(rows) if r[2] != "suppressed"}


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"statistics": {"m": {"kind": "mean", "column": "sex"}}}, "table_invalid"),
        ({"statistics": {"m": {"kind": "mean", "column": "person"}}}, "column_unknown"),
        ({"group_by": [{"column": "person"}]}, "column_unknown"),
        ({"group_by": [{"column": "age"}]}, "keys_unknown"),
        ({"group_by": [{"column": "age", "keys": list(range(3000))}]}, "too_many_cells"),
        ({"where": ["person = 7"]}, "column_unknown"),
        ({"statistics": {"m": {"kind": "mean", "column": "cost", "bounds": [0, 1]}}}, "bounds_invalid"),
        ({"statistics": {"h": {"kind": "histogram", "column": "cost"}}}, "request_invalid"),
        ({"statistics": {}}, "request_invalid"),
    ],
)
def test_what_the_schema_or_the_language_does_not_allow_is_refused_with_a_code(changes, code):
    with pytest.raises(RequestError) as refused:
        printing.scope(declared.parse(STATEMENT | changes), SCHEMA)
    assert refused.value.code == code


def test_a_refused_table_is_offered_with_noise_at_its_price(connection):
    statement, table = _table(connection, where=["age >= 76"], totals=False, statistics={"n": {"kind": "count"}})
    found = printing.priced(single(table, Disclosure()), statement, SCHEMA, delta=1e-6, size=1000)
    (few,) = [f for f in found if f.rule is Rule.THRESHOLD]
    assert few.verdict is Verdict.FAIL
    (noise,) = [m for m in few.mitigations if m.kind is Mitigate.NOISE]
    assert (noise.epsilon, noise.delta) == (0.5, 1e-6)
    assert noise.error > 0


@pytest.mark.parametrize("of_people", [False, True])
def test_atoms_tell_which_people_two_tables_differ_by(connection, of_people):
    def made(where):
        statement, table = _table(connection, where=[where], group_by=[], statistics={"n": {"kind": "count_people"}})
        return printing.scope(statement, SCHEMA), [g.keys for g in table.groups]

    tables = [made("age >= 30"), made("age >= 31")]
    found = contributors.atoms(connection, tables, 10, of_people=of_people)
    differ = {p for a in found if a.groups[0] != a.groups[1] for p in a.people}
    assert differ == {r[0] for r in ROWS if r[4] == 30}
    printed = [
        Printed(output=f"t{i}", release=None, by=(), keys=k, shown=frozenset([0])) for i, (_, k) in enumerate(tables)
    ]
    bad = [f for of in differences(printed, found, 10).values() for f in of if f.verdict is Verdict.FAIL]
    assert {(f.rule, f.people) for f in bad} == {(Rule.LINKED, len(differ))}
