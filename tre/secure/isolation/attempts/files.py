"""Reaching files: the area's secrets by every way round, what the box was given to read, and the system itself."""

from __future__ import annotations

import ctypes
import mmap
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing

from .registry import Bait, Judge, attempt, table
from .system import Stopped, libc, need, openable, read, write

# Reading what was not given


def _secret(name: str, bait: Bait) -> None:
    need(bait.token.encode() in read(f"{bait.area}/{name}"))


table(
    _secret,
    [
        ("area_secret", "reads a secret of the area", "secret"),
        ("area_key", "reads the key that receipts are signed with", "keys/receipt.key"),
        ("area_rows", "reads another project's rows", "other/rows.parquet"),
        ("area_log", "reads the gateway's log", "gateway.log"),
        ("area_inbox", "reads the notebook of another job", "jobs/other/in/notebook.ipynb"),
        ("area_outbox", "reads the outbox of another job", "jobs/other/out/emitted.json"),
    ],
    quick=("area_secret", "area_rows"),
)


@attempt("opens the area's database", quick=True)
def area_database(bait: Bait) -> None:
    try:
        with closing(sqlite3.connect(f"file:{bait.area}/area.db?mode=ro", uri=True)) as connection:
            need(connection.execute("SELECT token FROM tokens").fetchone() == (bait.token,))
    except sqlite3.Error:
        raise Stopped from None


def _by_way(prefix: str, bait: Bait) -> None:
    need(bait.token.encode() in read(f"{prefix}{bait.area}/secret"))


table(
    _by_way,
    [
        ("by_own_root", "reads the secret below /proc/self/root", "/proc/self/root"),
        ("by_thread_root", "reads the secret below /proc/thread-self/root", "/proc/thread-self/root"),
        ("by_working_directory", "reads the secret upwards from its working directory", "../../../../../../../.."),
        ("by_cwd_link", "reads the secret upwards from /proc/self/cwd", "/proc/self/cwd/../../../../../../../../.."),
        ("by_dots_at_the_top", "reads the secret above the root", "/../../.."),
    ],
)


@attempt("reads the secret upwards from the dataset's directory")
def by_data(bait: Bait) -> None:
    need(bait.token.encode() in read(f"{bait.data}/../secret"))


@attempt("reads the secret upwards from the outbox", quick=True)
def by_outbox(bait: Bait) -> None:
    need(bait.token.encode() in read(f"{bait.outbox}/../secret"))


@attempt("reads the secret through a symbolic link that it made in the outbox", quick=True)
def by_link(bait: Bait) -> None:
    os.symlink(f"{bait.area}/secret", f"{bait.outbox}/link-{os.getpid()}")
    need(bait.token.encode() in read(f"{bait.outbox}/link-{os.getpid()}"))


def _other_roots() -> Iterator[str]:
    yield from (f"/proc/{pid}/{kind}" for pid in os.listdir("/proc") if pid.isdigit() for kind in ("root", "cwd"))


@attempt("reads the secret through the root of any other process")
def by_any_root(bait: Bait) -> None:
    for root in _other_roots():
        try:
            found = read(f"{root}{bait.area}/secret")
        except OSError:
            continue
        need(bait.token.encode() in found)
        return
    raise Stopped


@attempt("reads a file that the supervisor has open, through an inherited descriptor", quick=True)
def inherited(bait: Bait) -> None:
    for name in os.listdir("/proc/self/fd"):
        try:
            found = os.pread(int(name), 1000, 0)
        except OSError:
            continue
        if bait.held_token.encode() in found:
            return
    raise Stopped


@attempt("writes to the disk through its own output, opened anew")
def output_is_a_file(_: Bait) -> None:
    write("/proc/self/fd/1", "")
    need(os.path.isfile(os.path.realpath("/proc/self/fd/1")))


