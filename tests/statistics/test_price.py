"""Prices: from the request alone, true to what is drawn later, and the other way round from an error to an epsilon."""

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.errors import RequestError
from tre.statistics.aggregate import open_rows
from tre.statistics.prepare import prepare
from tre.statistics.price import epsilon_for, price
from tre.statistics.request import parse
from tre.statistics.result import evaluate

from .conftest import SCHEMA, write_rows

DERIVE = [{"name": "old", "expression": "age >= 50"}, {"name": "dear", "expression": "cost > 200"}]
ONE = [
    {"kind": "count"},
    {"kind": "count", "margins": True},
    {"kind": "count_people"},
    {"kind": "sum", "column": "age"},
    {"kind": "mean", "column": "cost"},
    {"kind": "std", "column": "age"},
    {"kind": "share", "column": "old"},
    {"kind": "ratio", "numerator": "cost", "denominator": "age"},
    {"kind": "quantile", "column": "age", "probability": 0.5},
    {"kind": "histogram", "column": "age", "bins": 4},
    {"kind": "top", "column": "site", "k": 2, "by": []},
    {"kind": "correlation", "x": "age", "y": "cost"},
    {"kind": "linear_model", "outcome": "cost", "predictors": ["age", "old"]},
    {"kind": "logistic_model", "outcome": "dear", "predictors": ["age"], "by": []},
    {"kind": "survival", "duration": "age", "event": "old", "bins": 5},
]
requests = st.builds(
    lambda statistics, epsilon, by: {
        "dataset": "toy", "derive": DERIVE, "epsilon": epsilon, "group_by": [{"column": c} for c in by],
        "statistics": {f"s{i}": s for i, s in enumerate(statistics)},
    },
    st.lists(st.sampled_from(ONE), min_size=1, max_size=4), st.floats(0.2, 8), st.sampled_from([[], ["sex"], ["sex", "old"]]),
)  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(requests, st.sampled_from([0.0, 1e-6]), st.sampled_from([None, 100, 50_000]))
def test_a_price_needs_no_rows_and_is_the_same_every_time(content, delta, size):
    connect, duckdb.connect = duckdb.connect, None  # nothing to read rows with
    try:
        first, second = (price(prepare(parse(content), SCHEMA, delta=delta), delta=delta, size=size) for _ in range(2))
    finally:
        duckdb.connect = connect
    assert first == second
    assert first.rho_units > 0
    assert all(e.error is None or e.error > 0 for e in first.expected)


@pytest.fixture(scope="module")
def evenly(tmp_path_factory):
    """6,000 people with one row each, spread over all values."""
    rows = [(p, 0, "fm"[p % 2], "abc"[p // 2 % 3], 20 + p * 7 % 80, (p * 3 % 100) * 9.5, 1.0, "x") for p in range(6000)]
    return write_rows(tmp_path_factory.mktemp("evenly") / "rows.parquet", rows)


@pytest.mark.parametrize("statistic", ONE[:7] + ONE[9:], ids=lambda s: s["kind"])
def test_the_error_that_is_told_beforehand_is_the_one_that_comes(evenly, statistic):
    """Exactly, where it depends on the request alone; for others, on rows like those assumed, within a factor of four."""
    request = parse({"dataset": "toy", "derive": DERIVE, "epsilon": 4.0, "statistics": {"s": statistic}})
    prepared = prepare(request, SCHEMA, delta=1e-6)
    told = price(prepared, delta=1e-6, size=6000).expected[0]
    with open_rows(evenly) as connection:
        came = evaluate(connection, prepared).typical_errors()["s"]
    assert came is not None
    if told.rows is None:
        assert came == pytest.approx(told.error)
    else:
        assert told.error / 4 < came < told.error * 4, came / told.error


@pytest.mark.parametrize("delta", [0.0, 1e-6])
@pytest.mark.parametrize("targets", [{"n": 50}, {"n": 5}, {"m": 20.0}, {"n": 40, "m": 5.0}, {"q": 20.0}])
def test_the_epsilon_for_an_error_is_the_least_that_does(targets, delta):
    statistics = {"n": {"kind": "count"}, "m": {"kind": "mean", "column": "cost"}, "q": {"kind": "quantile", "column": "age", "probability": 0.5}}  # fmt: skip
    request = parse({"dataset": "toy", "statistics": statistics, "epsilon": 1.0, "group_by": [{"column": "sex"}]})
    found = epsilon_for(request, SCHEMA, targets, delta=delta, size=20_000)

    def errors(epsilon):
        changed = request.model_copy(update={"epsilon": epsilon})
        return price(prepare(changed, SCHEMA, delta=delta), delta=delta, size=20_000).errors()

    assert all(errors(found)[label] <= wanted for label, wanted in targets.items())
    assert any(errors(found - 0.002)[label] > wanted for label, wanted in targets.items())


@pytest.mark.parametrize(
    ("code", "targets"),
    [("error_invalid", {"n": 0}), ("error_invalid", {"n": float("nan")}), ("error_invalid", {"x": 5}), ("error_too_small", {"n": 1e-9})],
)  # fmt: skip
def test_an_error_that_cannot_be_aimed_for_is_refused(code, targets):
    request = parse({"dataset": "toy", "statistics": {"n": {"kind": "count", "margins": True}}, "epsilon": 1.0, "group_by": [{"column": "sex"}]})  # fmt: skip
    with pytest.raises(RequestError) as refused:
        epsilon_for(request, SCHEMA, targets, delta=1e-6)
    assert refused.value.code == code
