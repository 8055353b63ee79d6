"""The blocks of one machine, each in its slot: by the worker that has the job, or by a program on a node of a cluster.

Guarantees: a block begins with its slot, in a sandbox of its own that is given its rows and what all are told, and nothing
that another block wrote; what it hands out goes to `said` as it is, once, and None where it failed, was late or handed out
nothing. Not done here: reading that; and deciding what becomes of blocks that were not run.
"""

from __future__ import annotations

import logging
import shutil
import threading
from collections.abc import Callable
from pathlib import Path

from tre.messages import Manifest
from tre.rules import policy
from tre.rules.schema import Closed, Identifier
from tre.rules.slots import Schedule, turn
from tre.secure.jobs import collect, runner
from tre.secure.jobs.engine import Engine
from tre.secure.jobs.faults import fault
from tre.secure.jobs.local import Local
from tre.secure.jobs.sandbox import Ended
from tre.secure.jobs.zygote import Forked, Zygote

log = logging.getLogger("tre.worker")
MAX_CLAIMS = 2**18
# Called with a block's number and what it handed out.
Said = Callable[[int, bytes | None], None]


class Work(Closed):
    """`rows`: a folder with one of its own for each block. `done`: those of the blocks that were run before."""

    rows: Path
    datasets: tuple[Identifier, ...]
    blocks: tuple[int, ...]
    done: tuple[int, ...]
    lanes: int
    times: Schedule
    manifest: Manifest
    parameters: str
    limits: policy.Sandbox


def engines(loading: Zygote | None, folder: Path) -> Callable[[], Engine]:
    """Makes an engine for each block: of forks, where the zygote works (waits for that), as long as it lives."""
    forks = loading if loading is not None and loading.works() else None
    if forks is None:
        log.warning("no process can be forked for blocks here: each loads its libraries itself")
    return lambda: Forked(forks) if forks is not None and forks.alive() else Local(folder)


class Turns:
    """`folder`: for the sandboxes. `seconds`: the clock that the schedule is by."""

    def __init__(
        self, folder: Path, work: Work, notebook: bytes, *, engine: Callable[[], Engine], seconds: Callable[[], float],
        cancelled: threading.Event, said: Said,
    ) -> None:  # fmt: skip
        self.folder, self.work, self.notebook = folder, work, notebook
        self._engine, self._seconds, self._cancelled, self._said = engine, seconds, cancelled, said

    def run(self) -> None:
        """Until all blocks have been run, the last slot is over, or `cancelled` is set."""
        work, done, used = self.work, set(self.work.done), -1
        while not self._cancelled.is_set() and not done.issuperset(work.blocks):
            slot = work.times.next(self._seconds(), used)
            if slot is None:
                return
            used, now = slot, turn(slot, work.blocks, done, work.lanes)
            if not now:
                continue
            until(work.times.begin(slot), self._seconds, self._cancelled)
            # A sandbox ends with the thread that started it.
            threads = [threading.Thread(target=self._block, args=(number,), daemon=True) for number in now]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            done.update(now)

    def _block(self, number: int) -> None:
        # Alone in its folder: a runner removes what other attempts beside it have left.
        own, claimed, engine = self.folder / f"run-{number}" / "box", None, self._engine()
        try:
            ran = runner.run(
                own, manifest=self.work.manifest, engine=engine, cancelled=self._cancelled, limits=self.work.limits,
                files={name: self.work.rows / str(number) / f"{name}.parquet" for name in self.work.datasets},
                notebook=self.notebook, parameters=self.work.parameters,
            )  # fmt: skip
            if ran.ended is Ended.FINISHED:
                claimed = collect.read(ran.outbox, "claims.json", max_bytes=MAX_CLAIMS)
        except Exception as error:  # whatever it was: this block says nothing
            log.error("a block failed: %s", fault(error))
        finally:
            engine.close()
            shutil.rmtree(own.parent, ignore_errors=True)
        if not self._cancelled.is_set():
            self._said(number, claimed)


def until(moment: float, seconds: Callable[[], float], cancelled: threading.Event) -> None:
    """Until then, by this clock; or until `cancelled` is set."""
    while not cancelled.is_set() and (left := moment - seconds()) > 0:
        cancelled.wait(min(left, 1.0))
