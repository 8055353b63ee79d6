"""A box that runs: bubblewrap started by the launcher, watched to its end, and ended without remains.

Guaranteed: nothing of the supervisor's environment or open files is passed on but the pipes and memory files listed in
`_start`. When `to_its_end` returns, every process of the box is dead; so it is when `close` returns, whatever went wrong before.
A process is signalled by a descriptor of it, never by a number that may have become another's.
Not done here: preparing the three directories (`sandbox`), or reading what was left in the outbox (`collect`).
"""

from __future__ import annotations

import json
import os
import re
import selectors
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path

from tre.errors import SandboxError
from tre.secure.jobs import collect, seccomp
from tre.secure.jobs.box import GROUP, JOB_USER, PASSWD, PATIENCE, Box, Layout, Limits, as_root, bubblewrap
from tre.secure.jobs.groups import PROCESSES, Groups

DIAGNOSTICS_BYTES = 64 * 1024
TICK = 0.1
_LAUNCHER = Path(__file__).with_name("launcher.py")


class Ended(StrEnum):
    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


@dataclass(frozen=True)
class Outcome:
    ended: Ended
    exit_code: int | None  # None if the box was ended from outside
    diagnostics: str  # the end of stdout and stderr: for the operator alone
    memory_ran_out: bool = False  # known where control groups limit it


