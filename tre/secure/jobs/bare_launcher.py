"""The minder of a box without namespaces: a script of its own that starts the job below itself and ends all of it.

Run as `python -I -S bare_launcher.py FD`; the descriptor holds its order, a JSON object written by `bare.py`. Its steps:
1. join the control groups made for this box, become the job's user if started as root, set the limits;
2. ask to be told when the supervisor dies, and become the one that orphans of the job come back to;
3. start the job: in it, where the order has a filter, first Landlock and then the filter, and an empty environment;
4. wait until it ends, or until told to end it; then kill whatever is left below, until nothing is;
5. say on the status pipe how the job ended, and end.

Guaranteed: never a job as root; nothing that the minder started is left when it ends by itself.
Not guaranteed: that it does, where the job may signal it (`none`; `reduced` before Landlock's sixth version).
It imports the standard library alone, as `-S` leaves it nothing else. Numbers: <linux/landlock.h>, <linux/prctl.h>.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import shutil
import signal
import struct
import sys
import time
from typing import Any, NoReturn

FAILED = 126
OLDEST_LANDLOCK = 1

_libc = ctypes.CDLL(None, use_errno=True)
_PDEATHSIG, _DUMPABLE, _SECCOMP, _SUBREAPER, _NO_NEW_PRIVS = 1, 4, 22, 36, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1, 2, 4, 8
_MAKE_CHAR, _MAKE_SOCK, _MAKE_FIFO, _MAKE_BLOCK, _MAKE_SYM = 1 << 6, 1 << 9, 1 << 10, 1 << 11, 1 << 12
_REFER, _TRUNCATE, _IOCTL_DEVICE = 1 << 13, 1 << 14, 1 << 15
_told: list[int] = []


def main() -> NoReturn:
    order = _order(int(sys.argv[1]))
    for group in order["groups"]:
        with open(os.path.join(group, "cgroup.procs"), "w") as stream:
            stream.write(str(os.getpid()))
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(order["user"], order["user"], order["user"])
        os.setresuid(order["user"], order["user"], order["user"])
    if 0 in os.getresuid():
        _stop("still root after the change of user")
    for name, value in order["limits"].items():
        _limit(getattr(resource, name), value)
    signal.signal(signal.SIGTERM, lambda number, _: _told.append(number))
    _prctl(_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != order["supervisor"]:
        _stop("the supervisor is gone")
    _prctl(_SUBREAPER, 1)
    _watch(order)


def _order(descriptor: int) -> dict[str, Any]:
    with open(descriptor, "rb") as stream:
        found: dict[str, Any] = json.load(stream)
    return found


def _watch(order: dict[str, Any]) -> NoReturn:
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])  # kept until it is waited for
    failed, said = os.pipe()  # closed by the job's start, or written to when that fails
    job = os.fork()
    if job == 0:
        os.close(failed)
        _job(order, said)
    os.close(said)
    _prctl(_DUMPABLE, 0)
    with open(failed, "rb") as stream:
        started = not stream.read(1)
    code = None
    while not _told and code is None:
        pid, status = os.waitpid(-1, os.WNOHANG)
        if pid == job:
            code = os.waitstatus_to_exitcode(status)
        elif pid == 0:
            signal.sigtimedwait(
                [signal.SIGCHLD], 0.05
            )  # to be told to end, which comes by a handler, costs one such wait
    _end_all()
    shutil.rmtree(order["own"], ignore_errors=True)  # the supervisor may be gone
    if started and code is not None:
        os.write(order["status"], json.dumps({"exit-code": code if code >= 0 else 128 - code}).encode())
    os._exit(0)


def _job(order: dict[str, Any], said: int) -> NoReturn:
    try:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, [])
        _prctl(_PDEATHSIG, signal.SIGKILL)
        os.setsid()
        os.chdir(order["home"])
        os.close(order["status"])
        _prctl(_NO_NEW_PRIVS, 1)
        if order["filter"] is not None:
            _landlock(order)
            _filter(order["filter"])
        os.execve(order["command"][0], order["command"], order["environment"])
    except OSError as error:
        os.write(2, f"launcher: {error.strerror}: {error.filename or ''}\n".encode())
    os.write(said, b"!")
    os._exit(FAILED)


def _landlock(order: dict[str, Any]) -> None:
    version = int(_libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1))
    if version < OLDEST_LANDLOCK:
        raise OSError(0, "this kernel has no Landlock")
    handled = (
        (1 << 13) - 1 | _only(version, 2, _REFER) | _only(version, 3, _TRUNCATE) | _only(version, 5, _IOCTL_DEVICE)
    )
    attributes = struct.pack("=QQQ", handled, _only(version, 4, 3), _only(version, 6, 3))
    size = 8 if version < 4 else 16 if version < 6 else 24
    rules = _checked(_libc.syscall(_CREATE_RULESET, attributes[:size], ctypes.c_size_t(size), 0))
    reading, files = _EXECUTE | _READ_FILE | _READ_DIR, _EXECUTE | _READ_FILE | _WRITE_FILE | handled & _TRUNCATE
    odd = _MAKE_CHAR | _MAKE_BLOCK
    links = _MAKE_SOCK | _MAKE_FIFO | _MAKE_SYM
    for places, rights in (
        (order["read"], reading),
        (order["devices"], _READ_FILE | _WRITE_FILE),
        ([order["outbox"]], handled & ~(odd | links | _EXECUTE | _IOCTL_DEVICE)),
        ([order["own"]], handled & ~odd),
    ):
        for place in places:
            _allow(rules, place, rights, files)
    _checked(_libc.syscall(_RESTRICT_SELF, rules, 0))
    os.close(rules)


def _allow(rules: int, place: str, rights: int, files: int) -> None:
    try:
        handle = os.open(place, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return  # not on this machine, or closed to this user: not allowed either
    allowed = rights if os.path.isdir(place) else rights & files
    if allowed:
        _checked(_libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", allowed, handle), 0))
    os.close(handle)


def _filter(descriptor: int) -> None:
    with open(descriptor, "rb") as stream:
        code = stream.read()
    held = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("HxxxxxxQ", len(code) // 8, ctypes.addressof(held))
    passed = ctypes.create_string_buffer(program, len(program))
    _prctl(_SECCOMP, 2, ctypes.addressof(passed))


def _end_all() -> None:
    """Kill what is below, again and again: what is forked meanwhile is found the next time."""
    while below := _below(os.getpid()):
        for pid in below:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            continue
        time.sleep(0.002)


def _below(minder: int) -> list[int]:
    """All descendants: orphans among them are children of ours again."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat", "rb") as stream:
                    fields = stream.read().rpartition(b")")[2].split()
            except OSError:
                continue
            parents.setdefault(int(fields[1]), []).append(int(name))
    found, look = [], [minder]
    while look:
        children = parents.get(look.pop(), [])
        found += children
        look += children
    return found


def _only(version: int, since: int, rights: int) -> int:
    return rights if version >= since else 0


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _prctl(option: int, value: int, more: int = 0) -> None:
    _checked(_libc.prctl(option, ctypes.c_ulong(value), ctypes.c_ulong(more), 0, 0))


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return int(result)


def _stop(why: str) -> NoReturn:
    sys.stderr.write(f"launcher: {why}\n")
    sys.stderr.flush()
    os._exit(FAILED)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        _stop(f"{error.strerror}: {error.filename or ''}")
