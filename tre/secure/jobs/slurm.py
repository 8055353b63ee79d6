"""The engine of a Slurm cluster: each attempt one job of it, sent with sbatch, watched with squeue, ended with scancel.

Guarantees: Slurm never runs an attempt again of itself (`--no-requeue`), and where it does all the same, as after the
death of its controller, the second start does nothing (`node`); an attempt whose job is gone without an outcome is
lost, and tried again by the queue's rule, in a folder of its own; a job that was sent and not answered for is found by
its name and ended. Slurm is told no name of a project, a person or a file of data: a folder's path and a token.
Not guaranteed: that a lost node has stopped. What it still writes is in the lost attempt's folder, which nobody reads.
It needs the area's folder and this Python at the same paths on every node, and jobs that run as the worker's own user.
"""

from __future__ import annotations

import json
import logging
import secrets
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tre.errors import SandboxError
from tre.rules.policy import SlurmEngine
from tre.secure.jobs.box import Limits
from tre.secure.jobs.engine import PARTS, Attempt, AttemptLost, NeverBegan
from tre.secure.jobs.node import MARK, ORDER, OUTCOME
from tre.secure.jobs.running import Ended, Outcome

log = logging.getLogger("tre.worker")
LOOK_SECONDS = 0.2  # at the shared folder
ASK_SECONDS = 2.0  # the controller, for all attempts together
CALL_SECONDS = 30.0
# After a job has left the queue, what it wrote may take a moment to be seen through a shared file system.
SETTLE_SECONDS = 10.0
# Slurm's own limit lies behind ours: it is for a supervisor that does not end what it should.
MARGIN_SECONDS = 120
OVER = frozenset(
    ("BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY", "PREEMPTED", "TIMEOUT")
)
COMMAND_MB = 512  # beside the sandbox, for the supervisor


