"""Bounds that refer to earlier released values: resolved within the declared ones, at no other price, never refused."""

import pytest

from tre.errors import RequestError
from tre.statistics.kinds import Reference
from tre.statistics.prepare import prepare
from tre.statistics.references import references, resolve, value_of
from tre.statistics.request import parse
from tre.statistics.table import Cell, Table

from .conftest import SCHEMA

TOP = Reference(request="0" * 64, statistic="p95")


def _request(statistic):
    return parse({"dataset": "toy", "statistics": {"s": statistic}, "epsilon": 1.0})


def _mean(low, high, column="age"):
    return _request({"kind": "mean", "column": column, "bounds": [low, high]})


@pytest.mark.parametrize(
    ("value", "bounds"),
    [
        (64.3, (0, 65)),  # outwards, to whole numbers
        (70.0, (0, 70)),
        (500.0, (0, 120)),  # no wider than declared
        (None, (0, 120)),  # drowned or lost: the declared bound
        (float("nan"), (0, 120)),
        (float("inf"), (0, 120)),
        (-3.0, (0, 120)),  # the bounds would cross: the declared pair
    ],
)
def test_a_value_takes_its_place_within_the_declared_bounds(value, bounds):
    resolved = resolve(_mean(0, TOP), SCHEMA, lambda _: value)
    assert resolved.statistics["s"].bounds == bounds
    assert prepare(resolved, SCHEMA, delta=1e-6).rho_units == prepare(_mean(0, 50), SCHEMA, delta=1e-6).rho_units


def test_a_statistic_of_several_columns_takes_values_too():
    request = _request(
        {"kind": "ratio", "numerator": "cost", "denominator": "age", "bounds": {"cost": [0, TOP.model_dump()]}}
    )
    assert references(request) == [TOP]
    resolved = resolve(request, SCHEMA, lambda _: 99.5)
    assert resolved.statistics["s"].bounds == {"cost": (0, 99.5)}


def test_a_column_without_declared_bounds_takes_none():
    with pytest.raises(RequestError) as refused:
        resolve(_mean(0, TOP, "free"), SCHEMA, lambda _: 5.0)
    assert refused.value.code == "reference_unbounded"


def test_a_reference_that_was_not_resolved_cannot_be_prepared():
    with pytest.raises(RequestError) as refused:
        prepare(_mean(0, TOP), SCHEMA, delta=1e-6)
    assert refused.value.code == "reference_unresolved"


def test_the_digest_is_of_the_reference_and_not_of_the_value():
    assert _mean(0, TOP).digest == _mean(0, TOP).digest
    assert _mean(0, TOP).digest != _mean(0, TOP.model_copy(update={"statistic": "p90"})).digest


def test_only_a_single_value_can_be_referred_to():
    more = {"error": 1, "low": 0, "high": 9}
    cells = (
        Cell(keys=(), statistic="p95", value=64.3, **more),
        Cell(keys=("f",), by=("sex",), statistic="n", value=5, **more),
        Cell(keys=(), statistic="h", bin=(0.0, 1.0), value=3, **more),
        Cell(keys=(), statistic="d", value=None, error=None, low=0, high=9),
    )
    table = Table(columns=(), cells=cells, mechanisms=(), rho_units=1)
    assert value_of(table, TOP) == 64.3
    assert value_of(table, TOP.model_copy(update={"statistic": "d"})) is None
    for absent in ("n", "h", "x"):
        with pytest.raises(KeyError):
            value_of(table, TOP.model_copy(update={"statistic": absent}))
