"""A job's blocks on a Slurm cluster: spread over several of its jobs, each of which runs its share in the slots there are.

Guarantees: a block's share, slot and place in it are a function of its number; what a share's jobs go through changes
nothing of another share. Where a job is lost (its node, its launcher, its daemon), another is sent for the share: blocks
whose slot is yet to come keep it, those that it should have run have the spare ones, and what it had written counts.
Each block's words are heard once. When the last slot is over nothing more is heard; nothing here moves that moment.
Slurm is told a folder's path and a token.
Not guaranteed: that a lost node has stopped. It may run a block again that another node runs: of one block one number is kept.
"""

from __future__ import annotations

import logging
import math
import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tre.rules.slots import NOTICE
from tre.secure.jobs.box import Limits
from tre.secure.jobs.engine import AttemptLost
from tre.secure.jobs.node import MARK, ORDER, OUTCOME
from tre.secure.jobs.node_blocks import BEAT, NOTEBOOK, OVER, SAID, Order
from tre.secure.jobs.slurm import LOOK_SECONDS, Cluster, name_of
from tre.secure.jobs.slurm import OVER as ENDED
from tre.secure.jobs.turns import MAX_CLAIMS, Said, Work

log = logging.getLogger("tre.worker")
# What a lost job wrote may take a moment to be seen; a block that is not seen by then is run again.
SETTLE_SECONDS = 2.0
# After the last slot, for what was written in it.
LAST_SECONDS = 1.0
# The node program says that it lives every second.
QUIET_SECONDS = 3.0
# Between one job that was lost and the next.
PAUSE_SECONDS = 2.0
# For a job to end that was told to.
ENDING_SECONDS = 5.0
ZYGOTE_MB = 512


