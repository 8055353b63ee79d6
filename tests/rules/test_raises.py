"""Which change of policies is a raise, and what is said of it."""

from datetime import date

import pytest

from tre.rules.ledger import AccountKind
from tre.rules.policy import Area, Loss, Policies, Population, Project
from tre.rules.raises import needed, raises, sentences


def _loss(epsilon, keys_delta=0.0):
    return Loss(epsilon=epsilon, delta=1e-6, keys_delta=keys_delta)


def _policies(lifetime=8, yearly=None, allowance=4, mine=None, keys=0.0, raises_need=1):
    population = Population(title="P", lifetime=_loss(lifetime, keys), yearly=_loss(yearly) if yearly else None)
    project = Project(
        title="p", lay_summary="", purpose="", public_benefit="", legal_basis="", starts=date(2026, 1, 1),
        ends=date(2027, 1, 1), people=("ada",), datasets={}, allowances={"people": _loss(allowance)} if allowance else {},
        yearly={"people": _loss(mine)} if mine else {},
    )  # fmt: skip
    return Policies(
        area=Area(title="a", controller="c", raises_need=raises_need), populations={"people": population}, datasets={},
        projects={"visits": project} if allowance else {}, people={},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("before", "after", "kinds"),
    [
        ({}, {}, []),
        ({}, {"lifetime": 9}, [AccountKind.POPULATION]),
        ({}, {"lifetime": 7}, []),
        ({}, {"keys": 1e-8}, [AccountKind.POPULATION]),
        ({}, {"allowance": 5}, [AccountKind.PROJECT]),
        ({}, {"lifetime": 9, "allowance": 5}, [AccountKind.POPULATION, AccountKind.PROJECT]),
        ({}, {"yearly": 1}, []),  # a new cap lets less be learnt
        ({"yearly": 1}, {"yearly": 2}, [AccountKind.POPULATION_YEAR]),
        ({"yearly": 1}, {}, [AccountKind.POPULATION_YEAR]),
        ({"mine": 1}, {"mine": 2}, [AccountKind.PROJECT_YEAR]),
        ({"mine": 1}, {}, [AccountKind.PROJECT_YEAR]),
        ({"mine": 1}, {"allowance": None}, []),
        ({"allowance": None}, {}, []),  # a project that never was is a new grant within the promise
    ],
)
def test_a_raise_is_what_lets_more_be_learnt_or_sooner(before, after, kinds):
    assert [r.kind for r in raises([_policies(**before)], _policies(**after))] == kinds


@pytest.mark.parametrize(
    ("between", "after", "kind"),
    [
        ({"allowance": None}, {"allowance": 5, "mine": 1}, AccountKind.PROJECT),
        ({"allowance": None}, {"allowance": 4, "mine": 2}, AccountKind.PROJECT_YEAR),
        ({"allowance": None}, {"allowance": 4}, AccountKind.PROJECT_YEAR),
    ],
)
def test_a_project_taken_out_and_put_back_larger_was_raised(between, after, kind):
    history = [_policies(mine=1), _policies(**between)]
    assert [r.kind for r in raises(history, _policies(**after))] == [kind]


def test_the_first_policies_raise_nothing():
    assert raises([], _policies()) == []


def test_how_many_admins_a_raise_needs_is_said_by_the_policies_in_force():
    one, two, more = _policies(), _policies(raises_need=2), _policies(lifetime=9)
    assert needed(one, more, raises([one], more)) == 1
    assert needed(two, more, raises([two], more)) == 2
    assert needed(one, two, []) == 0
    assert needed(two, one, []) == 2  # or one admin would lower the rule first


def test_what_a_raise_means_is_said_plainly():
    (found,) = raises([_policies()], _policies(lifetime=9, keys=1e-8))
    fact, meaning = sentences(found, 2.25)
    assert fact == (
        "people (population): from epsilon 8 to epsilon 9, keys_delta from 0 to 1e-08 (delta 1e-06); spent so far: epsilon 2.250."
    )
    assert "8,103-fold, where the limit they were promised was 2,981-fold" in meaning
    (found,) = raises([_policies(yearly=1)], _policies())
    assert sentences(found, 0)[0].startswith("people (population, this year): from epsilon 1 a year to no limit (delta")
    assert "sooner" in sentences(found, 0)[1]
    (found,) = raises([_policies()], _policies(allowance=5))
    assert "stays as it is" in sentences(found, 0)[1]
