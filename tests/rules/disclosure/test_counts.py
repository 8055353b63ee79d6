"""Rules about single cells: each has a table that it refuses and one, just beside it, that it lets pass."""

import pytest

from tests.rules.disclosure.tables import people, table
from tre.rules.disclosure.counts import single
from tre.rules.disclosure.finding import Finding, Report, Rule, Statbarn, Verdict, worst
from tre.rules.policy import Disclosure, ZeroRule


def _verdict(found, rule):
    (one,) = [f for f in found if f.rule is rule]
    return one.verdict


def _values(*values, sex="f"):
    return [(i, {"sex": sex, "v": v}) for i, v in enumerate(values)]


def _yes(true, false, sex="f"):
    return [(f"{sex}{i}", {"sex": sex, "v": i < true}) for i in range(true + false)]


CASES = [
    (Rule.THRESHOLD, table(people(a=12, b=9), ["class"], n="count"), Verdict.FAIL),
    (Rule.THRESHOLD, table(people(a=12, b=10), ["class"], n="count"), Verdict.PASS),
    # Twelve rows of three people are three people.
    (Rule.THRESHOLD, table([(i % 3, {"class": "a"}) for i in range(12)], ["class"], n="count"), Verdict.FAIL),
    (Rule.THRESHOLD, table(_values(*[1.0] * 9, None), ["sex"], m=("mean", "v")), Verdict.FAIL),
    (Rule.THRESHOLD, table(_yes(3, 40), ["sex"], s=("share", "v")), Verdict.FAIL),
    (Rule.THRESHOLD, table(_yes(40, 3), ["sex"], s=("share", "v")), Verdict.FAIL),
    (Rule.THRESHOLD, table(_yes(20, 23), ["sex"], s=("share", "v")), Verdict.PASS),
    (Rule.DOMINANCE, table(_values(500, 400, *[5] * 20), ["sex"], s=("sum", "v")), Verdict.FAIL),
    (Rule.DOMINANCE, table(_values(500, 300, *[5] * 20), ["sex"], s=("sum", "v")), Verdict.PASS),
    # By people: many small rows of one person are one large contribution.
    (
        Rule.DOMINANCE,
        table([(0 if i < 900 else i, {"sex": "f", "v": 1}) for i in range(950)], ["sex"], s=("sum", "v")),
        Verdict.FAIL,
    ),
    (Rule.P_PERCENT, table(_values(1000, 500, *[4] * 20), ["sex"], m=("mean", "v")), Verdict.FAIL),
    (Rule.P_PERCENT, table(_values(1000, 500, *[6] * 20), ["sex"], m=("mean", "v")), Verdict.PASS),
    # What is negative contributes by its size.
    (Rule.P_PERCENT, table(_values(-1000, -500, *[4] * 20), ["sex"], m=("sum", "v")), Verdict.FAIL),
    (Rule.DEGREES_OF_FREEDOM, table(_values(*range(10)), ["sex"], d=("std", "v")), Verdict.FAIL),
    (Rule.DEGREES_OF_FREEDOM, table(_values(*range(11)), ["sex"], d=("std", "v")), Verdict.PASS),
    (Rule.CLASS, table(_yes(30, 0), ["sex"], s=("share", "v")), Verdict.FAIL),
    (Rule.CLASS, table(_yes(15, 15), ["sex"], s=("share", "v")), Verdict.PASS),
    (Rule.EXTREME, table(_values(*range(30)), ["sex"], q=("quantile", "v")), Verdict.REVIEW),
    (Rule.ROUNDING, table(people(a=12, b=11), ["class"], n="count"), Verdict.PASS),
]


@pytest.mark.parametrize(("rule", "made", "verdict"), CASES)
def test_a_cell_is_judged_by_the_people_behind_it(rule, made, verdict):
    assert _verdict(single(made, Disclosure()), rule) is verdict


def _two(pairs):
    numbered = enumerate(pair for pair, n in pairs.items() for _ in range(n))
    return [(i, {"site": s, "ill": x}) for i, (s, x) in numbered]