def shares(work: Work, count: int) -> list[Work]:
    """As many as can have a block. Every share has the same slots, and its part of the lanes."""
    lanes = -(-work.lanes // count)
    found = [work.model_copy(update={"blocks": work.blocks[n::count], "lanes": lanes}) for n in range(count)]
    return [share for share in found if share.blocks]


def run(
    cluster: Cluster, folder: Path, work: Work, notebook: bytes, *, seconds: Callable[[], float],
    cancelled: threading.Event, said: Said,
) -> None:  # fmt: skip
    """Until all blocks have been run, the last slot is over, or `cancelled` is set."""
    found = [
        Share(cluster, folder, share, notebook, seconds=seconds, cancelled=cancelled, said=said)
        for share in shares(work, cluster.policy.block_jobs)
    ]
    with ThreadPoolExecutor(max(1, len(found))) as pool:
        for ended in [pool.submit(share.run) for share in found]:
            ended.result()


def end_earlier(cluster: Cluster, folder: Path, said: Said) -> None:
    """Jobs of a worker that is gone: they are ended, and what they wrote counts."""
    for path in folder.glob(f"*/{ORDER}"):
        try:
            order = Order.model_validate_json(path.read_bytes())
        except ValueError:  # its worker was killed while it wrote this, and so before it sent anything
            continue
        _call_over(path.parent)
        cluster.cancel(f"--name={name_of(order.token)}")
        _hear(path.parent, set(order.done), said)


class Share:
    def __init__(
        self, cluster: Cluster, folder: Path, work: Work, notebook: bytes, *, seconds: Callable[[], float],
        cancelled: threading.Event, said: Said,
    ) -> None:  # fmt: skip
        self.cluster, self.folder, self.work, self.notebook = cluster, folder, work, notebook
        self._seconds, self._cancelled, self._said = seconds, cancelled, said
        self._done = set(work.done)
        self._silent: str | None = None  # the node of the last job, where it said nothing any more

    def run(self) -> None:
        while not self._cancelled.is_set() and self._left:
            if self.work.times.next(self._seconds()) is None:
                log.error("%d blocks have no slot left: their jobs were lost too often", self._left)
                return
            try:
                self._one()
                return
            except AttemptLost as lost:
                log.warning("a job of blocks was lost: %s", lost)
            self._cancelled.wait(PAUSE_SECONDS)

    @property
    def _left(self) -> int:
        return len(set(self.work.blocks) - self._done)

    def _one(self) -> None:
        """One job of the cluster's, to its end. Raises AttemptLost."""
        order = Order(**dict(self.work) | {"done": tuple(sorted(self._done)), "token": secrets.token_hex(16)})
        folder = self.folder / order.token[:12]
        (folder / SAID).mkdir(parents=True)
        (folder / NOTEBOOK).write_bytes(self.notebook)
        (folder / ORDER).write_text(order.model_dump_json())
        try:
            number = self.cluster.submit(
                name_of(order.token), folder, order.token, self._limits(),
                program="tre.secure.jobs.node_blocks", exclude=self._silent,
            )  # fmt: skip
        except AttemptLost:  # it may have been taken all the same
            _call_over(folder)
            self.cluster.cancel(f"--name={name_of(order.token)}")
            raise
        try:
            self._watch(folder, number)
        finally:
            _call_over(folder)
            self._hear(folder)  # before the controller is asked for anything
            self.cluster.cancel(number)
            self._ended(number)
            self._hear(folder)

    def _ended(self, number: str) -> None:
        """Wait a moment for what was told to end, but not beyond the last slot."""
        last = min(self._seconds() + ENDING_SECONDS, self._last)
        while self._seconds() < last and (state := self._state(number)) is not None and state not in ENDED:
            time.sleep(LOOK_SECONDS)

    @property
    def _last(self) -> float:
        return self.work.times.begin(self.work.times.slots) + LAST_SECONDS

    def _watch(self, folder: Path, number: str) -> None:
        over_since, beat = None, Beat(folder / BEAT)
        while not self._cancelled.is_set() and self._seconds() < self._last:
            if (folder / OUTCOME).exists():
                return
            self._hear(folder)
            quiet = beat.quiet()
            if quiet > NOTICE:
                self._silent = beat.node
                raise AttemptLost("its node says nothing")
            # While the node speaks, the controller is not asked: it may take long to answer, or be gone.
            state = self._state(number) if not 0 <= quiet < QUIET_SECONDS else "RUNNING"
            if state is not None and state not in ENDED:
                over_since = None
            elif over_since is None:
                over_since = time.monotonic()
            elif time.monotonic() > over_since + SETTLE_SECONDS:
                raise AttemptLost(f"it ended as {state or 'unknown'}")
            self._cancelled.wait(LOOK_SECONDS)

    def _state(self, number: str) -> str | None:
        try:
            return self.cluster.state(number)
        except AttemptLost as silent:  # the job goes on, on its node
            log.warning("the controller has no answer: %s", silent)
            return "UNKNOWN"

    def _hear(self, folder: Path) -> None:
        _hear(folder, self._done, self._said)

    def _limits(self) -> Limits:
        """Of the whole job: its lanes together, until its last slot."""
        each, times = self.work.limits, self.work.times
        return Limits(
            wall_seconds=times.begin(times.slots) - self._seconds(), cpu_seconds=each.cpu_seconds,
            memory_mb=self.work.lanes * each.memory_mb + ZYGOTE_MB, outbox_mb=each.outbox_mb,
        )  # fmt: skip


class Beat:
    """For how many seconds a node has not said that it lives, by this machine's clock; negative before it has begun to."""

    def __init__(self, path: Path) -> None:
        self._path, self._seen, self._at, self.node = path, 0, math.inf, ""

    def quiet(self) -> float:
        try:
            said = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            said = self._seen
        if said != self._seen:
            self._seen, self._at = said, time.monotonic()
            self.node = self._path.read_text()
        return time.monotonic() - self._at


def _hear(folder: Path, done: set[int], said: Said) -> None:
    """What is new of a job's blocks."""
    for path in sorted((folder / SAID).iterdir()):
        if path.name.isdigit() and (number := int(path.name)) not in done:
            done.add(number)
            content = path.read_bytes()
            said(number, content if 0 < len(content) <= MAX_CLAIMS else None)


def _call_over(folder: Path) -> None:
    """What has not begun never will; what has, ends."""
    for name in (MARK, OVER):
        folder.joinpath(name).touch(exist_ok=True)
