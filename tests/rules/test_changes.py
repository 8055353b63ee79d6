"""Which request is compared with which, and what is told of the difference: every change, once, by name; sources by their lines."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tre.rules.changes import MOST_LINES, Asked, Change, Kind, compare, earlier, source
from tre.rules.lifecycle import Release


def _asked(release, at, state=Release.RETURNED, *, project="visits", notebook="a.ipynb"):
    return Asked(release=release, project=project, notebook=notebook, at=at, state=state)


THIS = _asked("rel-9", "2026-05-09", Release.IN_REVIEW)


@pytest.mark.parametrize(
    ("others", "found"),
    [
        ([], None),
        ([THIS], None),
        ([_asked("rel-1", "2026-05-01"), _asked("rel-2", "2026-05-02")], "rel-2"),
        ([_asked("rel-2", "2026-05-02"), _asked("rel-1", "2026-05-01")], "rel-2"),
        ([_asked("rel-1", "2026-05-01"), _asked("rel-2", "2026-06-01")], "rel-1"),
        ([_asked("rel-1", "2026-05-01", project="others")], None),
        ([_asked("rel-1", "2026-05-01", notebook="b.ipynb")], None),
        ([_asked("rel-1", "2026-05-01", notebook=None)], None),
        *([[_asked("rel-1", "2026-05-01", s)], "rel-1"] for s in (Release.REJECTED, Release.RELEASED, Release.REVOKED)),
        *([[_asked("rel-1", "2026-05-01", s)], None] for s in (Release.IN_REVIEW, Release.WITHDRAWN, Release.FAILED)),
    ],
)
def test_the_one_before_is_the_newest_that_was_decided_of_the_same_notebook_and_project(others, found):
    assert earlier(THIS, others) == found


def test_a_request_without_a_name_has_none_before_it():
    nameless = _asked("rel-9", "2026-05-09", notebook=None)
    assert earlier(nameless, [_asked("rel-1", "2026-05-01", notebook=None)]) is None


def test_things_are_told_as_added_changed_by_their_parts_or_removed():
    before = {"a": {"epsilon": 1, "where": "x"}, "b": {"epsilon": 1}, "c": {"epsilon": 1}}
    after = {"d": {"epsilon": 1}, "b": {"epsilon": 1}, "a": {"epsilon": 2, "where": "x", "by": "sex"}}
    assert compare(before, after) == (
        Change(kind=Kind.ADDED, name="d"),
        Change(kind=Kind.CHANGED, name="a", parts=("epsilon", "by")),
        Change(kind=Kind.REMOVED, name="c"),
    )
    assert compare(after, after) == ()


LINES = st.lists(st.sampled_from(["", "x", "y = 1", "a\x0bb", "a\u2028b", "-", "+", "@@ -1 +1 @@"]), max_size=30)


@given(LINES, LINES)
def test_a_difference_is_that_of_the_whole_whatever_was_left_out_to_find_it(before, after):
    """What begins and ends alike is left out first: the later text comes of the earlier one by what is shown, and nothing else."""
    found = source("\n".join(before), "\n".join(after))
    assert (found == "") == ("\n".join(before) == "\n".join(after))
    assert _applied(before or [""], found) == (after or [""])


def _applied(lines, diff):
    """`patch`, for what difflib writes."""
    made, at = [], 0
    shown = diff.split("\n") if diff else []
    left = [0, 0]
    for line in shown:
        if left == [0, 0]:
            (start, count), (_, added) = (_range(part) for part in line.split(" ")[1:3])
            place = start if count == 0 else start - 1
            made += lines[at:place]
            at, left = place, [count, added]
            continue
        sign, text = line[:1], line[1:]
        if sign in " -":
            assert lines[at] == text
            at += 1
            left[0] -= 1
        if sign in " +":
            made.append(text)
            left[1] -= 1
    return made + lines[at:]


def _range(part):
    start, _, count = part[1:].partition(",")
    return int(start), int(count or 1)


def test_a_change_of_a_character_that_ends_no_line_is_a_change():
    assert source("a\x0bb", "a\nb")
    assert source("a\rb", "a\nb")


def test_what_is_too_long_to_compare_is_said_to_be():
    long = [f"line {i}" for i in range(MOST_LINES + 1)]
    assert source("\n".join(long), "\n".join(long[::-1])) is None
    assert source("\n".join(long), "\n".join([*long, "one more"])) is not None