def test_a_group_that_is_all_in_one_class_fails_and_an_empty_cell_is_looked_at():
    rows = _two({("A", "no"): 20, ("A", "yes"): 15, ("B", "yes"): 30})
    found = single(table(rows, ["site", "ill"], n="count_people"), Disclosure())
    assert _verdict(found, Rule.CLASS) is Verdict.FAIL
    assert _verdict(found, Rule.ZEROS) is Verdict.REVIEW
    (one,) = [f for f in found if f.rule is Rule.CLASS]
    assert [(p.row, p.column) for p in one.cells] == [(0, 2), (3, 2)]  # all of B are ill, and all who are not are of A


@pytest.mark.parametrize(
    ("rule", "verdict"),
    [(ZeroRule.ALLOW, Verdict.PASS), (ZeroRule.REVIEW, Verdict.REVIEW), (ZeroRule.FAIL, Verdict.FAIL)],
)
def test_an_empty_cell_is_what_the_policy_says(rule, verdict):
    rows = _two({("A", "no"): 20, ("A", "yes"): 15, ("B", "yes"): 30})
    assert _verdict(single(table(rows, ["site", "ill"], n="count"), Disclosure(zeros=rule)), Rule.ZEROS) is verdict


def test_rounding_and_missing_values_are_asked_for_by_policy():
    counted = table(people(a=12, b=15), ["class"], n="count")
    assert _verdict(single(counted, Disclosure(round_to=5)), Rule.ROUNDING) is Verdict.FAIL
    few = table(_values(*range(40), None, None), ["sex"], m=("mean", "v"))
    assert _verdict(single(few, Disclosure()), Rule.MISSING) is Verdict.PASS
    assert _verdict(single(few, Disclosure(missing=True)), Rule.MISSING) is Verdict.REVIEW


def test_a_cell_that_is_not_printed_is_no_finding():
    rows = people(a=12, b=3)
    hidden = table(rows, ["class"], hidden=[(1, "n")], n="count")
    assert worst(f for f in single(hidden, Disclosure()) if f.rule is Rule.THRESHOLD) is Verdict.PASS


def test_a_finding_carries_the_ontologys_terms_the_places_and_what_would_help():
    found = single(table(people(a=12, b=3), ["class"], n="count"), Disclosure())
    (few,) = [f for f in found if f.rule is Rule.THRESHOLD]
    assert few.statbarn is Statbarn.FREQUENCIES
    assert few.statbarn.uri == "https://w3id.org/statbarnsdc#Frequencies"
    assert few.risk == "LowCount"
    assert ([(p.row, p.column) for p in few.cells], few.count, few.people) == ([(1, 1)], 1, 3)
    assert {m.kind.value for m in few.mitigations} == {"suppress", "coarsen", "noise"}
    assert Finding.model_validate_json(few.model_dump_json()) == few


def test_what_a_receipt_says_holds_nothing_learnt_from_rows_but_the_verdict():
    found = single(table(people(a=12, b=3), ["class"], n="count"), Disclosure())
    for f in found:
        assert set(f.told()) <= {"rule", "verdict", "statbarn"}


def test_the_worst_verdict_counts_and_nothing_looked_at_is_no_pass():
    assert worst([]) is Verdict.REVIEW
    assert Report().verdict is Verdict.REVIEW
    found = [Finding(rule=Rule.KIND, verdict=v, message="") for v in (Verdict.PASS, Verdict.FAIL, Verdict.REVIEW)]
    assert worst(found) is Verdict.FAIL


def test_of_two_sets_of_thresholds_the_stricter_holds_number_by_number():
    area = Disclosure(threshold=10, max_rows=200, zeros=ZeroRule.REVIEW, round_to=5)
    both = area.stricter(Disclosure(threshold=20, max_rows=500, zeros=ZeroRule.ALLOW, round_to=3, missing=True))
    assert (both.threshold, both.max_rows, both.zeros, both.round_to, both.missing) == (
        20,
        200,
        ZeroRule.REVIEW,
        15,
        True,
    )
    assert area.stricter(None) == area
