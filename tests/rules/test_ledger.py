"""Budget arithmetic over random histories."""

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tre.errors import BudgetExceeded
from tre.rules.accounting import rho_of
from tre.rules.ledger import COUNTS, NEXT, Account, AccountKind, Charge, cover, rounded_down


@given(st.integers(1, 10**13), st.lists(st.integers(1, 10**12), max_size=40))
def test_whatever_is_asked_in_whatever_order_an_account_never_goes_below_zero(limit, wishes):
    used = 0
    for wish in wishes:
        account = Account("people", "population", limit, used, 1e-6)
        try:
            cover([account], wish)
        except BudgetExceeded:
            assert used + wish > limit
        else:
            used += wish
        assert used + Account("people", "population", limit, used, 1e-6).left_units == limit


def test_the_last_unit_can_be_spent_and_the_next_cannot():
    account = Account("people", "population", 100, 90, 1e-6)
    cover([account], 10)
    with pytest.raises(BudgetExceeded):
        cover([account], 11)


def test_both_accounts_must_cover_and_the_refusal_names_the_short_one():
    rich = Account("people", "population", 10**12, 0, 1e-6)
    poor = Account("visits", "project", rho_of(1, 1e-6), rho_of(0.9, 1e-6), 1e-6)
    with pytest.raises(BudgetExceeded, match="'visits'") as refused:
        cover([rich, poor], rho_of(0.8, 1e-6))
    fits = poor.left_epsilon
    assert f"{fits:.3f}" in refused.value.next_step
    cover([rich, poor], rho_of(fits, 1e-6))


@given(st.integers(1, 10**13))
def test_what_is_said_to_fit_does_fit(left):
    account = Account("people", "population", left, 0, 1e-6)
    if account.left_epsilon > 0:
        cover([account], rho_of(account.left_epsilon, 1e-6))


def test_pure_epsilon_is_covered_to_the_last_unit():
    account = Account("people", "population", rho_of(0.3, 0), rho_of(0.1, 0), 0)
    assert account.left_epsilon == 0.2
    cover([account], rho_of(0.2, 0))
    with pytest.raises(BudgetExceeded, match=r"epsilon 0\.300 \(delta 0\).*0\.200 left"):
        cover([account], rho_of(0.3, 0))


@given(st.integers(1, 8000))
def test_what_is_left_of_pure_epsilon_is_said_to_the_last_thousandth(thousandths):
    left = Account("people", "population", thousandths * 10**9, 0, 0).left_epsilon
    assert left == thousandths / 1000


def test_the_delta_of_keys_found_in_data_has_its_own_limit_and_its_own_refusal():
    account = Account("people", "population", 100, 0, 1e-6, limit_delta_units=10**9, used_delta_units=10**9 - 5)
    cover([account], 100, 5)
    with pytest.raises(BudgetExceeded, match="keys_delta_exceeded") as refused:
        cover([account], 1, 6)
    assert "5e-15 left for keys" in refused.value.message
    with pytest.raises(BudgetExceeded, match="keys_delta_exceeded"):
        cover([Account("people", "population", 100, 0, 1e-6)], 1, 1)


def test_nothing_fits_into_nothing():
    assert rounded_down(0.0, 0, 1e-6) == 0


def test_the_page_of_budgets_shows_the_accounts_and_the_life_of_a_charge_as_they_are():
    page = (Path(__file__).resolve().parents[2] / "docs/reference/budgets.md").read_text()
    steps = [f"    {before} --> {after}" for before, following in NEXT.items() for after in following]
    assert "stateDiagram-v2\n" + "\n".join(steps) + "\n```" in page
    assert re.findall(r"^\| `((?:population|project)[a-z, ]*)` \|", page, re.M) == sorted(AccountKind, key=ORDER)


ORDER = ["population", "project", "population, this year", "project, this year"].index


def test_only_a_reservation_given_back_stops_counting():
    assert set(Charge) - set(COUNTS) == {Charge.RETURNED}
    assert NEXT[Charge.RESERVED] == (Charge.SPENT, Charge.RETURNED)
    assert all(Charge.RETURNED not in NEXT[c] for c in Charge if c is not Charge.RESERVED)
