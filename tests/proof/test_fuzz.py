"""Whatever is sent: a request that can be priced and computed, or a refusal with a code; never a traceback."""

import copy
import json
import math
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.statistics.conftest import SCHEMA, write_rows
from tre.errors import TreError
from tre.statistics.aggregate import open_rows
from tre.statistics.prepare import prepare
from tre.statistics.price import price
from tre.statistics.references import references, resolve
from tre.statistics.request import parse
from tre.statistics.result import evaluate

DERIVE = [{"name": "old", "expression": "age >= 60"}, {"name": "half", "expression": "free / 2"}]
STATISTICS = [
    {"kind": "count", "margins": True},
    {"kind": "count_people"},
    {"kind": "sum", "column": "age", "margins": True},
    {"kind": "mean", "column": "half", "bounds": [-3, 3]},
    {"kind": "mean", "column": "age", "bounds": [0, {"request": "0" * 64, "statistic": "p"}]},
    {"kind": "variance", "column": "cost"},
    {"kind": "std", "column": "age"},
    {"kind": "share", "column": "old"},
    {"kind": "ratio", "numerator": "cost", "denominator": "age", "bounds": {"cost": [0, 100]}},
    {"kind": "quantile", "column": "cost", "probability": 0.9},
    {"kind": "histogram", "column": "cost", "bins": 5},
    {"kind": "top", "column": "site", "k": 2, "by": []},
    {"kind": "covariance", "x": "age", "y": "cost"},
    {"kind": "correlation", "x": "age", "y": "half", "bounds": {"half": [-1, 1]}},
    {"kind": "linear_model", "outcome": "cost", "predictors": ["age", "old"]},
    {"kind": "logistic_model", "outcome": "old", "predictors": ["cost", "half"], "bounds": {"half": [0, 1]}, "by": []},
    {"kind": "survival", "duration": "age", "event": "old", "bins": 6},
]
SEEDS = [
    {
        "version": 2, "dataset": "toy", "link": None, "where": ["age > 5", "sex = 'f' OR cost IS NULL"], "derive": DERIVE,
        "group_by": [{"column": "sex"}, {"column": "site", "keys": ["a", "b"]}], "statistics": {"s": s, "n": STATISTICS[0]},
        "epsilon": 1.0,
    }
    for s in STATISTICS
] + [
    {"dataset": "toy", "group_by": [{"column": "note", "found": 1e-8}], "statistics": {"n": {"kind": "count"}}, "epsilon": 1.0}
]  # fmt: skip
ODD = [
    None, True, 0, -1, 1, 2**31, 2**63, 10**400, -(2**53), 0.5, 1e308, -1e-308, 5e-324, float("nan"), float("inf"), "", "age",
    "person", "tre_person", "tre:v0", "x" * 5000, "\x00", "\u202e", "'; DROP TABLE rows; --", "SELECT 1", "age; age", "1/0",
    "{}", [], {}, [[]], [None], {"kind": "count"}, ["age"] * 30, {"a": {"b": {"c": {}}}}, "0" * 64, [0, 1], [1, 0], (0, 0),
]  # fmt: skip


def _places(content, at=()):
    """Every place in a document, by its path."""
    yield at
    items = content.items() if isinstance(content, dict) else enumerate(content) if isinstance(content, list) else ()
    for key, value in items:
        yield from _places(value, (*at, key))


def _mutated(chance):
    """One of the seeds with one to four places replaced, taken out, doubled, renamed or swapped."""
    content = copy.deepcopy(chance.choice(SEEDS))
    for _ in range(chance.randint(1, 4)):
        path = chance.choice([p for p in _places(content) if p])
        *before, last = path
        parent = content
        for step in before:
            parent = parent[step]
        how = chance.randrange(5)
        if how == 0:
            parent[last] = copy.deepcopy(chance.choice(ODD))
        elif how == 1:
            del parent[last]
        elif how == 2 and isinstance(parent, list):
            parent.extend([parent[last]] * chance.randint(1, 40))
        elif how == 3 and isinstance(parent, dict):
            parent[str(chance.choice(["kind", "by", "bounds", "column", "x", "margins", "é", last]))] = parent.pop(last)
        else:
            parent[last] = copy.deepcopy(chance.choice(STATISTICS + DERIVE))
        if not any(True for p in _places(content) if p):
            break
    return content


def _handled(content):
    """Prepared, or refused with a code, a next step, and a message that no document can make long."""
    try:
        request = parse(content)
        request = resolve(request, SCHEMA, lambda _: 55.5)
        assert not references(request)
        return prepare(request, SCHEMA, delta=1e-6)
    except TreError as refused:
        assert refused.code
        assert refused.next_step
        assert len(refused.message) < 1000
        return None


@pytest.mark.slow
def test_ten_thousand_mutated_documents_are_prepared_or_refused():
    chance = random.Random(20261122)  # noqa: S311  # documents, no noise
    prepared = sum(_handled(_mutated(chance)) is not None for _ in range(10_000))
    assert 200 < prepared < 9_000  # neither everything nor nothing is refused


def test_no_secret_of_a_document_comes_back_in_its_refusal():
    """What is neither a name nor a key of the request is not quoted."""
    for seed in SEEDS:
        for path in [p for p in _places(seed) if p]:
            content = copy.deepcopy(seed)
            parent = content
            for step in path[:-1]:
                parent = parent[step]
            parent[path[-1]] = {"value": 31415926535}
            with pytest.raises(TreError) as refused:
                prepare(resolve(parse(content), SCHEMA, lambda _: 1.0), SCHEMA, delta=1e-6)
            assert "31415926535" not in f"{refused.value.message} {refused.value.next_step}"


awkward = st.sampled_from(
    [None, 0.0, -0.0, 1.0, 1000.0, float("nan"), float("inf"), -float("inf"), 1e308, -1e308, 5e-324, 7.25]
)
rows = st.lists(
    st.tuples(
        st.integers(0, 5), st.sampled_from(["f", "m", None]), st.sampled_from(["a", "b", "zzz", None]),
        st.sampled_from([0, 59, 60, 120, None, -(2**62), 2**62]), awkward, awkward, st.sampled_from(["x", "", None, "9" * 30]),
    ),
    max_size=30,
)  # fmt: skip


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    rows, st.lists(st.sampled_from(STATISTICS), min_size=1, max_size=4), st.sampled_from([[], ["sex"], ["site", "old"]]),
    st.sampled_from([0.05, 1.0, 60.0]), st.sampled_from([0.0, 1e-6]),
)  # fmt: skip
def test_whatever_is_accepted_is_priced_and_computed_on_any_rows(
    tmp_path_factory, rows, statistics, by, epsilon, delta
):
    order: dict[int, int] = {}
    listed = []
    for person, *rest in rows:
        listed.append((person, order.setdefault(person, 0), *rest))
        order[person] += 1
    path = write_rows(tmp_path_factory.mktemp("fuzz") / "rows.parquet", listed)
    content = {
        "dataset": "toy", "derive": DERIVE, "epsilon": epsilon, "group_by": [{"column": c} for c in by],
        "statistics": {f"s{i}": s for i, s in enumerate(statistics)},
    }  # fmt: skip
    try:
        prepared = prepare(resolve(parse(content), SCHEMA, lambda _: 55.5), SCHEMA, delta=delta)
    except TreError:
        return
    told = price(prepared, delta=delta, size=1000)
    assert all(e.error is None or math.isfinite(e.error) for e in told.expected)
    with open_rows(path) as connection:
        table = evaluate(connection, prepared)
    json.loads(table.model_dump_json())
    assert len(table.cells) == prepared.cells