class Cluster:
    """Slurm's commands, and one picture of all our jobs that many attempts share."""

    def __init__(self, policy: SlurmEngine) -> None:
        self.policy = policy
        self._guard = threading.Lock()
        self._states: dict[str, str] = {}
        self._asked = 0.0

    def submit(
        self, name: str, folder: Path, token: str, limits: Limits, *, program: str = "tre.secure.jobs.node",
        exclude: str | None = None,
    ) -> str:  # fmt: skip
        """Returns the job's number. `exclude`: a node that is not to have it. Raises AttemptLost where Slurm said none."""
        minutes = max(1, -(-(int(limits.wall_seconds) + MARGIN_SECONDS) // 60))
        options = [
            "--parsable", "--no-requeue", "--export=NONE", f"--job-name={name}", "--output=/dev/null",
            "--error=/dev/null", "--input=/dev/null", f"--time={minutes}", "--nodes=1", "--ntasks=1",
            f"--cpus-per-task={self.policy.cpus}", f"--mem={limits.memory_mb + COMMAND_MB}", "--chdir=/",
        ]  # fmt: skip
        options += [f"--partition={self.policy.partition}"] if self.policy.partition else []
        options += [f"--account={self.policy.account}"] if self.policy.account else []
        options += [f"--exclude={exclude}"] if exclude else []
        # The shell hands over to Python and is gone: Slurm's signals reach the supervisor itself.
        script = f'#!/bin/sh\nexec "{sys.executable}" -m {program} "{folder}" {token}\n'
        said = _call(["sbatch", *options], script)
        number = said.strip().split(";")[0]
        if not number.isdigit():
            raise AttemptLost("sbatch named no job")
        return number

    def state(self, number: str) -> str | None:
        """The job's state as of a moment ago; None where the controller no longer knows it. AttemptLost: no answer."""
        with self._guard:
            if time.monotonic() >= self._asked + ASK_SECONDS:
                said = _call(["squeue", "--noheader", "--me", "--states=all", "--format=%i %T"])
                self._states = dict(line.split() for line in said.splitlines() if len(line.split()) == 2)
                self._asked = time.monotonic()
            return self._states.get(number)

    def cancel(self, *which: str) -> None:
        """By number, or `--name=…`. SIGTERM first, as the supervisor then ends its sandbox; Slurm kills what stays."""
        try:
            _call(["scancel", *which])
        except AttemptLost:
            log.error("scancel had no answer")


def _call(command: Sequence[str], script: str | None = None) -> str:
    try:
        done = subprocess.run(
            command, input=script, capture_output=True, text=True, timeout=CALL_SECONDS, check=False
        )  # fmt: skip
    except (subprocess.TimeoutExpired, OSError) as error:
        raise AttemptLost(f"{command[0]}: {type(error).__name__}") from None
    if done.returncode:
        raise AttemptLost(f"{command[0]}: {done.stderr.strip()[-200:]}")
    return done.stdout


class Slurm:
    """For one lane; lanes share their Cluster."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster

    def prepare(self, limits: Limits) -> None:
        """Nothing: the nodes are the cluster's."""

    def close(self) -> None:
        """Nothing is held."""

    def run(self, attempt: Attempt, cancelled: threading.Event) -> Outcome:
        self._end_earlier(attempt.folder)
        token = secrets.token_hex(16)
        name = name_of(token)
        for part in PARTS:
            (attempt.folder / part).mkdir(parents=True)
        (attempt.folder / ORDER).write_text(json.dumps({"token": token, "limits": asdict(attempt.limits)}))
        attempt.fill(attempt.folder)
        try:
            number = self.cluster.submit(name, attempt.folder, token, attempt.limits)
        except AttemptLost as lost:
            self._never(attempt.folder, name)
            raise NeverBegan(str(lost)) from None
        return self._watch(attempt, token, number, cancelled)

    def _end_earlier(self, folder: Path) -> None:
        """An attempt before this one may be going on still, its worker lost: nobody will look at it."""
        for order in folder.parent.glob(f"*/{ORDER}"):
            earlier = order.parent
            if earlier != folder and not (earlier / OUTCOME).exists():
                try:
                    name = name_of(json.loads(order.read_text())["token"])
                except ValueError:  # its worker was killed while it wrote this, and so before it sent anything
                    continue
                self._never(earlier, name)

    def _never(self, folder: Path, name: str) -> None:
        """It may have been taken all the same: whatever has this name is ended, and what has not begun never will."""
        folder.joinpath(MARK).touch(exist_ok=True)
        self.cluster.cancel(f"--name={name}")

    def _watch(self, attempt: Attempt, token: str, number: str, cancelled: threading.Event) -> Outcome:
        asked_to_end, over_since = False, None
        while True:
            found = _outcome(attempt.folder, token)
            if found is not None:
                return found
            if cancelled.is_set() and not asked_to_end:
                asked_to_end = True
                self.cluster.cancel(number)
            state = self._state(number)
            if state is not None and state not in OVER:
                over_since = None
            elif over_since is None:
                over_since = time.monotonic()
            elif time.monotonic() > over_since + SETTLE_SECONDS or (asked_to_end and state in OVER):
                return self._without_outcome(attempt.folder, token, state, asked_to_end)
            # An event for the researcher's withdrawal; the shared folder has none to give.
            (time.sleep if asked_to_end else cancelled.wait)(LOOK_SECONDS)

    def _state(self, number: str) -> str | None:
        """While the controller has no answer the job is taken to be going on: it does so on its node."""
        try:
            return self.cluster.state(number)
        except AttemptLost as silent:
            log.warning("the controller has no answer: %s", silent)
            time.sleep(ASK_SECONDS)
            return "UNKNOWN"

    def _without_outcome(self, folder: Path, token: str, state: str | None, asked_to_end: bool) -> Outcome:
        folder.joinpath(MARK).touch(exist_ok=True)  # what has not begun never will
        found = _outcome(folder, token)
        if found is not None:
            return found
        if asked_to_end:
            return Outcome(Ended.CANCELLED, None, "")
        if state == "TIMEOUT":
            return Outcome(Ended.TIMED_OUT, None, "ended by Slurm, behind the sandbox's own limit")
        raise AttemptLost(f"its job ended as {state or 'unknown'} without an outcome")


def name_of(token: str) -> str:
    return f"tre-{token[:12]}"


def _outcome(folder: Path, token: str) -> Outcome | None:
    try:
        said = json.loads((folder / OUTCOME).read_text())
    except (FileNotFoundError, ValueError):
        return None
    if said.pop("token", None) != token:
        return None
    if "error" in said:
        raise SandboxError(**said["error"])
    memory = bool(said.get("memory_ran_out"))
    return Outcome(Ended(said["ended"]), said["exit_code"], said["diagnostics"], memory_ran_out=memory)
