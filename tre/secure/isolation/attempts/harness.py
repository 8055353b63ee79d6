"""Makes attempts, each in a child of its own, and writes down how each ended: in a box, or outside as the control arm.

Guaranteed: one line a finished attempt, holding its name, one of three words and a name of the system for how it was
stopped; never anything that an attempt read. An attempt that fails by its own fault counts as `broken`, which is not
stopped. Uses the standard library alone: in a box there is no `tre.secure`.
"""

from __future__ import annotations

import errno
import json
import os
import signal
import sys
from types import SimpleNamespace

from . import ATTEMPTS, Control
from .system import Stopped, become, become_root_of_a_namespace

SECONDS = 10
REACHED, STOPPED, BROKEN = "reached", "stopped", "broken"
# Other faults are the attempt's own, and prove nothing.
STOPS = (OSError, Stopped, MemoryError)


def main(order_file: str) -> None:
    with open(order_file) as stream:
        order = json.load(stream)
    results = os.open(order["results"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    if order["become"] is not None:
        become(order["become"])
    # A box without mounts is told by its environment where its own directories are.
    found = {k: os.environ[v[1:]] if isinstance(v, str) and v[:1] == "$" else v for k, v in order["bait"].items()}
    bait = SimpleNamespace(**found, harness=os.getpid())
    for name in order["attempts"]:
        how, why = _made(name, bait)
        os.write(results, f"{json.dumps([name, how, why])}\n".encode())


def _made(name: str, bait: SimpleNamespace) -> tuple[str, str]:
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(read)
        _child(name, bait, write)
    os.close(write)
    with open(read, "rb") as said:
        _, status = os.waitpid(child, 0)
        words = _said(said.fileno())
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return (words[0], words[1]) if len(words) == 2 else (BROKEN, "SilentEnd")
    killer = signal.Signals(-code).name
    return (STOPPED if killer in ("SIGSYS", "SIGKILL", "SIGXFSZ", "SIGXCPU") else BROKEN), killer


def _said(pipe: int) -> list[str]:
    os.set_blocking(pipe, False)  # a grandchild may hold the other end
    try:
        return os.read(pipe, 200).decode().split()
    except BlockingIOError:
        return []


def _child(name: str, bait: SimpleNamespace, pipe: int) -> None:
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # told as EFBIG
    signal.alarm(SECONDS)
    found = (REACHED, "-")
    try:
        if bait.outside and ATTEMPTS[name].control is Control.NAMESPACE:
            become_root_of_a_namespace()
        ATTEMPTS[name].run(bait)
    except STOPS as error:
        code = error.errno if isinstance(error, OSError) else None
        found = (STOPPED, errno.errorcode.get(code or 0, type(error).__name__))
    except RuntimeError as error:  # how Python tells that no thread can be started
        found = (STOPPED if "thread" in str(error) else BROKEN, "RuntimeError")
    except BaseException as error:  # told by its type alone
        found = (BROKEN, type(error).__name__)
    os.write(pipe, " ".join(found).encode())
    os._exit(0)


if __name__ == "__main__":
    main(sys.argv[1])
