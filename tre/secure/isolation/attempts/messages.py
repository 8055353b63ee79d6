"""Reaching by what the kernel keeps for everybody: System V and POSIX objects, shared memory, keyrings, locks."""

from __future__ import annotations

import ctypes
import os

from .registry import Bait, Judge, attempt
from .system import call, libc, need, read

IPC_CREAT, IPC_RMID, IPC_NOWAIT = 0o1000, 0, 0o4000
USER_KEYRING, KEY_SEARCH, KEY_READ, KEY_NEW_SESSION = -4, 10, 11, 1


@attempt("reads a System V shared memory segment of the host", quick=True)
def shm_read(bait: Bait) -> None:
    libc.shmat.restype = ctypes.c_void_p
    address = libc.shmat(bait.segment, None, 0o10000)  # SHM_RDONLY
    need(address not in (None, ctypes.c_void_p(-1).value))
    need(ctypes.string_at(address, len(bait.token)) == bait.token.encode())


@attempt("leaves a System V shared memory segment behind", quick=True)
def shm_left(bait: Bait) -> None:
    made = call(bait.calls["shmget"], 0, 4096, IPC_CREAT | 0o600)
    call(bait.calls["shmctl"], made, IPC_RMID, None)


@attempt("reads the host's table of shared memory segments")
def shm_listed(bait: Bait) -> None:
    need(any(line.split()[1:2] == [str(bait.segment)] for line in read("/proc/sysvipc/shm").decode().splitlines()))


@attempt("reads a System V message of the host")
def message_read(bait: Bait) -> None:
    buffer = ctypes.create_string_buffer(200)
    call(bait.calls["msgrcv"], bait.msg, buffer, 100, 0, IPC_NOWAIT | 0o40000)  # MSG_COPY where there is
    need(bait.token.encode() in buffer.raw)


@attempt("leaves a System V message queue behind")
def message_left(bait: Bait) -> None:
    made = call(bait.calls["msgget"], 0, IPC_CREAT | 0o600)
    call(bait.calls["msgctl"], made, IPC_RMID, None)


@attempt("sends a System V message to the host")
def message_sent(bait: Bait) -> None:
    message = (ctypes.c_long * 2)(1, 0)
    call(bait.calls["msgsnd"], bait.msg, message, 1, IPC_NOWAIT)


@attempt("reads a System V semaphore of the host")
def semaphore_read(bait: Bait) -> None:
    need(call(bait.calls["semctl"], bait.sem, 0, 12, 0) == 7)  # GETVAL


@attempt("leaves a System V semaphore behind")
def semaphore_left(bait: Bait) -> None:
    made = call(bait.calls["semget"], 0, 1, IPC_CREAT | 0o600)
    call(bait.calls["semctl"], made, 0, IPC_RMID, 0)


@attempt("opens a POSIX message queue of the host")
def queue_opened(bait: Bait) -> None:
    call(bait.calls["mq_open"], bait.queue.encode(), os.O_RDONLY, 0, None)


@attempt("makes a POSIX message queue")
def queue_made(bait: Bait) -> None:
    name = f"{bait.queue}-{os.getpid()}".encode()
    call(bait.calls["mq_open"], name, os.O_RDWR | os.O_CREAT, 0o600, None)
    call(bait.calls["mq_unlink"], name)


@attempt("reads POSIX shared memory of the host", quick=True)
def posix_shm_read(bait: Bait) -> None:
    need(bait.token.encode() in read(f"/dev/shm/{bait.mark}"))


@attempt("finds a key in the user's keyring, which outlives processes", quick=True)
def key_found(bait: Bait) -> None:
    found = call(bait.calls["keyctl"], KEY_SEARCH, USER_KEYRING, b"user", bait.mark.encode(), 0)
    buffer = ctypes.create_string_buffer(200)
    call(bait.calls["keyctl"], KEY_READ, found, buffer, 200)
    need(bait.token.encode() in buffer.raw)


@attempt("asks the kernel for a key of the user's")
def key_requested(bait: Bait) -> None:
    call(bait.calls["request_key"], b"user", bait.mark.encode(), None, 0)


@attempt("leaves a key in the user's keyring", judge=Judge.WITNESS)
def key_left(bait: Bait) -> None:
    call(bait.calls["add_key"], b"user", f"{bait.mark}-key_left".encode(), b"x", 1, USER_KEYRING)


@attempt("makes a keyring of its own")
def keyring_made(bait: Bait) -> None:
    call(bait.calls["keyctl"], KEY_NEW_SESSION, None)


@attempt("reads the list of the user's keys in /proc")
def keys_listed(bait: Bait) -> None:
    need(bait.mark.encode() in read("/proc/keys"))


@attempt("sees the host's file locks in /proc/locks")
def locks_listed(bait: Bait) -> None:
    need(f":{bait.lock_inode} ".encode() in read("/proc/locks"))
