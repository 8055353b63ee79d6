"""The engine of this machine: a sandbox for each attempt, started beforehand where there was time for it.

Guarantees: a warm sandbox is made of empty folders, is used for one attempt, by the thread that started it, and is
thrown away; it has the limits that were asked for, or is not used. Where none is ready, a new one is started.
One of these for each lane: a sandbox ends with the thread that started it.
"""

from __future__ import annotations

import secrets
import shutil
import threading
from pathlib import Path

from tre.errors import SandboxError
from tre.rules.policy import Isolation
from tre.secure.jobs import sandbox
from tre.secure.jobs.box import Limits
from tre.secure.jobs.engine import COMMAND, ENVIRONMENT, PARTS, Attempt
from tre.secure.jobs.running import Outcome
from tre.secure.jobs.sandbox import Box, Opened

READY = b"[warm]\n"
# Far longer than a sandbox takes to come up on a busy machine.
PATIENCE = 60.0


class Local:
    """`folder`: where warm sandboxes have their folders until they become an attempt's; on the attempts' file system.

    `worker`: by whose name others know them, should it end without a word (`sweep`).
    """

    def __init__(self, folder: Path, worker: str = "nobody") -> None:
        self._home, self._worker = folder, worker
        self._warm: tuple[Path, Limits, Opened] | None = None

    def prepare(self, limits: Limits) -> None:
        if self._warm is not None and (self._warm[1] != limits or not self._warm[2].alive()):
            self.close()
        # Without mounts a sandbox knows its folder by its name, which a warm one's is yet to get.
        if self._warm is not None or limits.isolation is not Isolation.FULL:
            return
        folder = self._home / f"warm-{self._worker}-{secrets.token_hex(8)}"
        _make(folder)
        try:
            self._warm = folder, limits, sandbox.start(_box(folder, limits, warm=True))
        except SandboxError:
            shutil.rmtree(folder, ignore_errors=True)  # the next attempt says what is wrong

    def run(self, attempt: Attempt, cancelled: threading.Event) -> Outcome:
        opened = self._take(attempt)
        if opened is not None:
            with opened:
                attempt.fill(attempt.folder)
                return opened.run(cancelled)
        _make(attempt.folder)
        attempt.fill(attempt.folder)
        return sandbox.run(_box(attempt.folder, attempt.limits), cancelled=cancelled)

    def _take(self, attempt: Attempt) -> Opened | None:
        """The warm sandbox, its folder now the attempt's."""
        if self._warm is None:
            return None
        (folder, limits, opened), self._warm = self._warm, None
        # Renamed once it says that it is up: before, its mounts may still be made by the old name.
        if limits != attempt.limits or not opened.wait_for(READY, PATIENCE):
            opened.close()
            shutil.rmtree(folder, ignore_errors=True)
            return None
        attempt.folder.parent.mkdir(parents=True, exist_ok=True)
        folder.rename(attempt.folder)
        return opened

    def close(self) -> None:
        if self._warm is not None:
            (folder, _, opened), self._warm = self._warm, None
            opened.close()
            shutil.rmtree(folder, ignore_errors=True)


def sweep(folder: Path, worker: str) -> None:
    """Remove what a worker that is gone had ready; its sandboxes ended with it."""
    for left in folder.glob(f"warm-{worker}-*"):
        shutil.rmtree(left, ignore_errors=True)


def _make(folder: Path) -> None:
    for name in PARTS:
        (folder / name).mkdir(parents=True)


def _box(folder: Path, limits: Limits, *, warm: bool = False) -> Box:
    inputs, data, outbox = (folder / name for name in PARTS)
    command = (*COMMAND, "--warm") if warm else COMMAND
    return Box(
        command=command, inputs=inputs, data=data, outbox=outbox, limits=limits, environment=ENVIRONMENT, waits=warm
    )
