"""Quality measured: every check counts the rows that break it, of CSV, Parquet and versions, and no value gets out."""

from pathlib import Path

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.data.test_ingest import FIELDS, GOOD, KEY, SECRET, csv, says_nothing
from tre.errors import DataError
from tre.rules.policy import Dataset
from tre.rules.quality import Dimension, Report, checks_of
from tre.rules.schema import TableSchema
from tre.secure.data.ingest import ingest
from tre.secure.data.quality import exact_vector, measure

QUALITY = {
    "foreign_keys": [{"fields": ["person"], "dataset": "register", "references": ["id"]}],
    "rules": [{"name": "smokers-score", "holds": "NOT smokes OR score > 0.2"}],
    "period": {"field": "seen", "first": "2020-02-01", "last": "2020-11-30"},
    "frequency": "monthly",
    "totals": [
        {"name": "rows", "of": "rows", "expected": 6},
        {"name": "people", "of": "people", "expected": 6},
        {"name": "visits", "sum": "visit", "expected": 6, "within": 0.5},
    ],
}
DATASET = {
    "title": "-", "steward": "-", "population": "p", "fields": FIELDS, "primary_key": ["person", "visit"],
    "missing_values": ["", "NA"], "unit": {"field": "person", "max_rows": 3}, "quality": QUALITY,
}  # fmt: skip


def dataset(**changes):
    return Dataset.model_validate({**DATASET, **changes})


@pytest.fixture
def register(tmp_path):
    """What the foreign key leads to: ann and p0 to p9."""
    path = tmp_path / "register.parquet"
    people = "SELECT 'p' || i AS id FROM range(10) AS r(i) UNION ALL SELECT 'ann'"
    duckdb.connect().execute(f"COPY ({people}) TO '{path}' (FORMAT parquet)")
    return path


def broken(folder, register, *rows, declared=None, fresh=None):
    declared = declared or dataset()
    found = measure(
        declared.table,
        declared.quality,
        [csv(folder, *rows)],
        scratch=folder,
        references={"register": register},
        fresh=fresh,
    )
    assert not list(folder.glob(".ingest-*"))
    return {c.check.id: c.broken for c in found.counts if c.broken}


PLANTED = [
    ({"person": ""}, {"person:required": 1}),
    ({"visit": "NA"}, {"visit:required": 1}),
    ({"visit": "1.5"}, {"visit:type": 1}),
    ({"visit": "0"}, {"visit:minimum": 1}),
    ({"visit": "10"}, {"visit:maximum": 1}),
    ({"site": "east"}, {"site:enum": 1}),
    ({"code": "a"}, {"code:pattern": 1}),
    ({"score": "inf"}, {"score:finite": 1}),
    ({"smokes": "yes"}, {"smokes:type": 1}),
    ({"seen": "2020-01-31"}, {"seen:period": 1}),
    ({"seen": "2021-01-01"}, {"seen:maximum": 1, "seen:period": 1}),
    ({"person": "zoe"}, {"person>register:foreign_key": 1}),
    ({"score": "0.1"}, {"smokers-score:row_rule": 1}),
    ({"score": ""}, {"score:present": 1}),  # and the rule is unknown, which breaks nothing
]


@pytest.mark.parametrize(("cell", "expected"), PLANTED, ids=[str(c) for c, _ in PLANTED])
def test_a_planted_error_is_counted_by_its_check_and_by_no_other(tmp_path, register, cell, expected):
    found = broken(tmp_path, register, *[{"sample": str(i)} for i in range(5)], {"sample": "5", **cell})
    assert {k: n for k, n in found.items() if not k.endswith(":total")} == expected


def test_rows_that_share_a_key_are_counted_with_those_that_repeat_one(tmp_path, register):
    twice, declared = {"person": "p1", "visit": "2"}, dataset()
    file = csv(tmp_path, {}, twice, twice, {"sample": "7"}, {"sample": "7"}, {"sample": "7"})
    found = measure(declared.table, declared.quality, [file], scratch=tmp_path, references={})
    keys = {c.check.id: (c.broken, c.repeats) for c in found.counts if c.repeats is not None}
    assert keys == {"sample:unique": (3, 2), "person,visit:primary_key": (2, 1)}


