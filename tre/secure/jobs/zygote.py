"""Boxes whose process was loaded beforehand: forked from one that has seen nothing, into a box that bubblewrap made.

Starting Python, papermill, a kernel and the libraries takes seconds of processor time, and is the same for each of a
thousand blocks. Here it is done once, by `tre.desk.zygote`: a process of the job's user that is given no rows, runs no
notebook, and is told nothing of how its forks end. Each box is made as all are (namespaces, mounts, limits, control
groups), by the same code; its command only holds it open, and a fork of the zygote enters it, takes the filter, gives up
all rights, and is then what the command would have been.
Guaranteed: all that `sandbox` does of a box, for a fork as for a command: the isolation report makes its attempts in both.
Every box is new, and is entered once. Where no fork can enter a box on this machine the zygote does not work (`works`), and
blocks run as other attempts do.
Not guaranteed: that forks have different addresses of memory; they share the zygote's, as all forks of a process do.
"""

from __future__ import annotations

import json
import os
import select
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Self

from tre.desk.zygote import MENTIONED
from tre.errors import SandboxError
from tre.secure.jobs import sandbox
from tre.secure.jobs.box import JOB_USER, PATIENCE, Box, Limits, as_root, environment
from tre.secure.jobs.engine import COMMAND, ENVIRONMENT, PARTS, Attempt
from tre.secure.jobs.running import Outcome
from tre.secure.jobs.sandbox import Opened

_LAUNCHER = Path(__file__).with_name("launcher.py")
UP, READY = b"[up]\n", b"ready"
# It ends with the code that it is told, or, where whoever was to tell it died, with one of failure.
HOLDER = ("/bin/sh", "-c", 'echo "[up]"; read -r code || exit 126; exit "$code"')
# Far longer than loading the libraries takes on a busy machine.
LOADING = 120.0
# A module that is not loaded yet is found in the box.
TRY = "import tre.desk.boxed; raise SystemExit(7)"
TRIAL = Limits(wall_seconds=30, cpu_seconds=30, memory_mb=1024, outbox_mb=1)


class Zygote:
    """`folder`: new, for the directories of the box whose mounts the zygote has, and of the trial. `packages`: to load."""

    def __init__(self, folder: Path, packages: Sequence[str] = ()) -> None:
        self._packages = packages
        self._folder, self._guard = folder, threading.Lock()
        with ExitStack() as cleanup:
            cleanup.callback(shutil.rmtree, folder, ignore_errors=True)
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            self._orders = cleanup.enter_context(ours)
            with theirs:
                self._process = self._start(theirs, cleanup)
            cleanup.callback(self._process.wait)
            cleanup.callback(self._process.kill)
            self._cleanup = cleanup.pop_all()

    def _start(self, orders: socket.socket, cleanup: ExitStack) -> subprocess.Popen[bytes]:
        """As root: with the mounts of a box, since the job's user may not reach this Python by other ways."""
        with ExitStack() as passed:
            within = None
            if as_root():
                opened = cleanup.enter_context(Opened(_held(self._folder / "own", TRIAL)))
                if not opened.wait_for(UP, PATIENCE):
                    raise SandboxError("sandbox_not_made", "The zygote's box did not come up.", "See if others do.")
                within = opened.running.mounts()
                passed.callback(os.close, within)
            order = {
                "program": sys.executable, "arguments": ["-m", "tre.desk.zygote", str(orders.fileno()), *self._packages],
                "environment": {**environment(), **ENVIRONMENT}, "within": within, "groups": [], "binds": [],
                "limits": {"RLIMIT_CORE": 0}, "supervisor": os.getpid(), "user": JOB_USER,
            }  # fmt: skip
            told = os.memfd_create("zygote")
            passed.callback(os.close, told)
            os.write(told, json.dumps(order).encode())
            os.lseek(told, 0, os.SEEK_SET)
            descriptors = [told, orders.fileno(), *([within] if within is not None else [])]
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), str(told)],
                env={}, cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                pass_fds=descriptors, start_new_session=True,
            )  # fmt: skip

    def works(self) -> bool:
        """Whether it has loaded, and a fork of it can enter a box; waits for that."""
        try:
            if not select.select([self._orders], [], [], LOADING)[0] or self._orders.recv(16) != READY:
                return False
            with Opened(_held(self._folder / "trial", TRIAL)) as opened:
                self.enter(opened, (sys.executable, "-c", TRY), ENVIRONMENT, TRIAL)
                return opened.run().exit_code == 7
        except (SandboxError, OSError):
            return False

    def enter(self, opened: Opened, command: tuple[str, ...], more: Mapping[str, str], limits: Limits) -> None:
        """Have a fork enter the box, and be what `python …` of this command would be."""
        if not opened.wait_for(UP, PATIENCE):
            raise SandboxError("sandbox_not_made", "A box did not come up.", "See if others do.")
        opened.lend()
        order = {
            "command": command, "environment": {**environment(), **more}, "folder": "/home/job",
            "limits": opened.running.limits(limits),
        }  # fmt: skip
        with opened.running.entrance() as descriptors, self._guard:
            socket.send_fds(self._orders, [json.dumps(order).encode()], descriptors)

    def alive(self) -> bool:
        return self._process.poll() is None

    def close(self) -> None:
        self._cleanup.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def mentioned(notebook: bytes) -> list[str]:
    """Which of the packages that can be loaded beforehand a notebook has the name of, anywhere in it."""
    names = dict.fromkeys(module.partition(".")[0] for module in MENTIONED)
    return [name for name in names if name.encode() in notebook]


@contextmanager
def begun(folder: Path, notebook: bytes = b"") -> Iterator[Zygote | None]:
    """One that is loading what this notebook may import, until the end of the context; None where none could be started."""
    with ExitStack() as cleanup:
        try:
            found = cleanup.enter_context(Zygote(folder, mentioned(notebook)))
        except (SandboxError, OSError):
            found = None
        yield found


class Forked:
    """The engine: each attempt in a box of its own, entered by a fork. Can be used by several threads at once."""

    def __init__(self, zygote: Zygote) -> None:
        self._zygote = zygote

    def prepare(self, limits: Limits) -> None:
        """Nothing: what there is to prepare is the zygote."""

    def run(self, attempt: Attempt, cancelled: threading.Event) -> Outcome:
        until = time.monotonic() + attempt.limits.wall_seconds  # the making of the box is within its time
        with Opened(_held(attempt.folder, attempt.limits)) as opened:
            attempt.fill(attempt.folder)
            self._zygote.enter(opened, (*COMMAND, "--fork"), ENVIRONMENT, attempt.limits)
            return opened.run(cancelled, seconds=until - time.monotonic())

    def close(self) -> None:
        """Nothing is held."""


def _held(folder: Path, limits: Limits) -> Box:
    """A box that is held open, its directories made."""
    inputs, data, outbox = (folder / name for name in PARTS)
    for place in (inputs, data, outbox):
        place.mkdir(parents=True)
    return Box(command=HOLDER, inputs=inputs, data=data, outbox=outbox, limits=limits, waits=True, entered=True)


def entered(box: Box, zygote: Zygote) -> Outcome:
    """As `sandbox.run`, for a command of this Python's: `python … -m MODULE` or `-c CODE`."""
    with sandbox.start(replace(box, command=HOLDER, waits=True, entered=True)) as opened:
        zygote.enter(opened, box.command, box.environment, box.limits)
        return opened.run()
