"""Rising by privileges: identities, capabilities, namespaces and mounts."""

from __future__ import annotations

import ctypes
import os
import re
import signal
import socket
import struct

from .registry import Bait, Control, Judge, attempt, table
from .system import NEW, Stopped, answered, call, libc, machine_code, mount, need, openable, read, unshare

NS = Control.NAMESPACE
MS_RDONLY, MS_REMOUNT, MS_BIND = 1, 32, 4096
AT_FDCWD = -100


@attempt("becomes user 0", quick=True, control=NS)
def user_zero(_: Bait) -> None:
    os.setuid(0)


@attempt("becomes group 0", control=NS)
def group_zero(_: Bait) -> None:
    os.setgid(0)


@attempt("becomes user 0 in effect only", control=NS)
def effective_zero(_: Bait) -> None:
    os.setresuid(-1, 0, -1)


@attempt("is user 0 in the eyes of the kernel: opens its settings for writing", quick=True)
def kernel_settings(_: Bait) -> None:
    openable("/proc/sys/kernel/core_pattern", os.O_WRONLY)


@attempt("is user 0 on the host's disk: files in the outbox are root's", quick=True, judge=Judge.WITNESS)
def files_of_root(bait: Bait) -> None:
    os.close(os.open(f"{bait.outbox}/files_of_root", os.O_WRONLY | os.O_CREAT, 0o644))


@attempt("may make files of another user", control=NS)
def chown_to_root(bait: Bait) -> None:
    path = f"{bait.outbox}/chown-{os.getpid()}"
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644))
    os.chown(path, 0, 0)


def _capabilities(kind: str, _: Bait) -> None:
    found = re.search(rf"^{kind}:\s*([0-9a-f]+)", read("/proc/self/status").decode(), re.M)
    need(found and int(found[1], 16))


table(
    _capabilities,
    [
        ("capabilities", "holds a capability", "CapEff"),
        ("permitted", "may take a capability up", "CapPrm"),
        ("bounding", "may get a capability from a program", "CapBnd"),
    ],
    quick=("capabilities", "bounding"),
    control=NS,
)


@attempt("takes capabilities up", control=NS)
def capset(_: Bait) -> None:
    header, data = struct.pack("Ii", 0x20080522, 0), ctypes.create_string_buffer(24)
    ctypes.memset(data, 0, 24)
    data[2] = b"\x20"  # CAP_SYS_ADMIN, effective, permitted and inheritable, in the first 32
    data[6] = b"\x20"
    if libc.capset(header, data) != 0:
        raise OSError(ctypes.get_errno(), "capset")


@attempt("gains rights from set-uid programs: no_new_privs is not set", quick=True)
def new_privileges(_: Bait) -> None:
    need(re.search(rb"^NoNewPrivs:\s*0", read("/proc/self/status"), re.M))


@attempt("runs without a filter of system calls", quick=True)
def no_filter(_: Bait) -> None:
    need(re.search(rb"^Seccomp:\s*0", read("/proc/self/status"), re.M))


@attempt("honours set-uid bits in the outbox")
def set_uid_honoured(bait: Bait) -> None:
    need(not os.statvfs(bait.outbox).f_flag & os.ST_NOSUID)


@attempt("has a controlling terminal to type into", control=NS)
def terminal_input(bait: Bait) -> None:
    leader, follower = os.openpty()
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # sent when the terminal goes away
    os.setsid()
    os.close(os.open(os.ttyname(follower), os.O_RDWR))
    try:
        call(bait.calls["ioctl"], follower, 0x5412, b"x")  # TIOCSTI
    finally:
        os.close(leader)


@attempt("reaches the console's own commands by TIOCLINUX")
def console_commands(bait: Bait) -> None:
    answered(bait.calls["ioctl"], 0, 0x541C, b"\x02")


# Namespaces


@attempt("makes a user namespace, where it would be root", quick=True)
def user_namespace(_: Bait) -> None:
    unshare(NEW["user"])


table(
    lambda kind, _: unshare(NEW[kind]),
    [(f"{kind}_namespace", f"makes a {kind} namespace", kind) for kind in ("mount", "pid", "net", "ipc", "uts")]
    + [(f"{kind}_namespace", f"makes a {kind} namespace", kind) for kind in ("cgroup", "time")],
    control=NS,
)


@attempt("makes a user namespace by clone", quick=True)
def user_namespace_by_clone(bait: Bait) -> None:
    if call(bait.calls["clone"], NEW["user"] | 17, 0, 0, 0, 0) == 0:
        os._exit(0)


@attempt("makes a user namespace by clone3, whose flags a filter cannot see", quick=True)
def user_namespace_by_clone3(bait: Bait) -> None:
    arguments = struct.pack("8Q", NEW["user"], 0, 0, 0, 17, 0, 0, 0)
    if call(bait.calls["clone3"], arguments, len(arguments)) == 0:
        os._exit(0)


@attempt("enters a namespace", control=NS)
def entered(bait: Bait) -> None:
    call(bait.calls["setns"], os.open("/proc/self/ns/uts", os.O_RDONLY), 0)


