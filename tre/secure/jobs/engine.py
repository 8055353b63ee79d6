"""The seam between the queue and whatever runs sandboxes: this machine, or a scheduler of others.

An engine is given a folder's path and a function that fills it, runs the notebook in a sandbox on exactly that folder,
and says how that ended. It must guarantee three things:
1. The outcome it returns is of this attempt and no other: whatever was started twice, or comes back late, stays unheard.
2. When it returns or raises, nothing writes to the folder any more, or ever will.
3. Where it cannot know whether the attempt ran to its end, it raises AttemptLost. The queue then tries again by its rule,
   in a new folder.
It never reads rows, never opens the database, and what it returns goes to the operator alone.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tre.secure.jobs.box import Limits
from tre.secure.jobs.running import Outcome

COMMAND = (sys.executable, "-m", "tre.desk.boxed", "/in", "/outbox")
ENVIRONMENT = {"TRE_WORLD": "box", "TRE_DATA": "/data", "TRE_OUTBOX": "/outbox"}


# Of an attempt's folder: /in, /data and /outbox of its sandbox.
PARTS = ("in", "data", "out")


class NeverBegan(Exception):
    """Whatever should have begun the attempt had no answer or would not; it never will begin now. It does not count."""


class AttemptLost(Exception):
    """The attempt's machine or scheduler was lost under it; nobody knows how far it came."""


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """`folder` does not exist yet; `fill(folder)` puts the notebook into `in` and the rows into `data`, both there."""

    folder: Path
    fill: Callable[[Path], None]
    limits: Limits


class Engine(Protocol):
    def prepare(self, limits: Limits) -> None:
        """There is nothing to do: a moment to get ready for the next attempt. Returns quickly."""

    def run(self, attempt: Attempt, cancelled: threading.Event) -> Outcome:
        """Blocks to the attempt's end, soon after `cancelled` is set. Raises AttemptLost, NeverBegan or SandboxError."""

    def close(self) -> None:
        """End what was prepared."""
