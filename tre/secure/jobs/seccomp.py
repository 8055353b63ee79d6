"""The system-call filter of a box: a deny list, assembled here as classic BPF for `bwrap --seccomp FD`.

Guaranteed, for every process of a box:
1. A call by a foreign calling convention (32-bit, x32) kills the process: the numbers below would mean other calls.
2. Sockets are AF_UNIX, AF_INET, AF_INET6 or AF_NETLINK. A network namespace does not cover AF_VSOCK, which in a
   virtual machine is a line to its host.
3. No new namespaces, mounts, device nodes, FIFOs, traces of other processes, kernel keyrings, io_uring or BPF.
4. None of the calls by which two boxes that share a read-only file could signal each other through it (flock, leases,
   inotify, fanotify, page-cache statistics), but for the one named below.
5. No process asks to outlive its parent: the box's first process runs as the same user, so a job can rewrite it, and
   would take from it the order to die with bubblewrap.
Not done here: it is no allow list, so a call newer than this table passes; namespaces and the missing uid 0 are the
wall, this narrows what reaches the kernel. POSIX record locks stay allowed (SQLite needs them): a read lock on a
shared file remains a one-bit channel between boxes that run at the same time on the same data.

Numbers: Linux uapi `asm/unistd_64.h` (x86_64) and `asm-generic/unistd.h` (aarch64); from 424 on they are the same.
"""

from __future__ import annotations

import errno
import platform
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum

from tre.errors import SandboxError


class Machine(IntEnum):
    """AUDIT_ARCH_* of <linux/audit.h>: what the kernel says a call was made as."""

    X86_64 = 0xC000003E
    AARCH64 = 0xC00000B7


MACHINES = {"x86_64": Machine.X86_64, "aarch64": Machine.AARCH64, "arm64": Machine.AARCH64}


@dataclass(frozen=True)
class Call:
    """A system call and its number on each machine; None where it does not exist."""

    name: str
    x86_64: int | None
    aarch64: int | None

    def on(self, machine: Machine) -> int | None:
        return self.x86_64 if machine is Machine.X86_64 else self.aarch64


# One line for each reason: `name:x86_64:aarch64`, or `name:number` where the two are the same, `-` where there is none.
_REFUSED = {
    "another namespace": "unshare:272:97 setns:308:268",
    "mounts": """mount:165:40 umount2:166:39 pivot_root:155:41 chroot:161:51 open_tree:428 move_mount:429 fsopen:430
        fsconfig:431 fsmount:432 fspick:433 mount_setattr:442 statmount:457 listmount:458 open_tree_attr:467""",
    "nodes, handles and attributes that outlive the box": """mknod:133:- mknodat:259:33 name_to_handle_at:303:264
        open_by_handle_at:304:265 setxattr:188:5 lsetxattr:189:6 fsetxattr:190:7 removexattr:197:14 lremovexattr:198:15
        fremovexattr:199:16 setxattrat:463 removexattrat:466 file_setattr:469""",
    "other processes": """ptrace:101:117 process_vm_readv:310:270 process_vm_writev:311:271 pidfd_getfd:438
        process_madvise:440 kcmp:312:272""",
    "wide doors into the kernel": """io_uring_setup:425 io_uring_enter:426 io_uring_register:427 bpf:321:280
        userfaultfd:323:282 perf_event_open:298:241 memfd_secret:447 lookup_dcookie:212:18 modify_ldt:154:-
        vmsplice:278:75 move_pages:279:239 migrate_pages:256:238""",
    "keyrings: a user's keyring outlives the box": "keyctl:250:219 add_key:248:217 request_key:249:218",
    "signals between boxes through a shared file": """flock:73:32 inotify_init:253:- inotify_init1:294:26
        inotify_add_watch:254:27 inotify_rm_watch:255:28 fanotify_init:300:262 fanotify_mark:301:263 cachestat:451""",
    "System V and POSIX messages": """shmget:29:194 shmat:30:196 shmctl:31:195 shmdt:67:197 msgget:68:186 msgsnd:69:189
        msgrcv:70:188 msgctl:71:187 semget:64:190 semop:65:193 semtimedop:220:192 semctl:66:191 mq_open:240:180
        mq_unlink:241:181""",
    "the machine itself": """kexec_load:246:104 kexec_file_load:320:294 swapon:167:224 swapoff:168:225 reboot:169:142
        init_module:175:105 finit_module:313:273 delete_module:176:106 acct:163:89 quotactl:179:60 quotactl_fd:443
        settimeofday:164:170 clock_settime:227:112 clock_adjtime:305:266 adjtimex:159:171 syslog:103:116
        sethostname:170:161 setdomainname:171:162 vhangup:153:58 sysinfo:99:179 iopl:172:- ioperm:173:- uselib:134:-""",
}

# The C library tries these first and does without when the kernel says it has none. Their arguments are behind
# pointers, where a filter cannot look.
_ABSENT = "clone3:435 openat2:437"


