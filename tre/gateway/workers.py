"""The workers that a gateway starts beside itself: processes of their own, so that neither takes the other down.

Guarantees: a worker that ends is started again, after a longer pause each time that it has hardly begun; a gateway that ends, however it does, closes
the pipe that its workers read, and they finish what they are at and end. Workers may also be started by hand, and more
of them (`tre-admin work`): leases keep them apart.
"""

from __future__ import annotations

import logging
import os
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

log = logging.getLogger("tre.gateway")
# A worker that cannot start must not be started without pause; one that worked for a while is started again at once.
FIRST_WAIT, LONGEST_WAIT, WORKED_SECONDS = 0.2, 30.0, 5.0
# Longer than a worker takes to end what it is at, or to put it back.
GRACE_SECONDS = 60.0


class Workers:
    def __init__(self, area: Path, count: int, *, checked: str) -> None:
        self._area, self._checked = area, checked
        self._stop = threading.Event()
        self._pipes: dict[int, int] = {}  # by the worker's place: where waking is written
        self._guard = threading.Lock()
        self._threads = [
            threading.Thread(target=self._keep, args=(i,), name=f"tre-worker-{i}", daemon=True) for i in range(count)
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        with self._guard:
            for pipe in self._pipes.values():
                with suppress(BlockingIOError, BrokenPipeError):  # woken enough already, or about to be started again
                    os.write(pipe, b".")

    def stop(self) -> None:
        """Close the pipes and wait until every worker has ended. Safe to call again."""
        self._stop.set()
        with self._guard:
            for place in list(self._pipes):
                os.close(self._pipes.pop(place))
        for thread in self._threads:
            if thread.is_alive():
                thread.join(GRACE_SECONDS)

    def _keep(self, place: int) -> None:
        wait = FIRST_WAIT
        while not self._stop.is_set():
            process = self._started(place)
            if process is None:
                return
            began = time.monotonic()
            code = process.wait()
            if time.monotonic() > began + WORKED_SECONDS:
                wait = FIRST_WAIT
            with self._guard:
                pipe = self._pipes.pop(place, None)
                if pipe is not None:
                    os.close(pipe)
            if self._stop.is_set():
                return
            log.error("a worker ended with %s; it is started again", code)
            self._stop.wait(wait)
            wait = min(2 * wait, LONGEST_WAIT)

    def _started(self, place: int) -> subprocess.Popen[bytes] | None:
        ours, theirs = None, None
        command = [sys.executable, "-m", "tre.secure.cli", "work", "--piped"]
        command += ["--checked", self._checked, "--area", str(self._area)]
        with self._guard:
            if self._stop.is_set():
                return None
            theirs, ours = os.pipe()
            os.set_blocking(ours, False)
            try:
                process = subprocess.Popen(command, stdin=theirs, start_new_session=True)
            finally:
                os.close(theirs)
            self._pipes[place] = ours
        return process