def test_markers_of_missing_values_are_counted_one_by_one(tmp_path, register):
    declared = dataset()
    file = csv(tmp_path, {"score": "NA"}, {"score": "NA", "site": "NA"}, {"score": ""}, {})
    found = measure(declared.table, declared.quality, [file], scratch=tmp_path, references={})
    told = {(m.field, m.marker): m.rows for m in found.markers if m.field != "sample"}
    assert told == {("score", "NA"): 2, ("score", ""): 1, ("site", "NA"): 1}


def test_control_totals_are_met_within_what_is_declared(tmp_path, register):
    assert broken(tmp_path, register, *[{}] * 6) == {"sample:present": 6}
    assert set(broken(tmp_path, register, *[{}] * 5)) == {"rows:total", "people:total", "sample:present"}
    assert set(broken(tmp_path, register, *[{"visit": "2"}] * 6)) == {"visits:total", "sample:present"}


def test_what_cannot_be_measured_is_not_assessed_and_never_passed(tmp_path, register):
    declared = dataset()
    found = measure(declared.table, declared.quality, [csv(tmp_path, *[{}] * 6)], scratch=tmp_path, references={})
    open_checks = {c.check.id for c in found.counts if c.broken is None}
    assert open_checks == {"person>register:foreign_key", "version:refreshed", "rows:let_in"}
    assert not any(c.passed or c.failed for c in found.counts if c.broken is None)
    assert "version:refreshed" in broken(tmp_path, register, *[{}] * 6, fresh=False)
    plain = dataset(quality={})
    bare = measure(plain.table, plain.quality, [csv(tmp_path, {})], scratch=tmp_path, references={})
    report = Report(dataset="d", version=None, schema_digest="", rows=bare.rows, counts=bare.counts)
    unknown = {d for d, s in report.scores.items() if s is None}
    assert unknown == {Dimension.CONSISTENCY, Dimension.TIMELINESS, Dimension.ACCURACY}


def test_every_declared_check_is_answered_once(tmp_path, register):
    declared = dataset()
    found = measure(declared.table, declared.quality, [csv(tmp_path, {})], scratch=tmp_path, references={})
    assert [c.check for c in found.counts] == list(checks_of(declared.table, declared.quality))
    assert len({c.check.id for c in found.counts}) == len(found.counts)


def test_csv_parquet_and_the_ingested_version_count_the_same(tmp_path, register):
    declared = dataset()
    file = csv(tmp_path, *[{"sample": str(i), "score": "" if i % 3 else "0.1"} for i in range(9)])
    ingest(declared.table, [file], tmp_path / "version.parquet", key=KEY)
    duckdb.connect().execute(
        f"COPY (SELECT * FROM read_csv('{file}', all_varchar = true)) TO '{tmp_path / 'raw.parquet'}' (FORMAT parquet)"
    )
    counted = [
        {
            c.check.id: (c.broken, c.repeats)
            for c in measure(
                declared.table, declared.quality, [path], scratch=tmp_path, references={"register": register}
            ).counts
        }
        for path in (file, tmp_path / "raw.parquet", tmp_path / "version.parquet")
    ]
    assert counted[0] == counted[1] == counted[2]
    assert counted[0]["smokers-score:row_rule"] == (3, None)


def test_a_foreign_key_to_the_very_rows(tmp_path):
    declared = dataset(quality={"foreign_keys": [{"fields": ["code"], "dataset": "me", "references": ["site"]}]})
    found = measure(
        declared.table, declared.quality, [csv(tmp_path, {}, {"code": ""})], scratch=tmp_path, references={"me": None}
    )
    assert next(c.broken for c in found.counts if c.check.rule == "foreign_key") == 1


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (f"person,visit\n{SECRET},1\n", "columns_missing"),
        (",".join(GOOD) + f"\n{SECRET},{SECRET}\n", "file_unreadable"),
        (",".join(GOOD) + f'\n"{SECRET},1,2\n', "file_unreadable"),
    ],
)
def test_files_that_are_no_table_are_refused_without_a_word_of_them(tmp_path, content, code):
    declared = dataset()
    (tmp_path / "rows.csv").write_text(content)
    with pytest.raises(DataError) as caught:
        measure(declared.table, declared.quality, [tmp_path / "rows.csv"], scratch=tmp_path, references={})
    assert caught.value.code == code
    says_nothing(caught.value)
    assert not list(tmp_path.glob(".ingest-*"))


