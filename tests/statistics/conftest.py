"""A small table whose exact answers are known, as the file that the statistics read."""

import duckdb
import pytest

from tre.rules.schema import TableSchema

SCHEMA = TableSchema.model_validate(
    {
        "fields": [
            {"name": "person", "type": "integer", "constraints": {"required": True}},
            {"name": "sex", "type": "string", "constraints": {"required": True, "enum": ["f", "m"]}},
            {"name": "site", "type": "string", "constraints": {"enum": ["a", "b", "c"]}},
            {"name": "age", "type": "integer", "constraints": {"required": True, "minimum": 0, "maximum": 120}},
            {"name": "cost", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}, "step": 0.5},
            {"name": "free", "type": "number"},
            {"name": "note", "type": "string"},
        ],
        "unit": {"field": "person", "max_rows": 3},
    }
)


def write_rows(path, rows):
    """rows: (person, order, sex, site, age, cost, free, note)"""
    connection = duckdb.connect()
    connection.execute(
        "CREATE TABLE t (tre_person BIGINT, tre_order INTEGER, sex VARCHAR, site VARCHAR, age BIGINT, cost DOUBLE,"
        " free DOUBLE, note VARCHAR)"
    )
    if rows:
        connection.executemany("INSERT INTO t VALUES (?, ?, ?, ?, ?, ?, ?, ?)", rows)
    connection.execute(f"COPY (SELECT *, tre_person AS person FROM t) TO '{path}' (FORMAT parquet)")
    return path


@pytest.fixture(scope="session")
def schema():
    return SCHEMA


@pytest.fixture(scope="session")
def parquet(tmp_path_factory):
    """2,000 people with 2 rows each, the second person out of ten with a fourth and fifth row too many."""
    rows = []
    for p in range(2000):
        for o in range(5 if p % 10 == 1 else 2):
            site = None if p % 7 == 0 else "abc"[p % 3]
            cost = None if p % 4 == 0 else (p % 50) * 10.0
            rows.append((p, o, "fm"[p % 2], site, 20 + p % 60, cost, float(p % 9), "x"))
    return write_rows(tmp_path_factory.mktemp("rows") / "rows.parquet", rows)
