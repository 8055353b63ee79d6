"""Durations: every stay that has ended is counted once, for the state it was in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tre.rules.durations import stays, summary
from tre.rules.lifecycle import FINAL_RELEASES, RELEASE, Release

LOG = [
    ("rel-1", 10.0, "release.in_review"), ("rel-2", 11.0, "release.blocked"), ("rel-1", 15.0, "release.viewed"),
    ("rel-1", 70.0, "release.first_vote"), ("rel-9", 71.0, "release.first_vote"), ("rel-1", 100.0, "release.second_vote"),
    ("rel-1", 100.0, "release.approved"),
]  # fmt: skip


def test_a_log_says_how_long_each_state_lasted():
    found = stays(RELEASE, Release.CHECKING, {"rel-1": 4.0, "rel-2": 5.0}, LOG)
    assert found == {
        Release.CHECKING: [6.0, 6.0], Release.IN_REVIEW: [60.0], Release.PARTIALLY_REVIEWED: [30.0], Release.REVIEWED: [0.0],
    }  # fmt: skip


@given(st.lists(st.tuples(st.sampled_from([t.event for t in RELEASE]), st.integers(0, 1_000)), max_size=30))
def test_what_a_subject_spent_in_its_states_is_its_whole_life_up_to_the_last_step(steps):
    now, log = 0.0, []
    for event, later in steps:
        now += later
        log.append(("rel-1", now, event))
    found = stays(RELEASE, Release.CHECKING, {"rel-1": 0.0}, log)
    assert not set(found) & FINAL_RELEASES
    assert sum(sum(s) for s in found.values()) <= now


@pytest.mark.parametrize(
    ("seconds", "middle", "nine"),
    [([5.0], 5.0, 5.0), ([1.0, 3.0], 2.0, 2.8), ([float(n) for n in range(11)], 5.0, 9.0)],
)
def test_a_summary_is_the_median_and_the_ninth_decile(seconds, middle, nine):
    assert summary(seconds) == {
        "count": len(seconds), "median_seconds": pytest.approx(middle), "ninth_decile_seconds": pytest.approx(nine),
    }  # fmt: skip