class Running:
    """bubblewrap, the first process of its box, and the pipes from both."""

    HINT = "See that bubblewrap runs here and that user namespaces are allowed."

    def __init__(self, box: Box, groups: Groups) -> None:
        self._groups = groups
        self._init: int | None = None  # a descriptor of the box's first process: with it dies all of the box
        self._status = b""
        self._tail = bytearray()
        self._select = selectors.DefaultSelector()
        with ExitStack() as ours, ExitStack() as theirs:
            self._status_pipe, status = _pipe(ours, theirs)
            self._output_pipe, output = _pipe(ours, theirs)
            self._input: int | None = None
            told = subprocess.DEVNULL
            if box.waits:
                told, self._input = os.pipe()
                theirs.callback(os.close, told)
                ours.callback(os.close, self._input)
            self.process = self._start(box, status, output, told)
            self._output: int | None = os.dup(output) if box.entered else None  # for who is to enter
            ours.pop_all()  # from here on `close` closes them
        self._outer = os.pidfd_open(self.process.pid)
        for pipe in (self._status_pipe, self._output_pipe):
            os.set_blocking(pipe, False)
        for descriptor in (self._status_pipe, self._output_pipe, self._outer):
            self._select.register(descriptor, selectors.EVENT_READ)

    def _start(self, box: Box, status: int, output: int, told: int) -> subprocess.Popen[bytes]:
        with ExitStack() as memory:

            def held(content: bytes) -> int:
                file = memory.enter_context(open(os.memfd_create("box"), "r+b", buffering=0))
                file.write(content)
                file.seek(0)
                return file.fileno()

            files = {
                "status": status,
                "filter": held(seccomp.program()),
                "users": held(PASSWD.encode()),
                "groups": held(GROUP.encode()),
            }
            layout = Layout(box, files)
            arguments = held(b"".join(argument.encode() + b"\0" for argument in layout.arguments))
            order = held(json.dumps(self._order(box, layout, arguments)).encode())
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), str(order)],
                env={},
                cwd="/",
                stdin=told,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=(*files.values(), arguments, order),
                start_new_session=True,  # an interrupt typed at the supervisor's terminal is for the supervisor
            )

    def _order(self, box: Box, layout: Layout, arguments: int) -> dict[str, object]:
        return {
            "program": bubblewrap(),
            "arguments": ["--args", str(arguments), "--", *box.command],
            "environment": {},
            "within": None,
            "binds": layout.binds,
            "groups": sorted({str(path) for path in self._groups.paths.values()}),
            "limits": self.limits(box.limits),
            "supervisor": os.getpid(),
            "user": JOB_USER,
        }

    def limits(self, limits: Limits) -> dict[str, int]:
        size = limits.outbox_mb << 20
        found = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": 4096, "RLIMIT_FSIZE": size, "RLIMIT_CPU": limits.cpu_seconds}
        if "memory" not in self._groups.paths:
            found["RLIMIT_AS"] = max(limits.memory_mb, 2048) << 20  # with less, polars and pyarrow do not start
        if "pids" not in self._groups.paths and as_root():
            # It counts all processes of a user, so only where the user is the boxes' own.
            found["RLIMIT_NPROC"] = PROCESSES
        return found

    def wait_for(self, said: bytes, seconds: float) -> bool:
        """Whether the command says this, being alive; what it said so far is forgotten then."""
        until = time.monotonic() + seconds
        while said not in self._tail and self._outer_runs() and time.monotonic() < until:
            self._wait(min(TICK, max(0.0, until - time.monotonic())))
        found = said in self._tail and self._outer_runs()
        if found:
            self._tail.clear()
        return found

    @contextmanager
    def entrance(self) -> Iterator[tuple[int, ...]]:
        """Descriptors for a process that is to enter the box, whose command holds it open: the command's process, its
        standard input, where output goes, the filter, and the control groups."""
        with ExitStack() as ours:
            found = [self._holder()]
            ours.callback(os.close, found[0])
            for end in (self._input, self._output):
                if end is None:
                    raise SandboxError("sandbox_order", "This box is not held open.", self.HINT)
                found.append(end)
                ours.callback(os.close, end)
            self._input = self._output = None
            calls = ours.enter_context(open(os.memfd_create("box"), "r+b", buffering=0))
            calls.write(seccomp.program())
            calls.seek(0)
            found.append(calls.fileno())
            for group in sorted({str(path) for path in self._groups.paths.values()}):
                found.append(os.open(os.path.join(group, "cgroup.procs"), os.O_WRONLY | os.O_CLOEXEC))
                ours.callback(os.close, found[-1])
            yield tuple(found)

    def mounts(self) -> int:
        """A descriptor of the box's mount namespace, to be closed by the caller."""
        return os.open(f"/proc/{self._first()}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)

    def _holder(self) -> int:
        """A descriptor of the command's process, the only child of the box's first."""
        first = self._first()
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        if len(children) != 1:
            raise SandboxError("sandbox_not_made", "The box's command is not to be found.", self.HINT)
        found = os.pidfd_open(int(children[0]))
        if _parent(int(children[0])) != first:
            os.close(found)
            raise SandboxError("sandbox_not_made", "The box's command has ended.", self.HINT)
        return found

    def _first(self) -> int:
        named = re.search(rb'"child-pid":\s*(\d+)\s*[,}]', self._status)
        if self._init is None or named is None:
            raise SandboxError("sandbox_not_made", "The box has no first process.", self.HINT)
        return int(named[1])

    def tell(self) -> None:
        """Let a command that waits go on."""
        if self._input is not None:
            with suppress(BrokenPipeError):  # it has ended: `to_its_end` says how
                os.write(self._input, b"\n")
            os.close(self._input)
            self._input = None

    def to_its_end(self, limits: Limits, outbox: int, cancelled: threading.Event | None) -> Outcome:
        until = time.monotonic() + limits.wall_seconds
        ended, looked = None, 0.0
        while ended is None and self._outer_runs():
            self._wait(max(0.0, min(TICK, until - time.monotonic())))
            now = time.monotonic()
            if not self._outer_runs():
                break
            if cancelled is not None and cancelled.is_set():
                ended = Ended.CANCELLED
            elif now >= until:
                ended = Ended.TIMED_OUT
            elif now >= looked + TICK:
                looked = now
                if not collect.fits(outbox, max_bytes=limits.outbox_mb << 20):
                    ended = Ended.FAILED
        self._kill()
        notes = []
        if not collect.fits(outbox, max_bytes=limits.outbox_mb << 20):  # it may have grown after the last look
            ended = ended or Ended.FAILED
            notes.append(f"the outbox is over {limits.outbox_mb} MB, or of no acceptable shape")
        memory_ran_out = self._groups.memory_ran_out()
        if memory_ran_out:
            notes.append(f"the memory limit of {limits.memory_mb} MB was reached")
        return replace(self._outcome(ended, "; ".join(notes)), memory_ran_out=memory_ran_out)

    def _outcome(self, ended: Ended | None, note: str) -> Outcome:
        said = self._tail.decode(errors="replace") + (f"\n[box] {note}\n" if note else "")
        said = said.encode()[-DIAGNOSTICS_BYTES:].decode(errors="ignore")
        code = re.search(rb'"exit-code":\s*(\d+)', self._status)
        if ended is not None:
            return Outcome(ended, None, said)
        if code is not None:
            return Outcome(Ended.FAILED if int(code[1]) else Ended.FINISHED, int(code[1]), said)
        if note:
            return Outcome(Ended.FAILED, None, said)
        # Written by the launcher or by bubblewrap before the command began: it can hold host paths, but no data.
        raise SandboxError(
            "sandbox_not_made",
            f"No box could be made: {said.strip()[-300:] or 'no reason was given'}",
            self.HINT,
        )

    def _outer_runs(self) -> bool:
        return self.process.poll() is None

    def _wait(self, seconds: float) -> None:
        """Take in what arrives within this time, or until something has."""
        for key, _ in self._select.select(seconds):
            if key.fd == self._outer:
                self._select.unregister(self._outer)
            elif key.fd == self._output_pipe:
                self._tail += self._read(self._output_pipe)
                del self._tail[:-DIAGNOSTICS_BYTES]
            else:
                self._status += self._read(self._status_pipe)
                self._meet_init()

    def _read(self, pipe: int) -> bytes:
        try:
            part = os.read(pipe, 1 << 16)
        except BlockingIOError:
            return b""
        if not part:
            self._select.unregister(pipe)
        return part

    def _meet_init(self) -> None:
        named = re.search(rb'"child-pid":\s*(\d+)\s*[,}]', self._status)
        if self._init is not None or named is None:
            return
        try:
            found = os.pidfd_open(int(named[1]))
        except ProcessLookupError:
            return  # gone already, and all of the box with it
        if _parent(int(named[1])) == self.process.pid:
            self._init = found
        else:
            os.close(found)  # its number was given to another

    def _kill(self) -> None:
        """Kill the box and return when it is empty: bubblewrap's own end would only set that off."""
        until = time.monotonic() + PATIENCE
        while self._init is None and self._status_pipe in self._select.get_map() and time.monotonic() < until:
            self._wait(TICK)  # still being made, or the pipe has its end to tell
        for descriptor in (self._init, self._outer):
            try:
                if descriptor is not None:
                    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            except ProcessLookupError:
                continue
        self.process.wait()
        if self._init is not None:
            with selectors.DefaultSelector() as gone:
                gone.register(self._init, selectors.EVENT_READ)
                if not gone.select(PATIENCE):
                    raise SandboxError("sandbox_will_not_die", "A box does not end.", "Restart the machine.")
        while {self._status_pipe, self._output_pipe} & set(self._select.get_map()):
            if not self._select.select(0):
                break  # nobody is left to write
            self._wait(0)

    def close(self) -> None:
        try:
            if self._outer_runs():
                self._kill()
        finally:
            self._select.close()
            for descriptor in (
                self._status_pipe, self._output_pipe, self._input, self._output, self._outer, self._init,
            ):  # fmt: skip
                if descriptor is not None:
                    os.close(descriptor)


def _pipe(ours: ExitStack, theirs: ExitStack) -> tuple[int, int]:
    """A pipe whose end to read is closed by `ours`, the one to write by `theirs`."""
    read, write = os.pipe()
    ours.callback(os.close, read)
    theirs.callback(os.close, write)
    return read, write


def _parent(pid: int) -> int | None:
    try:
        found = re.search(r"^PPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None
