"""The chain of audit entries finds every kind of tampering but one: a log cut off at its end."""

import dataclasses

import pytest

from tre.rules.audit import FIRST, Entry, broken, entry_hash


def _log(n=6):
    entries, previous = [], FIRST
    for i in range(1, n + 1):
        content = (i, f"2026-01-0{i}T00:00:00Z", "ada", "job.submitted", f"job-{i}", {"n": i}, previous)
        previous = entry_hash(*content)
        entries.append(Entry(*content, previous))
    return entries


def test_an_untouched_log_is_whole():
    assert broken(_log()) is None


@pytest.mark.parametrize(
    "change",
    [
        lambda log: log[:2] + [dataclasses.replace(log[2], person="eve")] + log[3:],
        lambda log: log[:2] + [dataclasses.replace(log[2], detail={"n": 99})] + log[3:],
        lambda log: log[:2] + log[3:],
        lambda log: log[:2] + [log[3], log[2]] + log[4:],
        lambda log: log[:3] + [log[2]] + log[3:],
        lambda log: log[1:],
    ],
    ids=["edited", "detail edited", "removed", "swapped", "doubled", "first removed"],
)
def test_tampering_is_found(change):
    assert broken(change(_log())) is not None


def test_a_log_cut_at_its_end_is_only_found_by_an_earlier_head():
    log = _log()
    assert broken(log[:-1]) is None
    assert log[-2].hash != log[-1].hash
