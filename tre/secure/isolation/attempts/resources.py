"""Means: limits that an attempt tries to pass. Some have a box to themselves, whose end is the answer."""

from __future__ import annotations

import mmap
import os
import resource
import signal
import threading
import time

from .registry import Bait, Judge, attempt, table
from .system import Stopped, need, write

SOME = 320 << 20  # more than the box of an attempt has, little for a machine


def _takes(size: int) -> mmap.mmap:
    memory = mmap.mmap(-1, size)
    for place in range(0, size, mmap.PAGESIZE):
        memory[place] = 1
    return memory


@attempt("takes more memory than its box has", judge=Judge.SUPERVISOR, needs="memory")
def memory(_: Bait) -> None:
    _takes(SOME)


@attempt("takes more memory than its box has, in files of /dev/shm", judge=Judge.SUPERVISOR)
def memory_in_files(bait: Bait) -> None:
    held = []
    try:
        for number in range(5):
            file = open(f"{bait.shm}/{bait.mark}-{number}", "wb")
            os.unlink(file.name)
            held.append(file)
            os.posix_fallocate(file.fileno(), 0, SOME // 5)
    finally:
        for file in held:
            file.close()


@attempt("takes more memory than its box has, in several processes", judge=Judge.SUPERVISOR, needs="memory")
def memory_of_many(_: Bait) -> None:
    read, write_ = os.pipe()
    children = []
    for _number in range(4):
        child = os.fork()
        if child == 0:
            kept = _takes(SOME // 4)
            os.write(write_, b"x")
            signal.pause()
            del kept
        children.append(child)
    os.set_blocking(read, False)
    holding = 0
    try:
        while holding < len(children):
            need(not any(os.waitpid(child, os.WNOHANG)[0] for child in children))
            try:
                holding += len(os.read(read, 10))
            except BlockingIOError:
                time.sleep(0.01)
    finally:
        for child in children:
            os.kill(child, signal.SIGKILL)


@attempt("takes more address space than any limit of a process", judge=Judge.SUPERVISOR)
def address_space(_: Bait) -> None:
    reserved = mmap.mmap(-1, 64 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)  # MAP_NORESERVE
    for place in range(0, SOME, mmap.PAGESIZE):
        reserved[place] = 1


@attempt("starts more processes and threads than a box may have", judge=Judge.SUPERVISOR, needs="pids")
def processes(_: Bait) -> None:
    threading.stack_size(1 << 16)
    over = threading.Event()
    try:
        for _number in range(700):
            threading.Thread(target=over.wait, daemon=True).start()
    finally:
        over.set()


@attempt("fills the outbox beyond its size", judge=Judge.SUPERVISOR)
def outbox(bait: Bait) -> None:
    for number in range(6):
        with open(f"{bait.outbox}/{number}", "wb") as file:
            file.write(b"x" * 700_000)


@attempt("fills the outbox with more files than anybody reads", judge=Judge.SUPERVISOR)
def many_entries(bait: Bait) -> None:
    os.close(os.open(f"{bait.outbox}/0", os.O_WRONLY | os.O_CREAT))
    handle = os.open(bait.outbox, os.O_RDONLY)
    for number in range(1, 10_100):  # names of one file: quicker made
        os.link("0", str(number), src_dir_fd=handle, dst_dir_fd=handle)


@attempt("nests directories in the outbox so deep that reading them fails", judge=Judge.SUPERVISOR)
def deep(bait: Bait) -> None:
    os.makedirs(f"{bait.outbox}/{'d/' * 40}")


@attempt("goes on after its time is over, whatever it is sent", judge=Judge.SUPERVISOR)
def overtime(_: Bait) -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    time.sleep(1.2)


@attempt("goes on as a daemon when its box has ended", judge=Judge.WITNESS)
def daemon(bait: Bait) -> None:
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                signal.signal(number, signal.SIG_IGN)
            while os.path.exists(f"/proc/{bait.harness}"):
                time.sleep(0.01)
            time.sleep(0.4)  # a box is not over in the same moment
            write(f"{bait.outbox}/daemon", flags=os.O_WRONLY | os.O_CREAT)
        os._exit(0)


# A process's own limits


def _raised(kind: int, soft: int, hard: int) -> None:
    try:
        resource.setrlimit(kind, (soft, hard))
    except ValueError:  # how Python tells of a hard limit
        raise Stopped from None


@attempt("runs before everything else, in real time")
def real_time(_: Bait) -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))


@attempt("leaves an image of its memory behind when it crashes", quick=True)
def core_image(_: Bait) -> None:
    _raised(resource.RLIMIT_CORE, 1 << 20, 1 << 20)


@attempt("opens more files at once than a job may")
def many_files(_: Bait) -> None:
    wanted = 4200
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise OSError(24, "too few")
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    held = [os.open("/dev/null", os.O_RDONLY) for _ in range(4100)]
    need(held)


@attempt("takes its limit on processor time away")
def processor_time(_: Bait) -> None:
    _raised(resource.RLIMIT_CPU, resource.RLIM_INFINITY, resource.RLIM_INFINITY)


@attempt("makes a file larger than the outbox", quick=True)
def large_file(bait: Bait) -> None:
    path = f"{bait.outbox}/large-{os.getpid()}"
    with open(path, "wb") as file:
        try:
            file.truncate(1 << 36)  # takes no room
        finally:
            os.unlink(path)


def _room(attribute: str, bait: Bait) -> None:
    found = os.statvfs(getattr(bait, attribute))
    need(found.f_blocks * found.f_frsize > 1 << 30)


table(
    _room,
    [
        ("room_in_tmp", "finds more than 1 GiB to fill in /tmp", "tmp"),
        ("room_in_shm", "finds more than 1 GiB to fill in /dev/shm", "shm"),
        ("room_at_home", "finds more than 1 GiB to fill at home", "home"),
        ("room_in_var", "finds more than 1 GiB to fill in /var", "var"),
    ],
)
