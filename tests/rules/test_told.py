"""How a run ended is told by one of three rules, and the default is not at all."""

import pytest

from tre.rules.policy import Area
from tre.rules.told import Ended, FailureTold, RunEnd, stricter, tell

NEVER, AFTER, COARSE = FailureTold


@pytest.mark.parametrize("how", RunEnd)
@pytest.mark.parametrize(
    ("rule", "now", "released", "people", "told"),
    [
        (NEVER, 99, True, True, False),
        (NEVER, 99, False, False, False),
        (AFTER, 99, True, True, True),
        (AFTER, 99, False, True, False),
        (AFTER, 99, True, False, False),  # nobody approved it
        (COARSE, 10, False, True, True),
        (COARSE, 9.9, True, True, False),  # its tick is still to come
        (COARSE, 10, False, False, True),
    ],
)
def test_what_is_told(how, rule, now, released, people, told):
    found = tell(rule, Ended(how, 10), now=now, released=released, decided_by_people=people)
    assert found == (how if told else None)


@pytest.mark.parametrize("rule", FailureTold)
def test_of_a_run_that_has_not_ended_nothing_is_told(rule):
    assert tell(rule, None, now=99, released=True, decided_by_people=True) is None


def test_the_stricter_of_two_rules_holds():
    assert stricter(COARSE, AFTER) is AFTER
    assert stricter(AFTER, NEVER, COARSE) is NEVER


def test_nothing_is_told_unless_the_policy_says_so_and_both_spellings_are_one():
    assert Area(title="t", controller="c").failure_told is NEVER
    for spelling in ("after review", "after_review"):
        assert Area(title="t", controller="c", failure_told=spelling).failure_told is AFTER
    with pytest.raises(ValueError, match="failure_told"):
        Area(title="t", controller="c", failure_told="always")
