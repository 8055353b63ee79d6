"""Means: channels to other boxes and to whoever watches the machine. Those that are known to be open say why."""

from __future__ import annotations

import ctypes
import fcntl
import os

from .registry import Bait, attempt, table
from .system import call, need, read

ONE_KERNEL = "all boxes of a machine share its kernel, and /proc tells of it"
SHARED_FILE = "it is refused nowhere without breaking SQLite; one bit at a time, between boxes that share a dataset"


def _data(bait: Bait) -> int:
    return os.open(f"{bait.data}/rows.txt", os.O_RDONLY)


@attempt("signals by a lock on a shared dataset", quick=True)
def lock(bait: Bait) -> None:
    fcntl.flock(_data(bait), fcntl.LOCK_SH)


@attempt("watches others open a shared dataset", quick=True)
def watch(bait: Bait) -> None:
    call(bait.calls["inotify_init1"], 0)


@attempt("watches all files of a file system")
def watch_all(bait: Bait) -> None:
    call(bait.calls["fanotify_init"], 0x200, 0)


@attempt("leases a shared dataset, and is told who opens it")
def lease(bait: Bait) -> None:
    fcntl.fcntl(_data(bait), 1024, fcntl.F_RDLCK)


@attempt("asks to be told of changes in a shared directory")
def notify(bait: Bait) -> None:
    fcntl.fcntl(os.open(bait.data, os.O_RDONLY), 1026, 1)


@attempt("learns which parts of a shared dataset others have read")
def cache_statistics(bait: Bait) -> None:
    found = ctypes.create_string_buffer(40)
    call(bait.calls["cachestat"], _data(bait), ctypes.create_string_buffer(16), found, 0)


@attempt("signals by the time a shared dataset was last read")
def access_time(bait: Bait) -> None:
    handle = _data(bait)
    os.utime(handle, (2, 2))


@attempt("signals by a record lock on a shared dataset", open=SHARED_FILE)
def record_lock(bait: Bait) -> None:
    fcntl.lockf(_data(bait), fcntl.LOCK_SH)


@attempt("signals by a lock of an open file on a shared dataset", open=SHARED_FILE)
def open_file_lock(bait: Bait) -> None:
    lock_ = (ctypes.c_short * 16)(fcntl.F_RDLCK)
    call(bait.calls["fcntl"], _data(bait), 37, lock_)  # F_OFD_SETLK


@attempt("learns from the page cache whether a shared file was read", open="timing a read tells the same")
def page_cache(bait: Bait) -> None:
    handle = _data(bait)
    os.preadv(handle, [bytearray(1)], 0, 8)  # RWF_NOWAIT: refused for what is not in memory


table(
    lambda path, _: need(read(path)),
    [
        ("load", "reads the machine's load", "/proc/loadavg"),
        ("paging", "reads how the machine pages", "/proc/vmstat"),
        ("command_line", "reads the kernel's command line", "/proc/cmdline"),
        ("disks", "reads how busy the disks are", "/proc/diskstats"),
        ("soft_interrupts", "reads the counts of soft interrupts", "/proc/softirqs"),
        ("interrupts", "reads the counts of interrupts", "/proc/interrupts"),
        ("key_counts", "reads how many keys users hold", "/proc/key-users"),
        ("memory_in_use", "reads how much of the machine's memory is in use", "/proc/meminfo"),
        ("processor_times", "reads how long processors worked", "/proc/stat"),
        ("uptime", "reads since when the machine runs", "/proc/uptime"),
        ("open_file_count", "reads how many files are open", "/proc/sys/fs/file-nr"),
        ("terminal_count", "reads how many terminals there are", "/proc/sys/kernel/pty/nr"),
        ("inode_count", "reads how many inodes are in use", "/proc/sys/fs/inode-nr"),
    ],
    quick=("load",),
)
table(
    lambda path, _: need(read(path)),
    [
        ("boot_identity", "reads the identity of the machine's start", "/proc/sys/kernel/random/boot_id"),
        ("kernel_version", "reads the kernel's version", "/proc/version"),
        ("processor", "reads what processor it runs on", "/proc/cpuinfo"),
    ],
    open=ONE_KERNEL,
)


@attempt("learns from its mounts where its directories lie outside", open="names there are made to say nothing")
def mount_sources(bait: Bait) -> None:
    need(os.path.basename(bait.area).encode() in read("/proc/self/mountinfo"))


@attempt("learns how full the host's disk is", open="the outbox lies on it")
def disk_in_use(bait: Bait) -> None:
    need(os.statvfs(bait.outbox).f_blocks > os.statvfs(bait.outbox).f_bfree)
