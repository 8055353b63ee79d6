"""A process that has loaded what notebooks mostly import, and is forked for each block: a block then starts in a moment.

    python -m tre.desk.zygote FD PACKAGE…     started by the secure side (jobs.zygote), which sends orders through FD, a socket

Guarantees: it is given nothing but names of packages and boxes to enter: no rows, no notebook, no result of a block reaches this process, and it
hears of no block's end, so that no fork of it differs by what was in another. A fork gives up all that is not its box's before the first line of a notebook: it joins
the box's control groups and namespaces, closes every other file, drops every capability, sets the box's limits, and takes
the box's system-call filter; where one of these fails, or where it would share memory that it can write, it ends, and nothing has run.
What forks do share is this process's memory as it was before (libraries, and where they lie), which they can read.
Numbers: <linux/sched.h>, <linux/prctl.h>, <linux/capability.h>.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import resource
import runpy
import signal
import socket
import struct
import sys
from pathlib import Path
from typing import Any, NoReturn

# What is loaded for every notebook, and what for those that mention its package; left out where it is not installed.
ALWAYS = (
    "numpy", "pandas", "pyarrow.parquet", "papermill.execute", "ipykernel.ipkernel", "ipykernel.kernelapp",
    "ipykernel.debugger", "IPython.core.debugger", "IPython.core.completerlib", "IPython.core.oinspect",
    "IPython.extensions.storemagic", "tornado.platform.asyncio", "sqlite3",
    "tre", "tre.desk.block", "tre.desk.dataset", "tre.desk.estimate", "tre.desk.kernel", "tre.desk.output",
)  # fmt: skip
MENTIONED = (
    "matplotlib.pyplot", "scipy.stats", "scipy.optimize", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics",
    "sklearn.model_selection", "sklearn.pipeline", "sklearn.preprocessing", "statsmodels.api", "statsmodels.formula.api",
    "lifelines",
)  # fmt: skip
READY = b"ready"
FAILED = 126
INSIDE = "/opt/tre/lib/tre"
# Of an order, in this order; then the control groups.
DESCRIPTORS = ("box", "report", "output", "filter")
_NAMESPACES = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
_DUMPABLE, _SECCOMP, _CAPBSET_READ, _CAPBSET_DROP, _NO_NEW_PRIVS = 4, 22, 23, 24, 38
_CAPABILITIES = 0x20080522  # of the third version

_libc = ctypes.CDLL(None, use_errno=True)


def main() -> int:
    orders = socket.socket(fileno=int(sys.argv[1]))
    _load(sys.argv[2:])
    gc.collect()
    gc.freeze()  # a fork's first collection then copies nothing
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # the kernel takes them away, and tells nobody
    orders.send(READY)
    while True:
        content, descriptors, _, _ = socket.recv_fds(orders, 1 << 16, 16)
        if not content:
            return 0
        if os.fork() == 0:
            _fork(orders, content, descriptors)
        for descriptor in descriptors:
            os.close(descriptor)


def _load(packages: list[str]) -> None:
    for name in (*ALWAYS, *(m for m in MENTIONED if m.partition(".")[0] in packages)):
        with contextlib.suppress(ImportError):
            __import__(name)
    from tre.desk.kernel import get_ready

    get_ready()


def _shared() -> list[str]:
    """Memory that this fork shares with every other, to be written by one and read by all."""
    kinds = [line.split()[1] for line in Path("/proc/self/maps").read_text().splitlines()]
    return [kind for kind in kinds if kind[1] == "w" and kind[3] == "s"]


def _fork(orders: socket.socket, content: bytes, descriptors: list[int]) -> NoReturn:
    """Into the box, and there into a second fork, as only such a one is of the box's process namespace."""
    try:
        order = json.loads(content)
        held = dict(zip(DESCRIPTORS, descriptors, strict=False))
        orders.close()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for group in descriptors[len(DESCRIPTORS) :]:
            os.write(group, b"0")
        _checked(_libc.setns(held["box"], _NAMESPACES))
        inner = os.fork()
        if inner == 0:
            _inside(order, held)
        os.closerange(0, held["report"])
        os.closerange(held["report"] + 1, 1 << 16)
        code = os.waitstatus_to_exitcode(os.waitpid(inner, 0)[1])
        os.write(held["report"], b"%d\n" % (code if code >= 0 else 128 - code))
    finally:
        os._exit(FAILED)


def _inside(order: dict[str, Any], held: dict[str, int]) -> NoReturn:
    code = FAILED
    try:
        os.setsid()
        calls = os.read(held["filter"], 1 << 16)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(held["output"], 1)
        os.dup2(held["output"], 2)
        os.closerange(3, 1 << 16)
        os.chdir(order["folder"])
        for name, value in order["limits"].items():
            _limit(getattr(resource, name), value)
        if shared := _shared():
            raise MemoryError(f"forks would share {len(shared)} pieces of memory")
        os.environ.clear()
        os.environ.update(order["environment"])
        _give_up()
        _take(calls)
        code = _run(order["command"])
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _run(command: list[str]) -> int:
    """As `python OPTIONS -m MODULE …` or `-c CODE …` would, here."""
    place = next(i for i, word in enumerate(command) if word in ("-m", "-c"))
    what, sys.argv = command[place + 1], [command[place], *command[place + 2 :]]
    _move_in()
    if command[place] == "-m":
        runpy.run_module(what, run_name="__main__", alter_sys=True)
    else:
        exec(compile(what, "<string>", "exec"), {"__name__": "__main__"})  # noqa: S102  # our own words, by the order
    return 0


def _move_in() -> None:
    """Modules that are loaded later are the box's."""
    for name, module in list(sys.modules.items()):
        if name.partition(".")[0] == "tre" and (places := getattr(module, "__path__", None)) is not None:
            places[:] = ["/".join((INSIDE, *name.split(".")[1:]))]
    sys.path_importer_cache.clear()


def _give_up() -> None:
    """Every capability, and any that a program could bring."""
    for capability in range(64):
        if _libc.prctl(_CAPBSET_READ, ctypes.c_ulong(capability), 0, 0, 0) < 0:
            break
        _checked(_libc.prctl(_CAPBSET_DROP, ctypes.c_ulong(capability), 0, 0, 0))
    _checked(_libc.capset(struct.pack("=Ii", _CAPABILITIES, 0), bytes(24)))
    _checked(_libc.prctl(_NO_NEW_PRIVS, ctypes.c_ulong(1), 0, 0, 0))
    # As after the start of a program: a process of the box sees its own, and others of the box.
    _checked(_libc.prctl(_DUMPABLE, ctypes.c_ulong(1), 0, 0, 0))


def _take(calls: bytes) -> None:
    held = ctypes.create_string_buffer(calls, len(calls))
    program = ctypes.create_string_buffer(struct.pack("HxxxxxxQ", len(calls) // 8, ctypes.addressof(held)))
    _checked(_libc.prctl(_SECCOMP, ctypes.c_ulong(2), ctypes.c_ulong(ctypes.addressof(program)), 0, 0))


def _limit(kind: int, value: int) -> None:
    hard = resource.getrlimit(kind)[1]
    value = value if hard == resource.RLIM_INFINITY else min(value, hard)
    resource.setrlimit(kind, (value, value))


def _checked(result: int) -> None:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


if __name__ == "__main__":
    sys.exit(main())
