"""Means: what may be left in the outbox to mislead whoever reads it. Prevented inside, or refused by the collector."""

from __future__ import annotations

import os
import socket
import stat

from .registry import Bait, Judge, attempt, table
from .system import call

COLLECTOR = Judge.COLLECTOR
READ_AT_MOST = 1 << 20


def _left(bait: Bait, name: str) -> str:
    """The attempt's own name in the outbox: what the collector is then asked for."""
    return f"{bait.outbox}/{name}"


@attempt("leaves a symbolic link to a secret of the area", quick=True, judge=COLLECTOR)
def link(bait: Bait) -> None:
    os.symlink(f"{bait.area}/secret", _left(bait, "link"))


@attempt("leaves a symbolic link to a file of the system", judge=COLLECTOR)
def link_to_system(bait: Bait) -> None:
    os.symlink("/etc/passwd", _left(bait, "link_to_system"))


@attempt("leaves a symbolic link upwards", judge=COLLECTOR)
def link_upwards(bait: Bait) -> None:
    os.symlink("../secret", _left(bait, "link_upwards"))


@attempt("leaves a symbolic link to the reader's own memory", judge=COLLECTOR)
def link_to_memory(bait: Bait) -> None:
    os.symlink("/proc/self/environ", _left(bait, "link_to_memory"))


@attempt("leaves a FIFO, for whose writer a reader would wait", quick=True, judge=COLLECTOR)
def fifo(bait: Bait) -> None:
    os.mkfifo(_left(bait, "fifo"))


@attempt("leaves a socket", judge=COLLECTOR)
def socket_left(bait: Bait) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(_left(bait, "socket_left"))


@attempt("leaves a device", judge=COLLECTOR)
def device(bait: Bait) -> None:
    os.mknod(_left(bait, "device"), stat.S_IFCHR | 0o600, 0)


@attempt("leaves a directory where a file should be", judge=COLLECTOR)
def directory(bait: Bait) -> None:
    os.mkdir(_left(bait, "directory"))


@attempt("leaves one file under two names", judge=COLLECTOR)
def two_names(bait: Bait) -> None:
    path = _left(bait, "two_names")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT))
    os.link(path, f"{path}-2")


@attempt("leaves a file larger than is read", judge=COLLECTOR)
def too_large(bait: Bait) -> None:
    with open(_left(bait, "too_large"), "wb") as file:
        file.truncate(READ_AT_MOST + 1)


@attempt("leaves a file that grows by its holes", judge=COLLECTOR)
def sparse(bait: Bait) -> None:
    with open(_left(bait, "sparse"), "wb") as file:
        file.seek(8 << 20)
        file.write(b"x")


def _attribute(function: str, bait: Bait) -> None:
    path = _left(bait, function)
    handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
    target: object = handle if function == "fsetxattr" else path.encode()
    call(bait.calls[function], target, b"user.note", b"hidden", 6, 0)


table(
    _attribute,
    [
        ("attribute", "hides data in an attribute of a file", "setxattr"),
        ("attribute_of_link", "hides data in an attribute, by the call for links", "lsetxattr"),
        ("attribute_by_descriptor", "hides data in an attribute of an open file", "fsetxattr"),
    ],
)


@attempt("leaves a FIFO by the older call")
def older_node(bait: Bait) -> None:
    call(bait.calls["mknod"], _left(bait, "older_node").encode(), stat.S_IFIFO | 0o600, 0)


@attempt("leaves a set-uid program, in an outbox it opens to all users of the machine", judge=Judge.WITNESS)
def set_uid(bait: Bait) -> None:
    path = _left(bait, "set_uid")
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o755))
    os.chmod(path, 0o4755)
    os.chmod(bait.outbox, 0o755)
