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
Outbox: looked at every TICK and the box ended when it is over, so it can be exceeded by what is written within one;
space in files that are unlinked but still open is not seen. A hard bound needs a file system of its own below the
outbox.
Not done here: deciding whether the command may run, or trusting anything it left. An exit code, the time taken and
the diagnostics are outputs of untrusted code: they go to the operator, never to the researcher.

A box ends with the *thread* that started it (the kernel's rule for parent-death signals): call `run` from one that
lasts.
"""

from __future__ import annotations

import functools
import json
import os
import platform
import re
import secrets
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from tre.errors import SandboxError
from tre.secure.jobs import collect, seccomp

JOB_USER = 64991  # no person's and no service's on any distribution's plan of numbers
DIAGNOSTICS_BYTES = 64 * 1024
PROCESSES = 512  # threads count, and every engine starts one for each core
TICK = 0.1
_INSIDE_USER = 1000
_PATIENCE = 10.0  # seconds for the kernel to do what it was told; only ever reached on a machine in trouble
_LAUNCHER = Path(__file__).with_name("launcher.py")
_PACKAGE = Path(__file__).resolve().parents[2]
_DESK_PARTS = ("__init__.py", "errors.py", "messages.py", "client.py", "rules", "statistics", "desk")
_SECURE_PARTS = ("secure", "gateway", "demo")
_STAGE = "/mnt"


class Ended(StrEnum):
    FINISHED = "finished"
    FAILED = "failed"
    TIMED_OUT = "timed_out"
    CANCELLED = "cancelled"


@dataclass(frozen=True, kw_only=True)
class Limits:
    wall_seconds: float
    cpu_seconds: int  # of each process
    memory_mb: int
    outbox_mb: int  # also the largest file it may write anywhere


@dataclass(frozen=True, kw_only=True)
class Box:
    """What to run, and the three directories it sees: /in and /data, both read-only, and /outbox.

    A supervisor that is root gives the job's user the right to read /in and /data where others have none.
    """

    command: tuple[str, ...]
    inputs: Path
    data: Path
    outbox: Path  # empty; becomes the job's user's while it runs
    limits: Limits
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    ended: Ended
    exit_code: int | None  # None if the box was ended from outside
    diagnostics: str  # the end of stdout and stderr: for the operator alone


def run(box: Box, *, cancelled: threading.Event | None = None) -> Outcome:
    """Run the command to its end and return when the box is empty. SandboxError if no box could be made."""
    _check(box)
    if cancelled is not None and cancelled.is_set():
        return Outcome(Ended.CANCELLED, None, "")
    with ExitStack() as cleanup:
        outbox = os.open(box.outbox, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        cleanup.callback(os.close, outbox)
        # 0700: with a supervisor that is no root the box is its user, and might leave a set-uid file for other users.
        os.fchmod(outbox, 0o700)
        if _as_root():
            before = os.fstat(outbox)
            cleanup.callback(os.fchown, outbox, before.st_uid, before.st_gid)
            os.fchown(outbox, JOB_USER, JOB_USER)
            _lend(box.inputs)
            _lend(box.data)
        groups = _Groups(box.limits)
        cleanup.callback(groups.remove)
        running = _Running(box, groups)
        cleanup.callback(running.close)
        return running.to_its_end(box.limits, outbox, cancelled)


def unavailable() -> str | None:
    """Why full isolation cannot be had on this machine, found by really running Python in a box; None if it can."""
    with tempfile.TemporaryDirectory(prefix="box-") as place:
        inputs, data, outbox = (Path(place, name) for name in ("i", "d", "o"))
        for directory in (inputs, data, outbox):
            directory.mkdir()
        limits = Limits(wall_seconds=60, cpu_seconds=30, memory_mb=512, outbox_mb=1)
        command = (sys.executable, "-I", "-c", "pass")
        try:
            found = run(Box(command=command, inputs=inputs, data=data, outbox=outbox, limits=limits))
        except SandboxError as error:
            return f"{error.message} {error.next_step}"
    if found.ended is Ended.FINISHED:
        return None
    return f"Python cannot be started in a box: {found.diagnostics.strip()[-500:] or found.ended}"


def _lend(directory: Path) -> None:
    """Let the job's user read what root staged and closed to others: by its group, and the group's right to read."""
    for _, _, files, handle in os.fwalk(directory):
        if os.fstat(handle).st_mode & 0o005 != 0o005:
            os.fchown(handle, -1, JOB_USER)
            os.fchmod(handle, stat.S_IMODE(os.fstat(handle).st_mode) | 0o050)
        for name in files:
            found = os.stat(name, dir_fd=handle, follow_symlinks=False)
            if stat.S_ISREG(found.st_mode) and not found.st_mode & 0o004:
                os.chown(name, -1, JOB_USER, dir_fd=handle, follow_symlinks=False)
                os.chmod(name, stat.S_IMODE(found.st_mode) | 0o040, dir_fd=handle)


def _as_root() -> bool:
    return os.geteuid() == 0


def _check(box: Box) -> None:
    if not box.command:
        raise SandboxError("sandbox_order", "A box was ordered without a command.", "Name the program to run.")
    for directory in (box.inputs, box.data, box.outbox):
        if not directory.is_dir():
            raise SandboxError("sandbox_order", "A directory the box needs is not there.", "Make it before the run.")
        if any(directory.resolve().is_relative_to(root) for root in (*_runtime_roots(), Path("/usr"))):
            raise SandboxError(
                "sandbox_area_in_runtime",
                "The area lies inside a directory that every box can read.",
                "Move the area out of the Python environment and out of /usr.",
            )
    if any(box.outbox.iterdir()):
        raise SandboxError("sandbox_outbox_not_empty", "The outbox holds files already.", "Give each run its own.")


# What the box is made of ----------------------------------------------------------------------------------------------


@functools.cache
def _bubblewrap() -> str:
    """The distribution's first: AppArmor profiles name it by its path."""
    found = "/usr/bin/bwrap" if os.access("/usr/bin/bwrap", os.X_OK) else shutil.which("bwrap")
    if platform.system() != "Linux" or not found:
        raise SandboxError("sandbox_no_bubblewrap", "There is no bubblewrap here.", "Install the package bubblewrap.")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, env={}, timeout=_PATIENCE, check=False).stdout
    version = [int(part) for part in re.findall(r"\d+", said)[:2]]
    if version < [0, 8]:
        raise SandboxError("sandbox_old_bubblewrap", "bubblewrap is older than 0.8.", "Install a newer bubblewrap.")
    return found


