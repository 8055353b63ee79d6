"""Burn-down and forecast: tables of charges and what follows from them."""

from datetime import date, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tre.rules.forecast import SPANS, Charged, Point, Step, burn_down, forecast, left_over, what_if

TODAY = date(2030, 6, 30)


def _ago(*charges):
    return [Charged(TODAY - timedelta(days=days), units) for days, units in charges]


@pytest.mark.parametrize(
    ("charges", "points"),
    [
        ([], []),
        ([(3, 5)], [(3, 5)]),
        ([(3, 5), (3, 2), (1, 1)], [(3, 7), (1, 8)]),
        ([(1, 1), (3, 5)], [(3, 5), (1, 6)]),
    ],
)
def test_the_burn_down_is_the_total_after_each_day_that_had_a_charge(charges, points):
    assert burn_down(_ago(*charges)) == [Point(TODAY - timedelta(days=d), u) for d, u in points]


@pytest.mark.parametrize(
    ("charges", "left", "recent", "life"),
    [
        # (days, units used in them, days until it runs out)
        ([(0, 10)], 100, (1, 10, 10), (1, 10, 10)),
        ([(9, 50), (0, 50)], 100, (10, 100, 10), (10, 100, 10)),
        ([(9, 50), (0, 50)], 101, (10, 100, 11), (10, 100, 11)),  # begun days count as whole ones
        ([(199, 150), (0, 50)], 100, (90, 50, 180), (200, 200, 100)),
        ([(199, 200)], 100, (90, 0, None), (200, 200, 100)),
        ([(90, 7)], 7, (90, 0, None), (91, 7, 91)),
        ([(89, 7)], 7, (90, 7, 90), (90, 7, 90)),
        ([(199, 200)], 0, (90, 0, 0), (200, 200, 0)),
        ([(0, 1)], 10**13, (1, 1, None), (1, 1, None)),  # beyond the last date that can be written
        ([(-5, 10)], 100, (1, 10, 10), (1, 10, 10)),  # a clock that was put back
    ],
)
def test_a_pace_leads_to_a_day(charges, left, recent, life):
    found = forecast(_ago(*charges), left, TODAY)
    for pace, (days, units, until) in ((found.recent, recent), (found.life, life)):
        expected = None if until is None else TODAY + timedelta(days=until)
        assert (pace.days, pace.units, pace.runs_out) == (days, units, expected)


def test_without_a_charge_there_is_no_forecast():
    assert forecast([], 100, TODAY) is None


@given(st.lists(st.tuples(st.integers(0, 2000), st.integers(1, 10**12)), min_size=1), st.integers(0, 10**13))
def test_more_left_never_runs_out_sooner_and_totals_only_rise(charges, left):
    points = burn_down(_ago(*charges))
    assert points[-1].used_units == sum(u for _, u in charges)
    assert all(a.used_units < b.used_units and a.on < b.on for a, b in pairwise(points))
    sooner, later = (forecast(_ago(*charges), n, TODAY).life.runs_out for n in (left, left + 1))
    assert later is None or (sooner is not None and sooner <= later)


@pytest.mark.parametrize(
    ("charges", "limit", "shares"),
    [
        ([], 100, [1, 1, 1]),
        ([(1, 50)], 100, [1, 0.5, 0.5]),
        ([(3, 50), (0, 50)], 100, [1, 0.5, 0]),
        ([(1, 500)], 100, [1, 0, 0]),  # a limit that was lowered
    ],
)
def test_what_was_left_over_time(charges, limit, shares):
    assert left_over(burn_down(_ago(*charges)), limit, TODAY, 3) == shares


@pytest.mark.parametrize(
    ("limit", "used", "requests", "more", "left"),
    [
        (100, 40, [], None, []),
        (100, 40, [(31, 20)], None, []),  # longer ago than what counts as of late
        (100, 40, [(0, 20), (29, 10)], 4, [30, 0]),
        (100, 40, [(0, 7)], 8, [53, 46, 39, 32, 25, 18, 11, 4, 0]),
        (100, 100, [(0, 20)], 0, [0]),
        (100, 120, [(0, 20)], 0, [0]),
        (10**6, 0, [(0, 1)], 10**6, [10**6 - i for i in range(1, SPANS + 1)]),
        (100, 0, [(0, 0)], None, []),  # replayed: it was charged nothing
    ],
)
def test_another_limit_is_told_by_how_many_requests_like_the_last_ones_fit(limit, used, requests, more, left):
    found = what_if(limit, used, _ago(*requests), TODAY)
    assert (found.left_units, found.over_units) == (max(0, limit - used), max(0, used - limit))
    assert found.more == more
    assert found.steps == tuple(Step(TODAY + timedelta(days=30 * i), units) for i, units in enumerate(left, 1))


@given(st.integers(0, 10**15), st.integers(0, 10**15), st.lists(st.integers(1, 10**12), min_size=1, max_size=20))
def test_so_many_more_requests_of_the_mean_price_fit_and_one_more_does_not(limit, used, units):
    found = what_if(limit, used, _ago(*((0, u) for u in units)), TODAY)
    assert found.more * sum(units) <= found.left_units * len(units) < (found.more + 1) * sum(units)