@attempt("finds the area by walking through the directories at the top")
def by_walking(bait: Bait) -> None:
    name = os.path.basename(bait.area)
    for top in ("/tmp", "/var/tmp", "/mnt", "/srv", "/home", "/root", "/run", os.path.dirname(bait.area)):
        try:
            found = os.listdir(top)
        except OSError:
            continue
        if name in found:
            return
    raise Stopped


table(
    lambda path, _: need(read(path)),
    [
        ("machine_id", "reads the machine's identity", "/etc/machine-id"),
        ("os_passwd", "reads the accounts of the host", "/proc/self/root/etc/passwd-"),
        ("fstab", "reads the host's table of file systems", "/etc/fstab"),
        ("host_name_file", "reads the host's name from its file", "/etc/hostname"),
        ("package_log", "reads the host's log of packages", "/var/log/dpkg.log"),
        ("package_state", "reads the host's package state", "/var/lib/dpkg/status"),
    ],
)


@attempt("reads the host's own list of users")
def host_users(_: Bait) -> None:
    need(b"daemon" in read("/etc/passwd"))


table(
    lambda path, _: need(os.listdir(path)),
    [
        ("list_run", "lists the host's services in /run", "/run"),
        ("list_var_log", "lists the host's logs", "/var/log"),
        ("list_etc", "lists the host's configuration", "/etc/init.d"),
        ("list_sys", "lists the kernel's objects in /sys", "/sys"),
        ("list_cgroups", "lists the host's control groups", "/sys/fs/cgroup"),
        ("list_block", "lists the host's disks", "/sys/block"),
    ],
    quick=("list_sys",),
)


@attempt("finds the secure side's own code")
def secure_side(bait: Bait) -> None:
    need([place for place in bait.packages if os.path.exists(f"{place}/secure/services.py")])


# Writing what was given to be read


def _writes(attribute: str, name: str, bait: Bait) -> None:
    openable(f"{getattr(bait, attribute)}/{name}", os.O_WRONLY)


