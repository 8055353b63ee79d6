"""Conversions between rho and (epsilon, delta): known answers, and what must hold for all values."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from opendp.combinators import make_zCDP_to_approxDP
from opendp.domains import atom_domain, vector_domain
from opendp.measurements import make_gaussian
from opendp.metrics import l2_distance
from opendp.mod import enable_features

from tre.rules.accounting import (
    UNIT,
    UNITS_PER_DELTA,
    delta_charge,
    delta_limit,
    delta_of,
    epsilon_of,
    rho_of,
    share,
    units,
)


@pytest.mark.parametrize(
    ("epsilon", "rho"), [(0.1, 0.00032), (0.5, 0.00664), (1, 0.024355970), (2, 0.08815), (4, 0.3111), (8, 1.0524)]
)
def test_known_budgets_at_a_millionth(epsilon, rho):
    assert rho_of(epsilon, 1e-6) * UNIT == pytest.approx(rho, rel=5e-3)


@pytest.mark.parametrize(("rho", "epsilon"), [(0.005, 0.430), (0.1, 2.1419), (0.5, 5.22), (2, 11.7)])
def test_known_losses_at_a_millionth(rho, epsilon):
    assert epsilon_of(units(rho), 1e-6) == pytest.approx(epsilon, rel=3e-3)


@pytest.mark.parametrize("rho", [0.001, 0.02, 0.3, 1.5])
@pytest.mark.parametrize("delta", [1e-9, 1e-6, 1e-4])
def test_the_conversion_is_opendps(rho, delta):
    enable_features("contrib")
    scale = (1 / (2 * rho)) ** 0.5
    space = vector_domain(atom_domain(T="i64")), l2_distance(T="f64")
    measurement = make_gaussian(*space, scale, MO="ZeroConcentratedDivergence")
    theirs = make_zCDP_to_approxDP(measurement).map(1.0).epsilon(delta)
    assert epsilon_of(units(rho), delta) == pytest.approx(theirs, rel=1e-3)


@given(st.floats(1e-3, 50), st.sampled_from([1e-9, 1e-6, 1e-4]))
def test_what_a_wish_costs_never_loses_more_than_was_wished(epsilon, delta):
    cost = rho_of(epsilon, delta)
    assert epsilon_of(cost, delta) <= epsilon * (1 + 1e-9)
    assert epsilon_of(cost + 10**6, delta) > epsilon * (1 - 1e-4)


@given(st.integers(1, 10**14), st.integers(1, 60))
def test_shares_never_add_up_to_more_than_the_whole(total, parts):
    assert 0 <= total - share(total, parts) * parts < parts


@given(st.integers(0, 10**14))
def test_without_a_delta_units_are_of_pure_epsilon_and_come_back_as_they_went(count):
    assert epsilon_of(count, 0) == count / 10**12
    if count:
        assert rho_of(epsilon_of(count, 0), 0) == count


def test_pure_epsilons_add_up_as_they_are_written():
    assert rho_of(0.1, 0) + rho_of(0.2, 0) == rho_of(0.3, 0) == 3 * 10**11
    assert rho_of(1e-13, 0) == 0


@given(st.floats(0, 1e-3))
def test_a_limit_on_delta_rounds_down_and_a_charge_of_it_up(delta):
    assert delta_limit(delta) <= delta * UNITS_PER_DELTA * (1 + 1e-15)
    assert 0 <= delta_charge(delta) - delta_limit(delta) <= 1
    assert delta_of(delta_charge(delta)) == pytest.approx(delta, abs=1.1e-15)


@pytest.mark.parametrize("delta", [-1e-9, 1, float("nan")])
def test_an_impossible_delta_has_no_price(delta):
    with pytest.raises(ValueError, match="delta"):
        rho_of(1.0, delta)


@pytest.mark.parametrize("epsilon", [0, -1, float("nan"), float("inf")])
def test_an_impossible_epsilon_has_no_price(epsilon):
    with pytest.raises(ValueError, match="epsilon"):
        rho_of(epsilon, 1e-6)