def _runtime_roots() -> list[Path]:
    """Where Python lives, by the name it is called by and by its real one; nothing that /usr brings along."""
    named = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    roots = dict.fromkeys(root for name in named for root in (name, name.resolve()))
    for root in roots:
        if root in (Path("/"), Path("/home"), Path.home()):
            raise SandboxError(
                "sandbox_runtime_too_wide",
                "Python is installed where other things live too, and the box would see them.",
                "Run the secure side from a virtual environment in a directory of its own.",
            )
    return [root for root in roots if not root.is_relative_to("/usr")]


def _links_to_python(roots: list[Path]) -> Iterator[tuple[str, str]]:
    """The links between the environment's python and the real one that lie in no bound directory: (content, place)."""
    place = Path(sys.executable)
    while place.is_symlink():
        content = os.readlink(place)
        if not any(place.is_relative_to(root) for root in (*roots, Path("/usr"))):
            yield content, str(place)
        place = Path(os.path.normpath(place.parent / content))


class _Plan:
    """bubblewrap's arguments, and the binds that bring their sources where the job's user can reach them."""

    def __init__(self, box: Box, files: Mapping[str, int]) -> None:
        self.binds: list[tuple[str, str]] = []
        self.arguments = [*self._namespaces(files), *self._system(files), *self._runtime()]
        self.arguments += ["--ro-bind", self._near(box.inputs), "/in", "--ro-bind", self._near(box.data), "/data"]
        self.arguments += ["--bind", self._near(box.outbox), "/outbox", "--remount-ro", "/dev", "--remount-ro", "/"]
        for name, value in {**_environment(), **box.environment}.items():
            self.arguments += ["--setenv", name, value]
        self.arguments += ["--chdir", "/home/job"]

    def _near(self, source: Path) -> str:
        real = str(source.resolve())
        if not _as_root():
            return real
        self.binds.append((real, f"{_STAGE}/{len(self.binds)}"))
        return self.binds[-1][1]

    def _namespaces(self, files: Mapping[str, int]) -> list[str]:
        new = [f"--unshare-{kind}" for kind in ("user", "ipc", "pid", "net", "uts", "cgroup")]
        who = ["--uid", str(_INSIDE_USER), "--gid", str(_INSIDE_USER), "--hostname", "box"]
        alone = ["--disable-userns", "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"]
        return [*new, *who, *alone, "--seccomp", str(files["filter"]), "--json-status-fd", str(files["status"])]

    def _system(self, files: Mapping[str, int]) -> list[str]:
        arguments = ["--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                arguments += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
            elif os.path.isdir(f"/{name}"):
                arguments += ["--ro-bind", f"/{name}", f"/{name}"]
        arguments += ["--ro-bind-data", str(files["users"]), "/etc/passwd"]
        arguments += ["--ro-bind-data", str(files["groups"]), "/etc/group"]
        for name in ("ld.so.cache", "localtime", "fonts", "alternatives"):
            arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        arguments += ["--proc", "/proc", "--dev", "/dev"]
        for place, megabytes in (("/dev/shm", 256), ("/tmp", 512), ("/home/job", 128), ("/var", 1)):
            arguments += ["--size", str(megabytes << 20), "--tmpfs", place]
        return arguments

    def _runtime(self) -> list[str]:
        roots = _runtime_roots()
        arguments: list[str] = []
        for root in roots:
            arguments += ["--ro-bind", self._near(root), str(root)]
        for content, place in _links_to_python(roots):
            arguments += ["--symlink", content, place]
        for part in _DESK_PARTS:
            if (_PACKAGE / part).exists():
                arguments += ["--ro-bind", self._near(_PACKAGE / part), f"/opt/tre/lib/tre/{part}"]
        if any(_PACKAGE.is_relative_to(root) for root in (*roots, Path("/usr"))):
            for hidden in (_PACKAGE / part for part in _SECURE_PARTS if (_PACKAGE / part).is_dir()):
                arguments += ["--size", "4096", "--tmpfs", str(hidden), "--remount-ro", str(hidden)]
        return arguments


def _environment() -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": "/opt/tre/lib",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "HOME": "/home/job",
        "USER": "job",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": "/tmp/ipython",
        **{f"JUPYTER_{kind}_DIR": f"/tmp/jupyter/{kind.lower()}" for kind in ("CONFIG", "DATA", "RUNTIME")},
    }


