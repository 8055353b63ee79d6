"""When blocks run: equal slots of time, all of them fixed when a plan is confirmed, and the moment of the result after them.

Guarantees: a slot begins when it begins, whatever happened in the ones before, and the result's moment (`due`) follows
the last: both are functions of the moment of the confirmation, of what was confirmed before, and of declared numbers. So
no block can tell another, or the desk, how long it took. Which slot is a block's is a function of its number; only one
whose machine was lost under it has another, of the spare ones at the end, and takes nobody's.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

# Of each slot, after a sandbox's time is up: seconds for it to end.
SLACK = 1
# Seconds before the first slot: for the rows to be cut into blocks, and for what notebooks import to be loaded once.
LEAD = 10
# Seconds until a machine of a cluster that says nothing counts as lost.
NOTICE = 10


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Moments are whole seconds. `slots` are of `seconds` each (the sandbox's time and the slack)."""

    begins: int
    seconds: int
    slots: int
    due: int

    def next(self, now: float, used: int = -1) -> int | None:
        """The number of the first slot that has not begun yet, and comes after the one `used`; None when there is none."""
        number = max(used + 1, 0, math.ceil((now - self.begins) / self.seconds))
        return number if number < self.slots else None

    def begin(self, slot: int) -> int:
        return self.begins + slot * self.seconds


def turn(slot: int, blocks: Sequence[int], done: Collection[int], lanes: int) -> list[int]:
    """The blocks of a slot: those whose own it is; after the last one's own, whichever are left."""
    rounds = math.ceil(len(blocks) / lanes)
    own = blocks[slot * lanes : (slot + 1) * lanes] if slot < rounds else blocks
    return [b for b in own if b not in done][:lanes]


def schedule(
    *, now: float, busy_until: int, blocks: int, lanes: int, seconds: int, tick: int, wait: int = 0
) -> Schedule:
    """For a plan confirmed now, after all that were confirmed before it: `busy_until` is the last one's `due`.

    One slot in ten is spare, and at least one: a worker that was restarted needs them. Where machines have to be waited
    for (`wait` seconds), the first slot is as much later, and as many more are spare as are missed until a lost one has been
    noticed and another is ready.
    """
    begins, whole = max(math.ceil(now), busy_until) + LEAD + wait, seconds + SLACK
    rounds = math.ceil(blocks / lanes)
    slots = rounds + max(1, math.ceil(rounds / 10)) + (math.ceil((NOTICE + wait + LEAD) / whole) if wait else 0)
    due = math.ceil((begins + slots * whole) / tick) * tick
    return Schedule(begins=begins, seconds=whole, slots=slots, due=due)
