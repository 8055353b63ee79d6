"""A small table whose exact answers are known, as the file that the statistics read."""

import pyarrow as pa
import pyarrow.parquet as pq
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


TYPES = {
    "tre_person": pa.int64(), "tre_order": pa.int32(), "sex": pa.string(), "site": pa.string(), "age": pa.int64(),
    "cost": pa.float64(), "free": pa.float64(), "note": pa.string(),
}  # fmt: skip


def write_rows(path, rows):
    """rows: (person, order, sex, site, age, cost, free, note)"""
    columns = list(zip(*rows, strict=True)) if rows else [[]] * len(TYPES)
    arrays = [pa.array(c, type=t) for c, t in zip(columns, TYPES.values(), strict=True)]
    table = pa.table([*arrays, arrays[0]], names=[*TYPES, "person"])
    pq.write_table(table, path)
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
