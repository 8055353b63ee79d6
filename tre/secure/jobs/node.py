"""One attempt on a node of a cluster: started by the scheduler, it runs the sandbox and writes down how that ended.

    python -m tre.secure.jobs.node FOLDER TOKEN

Guarantees: of all that the scheduler starts for one attempt, however often it does, one process alone runs a sandbox:
the one that makes the attempt's mark. The outcome is written whole or not at all, outside what the sandbox can reach.
It needs neither the area's database nor its keys: a node that has neither can run it.
Not guaranteed: that it is heard. A node that is lost takes the outcome with it, and the engine calls the attempt lost.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import threading
from dataclasses import asdict
from pathlib import Path

from tre.errors import SandboxError
from tre.secure.jobs import sandbox
from tre.secure.jobs.box import Box, Limits
from tre.secure.jobs.engine import COMMAND, ENVIRONMENT, PARTS
from tre.secure.jobs.running import Ended, Outcome

MARK, ORDER, OUTCOME = "started", "order.json", "outcome.json"


def main() -> int:
    folder, token = Path(sys.argv[1]), sys.argv[2]
    order = json.loads((folder / ORDER).read_text())
    if order["token"] != token:
        return 3
    mark = marked(folder)
    if mark is None:  # the scheduler started it again; what the first one writes counts, or nothing does
        return wait_for_the_first(folder)
    cancelled = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: cancelled.set())
    inputs, data, outbox = (folder / name for name in PARTS)
    box = Box(
        command=COMMAND, inputs=inputs, data=data, outbox=outbox, limits=Limits(**order["limits"]),
        environment=ENVIRONMENT,
    )  # fmt: skip
    try:
        said = asdict(sandbox.run(box, cancelled=cancelled))
    except SandboxError as error:
        # Slurm sends its signal to the sandbox too, which may then have ended first.
        said = asdict(Outcome(Ended.CANCELLED, None, "")) if cancelled.is_set() else {"error": _told(error)}
    part = folder / f"{OUTCOME}.part"
    with part.open("w") as file:
        json.dump(said | {"token": token}, file)
        file.flush()
        os.fsync(file.fileno())
    part.replace(folder / OUTCOME)
    return 0


def marked(folder: Path) -> int | None:
    """The attempt's mark, locked until this process ends; None where another has made it."""
    try:
        mark = os.open(folder / MARK, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return None
    fcntl.flock(mark, fcntl.LOCK_EX)
    return mark


def wait_for_the_first(folder: Path) -> int:
    """Its lock ends with it: then there is an outcome, or never will be."""
    with (folder / MARK).open() as mark:
        fcntl.flock(mark, fcntl.LOCK_EX)
    return 0 if (folder / OUTCOME).exists() else 4


def _told(error: SandboxError) -> dict[str, str]:
    return {"code": error.code, "message": error.message, "next_step": error.next_step}


if __name__ == "__main__":
    sys.exit(main())
