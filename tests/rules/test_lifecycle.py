"""The state tables: what can be reached, and by whom."""

import itertools

import pytest

from tre.errors import Conflict
from tre.rules.lifecycle import FINAL_JOBS, FINAL_RELEASES, JOB, RELEASE, Actor, Job, Release, step

TABLES = [(JOB, Job, Job.REHEARSING), (RELEASE, Release, Release.CHECKING)]


@pytest.mark.parametrize(("table", "states", "first"), TABLES)
def test_every_step_outside_the_table_is_refused(table, states, first):
    allowed = {(t.before, t.after, t.who) for t in table}
    for before, after, who in itertools.product(states, states, Actor):
        if (before, after, who) in allowed:
            assert step(table, before, after, who).event
        else:
            with pytest.raises(Conflict):
                step(table, before, after, who)


def _reachable(table, first):
    reached, new = {first}, {first}
    while new:
        new = {t.after for t in table if t.before in new} - reached
        reached |= new
    return reached


def test_every_job_state_is_reached_from_a_rehearsal():
    assert _reachable(JOB, Job.REHEARSING) == set(Job)


def test_every_path_to_released_passes_two_votes_or_the_policy():
    """Without the second vote and without the policy's own approval, nothing is ever approved."""
    without = [t for t in RELEASE if t.event not in ("release.second_vote", "release.approved_by_policy")]
    assert Release.RELEASED not in _reachable(without, Release.CHECKING)
    assert Release.APPROVED not in _reachable(without, Release.CHECKING)


def test_a_checker_only_votes_and_revokes_and_an_admin_only_revokes():
    votes = {"release.first_vote", "release.second_vote"}
    assert {t.event for t in RELEASE if t.who is Actor.CHECKER} == {*votes, "release.revoked"}
    assert [(t.before, t.after) for t in RELEASE if t.who is Actor.ADMIN] == [(Release.RELEASED, Release.REVOKED)]


def test_the_final_states_are_these():
    assert {s.value for s in FINAL_JOBS} == {
        "rehearsal_failed", "withdrawn", "finished", "failed", "timed_out", "cancelled",
    }  # fmt: skip
    assert Release.RELEASED not in FINAL_RELEASES  # it can still be revoked


def test_the_diagrams_in_the_documentation_are_the_tables():
    from pathlib import Path

    text = Path("docs/reference/states.md").read_text()
    for table in (JOB, RELEASE):
        for t in table:
            assert f"{t.before.value} --> {t.after.value}: {t.event.split('.')[1]} ({t.who.value})" in text
    assert text.count("-->") == len(JOB) + len(RELEASE)
