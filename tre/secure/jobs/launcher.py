"""The last step before the box: a script of its own that turns, in the same process, into bubblewrap.

Run as `python -I -S launcher.py FD`; the descriptor holds its order, a JSON object written by `running.py`. It takes
these steps:
1. join the control groups made for this box;
2. if started as root: in a mount namespace of its own, bind each thing the box needs under /mnt, where the job's user
   can reach it even below directories that are closed to all but root (or, for a zygote, step into the mount namespace
   of a box that has all of it); then become the job's user, without any other group;
3. set the resource limits, ask to be killed when the supervisor dies, and look whether it is still there;
4. replace itself by bubblewrap, with an empty environment and its arguments in a descriptor, where no process list
   shows them (or by the zygote's Python, with the environment that a box has).

Guaranteed: bubblewrap is never started as root. A box whose user is root outside could write under /proc/sys and
leave set-uid files of root (measured; bubblewrap calls that its caller's problem). There is no process between
supervisor and bubblewrap, so `--die-with-parent` means the supervisor.
Not done here: any choice. It imports the standard library alone, as `-S` leaves it nothing else.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from typing import Any, NoReturn

FAILED = 126
STAGE = "/mnt"  # there by the file-system hierarchy standard, and hidden only in our own mount namespace

_CLONE_NEWNS = 0x00020000
_MS_NOSUID, _MS_NODEV, _MS_BIND, _MS_REC, _MS_PRIVATE = 0x2, 0x4, 0x1000, 0x4000, 0x40000
_PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> NoReturn:
    order = _order(int(sys.argv[1]))
    for group in order["groups"]:
        _join(group)
    if os.geteuid() == 0:
        if order["within"] is None:
            _bring_near(order["binds"])
        else:
            _step_into(order["within"])
        _become(order["user"])
    for name, value in order["limits"].items():
        _limit(getattr(resource, name), value)
    # After the change of user, which clears it.
    _checked(_libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0), "prctl")
    if os.getppid() != order["supervisor"]:
        _stop("the supervisor is gone")
    if 0 in os.getresuid():
        _stop("still root after the change of user")
    os.execve(order["program"], [order["program"], *order["arguments"]], order["environment"])


def _order(descriptor: int) -> dict[str, Any]:
    with open(descriptor, "rb") as stream:
        found: dict[str, Any] = json.load(stream)
    return found


def _join(group: str) -> None:
    with open(os.path.join(group, "cgroup.procs"), "w") as stream:
        stream.write(str(os.getpid()))


def _bring_near(binds: list[list[str]]) -> None:
    """Each [source, target] bound, targets being names under STAGE, seen by this process alone."""
    _checked(_libc.unshare(_CLONE_NEWNS), "unshare")
    _mount(None, "/", None, _MS_REC | _MS_PRIVATE)
    # Opened before STAGE is covered, as a source may lie below it.
    sources = [(os.open(source, os.O_PATH), target) for source, target in binds]
    _mount("tmpfs", STAGE, "tmpfs", _MS_NOSUID | _MS_NODEV, "size=1m,mode=0755")
    for descriptor, target in sources:
        here = f"/proc/self/fd/{descriptor}"
        if os.path.isdir(here):
            os.mkdir(target, 0o755)
        else:
            os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
        _mount(here, target, None, _MS_BIND | _MS_REC)
        os.close(descriptor)


def _step_into(mounts: int) -> None:
    """The mount namespace that this descriptor names."""
    _checked(_libc.setns(mounts, _CLONE_NEWNS), "setns")
    os.close(mounts)


def _become(user: int) -> None:
    os.setgroups([])
    os.setresgid(user, user, user)
    os.setresuid(user, user, user)


def _limit(kind: int, value: int) -> None:
    """Never more than we ourselves may have: an ordinary user cannot raise a hard limit."""
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind)]
    data = None if options is None else options.encode()
    _checked(_libc.mount(*texts, ctypes.c_ulong(flags), data), f"mount on {target}")


def _checked(result: int, what: str) -> None:
    if result != 0:
        _stop(f"{what}: {os.strerror(ctypes.get_errno())}")


def _stop(why: str) -> NoReturn:
    sys.stderr.write(f"launcher: {why}\n")
    sys.stderr.flush()
    os._exit(FAILED)


if __name__ == "__main__":
    try:
        main()
    except OSError as error:
        _stop(f"{error.strerror}: {error.filename or ''}")