@attempt("enters the namespaces of a process by its descriptor", control=NS)
def entered_by_process(bait: Bait) -> None:
    call(bait.calls["setns"], os.pidfd_open(os.getpid()), NEW["uts"])


@attempt("changes the host's name", control=NS)
def host_name(bait: Bait) -> None:
    call(bait.calls["sethostname"], b"other", 5)


@attempt("changes the host's domain", control=NS)
def domain_name(bait: Bait) -> None:
    call(bait.calls["setdomainname"], b"other", 5)


# Mounts: each is given what it needs, so that the control arm fails for no other reason.


def _place(bait: Bait) -> str:
    place = f"{bait.scratch}/{os.getpid()}"
    os.mkdir(place)
    return place


@attempt("mounts a file system", quick=True, control=NS)
def mounted(bait: Bait) -> None:
    mount("tmpfs", _place(bait), "tmpfs")


@attempt("mounts a fresh /proc", control=NS)
def proc_mounted(bait: Bait) -> None:
    place = _place(bait)
    unshare(NEW["pid"])
    child = os.fork()
    if child == 0:
        try:
            mount("proc", place, "proc")
        except OSError:
            os._exit(1)
        os._exit(0)
    need(os.waitpid(child, 0)[1] == 0)


@attempt("binds a directory to another place", control=NS)
def bound(bait: Bait) -> None:
    mount(bait.data, _place(bait), "", MS_BIND)


@attempt("mounts the dataset anew so that it can be written", quick=True, control=NS)
def remounted(bait: Bait) -> None:
    place = bait.data
    if bait.outside:
        place = _place(bait)
        mount(bait.data, place, "", MS_BIND)
    mount("none", place, "", MS_REMOUNT | MS_BIND)
    openable(f"{place}/rows.txt", os.O_WRONLY)


@attempt("takes a mount away", control=NS)
def unmounted(bait: Bait) -> None:
    place = bait.data
    if bait.outside:
        place = _place(bait)
        mount("tmpfs", place, "tmpfs")
    call(bait.calls["umount2"], place.encode(), 2)


@attempt("changes its root directory", control=NS)
def chroot(bait: Bait) -> None:
    call(bait.calls["chroot"], bait.scratch.encode())


@attempt("exchanges its root with another mount", control=NS)
def pivoted(bait: Bait) -> None:
    place = _place(bait)
    if bait.outside:
        mount("tmpfs", place, "tmpfs")
    os.mkdir(f"{place}/old")
    call(bait.calls["pivot_root"], place.encode(), f"{place}/old".encode())


@attempt("copies a tree of mounts", control=NS)
def tree_copied(bait: Bait) -> None:
    call(bait.calls["open_tree"], AT_FDCWD, bait.data.encode(), 1)


@attempt("opens a file system by the newer calls", control=NS)
def file_system_opened(bait: Bait) -> None:
    call(bait.calls["fsopen"], b"tmpfs", 0)


@attempt("opens a mounted file system to change it", control=NS)
def file_system_picked(bait: Bait) -> None:
    answered(bait.calls["fspick"], -1, b"", 8)


table(
    lambda name, bait: answered(bait.calls[name], -1, 0, 0, 0, 0),
    [
        ("file_system_configured", "configures a file system", "fsconfig"),
        ("file_system_mounted", "mounts what it opened", "fsmount"),
        ("mount_moved", "moves a mount", "move_mount"),
        ("mount_changed", "changes the attributes of a mount", "mount_setattr"),
        ("mounts_listed", "lists mounts by their numbers", "listmount"),
        ("mount_described", "asks for the state of a mount", "statmount"),
    ],
    control=NS,
)


@attempt("opens a file by its handle, past every directory", control=NS)
def handle_opened(bait: Bait) -> None:
    handle = ctypes.create_string_buffer(b"\x04\0\0\0\xff\0\0\0abcd", 140)
    try:
        call(bait.calls["open_by_handle_at"], AT_FDCWD, handle, 0)
    except OSError as error:
        need(error.errno not in (1, 38))


@attempt("asks for the handle of a file")
def handle_named(bait: Bait) -> None:
    handle = ctypes.create_string_buffer(b"\x80\0\0\0", 140)
    call(bait.calls["name_to_handle_at"], AT_FDCWD, b"/usr", handle, ctypes.byref(ctypes.c_int()), 0)


# Foreign calling conventions


@attempt("calls the kernel as a 32-bit program", quick=True)
def foreign_convention(_: Bait) -> None:
    need(os.uname().machine == "x86_64")
    need(machine_code(b"\xb8\x14\0\0\0\xcd\x80\xc3") > 0)  # mov eax, getpid; int 0x80; ret


@attempt("calls the kernel as an x32 program")
def x32_convention(_: Bait) -> None:
    need(os.uname().machine == "x86_64")
    call(0x40000000 + 39)


@attempt("sends open descriptors to a process outside")
def descriptors_sent(bait: Bait) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(1)
        client.connect(bait.unix)
        socket.send_fds(client, [b"?"], [0])
        if client.recv(200) != bait.token.encode():
            raise Stopped