def calls(table: str) -> Iterator[Call]:
    for entry in table.split():
        name, first, *rest = entry.split(":")
        numbers = [None if text == "-" else int(text) for text in (first, *(rest or [first]))]
        yield Call(name, numbers[0], numbers[1])


REFUSED = tuple(call for table in _REFUSED.values() for call in calls(table))
ABSENT = tuple(calls(_ABSENT))
SOCKET, SOCKETPAIR, CLONE = calls("socket:41:198 socketpair:53:199 clone:56:220")
IOCTL, FCNTL, PRCTL = calls("ioctl:16:29 fcntl:72:25 prctl:157:167")

# libzmq looks up its interface by netlink, and wants to hear EAFNOSUPPORT about what there is not.
FAMILIES = (socket.AF_UNIX, socket.AF_INET, socket.AF_INET6, socket.AF_NETLINK)
LOCAL = (socket.AF_UNIX, socket.AF_NETLINK)
# Calls that change a process by its number, 0 being the caller's own; the number is the first argument, or the second.
ON_OTHERS = tuple(
    calls("""prlimit64:302:261 sched_setaffinity:203:122
        sched_setattr:314:274 setpriority:141:140 ioprio_set:251:30""")
)
SECOND = ("setpriority", "ioprio_set")
NEW_NAMESPACE = 0x7E020000  # CLONE_NEWNS | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
TERMINAL_INPUT = (0x5412, 0x541C)  # TIOCSTI, TIOCLINUX: typing into the terminal of whoever started us
LEASES = (1024, 1026)  # F_SETLEASE, F_NOTIFY
PARENT_DEATH = (1,)  # PR_SET_PDEATHSIG

_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06  # <linux/bpf_common.h>
_NUMBER, _MACHINE, _ARGUMENTS = 0, 4, 16  # offsets in struct seccomp_data
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_X32 = 0x40000000

_Code = list[bytes]


def program(machine: str = "", *, bare: bool = False) -> bytes:
    """The filter for a machine as `platform.machine()` names it; by default this one.

    `bare`: without namespaces around it, also no sockets to other machines, and no changes to other processes.
    """
    name = machine or platform.machine()
    if name not in MACHINES:
        raise SandboxError("sandbox_machine", f"There is no system-call filter for {name}.", "Use x86_64 or aarch64.")
    return b"".join(_program(MACHINES[name], bare=bare))


def _program(machine: Machine, *, bare: bool) -> _Code:
    code = [_step(_LOAD, _MACHINE), _step(_EQUAL, machine, yes=1), _end(KILL), _step(_LOAD, _NUMBER)]
    if machine is Machine.X86_64:
        code += [_step(_AT_LEAST, _X32, no=1), _end(KILL)]
    for call in REFUSED:
        code += _when(call.on(machine), [_end(ERRNO | errno.EPERM)])
    for call in ABSENT:
        code += _when(call.on(machine), [_end(ERRNO | errno.ENOSYS)])
    for call in (SOCKET, SOCKETPAIR):
        code += _when(call.on(machine), _only(0, LOCAL if bare else FAMILIES, errno.EAFNOSUPPORT))
    code += _when(CLONE.on(machine), _without_bits(0, NEW_NAMESPACE))
    code += _when(IOCTL.on(machine), _except(1, TERMINAL_INPUT))
    code += _when(FCNTL.on(machine), _except(1, LEASES))
    code += _when(PRCTL.on(machine), _except(0, PARENT_DEATH))
    for call in ON_OTHERS if bare else ():
        code += _when(call.on(machine), _only(1 if call.name in SECOND else 0, (0,), errno.EPERM))
    return [*code, _end(ALLOW)]


def _step(code: int, value: int, *, yes: int = 0, no: int = 0) -> bytes:
    return struct.pack("<HBBI", code, yes, no, value)


def _end(verdict: int) -> bytes:
    return _step(_RETURN, verdict)


def _when(number: int | None, body: _Code) -> _Code:
    """`body` for this call, which it must end; the next rule for all others (the call's number stays loaded)."""
    return [] if number is None else [_step(_EQUAL, number, no=len(body)), *body]


# The kernel takes these arguments as 32-bit integers and ignores the upper half of the register, and so do we.
def _argument(index: int) -> bytes:
    return _step(_LOAD, _ARGUMENTS + 8 * index)


def _only(index: int, values: tuple[int, ...], error: int) -> _Code:
    tests = [_step(_EQUAL, value, yes=len(values) - place) for place, value in enumerate(values)]
    return [_argument(index), *tests, _end(ERRNO | error), _end(ALLOW)]


def _except(index: int, values: tuple[int, ...]) -> _Code:
    tests = [_step(_EQUAL, value, yes=len(values) - place) for place, value in enumerate(values)]
    return [_argument(index), *tests, _end(ALLOW), _end(ERRNO | errno.EPERM)]


def _without_bits(index: int, bits: int) -> _Code:
    return [_argument(index), _step(_ANY_BIT, bits, no=1), _end(ERRNO | errno.EPERM), _end(ALLOW)]
