"""Boxes without namespaces, where a machine forbids them: `reduced` by Landlock and a filter, `none` by limits alone.

For public data only: an area of such isolation refuses every other dataset (`rules.policy.unprotected`).
Guaranteed at `reduced`: a job reads the runtime, /usr and its own three directories, writes its outbox and a directory
of its own, and makes no socket to other machines or to ports of this one; the calls of the filter are refused as in a
full box. From Landlock's sixth version on (Linux 6.12) it signals no process outside and
reaches no abstract socket.
Not guaranteed at `reduced`: the processes of the machine are listed with their arguments, and its load is told; Unix sockets with a path that the job's user may open are reached; a job that is started by
an ordinary user shares that user's processes and limits; where no control group can be made, memory is limited for each
process alone, and a job that kills its minder may outlive it.
Guaranteed at both: no root outside, an empty environment, no inherited files, the limits, and an end without remains
of whatever did not work against it.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path

from tre.errors import SandboxError
from tre.rules.policy import Isolation
from tre.secure.jobs import seccomp
from tre.secure.jobs.box import JOB_USER, PATIENCE, Box, as_root, desk_parts, environment, runtime_roots
from tre.secure.jobs.groups import Groups
from tre.secure.jobs.running import TICK, Running

_LAUNCHER = Path(__file__).with_name("bare_launcher.py")
# What programs read of a system: its code, its characters and zones, what its processors are.
_READ = (
    *(
        "/usr",
        "/bin",
        "/sbin",
        "/lib",
        "/lib64",
        "/etc/ld.so.cache",
        "/etc/localtime",
        "/etc/fonts",
        "/etc/alternatives",
    ),
    *("/etc/passwd", "/etc/group", "/etc/nsswitch.conf", "/dev/urandom", "/dev/random"),
    # DuckDB ends the process when it may not read its own control group, which no rule can tell from another's.
    *("/proc", "/sys/fs/cgroup"),
)
_DEVICES = ("/dev/null", "/dev/zero", "/dev/full")


class BareRunning(Running):
    """A minder in place of bubblewrap: it starts the command below itself, and ends all of it before it ends."""

    HINT = "See that the job's user can read this Python, and, for reduced isolation, that the kernel has Landlock."

    def __init__(self, box: Box, groups: Groups) -> None:
        _need_reachable(Path(sys.executable), box.inputs, box.data, box.outbox)
        self._own = Path(tempfile.mkdtemp(prefix="job-"))
        try:
            for name in ("home", "tmp", "lib"):
                (self._own / name).mkdir(mode=0o700)
            (self._own / "lib" / "tre").mkdir()
            for part in desk_parts():  # what of `tre` a box sees, and nothing else of its folder
                (self._own / "lib" / "tre" / part.name).symlink_to(part)
            if as_root():
                for place in (self._own, *self._own.iterdir(), self._own / "lib" / "tre"):
                    os.chown(place, JOB_USER, JOB_USER)
            super().__init__(box, groups)
        except BaseException:
            shutil.rmtree(self._own, ignore_errors=True)
            raise

    def _start(self, box: Box, status: int, output: int, told: int) -> subprocess.Popen[bytes]:
        with ExitStack() as memory:

            def held(content: bytes) -> int:
                file = memory.enter_context(open(os.memfd_create("box"), "r+b", buffering=0))
                file.write(content)
                file.seek(0)
                return file.fileno()

            reduced = box.limits.isolation is Isolation.REDUCED
            orders = {**self._bare_order(box), "status": status}
            orders["filter"] = held(seccomp.program(bare=True)) if reduced else None
            order = held(json.dumps(orders).encode())
            passed = [fd for fd in (status, order, orders["filter"]) if isinstance(fd, int)]
            return subprocess.Popen(
                [sys.executable, "-I", "-S", str(_LAUNCHER), str(order)],
                env={},
                cwd="/",
                stdin=told,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=passed,
                start_new_session=True,
            )

    def _bare_order(self, box: Box) -> dict[str, object]:
        places = {"/in": box.inputs, "/data": box.data, "/outbox": box.outbox}
        real = {name: str(place.resolve()) for name, place in places.items()}
        own = str(self._own.resolve())
        names = {name: _named(value, real) for name, value in {**environment(), **box.environment}.items()}
        names |= {"HOME": f"{own}/home", "TMPDIR": f"{own}/tmp", "IPYTHONDIR": f"{own}/tmp/ipython"}
        names |= {n: v.replace("/tmp/", f"{own}/tmp/") for n, v in names.items() if n.startswith("JUPYTER_")}
        names["PYTHONPATH"] = f"{own}/lib"
        return {
            "command": [_named(argument, real) for argument in box.command],
            "environment": names,
            "home": f"{own}/home",
            "groups": sorted({str(path) for path in self._groups.paths.values()}),
            "limits": self.limits(box.limits),
            "supervisor": os.getpid(),
            "user": JOB_USER,
            "read": [*_READ, *map(str, (*runtime_roots(), *desk_parts())), real["/in"], real["/data"]],
            "devices": _DEVICES,
            "outbox": real["/outbox"],
            "own": own,
        }

    def _kill(self) -> None:
        """Have the minder end all that is below it, and itself; without it, what a control group holds is ended by that."""
        until = time.monotonic() + PATIENCE
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._outer, signal.SIGTERM)
        while self._outer_runs() and time.monotonic() < until:
            self._wait(TICK)
        if self._outer_runs():
            self.process.kill()
        self.process.wait()
        while {self._status_pipe, self._output_pipe} & set(self._select.get_map()):
            if not self._select.select(0):
                break
            self._wait(0)

    def close(self) -> None:
        try:
            super().close()
        finally:
            shutil.rmtree(self._own, ignore_errors=True)


def _need_reachable(*places: Path) -> None:
    """Without mounts a supervisor that is root cannot bring near what lies below folders closed to the job's user."""
    above = {folder for place in places for folder in place.resolve().parents} if as_root() else set()
    for folder in above:
        found = folder.stat()
        if not found.st_mode & 0o001 and found.st_uid != JOB_USER:
            raise SandboxError(
                "bare_unreachable",
                "Without namespaces, a job of root's cannot reach what lies below a folder that only root may enter.",
                "Serve as an ordinary user who owns the area, with a Python that this user can read.",
            )


def _named(text: str, real: dict[str, str]) -> str:
    """A path of a full box by the name it has without mounts."""
    for name, place in real.items():
        if text == name or text.startswith(f"{name}/"):
            return place + text.removeprefix(name)
    return text
