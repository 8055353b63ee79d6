"""Our counts beside frictionless, the reference implementation of Table Schema: the same, rule by rule, on planted errors.

Left out, as the two are meant to differ: whole numbers written 3.0 (ours, as pandas writes them in columns with gaps), what is
not finite (a rule of its own), and repeated keys with a missing part (ours breaks `required` alone).
"""

import csv
import json
import subprocess

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import peers
from bench.quality import descriptor
from tests.data.test_ingest import FIELDS, GOOD
from tre.rules.policy import Dataset
from tre.secure.data.quality import measure

DATASET = Dataset.model_validate(
    {
        "title": "-", "steward": "-", "population": "p", "fields": FIELDS, "primary_key": ["person", "visit"],
        "missing_values": ["", "NA"], "unit": {"field": "person", "max_rows": 3},
        "quality": {"foreign_keys": [{"fields": ["person"], "dataset": "people", "references": ["id"]}]},
    }
)  # fmt: skip
# By column: what keeps every rule, and what breaks one.
CELLS = {
    "person": ["ann", "ben", "cat", "zoe"],  # zoe is not among the people
    "visit": ["1", "2", "9", "0", "10"],
    "site": ["north", "south", "", "NA", "North", "east"],
    "code": ["A01", "Z99", "", "A1", "xA01", "A011"],
    "score": ["0", "0.5", "1", "1e-3", "", "-0.1", "1.01", "half", "0,5"],
    "smokes": ["true", "false", "1", "0", "NA", "yes", "2"],
    "seen": ["2020-01-01", "2020-12-31", "", "2019-12-31", "2021-01-01", "31/12/2020", "2020-02-30"],
    "sample": ["", "NA", "5", "5", "6", "7", "x"],
}
ROWS = st.lists(st.fixed_dictionaries({k: st.sampled_from(v) for k, v in CELLS.items()}), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def oracle():
    """Asks a process of frictionless's own environment, which stays for all examples."""
    python = peers.made("frictionless")
    if python is None:
        pytest.skip("frictionless is not there: scripts/setup.sh --for-tests installs it in an environment of its own")
    command = [str(python), "-W", "ignore", peers.path_of("frictionless", "run.py"), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:

        def ask(task):
            process.stdin.write(json.dumps(task) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield ask
        process.stdin.close()


@pytest.fixture
def people(tmp_path):
    (tmp_path / "people.csv").write_text("id\nann\nben\ncat\n")
    duckdb.connect().execute(
        f"COPY (SELECT * FROM read_csv('{tmp_path / 'people.csv'}')) TO '{tmp_path / 'people.parquet'}' (FORMAT parquet)"
    )
    return tmp_path


def write(path, rows):
    with path.open("w", newline="") as file:
        out = csv.DictWriter(file, list(GOOD))
        out.writeheader()
        out.writerows(rows)
    return path


def ours(folder, rows):
    file = write(folder / "rows.csv", rows)
    found = measure(
        DATASET.table, DATASET.quality, [file], scratch=folder, references={"people": folder / "people.parquet"}
    )
    # Of rows that share a key the reference counts those that come after the first.
    return {c.check.id: c.broken if c.repeats is None else c.repeats for c in found.counts if c.failed}


def theirs(oracle, folder):
    return oracle(
        {
            "csv": str(folder / "rows.csv"), "schema": descriptor(DATASET, "people"), "people": str(folder / "people.csv"),
            "other": {"fields": [{"name": "id", "type": "string"}]},
        }
    )  # fmt: skip


@pytest.mark.slow
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS)
def test_on_whatever_table_both_count_the_same(oracle, people, rows):
    assert ours(people, rows) == theirs(oracle, people)


def test_on_a_table_with_an_error_of_every_kind_both_count_the_same(oracle, people):
    """With a missing part of a key, once."""
    rows = [
        {**GOOD, "person": ("ann", "ben", "cat")[i % 3], "visit": str(1 + i // 3), "sample": str(i), column: cell}
        for i, (column, cell) in enumerate((c, v) for c, vs in CELLS.items() for v in vs if c != "visit")
        if i < 27
    ]
    rows += [{**GOOD, "visit": v} for v in ("0", "10", "x", "1")] + [{**GOOD, "person": "NA", "visit": "4"}]
    found = ours(people, rows)
    assert found == theirs(oracle, people)
    assert {name.partition(":")[2] for name in found} >= {
        "required", "type", "enum", "pattern", "minimum", "maximum", "primary_key", "foreign_key",
    }  # fmt: skip
