"""Findings for tables without noise."""

import pytest

from tre.rules.disclosure import Verdict, missing, table, unreadable


def _verdicts(header, rows):
    return {(f.rule, f.verdict) for f in table(header, rows, threshold=10, max_rows=5, identifier="person")}


@pytest.mark.parametrize(
    ("header", "rows", "expected"),
    [
        (["site", "n"], [["A", "10"], ["B", "0"]], None),
        (["site", "n"], [["A", "9"]], ("threshold", Verdict.REVIEW)),
        (["site", "n"], [["A", "1"]], ("threshold", Verdict.REVIEW)),
        (["Person ", "n"], [["1", "10"]], ("identifier", Verdict.FAIL)),
        (["site", "n"], [["A", "20"]] * 6, ("size", Verdict.FAIL)),
    ],
)
def test_a_table_gets_the_finding_it_deserves(header, rows, expected):
    bad = {v for v in _verdicts(header, rows) if v[1] is not Verdict.PASS}
    if expected is None:
        assert not bad
    else:
        assert expected in bad


def test_findings_name_columns_and_never_cells():
    found = table(["n"], [["7"]], threshold=10, max_rows=5, identifier="person")
    assert all("7" not in f.message for f in found)


def test_what_no_rule_can_read_goes_to_people_and_what_is_absent_fails():
    assert unreadable("figure")[0].verdict is Verdict.REVIEW
    assert missing()[0].verdict is Verdict.FAIL
