"""Pairs of one person's rows of two tables: what DuckDB's own join says, bounded, and of no column that is not one's own."""

import math

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tre.errors import RequestError
from tre.messages import DatasetInfo
from tre.rules.schema import TableSchema
from tre.statistics.aggregate import exact, open_rows
from tre.statistics.prepare import prepare
from tre.statistics.request import parse

PEOPLE = {
    "fields": [
        {"name": "id", "type": "string", "constraints": {"required": True}},
        {"name": "region", "type": "string", "constraints": {"required": True, "enum": ["n", "s"]}},
        {"name": "age", "type": "integer", "constraints": {"required": True, "minimum": 0, "maximum": 120}},
    ],
    "unit": {"field": "id", "max_rows": 1},
}
VISITS = {
    "fields": [
        {"name": "person", "type": "integer", "constraints": {"required": True}},
        {"name": "cost", "type": "integer", "constraints": {"required": True, "minimum": 0, "maximum": 100}},
        {"name": "age", "type": "integer", "constraints": {"required": True, "minimum": 0, "maximum": 120}},
    ],
    "unit": {"field": "person", "max_rows": 2},
}


def _info(name, table, population="all", version="v"):
    declared = TableSchema.model_validate(table)
    return DatasetInfo(
        id=name, title=name, description="", source="", licence="", steward="", population=population,
        version=f"{name}-{version}", delta=1e-6, table=declared, twin=None,
        columns=tuple(f.name for f in declared.fields if f.name != declared.unit.field),
    )  # fmt: skip


def _write(path, rows, names):
    """Rows of (person's code, order, …), in files as ingest writes them."""
    pq.write_table(pa.table(dict(zip(["tre_person", "tre_order", *names], zip(*rows, strict=True), strict=True))), path)
    return path


@pytest.fixture
def files(tmp_path):
    """100 people; the codes of the two files are different numbers. Person 7 is in one only; some have three visits."""
    people = [(99 - p, 0, str(p), "ns"[p % 2], 20 + p) for p in range(100) if p != 7]
    visits = [(p, o, p, (p * 7 + o) % 100, 30, 1) for p in range(100) for o in range(1 + p % 3)]
    return (
        _write(tmp_path / "visits.parquet", visits, ["person", "cost", "age", "region"]),  # region: not the project's
        _write(tmp_path / "people.parquet", people, ["id", "region", "age"]),
    )


def _vectors(files, statistics, *, by_identifier=True, **more):
    visits, people = _info("visits", VISITS), _info("people", PEOPLE)
    both = visits.linked(people)
    content = {"dataset": "visits", "link": "people", "statistics": statistics, "epsilon": 1.0}
    prepared = prepare(parse(content | more), both.table, delta=1e-6)
    link = visits.link_to(people, files[1])
    with open_rows(files[0], link=link, by_identifier=by_identifier) as connection:
        return prepared, exact(connection, prepared)


def test_pairs_are_those_of_duckdbs_join_with_each_tables_rows_bounded(files):
    statistics = {
        "n": {"kind": "count"},
        "c": {"kind": "sum", "column": "cost"},
        "a": {"kind": "sum", "column": "people_age"},
    }
    prepared, vectors = _vectors(files, statistics, group_by=[{"column": "region"}])
    visits, people = (f"read_parquet('{f}')" for f in files)
    query = f"""SELECT b.region, count(*), sum(cost), sum(b.age) FROM {visits} a JOIN {people} b ON a.person = b.id::BIGINT
        WHERE a.tre_order < 2 GROUP BY b.region ORDER BY 1"""
    wanted = duckdb.connect().execute(query).fetchall()
    found = [vectors[prepared.uses[s][0].parts[0]] for s in "nca"]
    assert list(zip("ns", *found, strict=True)) == wanted


def test_a_column_of_the_first_file_that_is_not_the_projects_is_never_the_seconds(files):
    """The first file has a `region` too, outside the project: all ones."""
    prepared, vectors = _vectors(files, {"n": {"kind": "count"}}, group_by=[{"column": "region"}])
    assert min(vectors[prepared.components[0]]) > 0


def test_a_person_has_at_most_the_product_of_both_bounds():
    three = PEOPLE | {"unit": {"field": "id", "max_rows": 3}}
    both = _info("visits", VISITS).linked(_info("people", three))
    assert both.table.unit.max_rows == 6
    many = PEOPLE | {"unit": {"field": "id", "max_rows": 900}}
    with pytest.raises(RequestError, match="1800 pairs"):
        _info("visits", VISITS).linked(_info("people", many))


def test_taking_a_person_out_changes_a_vector_by_no_more_than_is_declared(tmp_path):
    """By brute force: somebody with more rows in both files than count."""
    three = PEOPLE | {"unit": {"field": "id", "max_rows": 3}}
    visits, people = _info("visits", VISITS), _info("people", three)
    statistics = {"n": {"kind": "count"}, "c": {"kind": "sum", "column": "cost"}}
    content = {"dataset": "visits", "link": "people", "statistics": statistics, "epsilon": 1.0}
    prepared = prepare(parse(content), visits.linked(people).table, delta=1e-6)
    found = []
    for most in (1, 2):
        mine = _write(
            tmp_path / f"v{most}", [(p, o, p, 100, 1) for p in range(most) for o in range(5)], ["person", "cost", "age"]
        )
        theirs = _write(
            tmp_path / f"p{most}",
            [(p, o, str(p), "n", 1) for p in range(most) for o in range(7)],
            ["id", "region", "age"],
        )
        with open_rows(mine, link=visits.link_to(people, theirs), by_identifier=True) as connection:
            found.append(exact(connection, prepared))
    for component in prepared.components:
        assert math.dist(found[0][component], found[1][component]) == component.l2


def test_twins_are_joined_by_their_made_up_people(files):
    prepared, vectors = _vectors(files, {"n": {"kind": "count"}}, by_identifier=False)
    assert vectors[prepared.components[0]][0] > 0


@pytest.mark.parametrize(
    ("code", "change"),
    [
        ("request_invalid", {"link": "visits"}),
        ("request_invalid", {"link": 5}),
        ("request_invalid", {"link": ["people"]}),
    ],
)
def test_a_link_that_cannot_be_is_refused(code, change):
    with pytest.raises(RequestError) as refused:
        parse({"dataset": "visits", "statistics": {"n": {"kind": "count"}}, "epsilon": 1.0} | change)
    assert refused.value.code == code


def test_people_of_different_populations_are_not_linked():
    with pytest.raises(RequestError, match="different populations"):
        _info("visits", VISITS).linked(_info("people", PEOPLE, population="others"))
    both = _info("visits", VISITS).linked(_info("people", PEOPLE))
    assert both.version != _info("visits", VISITS).linked(_info("people", PEOPLE, version="w")).version
