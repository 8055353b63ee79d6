"""Ingest: rules are counted right, nothing of a row gets into an error, and a person's bound depends on that person alone."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import duckdb
import pandas as pd
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tre.errors import DataError
from tre.rules.policy import Dataset
from tre.rules.schema import TableSchema
from tre.secure.data.ingest import Ingested, RuleCount, ingest

ROOT = Path(__file__).parents[2]
KEY = b"a key for tests"

FIELDS: list[dict[str, Any]] = [
    {"name": "person", "type": "string", "constraints": {"required": True}},
    {"name": "visit", "type": "integer", "constraints": {"minimum": 1, "maximum": 9}},
    {"name": "site", "type": "string", "constraints": {"enum": ["north", "south"]}},
    {"name": "code", "type": "string", "constraints": {"pattern": "[A-Z][0-9]{2}"}},
    {"name": "score", "type": "number", "constraints": {"minimum": 0, "maximum": 1}},
    {"name": "smokes", "type": "boolean"},
    {"name": "seen", "type": "date", "constraints": {"minimum": "2020-01-01", "maximum": "2020-12-31"}},
    {"name": "sample", "type": "integer", "constraints": {"unique": True}},
]
SCHEMA = TableSchema.model_validate(
    {
        "fields": FIELDS,
        "primary_key": ["person", "visit"],
        "missing_values": ["", "NA"],
        "unit": {"field": "person", "max_rows": 3},
    }
)
GOOD = {
    "person": "ann", "visit": "1", "site": "north", "code": "A01", "score": "0.5", "smokes": "true", "seen": "2020-02-29",
    "sample": "",
}  # fmt: skip
SECRET = "7331"  # the canary: what bad cells hold, and no message may


def csv(folder: Path, *rows: dict[str, str], name: str = "rows.csv") -> Path:
    """A file of GOOD rows, each with the changes given and, unless given, a visit of its own person."""
    path = folder / name
    full = [{**GOOD, "person": f"p{i}", **row} for i, row in enumerate(rows)]
    path.write_text("\n".join([",".join(GOOD), *(",".join(r[c] for c in GOOD) for r in full)]) + "\n")
    return path


def take(folder: Path, *files: Path, schema: TableSchema = SCHEMA, drop_invalid: bool = False) -> Ingested:
    return ingest(schema, files, folder / "out.parquet", key=KEY, drop_invalid=drop_invalid)


def refused(folder: Path, *files: Path, schema: TableSchema = SCHEMA) -> DataError:
    with pytest.raises(DataError) as caught:
        take(folder, *files, schema=schema)
    assert not (folder / "out.parquet").exists()
    assert not list(folder.glob(".ingest-*"))
    says_nothing(caught.value)
    return caught.value


def says_nothing(error: BaseException) -> None:
    """No canary in the error, in what it was raised from, or in what was being handled at the time."""
    assert error.__cause__ is None
    text = "".join([str(error), repr(error), repr(error.args), repr(vars(error))])
    chain = error.__context__
    while chain is not None:
        text += str(chain) + repr(chain)
        chain = chain.__context__
    assert SECRET not in text
    # The stack's source lines are ours; its last part is the message.
    assert SECRET not in "".join(traceback.format_exception_only(error))


@pytest.mark.parametrize(
    ("field", "rule", "value"),
    [
        ("person", "required", ""),
        ("person", "required", "NA"),
        ("visit", "required", ""),  # a part of the key may not be missing
        ("visit", "type", "1.5"),
        ("visit", "type", f"0x{SECRET}"),
        ("visit", "type", f"{SECRET}_000"),
        ("visit", "type", " 2"),
        ("visit", "type", "1e0"),
        ("visit", "type", "9" * 30),
        ("visit", "minimum", "0"),
        ("visit", "maximum", SECRET),
        ("site", "enum", SECRET),
        ("site", "enum", "North"),
        ("code", "pattern", f"A{SECRET}"),
        ("code", "pattern", "xA01"),
        ("score", "type", f"x{SECRET}"),
        ("score", "finite", "NaN"),
        ("score", "finite", "-inf"),
        ("score", "finite", "1e999"),
        ("score", "minimum", "-0.0001"),
        ("score", "maximum", SECRET),
        ("smokes", "type", "yes"),
        ("seen", "type", "2021-02-29"),
        ("seen", "type", "29/02/2020"),
        ("seen", "minimum", "2019-12-31"),
        ("seen", "maximum", f"{SECRET}-01-01"),
    ],
)
def test_a_row_that_breaks_one_rule_is_counted_under_that_rule_alone(
    tmp_path: Path, field: str, rule: str, value: str
) -> None:
    file = csv(tmp_path, {}, {field: value}, {}, {field: value})
    error = refused(tmp_path, file)
    assert error.code == "rows_rejected"
    assert f": {field}: {rule} (2 rows)." in error.message
    done = take(tmp_path, file, drop_invalid=True)
    assert done.rejected == (RuleCount(field, rule, 2),)
    assert done.rows == 2


def test_rows_that_share_a_key_all_break_it(tmp_path: Path) -> None:
    twice = {"person": SECRET, "visit": "2"}
    file = csv(tmp_path, {}, twice, twice, {"sample": SECRET}, {"sample": SECRET}, {"sample": SECRET}, {"sample": "1"})
    message = refused(tmp_path, file).message
    assert "sample: unique (3 rows); person,visit: primary_key (2 rows)" in message
    done = take(tmp_path, file, drop_invalid=True)
    assert (done.rows, done.people) == (2, 2)


def test_many_rules_at_once(tmp_path: Path) -> None:
    rows = [{"visit": "x"}] * 3 + [{"site": "east", "score": "2"}] * 5 + [{"code": "a"}] + [{}] * 7
    done = take(tmp_path, csv(tmp_path, *rows), drop_invalid=True)
    assert done.rejected == (
        RuleCount("visit", "type", 3), RuleCount("site", "enum", 5), RuleCount("code", "pattern", 1),
        RuleCount("score", "maximum", 5),
    )  # fmt: skip
    assert done.rows == 7


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (f"person,visit\n{SECRET},1\n", "columns_missing"),
        (",".join(GOOD) + f"\n{SECRET},{SECRET}\n", "file_unreadable"),
        (",".join(GOOD) + f'\n"{SECRET},1,2\n', "file_unreadable"),
        (f"person,person\n{SECRET},1\n", "header_invalid"),
        ("", "header_invalid"),
        (",".join(GOOD) + "\n", "rows_none"),
    ],
)
def test_files_that_are_no_table_are_refused_without_a_word_of_them(tmp_path: Path, content: str, code: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    assert refused(tmp_path, path).code == code


def test_bytes_that_are_no_text_and_files_that_are_not_there(tmp_path: Path) -> None:
    (tmp_path / "latin.csv").write_bytes(",".join(GOOD).encode() + b"\n" + SECRET.encode() + b"\xe9,1,,,,,,\n")
    (tmp_path / "no.parquet").write_text(SECRET)
    for name, code in {
        "latin.csv": "file_unreadable", "no.parquet": "file_unreadable", "gone.csv": "file_unreadable",
        "gone.parquet": "file_unreadable", "rows.xlsx": "file_unknown", "*.csv": "file_unknown",
    }.items():  # fmt: skip
        assert refused(tmp_path, tmp_path / name).code == code
    assert refused(tmp_path).code == "files_missing"


def test_a_pattern_that_cannot_be_checked_is_said_so(tmp_path: Path) -> None:
    fields = [{**f, "constraints": {"pattern": "(?!x).*"}} if f["name"] == "code" else f for f in FIELDS]
    schema = TableSchema.model_validate({**SCHEMA.model_dump(), "fields": fields})
    assert refused(tmp_path, csv(tmp_path, {}), schema=schema).code == "pattern_unsupported"


def test_types_markers_of_missing_values_and_undeclared_columns(tmp_path: Path) -> None:
    rows = csv(tmp_path, {"person": "a", "visit": "3.0", "score": "NA", "smokes": "0", "seen": "", "site": "NA"})
    rows.write_text("\ufeff" + rows.read_text().replace("\n", ",extra\r\n"))
    take(tmp_path, rows)
    got = duckdb.sql(f"SELECT * FROM '{tmp_path / 'out.parquet'}'")
    assert dict(zip(got.columns, map(str, got.types), strict=True)) == {
        "person": "VARCHAR", "visit": "BIGINT", "site": "VARCHAR", "code": "VARCHAR", "score": "DOUBLE",
        "smokes": "BOOLEAN", "seen": "DATE", "sample": "BIGINT", "tre_person": "BIGINT", "tre_order": "INTEGER",
    }  # fmt: skip
    assert got.fetchall() == [("a", 3, None, "A01", None, False, None, None, 0, 0)]


def test_parquet_with_other_native_types(tmp_path: Path) -> None:
    frame = pd.DataFrame({
        "person": [1, 2], "visit": [1.0, 2.0], "site": ["north", ""], "code": pd.Categorical(["A01", "B02"]),
        "score": [1, 0], "smokes": [1, 0], "seen": pd.to_datetime(["2020-05-01", "2020-06-01"]), "sample": [5.0, None],
    })  # fmt: skip
    frame.to_parquet(tmp_path / "in.parquet")
    assert take(tmp_path, tmp_path / "in.parquet").rows == 2
    rows = duckdb.sql(f"SELECT * EXCLUDE (tre_person) FROM '{tmp_path / 'out.parquet'}' ORDER BY 1").fetchall()
    assert [tuple(map(str, r)) for r in rows] == [
        ("1", "1", "north", "A01", "1.0", "True", "2020-05-01", "5", "0"),
        ("2", "2", "None", "B02", "0.0", "False", "2020-06-01", "None", "0"),
    ]
    frame.assign(visit=[1.5, float("inf")]).to_parquet(tmp_path / "bad.parquet")
    assert "visit: type (2 rows)" in refused_after(tmp_path, tmp_path / "bad.parquet").message


def refused_after(folder: Path, file: Path) -> DataError:
    (folder / "out.parquet").unlink()
    return refused(folder, file)


def test_a_refusal_leaves_the_file_of_before(tmp_path: Path) -> None:
    take(tmp_path, csv(tmp_path, {}))
    before = (tmp_path / "out.parquet").read_bytes()
    with pytest.raises(DataError):
        take(tmp_path, csv(tmp_path, {"site": "east"}))
    assert (tmp_path / "out.parquet").read_bytes() == before


def test_same_rows_same_bytes_whatever_their_order_and_file(tmp_path: Path) -> None:
    rows = [{"person": f"p{i % 7}", "visit": str(1 + i // 7), "score": str(i / 30)} for i in range(30)]
    one = take(tmp_path, csv(tmp_path, *rows))
    first = (tmp_path / "out.parquet").read_bytes()
    two = take(tmp_path, csv(tmp_path, *rows[20:][::-1], name="a.csv"), csv(tmp_path, *rows[:20], name="b.csv"))
    assert one == two
    assert (tmp_path / "out.parquet").read_bytes() == first
    other = ingest(SCHEMA, [tmp_path / "rows.csv"], tmp_path / "out.parquet", key=b"another key")
    assert other.sha256 != one.sha256


@pytest.mark.slow
def test_the_order_of_codes_says_nothing_of_the_order_of_identifiers(tmp_path: Path) -> None:
    take(tmp_path, csv(tmp_path, *({"person": f"p{i:03d}"} for i in range(200))))
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert sorted(frame["tre_person"]) == list(range(200))
    assert abs(frame["person"].str[1:].astype(int).corr(frame["tre_person"], method="spearman")) < 0.3


SMALL = TableSchema.model_validate({
    "fields": [
        {"name": "who", "type": "integer", "constraints": {"required": True}},
        {"name": "x", "type": "integer"},
        {"name": "s", "type": "string"},
    ],
    "unit": {"field": "who", "max_rows": 2},
})  # fmt: skip
ROWS = st.lists(
    st.tuples(st.integers(1, 4), st.none() | st.integers(0, 2), st.none() | st.sampled_from(["a", "|", "a|b", "N"])),
    min_size=1,
    max_size=12,
)


@pytest.mark.slow
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, k=st.integers(1, 3), data=st.data())
def test_bounding_a_person_depends_on_that_persons_rows_alone(
    tmp_path: Path, rows: list[tuple[int, int | None, str | None]], k: int, data: st.DataObject
) -> None:
    def bounded(some: list[tuple[int, int | None, str | None]]) -> dict[int, list[str]]:
        frame = pd.DataFrame(some, columns=["who", "x", "s"]).astype({"x": "Int64", "s": "string"})
        frame.to_parquet(tmp_path / "in.parquet")
        ingest(SMALL, [tmp_path / "in.parquet"], tmp_path / "out.parquet", key=KEY)
        numbers: dict[int, list[int]] = {}
        kept: dict[int, list[str]] = {}
        for who, x, text, _, order in duckdb.sql(f"SELECT * FROM '{tmp_path / 'out.parquet'}'").fetchall():
            numbers.setdefault(who, []).append(order)
            kept.setdefault(who, []).extend([repr((x, text))] if order < k else [])
        assert all(found == list(range(len(found))) for found in numbers.values())
        return kept

    everyone = bounded(rows)
    alone = data.draw(st.sampled_from(sorted({r[0] for r in rows})))
    assert bounded([r for r in rows if r[0] == alone]) == {alone: everyone[alone]}
    assert bounded(rows[::-1]) == everyone


@pytest.mark.parametrize(("name", "rows"), [("hie", 20_190), ("hie-people", 5_912)])
def test_every_row_of_the_demonstration_fits_its_policy(tmp_path: Path, name: str, rows: int) -> None:
    policy = yaml.safe_load((ROOT / "policies/datasets" / f"{name}.yaml").read_text())
    schema = Dataset.model_validate(policy).table
    done = take(tmp_path, ROOT / "tre/demo" / f"{name.replace('-', '_')}.parquet", schema=schema)
    assert (done.rows, done.people, done.rejected) == (rows, 5_912, ())
    frame = pd.read_parquet(tmp_path / "out.parquet")
    assert int(frame["tre_order"].max()) < schema.unit.max_rows
    for field in schema.fields:  # bounds were not read off the data
        assert (
            field.bounds is None
            or (frame[field.name].min(), frame[field.name].max()) != field.bounds
            or field.bounds[1] == 1
        )
