"""The bystander: a process outside the cage, of the same user as the job, that holds what attempts are to reach.

    python bystander.py ORDER    prints what it holds as one line of JSON, and ends, leaving nothing, with its input

It answers on TCP, UDP and Unix sockets with the secret, keeps it in System V and POSIX objects, in a keyring and in its
memory, and holds a lock. Nobody but who started it is meant to find any of that.
"""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import selectors
import socket
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress
from typing import Any

from .system import PR_SET_PTRACER, become, call, prctl

IPC_CREAT, IPC_RMID, SET_VALUE = 0o1000, 0, 16
KEY_UNLINK, USER_KEYRING = 9, -4


def main(order_file: str) -> None:
    with open(order_file) as stream:
        order = json.load(stream)
    if order["become"] is not None:
        become(order["become"])
    with suppress(OSError):
        prctl(PR_SET_PTRACER, -1)  # where Yama asks for it: any process of this user may
    with ExitStack() as cleanup:
        listening = _sockets(order, cleanup)
        held = {"pid": os.getpid(), **_addresses(listening), **_objects(order, cleanup), **_memory(order["token"])}
        sys.stdout.write(f"{json.dumps(held)}\n")
        sys.stdout.flush()
        _serve(listening, order["token"].encode())


def _sockets(order: dict[str, Any], cleanup: ExitStack) -> dict[str, socket.socket]:
    wanted: dict[str, tuple[int, int, object]] = {
        "tcp": (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 0)),
        "tcp6": (socket.AF_INET6, socket.SOCK_STREAM, ("::1", 0)),
        "udp": (socket.AF_INET, socket.SOCK_DGRAM, ("127.0.0.1", 0)),
        "unix": (socket.AF_UNIX, socket.SOCK_STREAM, order["unix"]),
        "unix_datagram": (socket.AF_UNIX, socket.SOCK_DGRAM, order["unix_datagram"]),
        "abstract": (socket.AF_UNIX, socket.SOCK_STREAM, f"\0{order['mark']}"),
    }
    made: dict[str, socket.socket] = {}
    for name, (family, kind, address) in wanted.items():
        with suppress(OSError):  # no IPv6 here, say: the control arm then does not succeed, and says so
            server = cleanup.enter_context(socket.socket(family, kind))
            server.bind(address)  # type: ignore[arg-type]
            if kind == socket.SOCK_STREAM:
                server.listen()
            made[name] = server
    return made


def _addresses(listening: dict[str, socket.socket]) -> dict[str, int]:
    ports = {name: s.getsockname()[1] for name, s in listening.items() if s.family != socket.AF_UNIX}
    return {"tcp": 9, "tcp6": 9, "udp": 9, **ports}


def _objects(order: dict[str, Any], cleanup: ExitStack) -> dict[str, int]:
    calls, token, mark = order["calls"], order["token"].encode(), order["mark"]
    found = {"segment": -1, "msg": -1, "sem": -1}
    libc = ctypes.CDLL(None, use_errno=True)
    libc.shmat.restype = ctypes.c_void_p

    def made(what: Callable[[], None]) -> None:
        with suppress(OSError):
            what()

    def shared_memory() -> None:
        found["segment"] = call(calls["shmget"], 0, 4096, IPC_CREAT | 0o600)
        cleanup.callback(call, calls["shmctl"], found["segment"], IPC_RMID, None)
        ctypes.memmove(libc.shmat(found["segment"], None, 0), token, len(token))

    def messages() -> None:
        found["msg"] = call(calls["msgget"], 0, IPC_CREAT | 0o600)
        cleanup.callback(call, calls["msgctl"], found["msg"], IPC_RMID, None)
        for _number in range(4):
            call(calls["msgsnd"], found["msg"], b"\1" + bytes(7) + token, len(token), 0o4000)

    def semaphore() -> None:
        found["sem"] = call(calls["semget"], 0, 1, IPC_CREAT | 0o600)
        cleanup.callback(call, calls["semctl"], found["sem"], 0, IPC_RMID, 0)
        call(calls["semctl"], found["sem"], 0, SET_VALUE, 7)

    def queue() -> None:
        call(calls["mq_open"], order["queue"].encode(), os.O_RDWR | os.O_CREAT, 0o600, None)
        cleanup.callback(call, calls["mq_unlink"], order["queue"].encode())

    def shared_file() -> None:
        with open(f"/dev/shm/{mark}", "xb") as file:
            cleanup.callback(os.unlink, file.name)
            file.write(token)

    def key() -> None:
        made_ = call(calls["add_key"], b"user", mark.encode(), token, len(token), USER_KEYRING)
        cleanup.callback(call, calls["keyctl"], KEY_UNLINK, made_, USER_KEYRING)

    def lock() -> None:
        handle = os.open(order["locked"], os.O_RDWR)
        fcntl.lockf(handle, fcntl.LOCK_EX)
        found["lock_inode"] = os.fstat(handle).st_ino

    for what in (shared_memory, messages, semaphore, queue, shared_file, key, lock):
        made(what)
    return found


_kept: list[Any] = []


def _memory(token: str) -> dict[str, int]:
    """The secret and a place to scribble on, where other processes may look for them."""
    page = ctypes.create_string_buffer(3 * 4096)
    start = (ctypes.addressof(page) + 4095) & ~4095
    ctypes.memmove(start, token.encode(), len(token))
    _kept.append(page)
    return {"address": start, "scribble": start + 2048, "page": start}


def _serve(listening: dict[str, socket.socket], token: bytes) -> None:
    with selectors.DefaultSelector() as waiting:
        waiting.register(sys.stdin, selectors.EVENT_READ)
        for server in listening.values():
            server.setblocking(False)
            waiting.register(server, selectors.EVENT_READ, server)
        while True:
            for ready, _ in waiting.select():
                if ready.data is None:
                    return
                with suppress(OSError):
                    _answer(ready.data, token)


def _answer(server: socket.socket, token: bytes) -> None:
    if server.type == socket.SOCK_DGRAM:
        _, whence = server.recvfrom(100)
        server.sendto(token, whence)
        return
    client, _ = server.accept()
    with client:
        client.settimeout(1)
        client.send(token)
        client.recv(100)  # so that closing with unread bytes does not take the answer back


if __name__ == "__main__":
    main(sys.argv[1])
