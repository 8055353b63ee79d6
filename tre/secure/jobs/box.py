"""What a box is made of: the order for one, the Python it finds inside, and bubblewrap's arguments for its mounts.

Guaranteed: of the host a box has /usr, the Python runtime, the desk's part of `tre` and the three directories of its
order; all but the outbox are mounted read-only, and what else it can write is memory of fixed size. A Python installed
where other things live too is refused, as the box would see them.
Not done here: starting anything but `bubblewrap --version`; limits on time, memory or processes (`groups`, `running`).
"""

from __future__ import annotations

import functools
import os
import platform
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tre.errors import SandboxError
from tre.rules.policy import Isolation

JOB_USER = 64991  # no person's and no service's on any distribution's plan of numbers
PATIENCE = 10.0  # seconds for the kernel to do what it was told; only ever reached on a machine in trouble
_INSIDE_USER = 1000
PASSWD = f"job:x:{_INSIDE_USER}:{_INSIDE_USER}::/home/job:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n"
GROUP = f"job:x:{_INSIDE_USER}:\nnogroup:x:65534:\n"
_PACKAGE = Path(__file__).resolve().parents[2]
_DESK_PARTS = ("__init__.py", "errors.py", "messages.py", "client.py", "rules", "statistics", "desk")
_SECURE_PARTS = ("secure", "gateway", "demo")
_STAGE = "/mnt"
# What libraries open as they start and do without, as empty files and folders: by these too one box would hear another.
_EMPTY = ("meminfo", "stat", "uptime", "swaps", "pressure", "sys/fs", "sys/kernel/pty")
# What /proc tells of the whole machine and no job needs: what others hold, wait for and how busy they are.
_MASKED = (
    *("keys", "key-users", "locks", "loadavg", "vmstat", "diskstats", "interrupts", "softirqs", "schedstat", "cmdline"),
    *("buddyinfo", "pagetypeinfo", "slabinfo", "zoneinfo", "timer_list", "kallsyms", "modules", "kcore", "kmsg"),
)


@dataclass(frozen=True, kw_only=True)
class Limits:
    wall_seconds: float
    cpu_seconds: int  # of each process
    memory_mb: int
    outbox_mb: int  # also the largest file it may write anywhere
    isolation: Isolation = Isolation.FULL  # a box of another is made by `bare`

    def __post_init__(self) -> None:
        # Limits travel as JSON too: a word that is no member would be taken for a weaker level, or for none at all.
        object.__setattr__(self, "isolation", Isolation(self.isolation))


@dataclass(frozen=True, kw_only=True)
class Box:
    """What to run, and the three directories it sees: /in and /data, both read-only, and /outbox.

    A supervisor that is root gives the job's user the right to read /in and /data where others have none.
    """

    command: tuple[str, ...]
    inputs: Path
    data: Path
    outbox: Path  # empty; becomes the job's user's while it runs
    limits: Limits
    environment: Mapping[str, str] = field(default_factory=dict)
    waits: bool = False  # for a line on its standard input, when the directories have been filled
    entered: bool = False  # its command, which waits, holds it open for a process that enters it (`zygote`)


def as_root() -> bool:
    return os.geteuid() == 0


@functools.cache
def bubblewrap() -> str:
    """The distribution's first: AppArmor profiles name it by its path."""
    found = "/usr/bin/bwrap" if os.access("/usr/bin/bwrap", os.X_OK) else shutil.which("bwrap")
    if platform.system() != "Linux" or not found:
        raise SandboxError("sandbox_no_bubblewrap", "There is no bubblewrap here.", "Install the package bubblewrap.")
    said = subprocess.run(
        [found, "--version"], capture_output=True, text=True, env={}, timeout=PATIENCE, check=False
    ).stdout
    version = [int(part) for part in re.findall(r"\d+", said)[:2]]
    if version < [0, 8]:
        raise SandboxError("sandbox_old_bubblewrap", "bubblewrap is older than 0.8.", "Install a newer bubblewrap.")
    return found


def runtime_roots() -> list[Path]:
    """Where Python lives, by the name it is called by and by its real one; nothing that /usr brings along."""
    named = [Path(prefix) for prefix in (sys.prefix, sys.base_prefix)]
    roots = dict.fromkeys(root for name in named for root in (name, name.resolve()))
    for root in roots:
        if root in (Path("/"), Path("/home"), Path.home()):
            raise SandboxError(
                "sandbox_runtime_too_wide",
                "Python is installed where other things live too, and the box would see them.",
                "Run the secure side from a virtual environment in a directory of its own.",
            )
    return [root for root in roots if not root.is_relative_to("/usr")]


def _links_to_python(roots: list[Path]) -> Iterator[tuple[str, str]]:
    """The links between the environment's python and the real one that lie in no bound directory: (content, place)."""
    place = Path(sys.executable)
    while place.is_symlink():
        content = os.readlink(place)
        if not any(place.is_relative_to(root) for root in (*roots, Path("/usr"))):
            yield content, str(place)
        place = Path(os.path.normpath(place.parent / content))


