"""Slots of time: fixed beforehand, one after the other, enough for all blocks, and the result after the last of them."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tre.rules.slots import LEAD, SLACK, schedule

ASKED = st.fixed_dictionaries(
    {
        "now": st.floats(1e9, 2e9), "busy_until": st.integers(0, 2 * 10**9 + 500), "blocks": st.integers(2, 1000),
        "lanes": st.integers(1, 8), "seconds": st.integers(1, 300), "tick": st.integers(1, 3600),
    }
)  # fmt: skip


@given(asked=ASKED)
def test_all_blocks_have_a_slot_with_some_to_spare_and_the_result_is_due_on_a_tick_after_the_last(asked):
    found = schedule(**asked)
    assert found.begins >= max(asked["now"], asked["busy_until"]) + LEAD
    assert found.seconds == asked["seconds"] + SLACK
    rounds = math.ceil(asked["blocks"] / asked["lanes"])
    assert rounds + 1 <= found.slots <= rounds * 1.1 + 2
    end = found.begin(found.slots)
    assert end <= found.due < end + asked["tick"]
    assert found.due % asked["tick"] == 0


@given(asked=ASKED, late=st.floats(0, 10**5))
def test_the_next_slot_is_one_that_has_not_begun_and_there_is_none_after_the_last(asked, late):
    found = schedule(**asked)
    now = found.begins + late
    number = found.next(now)
    if number is None:
        assert now > found.begin(found.slots - 1)
    else:
        assert 0 <= number < found.slots
        assert found.begin(number) >= now > found.begin(number) - found.seconds or number == 0
    assert found.next(found.begins - 10) == 0
    assert found.next(found.begins, used=0) == 1
    assert found.next(found.begins, used=found.slots - 1) is None
