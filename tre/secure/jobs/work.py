"""A lane: one thread that does one kind of work, a step after the other, and what it needs to be interrupted.

Guarantees: `cancelled` is set soon after the lease that the lane is holding is lost, and when the worker is told to end
now (`draining`); it is clear at the start of each piece of work.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager

from tre.secure.jobs.engine import Engine
from tre.secure.jobs.faults import fault
from tre.secure.jobs.leases import Lease

log = logging.getLogger("tre.worker")
IDLE_SECONDS = 0.5


class Lane:
    """`step` does one piece of work and says whether there was one; `idle` is called when there was none."""

    def __init__(
        self, name: str, engine: Engine, step: Callable[[Lane], bool], idle: Callable[[Lane], None], done: Callable[[], None]
    ) -> None:  # fmt: skip
        self.name, self.engine = name, engine
        self._step, self._idle, self._done = step, idle, done
        self.cancelled, self.draining = threading.Event(), False
        self.worked = False
        self._stop, self._wake = threading.Event(), threading.Event()
        self._lease: Lease | None = None
        self._guard = threading.Lock()
        self.thread = threading.Thread(target=self._run, name=f"tre-{name}", daemon=True)

    def wake(self) -> None:
        self._wake.set()

    def stop(self) -> None:
        """Finish the piece of work under way, then end."""
        self._stop.set()
        self._wake.set()

    def drain(self) -> None:
        """End the piece of work under way; what it was at is put back."""
        with self._guard:
            self.draining = True
            if self._lease is not None:
                self.cancelled.set()

    @contextmanager
    def holding(self, lease: Lease) -> Iterator[None]:
        with self._guard:
            self._lease = lease
            self.cancelled.clear()
            if self.draining:
                self.cancelled.set()
        try:
            yield
        finally:
            with self._guard:
                self._lease = None

    @property
    def token(self) -> str | None:
        """Of the lease that it is at work under."""
        with self._guard:
            return self._lease.token if self._lease is not None else None

    def lose(self, lost: Collection[str]) -> None:
        """End the work whose lease is among these tokens."""
        with self._guard:
            if self._lease is not None and self._lease.token in lost:
                self.cancelled.set()

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                worked = self._one()
                if worked:
                    self._done()
                    continue
                self._wake.wait(IDLE_SECONDS)
                self._wake.clear()
        finally:
            self.engine.close()  # by the thread that started what it holds

    def _one(self) -> bool:
        try:
            worked = self._step(self)
            self.worked |= worked
            if not worked and not self._stop.is_set():
                self._idle(self)
            return worked
        except Exception as error:
            log.error("a step of lane %s failed: %s", self.name, fault(error))
            return False
