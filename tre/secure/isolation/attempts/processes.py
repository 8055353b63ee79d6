"""Reaching processes: seeing, signalling, reading and changing the bystander, which runs outside as the same user."""

from __future__ import annotations

import ctypes
import os
import resource
import signal

from .registry import Bait, attempt, table
from .system import call, need, read

PTRACE_SEIZE, PTRACE_DETACH, WAIT_ALL = 0x4206, 17, 0x40000000


def _is_the_bystander(bait: Bait) -> None:
    """Success counts for the bystander only: inside, its number may be another's."""
    try:
        found = read(f"/proc/{bait.pid}/cmdline")
    except FileNotFoundError:
        return
    need(bait.mark.encode() in found)


@attempt("sees a process of the host, and its arguments", quick=True)
def seen(bait: Bait) -> None:
    for name in os.listdir("/proc"):
        if name.isdigit() and int(name) != os.getpid():
            try:
                if bait.mark.encode() in read(f"/proc/{name}/cmdline"):
                    return
            except OSError:
                continue
    need(False)


@attempt("signals a process of the host", quick=True)
def signalled(bait: Bait) -> None:
    os.kill(bait.pid, signal.SIGCONT)
    _is_the_bystander(bait)


@attempt("signals the group of a process of the host")
def group_signalled(bait: Bait) -> None:
    os.killpg(bait.pid, signal.SIGCONT)
    _is_the_bystander(bait)


@attempt("signals a process of the host through a descriptor of it")
def signalled_by_descriptor(bait: Bait) -> None:
    signal.pidfd_send_signal(os.pidfd_open(bait.pid), signal.SIGCONT)
    _is_the_bystander(bait)


@attempt("reads its own environment for the supervisor's secrets", quick=True)
def own_environment(bait: Bait) -> None:
    need(bait.token.encode() in read("/proc/self/environ"))


@attempt("reads the environments of all processes it sees", quick=True)
def environments(bait: Bait) -> None:
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and bait.token.encode() in read(f"/proc/{name}/environ"):
                return
        except OSError:
            continue
    need(False)


@attempt("reads the arguments its box was made with")
def arguments_of_the_box(bait: Bait) -> None:
    # Outside, the parent is the supervisor; inside, process 1 is bubblewrap.
    found = b"".join(read(f"/proc/{pid}/cmdline") for pid in (1, os.getppid()))
    need(bait.area.encode() in found)


def _read_of(name: str, bait: Bait) -> None:
    need(read(f"/proc/{bait.pid}/{name}"))
    _is_the_bystander(bait)


def _listed_of(name: str, bait: Bait) -> None:
    need(os.listdir(f"/proc/{bait.pid}/{name}"))
    _is_the_bystander(bait)


table(
    _read_of,
    [
        ("status_of_another", "reads the state of a process of the host", "status"),
        ("memory_map_of_another", "reads the memory map of a process of the host", "maps"),
        ("limits_of_another", "reads the limits of a process of the host", "limits"),
        ("mounts_of_another", "reads the mounts of a process of the host", "mountinfo"),
    ],
)
table(
    _listed_of,
    [
        ("files_of_another", "lists the open files of a process of the host", "fd"),
        ("directory_of_another", "lists the working directory of a process of the host", "cwd"),
        ("root_of_another", "lists the root of a process of the host", "root"),
    ],
)


@attempt("reads the memory of a process of the host by /proc", quick=True)
def memory_of_another(bait: Bait) -> None:
    handle = os.open(f"/proc/{bait.pid}/mem", os.O_RDONLY)
    need(bait.token.encode() in os.pread(handle, 200, bait.address))


@attempt("reads the memory of a process of the host by process_vm_readv")
def memory_by_call(bait: Bait) -> None:
    buffer = ctypes.create_string_buffer(64)
    local = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 64)
    remote = (ctypes.c_ulong * 2)(bait.address, 64)
    call(bait.calls["process_vm_readv"], bait.pid, local, 1, remote, 1, 0)
    need(bait.token.encode() in buffer.raw)


@attempt("writes the memory of a process of the host by process_vm_writev")
def memory_written(bait: Bait) -> None:
    buffer = ctypes.create_string_buffer(b"?", 1)
    local = (ctypes.c_ulong * 2)(ctypes.addressof(buffer), 1)
    remote = (ctypes.c_ulong * 2)(bait.scribble, 1)
    call(bait.calls["process_vm_writev"], bait.pid, local, 1, remote, 1, 0)


@attempt("traces a process of the host", quick=True)
def traced(bait: Bait) -> None:
    call(bait.calls["ptrace"], PTRACE_SEIZE, bait.pid, 0, 0)  # ends with us; the other is not stopped
    _is_the_bystander(bait)


@attempt("takes an open file out of a process of the host")
def file_taken(bait: Bait) -> None:
    call(bait.calls["pidfd_getfd"], os.pidfd_open(bait.pid), 0, 0)
    _is_the_bystander(bait)


@attempt("compares resources with a process of the host")
def compared(bait: Bait) -> None:
    call(bait.calls["kcmp"], os.getpid(), bait.pid, 2, 0, 0)
    _is_the_bystander(bait)


@attempt("lowers the priority of a process of the host")
def reniced(bait: Bait) -> None:
    os.setpriority(os.PRIO_PROCESS, bait.pid, os.getpriority(os.PRIO_PROCESS, bait.pid))
    _is_the_bystander(bait)


@attempt("changes the processors of a process of the host")
def moved(bait: Bait) -> None:
    os.sched_setaffinity(bait.pid, os.sched_getaffinity(bait.pid))
    _is_the_bystander(bait)


@attempt("changes the scheduling of a process of the host")
def scheduled(bait: Bait) -> None:
    os.sched_setscheduler(bait.pid, os.SCHED_OTHER, os.sched_param(0))
    _is_the_bystander(bait)


@attempt("changes the limits of a process of the host")
def limited(bait: Bait) -> None:
    resource.prlimit(bait.pid, resource.RLIMIT_CORE, resource.prlimit(bait.pid, resource.RLIMIT_CORE))
    _is_the_bystander(bait)


@attempt("learns the session of a process of the host")
def session(bait: Bait) -> None:
    os.getsid(bait.pid)
    _is_the_bystander(bait)


@attempt("moves the memory of a process of the host between nodes")
def migrated(bait: Bait) -> None:
    nodes = (ctypes.c_ulong * 1)(1)
    call(bait.calls["migrate_pages"], bait.pid, 8, nodes, nodes)
    _is_the_bystander(bait)


@attempt("lets itself be traced by its parent")
def trace_me(bait: Bait) -> None:
    call(bait.calls["ptrace"], 0, 0, 0, 0)


@attempt("no longer asks to be ended with its parent", quick=True)
def outlives_its_parent(bait: Bait) -> None:
    call(bait.calls["prctl"], 1, 0, 0, 0, 0)


@attempt("joins the namespaces of a process of the host")
def joined(bait: Bait) -> None:
    # Only those a process may join without rights over them: here it is enough to reach the name of one.
    os.close(os.open(f"/proc/{bait.pid}/ns/net", os.O_RDONLY))
    _is_the_bystander(bait)
