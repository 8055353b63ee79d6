"""People in blocks: each in one, by nothing but their identifier; one person changes one block's bytes and no other's."""

import csv

import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tre.rules.schema import TableSchema
from tre.secure.data.ingest import ingest
from tre.secure.data.partition import Source, block_of, partition

KEY = b"k" * 32
COLUMNS = ("year", "sex", "visits", "score")
SCHEMA = TableSchema.model_validate(
    {
        "unit": {"field": "person", "max_rows": 5},
        "fields": [
            {"name": "person", "type": "string", "constraints": {"required": True}},
            {"name": "year", "type": "integer"},
            {"name": "sex", "type": "string", "constraints": {"enum": ["f", "m"]}},
            {"name": "visits", "type": "integer"},
            {"name": "score", "type": "number"},
        ],
    }
)
PERSON = st.text("abcdefgh0123456789", min_size=1, max_size=4)
ROW = st.tuples(
    st.integers(1, 5), st.sampled_from(["f", "m", ""]), st.one_of(st.just(""), st.integers(0, 50)), st.sampled_from(["", 0.25, 1.5])
)  # fmt: skip
PEOPLE = st.dictionaries(PERSON, st.lists(ROW, min_size=1, max_size=4), min_size=1, max_size=12)


def cut(folder, people, *, k=4, columns=COLUMNS, population="them"):
    """Ingested as the registry does it, then cut; the bytes of each block's file."""
    folder.mkdir()
    with (folder / "rows.csv").open("w", newline="") as file:
        out = csv.writer(file)
        out.writerow(["person", "year", "sex", "visits", "score"])
        out.writerows([person, *row] for person, rows in people.items() for row in rows)
    ingest(SCHEMA, [folder / "rows.csv"], folder / "rows.parquet", key=KEY)
    source = Source(rows=folder / "rows.parquet", unit="person", columns=columns)
    partition(folder / "blocks", {"visits": source}, key=KEY, population=population, k=k)
    return [(folder / "blocks" / str(b) / "visits.parquet").read_bytes() for b in range(k)]


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=PEOPLE, data=st.data())
def test_adding_a_person_changes_the_bytes_of_their_block_and_of_no_other(tmp_path_factory, people, data):
    no_other_block_changes(tmp_path_factory.mktemp("cut"), people, data.draw(st.sampled_from(sorted(people))))


def no_other_block_changes(folder, people, gone):
    rest = {person: rows for person, rows in people.items() if person != gone}
    rest["someone"] = people.get("someone", [(1, "f", 0, "")])  # ingest needs a row
    people["someone"] = rest["someone"]
    with_them, without = cut(folder / "with", people), cut(folder / "without", rest)
    theirs = block_of(KEY, "them", 4, gone)
    changed = [b for b in range(4) if with_them[b] != without[b]]
    assert changed == ([] if gone == "someone" else [theirs])


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(people=PEOPLE, k=st.integers(2, 9))
def test_every_row_is_in_one_block_with_all_of_its_persons_rows(tmp_path_factory, people, k):
    folder = tmp_path_factory.mktemp("cut")
    cut(folder / "it", people, k=k, columns=("person", *COLUMNS))
    found = {}
    for block in range(k):
        for row in pq.read_table(folder / "it" / "blocks" / str(block) / "visits.parquet").to_pylist():
            found.setdefault(row["person"], []).append((block, row["tre_person"]))
    assert {person: len(rows) for person, rows in found.items()} == {p: len(rows) for p, rows in people.items()}
    for person, places in found.items():
        assert {b for b, _ in places} == {block_of(KEY, "them", k, person)}
        assert len({code for _, code in places}) == 1
    for block in range(k):  # codes count the people of the block from 0: nothing tells of how many there are elsewhere
        codes = {code for places in found.values() for b, code in places if b == block}
        assert codes == set(range(len(codes)))


def test_linked_datasets_of_one_population_put_a_person_into_the_same_block(tmp_path):
    rows = [(1, "f", 3, 0.25)]
    first = cut(tmp_path / "first", {str(p): rows for p in range(40)}, columns=("person", "year"))
    second = cut(tmp_path / "second", {str(p): rows * 2 for p in range(20, 60)}, columns=("person", "sex"))
    assert len(first) == len(second)
    at = [
        {
            row["person"]: block
            for block in range(4)
            for row in pq.read_table(tmp_path / name / "blocks" / str(block) / "visits.parquet").to_pylist()
        }
        for name in ("first", "second")
    ]
    both = set(at[0]) & set(at[1])
    assert len(both) == 20
    assert all(at[0][p] == at[1][p] for p in both)


def test_a_block_holds_the_projects_columns_alone_and_may_be_empty(tmp_path):
    cut(tmp_path / "it", {"a": [(1, "f", 3, 0.25)]}, k=9)
    files = [pq.read_table(tmp_path / "it" / "blocks" / str(b) / "visits.parquet") for b in range(9)]
    assert sorted(f.num_rows for f in files) == [0] * 8 + [1]
    assert {tuple(f.column_names) for f in files} == {(*COLUMNS, "tre_person", "tre_order")}
    assert len({f.schema for f in files}) == 1  # types are those declared, also where there is no row


def test_blocks_are_about_equal_and_differ_by_population_and_number():
    people = [str(p) for p in range(8000)]
    counts = [0] * 8
    for person in people:
        counts[block_of(KEY, "them", 8, person)] += 1
    assert all(abs(c - 1000) < 6 * 30 for c in counts)
    for other in [("others", 8, KEY), ("them", 16, KEY), ("them", 8, b"o" * 32)]:
        same = sum(block_of(KEY, "them", 8, p) == block_of(other[2], other[0], other[1], p) % 8 for p in people)
        assert same == pytest.approx(1000, abs=200)


def test_a_block_that_depends_on_others_is_caught_by_the_bytes(tmp_path, monkeypatch):
    """The planted fault: people are dealt out in turn, so that blocks are of one size."""
    turns = iter(range(10**9))
    monkeypatch.setattr("tre.secure.data.partition.block_of", lambda _key, _name, k, _who: next(turns) % k)
    people = {str(p): [(1, "f", 0, "")] for p in range(9)}
    with pytest.raises(AssertionError):
        no_other_block_changes(tmp_path, people, "3")