# Control groups -------------------------------------------------------------------------------------------------------


class _Groups:
    """The control groups of one box, as far as this process may make them, in either version of the interface."""

    LEAF = "tre-supervisor"  # version 2 wants no process beside a group's children: with systemd, DelegateSubgroup=

    def __init__(self, limits: Limits) -> None:
        size = str(limits.memory_mb << 20)
        # The first file of each must be there, the others where the kernel has them.
        one = {"memory": {"memory.limit_in_bytes": size, "memory.memsw.limit_in_bytes": size}}
        two = {"memory": {"memory.max": size, "memory.swap.max": "0", "memory.oom.group": "1"}}
        self._name = f"tre-box-{os.getpid()}-{secrets.token_hex(4)}"
        self.paths: dict[str, Path] = {}  # by controller
        for controller in ("memory", "pids"):
            pids = {"pids.max": str(PROCESSES)}
            for home, table in ((_home_two(controller), two), (_home_one(controller), one)):
                if home and controller not in self.paths and self._made(home, table.get(controller, pids)):
                    self.paths[controller] = home / self._name

    def _made(self, home: Path, files: Mapping[str, str]) -> bool:
        group = home / self._name
        try:
            _sweep(home)
            group.mkdir(exist_ok=True)
            for place, (name, value) in enumerate(files.items()):
                if place == 0 or (group / name).exists():
                    (group / name).write_text(value)
            os.close(os.open(group / "cgroup.procs", os.O_WRONLY))
            return True
        except OSError:
            if group not in self.paths.values():
                _remove_if_empty(group)
            return False

    def memory_ran_out(self) -> bool:
        for name in ("memory.events", "memory.oom_control"):
            try:
                if re.search(r"^oom_kill [1-9]", (self.paths["memory"] / name).read_text(), re.MULTILINE):
                    return True
            except (KeyError, OSError):
                continue
        return False

    def remove(self) -> None:
        for group in set(self.paths.values()):
            until = time.monotonic() + _PATIENCE
            while group.exists() and time.monotonic() < until:
                for line in (group / "cgroup.procs").read_text().split():
                    _signal(int(line))
                _remove_if_empty(group)
                time.sleep(0.005 if group.exists() else 0)  # there is no event for the last process's leaving


def _sweep(home: Path) -> None:
    """Remove the empty groups of supervisors that were killed."""
    for old in home.glob("tre-box-*"):
        if not Path("/proc", old.name.split("-")[2]).exists():
            _remove_if_empty(old)


def _remove_if_empty(group: Path) -> None:
    try:
        group.rmdir()
    except OSError:
        return


def _mounted(kind: str, controller: str) -> Path | None:
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        left, right = line.split(" - ")
        found, _, options = right.split(" ", 2)
        if found == kind and (kind == "cgroup2" or controller in options.split(",")):
            return Path(left.split()[4])
    return None


def _own(mount: Path, controller: str) -> Path | None:
    for line in Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        if controller in controllers.split(",") and (mount / path.lstrip("/")).is_dir():
            return mount / path.lstrip("/")
    return None


def _home_one(controller: str) -> Path | None:
    mount = _mounted("cgroup", controller)
    return mount and _own(mount, controller)


