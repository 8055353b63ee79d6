"""The worker: lanes of threads that take work from the database until told to stop, and a pulse that keeps their leases.

Guarantees: what reads real rows in a sandbox has lanes of its own, so that how long a run takes never delays a rehearsal
or a statistic or a block, and so tells nobody anything; several workers of one area never do one thing twice at once (leases); a
worker that is stopped finishes what it is at, or, where that takes too long, puts it back as if it had not begun.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from tre.rules.policy import Area, LocalEngine
from tre.rules.policy import Queue as QueueRules
from tre.secure import policies as policy_files
from tre.secure.context import Context
from tre.secure.data.registry import Registry
from tre.secure.jobs import leases
from tre.secure.jobs.blocks import Blocks
from tre.secure.jobs.claims import Claims
from tre.secure.jobs.engine import Engine
from tre.secure.jobs.engines import for_runs
from tre.secure.jobs.faults import fault
from tre.secure.jobs.leases import Presence
from tre.secure.jobs.local import Local
from tre.secure.jobs.queue import Queue
from tre.secure.jobs.rehearsing import Rehearsals
from tre.secure.jobs.releasing import Releases
from tre.secure.jobs.runner import limits_of
from tre.secure.jobs.runs import Runs
from tre.secure.jobs.work import Lane
from tre.secure.post import Post
from tre.secure.release.bundle import Bundler
from tre.secure.release.check import Check
from tre.secure.release.planning import Planner

log = logging.getLogger("tre.worker")
PULSE_SECONDS = 0.5
POST_SECONDS = 2.0
# How long a stopped worker finishes what it is at, before it puts it back.
GRACE_SECONDS = 20.0
# Nobody can wait for longer: a sandbox that does not die, a disk that does not answer.
LAST_SECONDS = 20.0


class Worker:
    def __init__(
        self, context: Context, queue: Queue, registry: Registry, planner: Planner, check: Check, bundler: Bundler
    ) -> None:
        self.context, self.queue = context, queue
        self.presence = Presence(context.area.folder("workers"))
        self.claims = Claims(context, queue, self.presence.name)
        self.rehearsals = Rehearsals(context, queue, registry, planner, self.claims)
        self.runs = Runs(context, queue, registry, planner, self.claims)
        self.blocks = Blocks(context, queue, registry, planner, self.claims)
        self.releases = Releases(context, queue, registry, check, bundler, self.claims)
        self._lanes: list[Lane] = []
        self._stop = threading.Event()
        self._pulse = threading.Thread(target=self._beat, name="tre-pulse", daemon=True)
        # A mail server may take its time: nothing waits for it, an ending worker neither.
        self._post = threading.Thread(target=self._mail, name="tre-post", daemon=True)

    def start(self) -> None:
        self.claims.recover()
        self.blocks.sweep()
        area, jobs = self._area(), self.context.area.folder("jobs")
        rules, name = area.queue if area else QueueRules(), self.presence.name
        self._add("release", 1, self.releases.step, lambda: Local(jobs, name))
        self._add("rehearsal", rules.rehearsals, self.rehearsals.step, lambda: Local(jobs, name))
        self._add("run", rules.runs, self.runs.step, for_runs(area.engine if area else LocalEngine(), jobs, name))
        # Apart from runs, whose length is theirs to choose: it must not move the slots of blocks.
        self._add("blocks", 1, self.blocks.step, lambda: Local(jobs, name))
        self._pulse.start()
        self._post.start()
        for lane in self._lanes:
            lane.thread.start()

    def _add(self, name: str, count: int, step: Callable[[Lane], bool], engine: Callable[[], Engine]) -> None:
        for number in range(count):
            self._lanes.append(Lane(f"{name}-{number}", engine(), step, self._idle, self.wake))

    def _area(self) -> Area | None:
        """The area's policy in force; None where nothing was applied yet, and so there is nothing to do."""
        with self.context.database.read() as connection:
            found = policy_files.latest(connection)
        return found.area if found else None

    def _idle(self, lane: Lane) -> None:
        """The first lane of a kind gets ready at once, another when it has had work: what stands ready takes memory."""
        if lane.name.startswith(("release", "blocks")) or not (lane.worked or lane.name.endswith("-0")):
            return
        area = self._area()
        if area is not None and area.queue.warm:
            lane.engine.prepare(limits_of(area.sandbox))

    def wake(self) -> None:
        for lane in self._lanes:
            lane.wake()

    def _beat(self) -> None:
        """Renew what is held in good time, see what was lost, and put back what others left."""
        renewed = 0.0
        while not self._stop.wait(PULSE_SECONDS):
            try:
                area = self._area()
                seconds = (area.queue if area else QueueRules()).lease_seconds
                # Before the database is asked: what a lane takes after that is not in its answer, and not lost.
                held = {token for lane in self._lanes if (token := lane.token) is not None}
                if time.monotonic() >= renewed + seconds / 3:
                    still = leases.renew(self.context, self.presence.name, seconds, held)
                    renewed = time.monotonic()
                else:
                    still = leases.mine(self.context, self.presence.name)
                for lane in self._lanes:
                    lane.lose(held - still)
                self.claims.recover()  # after its own: a machine that slept goes on with what nobody took
            except Exception as error:
                log.error("the pulse failed: %s", fault(error))

    def _mail(self) -> None:
        post = Post(self.context)
        while not self._stop.wait(POST_SECONDS):
            try:
                post.step()
            except Exception as error:
                log.error("the post failed: %s", fault(error))

    def stop(self, grace: float = GRACE_SECONDS) -> None:
        """Take nothing new, finish what is under way within the grace, put back what is not finished by then."""
        for lane in self._lanes:
            lane.stop()
        self._join(grace)
        for lane in self._lanes:
            lane.drain()
        self._join(LAST_SECONDS)
        self._stop.set()
        if self._pulse.is_alive():
            self._pulse.join()
        if self._post.is_alive():
            self._post.join(1.0)
        self.presence.end()

    def _join(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        for lane in self._lanes:
            if lane.thread.is_alive():
                lane.thread.join(max(0.0, until - time.monotonic()))