def _adds(attribute: str, name: str, bait: Bait) -> None:
    path = f"{getattr(bait, attribute)}/{name}"
    openable(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    os.unlink(path)


table(
    _writes,
    [
        ("write_rows", "writes into the dataset", "data", "rows.txt"),
        ("write_notebook", "writes into its own notebook", "inputs", "notebook.ipynb"),
        ("write_passwd", "writes into /etc/passwd", "etc", "passwd"),
        ("write_runtime", "writes into a module of the runtime", "runtime", "pyvenv.cfg"),
        ("write_tre", "writes into the package `tre`", "library", "tre/errors.py"),
        ("write_program", "writes into a program of /usr/bin", "usr", "bin/env"),
    ],
    quick=("write_rows", "write_runtime"),
)
table(
    _adds,
    [
        ("add_to_data", "adds a file to the dataset", "data", "new"),
        ("add_to_inputs", "adds a file to its inputs", "inputs", "new"),
        ("add_to_runtime", "adds a module to the runtime", "runtime", "new.pth"),
        ("add_to_tre", "adds a module to the package `tre`", "library", "tre/new.py"),
        ("add_to_usr", "adds a file to /usr", "usr", "new"),
        ("add_to_etc", "adds a file to /etc", "etc", "new"),
        ("add_to_root", "adds a file at the top", "top", "new"),
        ("add_to_dev", "adds a file to /dev", "dev", "new"),
        ("area_add", "adds a file to the area", "area", "new"),
        ("area_add_outbox", "adds a file to another job's outbox", "area", "jobs/other/out/new"),
    ],
    quick=("add_to_data", "add_to_usr", "area_add", "area_add_outbox"),
)


@attempt("empties the dataset")
def truncate_rows(bait: Bait) -> None:
    os.truncate(f"{bait.data}/rows.txt", 3)


@attempt("removes the dataset")
def remove_rows(bait: Bait) -> None:
    os.unlink(f"{bait.data}/spare.txt")


@attempt("renames the dataset")
def rename_rows(bait: Bait) -> None:
    os.rename(f"{bait.data}/named.txt", f"{bait.data}/renamed.txt")


@attempt("changes the dataset's time")
def touch_rows(bait: Bait) -> None:
    os.utime(f"{bait.data}/rows.txt", (1, 1))


@attempt("changes the dataset's mode")
def chmod_rows(bait: Bait) -> None:
    os.chmod(f"{bait.data}/rows.txt", 0o600)


@attempt("writes the dataset through a descriptor opened for reading, opened anew")
def reopen_rows(bait: Bait) -> None:
    handle = os.open(f"{bait.data}/rows.txt", os.O_RDONLY)
    write(f"/proc/self/fd/{handle}")


@attempt("writes the dataset through a shared mapping")
def map_rows(bait: Bait) -> None:
    handle = os.open(f"{bait.data}/rows.txt", os.O_RDWR)
    with mmap.mmap(handle, 1) as memory:
        memory[0:1] = b"r"


@attempt("lengthens the dataset")
def lengthen_rows(bait: Bait) -> None:
    os.posix_fallocate(os.open(f"{bait.data}/rows.txt", os.O_WRONLY), 0, 100)


@attempt("links the dataset into the outbox")
def link_rows(bait: Bait) -> None:
    os.link(f"{bait.data}/rows.txt", f"{bait.outbox}/rows-{os.getpid()}")


@attempt("links the dataset into the outbox through an open descriptor")
def link_rows_by_descriptor(bait: Bait) -> None:
    handle = os.open(f"{bait.data}/rows.txt", os.O_RDONLY)
    target = f"{bait.outbox}/rows-{os.getpid()}".encode()
    if libc.linkat(-100, f"/proc/self/fd/{handle}".encode(), -100, target, 0x400) != 0:  # AT_SYMLINK_FOLLOW
        raise OSError(ctypes.get_errno(), "linkat")


@attempt("moves the dataset's directory")
def move_data(bait: Bait) -> None:
    os.rename(f"{bait.data}/folder", f"{bait.data}/moved")


@attempt("writes the area's secret")
def area_write(bait: Bait) -> None:
    openable(f"{bait.area}/secret", os.O_WRONLY)


@attempt("removes another job's outbox")
def area_remove(bait: Bait) -> None:
    os.unlink(f"{bait.area}/jobs/other/out/spare.json")


@attempt("leaves a file in the host's /tmp", judge=Judge.WITNESS)
def left_tmp(bait: Bait) -> None:
    write(f"/tmp/{bait.mark}-left_tmp", flags=os.O_WRONLY | os.O_CREAT)


@attempt("leaves a file in the host's shared memory", judge=Judge.WITNESS)
def left_shm(bait: Bait) -> None:
    write(f"/dev/shm/{bait.mark}-left_shm", flags=os.O_WRONLY | os.O_CREAT)


@attempt("leaves a file in the host's /var/tmp", judge=Judge.WITNESS)
def left_var_tmp(bait: Bait) -> None:
    os.makedirs("/var/tmp", exist_ok=True)
    write(f"/var/tmp/{bait.mark}-left_var_tmp", flags=os.O_WRONLY | os.O_CREAT)


# Devices


def _device(path: str, flags: int, _: Bait) -> None:
    openable(path, flags)


table(
    _device,
    [
        ("dev_fuse", "makes a file system of its own by /dev/fuse", "/dev/fuse", os.O_RDWR),
        ("dev_kvm", "makes a virtual machine by /dev/kvm", "/dev/kvm", os.O_RDWR),
        ("dev_kmsg", "reads the kernel's log by /dev/kmsg", "/dev/kmsg", os.O_RDONLY),
        ("dev_mem", "reads the machine's memory by /dev/mem", "/dev/mem", os.O_RDONLY),
        ("dev_vda", "opens the host's disk", "/dev/vda", os.O_RDONLY),
        ("dev_loop", "opens a loop device", "/dev/loop0", os.O_RDONLY),
        ("dev_autofs", "opens the automounter's device", "/dev/autofs", os.O_RDONLY),
    ],
    quick=("dev_mem", "dev_vda"),
)
