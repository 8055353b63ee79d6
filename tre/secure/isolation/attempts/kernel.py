"""Rising by the kernel's wider doors: calls that the filter refuses, and files of /proc and /sys that change the machine."""

from __future__ import annotations

import ctypes
import os

from .registry import Bait, Control, attempt, table
from .system import answered, call, libc, need, openable, read

BUFFER = 512


def _refused(name: str, arguments: tuple[object, ...], bait: Bait) -> None:
    """The call gets to the kernel, whatever that answers to these empty arguments."""
    answered(bait.calls[name], *(ctypes.create_string_buffer(BUFFER) if a is None else a for a in arguments))


table(
    _refused,
    [
        ("io_uring", "makes an io_uring, whose work passes the filter by", "io_uring_setup", (4, None)),
        ("io_uring_enter", "works with an io_uring", "io_uring_enter", (-1, 0, 0, 0, 0, 0)),
        ("io_uring_register", "registers buffers with an io_uring", "io_uring_register", (-1, 0, 0, 0)),
        ("bpf", "loads a program into the kernel", "bpf", (0, None, 0)),
        ("user_fault", "handles page faults of the kernel's own accesses", "userfaultfd", (1,)),
        ("performance", "opens the processor's performance counters", "perf_event_open", (None, 0, -1, -1, 0)),
        ("secret_memory", "makes memory that the kernel cannot see", "memfd_secret", (0,)),
        ("local_table", "changes the processor's local descriptor table", "modify_ldt", (0, None, BUFFER)),
        ("pages_gifted", "gives pages of its memory to a pipe", "vmsplice", (-1, 0, 0, 0)),
        ("pages_moved", "moves pages between nodes", "move_pages", (0, 0, 0, 0, 0, 0)),
        ("quota", "asks for disk quotas", "quotactl", (0, 0, 0, 0)),
        ("quota_by_file", "asks for disk quotas by a file", "quotactl_fd", (-1, 0, 0, 0)),
        ("clock_tuned", "asks how the clock is tuned", "adjtimex", (None,)),
        ("clock_adjusted", "tunes a clock", "clock_adjtime", (0, None)),
        ("attributes_by_file", "changes attributes of a file by the newer call", "file_setattr", (-1, 0, 0, 0, 0)),
        ("semaphore_waited", "waits for a System V semaphore", "semop", (0, 0, 0)),
        ("watch_added", "adds a watch on a file", "inotify_add_watch", (-1, b"/usr", 1)),
        ("watch_removed", "takes a watch away", "inotify_rm_watch", (-1, 1)),
        ("file_events_marked", "marks files whose events it wants", "fanotify_mark", (-1, 1, 1, -1, 0)),
    ],
    quick=("io_uring", "user_fault"),
)
table(
    _refused,
    [
        ("kernel_replaced", "loads another kernel", "kexec_load", (0, 0, 0, 1 << 62)),
        ("module_loaded", "loads a kernel module", "finit_module", (-1, b"", 0)),
        ("swap_added", "adds swap space", "swapon", (b"/nonexistent", 0)),
        ("accounting", "switches process accounting", "acct", (b"/nonexistent/file",)),
        ("time_set", "sets the time of day", "settimeofday", (0, 0)),
        ("clock_set", "sets a clock", "clock_settime", (99, 0)),
        ("kernel_log", "reads the kernel's log", "syslog", (10, 0, 0)),
        ("restarted", "restarts the machine (with a wrong password)", "reboot", (0, 0, 0, 0)),
        ("all_ports", "asks for all of the processor's ports", "iopl", (0,)),
    ],
    control=Control.NAMESPACE,
)


def _opens(path: str, flags: int, _: Bait) -> None:
    openable(path, flags)


table(
    _opens,
    [
        ("sysrq", "opens the machine's emergency switch", "/proc/sysrq-trigger", os.O_WRONLY),
        ("kernel_memory", "opens the kernel's memory", "/proc/kcore", os.O_RDONLY),
        ("module_path", "opens the path of the program that loads modules", "/proc/sys/kernel/modprobe", os.O_WRONLY),
        ("overcommit", "opens how memory is promised, for writing", "/proc/sys/vm/overcommit_memory", os.O_WRONLY),
        ("interrupts_moved", "opens where interrupts go, for writing", "/proc/irq/default_smp_affinity", os.O_WRONLY),
        ("power", "opens the machine's power switch", "/sys/power/state", os.O_WRONLY),
    ],
    quick=("sysrq",),
)


@attempt("reads the memory use of the host's control groups")
def groups_read(_: Bait) -> None:
    for path in ("/sys/fs/cgroup/memory/memory.usage_in_bytes", "/sys/fs/cgroup/cgroup.stat"):
        try:
            need(read(path))
            return
        except OSError:
            continue
    need(False)


@attempt("leaves the filter by starting a program")
def filter_left(_: Bait) -> None:
    child = os.fork()
    if child == 0:
        os.execv("/bin/sh", ["sh", "-c", "grep -q '^Seccomp:.*0$' /proc/self/status"])
    need(os.waitpid(child, 0)[1] == 0)


@attempt("puts a filter of its own over the first, to allow what that refuses")
def filter_replaced(bait: Bait) -> None:
    code = ctypes.create_string_buffer((0x06).to_bytes(2, "little") + b"\0\0" + (0x7FFF0000).to_bytes(4, "little"), 8)
    program = (ctypes.c_ulong * 2)(1, ctypes.addressof(code))
    call(bait.calls["prctl"], 38, 1, 0, 0, 0)
    call(bait.calls["prctl"], 22, 2, ctypes.addressof(program), 0, 0)
    need(libc.unshare(0x10000000) == 0)