def _home_two(controller: str) -> Path | None:
    """Our group if its children may have the controller, after we stepped into a leaf of it if we were alone there."""
    mount = _mounted("cgroup2", controller)
    own = mount and _own(mount, "")
    if own is None:
        return None
    home = own.parent if own.name == _Groups.LEAF else own
    try:
        if controller not in (home / "cgroup.controllers").read_text().split():
            return None
        switch = home / "cgroup.subtree_control"
        if controller not in switch.read_text().split():
            if (home / "cgroup.procs").read_text().split() == [str(os.getpid())]:
                (home / _Groups.LEAF).mkdir(exist_ok=True)
                (home / _Groups.LEAF / "cgroup.procs").write_text(str(os.getpid()))
            switch.write_text(f"+{controller}")
    except OSError:
        return None
    return home


# A box that runs ------------------------------------------------------------------------------------------------------


class _Running:
    """bubblewrap, the first process of its box, and the pipes from both."""

    def __init__(self, box: Box, groups: _Groups) -> None:
        self._groups = groups
        self._init: int | None = None  # a descriptor of the box's first process: with it dies all of the box
        self._status = b""
        self._tail = bytearray()
        self._select = selectors.DefaultSelector()
        self._status_pipe, status = os.pipe()
        try:
            self.process = self._start(box, status)
        except BaseException:
            os.close(self._status_pipe)
            raise
        finally:
            os.close(status)
        self._outer = os.pidfd_open(self.process.pid)
        assert self.process.stdout is not None
        self._output_pipe = self.process.stdout.fileno()
        for pipe in (self._status_pipe, self._output_pipe):
            os.set_blocking(pipe, False)
        for descriptor in (self._status_pipe, self._output_pipe, self._outer):
            self._select.register(descriptor, selectors.EVENT_READ)

    def _start(self, box: Box, status: int) -> subprocess.Popen[bytes]:
        users = f"job:x:{_INSIDE_USER}:{_INSIDE_USER}::/home/job:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
        with ExitStack() as memory:

            def held(content: bytes) -> int:
                file = memory.enter_context(open(os.memfd_create("box"), "r+b", buffering=0))
                file.write(content)
                file.seek(0)
                return file.fileno()

            files = {
                "status": status,
                "filter": held(seccomp.program()),
                "users": held(users.encode()),
                "groups": held(f"job:x:{_INSIDE_USER}:\nnogroup:x:65534:\n".encode()),
            }
            plan = _Plan(box, files)
            arguments = held(b"".join(argument.encode() + b"\0" for argument in plan.arguments))
            order = held(json.dumps(self._order(box, plan, arguments)).encode())
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), str(order)],
                env={},
                cwd="/",
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(*files.values(), arguments, order),
                start_new_session=True,  # an interrupt typed at the supervisor's terminal is for the supervisor
            )

    def _order(self, box: Box, plan: _Plan, arguments: int) -> dict[str, object]:
        return {
            "bubblewrap": _bubblewrap(),
            "arguments": ["--args", str(arguments), "--", *box.command],
            "binds": plan.binds,
            "groups": sorted({str(path) for path in self._groups.paths.values()}),
            "limits": self._limits(box.limits),
            "supervisor": os.getpid(),
            "user": JOB_USER,
        }

    def _limits(self, limits: Limits) -> dict[str, int]:
        size = limits.outbox_mb << 20
        found = {"RLIMIT_CORE": 0, "RLIMIT_NOFILE": 4096, "RLIMIT_FSIZE": size, "RLIMIT_CPU": limits.cpu_seconds}
        if "memory" not in self._groups.paths:
            found["RLIMIT_AS"] = max(limits.memory_mb, 2048) << 20  # with less, polars and pyarrow do not start
        if "pids" not in self._groups.paths and _as_root():
            # It counts all processes of a user, so only where the user is the boxes' own.
            found["RLIMIT_NPROC"] = PROCESSES
        return found

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
        if self._groups.memory_ran_out():
            notes.append(f"the memory limit of {limits.memory_mb} MB was reached")
        return self._outcome(ended, "; ".join(notes))

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
            "See that bubblewrap runs here and that user namespaces are allowed (`tre-admin isolation-report`).",
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
        until = time.monotonic() + _PATIENCE
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
                if not gone.select(_PATIENCE):
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
            assert self.process.stdout is not None
            self.process.stdout.close()
            for descriptor in (self._status_pipe, self._outer, self._init):
                if descriptor is not None:
                    os.close(descriptor)


def _parent(pid: int) -> int | None:
    try:
        found = re.search(r"^PPid:\s*(\d+)", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    except OSError:
        return None
    return int(found[1]) if found else None


def _signal(pid: int) -> None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return
