"""A guard that nobody has seen fail is not a guard: faults are put into the code, and the named check catches each."""

import dataclasses

import pytest

from tre.statistics import aggregate, grids, noise, quantiles, result, sensitivity
from tre.statistics.components import Measure

from . import suite

pytestmark = pytest.mark.slow

COUNT, MEAN = {"kind": "count"}, {"kind": "mean", "column": "cost"}
WORST = suite.HURTING["all rows at the upper bound"]


def _scaled(monkeypatch, factor):
    for name in ("of_rows", "of_sums", "of_people"):
        right = getattr(sensitivity, name)
        monkeypatch.setattr(sensitivity, name, lambda *a, right=right: tuple(factor * v for v in right(*a)))


@pytest.mark.parametrize("statistic", [COUNT, {"kind": "sum", "column": "cost"}])
def test_half_the_sensitivity_is_caught_by_the_audit(tmp_path, monkeypatch, statistic):
    _scaled(monkeypatch, 0.5)
    with pytest.raises(AssertionError, match="the audit finds"):
        suite.audit(tmp_path, statistic, WORST)


@pytest.mark.parametrize("factor", [0.5, 0.9])
def test_a_smaller_sensitivity_is_caught_by_brute_force(tmp_path, monkeypatch, factor):
    _scaled(monkeypatch, factor)
    with pytest.raises(AssertionError, match="a person changes it"):
        suite.brute_force(tmp_path, COUNT)


def test_a_larger_sensitivity_than_needed_is_caught_by_brute_force(tmp_path, monkeypatch):
    _scaled(monkeypatch, 1.1)
    with pytest.raises(AssertionError, match="declared"):
        suite.brute_force(tmp_path, COUNT)


def test_a_smaller_scale_than_told_is_caught_by_calibration(tmp_path, monkeypatch):
    right = noise.gaussian

    def smaller(values, *, sensitivity, rho_units):
        drawn = right(values, sensitivity=sensitivity, rho_units=rho_units)
        return dataclasses.replace(right(values, sensitivity=sensitivity * 0.9, rho_units=rho_units), sigma=drawn.sigma)

    monkeypatch.setattr(noise, "gaussian", smaller)
    with pytest.raises(AssertionError, match="of its variance"):
        suite.calibrate(tmp_path, COUNT)


def test_a_constant_seed_is_caught_by_comparing_two_releases(tmp_path, monkeypatch):
    right, first = noise.gaussian, {}

    def seeded(values, **more):
        drawn = first.setdefault(len(values), right([0] * len(values), **more))
        return dataclasses.replace(drawn, values=tuple(v + n for v, n in zip(values, drawn.values, strict=True)))

    monkeypatch.setattr(noise, "gaussian", seeded)
    with pytest.raises(AssertionError, match="share their noise"):
        suite.independent(tmp_path, COUNT)


def test_an_exact_number_of_rows_is_caught_by_calibration(tmp_path, monkeypatch):
    right = result.draw

    def exact_rows(prepared, vectors):
        found = right(prepared, vectors)
        counts = {
            c: dataclasses.replace(d, values=vectors[c]) for c, d in found.drawn.items() if c.measure is Measure.PRESENT
        }
        return dataclasses.replace(found, drawn={**found.drawn, **counts})

    monkeypatch.setattr(result, "draw", exact_rows)
    with pytest.raises(AssertionError, match="of its variance"):
        suite.calibrate(tmp_path, MEAN)


def test_bounds_from_the_data_are_caught_by_the_audit(tmp_path, monkeypatch):
    """As a helpful author would: the upper bound is the largest value there is."""
    largest = iter([12.0, 1000.0])
    monkeypatch.setattr(grids, "bounds", lambda *_: (0.0, next(largest)))
    with pytest.raises(AssertionError, match="the audit finds"):
        suite.audit(tmp_path, {"kind": "sum", "column": "cost"}, WORST)


def test_a_key_that_is_there_only_with_one_person_is_caught_by_the_shape(tmp_path, monkeypatch):
    right = result.table

    def without_empty(prepared, noised):
        found = right(prepared, noised)
        return found.model_copy(update={"cells": tuple(c for c in found.cells if c.value is None or c.value > 1)})

    monkeypatch.setattr(result, "table", without_empty)
    with pytest.raises(AssertionError, match="shape depends"):
        suite.same_shape(tmp_path, COUNT)


def test_two_rows_a_person_where_one_is_declared_are_caught_by_the_audit(tmp_path, monkeypatch):
    right = aggregate.source
    monkeypatch.setattr(
        aggregate, "source", lambda p, **more: right(p, **more).replace("tre_order < 1", "tre_order < 2")
    )
    two = [("f", 100, 1000.0, True)] * 2
    with pytest.raises(AssertionError, match="the audit finds"):
        suite.audit(tmp_path, COUNT, two, rows=1)
    with pytest.raises(AssertionError, match="a person changes it"):
        suite.brute_force(tmp_path, COUNT, rows=1)


def test_a_forgotten_mechanism_of_a_quantile_is_caught_by_the_audit(tmp_path, monkeypatch):
    """The best candidate instead of a drawn one."""
    monkeypatch.setattr(quantiles, "choose", lambda scores, **_: scores.index(min(scores)))
    statistic = {"kind": "quantile", "column": "age", "probability": 0.5, "bins": 10}
    with pytest.raises(AssertionError, match="the audit finds"):
        suite.audit(tmp_path, statistic, suite.HURTING["all rows at the lower bound"], strata=1000)
