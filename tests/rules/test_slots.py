"""Slots of time: fixed beforehand, one after the other, enough for all blocks, and the result after the last of them."""

import math

from hypothesis import given
from hypothesis import strategies as st

from tre.rules.slots import LEAD, NOTICE, SLACK, schedule, turn

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


@given(asked=ASKED, wait=st.integers(1, 600))
def test_where_machines_are_waited_for_the_first_slot_is_later_and_one_may_be_replaced(asked, wait):
    without, found = schedule(**asked), schedule(**asked, wait=wait)
    assert found.begins == without.begins + wait
    assert (found.slots - without.slots) * found.seconds >= NOTICE + wait + LEAD


@given(blocks=st.integers(1, 60), lanes=st.integers(1, 8), lost=st.sets(st.integers(0, 60)))
def test_a_block_has_its_slot_whatever_became_of_others_and_a_lost_one_a_spare_slot(blocks, lanes, lost):
    """`lost`: slots in which whatever should have run the blocks was away."""
    rounds, done, began = math.ceil(blocks / lanes), set(), {}
    for slot in range(rounds + len(lost) + rounds):
        now = turn(slot, range(blocks), done, lanes)
        assert len(now) <= lanes
        if slot not in lost:
            began |= dict.fromkeys(now, slot)
            done.update(now)
    missed = {b for b in range(blocks) if b // lanes in lost}
    assert all(began[b] == b // lanes for b in set(range(blocks)) - missed)
    assert all(began[b] >= rounds for b in missed)
