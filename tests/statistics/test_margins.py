"""Tables that agree: the closed form is least squares, its variances are what draws show, shares are the best there are."""

import itertools
import math
import random

import numpy as np
import pytest

from tre.statistics import margins
from tre.statistics.components import Component, Measure
from tre.statistics.prepare import prepare
from tre.statistics.request import parse
from tre.statistics.shares import Target, optimal

from .conftest import SCHEMA

SIZES = {"a": 3, "b": 2, "c": 4}
SETS = {
    "all subsets": margins.subsets(("a", "b", "c")),
    "no total": [("a", "b"), ("b", "c"), ("a", "c")],
    "chain": [("a",), ("a", "b"), ("a", "b", "c")],
    "one": [("a", "b")],
}


def _numbers(seed, mean, spread, shape):
    normal = random.Random(seed)  # noqa: S311  # made-up tables, no noise
    return np.array([normal.gauss(mean, spread) for _ in range(math.prod(shape))]).reshape(shape)


def _cells(by):
    return [dict(zip(by, at, strict=True)) for at in itertools.product(*(range(SIZES[g]) for g in by))]


def _matrix(by):
    """The sums of a table over all groups that the cells of table `by` are."""
    whole = _cells(tuple(SIZES))
    return np.array([[all(w[g] == cell[g] for g in by) for w in whole] for cell in _cells(by)], dtype=float)


@pytest.mark.parametrize("name", SETS)
def test_the_closed_form_is_weighted_least_squares_and_its_variance_too(name):
    sets = SETS[name]
    precision = {by: 0.5 + i for i, by in enumerate(sets)}
    tables = {by: _numbers(i, 100, 30, [SIZES[g] for g in by]) for i, by in enumerate(sets)}
    rows = np.vstack([math.sqrt(precision[by]) * _matrix(by) for by in sets])
    seen = np.concatenate([math.sqrt(precision[by]) * tables[by].ravel() for by in sets])
    solved = np.linalg.lstsq(rows, seen, rcond=None)[0]
    spread = np.linalg.pinv(rows.T @ rows)
    found = margins.consistent(tables, precision, SIZES, sets)
    for by in sets:
        assert found[by].ravel() == pytest.approx(_matrix(by) @ solved)
        variances = np.diag(_matrix(by) @ spread @ _matrix(by).T)
        assert variances == pytest.approx(margins.variance(by, precision, SIZES))


def test_tables_that_agree_stay_as_they_are():
    whole = np.arange(24.0).reshape(3, 2, 4)
    by = ("a", "b", "c")
    tables = {s: margins.marginal(whole, by, s) for s in margins.subsets(by)}
    for s, table in margins.consistent(tables, dict.fromkeys(tables, 1.0), SIZES, tables).items():
        assert table == pytest.approx(tables[s])
    assert margins.nonnegative(whole, by, dict.fromkeys(tables, 1.0), SIZES) == pytest.approx(whole)


def test_a_table_made_nonnegative_is_the_best_such_table():
    """Against scipy's own bounded least squares."""
    from scipy.optimize import lsq_linear

    by = ("a", "b", "c")
    sets = margins.subsets(by)
    precision = {s: 1.0 + len(s) for s in sets}
    table = _numbers(2, 0, 10, (3, 2, 4))
    rows = np.vstack([math.sqrt(precision[s]) * _matrix(s) for s in sets])
    wanted = lsq_linear(rows, rows @ table.ravel(), bounds=(0, np.inf), tol=1e-12).x
    found = margins.nonnegative(table, by, precision, SIZES)
    assert found.min() >= 0
    assert found.ravel() == pytest.approx(wanted, abs=0.05)


def _component(by, measure=Measure.ROWS):
    return Component(measure=measure, by=by, cells=math.prod(SIZES[g] for g in by), l1=1.0, l2=1.0)


@pytest.mark.parametrize("pure", [False, True])
def test_statistics_that_share_nothing_get_the_same(pure):
    parts = [_component((), m) for m in (Measure.PEOPLE, Measure.BINS, Measure.EVENTS)]
    split = optimal(parts, [Target(weight=1, parts=((c, 1.0),)) for c in parts], SIZES, pure=pure)
    assert split == pytest.approx([1 / 3] * 3)


@pytest.mark.parametrize(("pure", "power"), [(False, 1 / 2), (True, 1 / 3)])
def test_within_one_statistic_shares_are_those_of_lagrange(pure, power):
    """Least sum of slope / u (or slope / u^2) at a fixed sum of u."""
    parts = [_component((), m) for m in (Measure.PEOPLE, Measure.BINS)]
    split = optimal(parts, [Target(weight=1, parts=((parts[0], 1.0), (parts[1], 0.25)))], SIZES, pure=pure)
    assert split[1] / split[0] == pytest.approx(0.25**power, rel=1e-3)


def test_no_other_shares_of_margins_have_a_smaller_error():
    by = ("a", "b", "c")
    sets = margins.subsets(by)
    parts = [_component(s) for s in sets]
    split = optimal(parts, [Target(weight=1, parts=((c, 1.0),)) for c in parts], SIZES, pure=False)

    def objective(shares):
        precision = dict(zip(sets, shares, strict=True))
        return sum(math.log(margins.variance(s, precision, SIZES)) for s in sets)

    best = objective(split)
    assert best < objective([1 / 8] * 8)
    for i in range(200):
        other = np.array(split) * np.exp(_numbers(i, 0, 0.3, (8,)))
        assert objective(other / other.sum()) >= best - 1e-6
    assert sum(split) == pytest.approx(1)


@pytest.mark.parametrize("pure", [False, True])
@pytest.mark.parametrize(("light", "most"), [(1.0, 1.0), (0.2, 1.0), (0.2, 2.0), (0.001, 1.0)])
def test_no_table_has_a_larger_error_than_an_even_split_would_give_it(pure, light, most):
    """Tables and a vector of another kind that weighs little. Alone, a table's variance is 1 / (its loss), squared if pure."""
    sets = margins.subsets(("a", "b", "c"))
    parts = [*(_component(s) for s in sets), _component((), Measure.RANKS)]
    weights = [1.0] * len(sets) + [light]
    split = optimal(parts, [Target(weight=w, parts=((c, 1.0),), most=most if w < 1 else 1.0) for c, w in zip(parts, weights, strict=True)], SIZES, pure=pure)  # fmt: skip
    precision = dict(zip(sets, (np.array(split[:-1]) ** (2 if pure else 1)).tolist(), strict=True))
    found = [*(margins.variance(s, precision, SIZES) for s in sets), split[-1] ** (-2 if pure else -1)]
    even = len(parts) ** (2 if pure else 1)
    assert max(found[:-1]) <= even * (1 + 1e-6)
    assert found[-1] <= most * even * (1 + 1e-6)
    assert min(found) < 0.8 * even  # and what margins give each other is had


def test_a_request_never_costs_more_than_its_epsilon():
    statistics = {"n": {"kind": "count", "margins": True}, "m": {"kind": "mean", "column": "cost", "by": ["sex"]}, "q": {"kind": "quantile", "column": "age", "probability": 0.5}}  # fmt: skip
    for epsilon in (0.01, 0.5, 7.0):
        for delta in (0.0, 1e-6):
            request = parse({"dataset": "toy", "statistics": statistics, "epsilon": epsilon, "group_by": [{"column": "sex"}, {"column": "site"}]})  # fmt: skip
            prepared = prepare(request, SCHEMA, delta=delta)
            assert 0.99 * prepared.rho_units < sum(prepared.units.values()) <= prepared.rho_units
