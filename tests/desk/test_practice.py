"""Practice cases show what they say they show: the real rules find it, and where they find nothing, people must."""

import pytest

from tre.desk import practice
from tre.rules.disclosure.finding import Verdict
from tre.rules.policy import Disclosure

FOUND = {
    "small-cell": ("fail", {"threshold"}),
    "one-large": ("fail", {"dominance", "p_percent"}),
    "everybody": ("fail", {"class_disclosure"}),
    "a-birthday-apart": ("fail", {"differencing"}),
    "bare-means": ("review", {"underlying"}),
    "in-words": ("fail", {"identifier"}),
    "rounded": ("pass", set()),
    "a-question-of-purpose": ("pass", set()),
}


@pytest.mark.parametrize("name", practice.cases())
def test_the_rules_find_in_a_case_what_it_is_there_for(name):
    case = practice.cases()[name]
    verdict, rules = FOUND[name]
    assert case.verdict.value == verdict, case.found.to_string()
    assert rules <= set(case.found["rule"])
    assert case.context in case._repr_html_()
    assert case.title in repr(case)
    assert len(case.answer) > 100


def test_findings_follow_the_areas_thresholds():
    assert practice.cases(Disclosure(threshold=3))["small-cell"].verdict is Verdict.PASS
    assert practice.cases(Disclosure(threshold=100))["rounded"].verdict is Verdict.FAIL


def test_the_answer_is_not_seen_before_it_is_asked_for():
    for case in practice.cases().values():
        assert case.why not in repr(case) + case._repr_html_()
