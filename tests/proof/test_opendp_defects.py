"""Defects of OpenDP 0.16 that a query's author could reach, provoked through our requests: refused, or harmless.

Harmless means: a person's rows change the exact vector by no more than its sensitivity, which is what noise is drawn for.
Numbers are those of OpenDP's tracker.
"""

import math

import pytest

from tests.statistics.conftest import SCHEMA, write_rows
from tre.errors import RequestError
from tre.statistics.aggregate import exact, open_rows
from tre.statistics.prepare import prepare
from tre.statistics.request import parse
from tre.statistics.result import evaluate

pytestmark = pytest.mark.slow

# number: (what goes wrong there, the request that would reach it, the code it is refused with)
REFUSED = {
    "2944": ("codes of bins as numbers", {"derive": [{"name": "b", "expression": "CUT(age, 10)"}]}, "expression_refused"),
    "2949": ("a grouping column written over after truncation", {"derive": [{"name": "sex", "expression": "'f'"}], "group_by": [{"column": "sex"}]}, "column_taken"),
    "2941": ("32-bit numbers with bounds of 1e38", {"statistics": {"s": {"kind": "sum", "column": "free", "bounds": [0, 1e38]}}}, "bounds_invalid"),
    "2937": ("dates as numbers", {"derive": [{"name": "d", "expression": "CAST(note AS DATE)"}], "statistics": {"s": {"kind": "mean", "column": "d", "bounds": [0, 1]}}}, "column_not_number"),
    "2938": ("lengths declared invariant", {"public_info": "lengths"}, "request_invalid"),
    "2945": ("a length claimed for groups", {"max_length": 1}, "request_invalid"),
    "2950": ("a pairing that drops the last row", {"statistics": {"s": {"kind": "theil_sen", "outcome": "cost", "predictors": ["age"]}}}, "request_invalid"),
    "2925": ("trees that wrap at 32 bits", {"statistics": {"s": {"kind": "histogram", "column": "age", "bins": 2**31}}}, "request_invalid"),
    "amplification": ("a population size that the author claims", {"population_size": 10**9}, "request_invalid"),
    "epsilon": ("a loss that is not a number", {"epsilon": float("nan")}, "epsilon_invalid"),
}  # fmt: skip

# number: (what goes wrong there, what is asked for here)
HARMLESS = {
    "2936": ("NaN put in place of missing values", {"derive": [{"name": "x", "expression": "COALESCE(cost, SQRT(-1))"}], "statistics": {"s": {"kind": "sum", "column": "x", "bounds": [0, 1]}}}),
    "2935": ("NaN becoming 0 in float noise", {"statistics": {"s": {"kind": "sum", "column": "free", "bounds": [-1, 1]}}}),
    "2939": ("counts of what a cast made missing", {"derive": [{"name": "x", "expression": "CAST(note AS INTEGER)"}], "statistics": {"s": {"kind": "mean", "column": "x", "bounds": [0, 9]}}}),
    "2940": ("counts of what a division by zero made missing", {"derive": [{"name": "x", "expression": "age % 0"}], "statistics": {"s": {"kind": "mean", "column": "x", "bounds": [0, 9]}}}),
    "truncation": ("one group fewer kept than noise is for", {"group_by": [{"column": "sex"}, {"column": "site"}], "statistics": {"s": {"kind": "count_people"}}}),
}  # fmt: skip

BASE = {"dataset": "toy", "statistics": {"n": {"kind": "count"}}, "epsilon": 1.0}
QUIET = [(1, 0, "f", "a", 30, 1.0, 1.0, "7"), (2, 0, "m", "b", 40, 2.0, -1.0, "x")]
WORST = [
    [(9, o, "fmf"[o % 3], "abc"[o % 3], 120, v, v, t) for o in range(5)]
    for v in (None, float("nan"), float("inf"), -1e300, 1e300)
    for t in (None, "99", "not a number", "1e999")
]


@pytest.mark.parametrize("number", REFUSED)
def test_a_defect_that_cannot_be_asked_for(number):
    _, change, code = REFUSED[number]
    with pytest.raises(RequestError) as refused:
        prepare(parse(BASE | change), SCHEMA, delta=1e-6)
    assert refused.value.code == code


@pytest.mark.parametrize("number", HARMLESS)
def test_a_defect_that_changes_nothing(number, tmp_path):
    prepared = prepare(parse(BASE | HARMLESS[number][1]), SCHEMA, delta=1e-6)
    for i, person in enumerate(WORST):
        found = []
        for name, rows in (("without", QUIET), ("with", QUIET + person)):
            with open_rows(write_rows(tmp_path / f"{i}-{name}.parquet", rows)) as connection:
                found.append(exact(connection, prepared))
                evaluate(connection, prepared)
        for component in prepared.components:
            assert math.dist(found[0][component], found[1][component]) <= component.l2


def test_no_count_is_free(tmp_path):
    """Where OpenDP has margins that make a length exact, every vector here has a price and noise."""
    prepared = prepare(
        parse(BASE | {"statistics": {"n": {"kind": "count"}, "m": {"kind": "mean", "column": "age"}}}),
        SCHEMA,
        delta=1e-6,
    )
    assert all(units > 0 for units in prepared.units.values())
    path = write_rows(tmp_path / "rows.parquet", QUIET)
    with open_rows(path) as connection:
        counts = {evaluate(connection, prepared).cells[0].value for _ in range(20)}
    assert len(counts) > 3


def test_ten_thousand_given_keys_are_prepared_at_once():
    """OpenDP serialises its keys on every step of a search: a million of them are a denial of service."""
    keys = [{"column": "note", "keys": [f"k{i}" for i in range(10_000)]}]
    assert prepare(parse(BASE | {"group_by": keys}), SCHEMA, delta=1e-6).cells == 10_000
    with pytest.raises(RequestError):
        parse(BASE | {"group_by": [{"column": "note", "keys": [f"k{i}" for i in range(10_001)]}]})
