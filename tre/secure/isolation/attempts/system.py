"""What attempts use of the system: calls by number, and the difference between being stopped and being mistaken.

Imported before the control arm gives up its rights, after which its Python's own files may be closed to it.
"""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

libc = ctypes.CDLL(None, use_errno=True)
libc.syscall.restype = ctypes.c_long

NEW = {"mount": 0x20000, "cgroup": 0x2000000, "uts": 0x4000000, "ipc": 0x8000000, "user": 0x10000000,
       "pid": 0x20000000, "net": 0x40000000, "time": 0x80}  # fmt: skip
PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_PTRACER = 1, 4, 0x59616D61


class Stopped(Exception):
    """The attempt did not get what it went for, though no call failed."""


def need(got: object) -> None:
    if not got:
        raise Stopped


def call(number: int | None, *arguments: object) -> int:
    """A system call by number. OSError as the kernel or the filter answers; Stopped where the machine has none."""
    need(number is not None)
    passed = [ctypes.c_long(a) if isinstance(a, int) else a for a in arguments]
    result = int(libc.syscall(ctypes.c_long(number or 0), *passed))
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, errno.errorcode.get(code, "?"))
    return result


def answered(number: int | None, *arguments: object) -> None:
    """A call that reached the kernel: it succeeded, or failed as the kernel says and no filter does."""
    try:
        call(number, *arguments)
    except OSError as error:
        if error.errno in (errno.EPERM, errno.ENOSYS):
            raise


def prctl(option: int, *arguments: int) -> int:
    result = int(libc.prctl(option, *(ctypes.c_ulong(a) for a in (*arguments, 0, 0, 0, 0)[:4])))
    if result < 0:
        raise OSError(ctypes.get_errno(), "prctl")
    return result


def unshare(flags: int) -> None:
    if libc.unshare(flags) != 0:
        raise OSError(ctypes.get_errno(), "unshare")


def mount(source: str, target: str, kind: str, flags: int = 0) -> None:
    if libc.mount(source.encode(), target.encode(), kind.encode(), ctypes.c_ulong(flags), None) != 0:
        raise OSError(ctypes.get_errno(), "mount")


def machine_code(code: bytes) -> int:
    """What a piece of machine code of this processor returns."""
    with mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC) as memory:
        memory.write(code)
        start = ctypes.c_char.from_buffer(memory)
        function = ctypes.CFUNCTYPE(ctypes.c_int)(ctypes.addressof(start))
        result = int(function())
        del function, start
    return result


def become(user: int) -> None:
    """Give up root for a user without other groups, and be as open to others of that user as any process of theirs."""
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(user, user, user)
        os.setresuid(user, user, user)
        prctl(PR_SET_DUMPABLE, 1)


def become_root_of_a_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    unshare(NEW["user"] | NEW["mount"] | NEW["net"] | NEW["uts"] | NEW["ipc"] | NEW["cgroup"])
    for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        write(f"/proc/self/{name}", text)
    mount("none", "/", "", 0x4000 | 0x40000)  # MS_REC | MS_PRIVATE


def read(path: str, size: int = 1 << 20) -> bytes:
    """What is there, up to a size: files of /proc give a page at a time."""
    handle, found = os.open(path, os.O_RDONLY | os.O_NONBLOCK), b""
    try:
        while len(found) < size and (part := os.read(handle, size - len(found))):
            found += part
        return found
    finally:
        os.close(handle)


def write(path: str, text: str = "x", flags: int = os.O_WRONLY) -> None:
    handle = os.open(path, flags, 0o644)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def openable(path: str, flags: int) -> None:
    """Opened and closed: nothing is written, should it succeed."""
    os.close(os.open(path, flags | os.O_NONBLOCK | os.O_NOCTTY))
