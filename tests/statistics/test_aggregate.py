"""Exact vectors: right against DuckDB's own answer, bounded by person, total over awkward values."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.statistics.aggregate import exact, open_rows
from tre.statistics.prepare import prepare
from tre.statistics.request import parse

from .conftest import SCHEMA, write_rows


def _vectors(parquet, statistics, **more):
    request = parse({"dataset": "toy", "statistics": statistics, "epsilon": 1.0, **more})
    prepared = prepare(request, SCHEMA, delta=1e-6)
    with open_rows(parquet) as connection:
        return prepared, exact(connection, prepared)


def _one(parquet, statistic, **more):
    prepared, vectors = _vectors(parquet, {"s": statistic}, **more)
    return [list(vectors[c]) for c in prepared.uses["s"][0].parts]


def _sql(parquet, query):
    return [r[0] for r in duckdb.connect().execute(query.replace("rows", f"read_parquet('{parquet}')")).fetchall()]


def test_counts_leave_out_what_a_person_has_beyond_the_bound(parquet):
    assert _one(parquet, {"kind": "count"}) == [_sql(parquet, "SELECT count(*) FROM rows WHERE tre_order < 3")]
    assert _one(parquet, {"kind": "count_people"}) == [[2000]]


def test_a_group_that_nobody_is_in_is_a_zero_in_its_place(parquet):
    found = _one(parquet, {"kind": "count"}, where=["sex = 'f'"], group_by=[{"column": "sex"}])
    assert found[0][0] > 0
    assert found[0][1] == 0


def test_missing_keys_count_as_their_own_group_and_unlisted_ones_nowhere(parquet):
    declared = _one(parquet, {"kind": "count"}, group_by=[{"column": "site"}])[0]
    total = _one(parquet, {"kind": "count"})[0][0]
    assert sum(declared) == total
    given_keys = _one(parquet, {"kind": "count"}, group_by=[{"column": "site", "keys": ["b", "zzz"]}])[0]
    assert given_keys == [declared[1], 0]


def test_a_key_that_no_double_can_hold_counts_nobody_and_fails_nothing(parquet):
    derive = [{"name": "huge", "expression": "9007199254740992 + 0 * age"}]
    keys = [{"column": "huge", "keys": [2**53, 2**53 + 1]}]
    assert sum(_one(parquet, {"kind": "count"}, derive=derive, group_by=keys)[0]) > 0
    only = [{"column": "huge", "keys": [2**53 + 1]}]
    assert _one(parquet, {"kind": "count"}, derive=derive, group_by=only)[0] == [0]


def test_sums_are_in_steps_of_the_declared_grid_and_clamped(parquet):
    expected = _sql(parquet, "SELECT sum(least(cost, 100)) * 2 FROM rows WHERE tre_order < 3 AND cost IS NOT NULL")
    assert _one(parquet, {"kind": "sum", "column": "cost", "bounds": [0, 100]})[0] == expected


def test_a_mean_is_a_centred_sum_and_the_rows_where_the_number_is_there(parquet):
    total, present = _one(parquet, {"kind": "mean", "column": "cost", "bounds": [0, 100]})
    expected = _sql(parquet, "SELECT sum(least(cost, 100) - 50) * 2 FROM rows WHERE tre_order < 3 AND cost IS NOT NULL")
    assert total == expected
    assert present == _sql(parquet, "SELECT count(cost) FROM rows WHERE tre_order < 3")


def test_squares_give_the_variance_that_duckdb_gives(parquet):
    total, present, squares = _one(parquet, {"kind": "variance", "column": "cost", "bounds": [0, 100]})
    largest, n = 100, present[0]
    variance = (squares[0] / (2 * n) + largest**2 / 2 - (total[0] / n) ** 2) * 0.25
    query = "SELECT var_pop(least(cost, 100)) FROM rows WHERE tre_order < 3 AND cost IS NOT NULL"
    assert variance == pytest.approx(_sql(parquet, query)[0])


def test_bins_hold_every_row_that_has_the_number(parquet):
    bins = _one(parquet, {"kind": "histogram", "column": "cost", "bins": 7})[0]
    assert sum(bins) == _sql(parquet, "SELECT count(cost) FROM rows WHERE tre_order < 3")[0]


awkward = st.sampled_from(
    [None, 0.0, -0.0, float("nan"), float("inf"), float("-inf"), 1e308, -1e308, 1e-308, 1000.0, 7.3]
)


@pytest.mark.slow
@settings(max_examples=40, deadline=None)
@given(st.lists(awkward, max_size=12))
def test_no_value_breaks_an_aggregate(tmp_path_factory, values):
    rows = [(i, 0, "f", None, 5, v, v, None) for i, v in enumerate(values)]
    path = write_rows(tmp_path_factory.mktemp("awkward") / "rows.parquet", rows)
    statistics = {
        "s": {"kind": "sum", "column": "free", "bounds": [-5, 5]},
        "m": {"kind": "mean", "column": "cost"},
        "h": {"kind": "histogram", "column": "twice", "bounds": [0, 1], "bins": 4},
    }
    derive = [{"name": "twice", "expression": "free * 2 / cost"}]
    prepared, vectors = _vectors(path, statistics, derive=derive)
    for component in prepared.components:
        assert all(isinstance(v, int) for v in vectors[component])


ends = st.floats(allow_nan=False, allow_infinity=False) | st.sampled_from(
    [0.0, 5e-324, 2.0**53, 2.0**53 - 2, -1e9, 1e-9]
)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(ends, ends, st.sampled_from(["sum", "mean", "variance", "histogram", "quantile"]), st.integers(2, 10_000))
def test_no_accepted_bounds_can_make_any_row_fail(parquet, low, high, kind, bins):
    """A draw that fails on some rows would tell that they are there. Whatever is accepted is computed, whatever the rows."""
    from tre.errors import RequestError

    statistic = {"kind": kind, "column": "odd", "bounds": [low, high]}
    if kind in ("histogram", "quantile"):
        statistic |= {"bins": bins} | ({"probability": 0.5} if kind == "quantile" else {})
    derive = [{"name": "odd", "expression": "CASE WHEN age < 40 THEN 9007199254740991 ELSE -1e300 * age END"}]
    try:
        _vectors(parquet, {"s": statistic}, derive=derive)
    except RequestError as refused:
        assert refused.code in ("bounds_invalid", "too_many_cells")


def test_a_derived_column_never_shows_one_that_the_project_may_not_see(parquet):
    """The file has `cost`; a project without it may derive a column of that name, and gets what it derived."""
    request = parse(
        {
            "dataset": "toy",
            "derive": [{"name": "cost", "expression": "age * 0"}],
            "statistics": {"s": {"kind": "sum", "column": "cost", "bounds": [0, 1000]}},
            "epsilon": 1.0,
        }
    )
    prepared = prepare(request, SCHEMA.only(("age", "sex")), delta=1e-6)
    with open_rows(parquet) as connection:
        assert exact(connection, prepared) == {prepared.components[0]: (0,)}


def test_the_database_can_reach_nothing_but_its_file(parquet, tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a\n1\n")
    with open_rows(parquet) as connection:
        for query in (
            f"SELECT * FROM read_csv('{other}')",
            f"COPY (SELECT 1) TO '{tmp_path / 'out.csv'}'",
            "SET enable_external_access = true",
            "INSTALL httpfs",
            f"ATTACH '{tmp_path / 'x.db'}'",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(query)
        assert duckdb.connect().execute(f"SELECT a FROM read_csv('{other}')").fetchall() == [(1,)]
