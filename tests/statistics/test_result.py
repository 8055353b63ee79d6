"""Released values: errors match the stated intervals, and what noise drowned is not a number.

False-alarm rates: coverage over n independent intervals has standard error sqrt(0.95 * 0.05 / n); bounds are at five of
them below 0.95, which fails by chance in less than one run in a million.
"""

import math

import pytest

from tre.statistics.aggregate import exact, open_rows
from tre.statistics.components import Measure
from tre.statistics.prepare import prepare
from tre.statistics.request import parse
from tre.statistics.result import draw, table

from .conftest import SCHEMA

RUNS = 300


def _prepared(statistics, epsilon, **more):
    return prepare(parse({"dataset": "toy", "statistics": statistics, "epsilon": epsilon, **more}), SCHEMA, delta=1e-6)


def _truth(prepared, vectors, label, i):
    """The true value on the grid, in whole numbers from the exact vectors."""
    parts = prepared.uses[label][0].parts
    if parts[0].measure is Measure.TOTAL:
        grid = parts[0].factors[0].grid
        total = vectors[parts[0]][i] * grid.step
        if len(parts) == 3:
            n, squares = vectors[parts[1]][i], vectors[parts[2]][i]
            return (squares / (2 * n) + grid.largest**2 / 2) * grid.step**2 - (total / n) ** 2
        return total if len(parts) == 1 else grid.centre + total / vectors[parts[1]][i]
    return vectors[parts[0]][i]


@pytest.mark.parametrize(
    ("label", "statistic"),
    [
        ("count", {"kind": "count"}),
        ("people", {"kind": "count_people"}),
        ("sum", {"kind": "sum", "column": "cost", "bounds": [0, 200]}),
        ("mean", {"kind": "mean", "column": "cost", "bounds": [0, 200]}),
        ("variance", {"kind": "variance", "column": "cost", "bounds": [0, 200]}),
    ],
)
def test_intervals_hold_the_truth_as_often_as_they_say(parquet, label, statistic):
    prepared = _prepared(
        {label: statistic}, 2.0, group_by=[{"column": "sex"}, {"column": "site", "keys": ["a", "b", "c"]}]
    )
    with open_rows(parquet) as connection:
        vectors = exact(connection, prepared)
    inside = wide = 0
    for _ in range(RUNS):
        for i, cell in enumerate(table(prepared, draw(prepared, vectors)).cells):
            truth = _truth(prepared, vectors, label, i)
            inside += cell.low <= truth <= cell.high
            wide += abs(cell.value - truth) <= cell.error / 1.96 * 1.0
    n = RUNS * 6
    standard_error = math.sqrt(0.95 * 0.05 / n)
    assert inside / n > 0.95 - 5 * standard_error
    # and is not simply wide: about 68 % of the errors are within one standard deviation (of whole numbers, whose error is
    # rounded outwards, up to 75 %; with twice the width it would be 95 %)
    assert wide / n < 0.683 + 0.12


def test_a_quantiles_interval_holds_the_true_one(parquet):
    prepared = _prepared({"q": {"kind": "quantile", "column": "age", "probability": 0.5, "bins": 60}}, 1.0)
    with open_rows(parquet) as connection:
        vectors = exact(connection, prepared)
    counts = vectors[prepared.components[0]]
    below, edge = 0, 0
    while below + counts[edge] <= sum(counts) / 2:
        below += counts[edge]
        edge += 1
    truth = (edge * 2, (edge + 1) * 2)  # the bin of two years that holds the median
    held = sum(
        cell.low <= truth[0] and truth[1] <= cell.high
        for _ in range(RUNS)
        for cell in table(prepared, draw(prepared, vectors)).cells
    )
    assert held / RUNS > 0.95 - 5 * math.sqrt(0.95 * 0.05 / RUNS)


def test_a_mean_of_nobody_is_drowned_and_not_a_number(parquet):
    prepared = _prepared({"m": {"kind": "mean", "column": "cost"}}, 1.0, where=["age > 200"])
    with open_rows(parquet) as connection:
        cell = table(prepared, draw(prepared, exact(connection, prepared))).cells[0]
    assert (cell.value, cell.error) == (None, None) or cell.error > 50
    assert (cell.low, cell.high) == (0, 1000) or cell.high - cell.low > 50


def test_the_answers_shape_depends_on_the_request_alone(parquet, tmp_path):
    from .conftest import write_rows

    prepared = _prepared(
        {"n": {"kind": "count"}, "m": {"kind": "mean", "column": "cost"}, "h": {"kind": "histogram", "column": "age", "bins": 3}},
        1.0, group_by=[{"column": "site"}],
    )  # fmt: skip
    one_outlier = [(1, 0, "f", "a", 10**6, 1e300, float("inf"), "n")]
    shapes = set()
    for name, rows in (("empty", []), ("outlier", one_outlier), ("null", [(1, 0, None, None, None, None, None, None)])):
        with open_rows(write_rows(tmp_path / f"{name}.parquet", rows)) as connection:
            cells = table(prepared, draw(prepared, exact(connection, prepared))).cells
        shapes.add(tuple((c.keys, c.statistic, c.bin) for c in cells))
    with open_rows(parquet) as connection:
        cells = table(prepared, draw(prepared, exact(connection, prepared))).cells
    shapes.add(tuple((c.keys, c.statistic, c.bin) for c in cells))
    assert len(shapes) == 1
