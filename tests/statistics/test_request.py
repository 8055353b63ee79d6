"""Requests: what is refused, with which code; what the schema decides; what the digest covers."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tre.errors import RequestError, TreError
from tre.statistics.prepare import MAX_CELLS, prepare
from tre.statistics.request import parse

from .conftest import SCHEMA

GOOD = {"dataset": "toy", "statistics": {"n": {"kind": "count"}}, "epsilon": 1.0}


def _refusal(**changes):
    with pytest.raises(RequestError) as refused:
        prepare(parse(GOOD | changes), SCHEMA, delta=1e-6)
    return refused.value


@pytest.mark.parametrize("epsilon", [0, -1, float("nan"), float("inf"), -0.0, 1e308, 100.0001, "1e3", None, [1]])
def test_an_epsilon_that_is_no_price_is_refused(epsilon):
    assert _refusal(epsilon=epsilon).code == "epsilon_invalid"


def test_an_epsilon_too_small_to_be_split_is_refused():
    with pytest.raises(RequestError) as refused:
        prepare(parse(GOOD | {"epsilon": 1e-12}), SCHEMA, delta=1e-14)
    assert refused.value.code == "epsilon_invalid"


@pytest.mark.parametrize(
    ("code", "statistic"),
    [
        ("bounds_invalid", {"kind": "mean", "column": "age", "bounds": [50, 10]}),
        ("bounds_invalid", {"kind": "mean", "column": "age", "bounds": [5, 5]}),
        ("bounds_invalid", {"kind": "sum", "column": "age", "bounds": [0, 121]}),
        ("bounds_invalid", {"kind": "sum", "column": "free", "bounds": [0, 1e300]}),
        ("bounds_invalid", {"kind": "sum", "column": "free", "bounds": [2**53 - 2, 2**53]}),
        ("bounds_invalid", {"kind": "histogram", "column": "free", "bounds": [0, 5e-324]}),
        ("bounds_invalid", {"kind": "mean", "column": "free", "bounds": [1, 1 + 1e-15]}),
        ("request_invalid", {"kind": "sum", "column": "free", "bounds": [0, float("nan")]}),
        ("bounds_missing", {"kind": "mean", "column": "free"}),
        ("column_unknown", {"kind": "mean", "column": "wage"}),
        ("column_unknown", {"kind": "mean", "column": "person"}),
        ("column_not_number", {"kind": "mean", "column": "sex"}),
        ("request_invalid", {"kind": "maximum", "column": "age"}),
        ("request_invalid", {"kind": "count", "exact": True}),
        ("request_invalid", {"kind": "quantile", "column": "age", "probability": 1.0}),
        ("request_invalid", {"kind": "histogram", "column": "age", "bins": 10**9}),
    ],
)
def test_a_statistic_that_cannot_be_is_refused(code, statistic):
    assert _refusal(statistics={"s": statistic}).code == code


@pytest.mark.parametrize(
    ("code", "changes"),
    [
        ("keys_unknown", {"group_by": [{"column": "note"}]}),
        ("keys_unknown", {"group_by": [{"column": "age"}]}),
        ("column_unknown", {"group_by": [{"column": "person"}]}),
        ("column_unknown", {"where": ["person = 7"]}),
        ("group_invalid", {"group_by": [{"column": "sex"}, {"column": "sex"}]}),
        ("group_invalid", {"group_by": [{"column": "note", "keys": ["a", "a"]}]}),
        ("group_invalid", {"group_by": [{"column": "note", "keys": [1]}]}),
        ("group_invalid", {"group_by": [{"column": "age", "keys": [2**63]}]}),
        ("group_invalid", {"group_by": [{"column": "age", "keys": [-(2**130)]}]}),
        ("request_invalid", {"group_by": [{"column": "note", "keys": ["\ud800"]}]}),
        ("request_invalid", {"group_by": [{"column": "note", "keys": ["a\0"]}]}),
        ("too_many_cells", {"group_by": [{"column": "age", "keys": list(range(9_999))}, {"column": "free", "keys": list(range(99))}]}),
        ("too_many_cells", {"statistics": {f"h{i}": {"kind": "histogram", "column": "age", "bins": 9_999} for i in range(20)}}),
        ("too_many_cells", {"statistics": {f"m{i}": {"kind": "linear_model", "outcome": "cost", "predictors": ["age", f"d{i}"]} for i in range(41)}, "derive": [{"name": f"d{i}", "expression": f"age > {i}"} for i in range(41)]}),
        ("too_many_cells", {"statistics": {f"q{i}": {"kind": "histogram", "column": "age", "bins": 9_000 + i} for i in range(10)} | {f"s{i}": {"kind": "survival", "duration": "age", "event": "d", "bins": 900 + i} for i in range(20)}, "derive": [{"name": "d", "expression": "age > 5"}], "group_by": [{"column": "sex"}]}),
        ("column_taken", {"derive": [{"name": "age", "expression": "1"}]}),
        ("column_taken", {"derive": [{"name": "person", "expression": "age"}]}),
        ("request_invalid", {"derive": [{"name": "tre_person", "expression": "age"}]}),
        ("request_invalid", {"derive": [{"name": "tre_order", "expression": "0"}]}),
        ("expression_refused", {"where": ["age"]}),
        ("request_invalid", {"contribution": 1}),
        ("request_invalid", {"statistics": {}}),
        ("request_invalid", {"version": 1}),
    ],
)  # fmt: skip
def test_a_request_that_cannot_be_is_refused(code, changes):
    assert _refusal(**changes).code == code


def test_groups_come_from_the_schema_or_the_expression_in_declared_order():
    request = parse(
        GOOD
        | {
            "derive": [{"name": "band", "expression": "CASE WHEN age < 40 THEN 'young' ELSE 'old' END"}],
            "group_by": [{"column": "band"}, {"column": "site"}],
        }
    )
    keys = list(prepare(request, SCHEMA, delta=1e-6).keys(("band", "site")))
    assert keys == [(b, s) for b in ("young", "old") for s in ("a", "b", "c", None)]


@pytest.mark.parametrize(
    ("expression", "keys"),
    [
        ("age >= 18", (False, True)),  # age is required: it cannot be missing
        ("sex = 'f' AND age < 40", (False, True)),
        ("cost > 5", (False, True, None)),
        ("sex = 'f' OR cost > 5", (False, True, None)),
        ("cost IS NULL", (False, True)),
        ("age + 1 > 5", (False, True, None)),  # arithmetic may overflow
        ("CASE WHEN cost > 5 THEN 'much' ELSE 'little' END", ("much", "little")),
        ("CASE WHEN cost > 5 THEN 'much' END", ("much", None)),
        ("COALESCE(site, 'none')", None),
        ("CASE WHEN age > 5 THEN sex END", None),
    ],
)
def test_a_missing_group_is_there_only_where_something_can_be_missing(expression, keys):
    request = GOOD | {"derive": [{"name": "it", "expression": expression}], "group_by": [{"column": "it"}]}
    if keys is None:
        assert _refusal(**request).code == "keys_unknown"
    else:
        assert prepare(parse(request), SCHEMA, delta=1e-6).groups["it"].keys == keys


def test_a_mean_and_a_count_share_one_vector_where_nothing_can_be_missing():
    both = {"n": {"kind": "count"}, "m": {"kind": "mean", "column": "age"}}
    assert len(prepare(parse(GOOD | {"statistics": both}), SCHEMA, delta=1e-6).components) == 2
    both["m"]["column"] = "cost"  # may be missing: its own count
    assert len(prepare(parse(GOOD | {"statistics": both}), SCHEMA, delta=1e-6).components) == 3


def test_the_digest_names_the_request_and_not_the_order_of_its_json():
    text = json.dumps(parse(GOOD).model_dump(mode="json"))
    shuffled = dict(reversed(list(json.loads(text).items())))
    assert parse(shuffled).digest == parse(GOOD).digest
    assert parse(GOOD | {"epsilon": 1.0000001}).digest != parse(GOOD).digest


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda x: st.lists(x, max_size=3) | st.dictionaries(st.text(max_size=8), x, max_size=3),
    max_leaves=8,
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from([*GOOD, "where", "derive", "group_by", "version"]), json_values)
def test_no_document_does_anything_but_prepare_or_be_refused_with_a_code(key, value):
    try:
        prepared = prepare(parse(GOOD | {key: value}), SCHEMA, delta=1e-6)
    except TreError as refused:
        assert refused.code
        assert refused.next_step
    else:
        assert sum(c.cells for c in prepared.components) <= 3 * MAX_CELLS