def test_a_measurement_holds_no_cell(tmp_path, register):
    declared = dataset()
    rows = [{"person": SECRET, "visit": SECRET, "site": SECRET, "code": SECRET, "score": SECRET, "sample": SECRET}] * 2
    found = measure(declared.table, declared.quality, [csv(tmp_path, {}, *rows)], scratch=tmp_path, references={})
    assert any(c.broken for c in found.counts)
    assert SECRET not in repr(found)


COUNTED = ("present", "row_rule", "period", "foreign_key")


def counted(declared, folder, register):
    """The checks whose counts can be noised, and what makes their vector of some rows."""
    checks = [c for c in checks_of(declared.table, declared.quality) if c.rule in COUNTED]

    def vector(rows):
        ingest(declared.table, [csv(folder, *rows)], folder / "version.parquet", key=KEY)
        return exact_vector(
            checks, declared.table, declared.quality, folder / "version.parquet", scratch=folder, references={"register": register}
        )  # fmt: skip

    return checks, vector


def test_one_person_changes_each_number_of_the_vector_by_at_most_their_rows(tmp_path, register):
    """Person p3 has five rows, of which three count, and breaks everything that can be broken."""
    declared = Dataset.model_validate({**DATASET, "primary_key": [], "quality": {**QUALITY, "totals": []}})
    checks, vector = counted(declared, tmp_path, register)
    others = [
        {"person": f"p{i}", "sample": str(i), "seen": "2020-01-02" if i % 2 else "2020-03-04"} for i in range(4, 9)
    ]
    worst = {"person": "zoe", "seen": "2020-12-31", "score": "0.1", "site": "", "code": ""}
    with_zoe, without = vector([*others, *[worst] * 5]), vector(others)
    differences = [a - b for a, b in zip(with_zoe, without, strict=True)]
    most = declared.unit.max_rows
    assert differences[0] == most
    assert all(0 <= d <= most for d in differences)
    assert {c.rule.value for c, d in zip(checks, differences[1:], strict=True) if d == most} == set(COUNTED)


CELLS = {
    "person": st.sampled_from(["ann", "p1", "p2", "zoe", "yan"]),
    "visit": st.sampled_from(["1", "2", "3"]),
    "score": st.sampled_from(["0.1", "0.9", ""]),
    "smokes": st.sampled_from(["true", "false", ""]),
    "seen": st.sampled_from(["2020-01-02", "2020-06-01", ""]),
    "site": st.sampled_from(["north", ""]),
}


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=st.lists(st.fixed_dictionaries(CELLS), min_size=2, max_size=10))
def test_whoever_is_taken_away_no_number_changes_by_more_than_their_rows(tmp_path, register, rows):
    declared = Dataset.model_validate({**DATASET, "primary_key": [], "unit": {"field": "person", "max_rows": 2}})
    _, vector = counted(declared, tmp_path, register)
    everyone = vector(rows)
    for one in {r["person"] for r in rows}:
        rest = [r for r in rows if r["person"] != one]
        if rest:
            changes = [a - b for a, b in zip(everyone, vector(rest), strict=True)]
            assert all(0 <= change <= 2 for change in changes), one
            assert changes[0] == min(2, len(rows) - len(rest))


@pytest.mark.parametrize("name", ["hie", "hie-people"])
def test_the_demonstration_fits_its_policy(tmp_path, name):
    import yaml

    root = Path(__file__).parents[2]
    declared = Dataset.model_validate(yaml.safe_load((root / "policies/datasets" / f"{name}.yaml").read_text()))
    file = root / "tre/demo" / f"{name.replace('-', '_')}.parquet"
    found = measure(declared.table, declared.quality, [file], scratch=tmp_path, references={})
    assert not [c for c in found.counts if c.failed]
    assert found.undeclared_columns == 0
    assert isinstance(declared.table, TableSchema)