class Layout:
    """bubblewrap's arguments, and the binds that bring their sources where the job's user can reach them."""

    def __init__(self, box: Box, files: Mapping[str, int]) -> None:
        self.binds: list[tuple[str, str]] = []
        self.arguments = [*self._namespaces(files), *self._system(files), *self._runtime()]
        self.arguments += ["--ro-bind", self._near(box.inputs), "/in", "--ro-bind", self._near(box.data), "/data"]
        self.arguments += ["--bind", self._near(box.outbox), "/outbox", "--remount-ro", "/dev", "--remount-ro", "/"]
        for name, value in {**environment(), **box.environment}.items():
            self.arguments += ["--setenv", name, value]
        self.arguments += ["--chdir", "/home/job"]

    def _near(self, source: Path) -> str:
        real = str(source.resolve())
        if not as_root():
            return real
        self.binds.append((real, f"{_STAGE}/{len(self.binds)}"))
        return self.binds[-1][1]

    def _namespaces(self, files: Mapping[str, int]) -> list[str]:
        new = [f"--unshare-{kind}" for kind in ("user", "ipc", "pid", "net", "uts", "cgroup")]
        who = ["--uid", str(_INSIDE_USER), "--gid", str(_INSIDE_USER), "--hostname", "box"]
        alone = ["--disable-userns", "--cap-drop", "ALL", "--die-with-parent", "--new-session", "--clearenv"]
        return [*new, *who, *alone, "--seccomp", str(files["filter"]), "--json-status-fd", str(files["status"])]

    def _system(self, files: Mapping[str, int]) -> list[str]:
        arguments = ["--ro-bind", "/usr", "/usr"]
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.islink(f"/{name}"):
                arguments += ["--symlink", os.readlink(f"/{name}"), f"/{name}"]
            elif os.path.isdir(f"/{name}"):
                arguments += ["--ro-bind", f"/{name}", f"/{name}"]
        arguments += ["--ro-bind-data", str(files["users"]), "/etc/passwd"]
        arguments += ["--ro-bind-data", str(files["groups"]), "/etc/group"]
        for name in ("ld.so.cache", "localtime", "fonts", "alternatives"):
            arguments += ["--ro-bind-try", f"/etc/{name}", f"/etc/{name}"]
        arguments += ["--proc", "/proc", "--dev", "/dev"]
        for name in _MASKED:
            if os.path.exists(f"/proc/{name}"):
                arguments += ["--ro-bind", "/dev/null", f"/proc/{name}"]
        for name in _EMPTY:
            if os.path.isdir(f"/proc/{name}"):
                arguments += ["--perms", "0555", "--size", "4096", "--tmpfs", f"/proc/{name}"]
            elif os.path.exists(f"/proc/{name}"):
                arguments += ["--dev-bind", "/dev/null", f"/proc/{name}"]
        for place, megabytes in (("/dev/shm", 256), ("/tmp", 512), ("/home/job", 128), ("/var", 1)):
            arguments += ["--size", str(megabytes << 20), "--tmpfs", place]
        return arguments

    def _runtime(self) -> list[str]:
        roots = runtime_roots()
        arguments: list[str] = []
        for root in roots:
            arguments += ["--ro-bind", self._near(root), str(root)]
        for content, place in _links_to_python(roots):
            arguments += ["--symlink", content, place]
        for part in desk_parts():
            arguments += ["--ro-bind", self._near(part), f"/opt/tre/lib/tre/{part.name}"]
        if any(_PACKAGE.is_relative_to(root) for root in (*roots, Path("/usr"))):
            for hidden in (_PACKAGE / part for part in _SECURE_PARTS if (_PACKAGE / part).is_dir()):
                arguments += ["--size", "4096", "--tmpfs", str(hidden), "--remount-ro", str(hidden)]
        return arguments


def desk_parts() -> list[Path]:
    """What a box sees of the package `tre`."""
    return [_PACKAGE / part for part in _DESK_PARTS if (_PACKAGE / part).exists()]


def environment() -> dict[str, str]:
    return {
        "PATH": f"{Path(sys.executable).parent}:/usr/bin:/bin",
        "PYTHONPATH": "/opt/tre/lib",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "HOME": "/home/job",
        "USER": "job",
        "LANG": "C.UTF-8",
        "TMPDIR": "/tmp",
        "MPLBACKEND": "agg",
        "OMP_NUM_THREADS": "1",
        "IPYTHONDIR": "/tmp/ipython",
        **{f"JUPYTER_{kind}_DIR": f"/tmp/jupyter/{kind.lower()}" for kind in ("CONFIG", "DATA", "RUNTIME")},
    }
