"""The supervisor of boxes: runs one command on one dataset in a bubblewrap sandbox, and ends it without remains.

Guaranteed, once `unavailable()` has returned None on this machine:
1. The box has no network, sees no process, socket or file of the host but /usr, the Python runtime, the desk's part
   of `tre` and the three directories it was given, and can write only to its outbox and to memory-backed directories
   of fixed size.
2. It runs as no user that is root outside: a supervisor that is root gives it user JOB_USER, any other its own.
3. Nothing of the supervisor's environment or open files reaches it, and its arguments stand in no process list before
   `--`.
4. When `run` returns, every process of the box is dead, so the outbox no longer changes; when the supervisor dies, so
   do they.
5. Wall time, CPU time and file size are limited; output is read from a pipe, and only its end is kept.
Limited as well as the machine allows: total memory and number of processes by control groups (version 2 or 1) where
this process may make them; else each process's address space, and processes where the box has a user of its own.
Outbox: looked at every `running.TICK` and the box ended when it is over, so it can be exceeded by what is written within one;
space in files that are unlinked but still open is not seen. A hard bound needs a file system of its own below the
outbox.
All that is of full isolation; what is left of it below is told in `bare`, and such areas hold public data only.
Not done here: deciding whether the command may run, or trusting anything it left. An exit code, the time taken and
the diagnostics are outputs of untrusted code: they go to the operator, never to the researcher.

A box ends with the *thread* that started it (the kernel's rule for parent-death signals): call `run` from one that
lasts.
"""

from __future__ import annotations

import os
import stat
import sys
import tempfile
import threading
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Self

from tre.errors import SandboxError
from tre.rules.policy import Isolation
from tre.secure.jobs.bare import BareRunning
from tre.secure.jobs.box import JOB_USER, Box, Limits, as_root, runtime_roots
from tre.secure.jobs.groups import Groups
from tre.secure.jobs.running import Ended, Outcome, Running

__all__ = ["Box", "Ended", "Limits", "Opened", "Outcome", "run", "start", "unavailable"]


def run(box: Box, *, cancelled: threading.Event | None = None) -> Outcome:
    """Run the command to its end and return when the box is empty. SandboxError if no box could be made."""
    _check(box)
    if cancelled is not None and cancelled.is_set():
        return Outcome(Ended.CANCELLED, None, "")
    with Opened(box) as opened:
        return opened.run(cancelled)


def start(box: Box) -> Opened:
    """A box whose command is started already, and that is run to its end later. The caller closes it."""
    _check(box)
    return Opened(box)


class Opened:
    """A box that was started, until it is closed: then it is empty and its outbox is its owner's again."""

    def __init__(self, box: Box) -> None:
        self._box = box
        with ExitStack() as cleanup:
            self._outbox = os.open(box.outbox, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            cleanup.callback(os.close, self._outbox)
            # 0700: a supervisor that is no root has the box's user, which might leave a set-uid file for other users.
            os.fchmod(self._outbox, 0o700)
            self._inputs = [os.open(p, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW) for p in (box.inputs, box.data)]
            for descriptor in self._inputs:
                cleanup.callback(os.close, descriptor)
            if as_root():
                before = os.fstat(self._outbox)
                cleanup.callback(os.fchown, self._outbox, before.st_uid, before.st_gid)
                os.fchown(self._outbox, JOB_USER, JOB_USER)
                self.lend()
            groups = Groups(box.limits)
            cleanup.callback(groups.remove)
            full = box.limits.isolation is Isolation.FULL
            self._running = Running(box, groups) if full else BareRunning(box, groups)
            cleanup.callback(self._running.close)
            self._cleanup = cleanup.pop_all()

    def alive(self) -> bool:
        return self._running.process.poll() is None

    def wait_for(self, said: bytes, seconds: float) -> bool:
        """Whether the command says this within so many seconds, being alive. It is forgotten with all that came before."""
        return self._running.wait_for(said, seconds)

    @property
    def running(self) -> Running:
        return self._running

    def run(self, cancelled: threading.Event | None = None, *, seconds: float | None = None) -> Outcome:
        """To its end. A command that waits is told that its directories are filled; its time (the limits', or so many
        seconds) begins now."""
        if self._box.waits:
            self.lend()
            self._running.tell()
        limits = self._box.limits if seconds is None else replace(self._box.limits, wall_seconds=seconds)
        return self._running.to_its_end(limits, self._outbox, cancelled)

    def lend(self) -> None:
        """Let the job's user read what the directories were filled with."""
        if as_root():
            for descriptor in self._inputs:
                _lend(descriptor)

    def close(self) -> None:
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def unavailable(isolation: Isolation = Isolation.FULL) -> str | None:
    """Why this isolation cannot be had on this machine, found by really running Python in a box; None if it can."""
    with tempfile.TemporaryDirectory(prefix="box-") as place:
        os.chmod(place, 0o711)  # noqa: S103  # a box without mounts goes through it
        inputs, data, outbox = (Path(place, name) for name in ("i", "d", "o"))
        for directory in (inputs, data, outbox):
            directory.mkdir()
        limits = Limits(wall_seconds=60, cpu_seconds=30, memory_mb=512, outbox_mb=1, isolation=isolation)
        command = (sys.executable, "-I", "-c", "pass")
        try:
            found = run(Box(command=command, inputs=inputs, data=data, outbox=outbox, limits=limits))
        except SandboxError as error:
            return f"{error.message} {error.next_step}"
    if found.ended is Ended.FINISHED:
        return None
    return f"Python cannot be started in a box: {found.diagnostics.strip()[-500:] or found.ended}"


def _lend(directory: int) -> None:
    """Let the job's user read what root staged and closed to others: by its group, and the group's right to read."""
    for _, _, files, handle in os.fwalk(".", dir_fd=directory):
        if os.fstat(handle).st_mode & 0o005 != 0o005:
            os.fchown(handle, -1, JOB_USER)
            os.fchmod(handle, stat.S_IMODE(os.fstat(handle).st_mode) | 0o050)
        for name in files:
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and not found.st_mode & 0o004:
                os.chown(name, -1, JOB_USER, dir_fd=handle, follow_symlinks=False)
                os.chmod(name, stat.S_IMODE(found.st_mode) | 0o040, dir_fd=handle)


def _check(box: Box) -> None:
    if not box.command:
        raise SandboxError("sandbox_order", "A box was ordered without a command.", "Name the program to run.")
    for directory in (box.inputs, box.data, box.outbox):
        if not directory.is_dir():
            raise SandboxError("sandbox_order", "A directory the box needs is not there.", "Make it before the run.")
        if any(directory.resolve().is_relative_to(root) for root in (*runtime_roots(), Path("/usr"))):
            raise SandboxError(
                "sandbox_area_in_runtime",
                "The area lies inside a directory that every box can read.",
                "Move the area out of the Python environment and out of /usr.",
            )
    if any(box.outbox.iterdir()):
        raise SandboxError("sandbox_outbox_not_empty", "The outbox holds files already.", "Give each run its own.")
